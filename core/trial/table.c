/* What a spec's table says, and results as tables. */
#include "trial/sim.h"
#include "base/clock.h"
#include "pdk/problem.h"
#include <lauxlib.h>
#include <lua.h>

struct mg_str mg_sim_text(struct mg_sim *sim, const char *name)
{
    struct mg_str s = { NULL, 0 };
    size_t n;
    const char *p;

    lua_getfield(sim->L, sim->spec, name);
    if (!lua_isnil(sim->L, -1)) {
        if (lua_type(sim->L, -1) != LUA_TSTRING)
            luaL_error(sim->L, "%s: text expected", name);
        p = lua_tolstring(sim->L, -1, &n);
        s = mg_arena_copy(&sim->snapshot.arena, p, n);
        if (!s.p)
            luaL_error(sim->L, "out of memory");
    }
    lua_pop(sim->L, 1);
    return s;
}

double mg_sim_number(struct mg_sim *sim, const char *name, double preset)
{
    double n = preset;

    lua_getfield(sim->L, sim->spec, name);
    if (!lua_isnil(sim->L, -1))
        n = luaL_checknumber(sim->L, -1);
    lua_pop(sim->L, 1);
    return n;
}

void mg_sim_take_pieces(struct mg_sim *sim, int side)
{
    lua_State *L = sim->L;
    struct mg_pieces *pieces = &sim->pieces[side];
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    int64_t pause_ms = 0;

    pieces->n = pieces->next = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n;
        const char *p;

        lua_rawgeti(L, -1, (int)i + 1);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            pause_ms += (int64_t)lua_tonumber(L, -1);
            lua_pop(L, 1);
            continue;
        }
        p = luaL_checklstring(L, -1, &n);
        if (pieces->n == TRIAL_PIECES_MAX)
            luaL_error(L, "body: at most %d pieces", TRIAL_PIECES_MAX);
        pieces->at[pieces->n] = mg_arena_copy(&sim->snapshot.arena, p, n);
        if (!pieces->at[pieces->n].p)
            luaL_error(L, "body: over the exchange's memory");
        pieces->pause_ms[pieces->n++] = pause_ms;
        pause_ms = 0;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void mg_sim_take_fields(struct mg_sim *sim, struct mg_headers *headers)
{
    lua_State *L = sim->L;
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

    for (size_t i = 0; i < count; i++) {
        struct mg_str part[2];

        lua_rawgeti(L, -1, (int)i + 1);
        for (int k = 0; k < 2; k++) {
            const char *p;

            lua_rawgeti(L, -1, k + 1);
            p = luaL_checklstring(L, -1, &part[k].n);
            part[k] = mg_arena_copy(&sim->x->arena, p, part[k].n);
            lua_pop(L, 1);
        }
        if (!part[0].p || !part[1].p || mg_headers_add(headers, &sim->x->arena, part[0], part[1]) != 0)
            luaL_error(L, "headers: out of memory");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

struct mg_headers *mg_sim_take_trailers(struct mg_sim *sim)
{
    struct mg_headers *h;

    if (!lua_istable(sim->L, -1)) {
        lua_pop(sim->L, 1);
        return NULL;
    }
    h = mg_arena_zalloc(&sim->x->arena, sizeof(*h));
    if (!h)
        luaL_error(sim->L, "trailers: out of memory");
    mg_sim_take_fields(sim, h);
    return h;
}

/* ---- results ---- */

void mg_sim_push_str(lua_State *L, struct mg_str s)
{
    lua_pushlstring(L, s.p ? s.p : "", s.n);
}

void mg_sim_push_fields(lua_State *L, const struct mg_headers *h)
{
    int n = 0;

    lua_newtable(L);
    for (uint32_t i = 0; h && i < h->n; i++) {
        if (!h->at[i].name)
            continue;
        lua_createtable(L, 2, 0);
        lua_pushlstring(L, h->at[i].name, h->at[i].name_n);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, h->at[i].value, h->at[i].value_n);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, ++n);
    }
}

static void push_ctx(lua_State *L, const struct mg_exchange *x)
{
    lua_newtable(L);
    for (uint16_t i = 0; i < x->ctx_n; i++) {
        const struct mg_datum *d = &x->ctx[i].value;

        mg_sim_push_str(L, x->ctx[i].name);
        if (d->kind == MG_TEXT)
            mg_sim_push_str(L, d->text);
        else if (d->kind == MG_DOUBLE)
            lua_pushnumber(L, d->number);
        else if (d->kind == MG_BOOLEAN)
            lua_pushboolean(L, d->number != 0);
        else
            lua_pushnil(L);
        lua_settable(L, -3);
    }
}

static void push_response(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;

    lua_pushinteger(L, x->res->status);
    lua_setfield(L, -2, "status");
    mg_sim_push_fields(L, &x->res->headers);
    lua_setfield(L, -2, "fields");
    mg_sim_push_str(L, mg_str(sim->sent[MG_RESPONSE].p, sim->sent[MG_RESPONSE].n));
    lua_setfield(L, -2, "body");
    lua_pushinteger(L, sim->sent_pieces[MG_RESPONSE]);
    lua_setfield(L, -2, "pieces");
    if (sim->arrived[MG_RESPONSE]) {
        mg_sim_push_fields(L, sim->arrived[MG_RESPONSE]);
        lua_setfield(L, -2, "trailer_fields");
    }
    lua_pushinteger(L, x->source);
    lua_setfield(L, -2, "source");
}

void mg_sim_push_result(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;

    lua_newtable(L);
    if (x->res && (!sim->left || x->response_started))
        push_response(sim);
    if (x->failure) {
        lua_pushstring(L, x->failure);
        lua_setfield(L, -2, "failure");
    }
    lua_pushnumber(L, (double)(mg_clock_monotonic_us() - x->started_us) / 1000);
    lua_setfield(L, -2, "elapsed_ms");
    if (x->first_byte_us) {
        lua_pushnumber(L, (double)(x->first_byte_us - x->started_us) / 1000);
        lua_setfield(L, -2, "first_byte_ms");
    }
    if (sim->upstream_called) {
        lua_getfield(L, sim->spec, "seen");
        lua_setfield(L, -2, "request");
    }
    if (sim->trace.p) {
        mg_sim_push_str(L, sim->trace);
        lua_setfield(L, -2, "trace");
    }
    push_ctx(L, x);
    lua_setfield(L, -2, "ctx");
    if (x->consumer) {
        mg_sim_push_str(L, x->consumer->name);
        lua_setfield(L, -2, "consumer");
    }
    if (x->route) {
        mg_sim_push_str(L, x->route->id);
        lua_setfield(L, -2, "route");
    }
    if (sim->upstream_called && x->upstream) {
        mg_sim_push_str(L, x->upstream->name);
        lua_setfield(L, -2, "upstream");
    }
    mg_sim_push_str(L, mg_exchange_id(x));
    lua_setfield(L, -2, "id");
}
