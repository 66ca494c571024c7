/* body.c - pieces of bodies through the chain, and gathering them for an entry that wants them whole.
 *
 *   sender --> steps before the entry that asked --> [ whole ] --> that entry's step and those after --> receiver
 *
 * Without anybody asking, a piece simply passes all steps. A place is where an entry stands on the way: its index for
 * requests, counted from the top for responses. */
#include "plugin/step.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "plugin/recode.h"

#include <stdlib.h>

static void buffers_free(void *arg)
{
    struct mg_body *b = arg;

    free((char *)b->whole.p);
    free(b->scratch[0]);
    free(b->scratch[1]);
    b->whole = mg_str(NULL, 0);
    b->scratch[0] = b->scratch[1] = NULL;
    b->room = b->scratch_room[0] = b->scratch_room[1] = 0;
}

static int buffers_own(struct mg_exchange *x, struct mg_body *b)
{
    if (b->has_defer)
        return 0;
    if (mg_arena_defer(&x->arena, buffers_free, b))
        return MG_ENOMEM;
    b->has_defer = true;
    return 0;
}

/* Make room; contents are kept. */
static int reserve(char **p, size_t *room, size_t n)
{
    size_t more = *room ? *room : 4096;
    char *q;

    if (n <= *room)
        return 0;
    while (more < n)
        more += more / 2;
    q = realloc(*p, more);
    if (!q)
        return MG_ENOMEM;
    *p = q;
    *room = more;
    return 0;
}

static bool inside(const char *p, const char *buffer, size_t room)
{
    return buffer && (uintptr_t)p >= (uintptr_t)buffer && (uintptr_t)p <= (uintptr_t)buffer + room;
}

int mg_body_put_whole(struct mg_exchange *x, struct mg_body *b, size_t at, struct mg_str s)
{
    char *whole = (char *)b->whole.p;
    bool own = inside(s.p, whole, b->room);
    size_t offset = own ? (size_t)(s.p - whole) : 0;

    if (buffers_own(x, b) || reserve(&whole, &b->room, at + s.n + 1)) {
        b->whole.p = whole;
        return MG_ENOMEM;
    }
    if (s.n)
        memmove(whole + at, own ? whole + offset : s.p, s.n);
    b->whole = mg_str(whole, at + s.n);
    return 0;
}

int mg_body_put_piece(struct mg_exchange *x, struct mg_body *b, struct mg_str s)
{
    int to = inside(b->before.p, b->scratch[0], b->scratch_room[0]); /* never over what the step was given */
    bool own = inside(s.p, b->scratch[to], b->scratch_room[to]);
    size_t offset = own ? (size_t)(s.p - b->scratch[to]) : 0;

    if (buffers_own(x, b) || reserve(&b->scratch[to], &b->scratch_room[to], s.n + 1))
        return MG_ENOMEM;
    if (s.n)
        memmove(b->scratch[to], own ? b->scratch[to] + offset : s.p, s.n);
    b->piece = mg_str(b->scratch[to], s.n);
    return 0;
}

static bool is_ours(const struct mg_body *b, struct mg_str s)
{
    return inside(s.p, b->scratch[0], b->scratch_room[0]) || inside(s.p, b->scratch[1], b->scratch_room[1]) || inside(s.p, b->whole.p, b->room);
}

/* The sender's bytes are only lent: a step that waits finds a copy, and so does whoever puts back what the step had found. */
static int keep_piece(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_str found = b->before;
    int to;

    if (is_ours(b, found) || (!found.n && is_ours(b, b->piece)))
        return 0;
    if (!is_ours(b, b->piece)) {
        if (b->piece.n && mg_body_put_piece(x, b, b->piece))
            return MG_ENOMEM;
        b->before = b->piece;
        return 0;
    }
    to = inside(b->piece.p, b->scratch[0], b->scratch_room[0]); /* the step has made another piece: not over that */
    if (buffers_own(x, b) || reserve(&b->scratch[to], &b->scratch_room[to], found.n))
        return MG_ENOMEM;
    memcpy(b->scratch[to], found.p, found.n);
    b->before = mg_str(b->scratch[to], found.n);
    return 0;
}

static int body_phase(int side)
{
    return side == MG_REQUEST ? MG_ON_REQUEST_BODY : MG_ON_RESPONSE_BODY;
}

/* Does what the sender gives now end in `whole`? Also what still comes after the limit, until `whole` has gone on. */
static bool collects(const struct mg_body *b)
{
    return b->gather == MG_GATHER_ASKED || (b->gather == MG_GATHER_OVER && !b->whole_out);
}

