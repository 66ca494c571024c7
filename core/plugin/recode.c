#include "plugin/recode.h"
#include "base/alloc.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "plugin/step.h"

/* ---- decoding ---- */

static void decoding_free(void *arg)
{
    struct mg_decoding *d = arg;

    mg_decoder_free(d->decoder);
    mg_free(d->buffer[0]);
    mg_free(d->buffer[1]);
    mg_free(d->out);
}

int mg_decoding_give(struct mg_decoding *d, struct mg_str piece, bool last)
{
    int to = d->filling;
    size_t need = d->n + piece.n;

    d->began = true;
    d->last |= last;
    if (d->is_over)
        return 0;
    if (need > d->room[to]) {
        size_t room = need < 4096 ? 4096 : need + need / 2;
        char *p = mg_realloc(d->buffer[to], room);

        if (!p)
            return MG_ENOMEM;
        d->buffer[to] = p;
        d->room[to] = room;
    }
    if (piece.n)
        memcpy(d->buffer[to] + d->n, piece.p, piece.n);
    d->n = need;
    return 0;
}

bool mg_decoding_holds(const struct mg_decoding *d)
{
    return !d->is_over && (d->n || d->reads || (d->last && !d->finished));
}

/* The decoder has read all that it was given: what has arrived meanwhile is next. */
static bool next_input(struct mg_decoding *d)
{
    d->reads = d->n > 0;
    if (!d->reads)
        return false;
    mg_decoder_give(d->decoder, mg_str(d->buffer[d->filling], d->n));
    d->filling ^= 1;
    d->n = 0;
    return true;
}

/* Fill the piece, as far as there is text. */
static int fill(struct mg_decoding *d)
{
    size_t n = 1;
    int rc = 0;

    if (!d->out && !(d->out = mg_malloc(MG_DECODED_PIECE)))
        return MG_ENOMEM;
    while (d->out_n < MG_DECODED_PIECE && (n || next_input(d))) {
        rc = mg_decoder_take(d->decoder, d->out + d->out_n, MG_DECODED_PIECE - d->out_n, &n);
        if (rc)
            return rc;
        d->out_n += n;
        d->bytes += (int64_t)n;
    }
    if (d->limit > 0 && d->bytes > d->limit)
        return MG_ETOOBIG;
    if (!d->last || d->out_n == MG_DECODED_PIECE)
        return 0;
    d->finished = true;
    return mg_decoder_end(d->decoder);
}

bool mg_decoding_ready(struct mg_body *b)
{
    struct mg_decoding *d = mg_decoding_of(b);

    if (!d || !mg_decoding_holds(d))
        return false;
    if (!d->error)
        d->error = fill(d);
    return d->error || d->out_n || d->finished;
}

enum mg_verdict mg_chain_run_decoded(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    struct mg_decoding *d = mg_decoding_of(b);

    if (d->error) {
        d->is_over = true;
        b->gather = MG_GATHER_REFUSED;
        b->refused = d->error == MG_ETOOBIG ? MG_REFUSED_SIZE : d->error == MG_ESYNTAX ? MG_REFUSED_CODING : MG_REFUSED_FILE;
        return MG_ERROR;
    }
    b->step = 0;
    b->held = false;
    b->in_decoded = true;
    b->piece = mg_str(d->out, d->out_n);
    b->last = d->finished;
    d->out_n = 0;
    return mg_body_flow(x, side);
}

static struct mg_head *head_of(struct mg_exchange *x, int side)
{
    return side == MG_REQUEST ? x->req : x->res;
}

/* It is gathered already: decode it where it is. */
static int decode_whole(struct mg_exchange *x, struct mg_body *b, int side, int64_t limit)
{
    int64_t most = x->limits.buffered_body;
    struct mg_str text;
    int rc;

    if (b->feed || mg_body_steps_between(x, side, b->whole_at, mg_chain_place(side, x->entry)))
        return MG_EBUSY;
    rc = mg_body_plain_make(x, side, limit > 0 && (most <= 0 || limit < most) ? limit : most, &text);
    if (!rc)
        rc = mg_undo_keep_body(x, b);
    if (!rc)
        rc = mg_body_put_whole(x, b, 0, text);
    if (rc)
        return rc;
    mg_body_replaced(x, b, side);
    rc = mg_body_now_plain(x, side);
    return rc ? rc : 1;
}

