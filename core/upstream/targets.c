/* targets.c - single addresses of upstreams: shared by all lists that name them, counted by each worker for itself. */
#include "upstream/parts.h"

#include <sys/un.h>

size_t mg_sockaddr_bytes(const struct sockaddr_storage *sa)
{
    switch (sa->ss_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    case AF_UNIX:
        return sizeof(struct sockaddr_un);
    }
    return sizeof *sa;
}

struct mg_target *mg_target_ref(struct mg_target *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

static void target_free(struct mg_target *t)
{
    for (int i = 0; i < MG_UPSTREAM_WORKERS_MAX; i++)
        mg_free(atomic_load(&t->counts[i]));
    mg_free((char *)t->key.p);
    mg_free(t);
}

/* The table's own pointer is not counted, so the last count is given up under the lock. */
void mg_target_unref_locked(struct mg_target *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    mg_table_forget(&mg_live.targets, t->key);
    target_free(t);
}

void mg_target_unref(struct mg_target *t)
{
    int refs = atomic_load(&t->refs);

    while (refs > 1)
        if (atomic_compare_exchange_weak(&t->refs, &refs, refs - 1))
            return;
    pthread_mutex_lock(&mg_live.lock);
    mg_target_unref_locked(t);
    pthread_mutex_unlock(&mg_live.lock);
}

struct mg_counts *mg_target_counts(struct mg_target *t, int worker)
{
    static struct mg_counts unread;
    struct mg_counts *c = atomic_load_explicit(&t->counts[worker], memory_order_acquire);

    if (c)
        return c;
    c = mg_calloc(1, sizeof *c);
    if (!c)
        return &unread;
    atomic_store_explicit(&t->counts[worker], c, memory_order_release);
    return c;
}

static struct mg_target *target_new(struct mg_str key, struct mg_str upstream, const struct mg_address *address)
{
    struct mg_target *t = mg_calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->refs = 1;
    t->key = mg_live_copy(key);
    t->upstream = mg_str(t->key.p, upstream.n);
    t->address = *address;
    if (t->key.p && mg_map_put(&mg_live.targets, t->key, t, NULL) == 0)
        return t;
    target_free(t);
    return NULL;
}

/* Counted for the caller; NULL when out of memory. */
struct mg_target *mg_target_of(struct mg_str upstream, const struct mg_address *address)
{
    size_t n = mg_sockaddr_bytes(&address->sa);
    char *key = mg_malloc(upstream.n + 1 + n);
    struct mg_target *t;

    if (!key)
        return NULL;
    if (upstream.n)
        memcpy(key, upstream.p, upstream.n);
    key[upstream.n] = '\0';
    memcpy(key + upstream.n + 1, &address->sa, n);
    t = mg_map_get(&mg_live.targets, mg_str(key, upstream.n + 1 + n));
    t = t ? mg_target_ref(t) : target_new(mg_str(key, upstream.n + 1 + n), upstream, address);
    mg_free(key);
    return t;
}

/* ---- for people ---- */

static void tell_target(const struct mg_target *t, void (*fn)(void *arg, const struct mg_upstream_status *s), void *arg)
{
    struct mg_upstream_status s = { .name = t->upstream, .target = mg_str_c(t->address.text), .resolved = true };

    for (int i = 0; i < MG_UPSTREAM_WORKERS_MAX; i++) {
        struct mg_counts *c = atomic_load_explicit(&((struct mg_target *)t)->counts[i], memory_order_acquire);

        if (!c)
            continue;
        s.active += atomic_load_explicit(&c->active, memory_order_relaxed);
        s.idle += atomic_load_explicit(&c->idle, memory_order_relaxed);
        s.requests += atomic_load_explicit(&c->requests, memory_order_relaxed);
        s.failures += atomic_load_explicit(&c->failures, memory_order_relaxed);
    }
    fn(arg, &s);
}

void mg_upstream_each(void (*fn)(void *arg, const struct mg_upstream_status *s), void *arg)
{
    size_t i = 0, k = 0;
    struct mg_str key;
    void *v;

    pthread_mutex_lock(&mg_live.lock);
    while (mg_map_next(&mg_live.targets, &i, &key, &v))
        tell_target(v, fn, arg);
    while (mg_map_next(&mg_live.upstreams, &k, &key, &v)) {
        struct mg_upstream *up = v;

        for (size_t t = 0; t < up->targets_n; t++)
            if (up->names[t] && up->names[t]->addresses_n == 0)
                fn(arg, &(struct mg_upstream_status){ .name = up->name, .target = up->names[t]->key });
    }
    pthread_mutex_unlock(&mg_live.lock);
}
