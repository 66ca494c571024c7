/* live.c - what upstreams are now, for the whole process.
 *
 * One mutex guards the tables. It is taken when a snapshot comes or goes, when the resolver answers, and when a
 * worker takes up a new list: never for a request. Upstreams are known by name, targets and TLS settings, so an
 * unchanged one lives on over a reload, and a changed one stands beside the old until its last exchange has ended; what is
 * known of a single target is shared by both. */
#include "upstream/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

struct mg_live mg_live = { .lock = PTHREAD_MUTEX_INITIALIZER, .listeners = { &mg_live.listeners, &mg_live.listeners } };

static uint8_t *slots;            /* taken or not */
static uint32_t slots_n;

/* ---- tables ---- */

/* An empty table holds no memory, so that a process that has closed all holds nothing. */
void mg_table_forget(struct mg_map *m, struct mg_str key)
{
    mg_map_remove(m, key);
    if (!m->used)
        mg_map_deinit(m);
}

struct mg_str mg_live_copy(struct mg_str s)
{
    char *p = mg_malloc(s.n + 1);

    if (!p)
        return mg_str(NULL, 0);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return mg_str(p, s.n);
}

void mg_upstream_wake_workers(void)
{
    atomic_fetch_add(&mg_live.news, 1);
    mg_list_each(node, &mg_live.listeners)
        uv_async_send(mg_container(node, struct mg_listener_node, node)->wake);
}

void mg_upstream_listen(struct mg_listener_node *l)
{
    pthread_mutex_lock(&mg_live.lock);
    mg_list_push(&mg_live.listeners, &l->node);
    pthread_mutex_unlock(&mg_live.lock);
}

void mg_upstream_unlisten(struct mg_listener_node *l)
{
    pthread_mutex_lock(&mg_live.lock);
    mg_list_remove(&l->node);
    pthread_mutex_unlock(&mg_live.lock);
}

/* ---- lists ---- */

static void list_free_locked(struct mg_target_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        mg_target_unref_locked(l->at[i].target);
    mg_free(l);
}

static void list_unref_locked(struct mg_target_list *l)
{
    if (l && atomic_fetch_sub(&l->refs, 1) == 1)
        list_free_locked(l);
}

void mg_target_list_unref(struct mg_target_list *l)
{
    pthread_mutex_lock(&mg_live.lock);
    list_unref_locked(l);
    pthread_mutex_unlock(&mg_live.lock);
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

    at->target = mg_target_of(up->name, address);
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

    pthread_mutex_lock(&mg_live.lock);
    l = up->list;
    atomic_fetch_add(&l->refs, 1);
    *generation = atomic_load(&up->generation);
    pthread_mutex_unlock(&mg_live.lock);
    return l;
}

int mg_upstream_publish_with(const struct mg_name *name)
{
    size_t i = 0;
    struct mg_str key;
    void *v;
    int rc = 0;

    while (mg_map_next(&mg_live.upstreams, &i, &key, &v)) {
        struct mg_upstream *up = v;
        size_t k = 0;

        while (k < up->targets_n && up->names[k] != name)
            k++;
        if (k < up->targets_n && publish(up) < 0)
            rc = MG_ENOMEM;
    }
    mg_upstream_wake_workers();
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
            mg_name_unref(up->names[i]);
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
    pthread_mutex_lock(&mg_live.lock);
    if (atomic_fetch_sub(&up->refs, 1) == 1)
        upstream_free_locked(up, true);
    pthread_mutex_unlock(&mg_live.lock);
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

        fprintf(f, "%.*s %d %d %.*s\n", (int)t->host.n, t->host.p, t->port, t->weight, (int)t->unix_path.n,
                t->unix_path.p);
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
        t->host = mg_live_copy(spec->targets[i].host);
        t->unix_path = mg_live_copy(spec->targets[i].unix_path);
        up->targets_n++;
        if (!t->host.p || !t->unix_path.p)
            return false;
        if (address_of(t, &address))
            continue;
        up->names[i] = mg_name_of(t->host, t->port);
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
    if (mg_map_put(&mg_live.upstreams, up->key, up, NULL) == 0)
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
            return mg_fail(err, MG_ECONF, "upstream %.*s: the path of a unix socket is too long", (int)spec->name.n,
                           spec->name.p);
    key = key_of(spec);
    if (!key.p)
        return mg_fail(err, MG_ENOMEM, "upstream: out of memory");
    pthread_mutex_lock(&mg_live.lock);
    up = mg_map_get(&mg_live.upstreams, key);
    if (up) {
        up->specs++;
        atomic_fetch_add(&up->refs, 1);
        free((char *)key.p);
    } else {
        up = upstream_new(spec, key);
    }
    pthread_mutex_unlock(&mg_live.lock);
    spec->live = up;
    return up ? 0 : mg_fail(err, MG_ENOMEM, "upstream: out of memory");
}

void mg_upstream_detach(struct mg_upstream_spec *spec)
{
    struct mg_upstream *up = spec->live;

    if (!up)
        return;
    spec->live = NULL;
    pthread_mutex_lock(&mg_live.lock);
    if (--up->specs == 0) {
        mg_table_forget(&mg_live.upstreams, up->key);
        atomic_store(&up->has_left, true);
        mg_upstream_wake_workers();
    }
    if (atomic_fetch_sub(&up->refs, 1) == 1)
        upstream_free_locked(up, true);
    pthread_mutex_unlock(&mg_live.lock);
}
