/* redis_stat.c - what has been counted of all clients, for a scrape. */
#include "service/redis_parts.h"
#include "base/alloc.h"

#include <stdio.h>

enum { STATS_MAX = 256 };

struct mg_redis_stats { struct mg_redis_stat at[STATS_MAX]; int n; };

static void identify(const struct mg_redis *r, struct mg_redis_stat *s)
{
    const struct mg_redis_host *h = &r->hosts[0];

    memset(s, 0, sizeof *s);
    if (h->port)
        snprintf(s->server, sizeof s->server, strchr(h->name, ':') ? "[%s]:%d" : "%s:%d", h->name, h->port);
    else
        snprintf(s->server, sizeof s->server, "unix:%s", h->name);
    snprintf(s->name, sizeof s->name, "%.*s", (int)r->name.n, r->name.n ? r->name.p : "");
    s->db = r->db;
}

static struct mg_redis_stat *like(struct mg_redis_stats *all, const struct mg_redis_stat *s)
{
    for (int i = 0; i < all->n; i++)
        if (all->at[i].db == s->db && strcmp(all->at[i].server, s->server) == 0 && strcmp(all->at[i].name, s->name) == 0)
            return &all->at[i];
    if (all->n == STATS_MAX)
        return NULL;
    all->at[all->n] = *s;
    return &all->at[all->n++];
}

static void add(void *arg, struct mg_redis *r)
{
    const struct mg_redis_counts *c = &r->counts;
    struct mg_redis_stat s, *to;

    identify(r, &s);
    to = like(arg, &s);
    if (!to)
        return;
    to->requests += atomic_load_explicit(&c->requests, memory_order_relaxed);
    to->errors += atomic_load_explicit(&c->errors, memory_order_relaxed);
    to->failures += atomic_load_explicit(&c->failures, memory_order_relaxed);
    to->connections += atomic_load_explicit(&c->connections, memory_order_relaxed);
    to->open += atomic_load_explicit(&c->open, memory_order_relaxed);
}

void mg_redis_each(void (*fn)(void *arg, const struct mg_redis_stat *s), void *arg)
{
    struct mg_redis_stats *all = mg_calloc(1, sizeof *all);

    if (!all)
        return;
    mg_redis_all(add, all);
    for (int i = 0; i < all->n; i++)
        fn(arg, &all->at[i]);
    mg_free(all);
}
