/* traces.c - who is traced, and the ring of the last traces. */
#include "proxy/traces.h"
#include "base/clock.h"
#include "http/headers.h"
#include "pdk/problem.h"
#include "pdk/random.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEEP = 100, LEASE_US = 10 * 1000000 };

struct follower { char token[64]; struct mg_trace_filter filter; int64_t until_us; };

/* All that the process keeps. Under the lock; taken for a few pointers only. */
static struct {
    pthread_mutex_t lock;
    struct mg_trace *at[MG_TRACES_MAX];     /* the newest is at (first + n - 1) */
    unsigned first, n, keep;
    size_t bytes;
    uint64_t serial;
    struct follower followers[MG_FOLLOWERS_MAX];
} ring = { .lock = PTHREAD_MUTEX_INITIALIZER, .keep = KEEP };

atomic_uint mg_traces_share;

/* ---- followers ------------------------------------------------------------------------------------- */

bool mg_trace_filter_status(struct mg_trace_filter *f, struct mg_str text)
{
    uint64_t from, to;
    const char *dash = text.n ? memchr(text.p, '-', text.n) : NULL;

    if (text.n == 3 && text.p[0] >= '1' && text.p[0] <= '5' && text.p[1] == 'x' && text.p[2] == 'x') {
        f->status_from = (text.p[0] - '0') * 100;
        f->status_to = f->status_from + 99;
        return true;
    }
    if (!mg_str_u64(dash ? mg_str(text.p, (size_t)(dash - text.p)) : text, 599, &from))
        return false;
    to = from;
    if (dash && !mg_str_u64(mg_str(dash + 1, (size_t)(text.p + text.n - dash - 1)), 599, &to))
        return false;
    f->status_from = (int)from;
    f->status_to = (int)to;
    return from >= 100 && from <= to;
}

bool mg_trace_filter_fits(const struct mg_trace_filter *f, const struct mg_trace *t)
{
    if (f->status_from && (t->status < f->status_from || t->status > f->status_to))
        return false;
    return !f->route[0] || mg_str_eq(t->route, mg_str_c(f->route));
}

/* The largest share that anybody wants; those who have gone are forgotten. Locked. */
static void share_again(int64_t now)
{
    double most = 0;

    for (int i = 0; i < MG_FOLLOWERS_MAX; i++) {
        if (ring.followers[i].until_us <= now)
            ring.followers[i].until_us = 0;
        else if (ring.followers[i].filter.share > most)
            most = ring.followers[i].filter.share;
    }
    atomic_store_explicit(&mg_traces_share, most >= 1 ? UINT32_MAX : (unsigned)(most * UINT32_MAX), memory_order_relaxed);
}

bool mg_traces_follow(struct mg_str token, const struct mg_trace_filter *f)
{
    int64_t now = mg_clock_monotonic_us();
    struct follower *mine = NULL;
    char name[sizeof mine->token];

    snprintf(name, sizeof name, "%.*s", (int)token.n, token.p ? token.p : "");
    pthread_mutex_lock(&ring.lock);
    share_again(now);
    for (int i = 0; i < MG_FOLLOWERS_MAX; i++) {
        struct follower *o = &ring.followers[i];

        if (o->until_us && strcmp(o->token, name) == 0)
            mine = o;
        else if (!o->until_us && !mine)
            mine = o;
    }
    if (mine) {
        memcpy(mine->token, name, sizeof name);
        mine->filter = *f;
        mine->until_us = now + LEASE_US;
        share_again(now);
    }
    pthread_mutex_unlock(&ring.lock);
    return mine != NULL;
}

static bool is_followed(const struct mg_trace *t)
{
    for (int i = 0; i < MG_FOLLOWERS_MAX; i++)
        if (ring.followers[i].until_us && mg_trace_filter_fits(&ring.followers[i].filter, t))
            return true;
    return false;
}

/* ---- beginning --------------------------------------------------------------------------------------- */

/* Every secret is looked at, whichever fits. */
static bool is_secret(const struct mg_debug_conf *d, struct mg_str given)
{
    int fits = 0;

    for (size_t i = 0; i < d->secrets_n; i++)
        fits |= mg_equal(given.p, given.n, d->secrets[i].p, d->secrets[i].n) == 1;
    return fits != 0;
}

static bool is_from(const struct mg_debug_conf *d, const uint8_t addr[16])
{
    bool fits = d->networks_n == 0;

    for (size_t i = 0; i < d->networks_n && !fits; i++)
        fits = mg_cidr_has(&d->networks[i], addr);
    return fits;
}

/* The header goes in any case: neither plugins nor upstreams are to see a secret. */
static bool asks(struct mg_exchange *x, const struct mg_debug_conf *d)
{
    const struct mg_header *h = mg_headers_find(&x->req->headers, d->header);
    bool may;

    if (!h)
        return false;
    may = is_secret(d, mg_str(h->value, h->value_n)) && is_from(d, x->client_addr);
    mg_headers_remove(&x->req->headers, d->header);
    return may;
}

