/* An exchange's life without sockets:
 *
 *   on_rewrite -> (routing) -> on_request -> request body -> the spec's upstream -> on_response -> response body -> on_log
 *
 * as proxy/run.c has it, with all time simulated. Answers, routing and what a proxy changes on the way are the proxy's own. */
#include "trial/sim.h"
#include "base/clock.h"
#include "base/log.h"
#include "plugin/trace.h"
#include "proxy/run.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

/* ---- what a phase came to ------------------------------------------------------------------------ */

/* The answer that stands in the exchange is what the response side's sender has to give. */
static void feed_answer(struct mg_sim *sim)
{
    struct mg_pieces *p = &sim->pieces[MG_RESPONSE];

    p->at[0] = sim->x->answer;
    p->pause_ms[0] = 0;
    p->n = sim->x->answer.n ? 1 : 0;
    p->next = 0;
    p->due_us = 0;
    sim->trailers[MG_RESPONSE] = NULL;
    sim->cut = NULL;
    sim->x->body[MG_RESPONSE].ended = false;
}

static void fail(struct mg_sim *sim, int status, const char *failure, const char *detail)
{
    struct mg_exchange *x = sim->x;

    if (x->response_started) {
        x->failure = x->failure ? x->failure : failure ? failure : "cut_short";
        sim->is_over = true;
        return;
    }
    mg_answer_error(x, status, failure, detail);
    feed_answer(sim);
}

static void too_late(struct mg_sim *sim)
{
    const char *token = sim->late;
    bool plugin = strcmp(token, "plugin_timeout") == 0;

    sim->late = NULL;
    sim->plugin_late_at_us = 0;
    if (!plugin)
        sim->late_at_us = 0;
    else
        mg_logf(MG_LOG_WARN, "a plugin waited too long");
    mg_op_cancel_all(sim->x);
    fail(sim, 504, token, plugin ? "A policy took too long." : "The request took too long.");
}

static void upstream_broke(struct mg_sim *sim)
{
    struct mg_up_failure f = mg_up_failure(sim->cut);

    sim->is_cut = false;
    mg_op_cancel_all(sim->x);
    sim->x->is_waiting = false;
    fail(sim, f.status, f.token, f.detail);
}

/* true: on to the next phase. Else an answer stands in the exchange, or it is over (sim->left, sim->is_over). */
static bool passed(struct mg_sim *sim, enum mg_verdict v, int side)
{
    struct mg_exchange *x = sim->x;

    sim->plugin_late_at_us = sim->late ? sim->plugin_late_at_us : 0;
    if (v == MG_CONTINUE)
        return true;
    if (sim->left)
        return false;
    if (sim->late) {
        too_late(sim);
    } else if (sim->is_cut) {
        upstream_broke(sim);
    } else if (v == MG_RESPOND && !x->response_started) {
        mg_answer_recorded(x);
        feed_answer(sim);
    } else if (v != MG_RESPOND && x->body[side].gather == MG_GATHER_REFUSED) {
        struct mg_up_failure f = mg_run_refusal(x, side);

        fail(sim, f.status, f.token, f.detail);
    } else {
        fail(sim, 500, "plugin_error", NULL);
    }
    return false;
}

/* ---- the phases of heads --------------------------------------------------------------------------- */

static enum mg_verdict settle(struct mg_sim *sim, enum mg_verdict v)
{
    struct mg_exchange *x = sim->x;
    int side = x->phase == MG_ON_RESPONSE ? MG_RESPONSE : MG_REQUEST;

    while (v == MG_WAIT) {
        bool moved;

        v = mg_sim_move(sim, side, &moved);
        if (v == MG_CONTINUE)
            v = moved || mg_sim_await(sim, "a handler") ? mg_chain_wake(x) : MG_ERROR;
    }
    return v;
}

static bool phase(struct mg_sim *sim, int which, int state)
{
    sim->x->state = (uint8_t)state;
    mg_chain_begin(sim->x, which);
    return passed(sim, settle(sim, mg_chain_run(sim->x)), MG_REQUEST);
}

/* ---- the upstream ------------------------------------------------------------------------------------ */

static struct mg_head *new_response(struct mg_sim *sim, int status)
{
    struct mg_exchange *x = sim->x;
    struct mg_body *b = &x->body[MG_RESPONSE];

