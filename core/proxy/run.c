/* run.c - the state machine of an exchange.
 *
 *   HEAD -> REWRITE -> ROUTE -> REQUEST -> CONNECT -> SEND -> RECEIVE -> RESPOND -> STREAM -> LOG -> END
 *    |400               |404,405 |answered  |502,503   |504    |502,504   ^
 *    +------------------+--------+----------+- answer -+-------+----------+
 *
 * A step moves x->state on and says AGAIN, or waits for an event: a leg's, a timer's, the end of a plugin's
 * operation. RESPOND may wait while a plugin gathers the body; STREAM passes pieces until both sides have ended. The client
 * leaving leads to LOG from anywhere. */
#include "proxy/run.h"
#include "plugin/pull.h"
#include "base/log.h"
#include "pdk/client.h"
#include "pdk/problem.h"
#include "plugin/watch.h"
#include "proxy/traces.h"
#include "record/record.h"

void (*mg_proxy_admin)(struct mg_exchange *x);

enum next { AGAIN, WAIT };

/* ---- who may end it --------------------------------------------------------------------------- */

void mg_run_enter(struct mg_exchange *x)
{
    x->depth++;
}

static void unpin(struct mg_worker *w, int slot)
{
    atomic_store_explicit(&w->pins[slot], atomic_load_explicit(&w->pins[slot], memory_order_relaxed) - 1,
                          memory_order_release);
}

static void dispose(struct mg_exchange *x)
{
    struct mg_client *c = x->client;
    struct mg_leg *down = x->down;
    struct mg_worker *w = x->worker;
    int slot = x->snapshot->slot;

    mg_op_cancel_all(x);
    mg_loop_disarm(&x->worker->loop, &x->io_timer);
    mg_loop_disarm(&x->worker->loop, &x->total_timer);
    mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
    if (x->script)
        mg_script_exchange_end(x);
    if (c)
        c->x = NULL;
    mg_exchange_free(x); /* what its arena lets go of may be the snapshot's */
    unpin(w, slot);
    if (down) {
        mg_client_wait(c, MG_CW_NOTHING);
        down->owner = NULL;
        down->arena = NULL;
        down->ops->release(down); /* the next request may begin inside this call */
    }
}

void mg_run_leave(struct mg_exchange *x)
{
    if (--x->depth == 0 && x->state == MG_ST_END)
        dispose(x);
}

static void recorded(struct mg_exchange *x)
{
    struct mg_trace *trace = x->trace ? mg_trace_ref(x->trace) : NULL;

    if (trace)
        mg_traces_end(x);
    mg_record_end(x, trace);
    mg_trace_unref(trace);
}

/* Everything was said, or nobody listens: record it once and let go of both sides. */
void mg_run_end(struct mg_exchange *x)
{
    if (x->state >= MG_ST_LOG)
        return;
    x->state = MG_ST_LOG;
    mg_up_release(x);
    mg_op_cancel_all(x);
    x->is_waiting = false;
    x->ended_us = mg_loop_now_us(&x->worker->loop);
    if (x->down) {
        mg_client_keep(x);
        x->down_bytes_in = x->down->head_bytes_in + x->down->body_bytes_in;
        x->down_bytes_out = x->down->head_bytes_out + x->down->body_bytes_out;
        x->body_out = x->down->body_bytes_out;
    }
    if (mg_chain_has(x, MG_ON_LOG) && x->req) {
        mg_chain_begin(x, MG_ON_LOG);
        mg_chain_run(x);
    }
    if (x->record)
        recorded(x);
    else if (x->trace)
        mg_traces_end(x);
    atomic_store_explicit(&x->worker->requests,
                          atomic_load_explicit(&x->worker->requests, memory_order_relaxed) + 1, memory_order_relaxed);
    x->state = MG_ST_END;
}

void mg_run_client_left(struct mg_exchange *x)
{
    if (x->state >= MG_ST_LOG)
        return;
    if (!x->failure)
        x->failure = "client_left";
    mg_run_end(x);
}

/* Something went wrong: an answer while there can be one, else the connection is cut so that the client does
 * not take half an answer for a whole one. */
