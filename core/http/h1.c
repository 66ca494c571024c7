/* h1.c - one connection: whose turn it is, what waits, and when it ends. */
#include "http/h1_inner.h"
#include "base/alloc.h"

enum { KEPT_BYTES = 4096, SPARES_MAX = 64 };

struct mg_h1_linger {
    struct mg_timer timer;
    struct mg_h1 *h;
};

/* ---- bytes that wait --------------------------------------------------------------------------- */

/* Slow clients send their heads in several pieces: the buffers of the common size are used again. */
static _Thread_local void *spares;
static _Thread_local unsigned spares_n;

static char *buffer_take(size_t n)
{
    void *p = spares;

    if (n != KEPT_BYTES || !p)
        return mg_malloc(n);
    memcpy(&spares, p, sizeof spares);
    spares_n--;
    return p;
}

static void buffer_give(char *p, size_t n)
{
    if (!p || n != KEPT_BYTES || spares_n >= SPARES_MAX) {
        mg_free(p);
        return;
    }
    memcpy(p, &spares, sizeof spares);
    spares = p;
    spares_n++;
}

void mg_h1_thread_deinit(void)
{
    while (spares) {
        void *p = spares;

        memcpy(&spares, p, sizeof spares);
        mg_free(p);
    }
    spares_n = 0;
}

static void drop_kept(struct mg_h1 *h)
{
    buffer_give(h->kept, h->kept_room);
    h->kept = NULL;
    h->kept_n = h->kept_from = h->kept_room = 0;
}

static bool grow_kept(struct mg_h1 *h, size_t need)
{
    size_t room = h->kept_room ? h->kept_room : KEPT_BYTES;
    char *p;

    while (room < need)
        room *= 2;
    if (room > UINT32_MAX)
        return false;
    p = buffer_take(room);
    if (!p)
        return false;
    if (h->kept_n)
        memcpy(p, h->kept + h->kept_from, h->kept_n);
    buffer_give(h->kept, h->kept_room);
    h->kept = p;
    h->kept_room = (uint32_t)room;
    h->kept_from = 0;
    return true;
}

/* kept_n counts from kept_from. */
static bool keep(struct mg_h1 *h, const char *p, size_t n)
{
    if ((size_t)h->kept_from + h->kept_n + n > h->kept_room) {
        if (h->kept_n + n > h->kept_room) {
            if (!grow_kept(h, h->kept_n + n))
                return false;
        } else {
            memmove(h->kept, h->kept + h->kept_from, h->kept_n);
            h->kept_from = 0;
        }
    }
    memcpy(h->kept + h->kept_from + h->kept_n, p, n);
    h->kept_n += (uint32_t)n;
    return true;
}

/* ---- the end of a connection ---------------------------------------------------------------------- */

static void done(struct mg_h1 *h)
{
    struct mg_h1_linger *l = h->linger;

    if (h->is_done)
        return;
    h->is_done = 1;
    h->state = MG_H1_CLOSING;
    h->linger = NULL;
    if (l)
        mg_timer_disarm(&h->stream->loop->wheel, &l->timer);
    mg_free(l);
    h->events->on_done(h);
}

static void linger_over(struct mg_timer *t)
{
    struct mg_h1_linger *l = mg_container(t, struct mg_h1_linger, timer);
    struct mg_h1 *h = l->h;
    struct mg_loop *loop = h->stream->loop;

    if (!mg_stream_is_flushed(h->stream) && mg_loop_now_ms(loop) - h->stream->wrote_ms < MG_H1_STUCK_MS)
        mg_loop_arm(loop, t, MG_H1_LINGER_MS);
    else
        done(h);
}

/* Watch over a connection that has no exchange and so no owner's timer any more. */
static bool linger(struct mg_h1 *h)
{
    struct mg_h1_linger *l = mg_malloc(sizeof *l);

    if (!l)
        return false;
    l->h = h;
    mg_timer_init(&l->timer, linger_over);
    mg_loop_arm(h->stream->loop, &l->timer, MG_H1_LINGER_MS);
    h->linger = l;
    return true;
}

static void unhold(struct mg_h1 *h)
{
    if (h->is_held) {
        h->is_held = 0;
        mg_stream_resume(h->stream);
    }
}

static bool can_write(const struct mg_h1 *h)
{
    return !h->peer_ended || h->end_status == UV_EOF;
}

