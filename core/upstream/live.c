/* live.c - what upstreams are now, for the whole process.
 *
 * One mutex guards the tables. It is taken when a snapshot comes or goes, when the resolver answers, and when a
 * worker takes up a new list: never for a request. Upstreams are known by name, targets and TLS settings, so an
 * unchanged one lives on over a reload, and a changed one stands beside the old until its last exchange has ended; what is
 * known of a single target is shared by both. */
#include "upstream/parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map upstreams, names, targets;
static struct mg_list listeners = { &listeners, &listeners };
static uint8_t *slots;            /* taken or not */
static uint32_t slots_n;

/* An empty table holds no memory, so that a process that has closed all holds nothing. */
static void table_remove(struct mg_map *m, struct mg_str key)
{
    mg_map_remove(m, key);
    if (!m->used)
        mg_map_deinit(m);
}

static struct mg_str copy(struct mg_str s)
{
    char *p = mg_malloc(s.n + 1);

    if (!p)
        return mg_str(NULL, 0);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return mg_str(p, s.n);
}

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

static void wake_workers(void)
{
    mg_list_each(node, &listeners)
        uv_async_send(mg_container(node, struct mg_listener_node, node)->wake);
}

void mg_upstream_listen(struct mg_listener_node *l)
{
    pthread_mutex_lock(&lock);
    mg_list_push(&listeners, &l->node);
    pthread_mutex_unlock(&lock);
}

void mg_upstream_unlisten(struct mg_listener_node *l)
{
    pthread_mutex_lock(&lock);
    mg_list_remove(&l->node);
    pthread_mutex_unlock(&lock);
}

/* ---- targets ---- */

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
static void target_unref_locked(struct mg_target *t)
{
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    table_remove(&targets, t->key);
    target_free(t);
}

void mg_target_unref(struct mg_target *t)
{
    int refs = atomic_load(&t->refs);

    while (refs > 1)
        if (atomic_compare_exchange_weak(&t->refs, &refs, refs - 1))
            return;
    pthread_mutex_lock(&lock);
    target_unref_locked(t);
    pthread_mutex_unlock(&lock);
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
    t->key = copy(key);
    t->upstream = mg_str(t->key.p, upstream.n);
    t->address = *address;
    if (t->key.p && mg_map_put(&targets, t->key, t, NULL) == 0)
        return t;
    target_free(t);
    return NULL;
}

/* Counted for the caller; NULL when out of memory. */
static struct mg_target *target_of(struct mg_str upstream, const struct mg_address *address)
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
    t = mg_map_get(&targets, mg_str(key, upstream.n + 1 + n));
    t = t ? mg_target_ref(t) : target_new(mg_str(key, upstream.n + 1 + n), upstream, address);
    mg_free(key);
    return t;
}

/* ---- lists ---- */

static void list_free_locked(struct mg_target_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        target_unref_locked(l->at[i].target);
    mg_free(l);
}

static void list_unref_locked(struct mg_target_list *l)
{
    if (l && atomic_fetch_sub(&l->refs, 1) == 1)
        list_free_locked(l);
}

void mg_target_list_unref(struct mg_target_list *l)
{
    pthread_mutex_lock(&lock);
    list_unref_locked(l);
    pthread_mutex_unlock(&lock);
}

/* The address of a target that needs no resolver; false for a name. */
static bool address_of(const struct mg_target_spec *t, struct mg_address *out)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;

    memset(out, 0, sizeof *out);
    if (!t->unix_path.n)
        return mg_address_parse(t->host, t->port, out) == 0;
    if (t->unix_path.n >= sizeof un->sun_path)
        return false;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, t->unix_path.p, t->unix_path.n);
    snprintf(out->text, sizeof out->text, "unix:%.50s", un->sun_path); /* for logs: a long path is cut */
    return true;
}

