/* body.c - bodies whole and in pieces, as plugins ask for them. They move in plugin/body.c and proxy/pieces.c. */
#include "pdk/call.h"
#include "exchange/route.h"
#include "base/error.h"
#include "http/coding.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "plugin/recode.h"

#include <stdio.h>

static struct mg_body *body_of(struct mg_exchange *x, int side)
{
    return side == MG_REQUEST || side == MG_RESPONSE ? &x->body[side] : NULL;
}

static const struct mg_head *head_of(const struct mg_exchange *x, int side)
{
    return side == MG_REQUEST ? x->req : x->answer_head ? x->answer_head : x->res;
}

/* Has somebody gathered or replaced it? What only observed entries gathered is there for such alone: the others must find the
 * exchange as it is without them. */
bool mg_body_is_gathered(const struct mg_exchange *x, const struct mg_body *b)
{
    return b->replaced || (b->gather == MG_GATHER_DONE && (!b->observed_gather || mg_entry_observes(x)));
}

/* Will there be no byte of it? */
static bool is_empty(const struct mg_exchange *x, int side)
{
    const struct mg_head *head = head_of(x, side);

    if (!head || head->framing == MG_BODY_NONE || (head->framing == MG_BODY_LENGTH && head->length == 0))
        return true;
    return side == MG_RESPONSE && (head->status == 204 || head->status == 304 || (x->req && x->req->method == MG_M_HEAD));
}

static int64_t limit_of(int64_t most, int64_t asked)
{
    if (asked <= 0)
        return most;
    return most > 0 && asked > most ? most : asked;
}

/* It is there already: with `plain`, also without its content-encoding? 1, or 0 when the chain is to refuse it, or why not. */
static int is_there(struct mg_exchange *x, struct mg_body *b, int side, int over)
{
    struct mg_str text;
    int rc;

    if (!b->more || !b->more->wants_plain)
        return 1;
    rc = mg_body_plain_make(x, side, b->limit, &text);
    if (!rc)
        return 1;
    b->over = (uint8_t)over;
    if (!mg_body_refuses(b, rc))
        return rc;
    return mg_op_start(x, NULL) ? 0 : MG_ENOMEM;
}

static int start(struct mg_exchange *x, struct mg_body *b, int over)
{
    struct mg_op *op = mg_op_start(x, NULL);

    if (!op)
        return MG_ENOMEM;
    b->gather_op = op->id;
    b->over = (uint8_t)over;
    b->gather_entry = x->entry;
    b->gather = MG_GATHER_ASKED;
    return 0;
}

/* What a recorded answer says is there; so is the emptiness of a body that will not come. */
static bool is_here(const struct mg_exchange *x, int side, struct mg_str *whole)
{
    *whole = mg_str(NULL, 0);
    if (x->body[side].feed)
        return false;
    if (side == MG_RESPONSE && x->source != MG_SOURCE_UPSTREAM) {
        *whole = x->answer;
        return !mg_decoding_of(&x->body[side]);
    }
    return is_empty(x, side);
}

/* It learns that when it waits. */
static int would_refuse(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_op *op = mg_op_start(x, NULL);

    if (!op)
        return MG_ENOMEM;
    b->gather_op = op->id;
    b->over = MG_OVER_OBSERVED;
    mg_op_end(op, MG_ETOOBIG);
    return 0;
}

/* An earlier entry has it whole. */
static int read_again(struct mg_exchange *x, struct mg_body *b, int side, int over)
{
    unsigned place = mg_chain_place(side, x->entry);

    if (b->gather_entry == x->entry && !b->replaced)
        return b->gather == MG_GATHER_OVER ? MG_ETOOBIG : is_there(x, b, side, over);
    if (b->limit > 0 && b->whole.n > (size_t)b->limit) {
        if (over == MG_OVER_SKIP)
            return MG_ETOOBIG;
        if (over == MG_OVER_OBSERVED)
            return would_refuse(x, b);
        b->gather = MG_GATHER_REFUSED;
        return mg_op_start(x, NULL) ? 0 : MG_ENOMEM;
    }
    if (b->feed && b->feed->file && over == MG_OVER_SPILL) { /* where it lies it stays */
        if (mg_body_steps_between(x, side, b->feed->at, place))
            return MG_EBUSY;
        b->feed->at = (uint8_t)place;
        b->gather_entry = x->entry;
        return 1;
    }
    if (b->feed) /* the proxy has it made, as for a receiver */
        return start(x, b, over);
    if (b->whole_last && !mg_body_steps_between(x, side, b->whole_at, place)) {
        b->gather = MG_GATHER_DONE;
        b->gather_entry = x->entry;
        b->whole_at = (uint8_t)place;
        return is_there(x, b, side, over);
    }
    b->regather = true;
    return start(x, b, over);
}