static bool is_drawn(void)
{
    unsigned share = atomic_load_explicit(&mg_traces_share, memory_order_relaxed);

    if (!share || (share != UINT32_MAX && (uint32_t)mg_random_u64() >= share))
        return false;
    pthread_mutex_lock(&ring.lock);
    share_again(mg_clock_monotonic_us()); /* a follower that has gone says so by silence */
    pthread_mutex_unlock(&ring.lock);
    return atomic_load_explicit(&mg_traces_share, memory_order_relaxed) != 0;
}

void mg_traces_begin(struct mg_exchange *x)
{
    const struct mg_debug_conf *d = x->snapshot->debug;
    bool asked = d && asks(x, d);

    if (x->trace) /* a recording has begun one */
        x->trace->wants_answer = asked;
    if (x->trace || (!asked && !is_drawn()))
        return;
    if (mg_trace_begin(x, d ? d->masked : NULL, d ? d->masked_n : 0))
        x->trace->wants_answer = asked;
}

/* ---- the answer -------------------------------------------------------------------------------------- */

/* Without memory for them the answer goes without. */
void mg_traces_answer(struct mg_exchange *x)
{
    struct mg_headers *h = &x->res->headers;
    struct mg_str id, text, copy;

    if (!x->trace->wants_answer)
        return;
    id = mg_exchange_id(x);
    snprintf(x->trace->id, sizeof x->trace->id, "%.*s", (int)id.n, id.p);
    mg_headers_remove(h, MG_STR("x-moongate-trace"));
    mg_headers_remove(h, MG_STR("x-moongate-trace-chain"));
    mg_headers_add(h, &x->arena, MG_STR("x-moongate-trace"), id);
    if (mg_trace_write(x->trace, MG_TRACE_SHORT, MG_TRACE_FIELD_BYTES, &text) != 0)
        return;
    copy = mg_arena_copy(&x->arena, text.p, text.n);
    free((char *)(uintptr_t)text.p);
    if (copy.p)
        mg_headers_add(h, &x->arena, MG_STR("x-moongate-trace-chain"), copy);
}

/* ---- the ring ------------------------------------------------------------------------------------------ */

static struct mg_trace *drop_oldest(void)
{
    struct mg_trace *t = ring.at[ring.first];

    ring.first = (ring.first + 1) % MG_TRACES_MAX;
    ring.n--;
    ring.bytes -= t->arena.used;
    return t;
}

void mg_traces_end(struct mg_exchange *x)
{
    const struct mg_debug_conf *d = x->snapshot->debug;
    struct mg_trace *t = mg_trace_end(x), *old[MG_TRACES_MAX];
    unsigned old_n = 0;

    pthread_mutex_lock(&ring.lock);
    ring.keep = d ? (unsigned)d->keep : KEEP;
    if (t->wants_answer || is_followed(t)) {
        while (ring.n && (ring.n >= ring.keep || ring.bytes + t->arena.used > MG_TRACES_BYTES))
            old[old_n++] = drop_oldest();
        t->serial = ++ring.serial;
        ring.at[(ring.first + ring.n++) % MG_TRACES_MAX] = t;
        ring.bytes += t->arena.used;
    } else {
        old[old_n++] = t;
    }
    pthread_mutex_unlock(&ring.lock);
    while (old_n)
        mg_trace_unref(old[--old_n]);
}

struct mg_trace *mg_traces_find(struct mg_str id)
{
    struct mg_trace *found = NULL;

    pthread_mutex_lock(&ring.lock);
    for (unsigned i = ring.n; i-- > 0 && !found;) {
        struct mg_trace *t = ring.at[(ring.first + i) % MG_TRACES_MAX];

        if (mg_str_eq(mg_str_c(t->id), id))
            found = mg_trace_ref(t);
    }
    pthread_mutex_unlock(&ring.lock);
    return found;
}

size_t mg_traces_since(uint64_t after, struct mg_trace **out, size_t room, uint64_t *last)
{
    size_t n = 0;

    pthread_mutex_lock(&ring.lock);
    *last = ring.serial;
    for (unsigned i = 0; i < ring.n && n < room; i++) {
        struct mg_trace *t = ring.at[(ring.first + i) % MG_TRACES_MAX];

        if (t->serial > after)
            out[n++] = mg_trace_ref(t);
    }
    pthread_mutex_unlock(&ring.lock);
    return n;
}

void mg_traces_free(void)
{
    pthread_mutex_lock(&ring.lock);
    while (ring.n)
        mg_trace_unref(drop_oldest());
    pthread_mutex_unlock(&ring.lock);
}
