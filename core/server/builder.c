#include "server/builder.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "server/gateway.h"
#include "server/crash.h"
#include "script/stack.h"

struct mg_builder {
    struct mg_worker *control;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t has_job;
    struct mg_list jobs, finished;
    bool is_ending;  /* told to the thread */
    bool is_ended;   /* joined; the control thread's */
};

/* done of every job that has finished; it may have been called for by an earlier message already. */
static void deliver(struct mg_worker *control, void *arg)
{
    struct mg_builder *b = arg;
    struct mg_list *n;

    (void)control;
    for (;;) {
        pthread_mutex_lock(&b->lock);
        n = mg_list_first(&b->finished);
        if (n)
            mg_list_remove(n);
        pthread_mutex_unlock(&b->lock);
        if (!n)
            return;
        struct mg_job *job = mg_container(n, struct mg_job, node);
        job->done(job);
    }
}

static void *run(void *arg)
{
    struct mg_builder *b = arg;

    (void)mg_crash_thread_enter();
    pthread_mutex_lock(&b->lock);
    for (;;) {
        struct mg_list *n = mg_list_first(&b->jobs);

        if (!n && b->is_ending)
            break;
        if (!n) {
            pthread_cond_wait(&b->has_job, &b->lock);
            continue;
        }
        struct mg_job *job = mg_container(n, struct mg_job, node);
        mg_list_remove(n);
        pthread_mutex_unlock(&b->lock);
        job->run(job);
        pthread_mutex_lock(&b->lock);
        mg_list_push(&b->finished, &job->node);
        if (!b->is_ending)
            mg_gateway_post(b->control, deliver, b);
    }
    pthread_mutex_unlock(&b->lock);
    mg_crash_thread_leave();
    return NULL;
}

struct mg_builder *mg_builder_new(struct mg_worker *control, struct mg_error *err)
{
    struct mg_builder *b = calloc(1, sizeof *b);
    pthread_attr_t attr;
    sigset_t all, old;
    int rc;

    if (!b) {
        mg_fail(err, MG_ENOMEM, "out of memory");
        return NULL;
    }
    b->control = control;
    mg_list_init(&b->jobs);
    mg_list_init(&b->finished);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->has_job, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, MG_STACK_BYTES);
    mg_crash_mask(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&b->thread, &attr, run, b);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        return b;
    free(b);
    mg_fail(err, -rc, "cannot start the builder thread: %s", strerror(rc));
    return NULL;
}

void mg_builder_do(struct mg_builder *b, struct mg_job *job)
{
    job->builder = b;
    mg_list_init(&job->node);
    pthread_mutex_lock(&b->lock);
    mg_list_push(&b->jobs, &job->node);
    pthread_cond_signal(&b->has_job);
    pthread_mutex_unlock(&b->lock);
}

void mg_builder_end(struct mg_builder *b)
{
    if (b->is_ended)
        return;
    b->is_ended = true;
    pthread_mutex_lock(&b->lock);
    b->is_ending = true;
    pthread_cond_signal(&b->has_job);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    deliver(b->control, b);
}

void mg_builder_free(struct mg_builder *b)
{
    if (!b)
        return;
    mg_builder_end(b);
    pthread_cond_destroy(&b->has_job);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