static bool list_add(struct mg_target_list *l, const struct mg_upstream *up, size_t i, const struct mg_address *address)
{
    struct mg_listed *at = &l->at[l->n];

    at->target = target_of(up->name, address);
    if (!at->target)
        return false;
    at->weight = up->targets[i].weight > 0 ? up->targets[i].weight : 1;
    at->host = up->targets[i].host;
    l->n++;
    return true;
}

static struct mg_target_list *list_make(const struct mg_upstream *up)
{
    struct mg_target_list *l;
    size_t n = 0;
    bool ok = true;

    for (size_t i = 0; i < up->targets_n; i++)
        n += up->names[i] ? up->names[i]->addresses_n : 1;
    l = mg_calloc(1, sizeof *l + n * sizeof *l->at);
    if (!l)
        return NULL;
    l->refs = 1;
    l->is_settled = true;
    for (size_t i = 0; i < up->targets_n && ok; i++) {
        const struct mg_name *name = up->names[i];
        struct mg_address address;

        if (!name && address_of(&up->targets[i], &address))
            ok = list_add(l, up, i, &address);
        for (size_t k = 0; name && k < name->addresses_n && ok; k++)
            ok = list_add(l, up, i, &name->addresses[k]);
        l->is_settled = l->is_settled && (!name || name->is_settled);
    }
    if (ok)
        return l;
    list_free_locked(l);
    return NULL;
}

static int publish(struct mg_upstream *up)
{
    struct mg_target_list *l = list_make(up);

    if (!l)
        return MG_ENOMEM;
    list_unref_locked(up->list);
    up->list = l;
    atomic_fetch_add(&up->generation, 1);
    return 0;
}

struct mg_target_list *mg_upstream_list(struct mg_upstream *up, uint32_t *generation)
{
    struct mg_target_list *l;

    pthread_mutex_lock(&lock);
    l = up->list;
    atomic_fetch_add(&l->refs, 1);
    *generation = atomic_load(&up->generation);
    pthread_mutex_unlock(&lock);
    return l;
}

/* ---- names ---- */

static struct mg_name *name_of(struct mg_str host, int port)
{
    struct mg_name *name;
    char *key;
    int n = asprintf(&key, "%.*s:%d", (int)host.n, host.p, port);

    if (n < 0)
        return NULL;
    name = mg_map_get(&names, mg_str(key, (size_t)n));
    if (name) {
        name->refs++;
        free(key);
        return name;
    }
    name = mg_calloc(1, sizeof *name);
    if (name) {
        name->refs = 1;
        name->key = mg_str(key, (size_t)n);
        name->host = mg_str(key, host.n);
        name->port = port;
        if (mg_map_put(&names, name->key, name, NULL) == 0)
            return name;
    }
    mg_free(name);
    free(key);
    return NULL;
}

static void name_unref(struct mg_name *name)
{
    if (!name || --name->refs > 0)
        return;
    table_remove(&names, name->key);
    mg_free(name->addresses);
    free((char *)name->key.p);
    mg_free(name);
}

void mg_names_each(void (*fn)(void *arg, const struct mg_name *name), void *arg)
{
    size_t i = 0;
    struct mg_str key;
    void *name;

    pthread_mutex_lock(&lock);
    while (mg_map_next(&names, &i, &key, &name))
        fn(arg, name);
    pthread_mutex_unlock(&lock);
}

bool mg_names_settled(void)
{
    size_t i = 0;
    struct mg_str key;
    void *name;
    bool settled = true;

    pthread_mutex_lock(&lock);
    while (settled && mg_map_next(&names, &i, &key, &name))
        settled = ((struct mg_name *)name)->is_settled;
    pthread_mutex_unlock(&lock);
    return settled;
}

static bool same_addresses(const struct mg_name *name, const struct mg_address *addrs, size_t n)
{
    if (name->addresses_n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;

        /* Servers turn the order with each answer. */
        while (k < n && memcmp(&name->addresses[k].sa, &addrs[i].sa, mg_sockaddr_bytes(&addrs[i].sa)) != 0)
            k++;
        if (k == n)
            return false;
    }
    return true;
}

