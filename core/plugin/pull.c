#include "plugin/pull.h"
#include "base/alloc.h"
#include "plugin/feed.h"
#include "plugin/recode.h"

static void pull_free(void *arg)
{
    struct mg_pull *p = arg;

    mg_free(p->buffer[0]);
    mg_free(p->buffer[1]);
}

int mg_pull_begin(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    struct mg_pull *p;
    int rc;

    if (b->gather || b->replaced || b->feed)
        return MG_EBUSY;
    p = mg_body_more(x, b) ? mg_arena_zalloc(&x->arena, sizeof *p) : NULL;
    if (!p || mg_arena_defer(&x->arena, pull_free, p))
        return MG_ENOMEM;
    rc = mg_undo_keep_body(x, b);
    if (!rc)
        rc = mg_body_put_whole(x, b, 0, mg_str(NULL, 0));
    if (rc)
        return rc;
    p->entry = x->entry;
    b->more->pull = p;
    mg_body_replaced(x, b, side);
    return 0;
}

/* What has arrived becomes the piece in the walker's hand. */
static int give_out(struct mg_pull *p)
{
    if (!p->n)
        return p->error;
    p->filling ^= 1;
    p->piece_n = p->n;
    p->n = 0;
    return (int)p->piece_n;
}

static void tell(struct mg_exchange *x, struct mg_pull *p)
{
    struct mg_op *op = p->op ? mg_op_find(x, p->op) : NULL;

    if (!p->n && !p->last && !p->error)
        return;
    p->op = 0;
    if (op)
        mg_op_end(op, give_out(p));
}

int mg_pull_next(struct mg_exchange *x, struct mg_pull *p)
{
    struct mg_op *op;
    int id;

    if (p->op && mg_op_find(x, p->op))
        return MG_EBUSY;
    op = mg_op_start(x, NULL);
    if (!op)
        return MG_ENOMEM;
    id = p->op = op->id;
    p->piece_n = 0;
    tell(x, p);
    mg_exchange_queue(x); /* the sender may go on */
    return id;
}

int mg_pull_give(struct mg_exchange *x, struct mg_pull *p, struct mg_str piece, bool last)
{
    int to = p->filling;
    size_t need = p->n + piece.n;

    if (need > p->room[to]) {
        size_t room = need < 4096 ? 4096 : need + need / 2;
        char *q = mg_realloc(p->buffer[to], room);

        if (!q)
            return MG_ENOMEM;
        p->buffer[to] = q;
        p->room[to] = room;
    }
    if (piece.n)
        memcpy(p->buffer[to] + p->n, piece.p, piece.n);
    p->n = need;
    p->last = last;
    tell(x, p);
    return 0;
}

void mg_pull_broke(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_pull *p = mg_pull_of(b);

    if (!p || p->last)
        return;
    p->error = MG_ECLOSED;
    tell(x, p);
}

void mg_pull_settle(struct mg_exchange *x, int side, int entry)
{
    struct mg_body *b = &x->body[side];
    struct mg_pull *p = mg_pull_of(b);

    if (p && p->entry == entry && !b->feed)
        p->is_over = true;
}

bool mg_pull_has_spent(const struct mg_exchange *x)
{
    const struct mg_body *b = &x->body[x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST];

    return b->more && b->more->pull && b->more->pull->entry == x->entry && b->more->pull->room[0];
}
