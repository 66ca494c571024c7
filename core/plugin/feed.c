#include "plugin/feed.h"
#include "base/alloc.h"
#include "plugin/body.h"
#include "plugin/step.h"
#include "service/spill.h"

static void feed_free(void *arg)
{
    struct mg_feed *f = arg;

    mg_free(f->buffer[0]);
    mg_free(f->buffer[1]);
}

struct mg_feed *mg_feed_new(struct mg_exchange *x)
{
    struct mg_feed *f = mg_arena_zalloc(&x->arena, sizeof *f);
    struct mg_op *op = f && mg_arena_defer(&x->arena, feed_free, f) == 0 ? mg_op_start(x, NULL) : NULL;

    if (!op)
        return NULL;
    op->phase = MG_ON_STREAM;
    f->start_op = op->id;
    f->entry = x->entry;
    return f;
}

int mg_feed_write(struct mg_exchange *x, struct mg_feed *f, struct mg_str bytes)
{
    int to = f->filling;
    size_t need = f->n + bytes.n;

    if (f->n >= MG_FEED_HIGH && need > MG_FEED_MOST)
        return MG_EBUSY;
    if (need > f->room[to]) {
        size_t room = need < 4096 ? 4096 : need + need / 2;
        char *p = mg_realloc(f->buffer[to], room);

        if (!p)
            return MG_ENOMEM;
        f->buffer[to] = p;
        f->room[to] = room;
    }
    if (bytes.n)
        memcpy(f->buffer[to] + f->n, bytes.p, bytes.n);
    f->n = need;
    mg_exchange_queue(x);
    return f->n >= MG_FEED_HIGH;
}

static void end_op(struct mg_exchange *x, int *id)
{
    struct mg_op *op = *id ? mg_op_find(x, *id) : NULL;

    *id = 0;
    if (op)
        mg_op_end(op, 0);
}

struct mg_feed *mg_feed_of_file(struct mg_exchange *x, struct mg_spill *file, unsigned at)
{
    struct mg_feed *f = mg_arena_zalloc(&x->arena, sizeof *f);

    if (!f)
        return NULL;
    f->file = file;
    f->at = (uint8_t)at;
    return f;
}

static bool file_ready(struct mg_feed *f)
{
    int rc = f->offset == f->file->bytes ? 1 : mg_spill_fetch(f->file, f->offset);

    if (rc < 0) {
        mg_logf(MG_LOG_ERROR, "a body's temporary file: %s", uv_strerror(rc));
        f->failed = true;
    }
    return rc != 0;
}

static void take_from_file(struct mg_body *b, struct mg_feed *f)
{
    size_t n = f->offset == f->file->bytes ? 0 : f->file->read_n;

    b->piece = mg_str(f->file->read, n);
    f->offset += (int64_t)n;
    f->finished = b->last = f->offset == f->file->bytes;
}

bool mg_feed_ready(struct mg_exchange *x, int side)
{
    struct mg_feed *f = x->body[side].feed;

    if (f->file)
        return file_ready(f);
    if (f->n || f->finished || f->failed)
        return true;
    end_op(x, &f->start_op);
    end_op(x, &f->room_op);
    return false;
}

/* What was written goes on its way; the other buffer takes what is written meanwhile. */
static void take(struct mg_exchange *x, struct mg_body *b, struct mg_feed *f)
{
    b->step = 0;
    b->held = false;
    b->in_feed = true;
    if (f->file) {
        take_from_file(b, f);
        return;
    }
    b->piece = mg_str(f->buffer[f->filling], f->n);
    b->last = f->finished;
    f->filling ^= 1;
    f->n = 0;
    end_op(x, &f->room_op);
}

enum mg_verdict mg_chain_run_feed(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    struct mg_feed *f = b->feed;

    if (f->failed)
        return MG_ERROR;
    take(x, b, f);
    return mg_body_flow(x, side);
}

/* It was woken and has come back; is there still something that will wake it, or is it done? */
static bool goes_on(struct mg_exchange *x, const struct mg_feed *f)
{
    mg_list_each(n, &x->ops)
    {
        const struct mg_op *op = mg_container(n, struct mg_op, node);

        if (op->phase == MG_ON_STREAM && op->entry == f->entry)
            return true;
    }
    return f->finished;
}

static enum mg_verdict wake(struct mg_exchange *x, struct mg_feed *f)
{
    struct mg_chain_entry *e = x->chain->entries[f->entry];
    enum mg_verdict v = mg_step_wake_stream(x, e);

    if (v == MG_CONTINUE && !goes_on(x, f)) {
        mg_log_text_c("plugin", e->scope.plugin);
        mg_logf(MG_LOG_ERROR, "the plugin makes a body, and stopped without finishing it");
        v = MG_ERROR;
    }
    return v;
}

enum mg_verdict mg_chain_wake_feeds(struct mg_exchange *x, int *side)
{
    for (int i = MG_REQUEST; i <= MG_RESPONSE; i++) {
        struct mg_feed *f = x->body[i].feed;

        if (f && !f->file && !f->failed && wake(x, f) == MG_ERROR && x->body[i].feed == f) {
            f->failed = true;
            *side = i;
            return MG_ERROR;
        }
    }
    return MG_CONTINUE;
}
