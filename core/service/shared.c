#include "service/shared.h"

#include "base/alloc.h"
#include "service/shared_parts.h"
#include "base/scratch.h"

enum { SWEEP = 2, ITEM_EXTRA = 16 };

/* ---- reading ---- */

static _Thread_local struct mg_scratch read_memory, keys_memory;

/* A value that has left the lock: text is copied to the thread's own memory. */
static int give(int kind, double number, const char *p, size_t n, struct mg_datum *out)
{
    char *copy = NULL;

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (kind == MG_TEXT) {
        copy = mg_scratch_take(&read_memory, n);
        if (!copy)
            return MG_ENOMEM;
        memcpy(copy, p, n);
        out->text = mg_str(copy, n);
    } else {
        out->number = number;
    }
    out->kind = kind;
    return 0;
}

int mg_shared_read(struct mg_shared *d, struct mg_str key, bool stale, struct mg_datum *out)
{
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    struct entry *e = mg_part_find(p, hash, key);
    bool is_over = e && mg_entry_is_over(e);
    int rc = 0;

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (e && e->kind == SHARED_LIST && !is_over) {
        rc = MG_EINVAL;
    } else if (e && e->kind != SHARED_LIST && (stale || !is_over)) {
        mg_entry_used(d, p, e);
        rc = give(e->kind, e->number, e->bytes + e->key_n, e->value_n, out);
        if (rc == 0)
            rc = is_over;
    }
    mg_part_unlock(p, NULL);
    return rc;
}

int64_t mg_shared_get_ttl(struct mg_shared *d, struct mg_str key)
{
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    struct entry *e = mg_part_find(p, hash, key);
    int64_t until = e ? e->until_us : 0, now = until ? mg_until_us(1) - 1000 : 0;

    mg_part_unlock(p, NULL);
    if (!e || (until && until <= now))
        return MG_ENOENT;
    return until ? (until - now + 999) / 1000 : 0;
}

/* ---- writing ---- */

/* Those at the end of the list that are past their time: nobody will miss them. */
static void sweep(struct mg_shared *d, struct part *p, struct entry **dead)
{
    for (int i = 0; i < SWEEP && !mg_list_empty(&p->used); i++) {
        struct entry *e = mg_container(p->used.prev, struct entry, node);

        if (!e->until_us || !mg_entry_is_over(e))
            return;
        mg_part_take(d, p, e, dead);
    }
}

static bool fits(const struct mg_shared *d, size_t bytes)
{
    return bytes <= (size_t)atomic_load_explicit(&d->capacity, memory_order_relaxed);
}

static int may_write(int when, const struct entry *e)
{
    bool is_there = e && !mg_entry_is_over(e);

    if (when == MG_SHARED_ADD && is_there)
        return MG_EEXIST;
    return when == MG_SHARED_REPLACE && !is_there ? MG_ENOENT : 0;
}

int mg_shared_write(struct mg_shared *d, int when, struct mg_str key, const struct mg_datum *value, int64_t ttl_ms)
{
    struct entry *e = mg_entry_new(key, 0, value), *old, *dead = NULL;
    struct part *p;
    uint64_t hash;
    int rc;

    if (!e)
        return MG_ENOMEM;
    if (!fits(d, e->cost)) {
        mg_entry_free(e);
        return MG_ETOOBIG;
    }
    e->until_us = mg_until_us(ttl_ms);
    p = mg_part_lock(d, key, &hash);
    e->hash = hash;
    old = mg_part_find(p, hash, key);
    rc = may_write(when, old);
    if (rc == 0 && old)
        mg_part_take(d, p, old, &dead);
    if (rc == 0 && !mg_part_put(d, p, e))
        rc = MG_ENOMEM;
    if (rc == 0) {
        sweep(d, p, &dead);
        e = NULL;
    }
    mg_part_unlock(p, dead);
    if (e)
        mg_entry_free(e);
    return rc == 0 ? mg_shared_trim(d) : rc;
}

/* One that is made when there is none: allocated while nothing is locked, and another thread's is taken when that was faster. *made is
 * freed by the caller when it is not NULL any more. Locked when it returns. */
static struct entry *find_or_put(struct mg_shared *d, struct part *p, struct mg_str key, uint64_t hash, struct entry **made,
                                 struct entry **dead)
{
    struct entry *e = mg_part_find(p, hash, key);

    if (e && mg_entry_is_over(e)) {
        mg_part_take(d, p, e, dead);
        e = NULL;
    }
    if (!e && *made) {
        (*made)->hash = hash;
        if (mg_part_put(d, p, *made)) {
            e = *made;
            *made = NULL;
        }
    }
    return e;
}

