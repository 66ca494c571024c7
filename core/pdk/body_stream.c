/* body_stream.c - bodies that a plugin makes bit by bit. They move in plugin/feed.c. */
#include "pdk/call.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "service/spill.h"

static bool is_side(int side)
{
    return side == MG_REQUEST || side == MG_RESPONSE;
}

/* Of the answer that was just recorded, or of the body that stands. */
static struct mg_feed *feed_of(const struct mg_exchange *x, int side)
{
    if (side == MG_RESPONSE && x->answer_feed && x->answer_feed->head == x->answer_head && x->answer_head)
        return x->answer_feed;
    return x->body[side].feed;
}

static int stream_answer(struct mg_exchange *x, struct mg_feed *f)
{
    if (x->answer.n)
        return MG_EINVAL;
    f->head = x->answer_head;
    x->answer_feed = f;
    return f->start_op;
}

static int stream_body(struct mg_exchange *x, int side, struct mg_feed *f)
{
    struct mg_body *b = &x->body[side];
    int rc = mg_undo_keep_body(x, b);

    if (!rc)
        rc = mg_body_put_whole(x, b, 0, mg_str(NULL, 0));
    if (rc)
        return rc;
    f->at = (uint8_t)mg_chain_place(side, x->entry);
    b->feed = f;
    mg_body_replaced(x, b, side);
    return f->start_op;
}

int mg_body_stream(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);
    bool answers = x && side == MG_RESPONSE && x->answer_head;
    struct mg_feed *f;

    if (!x)
        return mg_why_not(h);
    if (!is_side(side))
        return MG_EINVAL;
    if (!x->in_step || (!answers && !mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY)))
        return MG_EPHASE;
    f = mg_feed_new(x);
    if (!f)
        return MG_ENOMEM;
    return answers ? stream_answer(x, f) : stream_body(x, side, f);
}

static int open_feed(struct mg_x *h, int side, struct mg_feed **f)
{
    struct mg_exchange *x = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (!is_side(side))
        return MG_EINVAL;
    *f = feed_of(x, side);
    return *f && !(*f)->finished && !(*f)->failed ? 0 : MG_ENOENT;
}

int mg_body_write(struct mg_x *h, int side, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_feed *f;
    int rc = open_feed(h, side, &f);

    return rc ? rc : mg_feed_write(x, f, mg_str(p, n));
}

int mg_body_room(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_feed *f;
    struct mg_op *op;
    int rc = open_feed(h, side, &f);

    if (rc)
        return rc;
    if (!x->in_step || x->phase != MG_ON_STREAM)
        return MG_EPHASE;
    if (f->room_op)
        return MG_EBUSY;
    op = mg_op_start(x, NULL);
    if (!op)
        return MG_ENOMEM;
    if (f->n < MG_FEED_LOW)
        mg_op_end(op, 0);
    else
        f->room_op = op->id;
    return op->id;
}

int mg_body_finish(struct mg_x *h, int side, int status)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_feed *f;
    int rc = open_feed(h, side, &f);

    if (rc)
        return rc;
    f->finished = status == 0;
    f->failed = status != 0;
    if (f == x->body[side].feed && mg_pull_of(&x->body[side]))
        mg_pull_of(&x->body[side])->is_over = true; /* what it has not walked through is dropped */
    mg_exchange_queue(x);
    return 0;
}

/* ---- parts of a gathered body ---- */

int mg_body_in_file(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (!is_side(side))
        return MG_EINVAL;
    return x->body[side].feed && x->body[side].feed->file && mg_body_is_gathered(x, &x->body[side]);
}

static int part_of_memory(struct mg_body *b, int64_t offset, struct mg_op *op)
{
    size_t left = (uint64_t)offset < b->whole.n ? b->whole.n - (size_t)offset : 0;

    b->more->part = mg_str(left ? b->whole.p + offset : NULL, left < MG_SPILL_READ ? left : MG_SPILL_READ);
    mg_op_end(op, (int)b->more->part.n);
    return op->id;
}

static int part_of_file(struct mg_exchange *x, int side, int64_t offset, struct mg_op *op)
{
    struct mg_body_more *more = x->body[side].more;

    more->part = mg_str(NULL, 0);
    if (offset >= more->spill->bytes) {
        mg_op_end(op, 0);
        return op->id;
    }
    more->part_op = op->id;
    more->part_at = offset;
    mg_body_spilled(x, side);
    return op->id;
}

int mg_body_part(struct mg_x *h, int side, int64_t offset)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_body *b;
    struct mg_op *op;

    if (!x)
        return mg_why_not(h);
    if (!is_side(side) || offset < 0)
        return MG_EINVAL;
    if (!x->in_step || !mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY))
        return MG_EPHASE;
    b = &x->body[side];
    if (!mg_body_is_gathered(x, b) || (b->feed && !b->feed->file))
        return MG_ENOENT;
    if (!mg_body_more(x, b))
        return MG_ENOMEM;
    if (b->more->part_op && mg_op_find(x, b->more->part_op))
        return MG_EBUSY;
    op = mg_op_start(x, NULL);
    if (!op)
        return MG_ENOMEM;
    return b->feed ? part_of_file(x, side, offset, op) : part_of_memory(b, offset, op);
}

int mg_body_part_get(struct mg_x *h, int side, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    if (!is_side(side) || !x->body[side].more)
        return is_side(side) ? MG_ENOENT : MG_EINVAL;
    *out = x->body[side].more->part;
    return 0;
}
