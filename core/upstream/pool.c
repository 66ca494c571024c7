/* pool.c - connections: their life, and the idle ones by address and TLS settings.
 *
 *     CONNECTING ──open──> USED <──take── IDLE ──┐
 *         │                 │ └──on_idle───^     │ peer closed, too old, too many, target has left
 *         └──failed──> CLOSING <──on_done────────┘
 *
 * The latest to become idle is the first to be taken: its memory is warm here and there, and those at the
 * other end grow old and go. One timer a pool watches the oldest. */
#include "upstream/parts.h"

/* What a codec may read while no exchange lends it limits. */
static const struct mg_h1_limits idle_limits = { 1024, 1024, 16, 1024 };

/* ---- pools ---- */

static void pool_maybe_free(struct mg_pool *p)
{
    if (p->entries || p->conns)
        return;
    mg_loop_disarm(p->local->loop, &p->timer);
    mg_map_remove(&p->local->pools, p->key);
    mg_free((char *)p->key.p);
    mg_free(p);
}

static void on_pool_timer(struct mg_timer *t)
{
    struct mg_pool *p = mg_container(t, struct mg_pool, timer);
    int64_t now = mg_loop_now_ms(p->local->loop), next = -1;

    mg_list_each(node, &p->idle) {
        struct mg_upconn *c = mg_container(node, struct mg_upconn, node);
        int64_t left = c->idle_since_ms + c->keepalive_ms - now;

        if (left <= 0)
            mg_conn_close(c);
        else if (next < 0 || left < next)
            next = left;
    }
    if (next >= 0)
        mg_loop_arm(p->local->loop, &p->timer, next);
}

static struct mg_pool *pool_new(struct mg_upstreams_local *u, const struct mg_address *address, struct mg_str key)
{
    struct mg_pool *p = mg_calloc(1, sizeof *p);
    char *kept = mg_malloc(key.n);

    if (p && kept) {
        memcpy(kept, key.p, key.n);
        p->key = mg_str(kept, key.n);
        p->local = u;
        p->address = *address;
        mg_list_init(&p->idle);
        mg_timer_init(&p->timer, on_pool_timer);
        if (mg_map_put(&u->pools, p->key, p, NULL) == 0)
            return p;
    }
    mg_free(p);
    mg_free(kept);
    return NULL;
}

/* Over TLS a connection is good for the name that was verified, and no other, whatever address they share. */
struct mg_pool *mg_pool_of(struct mg_upstreams_local *u, const struct mg_address *address, struct mg_str tls_digest, struct mg_str host)
{
    size_t n = mg_sockaddr_bytes(&address->sa), all = n + (tls_digest.n ? tls_digest.n + 1 + host.n : 0);
    char *key = mg_malloc(all);
    struct mg_pool *p;

    if (!key)
        return NULL;
    memcpy(key, &address->sa, n);
    if (tls_digest.n) {
        memcpy(key + n, tls_digest.p, tls_digest.n);
        key[n + tls_digest.n] = '\0';
        if (host.n)
            memcpy(key + n + tls_digest.n + 1, host.p, host.n);
    }
    p = mg_map_get(&u->pools, mg_str(key, all));
    if (!p)
        p = pool_new(u, address, mg_str(key, all));
    mg_free(key);
    if (p)
        p->entries++;
    return p;
}

/* The pool stays: closing is asynchronous, and each connection counts until it is closed. */
void mg_pool_close_idle(struct mg_pool *p)
{
    mg_list_each(node, &p->idle)
        mg_conn_close(mg_container(node, struct mg_upconn, node));
}

void mg_pool_drop(struct mg_pool *p)
{
    if (--p->entries > 0)
        return;
    mg_pool_close_idle(p);
    pool_maybe_free(p);
}

static struct mg_upconn *oldest_of(struct mg_pool *p, const struct mg_group *g)
{
    for (struct mg_list *n = p->idle.prev; n != &p->idle; n = n->prev) {
        struct mg_upconn *c = mg_container(n, struct mg_upconn, node);

        if (c->group == g)
            return c;
    }
    return NULL;
}