static int read_first(struct mg_exchange *x, struct mg_body *b, int side, int over)
{
    unsigned place = mg_chain_place(side, x->entry);
    const struct mg_head *head = head_of(x, side);
    struct mg_str whole;
    int rc;

    if (is_here(x, side, &whole) && !mg_body_steps_between(x, side, 0, place) &&
        (b->limit <= 0 || whole.n <= (size_t)b->limit)) {
        rc = mg_body_put_whole(x, b, 0, whole);
        if (rc)
            return rc;
        b->gather = MG_GATHER_DONE;
        b->gather_entry = x->entry;
        b->whole_at = (uint8_t)place;
        b->whole_last = true;
        return is_there(x, b, side, over);
    }
    rc = start(x, b, over);
    if (rc || b->limit <= 0 || !head || head->framing != MG_BODY_LENGTH || head->length <= b->limit || mg_decoding_of(b))
        return rc;
    if (over == MG_OVER_REFUSE || over == MG_OVER_SPILL) { /* it says so itself: not a byte need be read */
        b->gather = MG_GATHER_REFUSED;
        return 0;
    }
    b->gather = MG_GATHER_NO;
    mg_op_end(mg_op_find(x, b->gather_op), MG_ETOOBIG);
    return 0;
}

static int read_body(struct mg_exchange *x, int side, int64_t limit, int over, bool plain)
{
    struct mg_body *b = body_of(x, side);
    bool passes_malformed = over & MG_OVER_PASS_MALFORMED;

    over &= ~MG_OVER_PASS_MALFORMED;
    if (!b || (over != MG_OVER_REFUSE && over != MG_OVER_SKIP && (over != MG_OVER_SPILL || plain)))
        return MG_EINVAL;
    if (!mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY))
        return MG_EPHASE;
    if (b->gather == MG_GATHER_ASKED)
        return b->gather_entry == x->entry ? 0 : MG_EBUSY;
    if (plain && !mg_body_more(x, b))
        return MG_ENOMEM;
    if (b->more) {
        b->more->wants_plain = plain;
        b->more->passes_malformed = passes_malformed;
    }
    b->limit = limit_of(over == MG_OVER_SPILL ? x->limits.spilled_body : x->limits.buffered_body, limit);
    if (!mg_entry_observes(x))
        b->observed_gather = false;
    else if (over == MG_OVER_REFUSE)
        over = MG_OVER_OBSERVED;
    b->refused = MG_REFUSED_SIZE;
    if (b->replaced || b->gather == MG_GATHER_DONE || b->gather == MG_GATHER_OVER)
        return read_again(x, b, side, over);
    b->observed_gather = mg_entry_observes(x);
    return read_first(x, b, side, over);
}

int mg_body_read(struct mg_x *h, int side, int64_t limit, int over)
{
    struct mg_exchange *x = mg_with_request(h);

    return x ? read_body(x, side, limit, over, false) : mg_why_not(h);
}

int mg_body_read_plain(struct mg_x *h, int side, int64_t limit, int over)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str coding;
    int rc;

    if (!x)
        return mg_why_not(h);
    if (!body_of(x, side))
        return MG_EINVAL;
    rc = mg_body_coding(x, side, &coding);
    if (!rc)
        rc = mg_coding_is_known(coding);
    return rc < 0 ? rc : read_body(x, side, limit, over, rc > 0);
}

int mg_body_get(struct mg_x *h, int side, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_body *b;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    b = body_of(x, side);
    if (!b)
        return MG_EINVAL;
    if (b->feed && b->feed->file && mg_body_is_gathered(x, b))
        return MG_ETOOBIG;
    if (b->feed || !mg_body_is_gathered(x, b))
        return MG_ENOENT;
    *out = b->whole;
    return 0;
}

/* An answer recorded in this entry has its own body: that one is meant. */
static bool sets_answer(const struct mg_exchange *x, int side)
{
    return side == MG_RESPONSE && x->answer_head != NULL;
}

