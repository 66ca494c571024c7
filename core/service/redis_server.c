/* redis_server.c - one address: which connection takes a request, and when to leave the server alone.
 *
 * Ordinary requests go over a few shared connections, blocking ones each over one of its own, at most `connections` in all. While
 * a server cannot be reached, requests fail at once with the reason; it is tried again after a pause that doubles. */
#include "service/redis_parts.h"
#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000 };

static int64_t now_ms(const struct mg_redis_server *s) { return mg_loop_now_ms(s->client->loop); }

static struct mg_redis_server *server_find(struct mg_redis_client *c, const char *host, size_t host_n, int port, bool is_sentinel)
{
    mg_list_each(n, &c->servers) {
        struct mg_redis_server *s = mg_container(n, struct mg_redis_server, node);

        if (s->host.port == port && s->is_sentinel == is_sentinel && strlen(s->host.name) == host_n &&
            !memcmp(s->host.name, host, host_n))
            return s;
    }
    return NULL;
}

struct mg_redis_server *mg_redis_server_of(struct mg_redis_client *c, const char *host, size_t host_n, int port, bool is_sentinel)
{
    struct mg_redis_server *s;

    if (host_n == 0 || host_n >= sizeof s->host.name || port < 0 || port > 65535 || memchr(host, 0, host_n))
        return NULL;
    s = server_find(c, host, host_n, port, is_sentinel);
    if (s)
        return s;
    s = mg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->client = c;
    memcpy(s->host.name, host, host_n);
    s->host.port = port;
    s->is_sentinel = is_sentinel;
    if (port)
        snprintf(s->text, sizeof s->text, strchr(s->host.name, ':') ? "[%s]:%d" : "%s:%d", s->host.name, port);
    else
        snprintf(s->text, sizeof s->text, "%s", s->host.name);
    mg_list_init(&s->conns);
    mg_list_init(&s->waits);
    s->is_name = port != 0 && mg_address_parse(mg_str_c(s->host.name), port, &s->address) != 0;
    mg_list_push(&c->servers, &s->node);
    return s;
}

void mg_redis_server_free(struct mg_redis_server *s)
{
    mg_list_remove(&s->node);
    mg_free(s);
}

/* ---- up and down ---- */

bool mg_redis_server_is_down(const struct mg_redis_server *s)
{
    return now_ms(s) < s->down_until_ms;
}

void mg_redis_server_down(struct mg_redis_server *s, int code, const char *why)
{
    if (!s->backoff_ms)
        mg_logf(MG_LOG_WARN, "%s", why);
    s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (s->backoff_ms > BACKOFF_MAX_MS)
        s->backoff_ms = BACKOFF_MAX_MS;
    s->down_until_ms = now_ms(s) + s->backoff_ms / 2 + (int64_t)(mg_random() * (double)(s->backoff_ms / 2));
    s->down_code = code;
    snprintf(s->down_why, sizeof s->down_why, "%s", why);
    s->address_at++;
}

void mg_redis_server_up(struct mg_redis_server *s)
{
    if (s->backoff_ms)
        mg_logf(MG_LOG_INFO, "redis %s: is back", s->text);
    s->backoff_ms = s->down_until_ms = 0;
}

/* ---- shared connections ---- */

static void send_shared(struct mg_redis_server *s, struct mg_redis_request *q)
{
    struct mg_redis_conn **at = &s->shared[q->affinity % (uint32_t)s->client->conf->shared];

    if (!*at && mg_redis_server_is_down(s)) {
        mg_redis_request_lost(q, s->down_code, s->down_why);
        return;
    }
    if (!*at)
        *at = mg_redis_conn_new(s, MG_REDIS_SHARED);
    if (*at)
        mg_redis_conn_give(*at, q);
    else
        mg_redis_request_end(q, MG_ENOMEM, "redis: out of memory");
}

/* ---- connections of their own ---- */

static struct mg_redis_conn *idle_one(struct mg_redis_server *s)
{
    mg_list_each(n, &s->conns) {
        struct mg_redis_conn *c = mg_container(n, struct mg_redis_conn, node);

        if (c->use == MG_REDIS_OWN && c->is_idle && c->state == MG_REDIS_READY)
            return c;
    }
    return NULL;
}

static bool give_own(struct mg_redis_server *s, struct mg_redis_request *q)
{
    struct mg_redis_conn *c = idle_one(s);

    if (!c && s->conns_n >= s->client->conf->connections)
        return false;
    if (!c && mg_redis_server_is_down(s)) {
        mg_redis_request_lost(q, s->down_code, s->down_why);
        return true;
    }
    if (!c)
        c = mg_redis_conn_new(s, MG_REDIS_OWN);
    if (c)
        mg_redis_conn_give(c, q);
    else
        mg_redis_request_end(q, MG_ENOMEM, "redis: out of memory");
    return true;
}

void mg_redis_server_next(struct mg_redis_server *s)
{
    struct mg_list *n;

    while ((n = mg_list_first(&s->waits))) {
        struct mg_redis_request *q = mg_container(n, struct mg_redis_request, node);

        mg_list_remove(n);
        if (!give_own(s, q)) {
            mg_list_unshift(&s->waits, n);
            return;
        }
    }
}

void mg_redis_server_send(struct mg_redis_server *s, struct mg_redis_request *q)
{
    if (!q->blocks)
        send_shared(s, q);
    else if (!mg_list_empty(&s->waits) || !give_own(s, q))
        mg_list_push(&s->waits, &q->node);
}

struct mg_redis_conn *mg_redis_server_push(struct mg_redis_server *s, struct mg_redis_sub *sub)
{
    struct mg_redis_conn *c;

    if (mg_redis_server_is_down(s))
        return NULL;
    if (s->conns_n >= s->client->conf->connections) {
        snprintf(s->down_why, sizeof s->down_why, "redis %s: too many connections", s->text);
        return NULL;
    }
    c = mg_redis_conn_new(s, MG_REDIS_PUSHED);
    if (c)
        c->sub = sub;
    return c;
}
