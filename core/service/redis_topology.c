/* redis_topology.c - who is the master, who owns which slots? Asked of the sentinels, or of the cluster's nodes.
 *
 * A round asks one after the other until somebody answers; what waits goes on then, or fails when nobody did. A round begins when a
 * request finds that nothing is known or that what was known is out of date (a broken connection, READONLY, MOVED); nobody asks
 * while nobody needs it. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_MS = 250 };

static void ask_next(struct mg_redis_client *c, const char *why);

static void fail_round(struct mg_redis_client *c, const char *why)
{
    c->failed_code = MG_ECLOSED;
    snprintf(c->failed_why, sizeof c->failed_why, "%s", why);
    c->failed_until_ms = mg_loop_now_ms(c->loop) + AGAIN_MS;
    mg_redis_asked(c, c->failed_code, c->failed_why);
}

static void succeed(struct mg_redis_client *c)
{
    c->is_stale = false;
    c->failed_until_ms = 0;
    c->asked_ms = mg_loop_now_ms(c->loop);
    mg_loop_arm(c->loop, &c->house, 0);
    mg_redis_asked(c, 0, "");
}

static bool number_in(const struct mg_redis_reply *r, size_t node, int64_t min, int64_t max, int64_t *out)
{
    uint64_t n;

    if (node >= r->n)
        return false;
    if (r->nodes[node].kind == MG_REDIS_INTEGER)
        *out = r->nodes[node].integer;
    else if (mg_str_u64(mg_redis_reply_text(r, node), (uint64_t)max, &n))
        *out = (int64_t)n;
    else
        return false;
    return *out >= min && *out <= max;
}

/* ---- sentinels ---- */

/* [ "127.0.0.1", "6379" ], or nil: it does not know that set. */
static bool take_master(struct mg_redis_client *c, const struct mg_redis_reply *r, char *why, size_t why_n)
{
    struct mg_str host = mg_redis_reply_text(r, 1);
    struct mg_redis_server *s = NULL;
    int64_t port;

    if (r->nodes[0].kind == MG_REDIS_ERROR)
        snprintf(why, why_n, "redis: a sentinel says: %.*s", (int)(host.n < 200 ? mg_redis_reply_text(r, 0).n : 0),
                 mg_redis_reply_text(r, 0).p);
    else if (r->nodes[0].kind != MG_REDIS_ARRAY || r->nodes[0].count != 2)
        snprintf(why, why_n, "redis: the sentinel knows no set named %.*s", (int)(c->conf->master.n < 100 ? c->conf->master.n : 100),
                 c->conf->master.p);
    else if (number_in(r, 2, 1, 65535, &port))
        s = mg_redis_server_of(c, host.p, host.n, (int)port, false);
    else
        snprintf(why, why_n, "redis: a sentinel gives no address");
    if (s)
        c->master = s;
    return s != NULL;
}

/* ---- clusters ---- */

/* One range: [ from, to, [ host, port, … ], replicas… ] at node `at`. An empty host is the one that answers. */
static bool take_range(struct mg_redis_client *c, const struct mg_redis_reply *r, size_t at, struct mg_redis_server *asked,
                       struct mg_redis_server **slots)
{
    size_t node = at + 3;
    int64_t from, to, port;
    struct mg_str host;
    struct mg_redis_server *s;

    if (r->nodes[at].kind != MG_REDIS_ARRAY || r->nodes[at].count < 3 || !number_in(r, at + 1, 0, MG_REDIS_SLOTS - 1, &from) ||
        !number_in(r, at + 2, from, MG_REDIS_SLOTS - 1, &to) || node + 2 >= r->n || r->nodes[node].kind != MG_REDIS_ARRAY ||
        r->nodes[node].count < 2 || !number_in(r, node + 2, 1, 65535, &port))
        return false;
    host = mg_redis_reply_text(r, node + 1);
    if (host.n == 0 || mg_str_eq(host, MG_STR("?")))
        host = mg_str_c(asked->host.name);
    s = mg_redis_server_of(c, host.p, host.n, (int)port, false);
    if (!s)
        return false;
    for (; from <= to; from++)
        slots[from] = s;
    return true;
}