/* No further exchange. still_sends: the client may be in the middle of sending; closing now would reset the connection
 * and could take the answer away from it (RFC 9112, 9.6), so end our half only and read on for a while. */
static void finish(struct mg_h1 *h, bool still_sends)
{
    if (h->is_done || h->state == MG_H1_CLOSING)
        return;
    h->is_busy = h->is_mute = h->keep_alive = 0;
    h->state = MG_H1_CLOSING;
    still_sends &= !h->peer_ended;
    if (!can_write(h)) {
        done(h);
    } else if (still_sends) {
        h->lingers = 1;
        mg_stream_shutdown(h->stream);
        unhold(h);
        if (!linger(h))
            done(h);
    } else if (mg_stream_is_flushed(h->stream)) {
        done(h);
    } else {
        mg_stream_flush(h->stream);
        mg_stream_notify_flushed(h->stream);
        if (!linger(h))
            done(h);
    }
}

/* A message of ours was cut: the peer must not take it for a whole one. */
static void cut(struct mg_h1 *h)
{
    if (h->is_done)
        return;
    h->is_busy = h->is_mute = h->keep_alive = 0;
    mg_stream_abort(h->stream);
    done(h);
}

void mg_h1_fail(struct mg_h1 *h, int error, int status, const char *why)
{
    if (h->is_done || h->leg.was_reset)
        return;
    if (h->state == MG_H1_HEAD)
        h->leg.head_bytes_in += h->scanned;
    h->keep_alive = 0;
    h->state = MG_H1_REFUSED;
    h->trailers = NULL;
    if (h->is_mute) {
        finish(h, true);
        return;
    }
    h->leg.was_reset = 1;
    if (!h->is_server || h->head_out || error == MG_ECLOSED)
        status = 0;
    h->leg.events->on_reset(&h->leg, error, status, why);
}

/* ---- reading --------------------------------------------------------------------------------------- */

/* Pipelined requests wait while the client does not take the answers that it has: they would pile up here. */
static bool waits_for_room(const struct mg_h1 *h) { return h->is_server && h->state == MG_H1_FIRST && h->stream->is_full; }

static bool can_read(const struct mg_h1 *h)
{
    if (h->is_done || h->state >= MG_H1_WHOLE || waits_for_room(h))
        return false;
    if (!h->is_server && !h->is_busy)
        return false;
    return !(h->leg.is_paused && mg_h1_is_body(h));
}

/* Take what can be taken of p, n. */
static size_t run(struct mg_h1 *h, const char *p, size_t n)
{
    size_t used = 0;

    h->is_feeding = 1;
    while (can_read(h)) {
        long k;

        h->rest = (uint32_t)(n - used);
        k = mg_h1_step(h, p + used, n - used);
        if (k < 0)
            break;
        used += (size_t)k;
    }
    h->is_feeding = 0;
    return used;
}

static void run_kept(struct mg_h1 *h)
{
    size_t used = run(h, h->kept ? h->kept + h->kept_from : "", h->kept_n);

    h->kept_from += (uint32_t)used;
    h->kept_n -= (uint32_t)used;
    if (h->kept_n == 0)
        drop_kept(h);
}

/* The stream has ended, and all that came before has been looked at. */
static void end_of_input(struct mg_h1 *h)
{
    int error = h->end_status == UV_EOF ? MG_ECLOSED : h->end_status;

    if (!h->is_busy || h->is_mute) {
        finish(h, false);
        return;
    }
    switch (h->state) {
    case MG_H1_REFUSED:
        return;
    case MG_H1_WHOLE:
        h->keep_alive &= h->is_server && h->kept_n > 0;
        if (!h->is_server || (h->half_close && h->end_status == UV_EOF))
            return;
        mg_h1_fail(h, error, 0, "client left");
        return;
    case MG_H1_UNTIL_CLOSE:
        if (h->end_status != UV_EOF)
            break;
        h->state = MG_H1_ENDING;
        run(h, "", 0);
        return;
    default:
        break;
    }
    mg_h1_fail(h, error, 0, h->is_server ? "client left" : h->state == MG_H1_HEAD ? "closed before an answer" : "closed within an answer");
}

/* Bytes or an end are held back by a pause; what comes after them has to wait. A client that leaves is not
 * waited for, unless it may have ended its half only. */
static bool end_must_wait(const struct mg_h1 *h)
{
    if (h->is_server && !(h->half_close && h->end_status == UV_EOF))
        return false;
    if (waits_for_room(h) && h->kept_n > 0)
        return true;
    return h->leg.is_paused && mg_h1_is_body(h) && (h->kept_n > 0 || h->state == MG_H1_ENDING);
}

