/* redis_conn.c - one connection to one server.
 *
 *     CONNECTING ──open──> GREETING ──AUTH, SELECT, SETNAME answered──> READY ──> CLOSING
 *          └────────────────────┴─────── failed, too late ──────────────────────────^
 *
 * Requests that come before it is ready wait here; then they are written in order, gathered within a turn, and answers find them in
 * that order. One timer looks after all its times: connecting, silence while answers are due, idleness. */
#include "service/redis_parts.h"
#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

enum { PING_MS = 30000, KEEPALIVE_S = 60 };

static int64_t now_ms(const struct mg_redis_conn *c) { return mg_loop_now_ms(c->stream.loop); }
static const struct mg_redis *conf_of(const struct mg_redis_conn *c) { return c->server->client->conf; }

bool mg_redis_conn_is_busy(const struct mg_redis_conn *c)
{
    return !mg_list_empty(&c->sent) || !mg_list_empty(&c->waiting);
}

/* ---- times ---- */

/* When something is due; 0: nothing is. */
static int64_t due_ms(const struct mg_redis_conn *c)
{
    const struct mg_redis *conf = conf_of(c);

    if (c->state != MG_REDIS_READY)
        return c->began_ms + conf->connect_ms;
    if (c->use == MG_REDIS_PUSHED)
        return c->heard_ms + (c->pinged ? PING_MS + conf->timeout_ms : PING_MS);
    if (c->asked_ms && c->use == MG_REDIS_SHARED) /* whoever is patient for longer than that is not served here anyway */
        return (c->heard_ms > c->asked_ms ? c->heard_ms : c->asked_ms) + conf->timeout_ms * 3;
    return mg_redis_conn_is_busy(c) ? 0 : c->idle_ms + conf->keepalive_ms;
}

static void watch(struct mg_redis_conn *c)
{
    int64_t due = due_ms(c), left = due - now_ms(c);

    if (due)
        mg_loop_arm_by(c->stream.loop, &c->timer, left > 0 ? left : 0);
}

static void too_late(struct mg_redis_conn *c)
{
    if (c->state != MG_REDIS_READY)
        mg_redis_conn_fail(c, MG_ETIMEOUT, "no connection in time");
    else if (c->use == MG_REDIS_PUSHED && !c->pinged) {
        c->pinged = true;
        mg_redis_conn_write(c, "*1\r\n$4\r\nPING\r\n", 14);
        watch(c);
    } else if (c->asked_ms || c->use == MG_REDIS_PUSHED)
        mg_redis_conn_fail(c, MG_ETIMEOUT, "the server does not answer any more");
    else
        mg_redis_conn_fail(c, MG_ECANCELED, "idle");
}

static void on_timer(struct mg_timer *t)
{
    struct mg_redis_conn *c = mg_container(t, struct mg_redis_conn, timer);
    int64_t due = due_ms(c);

    if (due && due <= now_ms(c))
        too_late(c);
    else
        watch(c);
}

/* ---- requests ---- */

void mg_redis_conn_write(struct mg_redis_conn *c, const char *p, size_t n)
{
    mg_stream_write(&c->stream, p, n, MG_MORE);
}

static void transmit(struct mg_redis_conn *c, struct mg_redis_request *q)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";

    q->is_sent = true;
    mg_list_push(&c->sent, &q->node);
    if (q->asks) {
        q->skip = 1;
        mg_redis_conn_write(c, asking, sizeof asking - 1);
    }
    mg_redis_conn_write(c, q->wire, q->wire_n);
    if (!c->asked_ms)
        c->asked_ms = now_ms(c);
    watch(c);
}

void mg_redis_conn_give(struct mg_redis_conn *c, struct mg_redis_request *q)
{
    q->conn = c;
    c->is_idle = false;
    if (c->state == MG_REDIS_READY)
        transmit(c, q);
    else
        mg_list_push(&c->waiting, &q->node);
}

static void send_waiting(struct mg_redis_conn *c)
{
    struct mg_list *n;

    while ((n = mg_list_first(&c->waiting))) {
        mg_list_remove(n);
        transmit(c, mg_container(n, struct mg_redis_request, node));
    }
}

