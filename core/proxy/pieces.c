/* pieces.c - bodies on their way: from one leg through the chain to the other, at the pace of the slower.
 *
 * A sender is paused (its leg's `pause`) while nobody wants its bytes: before the upstream is there, while a plugin
 * waits, while the other leg's output is over its mark. The two *_flow functions derive that from the state. */
#include "proxy/run.h"
#include "base/log.h"
#include "proxy/traces.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "plugin/recode.h"
#include "record/record.h"

enum { SMALL_PIECE = 4096 }; /* gathered with what follows, rather than written at once */

static bool has_steps(const struct mg_exchange *x, int side)
{
    return mg_chain_has(x, side == MG_REQUEST ? MG_ON_REQUEST_BODY : MG_ON_RESPONSE_BODY) ||
           x->body[side].gather || x->body[side].replaced || x->body[side].more;
}

/* Is the body one whole text by the chain's doing? What only observed entries gathered goes on framed as it came. */
static bool is_whole(const struct mg_body *b)
{
    return b->replaced || (b->gather == MG_GATHER_DONE && !b->observed_gather);
}

/* What a piece's way through the chain came to: true when x->body[side].piece is to be sent. */
static bool passed(struct mg_exchange *x, int side, enum mg_verdict v)
{
    struct mg_body *b = &x->body[side];

    switch (v) {
    case MG_CONTINUE:
        return !b->held;
    case MG_WAIT:
        if (!mg_timer_armed(&x->plugin_timer) && x->timeouts.plugin > 0)
            mg_loop_arm(&x->worker->loop, &x->plugin_timer, x->timeouts.plugin);
        return false;
    case MG_RESPOND:
        if (x->response_started)
            mg_run_end(x);
        else
            mg_answer_recorded(x);
        return false;
    default:
        if (b->gather == MG_GATHER_REFUSED)
            mg_run_refused(x, side);
        else
            mg_run_fail(x, 500, "plugin_error", NULL);
        return false;
    }
}

/* ---- towards the upstream ------------------------------------------------------------------------ */

static void request_out(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_REQUEST];
    struct mg_leg *up = x->up;
    bool last = b->last;
    int rc = 0;

    if (!up || b->ended)
        return;
    if (b->piece.n)
        rc = up->ops->send_data(up, b->piece, last || b->piece.n < SMALL_PIECE ? MG_MORE : 0);
    if (rc >= 0 && last) {
        b->ended = true;
        x->sent_us = mg_loop_now_us(&x->worker->loop);
        rc = up->ops->send_end(up, b->trailers);
        mg_up_watch(x, -1, true);
    }
    if (rc == MG_FULL)
        x->up_full = true;
    else if (rc < 0)
        mg_up_failed(x, rc, "the request could not be sent");
}

static void request_piece(struct mg_exchange *x, struct mg_str bytes, bool last)
{
    struct mg_body *b = &x->body[MG_REQUEST];

    b->piece = bytes;
    b->last = last;
    b->step = 0;
    if (!has_steps(x, MG_REQUEST) || passed(x, MG_REQUEST, mg_chain_run_body(x, MG_REQUEST)))
        request_out(x);
}

void mg_pieces_request(struct mg_exchange *x, struct mg_str bytes, bool last)
{
    struct mg_body *b = &x->body[MG_REQUEST];
    int64_t limit = x->limits.body;

    if (x->state >= MG_ST_LOG)
        return;
    b->seen_bytes += (int64_t)bytes.n;
    x->body_in += bytes.n;
    b->got_end = last;
    if (x->record)
        mg_record_piece(x, MG_REQUEST, bytes, last);
    if (limit > 0 && b->seen_bytes > limit) {
        x->close_after = true;
        mg_run_fail(x, 413, NULL, "The request body is larger than this route takes.");
        return;
    }
    if ((b->ended && !mg_pull_of(b)) || (bytes.n == 0 && !last))
        return;
    if (b->gather != MG_GATHER_ASKED && (x->state < MG_ST_RECEIVE || !x->up) && !mg_pull_of(b)) {
        mg_pieces_request_flow(x); /* nobody wants it yet, or any more */
        return;
    }
    request_piece(x, bytes, last);
    mg_pieces_request_flow(x);
}