static int add_here(struct mg_shared *d, struct mg_str key, double by, struct entry **made, double *out)
{
    struct entry *dead = NULL, *e;
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    int rc = 0;

    e = find_or_put(d, p, key, hash, made, &dead);
    if (!e) {
        rc = MG_ENOENT;
    } else if (e->kind != MG_DOUBLE) {
        rc = MG_EINVAL;
    } else {
        e->number += by;
        mg_entry_used(d, p, e);
        if (out)
            *out = e->number;
    }
    mg_part_unlock(p, dead);
    return rc;
}

int mg_shared_add(struct mg_shared *d, struct mg_str key, double by, const double *init, int64_t ttl_ms, double *out)
{
    struct entry *made = NULL;
    int rc = add_here(d, key, by, &made, out);

    if (rc != MG_ENOENT || !init)
        return rc;
    made = mg_entry_new(key, 0, &(struct mg_datum){ .kind = MG_DOUBLE, .number = *init });
    if (!made)
        return MG_ENOMEM;
    made->until_us = mg_until_us(ttl_ms);
    rc = fits(d, made->cost) ? add_here(d, key, by, &made, out) : MG_ETOOBIG;
    if (made)
        mg_entry_free(made);
    return rc == 0 ? mg_shared_trim(d) : rc == MG_ENOENT ? MG_ENOMEM : rc;
}

int mg_shared_remove(struct mg_shared *d, struct mg_str key)
{
    struct entry *dead = NULL, *e;
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    bool was_good;

    e = mg_part_find(p, hash, key);
    was_good = e && !mg_entry_is_over(e);
    if (e)
        mg_part_take(d, p, e, &dead);
    mg_part_unlock(p, dead);
    return was_good;
}

int mg_shared_set_ttl(struct mg_shared *d, struct mg_str key, int64_t ttl_ms)
{
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    struct entry *e = mg_part_find(p, hash, key);
    bool is_good = e && !mg_entry_is_over(e);

    if (is_good)
        e->until_us = mg_until_us(ttl_ms);
    mg_part_unlock(p, NULL);
    return is_good ? 0 : MG_ENOENT;
}

/* ---- lists ---- */

static struct item *item_new(const struct mg_datum *value)
{
    size_t n = value->kind == MG_TEXT ? value->text.n : 0;
    struct item *i = mg_malloc(sizeof *i + n);

    if (!i)
        return NULL;
    mg_list_init(&i->node);
    i->kind = value->kind;
    i->number = value->number;
    i->n = n;
    if (n)
        memcpy(i->bytes, value->text.p, n);
    return i;
}

static void count_bytes(struct mg_shared *d, struct entry *e, int64_t by)
{
    e->cost = (size_t)((int64_t)e->cost + by);
    atomic_fetch_add_explicit(&d->bytes, by, memory_order_relaxed);
}

static int64_t cost_of(const struct item *i)
{
    return (int64_t)(sizeof *i + i->n + ITEM_EXTRA);
}

static void put_item(struct mg_shared *d, struct entry *e, struct item *i, int end)
{
    if (end == MG_SHARED_FRONT)
        mg_list_unshift(&e->items, &i->node);
    else
        mg_list_push(&e->items, &i->node);
    e->items_n++;
    count_bytes(d, e, cost_of(i));
}

int64_t mg_shared_list_push(struct mg_shared *d, struct mg_str key, int end, const struct mg_datum *value)
{
    struct entry *made = mg_entry_new(key, 0, &(struct mg_datum){ .kind = SHARED_LIST }), *dead = NULL, *e;
    struct item *item = item_new(value);
    struct part *p;
    uint64_t hash;
    int64_t rc;

    if (!made || !item) {
        mg_free(item);
        if (made)
            mg_entry_free(made);
        return MG_ENOMEM;
    }
    p = mg_part_lock(d, key, &hash);
    e = fits(d, made->cost + (size_t)cost_of(item)) ? find_or_put(d, p, key, hash, &made, &dead) : NULL;
    if (e && e->kind != SHARED_LIST) {
        rc = MG_EINVAL;
    } else if (e && fits(d, e->cost + (size_t)cost_of(item))) {
        put_item(d, e, item, end);
        mg_entry_used(d, p, e);
        item = NULL;
        rc = e->items_n;
    } else {
        rc = !e && fits(d, made->cost + (size_t)cost_of(item)) ? MG_ENOMEM : MG_ETOOBIG;
    }
    mg_part_unlock(p, dead);
    mg_free(item);
    if (made)
        mg_entry_free(made);
    if (rc > 0)
        mg_shared_trim(d);
    return rc;
}

/* The entry when it is a list that is good; *rc MG_EINVAL when it is something else. */
static struct entry *find_list(struct part *p, uint64_t hash, struct mg_str key, int *rc)
{
    struct entry *e = mg_part_find(p, hash, key);