bool mg_pool_evict(struct mg_group *g)
{
    struct mg_upconn *oldest = NULL;

    for (size_t i = 0; i < g->entries_n; i++) {
        struct mg_upconn *c = oldest_of(g->entries[i].pool, g);

        if (c && (!oldest || c->idle_since_ms < oldest->idle_since_ms))
            oldest = c;
    }
    if (oldest)
        mg_conn_close(oldest);
    return oldest != NULL;
}

/* ---- belonging ---- */

static struct mg_counts *counts_of(const struct mg_upconn *c)
{
    return mg_target_counts(c->target, c->pool->local->worker);
}

static void set_target(struct mg_upconn *c, struct mg_target *t)
{
    if (c->target == t)
        return;
    mg_target_ref(t);
    if (c->target)
        mg_target_unref(c->target);
    c->target = t;
}

/* The last connection of an upstream that no spec refers to: the group may go. */
static void leave_group(struct mg_upconn *c)
{
    struct mg_group *g = c->group;

    c->group = NULL;
    if (--g->conns == 0 && atomic_load_explicit(&g->live->has_left, memory_order_relaxed))
        mg_group_ready(g);
}

static void set_group(struct mg_upconn *c, struct mg_group *g)
{
    if (c->group == g)
        return;
    if (c->group)
        leave_group(c);
    c->group = g;
    g->conns++;
}

static void set_terms(struct mg_upconn *c, const struct mg_upstream_spec *spec)
{
    c->keepalive_ms = spec->keepalive_ms;
    c->keepalive_max = spec->keepalive_max;
    c->requests_max = spec->keepalive_requests;
    c->h1.limits = spec->limits ? spec->limits : &idle_limits;
}

/* From now on it counts as used by its group and its target. */
static void begin_use(struct mg_upconn *c)
{
    c->group->used++;
    mg_count_add(&counts_of(c)->active, 1);
}

static void end_use(struct mg_upconn *c)
{
    c->group->used--;
    mg_count_add(&counts_of(c)->active, -1);
    if (!mg_list_empty(&c->group->waits) || atomic_load_explicit(&c->group->live->has_left, memory_order_relaxed))
        mg_group_ready(c->group); /* the next may be served, or the group may go */
}

static void leave_idle(struct mg_upconn *c)
{
    mg_list_remove(&c->node);
    mg_count_add(&counts_of(c)->idle, -1);
    if (--c->pool->idle_n == 0)
        mg_loop_disarm(c->pool->local->loop, &c->pool->timer);
}

struct mg_upconn *mg_pool_pop(struct mg_pool *p, struct mg_group *g, struct mg_target *t,
                              const struct mg_upstream_spec *spec)
{
    struct mg_list *node = mg_list_first(&p->idle);
    struct mg_upconn *c;

    if (!node)
        return NULL;
    c = mg_container(node, struct mg_upconn, node);
    leave_idle(c);
    set_target(c, t);
    set_group(c, g);
    set_terms(c, spec);
    c->state = MG_CONN_USED;
    c->is_reused = true;
    c->requests++;
    begin_use(c);
    return c;
}

static void close_oldest_beyond(struct mg_pool *p, int max)
{
    if (p->idle_n > max)
        mg_conn_close(mg_container(p->idle.prev, struct mg_upconn, node));
}

static void become_idle(struct mg_upconn *c)
{
    struct mg_pool *p = c->pool;

    if (p->local->is_closing || p->entries == 0 || c->keepalive_max <= 0 || c->keepalive_ms <= 0 ||
        (c->requests_max > 0 && c->requests >= (uint32_t)c->requests_max)) {
        mg_conn_close(c);
        return;
    }
    end_use(c);
    c->state = MG_CONN_IDLE;
    c->h1.limits = &idle_limits;
    c->idle_since_ms = mg_loop_now_ms(p->local->loop);
    mg_list_unshift(&p->idle, &c->node);
    mg_count_add(&counts_of(c)->idle, 1);
    if (p->idle_n++ == 0)
        mg_loop_arm(p->local->loop, &p->timer, c->keepalive_ms);
    close_oldest_beyond(p, c->keepalive_max);
}