/* The length of what lies in a file is known, unless steps may change it. */
static void frame_feed(const struct mg_body *b, struct mg_head *head)
{
    bool is_known = b->feed && b->feed->file && !b->resized && !b->trailers;

    head->framing = is_known ? MG_BODY_LENGTH : MG_BODY_STREAM;
    if (is_known)
        head->length = mg_body_spill_bytes(b);
}

/* What the length will be, as far as it is known; -1. */
static int64_t length_of(const struct mg_head *head)
{
    return head->framing == MG_BODY_LENGTH ? head->length : head->framing == MG_BODY_NONE ? 0 : -1;
}

/* Text comes out of the decoder, of whatever length: unless it is gathered behind it. */
static bool is_decoded(const struct mg_body *b)
{
    return mg_decoding_of(b) && !is_whole(b);
}

void mg_pieces_request_body_set(struct mg_exchange *x, struct mg_head *out)
{
    struct mg_body *b = &x->body[MG_REQUEST];

    if (b->feed || (b->resized && (out->framing != MG_BODY_NONE || b->replaced))) {
        frame_feed(b, out);
    } else if (is_whole(b)) {
        if (out->framing == MG_BODY_NONE && !b->whole.n)
            return;
        out->framing = b->trailers ? MG_BODY_STREAM : MG_BODY_LENGTH;
        out->length = (int64_t)b->whole.n;
    } else if (is_decoded(b) && out->framing != MG_BODY_NONE) {
        out->framing = MG_BODY_STREAM;
    }
    if (mg_encoding_begin(x, MG_REQUEST, out, length_of(out)))
        out->framing = MG_BODY_STREAM;
}

bool mg_pieces_may_repeat_request(const struct mg_exchange *x)
{
    const struct mg_body *b = &x->body[MG_REQUEST];

    if (b->waiting || (b->feed && !b->feed->file) || mg_decoding_of(b) || mg_pull_of(b))
        return false;
    if (x->req->framing == MG_BODY_NONE && !b->replaced)
        return true;
    return b->got_end && b->gather == MG_GATHER_DONE && b->whole_last &&
           !mg_body_steps_between(x, MG_REQUEST, b->whole_at, MG_ENTRIES_MAX);
}

void mg_pieces_repeat_request(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_REQUEST];

    b->ended = b->whole_out = false;
    if (b->feed) {
        b->feed->offset = 0;
        b->feed->finished = false;
    }
}

void mg_pieces_begin_request(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_REQUEST];

    if (mg_chain_has_whole(b)) {
        if (passed(x, MG_REQUEST, mg_chain_run_whole(x, MG_REQUEST)))
            request_out(x);
    } else if (b->got_end && !b->ended && !b->feed && !mg_decoding_has_end(b)) {
        request_piece(x, mg_str(NULL, 0), true);
    }
    if (x->state == MG_ST_RECEIVE && !b->ended)
        mg_up_watch(x, -1, false);
    mg_pieces_request_flow(x);
}

/* ---- bodies that a plugin makes ------------------------------------------------------------------ */

static void request_out(struct mg_exchange *x);
static void response_out(struct mg_exchange *x);

bool mg_pieces_wants(const struct mg_exchange *x, int side, bool open)
{
    const struct mg_body *b = &x->body[side];

    if (b->waiting || b->ended || x->state >= MG_ST_LOG)
        return false;
    if (b->gather == MG_GATHER_ASKED && (side == MG_REQUEST ? x->state < MG_ST_RECEIVE : x->state == MG_ST_RESPOND))
        return true;
    return !mg_chain_has_whole(b) && open;
}

/* What the decoder gives goes to whoever gets the sender's pieces: of a replaced body to the walker, or it is dropped. */
bool mg_pieces_wants_decoded(const struct mg_exchange *x, int side, bool open)
{
    const struct mg_body *b = &x->body[side];

    if (!b->replaced)
        return mg_pieces_wants(x, side, open);
    if (b->waiting || x->state >= MG_ST_LOG)
        return false;
    return mg_pull_of(b) ? !mg_pull_is_full(b) : open;
}

