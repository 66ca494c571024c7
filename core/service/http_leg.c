/* http_leg.c - a call's connection: taking one, what it raises, time, failure.
 *
 * The codec may raise events inside of `resume` and `send_…`; none of them leads to anybody outside of this room, so the call
 * stands when they return, though perhaps without its leg. */
#include "service/http_inner.h"

#include <stdio.h>

enum { SLICE_BYTES = 65536, SKIP_MAX = 65536, NO_LIMIT_MS = 24 * 3600 * 1000 };

/* ---- what a failure is called: the words of docs/operating.md --------------------------------- */

struct outcome { int error; const char *token; };

static const struct outcome connecting[] = {
    { UV_ECONNREFUSED, "connect_refused" }, { UV_ETIMEDOUT, "connect_timeout" }, { MG_ETIMEOUT, "connect_timeout" },
    { MG_ENOENT, "resolve_failed" },        { MG_EBUSY, "upstream_busy" },       { MG_ETLS, "tls_failed" },
    { UV_EMFILE, "no_descriptors" },        { UV_ENFILE, "no_descriptors" },     { MG_ENOMEM, "no_memory" },
    { 0, "connect_failed" },
};
static const struct outcome talking[] = {
    { MG_EPROTO, "bad_response" }, { MG_ETOOBIG, "response_head_too_large" }, { MG_ETIMEOUT, "timeout" },
    { MG_ETLS, "tls_failed" },     { MG_ENOMEM, "no_memory" },                { 0, "reset" },
};

static const char *token_of(const struct outcome *table, int error)
{
    while (table->error && table->error != error)
        table++;
    return table->token;
}

static const struct outcome simulated[] = {
    { UV_ECONNREFUSED, "connect_refused" }, { MG_ENOENT, "resolve_failed" },  { MG_EBUSY, "upstream_busy" },
    { MG_ETOOBIG, "response_too_large" },   { MG_EPROTO, "bad_response" },    { MG_ETIMEOUT, "timeout" },
    { MG_ETLS, "tls_failed" },              { MG_ENOMEM, "no_memory" },       { 0, "reset" },
};

const char *mg_call_token(int error)
{
    return token_of(simulated, error);
}

void mg_call_op_end(struct mg_op **at, int status)
{
    struct mg_op *op = *at;

    *at = NULL;
    if (op)
        mg_op_end(op, status);
}

void mg_call_fail(struct mg_call *c, int error, const char *token, const char *words)
{
    if (c->state >= MG_CALL_DONE)
        return;
    c->words = mg_arena_copy(&c->arena, words, strlen(words));
    c->error = error;
    c->token = token;
    mg_call_release(c);
    c->state = MG_CALL_FAILED;
    mg_loop_disarm(&c->x->worker->loop, &c->total_timer);
    if (!c->is_streamed) /* what there is of it must not be taken for the whole */
        mg_grown_free(&c->in);
    mg_grown_free(&c->out);
    mg_call_op_end(&c->op, error);
    mg_call_op_end(&c->write_op, MG_ECLOSED);
    mg_call_serve(c);
}

/* ---- time --------------------------------------------------------------------------------------- */

static bool is_sent(const struct mg_call *c) { return c->out_ended && c->sent == c->out.n && !c->is_full; }

static int64_t limit_of(const struct mg_call *c)
{
    if (c->state == MG_CALL_SENDING && is_sent(c))
        return c->first_byte_ms >= 0 ? c->first_byte_ms : c->upstream->first_byte_ms;
    return c->idle_ms >= 0 ? c->idle_ms : c->upstream->idle_ms;
}

/* Nobody but our own plugin is waited for: to write more, or to read what there is. */
static bool is_held(const struct mg_call *c)
{
    return c->leg->is_paused || (c->state == MG_CALL_SENDING && !c->out_ended && c->sent == c->out.n && !c->is_full);
}