/* ---- the end ---- */

static void detach(struct mg_redis_conn *c)
{
    struct mg_redis_server *s = c->server;

    mg_list_remove(&c->node);
    s->conns_n--;
    atomic_fetch_sub_explicit(&s->client->conf->counts.open, 1, memory_order_relaxed);
    s->own_n -= c->use == MG_REDIS_OWN;
    for (int i = 0; i < MG_REDIS_SHARED_MAX; i++)
        if (s->shared[i] == c)
            s->shared[i] = NULL;
    mg_loop_disarm(c->stream.loop, &c->timer);
    c->server = NULL;
    c->state = MG_REDIS_CLOSING;
}

static void lose_all(struct mg_list *requests, int code, const char *why)
{
    struct mg_list *n;

    while ((n = mg_list_first(requests))) {
        struct mg_redis_request *q = mg_container(n, struct mg_redis_request, node);

        mg_list_remove(n);
        q->conn = NULL;
        mg_redis_request_lost(q, code, why);
    }
}

void mg_redis_conn_fail(struct mg_redis_conn *c, int code, const char *why)
{
    struct mg_redis_server *s = c->server;
    struct mg_redis_sub *sub = c->sub;
    bool was_ready = c->state == MG_REDIS_READY, is_down;
    char text[MG_REDIS_WHY_MAX];

    if (c->state == MG_REDIS_CLOSING)
        return;
    snprintf(text, sizeof text, "redis %s: %s", s->text, why);
    is_down = !was_ready && code != MG_ECANCELED;
    detach(c);
    mg_dns_lookup_cancel(&c->lookup);
    c->sub = NULL;
    if (c->stream.h.handle.type && c->use == MG_REDIS_OWN && mg_redis_conn_is_busy(c))
        mg_stream_abort(&c->stream);
    else
        mg_stream_close(&c->stream);
    if (is_down)
        mg_redis_server_down(s, code, text);
    if (s->client->master == s && s->client->conf->mode == MG_REDIS_SENTINEL && code != MG_ECANCELED)
        mg_redis_ask_again(s->client); /* another may be the master now */
    lose_all(&c->sent, code, text);
    lose_all(&c->waiting, code, text);
    if (sub)
        mg_redis_sub_lost(sub, code, text);
    mg_redis_server_next(s);
}

/* ---- the greeting ---- */

static bool greet_with(struct mg_redis_conn *c, const struct mg_str *argv, int argc, struct mg_str what)
{
    size_t n;
    char *wire = mg_redis_format(argv, argc, &n);

    if (!wire)
        return false;
    mg_redis_conn_write(c, wire, n);
    free(wire);
    c->greeting[c->greeting_n++] = what;
    return true;
}

static bool greet(struct mg_redis_conn *c)
{
    const struct mg_redis *r = conf_of(c);
    const struct mg_redis_login *login = c->server->is_sentinel ? &r->sentinel_login : &r->login;
    struct mg_str auth[3] = { MG_STR("AUTH"), login->user, login->password };
    char db[16];
    struct mg_str select[2] = { MG_STR("SELECT"), { db, (size_t)snprintf(db, sizeof db, "%d", r->db) } };
    struct mg_str name[3] = { MG_STR("CLIENT"), MG_STR("SETNAME"), r->name };
    struct mg_str role[1] = { MG_STR("ROLE") };

    if (login->password.n && !login->user.n)
        auth[1] = login->password;
    if (login->password.n && !greet_with(c, auth, login->user.n ? 3 : 2, auth[0]))
        return false;
    if (c->server->is_sentinel)
        return true;
    if (r->db && !greet_with(c, select, 2, select[0]))
        return false;
    if (r->name.n && !greet_with(c, name, 3, name[0]))
        return false;
    return r->mode != MG_REDIS_SENTINEL || greet_with(c, role, 1, role[0]);
}

static void ready(struct mg_redis_conn *c)
{
    c->state = MG_REDIS_READY;
    c->idle_ms = c->heard_ms = now_ms(c);
    mg_redis_server_up(c->server);
    mg_loop_disarm(c->stream.loop, &c->timer);
    send_waiting(c);
    if (c->sub)
        mg_redis_sub_ready(c->sub);
    watch(c);
    c->is_idle = c->use == MG_REDIS_OWN && !mg_redis_conn_is_busy(c); /* its request was given up meanwhile */
    if (c->is_idle)
        mg_redis_server_next(c->server);
}