void mg_run_fail(struct mg_exchange *x, int status, const char *failure, const char *detail)
{
    if (x->state >= MG_ST_LOG)
        return;
    if (x->response_started) {
        if (!x->failure)
            x->failure = failure;
        mg_run_end(x);
        return;
    }
    mg_answer_error(x, status, failure, detail);
}

struct refusal { int why, status; const char *token, *detail; };

static const struct refusal of_requests[] = {
    { MG_REFUSED_SIZE, 413, NULL, "The request body is larger than this route takes." },
    { MG_REFUSED_CODING, 400, NULL, "The request body is not what its Content-Encoding says." },
    { MG_REFUSED_FILE, 503, "body_not_kept", "The request body could not be kept." },
};
static const struct refusal of_responses[] = {
    { MG_REFUSED_SIZE, 502, "response_too_large", "The upstream's answer is larger than this route takes." },
    { MG_REFUSED_CODING, 502, "bad_encoding", "The upstream's answer is not what its Content-Encoding says." },
    { MG_REFUSED_FILE, 503, "body_not_kept", "The upstream's answer could not be kept." },
};

struct mg_up_failure mg_run_refusal(const struct mg_exchange *x, int side)
{
    const struct refusal *r = &(side == MG_REQUEST ? of_requests : of_responses)[x->body[side].refused];

    return (struct mg_up_failure){ .status = r->status, .token = r->token, .detail = r->detail };
}

void mg_run_refused(struct mg_exchange *x, int side)
{
    struct mg_up_failure f = mg_run_refusal(x, side);

    if (side == MG_REQUEST)
        x->close_after = true;
    mg_run_fail(x, f.status, f.token, f.detail);
}

/* ---- the steps ------------------------------------------------------------------------------------ */

/* A chain's verdict in a request phase: true when the phase is over and the next state follows. */
static bool passed(struct mg_exchange *x, enum mg_verdict v)
{
    switch (v) {
    case MG_CONTINUE:
        mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
        return true;
    case MG_WAIT:
        if (!mg_timer_armed(&x->plugin_timer)) {
            if (x->timeouts.plugin > 0)
                mg_loop_arm(&x->worker->loop, &x->plugin_timer, x->timeouts.plugin);
        }
        mg_pieces_request_flow(x);
        mg_pieces_response_flow(x);
        return false;
    case MG_RESPOND:
        mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
        mg_answer_recorded(x);
        return false;
    default:
        mg_loop_disarm(&x->worker->loop, &x->plugin_timer);
        if (x->phase <= MG_ON_REQUEST && x->body[MG_REQUEST].gather == MG_GATHER_REFUSED)
            mg_run_refused(x, MG_REQUEST);
        else if (x->phase == MG_ON_RESPONSE && x->body[MG_RESPONSE].gather == MG_GATHER_REFUSED)
            mg_run_refused(x, MG_RESPONSE);
        else
            mg_answer_error(x, 500, "plugin_error", NULL);
        return false;
    }
}

static enum next step_rewrite(struct mg_exchange *x)
{
    if (x->is_waiting)
        return WAIT;
    mg_chain_begin(x, MG_ON_REWRITE);
    if (!passed(x, mg_chain_run(x)))
        return x->is_waiting ? WAIT : AGAIN;
    x->state = MG_ST_ROUTE;
    return AGAIN;
}

/* Without a whole head there is no request phase: the global chain's response phases run all the same. */
static void begin_all(struct mg_exchange *x)
{
    x->began = x->chain->entries_n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << x->chain->entries_n) - 1;
}

static void take(int64_t *own, int64_t said)
{
    if (said >= 0)
        *own = said;
}

/* What the route says itself goes before what its listener says. */
static void take_levels(struct mg_exchange *x, const struct mg_route *route)
{
    const struct mg_timeouts *t = &route->timeouts;
    const struct mg_limits *l = &route->limits;

    take(&x->timeouts.client_body, t->client_body);
    take(&x->timeouts.client_write, t->client_write);
    take(&x->timeouts.exchange, t->exchange);
    take(&x->timeouts.plugin, t->plugin);
    take(&x->limits.body, l->body);
    take(&x->limits.buffered_body, l->buffered_body);
    take(&x->limits.spilled_body, l->spilled_body);
    if (l->memory >= 0)
        x->arena.budget = (size_t)l->memory > x->arena.used ? (size_t)l->memory : x->arena.used;
}

