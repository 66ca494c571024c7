/* An exchange's life without sockets:
 *
 *   on_rewrite -> on_request -> request body -> the spec's upstream -> on_response -> response body -> on_log
 *
 * as proxy/run.c and proxy/pieces.c have it, with all time simulated. */
#include "trial/sim.h"
#include "base/clock.h"
#include "pdk/problem.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

enum { PATIENCE_MS = 10000 };

/* ---- reading the spec's table ---- */

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

/* A list of texts at the top of the stack, popped, as the pieces of a side. */
static void take_pieces(struct mg_sim *sim, int side)
{
    lua_State *L = sim->L;
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

    sim->pieces_n[side] = sim->pieces_at[side] = 0;
    if (count > sizeof(sim->pieces[0]) / sizeof(sim->pieces[0][0]))
        luaL_error(L, "body: at most 64 pieces");
    for (size_t i = 0; i < count; i++) {
        size_t n;
        const char *p;

        lua_rawgeti(L, -1, (int)i + 1);
        p = luaL_checklstring(L, -1, &n);
        sim->pieces[side][i] = mg_arena_copy(&sim->x->arena, p, n);
        if (!sim->pieces[side][i].p)
            luaL_error(L, "body: over the exchange's memory");
        sim->pieces_n[side]++;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* A list of { name, value } at the top of the stack, popped. */
static void take_fields(struct mg_sim *sim, struct mg_headers *headers)
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

static int64_t length_of(const struct mg_sim *sim, int side)
{
    int64_t n = 0;

    for (int i = 0; i < sim->pieces_n[side]; i++)
        n += (int64_t)sim->pieces[side][i].n;
    return n;
}

/* ---- time ---- */

void mg_trial_advance(struct mg_trial *t, int64_t ms)
{
    t->monotonic_us += ms * 1000;
    t->wall_us += ms * 1000;
    t->worker.loop.ahead_ms += ms;
    mg_clock_set(t->monotonic_us, t->wall_us);
    mg_wheel_advance(&t->worker.loop.wheel, mg_loop_now_ms(&t->worker.loop));
}

static void too_long(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Nothing simulated is due: something runs on the thread pool. */
static bool wait_really(struct mg_trial *t, struct mg_sim *sim)
{
    uv_timer_t patience;
    bool late = false;

    patience.data = &late;
    uv_timer_init(&t->worker.loop.uv, &patience);
    uv_timer_start(&patience, too_long, PATIENCE_MS, 0);
    while (!late && !sim->woken && t->worker.loop.wheel.armed == 0)
        uv_run(&t->worker.loop.uv, UV_RUN_ONCE);
    uv_timer_stop(&patience);
    uv_close((uv_handle_t *)&patience, NULL);
    uv_run(&t->worker.loop.uv, UV_RUN_NOWAIT);
    return !late;
}

/* Until the exchange is woken. false: nothing will. */
static bool pump(struct mg_sim *sim)
{
    struct mg_trial *t = sim->trial;

    sim->woken = false;
    for (int i = 0; !sim->woken; i++) {
        int64_t next;

        if (!mg_list_empty(&t->worker.woken)) {
            mg_ops_deliver(&t->worker);
            continue;
        }
        if (mg_list_empty(&sim->x->ops))
            return false;
        next = mg_wheel_next_ms(&t->worker.loop.wheel, mg_loop_now_ms(&t->worker.loop));
        if (next >= 0)
            mg_trial_advance(t, next > 0 ? next : MG_TICK_MS);
        else if (!wait_really(t, sim))
            return false;
    }
    return true;
}

static void woken(struct mg_exchange *x)
{
    struct mg_sim *sim = mg_container(x->snapshot, struct mg_sim, snapshot);

    sim->woken = true;
}

/* ---- bodies ---- */

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

static enum mg_verdict settle_body(struct mg_sim *sim, int side, enum mg_verdict v)
{
    while (v == MG_WAIT) {
        if (!pump(sim))
            luaL_error(sim->L, "a body handler waits for something that never comes");
        if (sim->x->body[side].waiting)
            v = mg_chain_run_body(sim->x, side);
    }
    return v;
}

static enum mg_verdict body_out(struct mg_sim *sim, int side, enum mg_verdict v)
{
    struct mg_body *b = &sim->x->body[side];

    v = settle_body(sim, side, v);
    if (v == MG_CONTINUE && !b->held) {
        put(sim, side, b->piece);
        b->ended = b->last;
    }
    return v;
}

/* The sender's next piece through the chain. */
static enum mg_verdict next_piece(struct mg_sim *sim, int side)
{
    struct mg_body *b = &sim->x->body[side];
    struct mg_str piece = { NULL, 0 };

    if (sim->pieces_at[side] < sim->pieces_n[side])
        piece = sim->pieces[side][sim->pieces_at[side]++];
    b->piece = piece;
    b->last = b->got_end = sim->pieces_at[side] >= sim->pieces_n[side];
    b->seen_bytes += (int64_t)piece.n;
    b->step = 0;
    return mg_chain_run_body(sim->x, side);
}

static enum mg_verdict stream(struct mg_sim *sim, int side)
{
    struct mg_body *b = &sim->x->body[side];
    enum mg_verdict v = MG_CONTINUE;

    if (mg_chain_has_whole(b))
        v = body_out(sim, side, mg_chain_run_whole(sim->x, side));
    while (v == MG_CONTINUE && !b->ended && (!b->got_end || !b->whole_out))
        v = body_out(sim, side, next_piece(sim, side));
    return v;
}

/* ---- the phases of heads ---- */

static enum mg_verdict settle(struct mg_sim *sim, enum mg_verdict v)
{
    struct mg_exchange *x = sim->x;
    int side = x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST;

    while (v == MG_WAIT) {
        struct mg_body *b = &x->body[side];

        if (b->gather == MG_GATHER_ASKED && mg_list_empty(&sim->trial->worker.woken) &&
            (!b->got_end || sim->pieces_at[side] < sim->pieces_n[side])) {
            v = settle_body(sim, side, next_piece(sim, side));
            if (v == MG_CONTINUE)
                v = MG_WAIT;
            continue;
        }
        if (!pump(sim))
            luaL_error(sim->L, "a handler waits for something that never comes");
        v = mg_chain_wake(x);
    }
    return v;
}

static enum mg_verdict phase(struct mg_sim *sim, int which)
{
    mg_chain_begin(sim->x, which);
    return settle(sim, mg_chain_run(sim->x));
}

static struct mg_head *new_response(struct mg_sim *sim, int status, int source)
{
    struct mg_exchange *x = sim->x;
    struct mg_body *b = &x->body[MG_RESPONSE];

    x->res = mg_arena_zalloc(&x->arena, sizeof(*x->res));
    if (!x->res)
        luaL_error(sim->L, "out of memory");
    x->res->status = status;
    x->res->version = 11;
    x->res->framing = MG_BODY_LENGTH;
    x->source = (uint8_t)source;
    b->gather = MG_GATHER_NO;
    b->replaced = b->whole_out = b->got_end = b->resized = false;
    x->is_waiting = false;
    return x->res;
}

static void own_answer(struct mg_sim *sim, int status, const char *failure)
{
    struct mg_str type, body;
    struct mg_head *head;

    sim->x->failure = failure;
    if (mg_problem(sim->x, status, mg_str(NULL, 0), &type, &body) != 0)
        luaL_error(sim->L, "out of memory");
    head = new_response(sim, status, MG_SOURCE_GATEWAY);
    mg_headers_set_id(&head->headers, &sim->x->arena, MG_H_CONTENT_TYPE, type);
    sim->pieces[MG_RESPONSE][0] = body;
    sim->pieces_n[MG_RESPONSE] = 1;
    sim->pieces_at[MG_RESPONSE] = 0;
    head->length = (int64_t)body.n;
}

static void recorded_answer(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    struct mg_head *head = x->answer_head;
    struct mg_str body = x->answer;

    new_response(sim, head->status, MG_SOURCE_PLUGIN);
    x->res = head;
    x->res->framing = MG_BODY_LENGTH;
    x->res->length = (int64_t)body.n;
    x->answer_head = NULL;
    sim->pieces[MG_RESPONSE][0] = body;
    sim->pieces_n[MG_RESPONSE] = body.n ? 1 : 0;
    sim->pieces_at[MG_RESPONSE] = 0;
}

static bool passed(struct mg_sim *sim, enum mg_verdict v, int side)
{
    if (v == MG_CONTINUE)
        return true;
    if (v == MG_RESPOND)
        recorded_answer(sim);
    else if (sim->x->body[side].gather == MG_GATHER_REFUSED)
        own_answer(sim, side == MG_REQUEST ? 413 : 502, side == MG_REQUEST ? NULL : "response_too_large");
    else
        own_answer(sim, 500, "plugin_error");
    return false;
}

/* ---- the upstream ---- */

static void push_str(lua_State *L, struct mg_str s)
{
    lua_pushlstring(L, s.p ? s.p : "", s.n);
}

static void push_fields(lua_State *L, const struct mg_headers *h)
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

/* What the upstream sees, as a table. */
static void push_request(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;

    lua_newtable(L);
    push_str(L, x->req->method_text);
    lua_setfield(L, -2, "method");
    push_str(L, x->path);
    lua_setfield(L, -2, "path");
    if (x->has_query) {
        push_str(L, x->query);
        lua_setfield(L, -2, "query");
    }
    push_fields(L, &x->req->headers);
    lua_setfield(L, -2, "fields");
    push_str(L, mg_str(sim->sent[MG_REQUEST].p, sim->sent[MG_REQUEST].n));
    lua_setfield(L, -2, "body");
    lua_pushinteger(L, sim->sent_pieces[MG_REQUEST]);
    lua_setfield(L, -2, "pieces");
    push_str(L, x->upstream ? x->upstream->name : mg_str(NULL, 0));
    lua_setfield(L, -2, "upstream");
}

static void call_upstream(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_head *head;
    int answer;

    lua_getfield(L, sim->spec, "upstream");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        own_answer(sim, 404, NULL);
        return;
    }
    sim->upstream_called = true;
    sim->x->tries = 1;
    sim->x->upstream_us = mg_clock_monotonic_us();
    push_request(sim);
    lua_pushvalue(L, -1);
    lua_setfield(L, sim->spec, "seen");
    lua_call(L, 1, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    answer = lua_gettop(L);
    lua_getfield(L, answer, "status");
    head = new_response(sim, (int)luaL_checkinteger(L, -1), MG_SOURCE_UPSTREAM);
    lua_pop(L, 1);
    lua_getfield(L, answer, "fields");
    take_fields(sim, &head->headers);
    lua_getfield(L, answer, "pieces");
    take_pieces(sim, MG_RESPONSE);
    head->length = length_of(sim, MG_RESPONSE);
    lua_getfield(L, answer, "stream");
    if (lua_toboolean(L, -1))
        head->framing = MG_BODY_STREAM;
    lua_settop(L, answer - 1);
    sim->x->upstream_end_us = mg_clock_monotonic_us();
}

/* ---- beginning ---- */

static void fill_request(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;
    struct mg_head *head = mg_arena_zalloc(&x->arena, sizeof(*head));
    struct mg_str params[2];

    if (!head)
        luaL_error(L, "out of memory");
    x->req = head;
    head->method_text = mg_sim_text(sim, "method");
    head->method = mg_method_of(head->method_text);
    head->version = 11;
    lua_getfield(L, sim->spec, "fields");
    take_fields(sim, &head->headers);
    lua_getfield(L, sim->spec, "pieces");
    take_pieces(sim, MG_REQUEST);
    head->length = length_of(sim, MG_REQUEST);
    head->framing = sim->pieces_n[MG_REQUEST] ? MG_BODY_LENGTH : MG_BODY_NONE;
    if (head->framing && mg_sim_number(sim, "chunked", 0) != 0) {
        head->framing = MG_BODY_STREAM;
        head->length = -1;
    }
    x->body[MG_REQUEST].got_end = sim->pieces_n[MG_REQUEST] == 0;
    if (mg_uri_normalise_path(mg_sim_text(sim, "path"), &x->arena, &x->path) != 0)
        luaL_error(L, "path: malformed");
    x->query = mg_sim_text(sim, "query");
    x->has_query = x->query.p != NULL;
    x->target = mg_sim_text(sim, "target");
    head->target = x->target;
    x->host = head->authority = mg_sim_text(sim, "host");
    x->port = (int)mg_sim_number(sim, "port", 80);
    x->is_https = mg_sim_number(sim, "https", 0) != 0;
    lua_getfield(L, sim->spec, "params");
    while (lua_istable(L, -1) && x->found.params_n < MG_PARAMS_MAX && x->found.params_n < (int)lua_objlen(L, -1)) {
        lua_rawgeti(L, -1, x->found.params_n + 1);
        for (int i = 0; i < 2; i++) {
            const char *p;

            lua_rawgeti(L, -1, i + 1);
            p = luaL_checklstring(L, -1, &params[i].n);
            params[i] = mg_arena_copy(&x->arena, p, params[i].n);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
        x->found.params[x->found.params_n++] = (struct mg_param){ params[0], params[1] };
    }
    lua_pop(L, 1);
}

static void fill_client(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    struct mg_cidr cidr;

    x->client_ip = x->peer_ip = mg_sim_text(sim, "client");
    if (mg_cidr_parse(x->client_ip, &cidr) != 0)
        luaL_error(sim->L, "client: an IP address expected");
    memcpy(x->client_addr, cidr.addr, 16);
    memcpy(x->peer_addr, cidr.addr, 16);
    x->peer_port = 50000;
    x->tls_kept = true;
}

static void begin(struct mg_sim *sim)
{
    struct mg_exchange *x;
    struct mg_trial *t = sim->trial;

    sim->route.id = mg_sim_text(sim, "route");
    sim->snapshot.script = t->script;
    sim->snapshot.registry = t->registry;
    mg_sim_config(sim);
    sim->snapshot.global = sim->route.chain;
    sim->x = x = mg_exchange_new(&t->worker, (size_t)mg_sim_number(sim, "memory", 8 << 20));
    if (!x)
        luaL_error(sim->L, "out of memory");
    x->snapshot = &sim->snapshot;
    x->limits.buffered_body = (int64_t)mg_sim_number(sim, "buffered_body", 1 << 20);
    x->script_host = t->script;
    x->chain = sim->route.chain;
    x->route = &sim->route;
    x->started_us = mg_clock_monotonic_us();
    x->started_wall_us = mg_clock_wall_us();
    sim->upstream.name = mg_sim_text(sim, "upstream_name");
    x->upstream = &sim->upstream;
    x->found.path_pattern = mg_sim_text(sim, "route_path");
    fill_request(sim);
    fill_client(sim);
    mg_exchange_woken = woken;
}

/* ---- the whole ---- */

static void push_result(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;

    lua_newtable(L);
    lua_pushinteger(L, x->res->status);
    lua_setfield(L, -2, "status");
    push_fields(L, &x->res->headers);
    lua_setfield(L, -2, "fields");
    push_str(L, mg_str(sim->sent[MG_RESPONSE].p, sim->sent[MG_RESPONSE].n));
    lua_setfield(L, -2, "body");
    lua_pushinteger(L, sim->sent_pieces[MG_RESPONSE]);
    lua_setfield(L, -2, "pieces");
    lua_pushinteger(L, x->source);
    lua_setfield(L, -2, "source");
    if (x->failure) {
        lua_pushstring(L, x->failure);
        lua_setfield(L, -2, "failure");
    }
    lua_pushnumber(L, (double)(mg_clock_monotonic_us() - x->started_us) / 1000);
    lua_setfield(L, -2, "elapsed_ms");
    if (sim->upstream_called) {
        lua_getfield(L, sim->spec, "seen");
        lua_setfield(L, -2, "request");
    }
    lua_newtable(L);
    for (uint16_t i = 0; i < x->ctx_n; i++) {
        const struct mg_datum *d = &x->ctx[i].value;

        push_str(L, x->ctx[i].name);
        if (d->kind == MG_TEXT)
            push_str(L, d->text);
        else if (d->kind == MG_DOUBLE)
            lua_pushnumber(L, d->number);
        else if (d->kind == MG_BOOLEAN)
            lua_pushboolean(L, d->number != 0);
        else
            lua_pushnil(L);
        lua_settable(L, -3);
    }
    lua_setfield(L, -2, "ctx");
    if (x->consumer) {
        push_str(L, x->consumer->name);
        lua_setfield(L, -2, "consumer");
    }
}

static bool has_body(const struct mg_exchange *x)
{
    return x->req->method != MG_M_HEAD && x->res->status != 204 && x->res->status != 304;
}

void mg_sim_run(struct mg_sim *sim)
{
    struct mg_exchange *x;
    bool answered;

    begin(sim);
    x = sim->x;
    answered = !passed(sim, phase(sim, MG_ON_REWRITE), MG_REQUEST) || !passed(sim, phase(sim, MG_ON_REQUEST), MG_REQUEST) ||
               !passed(sim, stream(sim, MG_REQUEST), MG_REQUEST);
    if (!answered)
        call_upstream(sim);
    x->responding = true;
    mg_chain_begin(x, MG_ON_RESPONSE);
    while (!passed(sim, settle(sim, mg_chain_run(x)), MG_RESPONSE))
        ; /* the entries below see the new answer */
    if (has_body(x) && !passed(sim, stream(sim, MG_RESPONSE), MG_RESPONSE))
        x->failure = "cut_short";
    x->ended_us = mg_clock_monotonic_us();
    x->body_out = sim->sent[MG_RESPONSE].n;
    mg_op_cancel_all(x);
    x->is_waiting = false;
    mg_chain_begin(x, MG_ON_LOG);
    mg_chain_run(x);
    push_result(sim);
}

void mg_sim_end(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    if (x) {
        mg_op_cancel_all(x);
        if (x->script)
            mg_script_exchange_end(x);
        mg_exchange_free(x);
    }
    mg_sim_config_end(sim);
    free(sim->sent[0].p);
    free(sim->sent[1].p);
    mg_arena_deinit(&sim->snapshot.arena);
}
