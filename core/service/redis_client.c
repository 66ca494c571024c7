/* redis_client.c - a client on one worker: requests on their way, and where each of them belongs. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIES_MAX = 3, LATER_MS = 30, FRESH_MS = 100, HOUSE_MS = 1000 };

/* ---- requests ---- */

static void on_later(struct mg_timer *t)
{
    mg_redis_route(mg_container(t, struct mg_redis_request, later));
}

struct mg_redis_request *mg_redis_request_new(struct mg_redis_client *c, char *wire, size_t wire_n)
{
    struct mg_redis_request *q = mg_calloc(1, sizeof *q);
    struct mg_redis_reply *reply = mg_redis_reply_new((size_t)c->conf->reply_max);

    if (!q || !reply) {
        mg_free(q);
        mg_redis_reply_free(reply);
        free(wire);
        return NULL;
    }
    mg_list_init(&q->node);
    mg_timer_init(&q->later, on_later);
    q->client = c;
    q->wire = wire;
    q->wire_n = wire_n;
    q->replies_n = 1;
    q->reply = reply;
    q->slot = -1;
    c->requests_n++;
    c->bytes += (int64_t)wire_n;
    return q;
}

static void request_free(struct mg_redis_request *q)
{
    q->client->requests_n--;
    q->client->bytes -= (int64_t)q->wire_n;
    mg_loop_disarm(q->client->loop, &q->later);
    mg_redis_reply_free(q->reply);
    mg_free(q->first_error);
    free(q->wire);
    mg_free(q);
}

static void count(const struct mg_redis_request *q, int status)
{
    struct mg_redis_counts *n = &q->client->conf->counts;

    if (q->is_internal)
        return;
    atomic_fetch_add_explicit(&n->requests, 1, memory_order_relaxed);
    if (status < 0)
        atomic_fetch_add_explicit(&n->failures, 1, memory_order_relaxed);
    else if (q->reply->n && q->reply->nodes[0].kind == MG_REDIS_ERROR)
        atomic_fetch_add_explicit(&n->errors, 1, memory_order_relaxed);
}

void mg_redis_request_end(struct mg_redis_request *q, int status, const char *why)
{
    count(q, status);
    if (status < 0 && q->done && mg_redis_reply_say(q->reply, mg_str_c(why)) != 0)
        status = MG_ENOMEM;
    mg_redis_reply_finish(q->reply);
    if (q->done)
        q->done(q, status);
    request_free(q);
}

void mg_redis_request_drop(struct mg_redis_request *q)
{
    struct mg_redis_conn *c = q->conn;

    q->done = NULL;
    q->owner = NULL;
    if (q->is_sent && c) {
        q->reply->is_dropped = true;
        if (q->blocks) /* it must not take what nobody will get */
            mg_redis_conn_fail(c, MG_ECANCELED, "given up");
        return;
    }
    mg_list_remove(&q->node);
    request_free(q);
}

/* ---- where to ---- */

static struct mg_redis_server *owner_of(struct mg_redis_client *c, int slot)
{
    if (!c->slots)
        return NULL;
    return slot >= 0 && c->slots[slot] ? c->slots[slot] : mg_redis_any_server(c);
}

struct mg_redis_server *mg_redis_any_server(struct mg_redis_client *c)
{
    if (c->conf->mode != MG_REDIS_CLUSTER)
        return c->master;
    if (!c->slots)
        return NULL;
    for (unsigned i = 0, at = c->turn; i < MG_REDIS_SLOTS; i++, at += 97) /* any stride that is odd visits all */
        if (c->slots[at % MG_REDIS_SLOTS])
            return c->slots[at % MG_REDIS_SLOTS];
    return NULL;
}

void mg_redis_route(struct mg_redis_request *q)
{
    struct mg_redis_client *c = q->client;
    struct mg_redis_server *s = q->target;
    bool is_known = !c->is_stale;

    if (!s && is_known)
        s = c->conf->mode == MG_REDIS_CLUSTER ? owner_of(c, q->slot) : c->master;
    if (s) {
        mg_redis_server_send(s, q);
        return;
    }
    mg_list_push(&c->pending, &q->node);
    mg_redis_ask_again(c);
}

void mg_redis_ask_again(struct mg_redis_client *c)
{
    int64_t now = mg_loop_now_ms(c->loop);

    if (c->conf->mode == MG_REDIS_SINGLE || c->is_closed)
        return;
    if (!c->is_asking && (c->slots || c->master) && now - c->asked_ms < FRESH_MS)
        return; /* that is what they said just now */
    c->is_stale = true;
    if (c->is_asking || (mg_list_empty(&c->pending) && mg_list_empty(&c->subs)))
        return; /* the next request asks */
    if (c->failed_until_ms > now) {
        mg_redis_asked(c, c->failed_code, c->failed_why);
        return;
    }
    c->is_asking = true;
    c->asked_n = 0;
    mg_redis_ask(c);
}