static int publish_all_with(const struct mg_name *name)
{
    size_t i = 0;
    struct mg_str key;
    void *v;
    int rc = 0;

    while (mg_map_next(&upstreams, &i, &key, &v)) {
        struct mg_upstream *up = v;
        size_t k = 0;

        while (k < up->targets_n && up->names[k] != name)
            k++;
        if (k < up->targets_n && publish(up) < 0)
            rc = MG_ENOMEM;
    }
    wake_workers();
    return rc;
}

static int keep_addresses(struct mg_name *name, const struct mg_address *addrs, size_t n)
{
    struct mg_address *kept = mg_malloc(n * sizeof *kept);

    if (!kept)
        return MG_ENOMEM;
    memcpy(kept, addrs, n * sizeof *kept);
    mg_free(name->addresses);
    name->addresses = kept;
    name->addresses_n = n;
    return 0;
}

int mg_name_answer(struct mg_str key, int status, const struct mg_address *addrs, size_t n)
{
    struct mg_name *name;
    bool changed = false;
    int rc = 0;

    pthread_mutex_lock(&lock);
    name = mg_map_get(&names, key);
    if (name) {
        changed = !name->is_settled;
        name->status = status;
        if (status == 0 && n && !same_addresses(name, addrs, n)) {
            rc = keep_addresses(name, addrs, n);
            changed = true;
        }
        name->is_settled = true;
        if (rc == 0 && changed)
            rc = publish_all_with(name);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- upstreams ---- */

static int slot_take(uint32_t *out)
{
    uint32_t n = slots_n ? slots_n * 2 : 16;
    uint8_t *more;

    for (uint32_t i = 0; i < slots_n; i++)
        if (!slots[i]) {
            slots[i] = 1;
            *out = i;
            return 0;
        }
    more = mg_realloc(slots, n);
    if (!more)
        return MG_ENOMEM;
    memset(more + slots_n, 0, n - slots_n);
    slots = more;
    *out = slots_n;
    slots[slots_n] = 1;
    slots_n = n;
    return 0;
}

static void slot_give(uint32_t slot)
{
    slots[slot] = 0;
    for (uint32_t i = 0; i < slots_n; i++)
        if (slots[i])
            return;
    mg_free(slots);
    slots = NULL;
    slots_n = 0;
}

static void upstream_free_locked(struct mg_upstream *up, bool has_slot)
{
    list_unref_locked(up->list);
    for (size_t i = 0; i < up->targets_n; i++) {
        if (up->names)
            name_unref(up->names[i]);
        mg_free((char *)up->targets[i].host.p);
        mg_free((char *)up->targets[i].unix_path.p);
    }
    if (has_slot)
        slot_give(up->slot);
    mg_free(up->names);
    mg_free(up->targets);
    mg_free((char *)up->key.p);
    mg_free(up);
}

void mg_upstream_unref(struct mg_upstream *up)
{
    pthread_mutex_lock(&lock);
    if (atomic_fetch_sub(&up->refs, 1) == 1)
        upstream_free_locked(up, true);
    pthread_mutex_unlock(&lock);
}

/* What makes two specs the same upstream: name, targets with weights, TLS settings. */
static struct mg_str key_of(const struct mg_upstream_spec *spec)
{
    char *p = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&p, &n);
    bool ok;

    if (!f)
        return mg_str(NULL, 0);
    fprintf(f, "%.*s\n%d%.*s\n", (int)spec->name.n, spec->name.p, spec->is_tls, (int)spec->tls_digest.n, spec->tls_digest.p);
    for (size_t i = 0; i < spec->targets_n; i++) {
        const struct mg_target_spec *t = &spec->targets[i];

        fprintf(f, "%.*s %d %d %.*s\n", (int)t->host.n, t->host.p, t->port, t->weight, (int)t->unix_path.n, t->unix_path.p);
    }
    ok = !ferror(f);
    if (fclose(f) == 0 && ok)
        return mg_str(p, n);
    free(p);
    return mg_str(NULL, 0);
}

static bool copy_targets(struct mg_upstream *up, const struct mg_upstream_spec *spec)
{
    up->targets = mg_calloc(spec->targets_n + 1, sizeof *up->targets);
    up->names = mg_calloc(spec->targets_n + 1, sizeof *up->names);
    if (!up->targets || !up->names)
        return false;
    for (size_t i = 0; i < spec->targets_n; i++) {
        struct mg_target_spec *t = &up->targets[i];
        struct mg_address address;

        *t = spec->targets[i];
        t->host = copy(spec->targets[i].host);
        t->unix_path = copy(spec->targets[i].unix_path);
        up->targets_n++;
        if (!t->host.p || !t->unix_path.p)
            return false;
        if (address_of(t, &address))
            continue;
        up->names[i] = name_of(t->host, t->port);
        if (!up->names[i])
            return false;
    }
    return true;
}

static struct mg_upstream *upstream_new(const struct mg_upstream_spec *spec, struct mg_str key)
{
    struct mg_upstream *up = mg_calloc(1, sizeof *up);

    if (!up) {
        mg_free((char *)key.p);
        return NULL;
    }
    up->refs = up->specs = 1;
    up->key = key;
    up->name = mg_str(key.p, spec->name.n);
    if (!copy_targets(up, spec) || publish(up) < 0 || slot_take(&up->slot) < 0) {
        upstream_free_locked(up, false);
        return NULL;
    }
    if (mg_map_put(&upstreams, up->key, up, NULL) == 0)
        return up;
    upstream_free_locked(up, true);
    return NULL;
}

int mg_upstream_attach(struct mg_upstream_spec *spec, struct mg_error *err)
{
    struct mg_str key;
    struct mg_upstream *up;

    for (size_t i = 0; i < spec->targets_n; i++)
        if (spec->targets[i].unix_path.n >= sizeof((struct sockaddr_un *)0)->sun_path)
            return mg_fail(err, MG_ECONF, "upstream %.*s: the path of a unix socket is too long", (int)spec->name.n, spec->name.p);
    key = key_of(spec);
    if (!key.p)
        return mg_fail(err, MG_ENOMEM, "upstream: out of memory");
    pthread_mutex_lock(&lock);
    up = mg_map_get(&upstreams, key);
    if (up) {
        up->specs++;
        atomic_fetch_add(&up->refs, 1);
        free((char *)key.p);
    } else {
        up = upstream_new(spec, key);
    }
    pthread_mutex_unlock(&lock);
    spec->live = up;
    return up ? 0 : mg_fail(err, MG_ENOMEM, "upstream: out of memory");
}

void mg_upstream_detach(struct mg_upstream_spec *spec)
{
    struct mg_upstream *up = spec->live;

    if (!up)
        return;
    spec->live = NULL;
    pthread_mutex_lock(&lock);
    if (--up->specs == 0) {
        table_remove(&upstreams, up->key);
        atomic_store(&up->has_left, true);
        wake_workers();
    }
    if (atomic_fetch_sub(&up->refs, 1) == 1)
        upstream_free_locked(up, true);
    pthread_mutex_unlock(&lock);
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

    pthread_mutex_lock(&lock);
    while (mg_map_next(&targets, &i, &key, &v))
        tell_target(v, fn, arg);
    while (mg_map_next(&upstreams, &k, &key, &v)) {
        struct mg_upstream *up = v;

        for (size_t t = 0; t < up->targets_n; t++)
            if (up->names[t] && up->names[t]->addresses_n == 0)
                fn(arg, &(struct mg_upstream_status){ .name = up->name, .target = up->names[t]->key });
    }
    pthread_mutex_unlock(&lock);
}
