/* upside.c - the upstream's side of an exchange: a connection, the head, and what may go wrong. */
#include "proxy/run.h"
#include "base/log.h"
#include "plugin/pull.h"
#include "record/record.h"

/* ---- what a failure is called, and what the client is told --------------------------------- */

struct outcome { int error; int status; const char *token, *detail; };

static const struct outcome connecting[] = {
    { UV_ECONNREFUSED, 502, "connect_refused", "The upstream refused the connection." },
    { UV_ETIMEDOUT, 504, "connect_timeout", "The upstream could not be reached in time." },
    { MG_ETIMEOUT, 504, "connect_timeout", "The upstream could not be reached in time." },
    { MG_ENOENT, 502, "resolve_failed", "The upstream's name does not resolve." },
    { MG_EBUSY, 503, "upstream_busy", "The upstream has no free connection." },
    { MG_ETLS, 502, "tls_failed", "No trusted TLS connection to the upstream." },
    { UV_EMFILE, 503, "no_descriptors", "The gateway is out of file descriptors." },
    { UV_ENFILE, 503, "no_descriptors", "The gateway is out of file descriptors." },
    { 0, 502, "connect_failed", "The upstream could not be reached." },
};
static const struct outcome talking[] = {
    { MG_EPROTO, 502, "bad_response", "The upstream's answer is malformed." },
    { MG_ETOOBIG, 502, "response_head_too_large", "The head of the upstream's answer is too large." },
    { MG_ETIMEOUT, 504, "timeout", "The upstream did not answer in time." },
    { MG_ETLS, 502, "tls_failed", "The TLS connection to the upstream broke." },
    { 0, 502, "reset", "The upstream closed the connection before it answered." },
};

static const struct outcome *outcome_of(const struct outcome *table, int error)
{
    while (table->error && table->error != error)
        table++;
    return table;
}

static const struct outcome *outcome_by(const struct outcome *table, const char *token)
{
    for (;; table++) {
        if (strcmp(table->token, token) == 0)
            return table;
        if (!table->error)
            return NULL;
    }
}

struct mg_up_failure mg_up_failure(const char *token)
{
    const struct outcome *o = outcome_by(talking, token);

    if (!o)
        o = outcome_by(connecting, token);
    return o ? (struct mg_up_failure){ o->status, o->token, o->detail } : (struct mg_up_failure){ 0 };
}

static void log_failure(struct mg_exchange *x, const char *token, int error, const char *why)
{
    if (!mg_log_enabled(MG_LOG_WARN))
        return;
    mg_log_text_c("failure", mg_str_c(token));
    mg_log_text_c("error", mg_str_c(mg_error_name(error)));
    if (x->route)
        mg_log_text_c("route", x->route->id);
    if (x->upstream)
        mg_log_text_c("upstream", x->upstream->name);
    if (x->target_text.n)
        mg_log_text_c("target", x->target_text);
    mg_logf(MG_LOG_WARN, "upstream: %s", why && *why ? why : mg_error_name(error));
}