/* ---- events ---- */

static void on_open(struct mg_stream *s, int status, const char *why)
{
    struct mg_upconn *c = s->owner;
    struct mg_upconn_wait *w = c->wait;

    c->wait = NULL;
    if (status == 0) {
        c->state = MG_CONN_USED;
        c->requests = 1;
    }
    mg_wait_opened(w, c, status, why);
}

static void on_data(struct mg_stream *s, const char *p, size_t n)
{
    struct mg_upconn *c = s->owner;

    if (c->state == MG_CONN_USED)
        mg_h1_feed(&c->h1, p, n);
    else if (c->state == MG_CONN_IDLE)
        mg_conn_close(c); /* an answer to nothing (RFC 9112, 9.2) */
}

static void on_end(struct mg_stream *s, int status)
{
    struct mg_upconn *c = s->owner;

    if (c->state == MG_CONN_USED)
        mg_h1_ended(&c->h1, status);
    else if (c->state == MG_CONN_IDLE)
        mg_conn_close(c);
}

static void on_drain(struct mg_stream *s)
{
    struct mg_upconn *c = s->owner;

    if (c->state == MG_CONN_USED)
        mg_h1_drained(&c->h1);
}

static void on_closed(struct mg_stream *s)
{
    struct mg_upconn *c = s->owner;
    struct mg_upstreams_local *u = c->pool->local;

    mg_h1_deinit(&c->h1);
    mg_target_unref(c->target);
    c->pool->conns--;
    pool_maybe_free(c->pool);
    mg_free(c);
    u->conns--;
    mg_local_maybe_free(u);
}

static const struct mg_stream_events stream_events = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_closed = on_closed,
};

static void on_h1_idle(struct mg_h1 *h)
{
    struct mg_upconn *c = h->owner;

    if (c->state == MG_CONN_USED)
        become_idle(c);
}

static void on_h1_done(struct mg_h1 *h)
{
    mg_conn_close(h->owner);
}

static const struct mg_h1_events codec_events = { .on_idle = on_h1_idle, .on_done = on_h1_done };

/* ---- birth and death ---- */

static bool server_name(struct mg_str host, char *out, size_t room)
{
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = mg_str(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= room)
        return false;
    memcpy(out, host.p, host.n);
    out[host.n] = '\0';
    return true;
}

struct mg_upconn *mg_conn_new(struct mg_group *g, uint32_t entry, struct mg_upconn_wait *w)
{
    struct mg_entry_target *e = &g->entries[entry];
    struct mg_upconn *c = mg_calloc(1, sizeof *c);
    struct mg_tls *tls = w->spec->is_tls ? w->spec->tls : NULL;
    char host[256];

    if (!c)
        return NULL;
    mg_list_init(&c->node);
    c->pool = e->pool;
    c->pool->conns++;
    g->local->conns++;
    c->address = &c->pool->address;
    c->state = MG_CONN_CONNECTING;
    c->wait = w;
    set_target(c, e->target);
    set_group(c, g);
    begin_use(c);
    mg_stream_init(&c->stream, g->local->loop, &stream_events, c);
    mg_h1_init(&c->h1, &c->stream, false, &idle_limits, &codec_events, c);
    set_terms(c, w->spec);
    mg_stream_connect(&c->stream, (const struct sockaddr *)&c->pool->address.sa, tls,
                      server_name(e->host, host, sizeof host) ? host : NULL);
    return c;
}

void mg_conn_close(struct mg_upconn *c)
{
    if (c->state == MG_CONN_CLOSING)
        return;
    if (c->state == MG_CONN_IDLE)
        leave_idle(c);
    else
        end_use(c);
    c->state = MG_CONN_CLOSING;
    leave_group(c);
    c->wait = NULL;
    mg_stream_close(&c->stream);
}