/* The receiver's leg takes bytes. */
static bool is_open(const struct mg_exchange *x, int side)
{
    return side == MG_REQUEST ? x->state >= MG_ST_RECEIVE && x->up && !x->up_full : x->state == MG_ST_STREAM && !x->down_full;
}

static void piece_out(struct mg_exchange *x, int side)
{
    if (side == MG_REQUEST)
        request_out(x);
    else
        response_out(x);
}

static void run_feed(struct mg_exchange *x, int side)
{
    while (x->body[side].feed && mg_pieces_wants(x, side, is_open(x, side)) && mg_feed_ready(x, side))
        if (passed(x, side, mg_chain_run_feed(x, side)))
            piece_out(x, side);
}

static void run_decoded(struct mg_exchange *x, int side)
{
    while (mg_pieces_wants_decoded(x, side, is_open(x, side)) && mg_decoding_ready(&x->body[side]))
        if (passed(x, side, mg_chain_run_decoded(x, side)))
            piece_out(x, side);
}

bool mg_pieces_end_is_due(const struct mg_exchange *x, int side)
{
    const struct mg_body *b = &x->body[side];
    struct mg_pull *p = mg_pull_of(b);

    if (b->waiting || mg_decoding_has_end(b))
        return false;
    if (p)
        return !p->last && !p->error;
    return b->gather == MG_GATHER_ASKED && !b->feed && !(b->more && b->more->spill_last) &&
           (side == MG_REQUEST ? x->state < MG_ST_RECEIVE : x->state == MG_ST_RESPOND);
}

/* The disk has taken what it was given, or not. */
static void spilled(struct mg_exchange *x, int side)
{
    if (x->state >= MG_ST_LOG)
        return;
    if (mg_body_spilled(x, side) == MG_ERROR)
        mg_run_refused(x, side);
    else if (side == MG_REQUEST)
        mg_pieces_request_flow(x);
    else
        mg_pieces_response_flow(x);
}

void mg_pieces_feeds(struct mg_exchange *x)
{
    int side = MG_REQUEST;

    if (x->state >= MG_ST_LOG)
        return;
    for (int i = MG_REQUEST; i <= MG_RESPONSE; i++)
        if (x->body[i].more && x->body[i].more->spill)
            spilled(x, i);
    if (x->state < MG_ST_LOG && mg_chain_wake_feeds(x, &side) == MG_ERROR)
        mg_run_fail(x, 500, "plugin_error", NULL);
    run_feed(x, MG_REQUEST);
    run_feed(x, MG_RESPONSE);
    if (mg_pull_of(&x->body[MG_REQUEST]))
        mg_pieces_request_flow(x);
    if (mg_pull_of(&x->body[MG_RESPONSE]))
        mg_pieces_response_flow(x);
}

/* Somebody on the way has as much as he holds. */
static bool is_stopped(const struct mg_body *b)
{
    return mg_body_spill_is_full(b) || mg_decoding_is_full(b) || mg_pull_is_full(b);
}

bool mg_pieces_wants_sent(const struct mg_exchange *x, int side, bool passes)
{
    const struct mg_body *b = &x->body[side];

    return !b->waiting && !(b->more && is_stopped(b)) && (passes || b->gather == MG_GATHER_ASKED || mg_pull_wants(b));
}

void mg_pieces_request_flow(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_REQUEST];
    struct mg_leg *down = x->down;
    struct mg_client *c = x->client;
    bool wanted;

    if (b->more)
        run_decoded(x, MG_REQUEST);
    if (b->feed)
        run_feed(x, MG_REQUEST);
    if (!down || x->state >= MG_ST_LOG || x->client != c)
        return;
    if (b->got_end && mg_pieces_end_is_due(x, MG_REQUEST)) {
        request_piece(x, mg_str(NULL, 0), true);
        return;
    }
    wanted = !b->got_end && !x->up_full && mg_pieces_wants_sent(x, MG_REQUEST, x->state >= MG_ST_RECEIVE && x->up);
    if (wanted && x->req->expects_continue && !x->continued && !x->response_started && b->seen_bytes == 0) {
        struct mg_head go = { .status = 100, .version = 11 };

        x->continued = true;
        down->ops->send_interim(down, &go);
    }
    if (wanted && down->is_paused)
        down->ops->resume(down);
    else if (!wanted && !b->got_end && !down->is_paused)
        down->ops->pause(down);
    if (x->state >= MG_ST_LOG || x->client != c)
        return;
    if (wanted && c->waits_for == MG_CW_NOTHING && !b->got_end)
        mg_client_wait(c, MG_CW_BODY);
    else if (c->waits_for == MG_CW_BODY && (!wanted || b->got_end))
        mg_client_wait(c, MG_CW_NOTHING);
}