static void take_route(struct mg_exchange *x, const struct mg_route *route)
{
    x->route = route;
    x->chain = route->chain;
    x->upstream = route->upstream;
    take_levels(x, route);
    if (x->timeouts.exchange > 0)
        mg_loop_arm(&x->worker->loop, &x->total_timer, x->timeouts.exchange);
}

/* What is answered here has been seen by the global chain alone (its on_rewrite is over): their on_response runs. */
void mg_run_route(struct mg_exchange *x)
{
    struct mg_port *port = x->client->port;
    struct mg_router_query q = { .host = x->host, .port = x->port, .path = x->path, .query = x->query,
        .method = x->req->method_text, .headers = &x->req->headers, .client_addr = x->client_addr, .is_https = x->is_https,
        .listener_name = port->name, .listener_address = port->address };
    const struct mg_route *route;

    if (port->redirect_https && !x->is_https) {
        mg_answer_redirect(x, port->redirect_https, port->redirect_port);
        return;
    }
    mg_router_match(x->snapshot->router, &q, &x->arena, &x->found);
    route = x->found.route;
    if (!route) {
        if (x->found.path_exists) {
            mg_answer_error(x, 405, NULL, "This method is not allowed here.");
            if (x->res) /* NULL: there was no memory left for an answer */
                mg_headers_set_id(&x->res->headers, &x->arena, MG_H_ALLOW, x->found.allow);
        } else {
            mg_answer_error(x, 404, NULL, "No route matches this request.");
        }
        return;
    }
    take_route(x, route);
    if (route->redirect_https && !x->is_https) {
        mg_answer_redirect(x, route->redirect_https, 443);
        return;
    }
    if (x->limits.body > 0 && x->req->framing == MG_BODY_LENGTH && x->req->length > x->limits.body) {
        x->close_after = true;
        mg_answer_error(x, 413, NULL, "The request body is larger than this route takes.");
        return;
    }
    x->state = MG_ST_REQUEST;
}

static enum next step_route(struct mg_exchange *x)
{
    mg_run_route(x);
    return AGAIN;
}

static enum next step_request(struct mg_exchange *x)
{
    if (x->is_waiting)
        return WAIT;
    mg_chain_begin(x, MG_ON_REQUEST); /* also when none has it: who saw the request is noted */
    if (!passed(x, mg_chain_run(x)))
        return x->is_waiting ? WAIT : AGAIN;
    x->state = MG_ST_CONNECT;
    return AGAIN;
}

static enum next step_connect(struct mg_exchange *x)
{
    int rc;

    if (x->awaits_upstream) /* asked already; something else came meanwhile, such as the end of an empty body */
        return WAIT;
    if (!x->upstream) {
        mg_answer_error(x, 404, NULL, "No upstream and no plugin answers here.");
        return AGAIN;
    }
    rc = mg_up_take(x);
    if (rc < 0)
        return AGAIN;
    if (rc == 0)
        return WAIT;
    x->state = MG_ST_SEND;
    return AGAIN;
}

static enum next step_send(struct mg_exchange *x)
{
    if (mg_up_send_head(x))
        return AGAIN;
    x->state = MG_ST_RECEIVE; /* before the body flows: its events find the state that they belong to */
    mg_pieces_begin_request(x);
    return x->state == MG_ST_RECEIVE ? WAIT : AGAIN;
}

/* The upstream leg's on_head moves the state on. */
static enum next step_receive(struct mg_exchange *x)
{
    (void)x;
    return WAIT;
}

/* An entry that replaces the response, or fails, leaves us here: the entries after it see the new one. */
static enum next step_respond(struct mg_exchange *x)
{
    if (x->is_waiting)
        return WAIT;
    if (mg_chain_has(x, MG_ON_RESPONSE)) {
        if (!x->responding) {
            x->responding = true;
            mg_chain_begin(x, MG_ON_RESPONSE);
        }
        if (!passed(x, mg_chain_run(x)))
            return x->is_waiting ? WAIT : AGAIN;
    }
    x->state = MG_ST_STREAM;
    mg_pieces_begin_response(x);
    return WAIT;
}

static enum next step_wait(struct mg_exchange *x)
{
    (void)x;
    return WAIT;
}

