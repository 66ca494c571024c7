/* http_body.c - bodies of calls. Whole: gathered up to the limit. Streamed: one read of the connection at most is kept, and the sender
 * held back until somebody wants it. */
#include "service/http_inner.h"
#include "base/alloc.h"

enum { OUT_HIGH = 65536 };

bool mg_grown_put(struct mg_grown *h, const char *p, size_t n)
{
    if (h->n + n > h->room || !h->p) {
        size_t room = h->room + h->room / 2;
        char *more;

        room = room < h->n + n ? h->n + n : room;
        room = room < 256 ? 256 : room;
        more = mg_realloc(h->p, room);
        if (!more)
            return false;
        h->p = more;
        h->room = room;
    }
    if (n)
        memcpy(h->p + h->n, p, n);
    h->n += n;
    return true;
}

void mg_grown_free(struct mg_grown *h)
{
    mg_free(h->p);
    *h = (struct mg_grown){ 0 };
}

/* ---- the answer's ---- */

/* Of an announced length all is asked for at once, rather than grown into. */
static bool expect(struct mg_call *c)
{
    size_t n = (size_t)c->res->length;

    if (c->in.p || c->res->framing != MG_BODY_LENGTH || n == 0)
        return true;
    c->in.p = mg_malloc(n);
    c->in.room = c->in.p ? n : 0;
    return c->in.p != NULL;
}

int mg_call_take(struct mg_call *c, struct mg_str bytes)
{
    if (c->is_streamed) {
        if (!mg_grown_put(&c->in, bytes.p, bytes.n))
            return MG_ENOMEM;
        if (c->read_op)
            mg_call_serve(c);
        else if (c->in.n)
            c->leg->ops->pause(c->leg);
        return 0;
    }
    if (bytes.n > (uint64_t)(c->limit - (int64_t)c->in.n))
        return MG_ETOOBIG;
    return expect(c) && mg_grown_put(&c->in, bytes.p, bytes.n) ? 0 : MG_ENOMEM;
}

bool mg_call_body(const struct mg_call *c, struct mg_str *out)
{
    const struct mg_grown *h = c->is_streamed ? &c->piece : &c->in;

    *out = mg_str(h->p ? h->p : "", h->n);
    return c->is_streamed ? c->has_piece : c->state == MG_CALL_DONE;
}

/* What was not read yet goes into the reader's hand. */
static void hand_over(struct mg_call *c)
{
    struct mg_grown hand = c->piece;

    c->piece = c->in;
    c->in = hand;
    c->in.n = 0;
    c->has_piece = true;
}

void mg_call_serve(struct mg_call *c)
{
    if (!c->read_op)
        return;
    if (c->in.n) {
        hand_over(c);
        mg_call_op_end(&c->read_op, (int)c->piece.n);
    } else if (c->state == MG_CALL_FAILED) {
        c->piece.n = 0;
        mg_call_op_end(&c->read_op, c->error);
    } else if (c->in_ended) {
        c->piece.n = 0;
        mg_call_op_end(&c->read_op, 0);
    }
}

static void read_cancelled(struct mg_op *op)
{
    struct mg_call *c = mg_call_of(op);

    if (c && c->read_op == op)
        c->read_op = NULL;
}

int mg_call_read(struct mg_call *c)
{
    struct mg_op *op;

    if (!c->is_streamed || c->state < MG_CALL_RECEIVING)
        return MG_EINVAL;
    if (c->read_op)
        return MG_EBUSY;
    op = mg_call_op(c, read_cancelled);
    if (!op)
        return MG_ENOMEM;
    c->has_piece = false;
    c->piece.n = 0;
    c->read_op = op;
    if (!c->is_here && mg_call_asks_read(c, op))
        return op->id;
    if (c->is_simulated)
        c->in_ended = true; /* nobody has more for us */
    mg_call_serve(c);
    if (c->leg && c->leg->is_paused) {
        mg_call_watch(c);
        c->leg->ops->resume(c->leg);
    }
    return op->id;
}

/* ---- the request's ---- */

static void write_cancelled(struct mg_op *op)
{
    struct mg_call *c = mg_call_of(op);

    if (c && c->write_op == op)
        c->write_op = NULL;
}

/* A simulated answer is there at once; the request goes on all the same. */
static bool may_write(const struct mg_call *c)
{
    return (c->is_simulated && c->state == MG_CALL_DONE) || c->state == MG_CALL_TRUSTING || c->state == MG_CALL_CONNECTING || c->state == MG_CALL_SENDING ||
           c->state == MG_CALL_RECEIVING;
}

/* An op that ends when there is room. */
static int wait_for_room(struct mg_call *c)
{
    c->write_op = mg_call_op(c, write_cancelled);
    return c->write_op ? c->write_op->id : MG_ENOMEM;
}

static int write_simulated(struct mg_call *c, struct mg_str bytes)
{
    int id = wait_for_room(c);

    if (id > 0 && !mg_call_asks_write(c, c->write_op, bytes) && c->is_simulated)
        mg_call_op_end(&c->write_op, 0);
    return id;
}

int mg_call_write(struct mg_call *c, struct mg_str bytes)
{
    int id = 0;

    if (!c->is_upload || c->out_ended || c->state == MG_CALL_NEW)
        return MG_EINVAL;
    if (c->write_op)
        return MG_EBUSY;
    if (!may_write(c))
        return MG_ECLOSED;
    if (c->is_simulated)
        return write_simulated(c, bytes);
    if (!mg_grown_put(&c->out, bytes.p, bytes.n))
        return MG_ENOMEM;
    if (c->x->outside) {
        id = write_simulated(c, bytes);
    } else if (!c->leg || c->is_full) {
        id = c->out.n - c->sent < OUT_HIGH ? 0 : wait_for_room(c);
    }
    if (c->leg && !c->is_full) {
        mg_call_watch(c);
        mg_call_pump(c);
        if (c->state == MG_CALL_FAILED && !id)
            return MG_ECLOSED;
        if (c->is_full && !id)
            id = wait_for_room(c);
    }
    return id;
}

int mg_call_end(struct mg_call *c)
{
    if (!c->is_upload || c->out_ended || c->state == MG_CALL_NEW)
        return MG_EINVAL;
    c->out_ended = true;
    mg_call_says_end(c);
    if (c->leg && !c->is_full) {
        mg_call_pump(c);
        if (c->leg)
            mg_call_watch(c);
    }
    return 0;
}