/* ---- towards the client -------------------------------------------------------------------------- */

static void response_over(struct mg_exchange *x)
{
    x->body[MG_RESPONSE].ended = true;
    mg_run_end(x);
}

static void response_out(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_RESPONSE];
    struct mg_leg *down = x->down;
    bool last = b->last;
    int rc = 0;

    if (b->ended || x->state != MG_ST_STREAM)
        return;
    if (x->record)
        mg_record_answer_piece(x, b->piece);
    if (b->piece.n)
        rc = down->ops->send_data(down, b->piece, last || b->piece.n < SMALL_PIECE ? MG_MORE : 0);
    if (rc >= 0 && last) {
        rc = down->ops->send_end(down, b->trailers);
        if (rc >= 0) {
            response_over(x);
            return;
        }
    }
    if (rc == MG_FULL) {
        x->down_full = true;
        mg_client_wait(x->client, MG_CW_WRITE);
    } else if (rc < 0) {
        x->failure = x->failure ? x->failure : "length_mismatch";
        mg_run_end(x);
    }
}

static void response_piece(struct mg_exchange *x, struct mg_str bytes, bool last)
{
    struct mg_body *b = &x->body[MG_RESPONSE];

    b->piece = bytes;
    b->last = last;
    b->step = 0;
    if (!has_steps(x, MG_RESPONSE) || passed(x, MG_RESPONSE, mg_chain_run_body(x, MG_RESPONSE)))
        response_out(x);
}

void mg_pieces_response(struct mg_exchange *x, struct mg_str bytes, bool last)
{
    struct mg_body *b = &x->body[MG_RESPONSE];

    if (x->state >= MG_ST_LOG)
        return;
    b->seen_bytes += (int64_t)bytes.n;
    if (x->record)
        mg_record_piece(x, MG_RESPONSE, bytes, last);
    if (last) {
        b->got_end = true;
        x->upstream_end_us = mg_loop_now_us(&x->worker->loop);
        mg_loop_disarm(&x->worker->loop, &x->io_timer);
    }
    if (b->ended || (bytes.n == 0 && !last))
        return;
    if (x->state != MG_ST_STREAM && b->gather != MG_GATHER_ASKED && !mg_pull_of(b))
        return; /* the end, seen before the head went out */
    response_piece(x, bytes, last);
    mg_pieces_response_flow(x);
}

bool mg_pieces_response_body_set(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_RESPONSE];
    struct mg_head *res = x->res;
    bool bodiless = x->req->method == MG_M_HEAD || res->status == 204 || res->status == 304, encoded;

    if (b->feed) {
        frame_feed(b, res);
    } else if (x->source != MG_SOURCE_UPSTREAM && !is_whole(b)) {
        res->framing = (b->resized && mg_chain_has(x, MG_ON_RESPONSE_BODY)) || mg_decoding_of(b) ? MG_BODY_STREAM : MG_BODY_LENGTH;
        res->length = (int64_t)x->answer.n;
    } else if (is_whole(b)) {
        res->framing = b->resized || b->trailers ? MG_BODY_STREAM : MG_BODY_LENGTH;
        res->length = (int64_t)b->whole.n;
    } else if ((b->resized || is_decoded(b)) && !bodiless) {
        res->framing = MG_BODY_STREAM;
    }
    encoded = mg_encoding_begin(x, MG_RESPONSE, res, !bodiless ? length_of(res) : res->length > 0 ? res->length : -1);
    if (encoded && !bodiless)
        res->framing = MG_BODY_STREAM;
    if (!bodiless) {
        if (res->framing == MG_BODY_NONE) { /* an answer to HEAD whose method a plugin changed back, or the like */
            res->framing = MG_BODY_LENGTH;
            res->length = 0;
        }
        return true;
    }
    /* What is said of the length is what GET would have got, or nothing (RFC 9110, 8.6): the body that a plugin would
     * have made is not known. */
    if (b->resized || is_whole(b) || encoded || mg_decoding_of(b) || res->status == 204 ||
        (res->status == 304 && x->source != MG_SOURCE_UPSTREAM) || res->framing == MG_BODY_STREAM || res->framing == MG_BODY_CLOSE)
        res->length = -1;
    res->framing = MG_BODY_NONE;
    return false;
}