static void fail(struct mg_exchange *x, const struct outcome *o, int error, const char *why)
{
    log_failure(x, o->token, error, why);
    mg_run_fail(x, o->status, o->token, o->detail);
    mg_run(x);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void io_late(struct mg_timer *t)
{
    struct mg_exchange *x = mg_container(t, struct mg_exchange, io_timer);
    bool sending = !x->body[MG_REQUEST].ended;
    int64_t limit = x->awaits_head && !sending ? x->route->first_byte_ms : x->route->upstream_idle_ms;
    int64_t left;

    if (limit < 0)
        limit = x->awaits_head && !sending ? x->upstream->first_byte_ms : x->upstream->idle_ms;
    left = limit - (mg_loop_now_ms(&x->worker->loop) - x->up_active_ms);
    /* A sender that we have paused is not late; nor is an upstream that still waits for a slow client's body. */
    if ((x->up && x->up->is_paused) || (sending && !x->up_full))
        left = limit;
    if (left > 0) {
        mg_loop_arm(&x->worker->loop, t, left);
        return;
    }
    mg_run_enter(x);
    mg_up_failed(x, MG_ETIMEOUT, x->awaits_head ? "no answer in time" : "nothing came in time");
    mg_run(x);
    mg_run_leave(x);
}

/* Watch the upstream: for the head of its answer, or for the next piece. ms < 0: as configured. */
void mg_up_watch(struct mg_exchange *x, int64_t ms, bool first_byte)
{
    if (!x->upstream || (x->res && first_byte))
        return;
    if (ms < 0)
        ms = first_byte ? x->route->first_byte_ms : x->route->upstream_idle_ms;
    if (ms < 0)
        ms = first_byte ? x->upstream->first_byte_ms : x->upstream->idle_ms;
    x->awaits_head = !x->res;
    x->up_active_ms = mg_loop_now_ms(&x->worker->loop);
    x->io_timer.fire = io_late;
    if (ms > 0)
        mg_loop_arm_by(&x->worker->loop, &x->io_timer, ms); /* io_late looks at up_active_ms */
    else
        mg_loop_disarm(&x->worker->loop, &x->io_timer);
}

/* ---- the leg's events ------------------------------------------------------------------------- */

static void on_head(struct mg_leg *leg, struct mg_head *head)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    x->first_byte_us = mg_loop_now_us(&x->worker->loop);
    x->res = head;
    x->source = MG_SOURCE_UPSTREAM;
    if (x->record)
        mg_record_received(x, head);
    mg_upstream_report(x->upconn, 0);
    if (head->framing == MG_BODY_NONE)
        x->upstream_end_us = x->first_byte_us;
    else
        mg_up_watch(x, -1, false);
    x->state = MG_ST_RESPOND;
    mg_run(x);
    mg_pieces_response_flow(x);
    mg_run_leave(x);
}

static void on_interim(struct mg_leg *leg, struct mg_head *head)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    x->up_active_ms = mg_loop_now_ms(&x->worker->loop);
    /* 100 is ours to send (RFC 9110 10.1.1): we asked the client for the body ourselves. */
    if (head->status != 100 && x->down && x->req->version >= 11 && !x->response_started)
        x->down->ops->send_interim(x->down, head);
    mg_run_leave(x);
}

static void on_data(struct mg_leg *leg, struct mg_str bytes)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    x->up_active_ms = mg_loop_now_ms(&x->worker->loop);
    mg_pieces_response(x, bytes, leg->at_end);
    mg_run(x);
    mg_run_leave(x);
}

static void on_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    struct mg_exchange *x = leg->owner;

    if (x->body[MG_RESPONSE].got_end)
        return; /* it came with the last bytes */
    mg_run_enter(x);
    x->body[MG_RESPONSE].trailers = trailers;
    mg_pieces_response(x, mg_str(NULL, 0), true);
    mg_run(x);
    mg_run_leave(x);
}

static void on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    struct mg_exchange *x = leg->owner;

    (void)status;
    mg_run_enter(x);
    mg_up_failed(x, error, why);
    mg_run(x);
    mg_run_leave(x);
}

static void on_drain(struct mg_leg *leg)
{
    struct mg_exchange *x = leg->owner;

    mg_run_enter(x);
    x->up_full = false;
    x->up_active_ms = mg_loop_now_ms(&x->worker->loop);
    mg_pieces_request_flow(x);
    mg_run(x);
    mg_run_leave(x);
}

static const struct mg_leg_events up_events = {
    .on_head = on_head, .on_interim = on_interim, .on_data = on_data, .on_end = on_end, .on_reset = on_reset,
    .on_drain = on_drain,
};

/* ---- taking and letting go --------------------------------------------------------------------- */

static void attach(struct mg_exchange *x, struct mg_upconn *conn)
{
    x->upconn = conn;
    x->target_text = mg_str_c(conn->address->text);
    if (x->chain->steps_n[MG_ON_LOG] || x->chain->steps_n[MG_ON_RESPONSE]) /* the connection may go before the exchange */
        x->target_text = mg_arena_copy(&x->arena, x->target_text.p, x->target_text.n);
    x->connected_us = conn->is_reused ? x->upstream_us : mg_loop_now_us(&x->worker->loop);
    x->tries++;
    conn->h1.leg.owner = x;
    conn->h1.leg.events = &up_events;
    conn->h1.leg.arena = &x->arena;
    mg_h1_start(&conn->h1, &x->up);
}

static void taken(struct mg_upconn_wait *wait, struct mg_upconn *conn, int status, const char *why)
{
    struct mg_exchange *x = mg_container(wait, struct mg_exchange, wait);

    mg_run_enter(x);
    if (conn) {
        attach(x, conn);
        x->state = MG_ST_SEND;
        mg_run(x);
    } else {
        if (wait->tried.text[0])
            x->target_text = mg_arena_copy(&x->arena, wait->tried.text, strlen(wait->tried.text));
        fail(x, outcome_of(connecting, status), status, why);
    }
    mg_run_leave(x);
}

