/* Bodies of a simulated exchange: from the sender's pieces through the chain to the other end, as proxy/pieces.c has it. */
#include "trial/sim.h"
#include "plugin/feed.h"
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

enum mg_verdict mg_sim_settle_body(struct mg_sim *sim, int side, enum mg_verdict v)
{
    while (v == MG_WAIT) {
        enum mg_pumped p = mg_sim_pump(sim);

        if (p == PUMP_OVER)
            return MG_ERROR;
        if (p == PUMP_NEVER)
            luaL_error(sim->L, "a body handler waits for something that never comes");
        if (sim->x->body[side].waiting)
            v = mg_chain_run_body(sim->x, side);
    }
    return v;
}

static enum mg_verdict body_out(struct mg_sim *sim, int side, enum mg_verdict v)
{
    struct mg_body *b = &sim->x->body[side];

    v = mg_sim_settle_body(sim, side, v);
    if (v == MG_CONTINUE && !b->held) {
        put(sim, side, b->piece);
        b->ended = b->last;
        if (b->last)
            sim->arrived[side] = b->trailers;
    }
    return v;
}

/* Over limits.body, as the codec counts it. */
static bool is_too_big(struct mg_sim *sim, int side)
{
    struct mg_exchange *x = sim->x;

    return side == MG_REQUEST && x->limits.body > 0 && x->body[side].seen_bytes > x->limits.body;
}

enum mg_verdict mg_sim_piece(struct mg_sim *sim, int side)
{
    struct mg_pieces *from = &sim->pieces[side];
    struct mg_body *b = &sim->x->body[side];
    struct mg_str piece = { NULL, 0 };

    if (side == MG_RESPONSE && sim->cut && from->next >= from->n) {
        sim->is_cut = true;
        return MG_ERROR;
    }
    while (from->next + 1 < from->n && from->at[from->next].n == 0 && from->pause_ms[from->next] == 0)
        from->next++; /* nothing of a body is no piece of it */
    if (from->next < from->n) {
        if (from->pause_ms[from->next] > 0 && !mg_sim_elapse(sim, from->pause_ms[from->next]))
            return MG_ERROR;
        piece = from->at[from->next++];
    }
    b->piece = piece;
    b->last = b->got_end = from->next >= from->n && !(side == MG_RESPONSE && sim->cut);
    if (b->last)
        b->trailers = sim->trailers[side];
    b->seen_bytes += (int64_t)piece.n;
    if (side == MG_REQUEST)
        sim->x->body_in += piece.n;
    b->step = 0;
    if (is_too_big(sim, side)) {
        b->gather = MG_GATHER_REFUSED;
        b->refused = MG_REFUSED_SIZE;
        return MG_ERROR;
    }
    return mg_chain_run_body(sim->x, side);
}

enum mg_verdict mg_sim_feed_piece(struct mg_sim *sim, int side, bool *made)
{
    enum mg_pumped p;

    *made = false;
    if (mg_chain_wake_feeds(sim->x, &side) == MG_ERROR)
        return MG_ERROR;
    *made = mg_feed_ready(sim->x, side);
    if (*made)
        return MG_CONTINUE;
    p = mg_sim_pump(sim);
    if (p == PUMP_NEVER)
        luaL_error(sim->L, "whoever makes a body waits for something that never comes");
    return p == PUMP_OVER ? MG_ERROR : MG_CONTINUE;
}

enum mg_verdict mg_sim_stream(struct mg_sim *sim, int side)
{
    struct mg_body *b = &sim->x->body[side];
    enum mg_verdict v = MG_CONTINUE;
    bool made;

    if (mg_chain_has_whole(b))
        v = body_out(sim, side, mg_chain_run_whole(sim->x, side));
    while (v == MG_CONTINUE && !b->ended && b->feed) {
        v = mg_sim_feed_piece(sim, side, &made);
        if (v == MG_CONTINUE && made)
            v = body_out(sim, side, mg_chain_run_feed(sim->x, side));
    }
    while (v == MG_CONTINUE && !b->ended && (!b->got_end || !b->whole_out))
        v = body_out(sim, side, mg_sim_piece(sim, side));
    return v;
}
