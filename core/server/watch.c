#include "server/watch.h"

#include "base/log.h"
#include "server/crash.h"
#include "server/gateway.h"

/* Often while there is work, seldom while there is none: an idle gateway sleeps. */
enum { LOOK_MS = 50, LOOK_IDLE_MS = 2000, HELD_MS = 100, QUIET_LOOKS = 5 };

static void report(struct mg_thread *t, int64_t held_ms)
{
    char what[320];

    if (mg_running_describe(&t->worker, what, sizeof what) == 0)
        return;
    t->stall_reported = true;
    mg_log_number_c("worker", t->worker.index);
    mg_log_number_c("ms", (double)held_ms);
    mg_logf(MG_LOG_WARN, "a plugin holds a worker: %s", what);
}

static void begin_watch(struct mg_thread *t, uint64_t turns, const void *running, int64_t now_ms)
{
    if (t->stall_reported) {
        mg_log_number_c("worker", t->worker.index);
        mg_log_number_c("ms", (double)(now_ms - t->watched_since_ms));
        mg_logf(MG_LOG_WARN, "the worker goes on");
    }
    t->stall_reported = false;
    t->watched_turns = turns;
    t->watched_running = running;
    t->watched_since_ms = now_ms;
}

/* Asleep and held look alike but for `running`: one plugin call that two looks met is a long one. True when there is work. */
static bool look_at(struct mg_thread *t, int64_t now_ms)
{
    uint64_t turns = atomic_load_explicit(&t->worker.turns, memory_order_relaxed);
    const void *running = __atomic_load_n(&t->worker.running, __ATOMIC_RELAXED);
    bool works = turns != t->watched_turns || running;

    if (turns != t->watched_turns || running != t->watched_running || !running)
        begin_watch(t, turns, running, now_ms);
    else if (!t->stall_reported && now_ms - t->watched_since_ms >= HELD_MS)
        report(t, now_ms - t->watched_since_ms);
    return works;
}

static void on_look(uv_timer_t *timer)
{
    struct mg_gateway *g = timer->data;
    bool works = false;

    for (int i = 0; i < g->workers_n; i++)
        works |= look_at(&g->workers[i], mg_loop_now_ms(&g->control.worker.loop));
    g->quiet_looks = works ? 0 : g->quiet_looks + 1;
    if (g->quiet_looks == QUIET_LOOKS)
        uv_timer_start(timer, on_look, LOOK_IDLE_MS, LOOK_IDLE_MS);
    else if (g->quiet_looks == 0 && uv_timer_get_repeat(timer) != LOOK_MS)
        uv_timer_start(timer, on_look, LOOK_MS, LOOK_MS);
}

void mg_watch_start(struct mg_gateway *g)
{
    uv_timer_start(&g->watch, on_look, LOOK_MS, LOOK_MS);
}
