/* worker.c - a worker's inbox, and its beginning and end.
 *
 * Other threads find a worker by its index in a table under one lock, so that a late mg_resume never
 * meets one that is gone. Messages are run in order, in the turn after uv_async_send. */
#include "exchange/account.h"
#include "exchange/exchange.h"

#include <pthread.h>
#include <stdlib.h>

_Thread_local struct mg_worker *mg_this_worker;

struct mg_message {
    struct mg_list node;
    void (*fn)(struct mg_worker *, void *);
    void *arg;
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_worker *table[MG_WORKERS_MAX];

static void inbox_run(struct mg_worker *w)
{
    struct mg_list batch;

    mg_list_init(&batch);
    uv_mutex_lock(&w->inbox_lock);
    while (!mg_list_empty(&w->inbox)) {
        struct mg_list *n = mg_list_first(&w->inbox);

        mg_list_remove(n);
        mg_list_push(&batch, n);
    }
    uv_mutex_unlock(&w->inbox_lock);
    while (!mg_list_empty(&batch)) {
        struct mg_message *m = mg_container(mg_list_first(&batch), struct mg_message, node);

        mg_list_remove(&m->node);
        m->fn(w, m->arg);
        free(m);
    }
}

static void on_wake(uv_async_t *wake)
{
    inbox_run(mg_container(wake, struct mg_worker, wake));
}

int mg_worker_post(struct mg_worker *w, void (*fn)(struct mg_worker *, void *), void *arg)
{
    struct mg_message *m = malloc(sizeof *m);

    if (!m)
        return UV_ENOMEM;
    m->fn = fn;
    m->arg = arg;
    uv_mutex_lock(&w->inbox_lock);
    mg_list_push(&w->inbox, &m->node);
    uv_mutex_unlock(&w->inbox_lock);
    uv_async_send(&w->wake);
    return 0;
}

int mg_worker_post_index(int index, void (*fn)(struct mg_worker *, void *), void *arg)
{
    int rc = MG_ENOENT;

    if (index < 0 || index >= MG_WORKERS_MAX)
        return rc;
    pthread_mutex_lock(&table_lock);
    if (table[index])
        rc = mg_worker_post(table[index], fn, arg);
    pthread_mutex_unlock(&table_lock);
    return rc;
}

int mg_worker_init(struct mg_worker *w, int index)
{
    int rc;

    memset(w, 0, sizeof *w);
    w->index = index;
    mg_list_init(&w->inbox);
    mg_list_init(&w->woken);
    mg_list_init(&w->clients);
    mg_list_init(&w->tasks);
    mg_list_init(&w->alarms);
    rc = uv_mutex_init(&w->inbox_lock);
    if (rc)
        return rc;
    rc = mg_loop_init(&w->loop);
    if (rc)
        goto fail_loop;
    w->loop.owner = w;
    rc = uv_async_init(&w->loop.uv, &w->wake, on_wake);
    if (rc)
        goto fail_wake;
    uv_idle_init(&w->loop.uv, &w->deliver);
    w->accounts = index >= 0 && index < MG_WORKERS_MAX ? mg_accounts_of(index) : NULL;
    pthread_mutex_lock(&table_lock);
    if (index >= 0 && index < MG_WORKERS_MAX)
        table[index] = w;
    pthread_mutex_unlock(&table_lock);
    return 0;
fail_wake:
    mg_loop_deinit(&w->loop);
fail_loop:
    uv_mutex_destroy(&w->inbox_lock);
    return rc;
}

void mg_worker_deinit(struct mg_worker *w)
{
    pthread_mutex_lock(&table_lock);
    if (w->index >= 0 && w->index < MG_WORKERS_MAX && table[w->index] == w)
        table[w->index] = NULL;
    pthread_mutex_unlock(&table_lock);
    inbox_run(w);
    uv_idle_stop(&w->deliver);
    uv_close((uv_handle_t *)&w->deliver, NULL);
    uv_close((uv_handle_t *)&w->wake, NULL);
    mg_exchange_spares_free(w);
    mg_loop_deinit(&w->loop);
    uv_mutex_destroy(&w->inbox_lock);
    if (mg_this_worker == w)
        mg_this_worker = NULL;
}