static enum next (*const steps[])(struct mg_exchange *) = {
    [MG_ST_HEAD] = step_wait,       [MG_ST_REWRITE] = step_rewrite, [MG_ST_ROUTE] = step_route,
    [MG_ST_REQUEST] = step_request, [MG_ST_CONNECT] = step_connect, [MG_ST_SEND] = step_send,
    [MG_ST_RECEIVE] = step_receive, [MG_ST_RESPOND] = step_respond, [MG_ST_STREAM] = step_wait,
    [MG_ST_LOG] = step_wait,        [MG_ST_END] = step_wait,
};

void mg_run(struct mg_exchange *x)
{
    if (x->in_run)
        return; /* the loop below sees the new state */
    x->in_run = true;
    while (steps[x->state](x) == AGAIN)
        ;
    x->in_run = false;
}

/* ---- a plugin's operation has ended --------------------------------------------------------------- */

static void woken(struct mg_exchange *x)
{
    mg_run_enter(x);
    if (x->body[MG_REQUEST].waiting || x->body[MG_RESPONSE].waiting)
        mg_pieces_wake(x);
    if (x->body[MG_REQUEST].feed || x->body[MG_RESPONSE].feed || x->body[MG_REQUEST].more || x->body[MG_RESPONSE].more)
        mg_pieces_feeds(x);
    if (x->is_waiting && x->state < MG_ST_LOG) {
        int state = x->state;
        bool over = passed(x, mg_chain_wake(x));

        if (over && x->state == state) { /* the phase is over */
            x->state = state == MG_ST_REWRITE ? MG_ST_ROUTE : state == MG_ST_REQUEST ? MG_ST_CONNECT : MG_ST_STREAM;
            if (x->state == MG_ST_STREAM)
                mg_pieces_begin_response(x);
        }
    }
    mg_run(x);
    mg_run_leave(x);
}

/* May each entry that waits be passed over? */
static bool all_lenient(const struct mg_exchange *x)
{
    bool lenient = !x->is_waiting || mg_is_lenient(x->chain->entries[x->entry]);

    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        if (x->body[side].waiting)
            lenient = lenient && mg_is_lenient(x->chain->steps[side == MG_REQUEST ? MG_ON_REQUEST_BODY : MG_ON_RESPONSE_BODY][x->body[side].step].entry);
    return lenient;
}

static const struct mg_chain_entry *who_waits(const struct mg_exchange *x)
{
    if (x->is_waiting)
        return x->chain->entries[x->entry];
    if (x->body[MG_REQUEST].waiting)
        return x->chain->steps[MG_ON_REQUEST_BODY][x->body[MG_REQUEST].step].entry;
    if (x->body[MG_RESPONSE].waiting)
        return x->chain->steps[MG_ON_RESPONSE_BODY][x->body[MG_RESPONSE].step].entry;
    return NULL;
}

/* Then the sender's own timeouts watch over it: client_body, or the upstream's idle time. */
bool mg_run_waits_for_body(const struct mg_exchange *x)
{
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        if ((x->body[side].gather == MG_GATHER_ASKED || mg_pull_waits(&x->body[side])) && !x->body[side].got_end)
            return true;
    return false;
}

static void plugin_late(struct mg_timer *t)
{
    struct mg_exchange *x = mg_container(t, struct mg_exchange, plugin_timer);
    const struct mg_chain_entry *e = who_waits(x);
    struct mg_log_scope scope = { .id = mg_exchange_id(x) };

    if (mg_run_waits_for_body(x)) {
        mg_loop_arm(&x->worker->loop, t, x->timeouts.plugin);
        return;
    }
    if (all_lenient(x)) {
        mg_run_enter(x);
        x->is_late = true;
        woken(x);
        x->is_late = false;
        mg_run_leave(x);
        return;
    }
    mg_run_enter(x);
    if (e) {
        scope.plugin = e->scope.plugin;
        scope.route = e->scope.route;
    }
    mg_log_set_scope(&scope);
    mg_logf(MG_LOG_WARN, "a plugin waited too long");
    mg_log_set_scope(NULL);
    mg_op_cancel_all(x);
    mg_run_fail(x, 504, "plugin_timeout", "A policy took too long.");
    mg_run(x);
    mg_run_leave(x);
}