static void io_late(struct mg_timer *t)
{
    struct mg_call *c = mg_container(t, struct mg_call, io_timer);
    struct mg_loop *loop = &c->x->worker->loop;
    int64_t limit = limit_of(c), left = c->active_ms + limit - mg_loop_now_ms(loop);

    if (limit <= 0)
        return;
    if (is_held(c)) {
        c->active_ms = mg_loop_now_ms(loop);
        left = limit;
    }
    if (left > 0) {
        mg_loop_arm(loop, t, left);
        return;
    }
    mg_upstream_report(c->conn, MG_ETIMEOUT);
    mg_call_fail(c, MG_ETIMEOUT, "timeout", c->state == MG_CALL_SENDING ? "no answer in time" : "nothing came in time");
}

void mg_call_watch(struct mg_call *c)
{
    struct mg_loop *loop = &c->x->worker->loop;
    int64_t limit = limit_of(c);

    c->active_ms = mg_loop_now_ms(loop);
    c->io_timer.fire = io_late;
    if (limit > 0)
        mg_loop_arm_by(loop, &c->io_timer, limit); /* io_late looks at active_ms */
    else
        mg_loop_disarm(loop, &c->io_timer);
}

/* ---- sending --------------------------------------------------------------------------------------- */

static void broke(struct mg_call *c, int error, const char *why)
{
    mg_call_fail(c, error, token_of(talking, error), why && *why ? why : mg_error_name(error));
}

static int send_slices(struct mg_call *c)
{
    while (c->leg && !c->is_full && c->sent < c->out.n) {
        size_t n = c->out.n - c->sent;
        int rc;

        n = n < SLICE_BYTES ? n : SLICE_BYTES;
        rc = c->leg->ops->send_data(c->leg, mg_str(c->out.p + c->sent, n), c->out_ended && c->sent + n == c->out.n ? MG_MORE : 0);
        if (rc < 0)
            return rc;
        c->sent += n;
        c->is_full = rc == MG_FULL;
    }
    return 0;
}

void mg_call_pump(struct mg_call *c)
{
    int rc = send_slices(c);

    if (rc >= 0 && c->leg && c->sent == c->out.n && c->out_ended && !c->leg->sent_end)
        rc = c->leg->ops->send_end(c->leg, NULL);
    if (rc < 0) {
        /* Fewer or more bytes than a streamed body promised. */
        broke(c, rc, rc == MG_EPROTO ? "the request's body is not as long as was announced" : "the request could not be sent");
        return;
    }
    if (!c->is_upload || c->sent < c->out.n || c->is_full)
        return;
    c->out.n = c->sent = 0;
    mg_call_op_end(&c->write_op, 0);
}

static void send_request(struct mg_call *c)
{
    struct mg_head head = c->req;
    int rc;

    head.target = c->url.target;
    head.authority = c->url.authority;
    rc = c->leg->ops->send_head(c->leg, &head, head.framing == MG_BODY_NONE || c->out_ended || c->out.n ? MG_MORE : 0);
    if (rc < 0) {
        broke(c, rc, "the request's head could not be sent");
        return;
    }
    c->is_full = rc == MG_FULL;
    mg_call_pump(c);
    if (c->leg)
        mg_call_watch(c);
}

/* ---- the leg's events ------------------------------------------------------------------------------- */

/* A redirect's body has been passed over: on to where it leads. */
static void go_on(struct mg_call *c)
{
    mg_call_release(c);
    c->was_retried = false;
    mg_call_connect(c);
}

static void whole(struct mg_call *c)
{
    mg_call_release(c);
    c->state = MG_CALL_DONE;
    c->in_ended = true;
    mg_loop_disarm(&c->x->worker->loop, &c->total_timer);
    mg_grown_free(&c->out);
    if (!c->is_streamed)
        mg_call_op_end(&c->op, 0);
    mg_call_op_end(&c->write_op, MG_ECLOSED);
    mg_call_serve(c);
}