/* Backpressure: stop reading while the owner wants nothing, or a buffer's worth of pipelined bytes waits. */
static void hold_or_not(struct mg_h1 *h)
{
    bool hold = h->is_busy && !h->is_mute && h->state != MG_H1_REFUSED && h->state != MG_H1_CLOSING &&
                ((h->leg.is_paused && mg_h1_is_body(h)) || (h->kept_n >= MG_READ_BYTES && !can_read(h)));

    hold |= waits_for_room(h) && h->kept_n >= MG_READ_BYTES;

    if (hold && !h->is_held) {
        h->is_held = 1;
        mg_stream_pause(h->stream);
    } else if (!hold) {
        unhold(h);
    }
}

/* After every step from outside: what follows from where we are. Raises on_idle or on_done last. */
static void settle(struct mg_h1 *h)
{
    if (h->is_feeding)
        return;
    if (h->is_done || h->state == MG_H1_REFUSED || h->state == MG_H1_CLOSING)
        drop_kept(h);
    if (h->is_done)
        return;
    if (h->peer_ended && h->state != MG_H1_CLOSING && !end_must_wait(h)) {
        h->is_feeding = 1; /* what it leads to is settled here */
        h->rest = h->kept_n;
        end_of_input(h);
        h->is_feeding = 0;
    }
    if (h->is_done || h->state == MG_H1_CLOSING)
        return;
    if (!h->is_busy && (h->state == MG_H1_REFUSED || (!h->is_server && h->kept_n > 0) || (h->peer_ended && !end_must_wait(h)) ||
                       h->drains)) {
        finish(h, false);
        return;
    }
    hold_or_not(h);
    if (!h->is_busy && h->state == MG_H1_FIRST && !h->told_idle) {
        h->told_idle = 1;
        h->events->on_idle(h);
    }
}

void mg_h1_feed(struct mg_h1 *h, const char *p, size_t n)
{
    size_t used;

    if (h->is_done || h->state == MG_H1_REFUSED || h->state == MG_H1_CLOSING || n == 0)
        return;
    if (!h->is_server && !h->is_busy) { /* nobody asked */
        finish(h, false);
        return;
    }
    if (h->kept_n > 0) {
        if (!keep(h, p, n))
            mg_h1_fail(h, MG_ENOMEM, 503, "out of memory");
        else
            run_kept(h);
    } else {
        used = run(h, p, n);
        if (used < n && !h->is_done && h->state < MG_H1_REFUSED && !keep(h, p + used, n - used)) {
            if (h->is_busy)
                mg_h1_fail(h, MG_ENOMEM, 503, "out of memory");
            else
                h->state = MG_H1_REFUSED;
        }
    }
    settle(h);
}

void mg_h1_ended(struct mg_h1 *h, int status)
{
    if (h->is_done || h->peer_ended)
        return;
    h->peer_ended = 1;
    h->end_status = status;
    if (h->state == MG_H1_CLOSING) {
        if (!can_write(h) || mg_stream_is_flushed(h->stream) || !h->half_close)
            done(h);
        return;
    }
    settle(h);
}

void mg_h1_drained(struct mg_h1 *h)
{
    if (h->is_done)
        return;
    if (h->state == MG_H1_CLOSING) {
        if (h->lingers && !h->peer_ended)
            return; /* the client reads on */
        if (mg_stream_is_flushed(h->stream))
            done(h);
        else
            mg_stream_notify_flushed(h->stream);
    } else if (h->is_busy && !h->is_mute && !h->leg.sent_end && h->leg.events->on_drain) {
        h->leg.events->on_drain(&h->leg);
    } else if (h->is_server && h->state == MG_H1_FIRST && !h->is_feeding) {
        run_kept(h);
        settle(h);
    }
}

/* ---- exchanges --------------------------------------------------------------------------------------- */

void mg_h1_next(struct mg_h1 *h)
{
    h->is_busy = h->is_mute = 0;
    h->told_idle = 0;
    h->state = MG_H1_FIRST;
    h->blank = 0;
    h->scanned = h->line_from = h->lines = 0;
}

/* The rest of a request that was answered early has been read and thrown away. */
void mg_h1_message_over(struct mg_h1 *h)
{
    if (h->keep_alive && !h->drains)
        mg_h1_next(h);
    else
        finish(h, false);
}