    x->res = mg_arena_zalloc(&x->arena, sizeof(*x->res));
    if (!x->res)
        luaL_error(sim->L, "out of memory");
    x->res->status = status;
    x->res->reason = mg_reason(status);
    x->res->version = 11;
    x->res->framing = MG_BODY_LENGTH;
    x->source = MG_SOURCE_UPSTREAM;
    b->gather = MG_GATHER_NO;
    b->replaced = b->whole_out = b->got_end = b->resized = false;
    b->feed = NULL;
    x->is_waiting = false;
    x->state = MG_ST_RESPOND;
    return x->res;
}

/* What the upstream sees, as a table. */
static void push_request(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;
    struct mg_str path = x->path, query = x->query;
    bool has_query = x->has_query;

    if (sim->gateway) {
        const char *mark = memchr(sim->out.target.p, '?', sim->out.target.n);

        path = query = sim->out.target;
        has_query = mark != NULL;
        if (mark) {
            path.n = (size_t)(mark - path.p);
            query = mg_str(mark + 1, sim->out.target.n - path.n - 1);
        }
    }
    lua_newtable(L);
    mg_sim_push_str(L, x->req->method_text);
    lua_setfield(L, -2, "method");
    mg_sim_push_str(L, path);
    lua_setfield(L, -2, "path");
    if (has_query) {
        mg_sim_push_str(L, query);
        lua_setfield(L, -2, "query");
    }
    mg_sim_push_fields(L, &sim->out.headers);
    lua_setfield(L, -2, "fields");
    mg_sim_push_str(L, mg_str(sim->sent[MG_REQUEST].p, sim->sent[MG_REQUEST].n));
    lua_setfield(L, -2, "body");
    lua_pushinteger(L, sim->sent_pieces[MG_REQUEST]);
    lua_setfield(L, -2, "pieces");
    if (sim->arrived[MG_REQUEST]) {
        mg_sim_push_fields(L, sim->arrived[MG_REQUEST]);
        lua_setfield(L, -2, "trailer_fields");
    }
    mg_sim_push_str(L, x->upstream ? x->upstream->name : mg_str(NULL, 0));
    lua_setfield(L, -2, "upstream");
}

/* { fails = token } in the answer at `answer`: NULL when it does not fail. */
static const char *failure_of(struct mg_sim *sim, int answer)
{
    const char *token;

    lua_getfield(sim->L, answer, "fails");
    token = lua_tostring(sim->L, -1);
    if (token && !mg_up_failure(token).status)
        luaL_error(sim->L, "upstream: there is no failure \"%s\"; try \"timeout\", \"reset\", \"connect_refused\" (docs/operating.md has them all)",
                   token);
    token = token ? mg_up_failure(token).token : NULL;
    lua_pop(sim->L, 1);
    return token;
}

/* The answer takes its time. false: it comes too late, for the gateway or for the client. */
static bool upstream_in_time(struct mg_sim *sim, double after_ms)
{
    struct mg_exchange *x = sim->x;
    int64_t limit = x->route->first_byte_ms >= 0 ? x->route->first_byte_ms : x->upstream->first_byte_ms, ms = (int64_t)after_ms;
    bool in_time = !sim->gateway || limit <= 0 || ms <= limit;
    struct mg_up_failure f = mg_up_failure("timeout");

    if (ms > 0 && !mg_sim_elapse(sim, in_time ? ms : limit)) {
        passed(sim, MG_ERROR, MG_RESPONSE);
        return false;
    }
    if (!in_time)
        fail(sim, f.status, f.token, f.detail);
    return in_time;
}

/* An answer that can have none: what the spec gives is what GET would have got. */
static void drop_body(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    if (x->req->method != MG_M_HEAD && x->res->status != 204 && x->res->status != 304)
        return;
    x->res->framing = MG_BODY_NONE;
    sim->pieces[MG_RESPONSE].n = 0;
    sim->trailers[MG_RESPONSE] = NULL;
    sim->cut = NULL;
}

/* The answer at `answer` on the stack becomes the response. */
static void take_answer(struct mg_sim *sim, int answer)
{
    lua_State *L = sim->L;
    const char *failure = failure_of(sim, answer);
    struct mg_head *head;
    int status;

    lua_getfield(L, answer, "after_ms");
    if (!upstream_in_time(sim, luaL_optnumber(L, -1, 0)))
        return;
    lua_getfield(L, answer, "status");
    status = (int)luaL_checkinteger(L, -1);
    lua_getfield(L, answer, "partial");
    if (failure && !lua_toboolean(L, -1)) {
        struct mg_up_failure f = mg_up_failure(failure);

        mg_logf(MG_LOG_WARN, "upstream: %s", f.token);
        fail(sim, f.status, f.token, f.detail);
        return;
    }
    head = new_response(sim, status);
    sim->cut = failure;
    sim->x->first_byte_us = mg_clock_monotonic_us();
    lua_getfield(L, answer, "fields");
    mg_sim_take_fields(sim, &head->headers);
    lua_getfield(L, answer, "pieces");
    mg_sim_take_pieces(sim, MG_RESPONSE);
    lua_getfield(L, answer, "trailer_fields");
    sim->trailers[MG_RESPONSE] = mg_sim_take_trailers(sim);
    head->length = mg_sim_length(sim, MG_RESPONSE);
    lua_getfield(L, answer, "stream");
    if (lua_toboolean(L, -1) || sim->trailers[MG_RESPONSE])
        head->framing = MG_BODY_STREAM;
    drop_body(sim);
    sim->x->upstream_end_us = mg_clock_monotonic_us();
}

