#include "server/worker_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sink.h"
#include "http/h1.h"
#include "plugin/alarm.h"
#include "proxy/proxy.h"
#include "record/record.h"
#include "script/stack.h"
#include "server/crash.h"
#include "server/gateway.h"
#include "server/instances.h"
#include "service/redis.h"

enum { HOUSE_MS = 1000, CLOSING_MS = 5000, JOIN_LATE_MS = 1000 };

/* ---- heartbeat and housekeeping ---- */

static void on_house(uv_timer_t *timer);

/* Requests were served, and nobody is due to flush their log lines: start. An idle worker is never woken. */
static void on_turn(uv_prepare_t *prepare)
{
    struct mg_thread *t = prepare->data;
    struct mg_worker *w = &t->worker;

    atomic_store_explicit(&w->turns, atomic_load_explicit(&w->turns, memory_order_relaxed) + 1, memory_order_relaxed);
    if (w->snapshot && w->snapshot->script && !t->is_control)
        mg_script_turn(w->snapshot->script, w->index);
    if (t->house_is_on || atomic_load_explicit(&w->requests, memory_order_relaxed) == t->house_requests)
        return;
    t->house_is_on = true;
    uv_timer_start(&t->house, on_house, HOUSE_MS, HOUSE_MS);
}

static void on_house(uv_timer_t *timer)
{
    struct mg_thread *t = timer->data;
    struct mg_worker *w = &t->worker;
    uint64_t requests = atomic_load_explicit(&w->requests, memory_order_relaxed);

    mg_sink_flush_thread();
    if (w->snapshot && w->snapshot->script && !t->is_control)
        mg_script_idle(w->snapshot->script, w->index);
    if (requests == t->house_requests && atomic_load_explicit(&w->exchanges_open, memory_order_relaxed) == 0) {
        uv_timer_stop(timer);
        t->house_is_on = false;
    }
    t->house_requests = requests;
}

/* ---- beginning ---- */

static int init(struct mg_thread *t, int index)
{
    int rc = mg_worker_init(&t->worker, index);

    if (rc != 0)
        return rc;
    mg_this_worker = &t->worker;
    mg_proxy_worker_init(&t->worker);
    t->worker.upstreams = mg_upstreams_local_new(&t->worker.loop, index);
    mg_listeners_init(&t->listeners, &t->worker);
    uv_prepare_init(&t->worker.loop.uv, &t->turn);
    uv_timer_init(&t->worker.loop.uv, &t->house);
    t->turn.data = t->house.data = t;
    uv_prepare_start(&t->turn, on_turn);
    if (t->worker.upstreams)
        return 0;
    mg_thread_deinit(t);
    return MG_ENOMEM;
}

int mg_thread_init(struct mg_thread *t, struct mg_gateway *g, int index, bool is_control)
{
    struct mg_worker *caller = mg_this_worker;
    int rc;

    memset(t, 0, sizeof *t);
    t->gateway = g;
    t->is_control = is_control;
    rc = init(t, index);
    mg_this_worker = caller;
    return rc;
}

/* Signals are the main thread's business. */
static void block_signals(sigset_t *old)
{
    sigset_t all;

    mg_crash_mask(&all);
    pthread_sigmask(SIG_BLOCK, &all, old);
}

static void run(void *arg)
{
    struct mg_thread *t = arg;

    mg_this_worker = &t->worker;
    if (mg_crash_thread_enter() != 0)
        mg_logf(MG_LOG_WARN, "worker %d: no memory for a signal stack: crashes there go unexplained", t->worker.index);
    uv_run(&t->worker.loop.uv, UV_RUN_DEFAULT);
    mg_thread_deinit(t);
    mg_crash_thread_leave();
}

int mg_thread_start(struct mg_thread *t)
{
    uv_thread_options_t options = { .flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = MG_STACK_BYTES };
    sigset_t old;
    int rc;

    block_signals(&old);
    rc = uv_thread_create_ex(&t->id, &options, run, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    t->is_running = rc == 0;
    return rc;
}

/* ---- ending ---- */

static void stop_here(struct mg_worker *w, void *arg)
{
    (void)arg;
    uv_stop(&w->loop.uv);
}

void mg_thread_stop(struct mg_thread *t)
{
    if (t->is_running && !t->is_ending) {
        t->is_ending = true;
        mg_gateway_post(&t->worker, stop_here, t);
    }
}

/* A worker that a plugin holds for ever must not hold the process as well. One that has a successor has waited long enough in its drain. */
void mg_thread_join(struct mg_thread *t)
{
    struct timespec until;
    int bound_ms = t->gateway->is_handed_over ? JOIN_LATE_MS : MG_THREAD_JOIN_MS;

    if (!t->is_running)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += bound_ms / 1000;
    if (pthread_timedjoin_np(t->id, NULL, &until) != 0) {
        mg_logf(MG_LOG_ERROR, "worker %d does not end: the process ends without it", t->worker.index);
        _exit(1);
    }
    t->is_running = false;
}

static bool is_quiet(const struct mg_worker *w)
{
    return mg_list_empty(&w->clients) && atomic_load_explicit(&w->exchanges_open, memory_order_relaxed) == 0;
}

/* Turns of the loop until every client and exchange has gone; each has had its close asked for. */
static void run_down(struct mg_thread *t)
{
    int64_t deadline = mg_clock_monotonic_us() + CLOSING_MS * 1000LL;

    uv_timer_start(&t->house, on_house, 10, 10); /* so that a turn never sleeps for long */
    while (!is_quiet(&t->worker) && mg_clock_monotonic_us() < deadline)
        uv_run(&t->worker.loop.uv, UV_RUN_ONCE);
    if (!is_quiet(&t->worker))
        mg_logf(MG_LOG_ERROR, "worker %d: %llu exchanges did not end", t->worker.index,
                (unsigned long long)atomic_load(&t->worker.exchanges_open));
    uv_timer_stop(&t->house);
}

void mg_thread_deinit(struct mg_thread *t)
{
    struct mg_worker *w = &t->worker;

    mg_this_worker = w;
    mg_listeners_deinit(&t->listeners);
    mg_client_close_all(w);
    mg_alarms_end(w, NULL);
    mg_tasks_end(w, NULL);
    run_down(t);
    mg_instances_stop(&t->entering);
    if (t->entered)
        mg_instances_leave(t->entered, w->index);
    if (w->snapshot && !t->is_control)
        mg_instances_leave(w->snapshot, w->index);
    mg_redis_worker_close(w);
    if (w->upstreams) {
        mg_upstreams_local_close(w->upstreams);
        uv_run(&w->loop.uv, UV_RUN_NOWAIT);
        mg_upstreams_local_free(w->upstreams);
        w->upstreams = NULL;
    }
    mg_record_leave(w);
    mg_proxy_worker_deinit(w);
    mg_sink_flush_thread();
    uv_close((uv_handle_t *)&t->turn, NULL);
    uv_close((uv_handle_t *)&t->house, NULL);
    mg_worker_deinit(w);
    mg_h1_thread_deinit();
    mg_this_worker = NULL;
}
