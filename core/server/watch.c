#include "server/watch.h"

#include "base/log.h"
#include "server/addresses.h"
#include "server/crash.h"
#include "server/gateway.h"

/* Often while there is work, seldom while there is none: an idle gateway sleeps. */
enum { LOOK_MS = 50, LOOK_IDLE_MS = 2000, HELD_MS = 100, ORPHANED_MS = 1000, QUIET_LOOKS = 5 };

/* Connections must not wait in the queue of a worker that stands still. */
static void find_foster(struct mg_gateway *g, struct mg_thread *t)
{
    int n = g->snapshot ? g->snapshot->workers : 0;

    for (int i = 1; i < n; i++) {
        struct mg_thread *other = &g->workers[(t->worker.index + i) % n];

        if (other->stall_reported)
            continue;
        t->is_orphaned = mg_addresses_adopt(g, t, other);
        if (t->is_orphaned)
            mg_logf(MG_LOG_WARN, "worker %d accepts what was meant for worker %d", other->worker.index, t->worker.index);
        return;
    }
}

static void ask_successor(struct mg_gateway *g, struct mg_thread *t)
{
    struct mg_word word = { .note = MG_NOTE_STALLED };
    char what[320];

    if (!mg_running_blame(&t->worker, "stall", &word.blame))
        return;
    t->successor_asked = true;
    mg_running_describe(&t->worker, what, sizeof what);
    mg_log_number_c("worker", t->worker.index);
    mg_logf(MG_LOG_ERROR, g->options.is_supervised ? "a plugin does not let a worker go: %s; a successor is asked for"
                                                   : "a plugin does not let a worker go: %s; without a supervisor nobody starts a successor", what);
    mg_binder_tell(g->binder, &word);
}

static void held(struct mg_gateway *g, struct mg_thread *t, int64_t held_ms)
{
    int64_t stall_ms = g->snapshot ? g->snapshot->stall_ms : 0;
    char what[320];

    if (!t->stall_reported && held_ms >= HELD_MS && mg_running_describe(&t->worker, what, sizeof what)) {
        t->stall_reported = true;
        mg_crash_held(&t->worker);
        mg_log_number_c("worker", t->worker.index);
        mg_log_number_c("ms", (double)held_ms);
        mg_logf(MG_LOG_WARN, "a plugin holds a worker: %s", what);
    }
    if (!t->stall_reported || g->state != MG_GW_SERVING)
        return;
    if (!t->is_orphaned && (held_ms >= ORPHANED_MS || (stall_ms && held_ms >= stall_ms)))
        find_foster(g, t);
    if (!t->successor_asked && stall_ms && held_ms >= stall_ms)
        ask_successor(g, t);
}

static void begin_watch(struct mg_thread *t, uint64_t turns, const void *running, int64_t now_ms)
{
    if (t->stall_reported) {
        mg_crash_held(NULL);
        mg_log_number_c("worker", t->worker.index);
        mg_log_number_c("ms", (double)(now_ms - t->watched_since_ms));
        mg_logf(MG_LOG_WARN, "the worker goes on");
    }
    t->stall_reported = t->is_orphaned = t->successor_asked = false;
    t->watched_turns = turns;
    t->watched_running = running;
    t->watched_since_ms = now_ms;
}

/* Asleep and held look alike but for `running` (or, outside of an exchange, the entry): one plugin call that two looks met is a long
 * one. True when there is work. */
static bool look_at(struct mg_gateway *g, struct mg_thread *t, int64_t now_ms)
{
    uint64_t turns = atomic_load_explicit(&t->worker.turns, memory_order_relaxed);
    const void *running = __atomic_load_n(&t->worker.running, __ATOMIC_RELAXED);
    bool works;

    if (!running)
        running = __atomic_load_n(&t->worker.running_entry, __ATOMIC_RELAXED);
    works = turns != t->watched_turns || running;
    if (turns != t->watched_turns || running != t->watched_running || !running)
        begin_watch(t, turns, running, now_ms);
    else
        held(g, t, now_ms - t->watched_since_ms);
    return works;
}

static void on_look(uv_timer_t *timer)
{
    struct mg_gateway *g = timer->data;
    bool works = false;

    for (int i = 0; i < g->workers_n; i++)
        works |= look_at(g, &g->workers[i], mg_loop_now_ms(&g->control.worker.loop));
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