static void exchange_late(struct mg_timer *t)
{
    struct mg_exchange *x = mg_container(t, struct mg_exchange, total_timer);

    mg_run_enter(x);
    mg_op_cancel_all(x);
    mg_run_fail(x, 504, "exchange_timeout", "The request took too long.");
    mg_run(x);
    mg_run_leave(x);
}

/* ---- the client leg's events ------------------------------------------------------------------------ */

/* The admin listener's requests run no policies. */
static const struct mg_chain no_chain;

static void begin(struct mg_exchange *x, struct mg_head *head)
{
    mg_client_wait(x->client, MG_CW_NOTHING);
    x->req = head;
}

/* The request is broken or late; what was not read of it is not waited for. */
void mg_run_refuse(struct mg_exchange *x, int status, const char *failure, const char *detail)
{
    if (!x->req) /* the head never came whole: answer under an empty one */
        begin(x, mg_arena_zalloc(&x->arena, sizeof *x->req));
    if (x->state <= MG_ST_ROUTE)
        begin_all(x);
    x->close_after = true;
    x->body[MG_REQUEST].got_end = true;
    if (x->req) {
        mg_run_fail(x, status, failure, detail);
        mg_run(x);
    } else {
        mg_run_client_left(x);
    }
}

static void on_head(struct mg_leg *leg, struct mg_head *head)
{
    struct mg_exchange *x = leg->owner;
    int rc;

    mg_run_enter(x);
    begin(x, head);
    if (head->framing == MG_BODY_NONE)
        x->body[MG_REQUEST].got_end = true;
    rc = mg_forward_facts(x);
    if (rc == 0 && x->client->port->is_admin) {
        x->state = MG_ST_RECEIVE; /* where an answer is waited for */
        x->chain = &no_chain;
        mg_proxy_admin(x);
    } else if (rc == 0) {
        if (mg_traces_may_want(x))
            mg_traces_begin(x);
        x->state = MG_ST_REWRITE;
        if (x->worker->record)
            mg_record_begin(x, x->client->port->name.n ? x->client->port->name : x->client->port->address);
    } else if (rc == MG_ENOMEM) {
        begin_all(x);
        mg_answer_error(x, 431, NULL, "The request head is too large.");
    } else {
        begin_all(x);
        x->close_after = true;
        mg_answer_error(x, 400, NULL, "The request target is malformed.");
    }
    mg_run(x);
    mg_pieces_request_flow(x);
    mg_run_leave(x);
}

static void on_data(struct mg_leg *leg, struct mg_str bytes)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    mg_pieces_request(x, bytes, leg->at_end);
    mg_run(x);
    mg_run_leave(x);
}

static void on_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    if (!x->body[MG_REQUEST].got_end) {
        x->body[MG_REQUEST].trailers = trailers;
        mg_pieces_request(x, mg_str(NULL, 0), true);
        mg_run(x);
    }
    mg_run_leave(x);
}

static void on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    if (status && !x->response_started && x->state < MG_ST_RESPOND) {
        if (mg_log_enabled(MG_LOG_INFO)) {
            mg_log_number_c("status", status);
            mg_logf(MG_LOG_INFO, "client: refused: %s", why ? why : mg_error_name(error));
        }
        mg_run_refuse(x, status, NULL, NULL);
    } else {
        if (error == MG_EPROTO && !x->failure)
            x->failure = "client_protocol_error";
        mg_run_client_left(x);
    }
    mg_run_leave(x);
}

static void on_drain(struct mg_leg *leg)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    x->down_full = false;
    if (x->client && x->client->waits_for == MG_CW_WRITE)
        mg_client_wait(x->client, MG_CW_NOTHING);
    mg_pieces_request_flow(x); /* what the client still sends is waited for again */
    mg_pieces_response_flow(x);
    mg_run(x);
    mg_run_leave(x);
}

const struct mg_leg_events mg_client_leg_events = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_reset = on_reset, .on_drain = on_drain,
};

void mg_run_begin(struct mg_exchange *x)
{
    mg_timer_init(&x->io_timer, NULL);
    mg_timer_init(&x->total_timer, exchange_late);
    mg_timer_init(&x->plugin_timer, plugin_late);
}

__attribute__((constructor)) static void install(void)
{
    mg_exchange_woken = woken;
}