static int new_decoding(struct mg_exchange *x, struct mg_body *b, struct mg_str coding, struct mg_decoding **out)
{
    struct mg_decoding *d = mg_body_more(x, b) ? mg_arena_zalloc(&x->arena, sizeof *d) : NULL;
    int rc;

    if (!d || mg_arena_defer(&x->arena, decoding_free, d))
        return MG_ENOMEM;
    rc = mg_decoder_new(coding, &d->decoder);
    *out = d;
    return rc;
}

int mg_body_decode_from(struct mg_exchange *x, int side, int64_t limit)
{
    struct mg_body *b = &x->body[side];
    struct mg_head *head = head_of(x, side);
    struct mg_decoding *d;
    struct mg_str coding;
    int rc;

    if (!head)
        return 0;
    rc = mg_body_coding(x, side, &coding);
    if (!rc)
        rc = mg_coding_is_known(coding);
    if (rc <= 0)
        return rc;
    if (head->status == 206 || mg_headers_find(&head->headers, MG_STR("content-range")))
        return MG_ENOENT;
    if (b->gather == MG_GATHER_ASKED || mg_decoding_of(b) || b->feed)
        return MG_EBUSY;
    if (b->replaced || b->gather == MG_GATHER_DONE)
        return decode_whole(x, b, side, limit);
    rc = new_decoding(x, b, coding, &d);
    if (!rc)
        rc = mg_body_now_plain(x, side);
    if (rc)
        return rc;
    d->at = (uint8_t)mg_chain_place(side, x->entry);
    d->entry = x->entry;
    d->limit = limit;
    b->more->decode = d;
    return 1;
}

/* ---- encoding ---- */

static void encoding_free(void *arg)
{
    struct mg_encoding *e = arg;

    mg_encoder_free(e->encoder);
    mg_free(e->out);
}

/* The fields of one name joined by commas; empty when there is none. */
static struct mg_str joined(struct mg_exchange *x, const struct mg_headers *h, struct mg_str name)
{
    struct mg_str all = { NULL, 0 };

    for (const struct mg_header *f = mg_headers_find(h, name); f; f = mg_headers_next(h, f))
        all = all.n ? mg_arena_printf(&x->arena, "%.*s, %.*s", (int)all.n, all.p, (int)f->value_n, f->value) : mg_str(f->value, f->value_n);
    return all;
}

static bool has_item(struct mg_str list, struct mg_str what)
{
    struct mg_str item;

    while (mg_str_next(&list, ',', &item))
        if (mg_str_ieq(mg_str_trim(item), what))
            return true;
    return false;
}

int mg_body_encode_as(struct mg_exchange *x, int side, struct mg_str codings)
{
    struct mg_str item, accept = side == MG_RESPONSE ? joined(x, &x->req->headers, MG_STR("accept-encoding")) : mg_str(NULL, 0);
    enum mg_coding first = MG_CODING_NONE, taken = MG_CODING_NONE;
    struct mg_body *b = &x->body[side];
    struct mg_encoding *e;

    while (mg_str_next(&codings, ',', &item)) {
        enum mg_coding one = mg_coding_named(mg_str_trim(item));

        if (!first)
            first = one;
        if (one && !taken && (side == MG_REQUEST || mg_coding_accepted(accept, one)))
            taken = one;
    }
    if (!first)
        return MG_ENOENT;
    if (mg_entry_observes(x))
        return taken != MG_CODING_NONE;
    e = mg_body_more(x, b) ? mg_arena_zalloc(&x->arena, sizeof *e) : NULL;
    if (!e || mg_arena_defer(&x->arena, encoding_free, e))
        return MG_ENOMEM;
    e->coding = taken;
    e->entry = x->entry;
    b->more->encode = e;
    return taken != MG_CODING_NONE;
}

