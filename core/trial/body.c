/* Bodies of a simulated exchange: from the sender's pieces through the chain to the other end. What would move one on, proxy/pieces.c
 * says; its legs are the spec's pieces and what has been sent. */
#include "trial/sim.h"
#include "plugin/body.h"
#include "plugin/feed.h"
#include "plugin/pull.h"
#include "plugin/recode.h"
#include "proxy/run.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

static void put(struct mg_sim *sim, int side, struct mg_str s)
{
    struct mg_bytes *b = &sim->sent[side];

    if (b->n + s.n > b->room) {
        size_t room = (b->n + s.n) * 2 + 256;
        char *p = realloc(b->p, room);

        if (!p)
            luaL_error(sim->L, "out of memory");
        b->p = p;
        b->room = room;
    }
    if (s.n) {
        memcpy(b->p + b->n, s.p, s.n);
        sim->sent_pieces[side]++;
    }
    b->n += s.n;
}

int64_t mg_sim_length(const struct mg_sim *sim, int side)
{
    int64_t n = 0;

    for (int i = 0; i < sim->pieces[side].n; i++)
        n += (int64_t)sim->pieces[side].at[i].n;
    return n;
}

bool mg_sim_await(struct mg_sim *sim, const char *who)
{
    struct mg_exchange *x = sim->x;
    enum mg_pumped p;

    if (!sim->plugin_late_at_us && (x->is_waiting || x->body[0].waiting || x->body[1].waiting) && x->timeouts.plugin > 0)
        sim->plugin_late_at_us = sim->trial->monotonic_us + x->timeouts.plugin * 1000;
    p = mg_sim_pump(sim);
    if (p == PUMP_NEVER)
        luaL_error(sim->L, "%s waits for something that never comes", who);
    return p == PUMP_WOKEN;
}

/* A piece on its way: until no step of it waits any more, and then to the other end. */
static enum mg_verdict body_out(struct mg_sim *sim, int side, enum mg_verdict v)
{
    struct mg_exchange *x = sim->x;
    struct mg_body *b = &x->body[side];

    sim->piece_at_us = 0;
    while (v == MG_WAIT) {
        if (!mg_sim_await(sim, "a body handler"))
            return MG_ERROR;
        if (b->waiting)
            v = mg_chain_run_body(x, side);
        if (v != MG_WAIT && !x->is_waiting)
            sim->plugin_late_at_us = 0;
    }
    if (v == MG_CONTINUE && !b->held) {
        put(sim, side, b->piece);
        b->ended = b->last;
        if (b->last)
            sim->arrived[side] = b->trailers;
    }
    return v;
}

static enum mg_verdict run_piece(struct mg_sim *sim, int side, struct mg_str piece, bool last)
{
    struct mg_body *b = &sim->x->body[side];

    b->piece = piece;
    b->last = last;
    b->step = 0;
    return body_out(sim, side, mg_chain_run_body(sim->x, side));
}

/* Over limits.body, as the codec counts it. */
static bool is_too_big(struct mg_sim *sim, int side)
{
    struct mg_exchange *x = sim->x;

    return side == MG_REQUEST && x->limits.body > 0 && x->body[side].seen_bytes > x->limits.body;
}

/* The upstream has said what it had to say, and breaks off. What a plugin makes of it goes on. */
static enum mg_verdict broke_off(struct mg_sim *sim)
{
    struct mg_body *b = &sim->x->body[MG_RESPONSE];

    if (sim->x->state == MG_ST_STREAM && b->feed) {
        mg_pull_broke(sim->x, b);
        b->got_end = true;
        return MG_CONTINUE;
    }
    sim->is_cut = true;
    return MG_ERROR;
}

/* The sender's next piece. */
static enum mg_verdict take_piece(struct mg_sim *sim, int side)
{
    struct mg_pieces *from = &sim->pieces[side];
    struct mg_body *b = &sim->x->body[side];
    bool is_cut = side == MG_RESPONSE && sim->cut;
    struct mg_str piece = { NULL, 0 };