static void redirect(struct mg_call *c, const struct mg_head *res)
{
    const char *token = NULL, *why = NULL;
    int rc = mg_call_follow(c, res, &token, &why);

    if (rc) {
        mg_call_fail(c, rc, token, why);
        return;
    }
    c->state = MG_CALL_SKIPPING;
    c->skipped = 0;
    mg_call_watch(c);
    if (!c->leg->sent_end || res->framing == MG_BODY_CLOSE || (res->framing == MG_BODY_LENGTH && res->length > SKIP_MAX))
        go_on(c); /* cheaper to begin anew */
}

static void on_head(struct mg_leg *leg, struct mg_head *head)
{
    struct mg_call *c = leg->owner;

    mg_upstream_report(c->conn, 0);
    if (head->status == 101) {
        broke(c, MG_EPROTO, "it changes to a protocol that was not asked for");
        return;
    }
    if (mg_call_follows(c, head)) {
        redirect(c, head);
        return;
    }
    c->res = head;
    c->state = MG_CALL_RECEIVING;
    c->is_here = head->framing == MG_BODY_NONE;
    mg_call_watch(c);
    if (c->is_streamed)
        mg_call_op_end(&c->op, 0);
    else if (head->framing == MG_BODY_LENGTH && head->length > c->limit)
        mg_call_fail(c, MG_ETOOBIG, "response_too_large", "the answer's body is over the limit");
}

static void on_interim(struct mg_leg *leg, struct mg_head *head)
{
    struct mg_call *c = leg->owner;

    (void)head;
    c->active_ms = mg_loop_now_ms(&c->x->worker->loop);
}

static void on_data(struct mg_leg *leg, struct mg_str bytes)
{
    struct mg_call *c = leg->owner;
    int rc;

    c->active_ms = mg_loop_now_ms(&c->x->worker->loop);
    if (c->state == MG_CALL_SKIPPING) {
        c->skipped += (int64_t)bytes.n;
        if (c->skipped > SKIP_MAX)
            go_on(c);
        return;
    }
    rc = mg_call_take(c, bytes);
    if (rc == MG_ETOOBIG)
        mg_call_fail(c, rc, "response_too_large", "the answer's body is over the limit");
    else if (rc)
        broke(c, rc, "out of memory");
}

static void on_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    struct mg_call *c = leg->owner;

    if (c->state == MG_CALL_SKIPPING) {
        go_on(c);
        return;
    }
    c->trailers = trailers;
    whole(c);
}

/* Sent again, once, on another connection (RFC 9110, 9.2.2): a kept-alive one turned out dead before anything came back, the
 * method may be repeated, and its body is still here. */
static bool may_retry(const struct mg_call *c, int error)
{
    int m = c->req.method;
    bool idempotent = m == MG_M_GET || m == MG_M_HEAD || m == MG_M_OPTIONS || m == MG_M_TRACE || m == MG_M_PUT || m == MG_M_DELETE;

    return c->conn->is_reused && !c->was_retried && c->state == MG_CALL_SENDING && c->leg->head_bytes_in == 0 && idempotent &&
           !c->is_upload && error != MG_EPROTO && error != MG_ETIMEOUT && error != MG_ETOOBIG && error != MG_ENOMEM;
}

static void on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    struct mg_call *c = leg->owner;

    (void)status;
    if (c->state == MG_CALL_SKIPPING) {
        go_on(c);
        return;
    }
    if (may_retry(c, error)) {
        mg_call_release(c);
        c->was_retried = true;
        mg_call_connect(c);
        return;
    }
    mg_upstream_report(c->conn, error);
    broke(c, error, why);
}

static void on_drain(struct mg_leg *leg)
{
    struct mg_call *c = leg->owner;

    c->is_full = false;
    mg_call_watch(c);
    mg_call_pump(c);
}

static const struct mg_leg_events events = {
    .on_head = on_head, .on_interim = on_interim, .on_data = on_data, .on_end = on_end, .on_reset = on_reset, .on_drain = on_drain,
};