static int say_vary(struct mg_exchange *x, struct mg_head *head)
{
    struct mg_str vary = joined(x, &head->headers, MG_STR("vary"));

    if (has_item(vary, MG_STR("*")) || has_item(vary, MG_STR("accept-encoding")))
        return 0;
    return mg_headers_add(&head->headers, &x->arena, MG_STR("vary"), MG_STR("accept-encoding"));
}

static bool may_encode(struct mg_exchange *x, int side, const struct mg_head *head, int64_t length)
{
    if (side == MG_RESPONSE && (head->status == 204 || head->status == 206 || head->status == 304))
        return false;
    if (mg_headers_find_id(&head->headers, MG_H_CONTENT_ENCODING) || mg_headers_find(&head->headers, MG_STR("content-range")))
        return false;
    return !has_item(joined(x, &head->headers, MG_STR("cache-control")), MG_STR("no-transform")) &&
           (length < 0 || length >= MG_ENCODED_LEAST);
}

bool mg_encoding_begin(struct mg_exchange *x, int side, struct mg_head *head, int64_t length)
{
    struct mg_body *b = &x->body[side];
    struct mg_encoding *e = b->more ? b->more->encode : NULL;
    bool ok;

    if (!e)
        return false;
    mg_encoder_free(e->encoder);
    e->encoder = NULL;
    e->is_on = false;
    if (!may_encode(x, side, head, length) || (side == MG_RESPONSE && say_vary(x, head)) || !e->coding)
        return false;
    e->encoder = mg_encoder_new(e->coding);
    ok = e->encoder && mg_body_head_plain(x, side, head) == 0 &&
         mg_headers_set_id(&head->headers, &x->arena, MG_H_CONTENT_ENCODING, mg_str_c(mg_coding_name(e->coding))) == 0;
    e->is_on = ok;
    return ok;
}

static int encode(struct mg_encoding *e, size_t *used)
{
    size_t n = 1;
    int rc = 0;

    *used = 0;
    while (!rc && n) {
        if (e->room - *used < 1024) {
            size_t room = e->room ? e->room * 2 : 16384;
            char *p = mg_realloc(e->out, room);

            if (!p)
                return MG_ENOMEM;
            e->out = p;
            e->room = room;
        }
        rc = mg_encoder_take(e->encoder, e->out + *used, e->room - *used, &n);
        *used += n;
    }
    return rc;
}

/* More of it is at hand already, so that nobody waits for what is held back. */
static bool more_is_there(const struct mg_body *b)
{
    const struct mg_decoding *d = mg_decoding_of(b);

    return d && (d->n || d->reads);
}

enum mg_verdict mg_encoding_piece(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_encoding *e = b->more->encode;
    size_t n;

    (void)x;
    if (!e->is_on)
        return MG_CONTINUE;
    mg_encoder_give(e->encoder, b->piece, b->last ? MG_ENCODE_END : more_is_there(b) ? MG_ENCODE_MORE : MG_ENCODE_FLUSH);
    if (encode(e, &n)) {
        mg_logf(MG_LOG_ERROR, "out of memory for the encoding of a body");
        return MG_ERROR;
    }
    b->piece = mg_str(e->out, n);
    b->held = !n && !b->last;
    return MG_CONTINUE;
}

/* ---- what becomes of it ---- */

void mg_body_renewed(struct mg_body *b)
{
    if (!b->more)
        return;
    b->more->decode = NULL;
    b->more->pull = NULL;
    b->more->wants_plain = false;
    mg_body_changed(b);
    b->in_decoded = false;
}

void mg_recode_undo(struct mg_exchange *x)
{
    int side = x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST;
    struct mg_body_more *more = x->body[side].more;

    if (!more)
        return;
    if (more->encode && more->encode->entry == x->entry)
        more->encode = NULL;
    if (!more->decode || more->decode->entry != x->entry)
        return;
    if (more->decode->began)
        mg_body_now_plain(x, side);
    else
        more->decode = NULL;
}
