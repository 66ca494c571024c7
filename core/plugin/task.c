#include "plugin/task.h"
#include "plugin/step.h"
#include "pdk/problem.h"
#include "script/script.h"

/* ---- ending ---- */

static void pin(const struct mg_task *t, int by)
{
    int slot = mg_task_terms_of(t->entry->snapshot).slot;
    _Atomic uint64_t *pins = &t->x->worker->pins[slot >= 0 ? slot : 0];

    if (slot >= 0)
        atomic_store_explicit(pins, atomic_load_explicit(pins, memory_order_relaxed) + (uint64_t)(int64_t)by, memory_order_release);
}

static void release(struct mg_task *t)
{
    struct mg_frame f;

    if (!t->release)
        return;
    mg_frame_enter(t->x, &f, t->entry, t->phase);
    t->release(t->arg);
    mg_frame_leave(t->x, &f, MG_CONTINUE);
}

static void end(struct mg_task *t)
{
    struct mg_exchange *x = t->x;
    struct mg_worker *w = x->worker;

    t->state = MG_TASK_ENDS;
    mg_op_cancel_all(x);
    mg_loop_disarm(&w->loop, &t->late);
    mg_loop_disarm(&w->loop, &t->grace);
    mg_list_remove(&t->node);
    w->tasks_n--;
    if (x->script)
        mg_script_exchange_end(x);
    release(t);
    pin(t, -1);
    mg_exchange_free(x);
}

void mg_task_give_up(struct mg_task *t)
{
    t->state = MG_TASK_ENDS;
    mg_op_cancel_all(t->x);
    mg_exchange_queue(t->x);
}

/* ---- running ---- */

/* Still inside the frame, so that what is logged names the plugin. */
static enum mg_verdict settle(const struct mg_task *t, enum mg_verdict v)
{
    const char *why;

    if (v == MG_CONTINUE || (v == MG_WAIT && (t->state == MG_TASK_ENDS || !mg_list_empty(&t->x->ops))))
        return v;
    why = v == MG_WAIT      ? "the task waits, but for nothing that is under way"
          : v == MG_RESPOND ? "the task says that it answers, but there is nobody to answer"
          : v == MG_ERROR   ? "the task failed"
                            : "the task returned something that is no verdict";
    if (t->x->told_why && v == MG_ERROR)
        return v;
    mg_log_text_c("phase", mg_str_c(mg_phase_name(t->phase)));
    mg_logf(MG_LOG_ERROR, "%s", why);
    return MG_ERROR;
}

static enum mg_verdict call(struct mg_task *t, int op, int status)
{
    struct mg_frame f;
    enum mg_verdict v;

    mg_frame_enter(t->x, &f, t->entry, t->phase);
    v = settle(t, t->fn(mg_handle_of(t->x), t->arg, op, status));
    mg_frame_leave(t->x, &f, v);
    return v;
}

static struct mg_op *ended_op(struct mg_exchange *x)
{
    mg_list_each(n, &x->ops)
    {
        struct mg_op *op = mg_container(n, struct mg_op, node);

        if (op->has_ended)
            return op;
    }
    return NULL;
}

static void on_woken(struct mg_exchange *x)
{
    struct mg_task *t = x->task;
    enum mg_verdict v = MG_WAIT;
    struct mg_op *op;

    if (t->state == MG_TASK_HELD)
        return;
    if (t->state == MG_TASK_DUE) {
        t->state = MG_TASK_WAITS;
        v = call(t, 0, 0);
    }
    while (v == MG_WAIT && t->state == MG_TASK_WAITS && (op = ended_op(x))) {
        int id = op->id, status = op->status;

        mg_op_done(op);
        v = call(t, id, status);
    }
    if (v != MG_WAIT || t->state == MG_TASK_ENDS)
        end(t);
}

static void say(const struct mg_task *t, const char *what)
{
    struct mg_log_scope scope = { .plugin = t->entry->scope.plugin, .route = t->entry->scope.route, .id = mg_exchange_id(t->x) };

    mg_log_set_scope(&scope);
    mg_logf(MG_LOG_WARN, "%s", what);
    mg_log_set_scope(NULL);
}

static void on_late(struct mg_timer *timer)
{
    struct mg_task *t = mg_container(timer, struct mg_task, late);

    if (t->state == MG_TASK_DUE) { /* what does not wait gets through in any case */
        mg_loop_arm(&t->x->worker->loop, &t->late, 1);
        return;
    }
    say(t, t->phase == MG_ON_WORKER ? "on_worker waits for longer than tasks.on_worker allows: cancelled, the worker serves without it"
                                    : "a task took longer than its timeout allows: cancelled");
    end(t);
}