/* ---- taking and letting go --------------------------------------------------------------------------- */

static void attach(struct mg_call *c, struct mg_upconn *conn)
{
    c->conn = conn;
    c->state = MG_CALL_SENDING;
    c->sent = 0;
    c->is_full = false;
    conn->h1.leg.owner = c;
    conn->h1.leg.events = &events;
    conn->h1.leg.arena = &c->arena;
    mg_h1_start(&conn->h1, &c->leg);
    send_request(c);
}

static void taken(struct mg_upconn_wait *wait, struct mg_upconn *conn, int status, const char *why)
{
    struct mg_call *c = mg_container(wait, struct mg_call, wait);
    char words[256];

    if (conn) {
        attach(c, conn);
        return;
    }
    snprintf(words, sizeof(words), "%s%s%s%s", why ? why : mg_error_name(status), wait->tried.text[0] ? " (" : "",
             wait->tried.text, wait->tried.text[0] ? ")" : "");
    mg_call_fail(c, status, token_of(connecting, status), words);
}

static void take(struct mg_call *c)
{
    struct mg_upconn *conn;

    c->state = MG_CALL_CONNECTING;
    c->wait.done = taken;
    c->wait.fresh = c->was_retried;
    c->wait.connect_ms = c->connect_ms == 0 ? NO_LIMIT_MS : c->connect_ms;
    conn = mg_upstream_take(c->x->worker->upstreams, c->upstream, &c->wait);
    if (conn)
        attach(c, conn);
}

void mg_call_connect_with(struct mg_call *c, struct mg_http_host *host, int error)
{
    if (!host) {
        mg_call_fail(c, error, error == MG_EBUSY ? "upstream_busy" : "no_memory",
                     error == MG_EBUSY ? "requests to too many hosts are under way" : "out of memory");
        return;
    }
    c->host = host;
    c->upstream = mg_http_host_spec(host);
    take(c);
}

static void find_host(struct mg_call *c)
{
    int64_t now = mg_loop_now_ms(&c->x->worker->loop);
    struct mg_http_host *host;
    int rc = 0;

    if (c->url.is_tls && mg_http_trust_digest(&c->trust, &c->arena) != 0) {
        mg_call_fail(c, MG_ENOMEM, "no_memory", "out of memory");
        return;
    }
    host = mg_http_host_find(&c->url, &c->trust, now);
    if (!host && c->url.is_tls) {
        struct mg_tls *tls = mg_http_trust_find(c->trust.digest);

        if (!tls) {
            mg_call_trust(c);
            return;
        }
        host = mg_http_host_make(&c->url, &c->trust, tls, now, &rc);
    } else if (!host) {
        host = mg_http_host_make(&c->url, &c->trust, NULL, now, &rc);
    }
    mg_call_connect_with(c, host, rc);
}

void mg_call_connect(struct mg_call *c)
{
    if (!c->x->worker->upstreams || (c->upstream_name.p && !c->upstream))
        mg_call_fail(c, MG_ECLOSED, "connect_failed", "there is no network here");
    else if (c->upstream_name.p)
        take(c);
    else
        find_host(c);
}

void mg_call_release(struct mg_call *c)
{
    struct mg_leg *leg = c->leg;
    struct mg_http_host *host = c->host;

    mg_loop_disarm(&c->x->worker->loop, &c->io_timer);
    mg_call_untrust(c);
    mg_upstream_cancel(&c->wait); /* harmless when nothing is waited for */
    c->leg = NULL;
    c->conn = NULL;
    c->host = NULL;
    c->is_full = false;
    if (!c->upstream_name.p)
        c->upstream = NULL;
    if (leg) {
        leg->owner = NULL;
        leg->ops->release(leg);
    }
    if (host)
        mg_http_host_unref(host, mg_loop_now_ms(&c->x->worker->loop));
}
