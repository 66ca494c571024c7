/* task.c - tasks and timers for plugins: who may begin them. plugin/task.h and plugin/alarm.h do the work. */
#include "pdk/phase.h"
#include "plugin/alarm.h"

/* What a worker gets with a snapshot waits until that is in force. */
static bool is_getting_ready(const struct mg_worker *w)
{
    return w->running_phase == MG_AT_WORKER_CREATE || w->running_phase == MG_ON_WORKER;
}

/* For whom is it? The exchange or task that runs now, or, without one, the instance that a worker is getting. */
static int begins_for(struct mg_x *h, struct mg_exchange **from, struct mg_chain_entry **entry)
{
    struct mg_worker *w = mg_this_worker;

    *from = NULL;
    if (h) {
        *from = mg_handle(h);
        if (!*from)
            return MG_EENDED;
        if (!(*from)->in_step || w->running != *from)
            return MG_EPHASE;
    } else if (!w || w->running || !is_getting_ready(w)) {
        return MG_EPHASE;
    }
    *entry = (struct mg_chain_entry *)w->running_entry;
    return *entry ? 0 : MG_EPHASE;
}

int mg_task_start(struct mg_x *h, mg_task_fn *fn, void *arg, void (*release)(void *arg), int64_t timeout_ms, struct mg_x **out)
{
    struct mg_exchange *from;
    struct mg_chain_entry *entry;
    struct mg_task_order order;
    struct mg_task *task;
    int rc = begins_for(h, &from, &entry);

    if (out)
        *out = NULL;
    if (rc)
        return rc;
    if (!fn || timeout_ms < 0)
        return MG_EINVAL;
    order = (struct mg_task_order){ .entry = entry, .from = from, .fn = fn, .arg = arg, .release = release, .timeout_ms = timeout_ms,
                                    .is_workers = !from || (from->task && from->task->is_workers),
                                    .is_held = is_getting_ready(mg_this_worker) };
    rc = mg_task_begin(mg_this_worker, &order, &task);
    if (!rc && out)
        *out = mg_handle_of(task->x);
    return rc;
}

int mg_timer_start(struct mg_x *h, int64_t ms, int64_t jitter_ms, int flags, mg_task_fn *fn, void *arg, void (*release)(void *arg))
{
    struct mg_exchange *from;
    struct mg_alarm_order order = { .fn = fn, .arg = arg, .release = release, .interval_ms = ms, .jitter_ms = jitter_ms, .flags = flags };
    int rc = begins_for(h, &from, &order.entry);

    if (rc)
        return rc;
    order.is_held = is_getting_ready(mg_this_worker);
    if (flags & MG_TIMER_ONCE_PER_GATEWAY && !order.is_held)
        return MG_EPHASE;
    if (!fn || ms < 1 || jitter_ms < 0 || flags & ~(MG_TIMER_EVERY | MG_TIMER_ONCE_PER_GATEWAY | MG_TIMER_ALIGNED))
        return MG_EINVAL;
    return mg_alarm_set(mg_this_worker, &order);
}

int mg_timer_stop(int timer)
{
    return mg_this_worker ? mg_alarm_stop(mg_this_worker, timer) : MG_ENOENT;
}

int mg_task_cancel(struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x)
        return MG_EENDED;
    if (!x->task)
        return MG_EINVAL;
    mg_task_give_up(x->task);
    return 0;
}

int mg_task_is_leaving(struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x)
        return MG_EENDED;
    if (!x->task)
        return MG_EINVAL;
    return !mg_is_in_force(x->worker, x->snapshot) || x->worker->is_draining;
}