static void call_upstream(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    int top = lua_gettop(L);

    lua_getfield(L, sim->spec, "upstream");
    sim->upstream_called = true;
    sim->x->tries = 1;
    sim->x->sent_us = mg_clock_monotonic_us();
    push_request(sim);
    lua_pushvalue(L, -1);
    lua_setfield(L, sim->spec, "seen");
    lua_call(L, 1, 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    take_answer(sim, lua_gettop(L));
    lua_settop(L, top);
}

/* Is there somebody to send the request to? */
static bool has_upstream(struct mg_sim *sim)
{
    bool has;

    lua_getfield(sim->L, sim->spec, "upstream");
    has = !lua_isnil(sim->L, -1) && sim->x->upstream;
    lua_pop(sim->L, 1);
    return has;
}

/* The head for the upstream. 0 or MG_ENOMEM. */
static int head_out(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    struct mg_headers *h = &sim->out.headers;
    int rc = 0;

    sim->out = *x->req;
    if (sim->gateway) {
        rc = mg_forward_request(x, &sim->out);
    } else {
        h->at = mg_arena_alloc(&x->arena, (h->room + 1) * sizeof(*h->at)); /* its fields are the upstream's from here on */
        if (!h->at)
            return MG_ENOMEM;
        if (h->n)
            memcpy(h->at, x->req->headers.at, h->n * sizeof(*h->at));
    }
    if (!rc)
        mg_pieces_request_body_set(x, &sim->out);
    return rc;
}

/* false: an answer stands in the exchange, or it is over. */
static bool send_request(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    x->state = MG_ST_CONNECT;
    if (!has_upstream(sim)) {
        fail(sim, 404, NULL, sim->gateway ? "No upstream and no plugin answers here." : NULL);
        return false;
    }
    x->upstream_us = x->connected_us = mg_clock_monotonic_us();
    if (head_out(sim)) {
        fail(sim, 431, NULL, "The request head is too large.");
        return false;
    }
    x->state = MG_ST_RECEIVE;
    if (!passed(sim, mg_sim_stream(sim, MG_REQUEST), MG_REQUEST))
        return false;
    call_upstream(sim);
    return !sim->left && !sim->is_over;
}

/* ---- beginning ------------------------------------------------------------------------------------ */

static void take_params(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;
    struct mg_str params[2];

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

static struct mg_str text_or(struct mg_sim *sim, const char *name, struct mg_str preset)
{
    struct mg_str s = mg_sim_text(sim, name);

    return s.p ? s : preset;
}

static void fill_request(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_exchange *x = sim->x;
    struct mg_head *head = mg_arena_zalloc(&x->arena, sizeof(*head));

    if (!head)
        luaL_error(L, "out of memory");
    x->req = head;
    head->method_text = mg_sim_text(sim, "method");
    head->method = mg_method_of(head->method_text);
    head->version = (int)mg_sim_number(sim, "version", 11);
    lua_getfield(L, sim->spec, "fields");
    mg_sim_take_fields(sim, &head->headers);
    lua_getfield(L, sim->spec, "pieces");
    mg_sim_take_pieces(sim, MG_REQUEST);
    lua_getfield(L, sim->spec, "trailer_fields");
    sim->trailers[MG_REQUEST] = mg_sim_take_trailers(sim);
    head->length = mg_sim_length(sim, MG_REQUEST);
    head->framing = sim->pieces[MG_REQUEST].n ? MG_BODY_LENGTH : MG_BODY_NONE;
    if (head->framing && (sim->trailers[MG_REQUEST] || mg_sim_number(sim, "chunked", 0) != 0)) {
        head->framing = MG_BODY_STREAM;
        head->length = -1;
    }
    x->body[MG_REQUEST].got_end = sim->pieces[MG_REQUEST].n == 0;
    head->target = x->target = mg_sim_text(sim, "target");
    head->authority = mg_sim_text(sim, "authority");
    x->host = head->host = mg_sim_text(sim, "host");
    x->port = (int)mg_sim_number(sim, "port", 80);
    head->port = (int)mg_sim_number(sim, "authority_port", 0);
    x->is_https = sim->client.is_secure = mg_sim_number(sim, "https", 0) != 0;
    if (x->is_https) {
        x->tls_version = text_or(sim, "tls", MG_STR("TLSv1.3"));
        x->tls_cipher = text_or(sim, "cipher", MG_STR("TLS_AES_256_GCM_SHA384"));
        x->sni = text_or(sim, "sni", x->host);
    }
    if (sim->gateway)
        return; /* mg_forward_facts has the rest */
    if (mg_uri_normalise_path(mg_sim_text(sim, "path"), &x->arena, &x->path) != 0)
        luaL_error(L, "path: malformed");
    x->query = mg_sim_text(sim, "query");
    x->has_query = x->query.p != NULL;
    take_params(sim);
}

static void fill_client(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    struct mg_cidr cidr = { 0 };

    x->client_ip = x->peer_ip = mg_sim_text(sim, "client"); /* "unix:": an address of zeros (pdk/client.c) */
    if (!mg_str_eq(x->client_ip, MG_STR("unix:")) && mg_cidr_parse(x->client_ip, &cidr) != 0)
        luaL_error(sim->L, "client: an IP address expected");
    memcpy(x->client_addr, cidr.addr, 16);
    memcpy(x->peer_addr, cidr.addr, 16);
    x->peer_port = (int)mg_sim_number(sim, "client_port", 50000);
    x->tls_kept = true;
    sim->client.port = &sim->port;
    sim->client.worker = x->worker;
    x->client = &sim->client;
}

static void begin_chain_alone(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    x->snapshot = &sim->snapshot;
    x->script_host = sim->trial->script;
    x->limits.buffered_body = (int64_t)mg_sim_number(sim, "buffered_body", 1 << 20);
    x->route = &sim->route;
    x->chain = sim->route.chain;
    sim->upstream.name = mg_sim_text(sim, "upstream_name");
    x->upstream = &sim->upstream;
    x->found.path_pattern = mg_sim_text(sim, "route_path");
}

static void begin_gateway(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    x->snapshot = sim->gateway->snapshot;
    x->script_host = x->snapshot->script;
    x->timeouts = sim->port.timeouts;
    x->limits = sim->port.limits;
    x->chain = x->snapshot->global;
}

static void prepare_chain_alone(struct mg_sim *sim)
{
    sim->route.id = mg_sim_text(sim, "route");
    sim->route.first_byte_ms = -1;
    sim->snapshot.script = sim->trial->script;
    sim->snapshot.registry = sim->trial->registry;
    sim->snapshot.store = sim->trial->store;
    mg_sim_config(sim);
    sim->snapshot.global = sim->route.chain;
}

/* Secret names beside the usual ones: a list of texts under `secret`. */
static void begin_trace(struct mg_sim *sim)
{
    struct mg_arena *a = &sim->snapshot.arena;
    lua_State *L = sim->L;
    struct mg_str *names;
    size_t n = 0, room;

    lua_getfield(L, sim->spec, "secret");
    room = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    names = mg_arena_alloc(a, (room + 1) * sizeof(*names));
    if (!names)
        luaL_error(L, "out of memory");
    while (n < room) {
        lua_rawgeti(L, -1, (int)n + 1);
        names[n].p = luaL_checklstring(L, -1, &names[n].n);
        names[n] = mg_arena_copy(a, names[n].p, names[n].n);
        if (!names[n++].p)
            luaL_error(L, "out of memory");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    mg_trace_begin(sim->x, names, n);
}

static void begin(struct mg_sim *sim)
{
    struct mg_exchange *x;
    struct mg_trial *t = sim->trial;
    double leaves_ms, memory = 8 << 20;

    if (sim->gateway) {
        mg_sim_gateway_port(sim);
        memory = (double)sim->port.limits.memory;
    } else {
        prepare_chain_alone(sim);
    }
    sim->x = x = mg_exchange_new(&t->worker, (size_t)mg_sim_number(sim, "memory", memory));
    if (!x)
        luaL_error(sim->L, "out of memory");
    mg_run_begin(x);
    if (sim->gateway)
        begin_gateway(sim);
    else
        begin_chain_alone(sim);
    x->started_us = mg_clock_monotonic_us();
    x->started_wall_us = mg_clock_wall_us();
    leaves_ms = mg_sim_number(sim, "leaves_after_ms", -1);
    if (leaves_ms >= 0)
        sim->leaves_at_us = t->monotonic_us + (int64_t)(leaves_ms * 1000) + 1;
    fill_request(sim);
    fill_client(sim);
    x->id = mg_sim_text(sim, "id");
    if (mg_sim_number(sim, "trace", 0))
        begin_trace(sim);
}

/* What the proxy does with a head before the chain sees it. false: it was refused. */
static bool receive(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    int rc = sim->gateway ? mg_forward_facts(x) : 0;

    if (rc == 0)
        return true;
    x->began = x->chain->entries_n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << x->chain->entries_n) - 1;
    if (rc == MG_ENOMEM)
        fail(sim, 431, NULL, "The request head is too large.");
    else
        fail(sim, 400, NULL, "The request target is malformed.");
    return false;
}

static bool route(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    if (!sim->gateway)
        return true;
    x->state = MG_ST_ROUTE;
    mg_run_route(x);
    mg_loop_disarm(&x->worker->loop, &x->total_timer); /* its time is ours */
    if (x->timeouts.exchange > 0)
        sim->late_at_us = sim->trial->monotonic_us + x->timeouts.exchange * 1000;
    if (x->state == MG_ST_REQUEST)
        return true;
    feed_answer(sim);
    return false;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* The client sits there until something comes: it may leave while nothing is under way, too. */
static bool is_gone(const struct mg_sim *sim)
{
    return sim->left || sim->is_over || sim->x->state >= MG_ST_LOG;
}

static void respond(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;
    bool has_body;

    x->state = MG_ST_RESPOND;
    x->responding = true;
    mg_chain_begin(x, MG_ON_RESPONSE);
    while (!passed(sim, settle(sim, mg_chain_run(x)), MG_RESPONSE) && !is_gone(sim))
        ; /* the entries below see the new answer */
    if (is_gone(sim))
        return;
    x->state = MG_ST_STREAM;
    has_body = mg_pieces_response_body_set(x);
    if (sim->gateway)
        mg_forward_response(x);
    x->response_started = true;
    if (has_body)
        passed(sim, mg_sim_stream(sim, MG_RESPONSE), MG_RESPONSE);
}

static void keep_trace(struct mg_sim *sim)
{
    struct mg_trace *trace = sim->x->trace ? mg_trace_end(sim->x) : NULL;

    if (trace && mg_trace_write(trace, MG_TRACE_JSON, 0, &sim->trace) != 0)
        sim->trace = mg_str(NULL, 0);
    mg_trace_unref(trace);
}

static void end(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    if (sim->left && !x->failure)
        x->failure = "client_left";
    x->ended_us = mg_clock_monotonic_us();
    x->body_out = sim->sent[MG_RESPONSE].n;
    mg_op_cancel_all(x);
    x->is_waiting = false;
    if (x->state < MG_ST_LOG) { /* else the proxy gave it up, and has told */
        x->state = MG_ST_LOG;
        mg_chain_begin(x, MG_ON_LOG);
        mg_chain_run(x);
    }
    keep_trace(sim);
}

static void exchange_end(struct mg_sim *sim)
{
    struct mg_exchange *x = sim->x;

    sim->x = NULL;
    if (!x)
        return;
    if (x->trace)
        mg_trace_unref(mg_trace_end(x));
    mg_op_cancel_all(x);
    mg_loop_disarm(&x->worker->loop, &x->total_timer);
    if (x->script)
        mg_script_exchange_end(x);
    mg_exchange_free(x);
}

void mg_sim_run(struct mg_sim *sim)
{
    bool sent;

    begin(sim);
    sent = receive(sim) && phase(sim, MG_ON_REWRITE, MG_ST_REWRITE) && route(sim) && phase(sim, MG_ON_REQUEST, MG_ST_REQUEST) &&
           send_request(sim);
    (void)sent;
    if (!is_gone(sim))
        respond(sim);
    end(sim);
    mg_sim_push_result(sim);
    exchange_end(sim);
    if (!sim->gateway)
        mg_sim_finish_tasks(sim, (int64_t)mg_sim_number(sim, "after_ms", -1));
}

void mg_sim_end(struct mg_sim *sim)
{
    exchange_end(sim);
    if (!sim->gateway)
        mg_sim_config_end(sim);
    free((char *)(uintptr_t)sim->trace.p);
    free(sim->sent[0].p);
    free(sim->sent[1].p);
    mg_arena_deinit(&sim->snapshot.arena);
}