static bool take_slots(struct mg_redis_client *c, const struct mg_redis_reply *r, struct mg_redis_server *asked, char *why,
                       size_t why_n)
{
    struct mg_redis_server **slots;
    struct mg_str text = mg_redis_reply_text(r, 0);

    if (r->nodes[0].kind != MG_REDIS_ARRAY || r->nodes[0].count == 0) {
        snprintf(why, why_n, "redis %s: no map of slots: %.*s", asked->text, (int)(text.n < 150 ? text.n : 150), text.n ? text.p : "");
        return false;
    }
    slots = calloc(MG_REDIS_SLOTS, sizeof(struct mg_redis_server *));
    if (!slots) {
        snprintf(why, why_n, "redis: out of memory");
        return false;
    }
    for (size_t at = 1; at < r->n; at = (size_t)r->nodes[at].next) {
        if (!take_range(c, r, at, asked, slots)) {
            snprintf(why, why_n, "redis %s: a map of slots that makes no sense", asked->text);
            free(slots);
            return false;
        }
    }
    free(c->slots);
    c->slots = slots;
    return true;
}

/* ---- rounds ---- */

static void on_answer(struct mg_redis_request *q, int status)
{
    struct mg_redis_client *c = q->client;
    const struct mg_redis_reply *r = q->reply;
    struct mg_str text = mg_redis_reply_text(r, 0);
    char why[MG_REDIS_WHY_MAX] = "redis: out of memory";
    bool took = false;

    if (!c->is_asking)
        return;
    if (status < 0)
        snprintf(why, sizeof why, "%.*s", (int)text.n, text.n ? text.p : "");
    else if (r->n && c->conf->mode == MG_REDIS_SENTINEL)
        took = take_master(c, r, why, sizeof why);
    else if (r->n)
        took = take_slots(c, r, q->target, why, sizeof why);
    if (took)
        succeed(c);
    else if (!c->is_closed)
        ask_next(c, why);
}

/* The i-th of those who may know: seeds, then (clusters) the nodes that are known. NULL: no more. */
static struct mg_redis_server *candidate(struct mg_redis_client *c, int i)
{
    const struct mg_redis *r = c->conf;
    bool is_sentinel = r->mode == MG_REDIS_SENTINEL;

    if (i < r->hosts_n) {
        const struct mg_redis_host *h = &r->hosts[(c->turn + (uint32_t)i) % (uint32_t)r->hosts_n];

        return mg_redis_server_of(c, h->name, strlen(h->name), h->port, is_sentinel);
    }
    if (is_sentinel)
        return NULL;
    mg_list_each(n, &c->servers)
        if (i-- == r->hosts_n)
            return mg_container(n, struct mg_redis_server, node);
    return NULL;
}

static bool ask_one(struct mg_redis_client *c, struct mg_redis_server *s)
{
    struct mg_str of_sentinel[3] = { MG_STR("SENTINEL"), MG_STR("get-master-addr-by-name"), c->conf->master };
    struct mg_str of_node[2] = { MG_STR("CLUSTER"), MG_STR("SLOTS") };
    size_t n;
    char *wire = s->is_sentinel ? mg_redis_format(of_sentinel, 3, &n) : mg_redis_format(of_node, 2, &n);
    struct mg_redis_request *q = wire ? mg_redis_request_new(c, wire, n) : NULL;

    if (!q)
        return false;
    q->is_internal = true;
    q->done = on_answer;
    q->target = s;
    mg_redis_server_send(s, q);
    return true;
}

static void ask_next(struct mg_redis_client *c, const char *why)
{
    struct mg_redis_server *s;

    while ((s = candidate(c, c->asked_n))) {
        c->asked_n++;
        if (mg_redis_server_is_down(s)) {
            why = s->down_why;
            continue;
        }
        if (ask_one(c, s))
            return;
        why = "redis: out of memory";
    }
    c->turn++;
    fail_round(c, why);
}

void mg_redis_ask(struct mg_redis_client *c)
{
    ask_next(c, "redis: nobody to ask");
}

/* ---- those that nobody needs any more ---- */

static void mark_seeds(struct mg_redis_client *c)
{
    for (int i = 0; i < c->conf->hosts_n; i++) {
        struct mg_redis_server *s = candidate(c, i);

        if (s)
            s->is_wanted = true;
    }
}

void mg_redis_topology_sweep(struct mg_redis_client *c)
{
    mg_list_each(n, &c->servers)
        mg_container(n, struct mg_redis_server, node)->is_wanted = false;
    mark_seeds(c);
    if (c->master)
        c->master->is_wanted = true;
    for (int i = 0; c->slots && i < MG_REDIS_SLOTS; i++)
        if (c->slots[i])
            c->slots[i]->is_wanted = true;
    mg_list_each(n, &c->servers) {
        struct mg_redis_server *s = mg_container(n, struct mg_redis_server, node);

        if (!s->is_wanted && s->conns_n == 0 && mg_list_empty(&s->waits))
            mg_redis_server_free(s);
    }
}