/* Is the piece in hand on its way to the decoder? What a plugin made of the body stands behind it. */
static struct mg_decoding *before_decoder(const struct mg_body *b)
{
    struct mg_decoding *d = mg_decoding_of(b);

    if (!d || b->in_decoded || b->in_feed || (b->in_whole && (b->replaced || d->passed_whole)))
        return NULL;
    if (!b->in_whole && b->gather == MG_GATHER_OVER && !b->whole_out && !d->passed_whole)
        return NULL; /* behind what was gathered before it, which goes first */
    return d;
}

/* The places that the piece in hand passes now: [*from, *to). */
static void places(const struct mg_body *b, int side, unsigned *from, unsigned *to)
{
    unsigned asked = mg_chain_place(side, b->gather_entry);
    const struct mg_decoding *d = before_decoder(b);

    *from = b->in_whole ? b->whole_at : b->in_feed ? b->feed->at : b->in_decoded ? mg_decoding_of(b)->at : 0;
    if (d)
        *to = d->at;
    else if (b->in_whole)
        *to = b->gather == MG_GATHER_ASKED ? asked : MG_ENTRIES_MAX;
    else if (b->replaced && !b->in_feed)
        *to = b->drop_at;
    else if (collects(b))
        *to = asked;
    else
        *to = MG_ENTRIES_MAX;
}

static void gathered(struct mg_exchange *x, struct mg_body *b, int state, int status)
{
    struct mg_op *op = mg_op_find(x, b->gather_op);

    b->gather = (uint8_t)state;
    if (op)
        mg_op_end(op, status);
}

/* All is there. Whoever wants it without its content-encoding is told now if that cannot be. */
static enum mg_verdict gathered_all(struct mg_exchange *x, struct mg_body *b, int side)
{
    struct mg_str plain;
    int rc = 0;

    mg_body_changed(b);
    if (b->more && b->more->wants_plain)
        rc = mg_body_plain_make(x, side, b->limit, &plain);
    if (rc && mg_body_refuses(b, rc))
        return MG_ERROR;
    gathered(x, b, MG_GATHER_DONE, rc);
    return MG_CONTINUE;
}

static enum mg_verdict collect(struct mg_exchange *x, struct mg_body *b, int side)
{
    bool again = b->in_whole, fed = b->in_feed;
    size_t at = again ? 0 : b->whole.n;

    b->held = true;
    b->in_whole = b->in_feed = b->in_decoded = false;
    if (b->over == MG_OVER_SPILL)
        at += (size_t)mg_body_spill_bytes(b);
    if (b->limit > 0 && at + b->piece.n > (size_t)b->limit && (b->over == MG_OVER_REFUSE || b->over == MG_OVER_SPILL)) {
        b->gather = MG_GATHER_REFUSED;
        b->refused = MG_REFUSED_SIZE;
        return MG_ERROR;
    }
    if (b->over == MG_OVER_SPILL && x->limits.buffered_body > 0 && at + b->piece.n > (size_t)x->limits.buffered_body) {
        b->whole_at = (uint8_t)mg_chain_place(side, b->gather_entry);
        return mg_body_spill(x, b, side);
    }
    if (mg_body_put_whole(x, b, at, b->piece)) {
        mg_logf(MG_LOG_ERROR, "out of memory for a body of %zu bytes", at + b->piece.n);
        return MG_ERROR;
    }
    b->whole_at = (uint8_t)mg_chain_place(side, b->gather_entry);
    if (!again)
        b->whole_last = b->last;
    if (b->gather == MG_GATHER_OVER)
        return MG_CONTINUE;
    if (b->limit > 0 && b->whole.n > (size_t)b->limit)
        gathered(x, b, MG_GATHER_OVER, MG_ETOOBIG);
    else if (b->whole_last) {
        if (fed)
            b->feed = NULL; /* all of it is in `whole` */
        return gathered_all(x, b, side);
    }
    return MG_CONTINUE;
}

/* At the decoder: it goes on from there as text, when that is wanted. */
static enum mg_verdict enter_decoder(struct mg_body *b, struct mg_decoding *d)
{
    b->held = true;
    if (b->in_whole) {
        b->in_whole = false;
        b->whole_out = b->gather != MG_GATHER_ASKED;
        b->whole.n = 0;
    }
    if (mg_decoding_give(d, b->piece, b->last)) {
        mg_logf(MG_LOG_ERROR, "out of memory for a body that is being decoded");
        return MG_ERROR;
    }
    return MG_CONTINUE;
}

/* Of a body that another takes the place of. */
static enum mg_verdict drop(struct mg_exchange *x, struct mg_body *b)
{
    struct mg_pull *p = mg_pull_of(b);