int mg_body_set(struct mg_x *h, int side, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_body *b;
    int rc;

    if (!x)
        return mg_why_not(h);
    b = body_of(x, side);
    if (!b)
        return MG_EINVAL;
    if (sets_answer(x, side)) {
        x->answer_feed = NULL;
        rc = mg_give_copy(x, mg_str(p, n), &x->answer);
        x->answer_head->length = (int64_t)n;
        return rc;
    }
    if (!mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY))
        return MG_EPHASE;
    rc = mg_undo_keep_body(x, b);
    if (rc == 0)
        rc = mg_body_put_whole(x, b, 0, mg_str(p, n));
    if (rc)
        return rc;
    b->feed = NULL;
    mg_body_replaced(x, b, side);
    return 0;
}

/* ---- as text ---- */

/* The gathered body, or the one of an answer recorded in this entry. */
static int gathered(struct mg_exchange *x, int side, struct mg_str *out)
{
    const struct mg_body *b = body_of(x, side);
    int rc;

    if (!b)
        return MG_EINVAL;
    if (b->feed || !mg_body_is_gathered(x, b))
        return MG_ENOENT;
    rc = mg_body_plain_make(x, side, x->limits.buffered_body, out);
    return rc == MG_ENOENT ? MG_ESYNTAX : rc; /* a coding that is not known */
}

int mg_body_plain(struct mg_x *h, int side, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    return x ? gathered(x, side, out) : mg_why_not(h);
}

int mg_body_set_plain(struct mg_x *h, int side, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    int rc = mg_body_set(h, side, p, n);

    return rc ? rc : mg_body_now_plain(x, side);
}

struct mg_json *mg_body_json(struct mg_x *h, int side, char *error, size_t error_n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str text;
    int rc = x ? gathered(x, side, &text) : mg_why_not(h);

    if (!rc)
        return mg_body_json_make(x, side, text, error, error_n);
    snprintf(error, error_n, "%s", rc == MG_ENOENT   ? "the body has not been read"
                                   : rc == MG_ESYNTAX ? "the body is not what its content-encoding says"
                                   : rc == MG_ETOOBIG ? "the body is too big without its content-encoding"
                                                      : mg_error_name(rc));
    return NULL;
}

int64_t mg_body_length(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_head *head;
    const struct mg_body *b;

    if (!x)
        return mg_why_not(h);
    b = body_of(x, side);
    if (!b)
        return MG_EINVAL;
    if (sets_answer(x, side))
        return x->answer_feed && x->answer_feed->head == x->answer_head ? -1 : (int64_t)x->answer.n;
    if (b->feed && (!b->feed->file || mg_body_is_gathered(x, b)))
        return b->feed->file ? mg_body_spill_bytes(b) : -1;
    if (!b->feed && mg_body_is_gathered(x, b))
        return (int64_t)b->whole.n;
    head = head_of(x, side);
    if (is_empty(x, side))
        return 0;
    if (mg_decoding_of(b))
        return -1;
    return head->framing == MG_BODY_LENGTH ? head->length : -1;
}

/* ---- the piece in hand ---------------------------------------------------------------------------- */

static int piece_body(struct mg_x *h, struct mg_exchange **of, struct mg_body **out)
{
    struct mg_exchange *x = *of = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (!x->in_step || !mg_may(x, MG_TOUCH_PIECE))
        return MG_EPHASE;
    *out = &x->body[x->phase == MG_ON_REQUEST_BODY ? MG_REQUEST : MG_RESPONSE];
    return 0;
}

int mg_piece_get(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x;
    struct mg_body *b;
    int rc = piece_body(h, &x, &b);

    *out = rc ? mg_str(NULL, 0) : b->piece;
    return rc;
}

int mg_piece_last(struct mg_x *h)
{
    struct mg_exchange *x;
    struct mg_body *b;
    int rc = piece_body(h, &x, &b);

    return rc ? rc : b->last;
}

int mg_piece_set(struct mg_x *h, const char *p, size_t n)
{
    struct mg_exchange *x;
    struct mg_body *b;
    int rc = piece_body(h, &x, &b);

    return rc ? rc : mg_body_put_piece(x, b, mg_str(p, n));
}

int mg_body_resize(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_body *b;

    if (!x)
        return mg_why_not(h);
    b = body_of(x, side);
    if (!b)
        return MG_EINVAL;
    if (!mg_may(x, side == MG_REQUEST ? MG_RESIZE_REQUEST : MG_RESIZE_RESPONSE))
        return MG_EPHASE;
    b->resized = true;
    return 0;
}