static void on_grace_over(struct mg_timer *timer)
{
    struct mg_task *t = mg_container(timer, struct mg_task, grace);

    say(t, "a task goes on though its configuration is no longer in force: cancelled");
    end(t);
}

/* ---- beginning ---- */

/* Log lines of a task have the id of the exchange that asked for it. */
static int fill(struct mg_task *t, const struct mg_task_order *o, const struct mg_task_terms *terms)
{
    struct mg_exchange *x = t->x;

    x->task = t;
    x->woken = on_woken;
    x->snapshot = t->entry->snapshot;
    x->script_host = o->from ? o->from->script_host : terms->script;
    x->limits.memory = terms->memory;
    x->limits.buffered_body = o->from ? o->from->limits.buffered_body : 1 << 20;
    x->phase = t->phase;
    x->entry = (uint8_t)t->entry->index;
    x->started_us = mg_clock_monotonic_us();
    if (o->from) {
        struct mg_str id = mg_exchange_id((struct mg_exchange *)o->from);

        x->id = mg_arena_copy(&x->arena, id.p, id.n);
        if (!x->id.p)
            return MG_ENOMEM;
    }
    return 0;
}

static struct mg_task *make(struct mg_worker *w, const struct mg_task_order *o, const struct mg_task_terms *terms)
{
    struct mg_exchange *x = mg_exchange_new(w, (size_t)terms->memory);
    struct mg_task *t = x ? mg_arena_zalloc(&x->arena, sizeof *t) : NULL;

    if (t) {
        t->x = x;
        t->entry = o->entry;
        t->fn = o->fn;
        t->arg = o->arg;
        t->release = o->release;
        t->phase = o->phase ? o->phase : MG_ON_TASK;
        t->is_workers = o->is_workers;
        mg_list_init(&t->node);
        mg_timer_init(&t->late, on_late);
        mg_timer_init(&t->grace, on_grace_over);
        if (fill(t, o, terms) == 0)
            return t;
    }
    if (x)
        mg_exchange_free(x);
    return NULL;
}

static void uncount(struct mg_exchange *x)
{
    _Atomic uint64_t *open = &x->worker->exchanges_open;

    x->is_uncounted = true;
    atomic_store_explicit(open, atomic_load_explicit(open, memory_order_relaxed) - 1, memory_order_relaxed);
}

static void due(struct mg_task *t)
{
    t->state = MG_TASK_DUE;
    mg_exchange_queue(t->x);
}

static void begin_grace(struct mg_task *t)
{
    if (!mg_timer_armed(&t->grace))
        mg_loop_arm(&t->x->worker->loop, &t->grace, mg_task_terms_of(t->entry->snapshot).drain_ms);
}

int mg_task_begin(struct mg_worker *w, const struct mg_task_order *o, struct mg_task **out)
{
    struct mg_task_terms terms = mg_task_terms_of(o->entry->snapshot);
    bool is_in_force = mg_is_in_force(w, o->entry->snapshot);
    struct mg_task *t;

    if (w->stops_tasks)
        return MG_ECANCELED;
    if (w->tasks_n >= terms.max)
        return MG_EBUSY;
    t = make(w, o, &terms);
    if (!t)
        return MG_ENOMEM;
    mg_list_push(&w->tasks, &t->node);
    w->tasks_n++;
    pin(t, 1);
    if (t->is_workers)
        uncount(t->x);
    if (o->timeout_ms > 0)
        mg_loop_arm(&w->loop, &t->late, o->timeout_ms);
    if (is_in_force || !o->is_held)
        due(t);
    if (!is_in_force && !o->is_held && t->phase != MG_ON_WORKER)
        begin_grace(t);
    if (out)
        *out = t;
    return 0;
}

/* ---- all of a worker ---- */

void mg_tasks_follow(struct mg_worker *w)
{
    mg_list_each(n, &w->tasks)
    {
        struct mg_task *t = mg_container(n, struct mg_task, node);

        if (mg_is_in_force(w, t->entry->snapshot)) {
            if (t->state == MG_TASK_HELD)
                due(t);
        } else if (t->is_workers) {
            mg_task_give_up(t);
        } else {
            begin_grace(t);
        }
    }
}

/* What `release` begins would come after those that are walked over, so begin again until there are none. */
void mg_tasks_end(struct mg_worker *w, const struct mg_snapshot *s)
{
    bool stops = w->stops_tasks, again = true;

    w->stops_tasks = stops || !s;
    while (again) {
        again = false;
        mg_list_each(n, &w->tasks)
        {
            struct mg_task *t = mg_container(n, struct mg_task, node);

            if (s && t->entry->snapshot != s)
                continue;
            end(t);
            again = true;
            break;
        }
    }
}