int mg_up_take(struct mg_exchange *x)
{
    struct mg_upconn *conn;

    if (!x->upstream_us)
        x->upstream_us = mg_loop_now_us(&x->worker->loop);
    x->wait.done = taken;
    x->wait.fresh = x->was_retried;
    x->wait.connect_ms = x->route->connect_ms;
    x->awaits_upstream = true; /* mg_up_release must give it up */
    conn = mg_upstream_take(x->worker->upstreams, x->upstream, &x->wait);
    if (!conn)
        return 0;
    attach(x, conn);
    return 1;
}

void mg_up_release(struct mg_exchange *x)
{
    struct mg_leg *up = x->up;

    if (x->awaits_upstream && !up)
        mg_upstream_cancel(&x->wait);
    x->awaits_upstream = false;
    mg_loop_disarm(&x->worker->loop, &x->io_timer);
    if (!up)
        return;
    x->up_bytes_in += up->head_bytes_in + up->body_bytes_in;
    x->up_bytes_out += up->head_bytes_out + up->body_bytes_out;
    if (!x->upstream_end_us)
        x->upstream_end_us = mg_loop_now_us(&x->worker->loop);
    x->up = NULL;
    x->upconn = NULL;
    x->up_full = false;
    up->owner = NULL;
    up->ops->release(up);
}

int mg_up_send_head(struct mg_exchange *x)
{
    struct mg_head head = *x->req;
    bool whole = x->body[MG_REQUEST].got_end && x->req->framing == MG_BODY_NONE;
    int rc;

    if (mg_forward_request(x, &head)) {
        mg_up_release(x);
        mg_answer_error(x, 431, NULL, "The request head is too large.");
        return -1;
    }
    mg_pieces_request_body_set(x, &head);
    if (x->record)
        mg_record_sent(x, &head);
    rc = x->up->ops->send_head(x->up, &head, MG_MORE);
    if (rc < 0) {
        mg_up_failed(x, rc, "the request head could not be sent");
        return rc;
    }
    if (rc == MG_FULL && !whole)
        x->up_full = true;
    return 0;
}

/* ---- failure --------------------------------------------------------------------------------------- */

/* May the request be sent again on another connection (RFC 9110 9.2.2)? Only if a kept-alive connection
 * turned out dead before anything came back, the method may be repeated, and its body is still there. */
static bool may_retry(const struct mg_exchange *x, int error)
{
    int m = x->req->method;
    bool idempotent = m == MG_M_GET || m == MG_M_HEAD || m == MG_M_OPTIONS || m == MG_M_TRACE || m == MG_M_PUT ||
                      m == MG_M_DELETE;

    return x->upconn && x->upconn->is_reused && !x->was_retried && !x->res && x->state == MG_ST_RECEIVE &&
           x->up->head_bytes_in == 0 && idempotent && mg_pieces_may_repeat_request(x) && error != MG_EPROTO &&
           error != MG_ETIMEOUT && error != MG_ETOOBIG;
}

void mg_up_failed(struct mg_exchange *x, int error, const char *why)
{
    bool retry = may_retry(x, error);

    if (x->state >= MG_ST_LOG)
        return;
    if (x->upconn)
        mg_upstream_report(x->upconn, retry ? 0 : error);
    if (x->state == MG_ST_STREAM && x->body[MG_RESPONSE].got_end)
        return; /* it had said everything */
    mg_up_release(x);
    if (x->state == MG_ST_STREAM && x->body[MG_RESPONSE].feed) { /* what it sent was dropped: a plugin makes the body */
        mg_pull_broke(x, &x->body[MG_RESPONSE]);
        x->body[MG_RESPONSE].got_end = true;
        return;
    }
    if (retry) {
        x->was_retried = true;
        x->upstream_end_us = 0;
        mg_pieces_repeat_request(x);
        x->state = MG_ST_CONNECT;
        return;
    }
    mg_op_cancel_all(x); /* a plugin may wait for the body that will not come */
    x->is_waiting = false;
    x->body[MG_REQUEST].waiting = x->body[MG_RESPONSE].waiting = false;
    fail(x, outcome_of(talking, error), error, why);
}
