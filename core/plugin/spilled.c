/* spilled.c - bodies that are gathered in files. */
#include "base/error.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "service/spill.h"

#include <stdlib.h>

static void close_spill(void *arg)
{
    mg_spill_close(arg);
}

/* The exchange may have ended meanwhile; then nobody is called: mg_spill_close. */
static void on_event(void *arg)
{
    mg_exchange_queue(arg);
}

static struct mg_str folder_of(const struct mg_exchange *x)
{
    return mg_snapshot_view.tmp && x->snapshot ? mg_snapshot_view.tmp(x->snapshot) : mg_str(NULL, 0);
}

static struct mg_spill *spill_of(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_body_more *more = mg_body_more(x, b);

    if (!more || more->spill)
        return more ? more->spill : NULL;
    more->spill = mg_spill_new(&x->worker->loop, folder_of(x), on_event, x);
    if (more->spill && mg_arena_defer(&x->arena, close_spill, more->spill)) {
        mg_spill_close(more->spill);
        more->spill = NULL;
    }
    return more->spill;
}

static enum mg_verdict refuse(struct mg_body *b, int error)
{
    mg_log_text_c("error", mg_str_c(uv_strerror(error)));
    mg_logf(MG_LOG_ERROR, "a body could not be kept in a temporary file");
    b->gather = MG_GATHER_REFUSED;
    b->refused = MG_REFUSED_FILE;
    return MG_ERROR;
}

enum mg_verdict mg_body_spill(struct mg_exchange *x, struct mg_body *b, int side)
{
    struct mg_spill *s = spill_of(x, b);
    int rc = s ? 0 : UV_ENOMEM;

    (void)side;
    if (!rc && b->whole.n) {
        rc = mg_spill_write(s, b->whole.p, b->whole.n);
        free((char *)b->whole.p);
        b->whole = mg_str(NULL, 0);
        b->room = 0;
    }
    if (rc >= 0)
        rc = mg_spill_write(s, b->piece.p, b->piece.n);
    if (rc < 0)
        return refuse(b, rc);
    b->more->spill_last = b->last;
    mg_exchange_queue(x); /* it may be written already */
    return MG_CONTINUE;
}

static enum mg_verdict gathered(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_op *op = mg_op_find(x, b->gather_op);

    b->feed = mg_feed_of_file(x, b->more->spill, b->whole_at);
    if (!b->feed)
        return refuse(b, UV_ENOMEM);
    b->gather = MG_GATHER_DONE;
    b->whole_last = true;
    if (op)
        mg_op_end(op, 0);
    return MG_CONTINUE;
}

static void give_part(struct mg_exchange *x, struct mg_body_more *more)
{
    struct mg_op *op = mg_op_find(x, more->part_op);
    int rc = op ? mg_spill_fetch(more->spill, more->part_at) : 1;

    if (rc == 0)
        return;
    more->part_op = 0;
    if (!op)
        return;
    if (rc > 0)
        more->part = mg_str(more->spill->read, more->spill->read_n);
    mg_op_end(op, rc > 0 ? (int)more->part.n : rc);
}

enum mg_verdict mg_body_spilled(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    struct mg_body_more *more = b->more;

    if (b->gather == MG_GATHER_ASKED && more->spill->error)
        return refuse(b, more->spill->error);
    if (b->gather == MG_GATHER_ASKED && more->spill_last && !b->feed && mg_spill_is_written(more->spill))
        return gathered(x, b);
    if (more->part_op)
        give_part(x, more);
    return MG_CONTINUE;
}

bool mg_body_spill_is_full(const struct mg_body *b)
{
    return b->more && b->more->spill && mg_spill_is_full(b->more->spill);
}

int64_t mg_body_spill_bytes(const struct mg_body *b)
{
    return b->more && b->more->spill ? b->more->spill->bytes : 0;
}
