/* op.c - operations that plugins wait for.
 *
 * An op that ends only notes its status and queues its exchange; an idle handle, on while there are such
 * exchanges, hands them to core/proxy before the loop sleeps again. So no callback fires inside the
 * call that started an operation, and several that end in one turn are delivered together. */
#include "exchange/outside.h"

void (*mg_exchange_woken)(struct mg_exchange *x);

static void on_deliver(uv_idle_t *idle)
{
    mg_ops_deliver(mg_container(idle, struct mg_worker, deliver));
}

struct mg_op *mg_op_start(struct mg_exchange *x, void (*cancel)(struct mg_op *))
{
    struct mg_op *op = x->spare_op;

    if (op)
        x->spare_op = op->arg;
    else
        op = mg_arena_alloc(&x->arena, sizeof *op);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->x = x;
    op->id = ++x->ops_next;
    op->entry = x->entry;
    op->phase = x->phase;
    op->cancel = cancel;
    mg_timer_init(&op->timer, NULL);
    mg_list_push(&x->ops, &op->node);
    return op;
}

struct mg_op *mg_op_find(struct mg_exchange *x, int id)
{
    mg_list_each(n, &x->ops)
    {
        struct mg_op *op = mg_container(n, struct mg_op, node);

        if (op->id == id)
            return op;
    }
    return NULL;
}

static void tell(struct mg_op *op)
{
    struct mg_exchange *x = op->x;
    struct mg_str answer = mg_str(NULL, 0);

    if (op->kind->save && op->kind->save(op, &answer) != 0)
        answer = mg_str(NULL, 0);
    x->outside->told(x->outside, x, op->id, op->kind->service, op->status, answer);
}

void mg_op_end(struct mg_op *op, int status)
{
    struct mg_exchange *x = op->x;

    if (op->has_ended)
        return;
    op->has_ended = true;
    op->status = status;
    if (x->outside && op->kind && !op->is_simulated)
        tell(op);
    mg_exchange_queue(x);
}

void mg_exchange_queue(struct mg_exchange *x)
{
    struct mg_worker *w = x->worker;

    if (!mg_list_empty(&x->woken_node))
        return;
    if (mg_list_empty(&w->woken))
        uv_idle_start(&w->deliver, on_deliver);
    mg_list_push(&w->woken, &x->woken_node);
}

/* A task may wait for as long as the gateway runs, in an arena of bounded size. Who simulates an answer may hold on to the op. */
static void spare(struct mg_op *op)
{
    if (op->is_simulated)
        return;
    op->arg = op->x->spare_op;
    op->x->spare_op = op;
}

void mg_op_drop(struct mg_op *op)
{
    mg_list_remove(&op->node);
    if (!op->has_ended && op->cancel)
        op->cancel(op);
    spare(op);
}

void mg_op_done(struct mg_op *op)
{
    mg_list_remove(&op->node);
    spare(op);
}

void mg_op_cancel_all(struct mg_exchange *x)
{
    while (!mg_list_empty(&x->ops))
        mg_op_drop(mg_container(mg_list_first(&x->ops), struct mg_op, node));
    mg_list_remove(&x->woken_node);
}

void mg_ops_deliver(struct mg_worker *w)
{
    struct mg_list batch;

    /* Those that are queued by what runs now wait for the next turn, so that the loop breathes. */
    mg_list_init(&batch);
    while (!mg_list_empty(&w->woken)) {
        struct mg_list *n = mg_list_first(&w->woken);

        mg_list_remove(n);
        mg_list_push(&batch, n);
    }
    uv_idle_stop(&w->deliver);
    while (!mg_list_empty(&batch)) {
        struct mg_exchange *x = mg_container(mg_list_first(&batch), struct mg_exchange, woken_node);

        mg_list_remove(&x->woken_node);
        if (x->woken)
            x->woken(x);
        else if (mg_exchange_woken)
            mg_exchange_woken(x);
    }
}
