#include "server/watch.h"

#include "base/log.h"
#include "server/crash.h"
#include "server/gateway.h"

enum { LOOK_MS = 2000 };

static void report(struct mg_thread *t, int64_t held_ms)
{
    char what[320];

    if (mg_running_describe(&t->worker, what, sizeof what) == 0)
        return;
    t->stall_reported = true;
    mg_log_number_c("worker", t->worker.index);
    mg_log_number_c("ms", (double)held_ms);
    mg_logf(MG_LOG_ERROR, "a plugin holds a worker: %s", what);
}

/* Asleep and held look alike but for `running`: what has stood still for two looks is held. */
static void look_at(struct mg_thread *t, int64_t now_ms)
{
    uint64_t turns = atomic_load_explicit(&t->worker.turns, memory_order_relaxed);
    const void *running = __atomic_load_n(&t->worker.running, __ATOMIC_RELAXED);

    if (turns != t->watched_turns || running != t->watched_running || !running) {
        if (t->stall_reported) {
            mg_log_number_c("worker", t->worker.index);
            mg_logf(MG_LOG_WARN, "the worker goes on");
        }
        t->stall_reported = false;
        t->watched_turns = turns;
        t->watched_running = running;
        t->watched_since_ms = now_ms;
        return;
    }
    if (!t->stall_reported)
        report(t, now_ms - t->watched_since_ms);
}

static void on_look(uv_timer_t *timer)
{
    struct mg_gateway *g = timer->data;

    for (int i = 0; i < g->workers_n; i++)
        look_at(&g->workers[i], mg_loop_now_ms(&g->control.worker.loop));
}

void mg_watch_start(struct mg_gateway *g)
{
    uv_timer_start(&g->watch, on_look, LOOK_MS, LOOK_MS);
}
