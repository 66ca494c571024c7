/* wait.c - sleeping, and operations that somebody else ends. */
#include "pdk/call.h"
#include "base/alloc.h"

static void sleep_cancel(struct mg_op *op)
{
    mg_loop_disarm(&op->x->worker->loop, &op->timer);
}

static void sleep_over(struct mg_timer *t)
{
    mg_op_end(mg_container(t, struct mg_op, timer), 0);
}

static int may_start(const struct mg_exchange *x)
{
    return !x ? MG_EENDED : x->in_step && mg_may(x, MG_START_WAIT) ? 0 : MG_EPHASE;
}

int mg_sleep(struct mg_x *h, int64_t ms)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op;
    int rc = may_start(x);

    if (rc)
        return rc;
    if (ms < 0)
        return MG_EINVAL;
    op = mg_op_start(x, sleep_cancel);
    if (!op)
        return MG_ENOMEM;
    mg_timer_init(&op->timer, sleep_over);
    if (ms == 0)
        mg_op_end(op, 0);
    else
        mg_loop_arm(&x->worker->loop, &op->timer, ms);
    return op->id;
}

int mg_op_new(struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op;
    int rc = may_start(x);

    if (rc)
        return rc;
    op = mg_op_start(x, NULL);
    if (!op)
        return MG_ENOMEM;
    op->is_resumed = true;
    return op->id;
}

struct resume { struct mg_x *h; int op, status; };

static int resume_here(struct mg_x *h, int id, int status)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op = x ? mg_op_find(x, id) : NULL;

    if (!x)
        return MG_EENDED;
    if (!op || !op->is_resumed || op->has_ended)
        return MG_ENOENT;
    mg_op_end(op, status);
    return 0;
}

static void resume_there(struct mg_worker *w, void *arg)
{
    struct resume *r = arg;

    (void)w;
    resume_here(r->h, r->op, r->status);
    mg_free(r);
}

int mg_resume(struct mg_x *h, int op, int status)
{
    int worker = mg_handle_worker((uint64_t)(uintptr_t)h), rc;
    struct resume *r;

    if (mg_this_worker && mg_this_worker->index == worker)
        return resume_here(h, op, status);
    r = mg_malloc(sizeof *r);
    if (!r)
        return MG_ENOMEM;
    r->h = h;
    r->op = op;
    r->status = status;
    rc = mg_worker_post_index(worker, resume_there, r);
    if (rc) {
        mg_free(r);
        return rc == MG_ENOENT ? MG_EENDED : MG_ENOMEM;
    }
    return 0;
}

int mg_op_cancel(struct mg_x *h, int id)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_op *op = x ? mg_op_find(x, id) : NULL;

    if (!x)
        return MG_EENDED;
    if (!op)
        return MG_ENOENT;
    mg_op_drop(op);
    return 0;
}