void mg_redis_asked(struct mg_redis_client *c, int code, const char *why)
{
    struct mg_list batch, *n;
    char text[MG_REDIS_WHY_MAX];

    snprintf(text, sizeof text, "%s", why);
    c->is_asking = false;
    mg_list_init(&batch);
    while ((n = mg_list_first(&c->pending))) {
        mg_list_remove(n);
        mg_list_push(&batch, n);
    }
    while ((n = mg_list_first(&batch))) {
        struct mg_redis_request *q = mg_container(n, struct mg_redis_request, node);

        mg_list_remove(n);
        if (code < 0)
            mg_redis_request_end(q, code, text);
        else
            mg_redis_route(q);
    }
    mg_redis_subs_pending(c);
}

/* ---- lost, answered ---- */

/* Once more, by the map or the master that is known by then. */
static void again(struct mg_redis_request *q)
{
    q->is_sent = false;
    q->asks = false;
    q->skip = 0;
    q->replies_got = 0;
    q->target = NULL;
    mg_free(q->first_error);
    q->first_error = NULL;
    mg_redis_reply_clear(q->reply);
    mg_loop_arm(q->client->loop, &q->later, LATER_MS);
}

void mg_redis_request_lost(struct mg_redis_request *q, int code, const char *why)
{
    struct mg_redis_client *c = q->client;
    bool may = !q->is_sent || q->is_idempotent;
    bool elsewhere = c->conf->mode != MG_REDIS_SINGLE && !q->is_internal;

    q->conn = NULL;
    if (!q->done) {
        request_free(q);
        return;
    }
    /* A single server that cannot be reached will not be reached by asking again at once; an idempotent request that met a
     * closing connection will. */
    if (may && !c->is_closed && !q->is_internal && q->tries < TRIES_MAX && (elsewhere || q->is_sent)) {
        q->tries++;
        if (elsewhere)
            mg_redis_ask_again(c);
        again(q);
        return;
    }
    mg_redis_request_end(q, code, why);
}

/* "MOVED 3999 127.0.0.1:6381" */
static struct mg_redis_server *named(struct mg_redis_client *c, struct mg_str text, int *slot)
{
    struct mg_str rest = text, word, at = { NULL, 0 };
    uint64_t n = 0, port = 0;
    const char *colon;

    for (int i = 0; i < 3 && mg_str_next(&rest, ' ', &word); i++) {
        if (i == 1 && !mg_str_u64(word, MG_REDIS_SLOTS - 1, &n))
            return NULL;
        if (i == 2)
            at = word;
    }
    *slot = (int)n;
    colon = at.n ? memrchr(at.p, ':', at.n) : NULL;
    if (!colon || !mg_str_u64(mg_str(colon + 1, (size_t)(at.p + at.n - colon - 1)), 65535, &port) || port == 0)
        return NULL;
    return mg_redis_server_of(c, at.p, (size_t)(colon - at.p), (int)port, false);
}

/* The server did nothing and says who would, or when. true: the request is on its way again. */
static bool redirected(struct mg_redis_request *q, struct mg_str text)
{
    struct mg_redis_client *c = q->client;
    struct mg_redis_server *s;
    bool moved = mg_str_starts(text, MG_STR("MOVED ")), asks = mg_str_starts(text, MG_STR("ASK "));
    int slot;

    if (q->redirects >= c->conf->redirects || q->is_internal || c->is_closed)
        return false;
    if (c->conf->mode == MG_REDIS_SENTINEL && mg_str_starts(text, MG_STR("READONLY "))) {
        c->master = NULL;
        q->redirects++;
        mg_redis_ask_again(c);
        again(q);
        return true;
    }
    if (c->conf->mode != MG_REDIS_CLUSTER)
        return false;
    if (mg_str_starts(text, MG_STR("TRYAGAIN")) || mg_str_starts(text, MG_STR("CLUSTERDOWN"))) {
        q->redirects++;
        mg_redis_ask_again(c);
        again(q);
        mg_loop_arm(c->loop, &q->later, LATER_MS << q->redirects);
        return true;
    }
    s = moved || asks ? named(c, text, &slot) : NULL;
    if (!s)
        return false;
    q->redirects++;
    again(q);
    q->target = s;
    q->asks = asks;
    if (moved && c->slots)
        c->slots[slot] = s;
    if (moved)
        mg_redis_ask_again(c);
    mg_loop_disarm(c->loop, &q->later);
    mg_redis_route(q);
    return true;
}