/* Answered before the request was read to its end. When little is missing, read it and keep the connection. */
static void discard_rest(struct mg_h1 *h)
{
    bool is_long = h->state == MG_H1_LENGTH && h->left_in > MG_H1_DISCARD_MAX;

    if (!h->keep_alive || h->drains || is_long) {
        finish(h, true);
        return;
    }
    h->is_mute = 1;
    h->extra_in = 0;
    h->trailers = NULL;
    h->leg.is_paused = 0;
}

/* Is there more from the peer than the message that has just ended? */
static bool has_more(const struct mg_h1 *h)
{
    return h->is_feeding ? h->rest > 0 : h->kept_n > 0;
}

/* All of the peer's message has been read, also when on_end is still to come: a bodiless one is answered in its on_head. */
static bool is_read(const struct mg_h1 *h)
{
    return h->leg.got_end || h->state == MG_H1_ENDING;
}

static void release_server(struct mg_h1 *h)
{
    if (!h->leg.sent_end) {
        if (h->head_out)
            cut(h);
        else
            finish(h, true); /* nothing was answered: close without a word */
    } else if (h->state == MG_H1_REFUSED) {
        finish(h, true);
    } else if (!is_read(h)) {
        discard_rest(h);
    } else if (h->keep_alive && !h->drains) {
        mg_h1_next(h);
    } else {
        finish(h, has_more(h));
    }
}

static void release_client(struct mg_h1 *h)
{
    bool is_whole = is_read(h) && h->leg.sent_end && !h->leg.was_reset;

    if (is_whole && h->keep_alive && !has_more(h) && !h->peer_ended) {
        mg_h1_next(h);
    } else if (h->head_out && !is_whole) {
        cut(h);
    } else {
        h->is_busy = 0;
        done(h);
    }
}

void mg_h1_release(struct mg_leg *leg)
{
    struct mg_h1 *h = mg_h1_of(leg);

    if (!h->is_busy || h->is_mute || h->is_done)
        return;
    if (h->is_server)
        release_server(h);
    else
        release_client(h);
    if (h->is_feeding || h->is_done)
        return;
    run_kept(h);
    settle(h);
}

void mg_h1_pause(struct mg_leg *leg)
{
    struct mg_h1 *h = mg_h1_of(leg);

    leg->is_paused = 1;
    if (!h->is_feeding && !h->is_done)
        hold_or_not(h);
}

void mg_h1_resume(struct mg_leg *leg)
{
    struct mg_h1 *h = mg_h1_of(leg);

    if (!leg->is_paused)
        return;
    leg->is_paused = 0;
    if (h->is_feeding || h->is_done)
        return;
    run_kept(h);
    settle(h);
}

void mg_h1_start(struct mg_h1 *h, struct mg_leg **leg)
{
    struct mg_leg *l = &h->leg;

    l->head_bytes_in = l->body_bytes_in = l->body_bytes_out = l->head_bytes_out = 0;
    l->got_end = l->sent_end = l->is_paused = l->was_reset = 0;
    h->is_busy = h->keep_alive = 1;
    h->head_out = h->chunked_out = h->length_out = h->no_body_out = h->trailers_out = h->is_cut = 0;
    h->requests++;
    h->trailers = NULL;
    h->blank = 0; /* counts interim answers */
    h->scanned = h->line_from = h->lines = 0;
    h->line_checked = 0;
    h->state = MG_H1_HEAD;
    *leg = l;
}

void mg_h1_drain(struct mg_h1 *h)
{
    if (h->is_done)
        return;
    h->drains = 1;
    if (!h->is_busy && h->state == MG_H1_FIRST && !h->is_feeding)
        finish(h, false);
}

void mg_h1_init(struct mg_h1 *h, struct mg_stream *stream, bool is_server, const struct mg_h1_limits *limits,
                const struct mg_h1_events *events, void *owner)
{
    *h = (struct mg_h1){ .stream = stream, .events = events, .limits = limits, .owner = owner, .is_server = is_server,
                         .told_idle = 1 };
    h->leg.ops = is_server ? &mg_h1_ops_server : &mg_h1_ops_client;
    h->leg.stream = stream;
}

void mg_h1_deinit(struct mg_h1 *h)
{
    drop_kept(h);
    if (h->linger)
        mg_timer_disarm(&h->stream->loop->wheel, &h->linger->timer);
    mg_free(h->linger);
    h->linger = NULL;
    h->is_done = 1;
}
