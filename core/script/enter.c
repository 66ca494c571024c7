/* on_worker handlers: one after another, each a task of its own in phase MG_ON_WORKER, so that it may wait. */
#include "script/host.h"
#include "plugin/task.h"

enum { LEAST_MS = 1 }; /* of time that the last ones have: what does not wait gets through in any case */

static void step(struct mg_script_entering *e);

/* ---- one handler ---- */

static enum mg_verdict run(struct mg_x *task, void *arg, int op, int status)
{
    struct mg_script_entering *e = arg;
    enum mg_verdict v = op ? mg_script_work_on(task, e->script, op, status) : mg_script_on_worker(task, e->at);

    e->result = v == MG_ERROR ? MG_ECONF : v == MG_CONTINUE ? 0 : MG_ETIMEOUT; /* the last: should it be cancelled while it waits */
    return v;
}

/* The task ends with this call, so the next one begins in a turn of its own. */
static void ended(void *arg)
{
    struct mg_script_entering *e = arg;

    e->task = NULL;
    if (e->result == MG_ECONF)
        e->status = MG_ECONF;
    if (e->done)
        mg_loop_arm(&e->worker->loop, &e->next, 0);
}

static int begin(struct mg_script_entering *e)
{
    int64_t left_ms = e->until_ms - mg_loop_now_ms(&e->worker->loop);
    struct mg_task_order order = { .entry = (struct mg_chain_entry *)(uintptr_t)e->at->entry, .fn = run, .arg = e, .release = ended,
                                   .timeout_ms = left_ms < LEAST_MS ? LEAST_MS : left_ms, .is_workers = true, .phase = MG_ON_WORKER };
    int rc;

    e->result = MG_ETIMEOUT;
    rc = mg_task_begin(e->worker, &order, &e->task);
    if (rc == 0)
        e->task->x->script_host = e->script;
    return rc;
}

/* ---- all of them ---- */

static bool has_handler(const struct mg_lua_instance *in) { return in->plugin->has_on_worker && in->entry; }

static void finish(struct mg_script_entering *e)
{
    void (*done)(struct mg_script_entering *, int) = e->done;

    e->done = NULL;
    done(e, e->status);
}

static void step(struct mg_script_entering *e)
{
    int rc;

    while (e->at && !has_handler(e->at))
        e->at = e->at->next;
    if (!e->at) {
        finish(e);
        return;
    }
    rc = begin(e);
    if (rc != 0) {
        e->status = rc;
        finish(e);
    }
}

static void next(struct mg_timer *timer)
{
    struct mg_script_entering *e = mg_container(timer, struct mg_script_entering, next);

    e->at = e->at->next;
    step(e);
}

void mg_script_enter(struct mg_script_entering *e, struct mg_script *s, struct mg_worker *w, int64_t timeout_ms,
                     void (*done)(struct mg_script_entering *e, int status))
{
    *e = (struct mg_script_entering){ .script = s, .worker = w, .done = done };
    e->until_ms = mg_loop_now_ms(&w->loop) + timeout_ms;
    e->at = s && s->vms[w->index] ? s->instances : NULL;
    mg_timer_init(&e->next, next);
    step(e);
}

void mg_script_enter_stop(struct mg_script_entering *e)
{
    if (!e->done)
        return;
    e->done = NULL;
    mg_loop_disarm(&e->worker->loop, &e->next);
    if (e->task)
        mg_task_give_up(e->task);
}