void mg_redis_answered(struct mg_redis_request *q)
{
    struct mg_redis_reply *r = q->reply;

    if (!q->done) {
        request_free(q);
        return;
    }
    if (q->first_error && r->n && r->nodes[0].kind == MG_REDIS_ERROR)
        mg_redis_reply_say(r, mg_str_c(q->first_error)); /* "EXECABORT" does not tell why */
    if (r->n && r->nodes[0].kind == MG_REDIS_ERROR && redirected(q, mg_redis_reply_text(r, 0)))
        return;
    mg_redis_request_end(q, 0, "");
}

/* ---- clients ---- */

static void client_close(struct mg_redis_client *c);

/* Servers that nobody needs go, and the whole client once no plugin has it any more and what was under way has ended. */
static void on_house(struct mg_timer *t)
{
    struct mg_redis_client *c = mg_container(t, struct mg_redis_client, house);

    mg_redis_topology_sweep(c);
    if (mg_redis_is_open(c->conf))
        return;
    if (c->requests_n == 0 && mg_list_empty(&c->subs))
        client_close(c);
    else
        mg_loop_arm(c->loop, &c->house, HOUSE_MS);
}

static struct mg_redis_client *client_new(struct mg_worker *w, struct mg_redis *r)
{
    struct mg_redis_client *c = mg_calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->conf = r;
    c->worker = w;
    c->loop = &w->loop;
    mg_list_init(&c->servers);
    mg_list_init(&c->subs);
    mg_list_init(&c->pending);
    mg_list_init(&c->node);
    mg_timer_init(&c->house, on_house);
    c->turn = (uint32_t)w->index;
    if (r->mode == MG_REDIS_SINGLE) {
        c->master = mg_redis_server_of(c, r->hosts[0].name, strlen(r->hosts[0].name), r->hosts[0].port, false);
        if (!c->master) {
            mg_free(c);
            return NULL;
        }
    } else {
        c->is_stale = true;
    }
    mg_redis_ref(r);
    return c;
}

struct mg_redis_client *mg_redis_client_here(struct mg_worker *w, struct mg_redis *r)
{
    struct mg_redis_client *c;

    if (!w->redis) {
        w->redis = mg_calloc(1, sizeof *w->redis);
        if (!w->redis)
            return NULL;
        mg_list_init(&w->redis->clients);
    }
    mg_list_each(n, &w->redis->clients) {
        c = mg_container(n, struct mg_redis_client, node);
        if (c->conf == r)
            return c;
    }
    c = client_new(w, r);
    if (c)
        mg_list_push(&w->redis->clients, &c->node);
    return c;
}

static void end_pending(struct mg_redis_client *c)
{
    struct mg_list *n;

    while ((n = mg_list_first(&c->pending))) {
        mg_list_remove(n);
        mg_redis_request_end(mg_container(n, struct mg_redis_request, node), MG_ECANCELED, "redis: the client is closed");
    }
}

static void server_close(struct mg_redis_server *s)
{
    struct mg_list *n;

    while ((n = mg_list_first(&s->conns)))
        mg_redis_conn_fail(mg_container(n, struct mg_redis_conn, node), MG_ECANCELED, "the client is closed");
    while ((n = mg_list_first(&s->waits))) {
        mg_list_remove(n);
        mg_redis_request_end(mg_container(n, struct mg_redis_request, node), MG_ECANCELED, "redis: the client is closed");
    }
}

/* No exchange waits for it. */
static void client_close(struct mg_redis_client *c)
{
    struct mg_list *n;

    c->is_closed = true;
    mg_redis_subs_close(c);
    mg_list_each(s, &c->servers)
        server_close(mg_container(s, struct mg_redis_server, node));
    end_pending(c);
    while ((n = mg_list_first(&c->servers)))
        mg_redis_server_free(mg_container(n, struct mg_redis_server, node));
    mg_loop_disarm(c->loop, &c->house);
    mg_list_remove(&c->node);
    free(c->slots);
    mg_redis_unref(c->conf);
    mg_free(c);
}

void mg_redis_sweep(struct mg_worker *w, void *arg)
{
    (void)arg;
    if (!w->redis)
        return;
    mg_list_each(n, &w->redis->clients) {
        struct mg_redis_client *c = mg_container(n, struct mg_redis_client, node);

        if (!mg_redis_is_open(c->conf))
            mg_loop_arm(c->loop, &c->house, 0);
    }
}

void mg_redis_worker_close(struct mg_worker *w)
{
    struct mg_list *n;

    if (!w->redis)
        return;
    while ((n = mg_list_first(&w->redis->clients)))
        client_close(mg_container(n, struct mg_redis_client, node));
    mg_free(w->redis);
    w->redis = NULL;
}
