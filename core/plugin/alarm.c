#include "plugin/alarm.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "pdk/random.h"

enum { AGAIN_MS = 1000 }; /* when there was no room for the task of one that goes off once */

static void let_go(struct mg_alarm *a)
{
    if (!a->is_over || a->is_running)
        return;
    mg_list_remove(&a->node);
    a->worker->alarms_n--;
    if (a->release)
        a->release(a->arg);
    mg_free(a);
}

static void over(struct mg_alarm *a)
{
    a->is_over = true;
    mg_loop_disarm(&a->worker->loop, &a->timer);
    let_go(a);
}

/* ---- when ---- */

static int64_t jitter(const struct mg_alarm *a)
{
    return a->jitter_ms ? (int64_t)(mg_random_u64() % (uint64_t)a->jitter_ms) : 0;
}

/* The next whole multiple of the interval on the wall clock. */
static int64_t until_aligned(const struct mg_alarm *a)
{
    return a->interval_ms - mg_clock_wall_us() / 1000 % a->interval_ms;
}

static void arm(struct mg_alarm *a, int64_t beat_ms)
{
    int64_t now_ms = mg_loop_now_ms(&a->worker->loop);

    a->beat_ms = beat_ms;
    mg_loop_arm(&a->worker->loop, &a->timer, beat_ms - now_ms + jitter(a));
}

static void arm_first(struct mg_alarm *a)
{
    int64_t after = a->flags & MG_TIMER_ALIGNED ? until_aligned(a) : a->interval_ms;

    a->is_held = false;
    if (a->flags & MG_TIMER_ONCE_PER_GATEWAY && a->worker->index != 0)
        return;
    arm(a, mg_loop_now_ms(&a->worker->loop) + after);
}

/* Beats that were missed are left out. */
static void arm_next(struct mg_alarm *a)
{
    int64_t now_ms = mg_loop_now_ms(&a->worker->loop), next = a->beat_ms + a->interval_ms;

    if (a->flags & MG_TIMER_ALIGNED)
        next = now_ms + until_aligned(a);
    else if (next <= now_ms)
        next += (now_ms - next) / a->interval_ms * a->interval_ms + a->interval_ms;
    arm(a, next);
}

/* ---- going off ---- */

static enum mg_verdict run(struct mg_x *task, void *arg, int op, int status)
{
    struct mg_alarm *a = arg;

    return a->fn(task, a->arg, op, status);
}

static void ran(void *arg)
{
    struct mg_alarm *a = arg;

    a->is_running = false;
    let_go(a);
}

static void complain(const struct mg_alarm *a, int rc)
{
    mg_log_set_scope(&a->entry->scope);
    mg_logf(MG_LOG_WARN, "a timer could not go off: %s", rc == MG_EBUSY ? "the worker has as many tasks as it may (tasks.max)" : "out of memory");
    mg_log_set_scope(NULL);
}

static void go_off(struct mg_timer *timer)
{
    struct mg_alarm *a = mg_container(timer, struct mg_alarm, timer);
    struct mg_task_order order = { .entry = a->entry, .fn = run, .arg = a, .release = ran };
    int rc = a->is_running ? 0 : mg_task_begin(a->worker, &order, NULL);

    if (rc)
        complain(a, rc);
    else
        a->is_running = true;
    if (a->flags & MG_TIMER_EVERY)
        arm_next(a);
    else if (rc)
        mg_loop_arm(&a->worker->loop, &a->timer, AGAIN_MS);
    else
        over(a);
}

/* ---- setting and stopping ---- */

int mg_alarm_set(struct mg_worker *w, const struct mg_alarm_order *o)
{
    struct mg_task_terms terms = mg_task_terms_of(o->entry->snapshot);
    struct mg_alarm *a;

    if (w->stops_tasks || (!o->is_held && !mg_is_in_force(w, o->entry->snapshot)))
        return MG_ECANCELED;
    if (w->alarms_n >= terms.timers)
        return MG_EBUSY;
    a = mg_calloc(1, sizeof *a);
    if (!a)
        return MG_ENOMEM;
    a->worker = w;
    a->entry = o->entry;
    a->fn = o->fn;
    a->arg = o->arg;
    a->release = o->release;
    a->interval_ms = o->interval_ms;
    a->jitter_ms = o->jitter_ms;
    a->flags = o->flags;
    mg_timer_init(&a->timer, go_off);
    w->alarms_last = w->alarms_last == INT32_MAX ? 1 : w->alarms_last + 1;
    a->number = w->alarms_last;
    mg_list_push(&w->alarms, &a->node);
    w->alarms_n++;
    a->is_held = !mg_is_in_force(w, o->entry->snapshot);
    if (!a->is_held)
        arm_first(a);
    return a->number;
}

int mg_alarm_stop(struct mg_worker *w, int number)
{
    mg_list_each(n, &w->alarms)
    {
        struct mg_alarm *a = mg_container(n, struct mg_alarm, node);

        if (a->number != number || a->is_over)
            continue;
        over(a);
        return 0;
    }
    return MG_ENOENT;
}

/* What `release` does may stop others, so begin again after each. */
static void stop_all(struct mg_worker *w, bool (*is_meant)(const struct mg_alarm *a, const struct mg_snapshot *s), const struct mg_snapshot *s)
{
    bool again = true;

    while (again) {
        again = false;
        mg_list_each(n, &w->alarms)
        {
            struct mg_alarm *a = mg_container(n, struct mg_alarm, node);

            if (a->is_over || !is_meant(a, s))
                continue;
            over(a);
            again = true;
            break;
        }
    }
}

static bool is_out_of_force(const struct mg_alarm *a, const struct mg_snapshot *s)
{
    (void)s;
    return !mg_is_in_force(a->worker, a->entry->snapshot);
}

static bool is_of(const struct mg_alarm *a, const struct mg_snapshot *s)
{
    return !s || a->entry->snapshot == s;
}

void mg_alarms_follow(struct mg_worker *w)
{
    stop_all(w, is_out_of_force, NULL);
    mg_list_each(n, &w->alarms)
    {
        struct mg_alarm *a = mg_container(n, struct mg_alarm, node);

        if (a->is_held && !a->is_over)
            arm_first(a);
    }
}

void mg_alarms_end(struct mg_worker *w, const struct mg_snapshot *s)
{
    stop_all(w, is_of, s);
}