/* false: the connection has failed. */
static bool greeted(struct mg_redis_conn *c)
{
    struct mg_str what = c->greeting[c->greeting_at++], text = mg_redis_reply_text(c->scratch, 0);
    bool is_error = c->scratch->nodes[0].kind == MG_REDIS_ERROR;
    char why[256];

    if (is_error && !mg_str_eq(what, MG_STR("CLIENT")) && !mg_str_eq(what, MG_STR("ROLE"))) {
        snprintf(why, sizeof why, "%.*s: %.*s", (int)what.n, what.p, (int)(text.n < 200 ? text.n : 200), text.p);
        mg_redis_conn_fail(c, MG_EPROTO, why);
        return false;
    }
    if (!is_error && mg_str_eq(what, MG_STR("ROLE")) && !mg_str_eq(mg_redis_reply_text(c->scratch, 1), MG_STR("master"))) {
        mg_redis_conn_fail(c, MG_ECLOSED, "it is not the master");
        return false;
    }
    if (c->greeting_at == c->greeting_n)
        ready(c);
    return true;
}

/* ---- replies ---- */

static void sent_done(struct mg_redis_conn *c, struct mg_redis_request *q)
{
    mg_list_remove(&q->node);
    q->conn = NULL;
    c->heard_ms = now_ms(c);
    if (mg_list_empty(&c->sent)) {
        c->asked_ms = 0;
        c->idle_ms = c->heard_ms;
        c->is_idle = c->use == MG_REDIS_OWN;
    } else {
        c->asked_ms = c->heard_ms;
    }
    mg_redis_answered(q);
    if (c->state == MG_REDIS_READY && !mg_redis_conn_is_busy(c)) {
        watch(c);
        if (c->is_idle)
            mg_redis_server_next(c->server);
    }
}

/* A whole reply of the request at the head has come. */
static void replied(struct mg_redis_conn *c, struct mg_redis_request *q)
{
    struct mg_redis_reply *r = q->reply;

    if (q->skip) {
        q->skip--;
        mg_redis_reply_clear(r);
        return;
    }
    if (++q->replies_got == q->replies_n) {
        sent_done(c, q);
        return;
    }
    if (!r->is_dropped && r->n && r->nodes[0].kind == MG_REDIS_ERROR && !q->first_error) {
        struct mg_str text = mg_redis_reply_text(r, 0);

        q->first_error = mg_malloc(text.n + 1);
        if (q->first_error) {
            memcpy(q->first_error, text.p, text.n);
            q->first_error[text.n] = 0;
        }
    }
    mg_redis_reply_clear(r);
}

/* Where the next reply goes; NULL: memory is short. */
static struct mg_redis_reply *place(struct mg_redis_conn *c, struct mg_redis_request **q)
{
    struct mg_list *n = c->state == MG_REDIS_READY ? mg_list_first(&c->sent) : NULL;

    *q = n ? mg_container(n, struct mg_redis_request, node) : NULL;
    if (*q)
        return (*q)->reply;
    if (!c->scratch)
        c->scratch = mg_redis_reply_new((size_t)conf_of(c)->reply_max);
    return c->scratch;
}

/* false: no more is to be read. */
static bool take(struct mg_redis_conn *c, struct mg_redis_request *q)
{
    if (q) {
        replied(c, q);
    } else if (c->state == MG_REDIS_GREETING) {
        if (!greeted(c))
            return false;
        mg_redis_reply_clear(c->scratch);
    } else if (c->sub) {
        struct mg_redis_reply *r = c->scratch;

        c->scratch = NULL;
        mg_redis_sub_pushed(c->sub, r);
    } else {
        mg_redis_conn_fail(c, MG_EPROTO, "a reply to nothing");
    }
    return c->state != MG_REDIS_CLOSING;
}