    b->held = true;
    b->in_decoded = false;
    if (!p || !mg_pull_give(x, p, b->piece, b->last))
        return MG_CONTINUE;
    mg_logf(MG_LOG_ERROR, "out of memory for a body that a plugin walks through");
    return MG_ERROR;
}

/* Past the last step that may see it. */
static enum mg_verdict arrive(struct mg_exchange *x, struct mg_body *b, int side)
{
    struct mg_decoding *d = before_decoder(b);

    if (d)
        return enter_decoder(b, d);
    if (b->in_whole) {
        if (b->gather == MG_GATHER_ASKED)
            return collect(x, b, side);
        b->in_whole = false;
        b->whole_out = true;
        return MG_CONTINUE;
    }
    if (b->replaced && !b->in_feed)
        return drop(x, b);
    if (collects(b)) {
        if (b->in_decoded)
            mg_decoding_of(b)->passed_whole = true;
        return collect(x, b, side);
    }
    b->in_feed = b->in_decoded = false;
    return MG_CONTINUE;
}

/* What goes out may have to be encoded. */
static enum mg_verdict leave(struct mg_exchange *x, struct mg_body *b, int side)
{
    enum mg_verdict v = arrive(x, b, side);

    return v == MG_CONTINUE && !b->held && b->more && b->more->encode ? mg_encoding_piece(x, b) : v;
}

enum mg_verdict mg_body_flow(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    int phase = body_phase(side), n = x->chain->steps_n[phase];
    const struct mg_step *steps = x->chain->steps[phase];
    unsigned from, to;

    places(b, side, &from, &to);
    for (; b->step < n; b->step++) {
        struct mg_chain_entry *e = steps[b->step].entry;
        unsigned place = mg_chain_place(side, e->index);
        enum mg_verdict v;
        int part;

        if (place < from)
            continue;
        if (place >= to)
            break;
        b->before = b->piece;
        part = mg_step_takes_part(x, e, phase);
        if (part == 0)
            continue;
        v = part < 0 ? MG_ERROR : mg_step_call(x, e, phase, steps[b->step].fn);
        if (v == MG_WAIT) {
            b->waiting = true;
            return keep_piece(x, b) ? MG_ERROR : MG_WAIT;
        }
        if (v != MG_CONTINUE)
            return v;
    }
    return leave(x, b, side);
}

static enum mg_verdict resume(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];
    int phase = body_phase(side);
    enum mg_verdict v = mg_step_wake(x, x->chain->steps[phase][b->step].entry, phase);

    if (v == MG_WAIT)
        return v;
    b->waiting = false;
    b->step++;
    return v == MG_CONTINUE ? mg_body_flow(x, side) : v;
}

enum mg_verdict mg_chain_run_body(struct mg_exchange *x, int side)
{
    struct mg_body *b = &x->body[side];

    b->held = false;
    return b->waiting ? resume(x, side) : mg_body_flow(x, side);
}

void mg_body_replaced(struct mg_exchange *x, struct mg_body *b, int side)
{
    struct mg_op *op = b->gather == MG_GATHER_ASKED ? mg_op_find(x, b->gather_op) : NULL;

    if (op)
        mg_op_end(op, 0);
    mg_body_changed(b);
    b->gather = MG_GATHER_DONE;
    b->gather_entry = x->entry;
    b->whole_at = (uint8_t)mg_chain_place(side, x->entry);
    if (!b->replaced)
        b->drop_at = b->whole_at;
    b->whole_last = true;
    b->regather = false;
    b->replaced = true;
    b->sets++;
}

static void take_whole(struct mg_body *b)
{
    b->in_whole = true;
    b->held = false;
    b->piece = b->whole;
    b->last = b->whole_last;
    b->step = 0;
}

enum mg_verdict mg_chain_run_whole(struct mg_exchange *x, int side)
{
    take_whole(&x->body[side]);
    return mg_body_flow(x, side);
}

bool mg_body_steps_between(const struct mg_exchange *x, int side, unsigned from, unsigned to)
{
    int phase = body_phase(side);

    for (int i = 0; i < x->chain->steps_n[phase]; i++) {
        unsigned place = mg_chain_place(side, x->chain->steps[phase][i].entry->index);

        if (place >= from && place < to)
            return true;
    }
    return false;
}

enum mg_verdict mg_body_regather(struct mg_exchange *x)
{
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++) {
        struct mg_body *b = &x->body[side];
        enum mg_verdict v;

        if (!b->regather || b->waiting)
            continue;
        b->regather = false;
        take_whole(b);
        v = mg_body_flow(x, side);
        if (v != MG_CONTINUE && v != MG_WAIT)
            return v;
    }
    return MG_CONTINUE;
}