    if (is_cut && from->next >= from->n)
        return broke_off(sim);
    if (from->next < from->n)
        piece = from->at[from->next++];
    from->due_us = 0;
    b->got_end = from->next >= from->n && !is_cut;
    if (b->got_end)
        b->trailers = sim->trailers[side];
    b->seen_bytes += (int64_t)piece.n;
    if (side == MG_REQUEST)
        sim->x->body_in += piece.n;
    if (is_too_big(sim, side)) {
        b->gather = MG_GATHER_REFUSED;
        b->refused = MG_REFUSED_SIZE;
        return MG_ERROR;
    }
    return run_piece(sim, side, piece, b->got_end);
}

/* Has the sender got its next piece ready? If not, that is when it will. */
static bool has_come(struct mg_sim *sim, int side)
{
    struct mg_pieces *from = &sim->pieces[side];

    while (from->next + 1 < from->n && from->at[from->next].n == 0 && from->pause_ms[from->next] == 0)
        from->next++; /* nothing of a body is no piece of it */
    if (from->next >= from->n || from->pause_ms[from->next] <= 0)
        return true;
    if (!from->due_us)
        from->due_us = sim->trial->monotonic_us + from->pause_ms[from->next] * 1000;
    sim->piece_at_us = from->due_us;
    return from->due_us <= sim->trial->monotonic_us;
}

/* Pieces come one by one: whoever was told of the last has had his turn. */
static bool has_sent(struct mg_sim *sim, int side, bool open)
{
    struct mg_body *b = &sim->x->body[side];
    bool is_dropped = side == MG_RESPONSE && sim->x->source != MG_SOURCE_UPSTREAM && b->feed && !mg_pull_of(b);

    return !b->got_end && !is_dropped && mg_list_empty(&sim->x->woken_node) && mg_pieces_wants_sent(sim->x, side, open) &&
           has_come(sim, side);
}

enum mg_verdict mg_sim_move(struct mg_sim *sim, int side, bool *moved)
{
    struct mg_exchange *x = sim->x;
    struct mg_body *b = &x->body[side];
    bool open = x->state == (side == MG_REQUEST ? MG_ST_RECEIVE : MG_ST_STREAM);

    *moved = true;
    sim->piece_at_us = 0;
    if (b->more && b->more->spill && mg_body_spilled(x, side) == MG_ERROR)
        return MG_ERROR;
    if (b->feed && mg_chain_wake_feeds(x, &side) == MG_ERROR)
        return MG_ERROR;
    if (mg_pieces_wants_decoded(x, side, open) && mg_decoding_ready(b))
        return body_out(sim, side, mg_chain_run_decoded(x, side));
    if (b->feed && mg_pieces_wants(x, side, open) && mg_feed_ready(x, side))
        return body_out(sim, side, mg_chain_run_feed(x, side));
    if (b->got_end && mg_pieces_end_is_due(x, side))
        return run_piece(sim, side, mg_str(NULL, 0), true);
    if (has_sent(sim, side, open))
        return take_piece(sim, side);
    *moved = false;
    return MG_CONTINUE;
}

enum mg_verdict mg_sim_stream(struct mg_sim *sim, int side)
{
    struct mg_body *b = &sim->x->body[side];
    enum mg_verdict v = MG_CONTINUE;
    bool moved;

    if (mg_chain_has_whole(b))
        v = body_out(sim, side, mg_chain_run_whole(sim->x, side));
    else if (b->got_end && !b->feed && !mg_decoding_has_end(b))
        v = run_piece(sim, side, mg_str(NULL, 0), true);
    while (v == MG_CONTINUE && !b->ended) {
        v = mg_sim_move(sim, side, &moved);
        if (v == MG_CONTINUE && !moved && !mg_sim_await(sim, "whoever makes a body"))
            v = MG_ERROR;
    }
    return v;
}