static void on_data(struct mg_stream *stream, const char *p, size_t n)
{
    struct mg_redis_conn *c = stream->owner;
    int rc;

    if (c->state == MG_REDIS_CLOSING)
        return;
    c->heard_ms = now_ms(c);
    c->pinged = false;
    rc = mg_redis_reader_feed(c->reader, p, n);
    while (rc == 0) {
        struct mg_redis_request *q;
        struct mg_redis_reply *into = place(c, &q);

        rc = into ? mg_redis_reader_next(c->reader, into) : MG_ENOMEM;
        if (rc <= 0)
            break;
        rc = 0;
        if (!take(c, q))
            return;
    }
    if (rc < 0)
        mg_redis_conn_fail(c, rc, rc == MG_ENOMEM ? "out of memory" : mg_redis_reader_why(c->reader));
}

/* ---- events ---- */

static void on_open(struct mg_stream *stream, int status, const char *why)
{
    struct mg_redis_conn *c = stream->owner;

    if (c->state == MG_REDIS_CLOSING)
        return;
    if (status < 0) {
        mg_redis_conn_fail(c, status == MG_ETLS ? MG_ETLS : MG_ECLOSED, why && *why ? why : uv_strerror(status));
        return;
    }
    c->state = MG_REDIS_GREETING;
    if (!c->stream.is_pipe) /* whoever waits for ever hears of a dead peer */
        uv_tcp_keepalive(&c->stream.h.tcp, 1, KEEPALIVE_S);
    if (!greet(c))
        mg_redis_conn_fail(c, MG_ENOMEM, "out of memory");
    else if (c->greeting_n == 0)
        ready(c);
}

static void on_end(struct mg_stream *stream, int status)
{
    struct mg_redis_conn *c = stream->owner;

    if (c->state == MG_REDIS_CLOSING)
        return;
    mg_redis_conn_fail(c, status == MG_ETLS ? MG_ETLS : MG_ECLOSED,
                       status == UV_EOF ? "the server closed the connection" : status == MG_ETLS ? "TLS failed" : uv_strerror(status));
}

static void on_drain(struct mg_stream *stream)
{
    (void)stream; /* what waits is bounded by the client's queue_bytes */
}

static void on_closed(struct mg_stream *stream)
{
    struct mg_redis_conn *c = stream->owner;

    mg_redis_reader_free(c->reader);
    mg_redis_reply_free(c->scratch);
    mg_free(c);
}

static const struct mg_stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_closed = on_closed,
};

/* ---- birth ---- */

void mg_redis_conn_connect(struct mg_redis_conn *c)
{
    const struct mg_redis_server *s = c->server;
    struct sockaddr_un path = { .sun_family = AF_UNIX };

    if (s->host.port == 0) {
        memcpy(path.sun_path, s->host.name, strnlen(s->host.name, sizeof path.sun_path - 1));
        mg_stream_connect(&c->stream, (struct sockaddr *)&path, NULL, NULL);
        return;
    }
    mg_stream_connect(&c->stream, (const struct sockaddr *)&s->address.sa, conf_of(c)->tls, s->host.name);
}

struct mg_redis_conn *mg_redis_conn_new(struct mg_redis_server *s, enum mg_redis_use use)
{
    struct mg_redis_conn *c = mg_calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->reader = mg_redis_reader_new();
    if (!c->reader) {
        mg_free(c);
        return NULL;
    }
    c->server = s;
    c->use = use;
    mg_list_init(&c->waiting);
    mg_list_init(&c->sent);
    mg_list_init(&c->node);
    mg_timer_init(&c->timer, on_timer);
    mg_stream_init(&c->stream, s->client->loop, &events, c);
    mg_list_push(&s->conns, &c->node);
    s->conns_n++;
    atomic_fetch_add_explicit(&s->client->conf->counts.connections, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->client->conf->counts.open, 1, memory_order_relaxed);
    s->own_n += use == MG_REDIS_OWN;
    c->began_ms = c->heard_ms = c->idle_ms = now_ms(c);
    watch(c);
    if (!s->is_name) {
        mg_redis_conn_connect(c);
    } else if (mg_redis_lookup_start(c) != 0) {
        detach(c);
        mg_stream_close(&c->stream);
        return NULL;
    }
    return c;
}