void mg_pieces_begin_response(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_RESPONSE];
    struct mg_leg *down = x->down;
    bool has_body = mg_pieces_response_body_set(x);
    int rc;

    mg_forward_response(x);
    if (x->close_after)
        x->res->closes = true;
    if (x->trace)
        mg_traces_answer(x);
    x->response_started = true;
    if (x->record)
        mg_record_answer(x, x->res);
    rc = down->ops->send_head(down, x->res, MG_MORE);
    if (rc < 0) {
        mg_run_end(x);
        return;
    }
    if (rc == MG_FULL) {
        x->down_full = true;
        mg_client_wait(x->client, MG_CW_WRITE);
    }
    if (!has_body) {
        rc = down->ops->send_end(down, NULL);
        response_over(x);
    } else if (mg_chain_has_whole(b)) {
        if (passed(x, MG_RESPONSE, mg_chain_run_whole(x, MG_RESPONSE)))
            response_out(x);
    } else if (b->feed) {
        x->answer_fed = !mg_pull_of(b); /* mg_pieces_response_flow has it made */
    } else if (x->source != MG_SOURCE_UPSTREAM) {
        x->answer_fed = true;
        response_piece(x, x->answer, true);
    } else if (b->got_end && !mg_decoding_has_end(b)) {
        response_piece(x, mg_str(NULL, 0), true);
    }
    mg_pieces_response_flow(x);
}

void mg_pieces_response_flow(struct mg_exchange *x)
{
    struct mg_body *b = &x->body[MG_RESPONSE];
    struct mg_leg *up = x->up;
    bool wanted;

    if (x->state != MG_ST_RESPOND && x->state != MG_ST_STREAM)
        return;
    if (b->more || b->feed) {
        run_decoded(x, MG_RESPONSE);
        run_feed(x, MG_RESPONSE);
        up = x->up;
        if (x->state != MG_ST_RESPOND && x->state != MG_ST_STREAM)
            return;
    }
    if (mg_pieces_end_is_due(x, MG_RESPONSE)) {
        if (x->source != MG_SOURCE_UPSTREAM && !x->answer_fed) {
            x->answer_fed = true;
            response_piece(x, x->answer, true);
            return;
        }
        if (b->got_end || (x->res && x->res->framing == MG_BODY_NONE)) {
            response_piece(x, mg_str(NULL, 0), true);
            return;
        }
    }
    if (!up)
        return;
    wanted = !x->down_full && mg_pieces_wants_sent(x, MG_RESPONSE, x->state == MG_ST_STREAM);
    if (wanted && up->is_paused) {
        x->up_active_ms = mg_loop_now_ms(&x->worker->loop);
        up->ops->resume(up);
    } else if (!wanted && !up->is_paused && !b->got_end) {
        up->ops->pause(up);
    }
}

/* ---- a body step that waited ------------------------------------------------------------------------ */

void mg_pieces_wake(struct mg_exchange *x)
{
    if (x->body[MG_REQUEST].waiting) {
        if (passed(x, MG_REQUEST, mg_chain_run_body(x, MG_REQUEST)))
            request_out(x);
        if (!x->body[MG_REQUEST].waiting)
            mg_pieces_request_flow(x);
    }
    if (x->state < MG_ST_LOG && x->body[MG_RESPONSE].waiting) {
        if (passed(x, MG_RESPONSE, mg_chain_run_body(x, MG_RESPONSE)))
            response_out(x);
        if (!x->body[MG_RESPONSE].waiting)
            mg_pieces_response_flow(x);
    }
    if (!x->is_waiting && !x->body[0].waiting && !x->body[1].waiting)
        mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
}