    *rc = 0;
    if (!e || mg_entry_is_over(e))
        return NULL;
    if (e->kind == SHARED_LIST)
        return e;
    *rc = MG_EINVAL;
    return NULL;
}

int mg_shared_list_pop(struct mg_shared *d, struct mg_str key, int end, struct mg_datum *out)
{
    struct entry *dead = NULL, *e;
    struct item *item = NULL;
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    int rc;

    *out = (struct mg_datum){ .kind = MG_NIL };
    e = find_list(p, hash, key, &rc);
    if (e) {
        struct mg_list *n = end == MG_SHARED_FRONT ? e->items.next : e->items.prev;

        item = mg_container(n, struct item, node);
        rc = give(item->kind, item->number, item->bytes, item->n, out);
    }
    if (item && rc == 0) {
        mg_list_remove(&item->node);
        e->items_n--;
        count_bytes(d, e, -cost_of(item));
        if (e->items_n == 0)
            mg_part_take(d, p, e, &dead);
        else
            mg_entry_used(d, p, e);
    } else {
        item = NULL;
    }
    mg_part_unlock(p, dead);
    mg_free(item);
    return rc;
}

int64_t mg_shared_list_length(struct mg_shared *d, struct mg_str key)
{
    uint64_t hash;
    struct part *p = mg_part_lock(d, key, &hash);
    int rc;
    struct entry *e = find_list(p, hash, key, &rc);
    int64_t n = e ? e->items_n : rc;

    mg_part_unlock(p, NULL);
    return n;
}

/* ---- the whole ---- */

/* Keys of one part behind what is there: an array of strings and their bytes are made together once all are known, so they gather as
 * lengths and bytes first. */
struct gather { char *bytes; size_t used, room; int n, limit; };

static bool gather_key(struct gather *g, const struct entry *e)
{
    size_t need = sizeof e->key_n + e->key_n;

    if (g->used + need > g->room) {
        size_t room = (g->used + need) * 2;
        char *bytes = mg_realloc(g->bytes, room);

        if (!bytes)
            return false;
        g->bytes = bytes;
        g->room = room;
    }
    memcpy(g->bytes + g->used, &e->key_n, sizeof e->key_n);
    memcpy(g->bytes + g->used + sizeof e->key_n, e->bytes, e->key_n);
    g->used += need;
    g->n++;
    return true;
}

static bool gather_part(struct gather *g, struct part *p)
{
    bool ok = true;

    pthread_mutex_lock(&p->lock);
    mg_list_each(n, &p->used)
    {
        const struct entry *e = mg_container(n, struct entry, node);

        if (!ok || (g->limit > 0 && g->n >= g->limit))
            break;
        if (!mg_entry_is_over(e))
            ok = gather_key(g, e);
    }
    mg_part_unlock(p, NULL);
    return ok;
}

int mg_shared_list_keys(struct mg_shared *d, int limit, const struct mg_str **out)
{
    struct gather g = { .limit = limit };
    struct mg_str *list;
    char *bytes;
    bool ok = true;

    *out = NULL;
    for (int i = 0; ok && i < SHARED_PARTS; i++)
        ok = gather_part(&g, &d->parts[i]);
    list = ok ? (struct mg_str *)(void *)mg_scratch_take(&keys_memory, (size_t)g.n * sizeof *list + g.used) : NULL;
    if (!list) {
        mg_free(g.bytes);
        return MG_ENOMEM;
    }
    bytes = (char *)(list + g.n);
    if (g.used)
        memcpy(bytes, g.bytes, g.used);
    mg_free(g.bytes);
    for (int i = 0; i < g.n; i++) {
        uint32_t n;

        memcpy(&n, bytes, sizeof n);
        list[i] = mg_str(bytes + sizeof n, n);
        bytes += sizeof n + n;
    }
    *out = list;
    return g.n;
}

void mg_shared_clear(struct mg_shared *d)
{
    for (int i = 0; i < SHARED_PARTS; i++) {
        struct part *p = &d->parts[i];
        struct entry *dead = NULL;

        pthread_mutex_lock(&p->lock);
        while (!mg_list_empty(&p->used))
            mg_part_take(d, p, mg_container(mg_list_first(&p->used), struct entry, node), &dead);
        mg_part_unlock(p, dead);
    }
}

void mg_shared_measure(struct mg_shared *d, struct mg_shared_stat *out)
{
    out->capacity = atomic_load_explicit(&d->capacity, memory_order_relaxed);
    out->bytes = atomic_load_explicit(&d->bytes, memory_order_relaxed);
    out->items = atomic_load_explicit(&d->items, memory_order_relaxed);
    out->evictions = atomic_load_explicit(&d->evictions, memory_order_relaxed);
}
