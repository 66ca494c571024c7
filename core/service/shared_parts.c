#include "service/shared_parts.h"

#include "base/alloc.h"
#include "base/clock.h"

/* What malloc takes for itself, and an entry's share of the buckets. */
enum { BUCKETS_FIRST = 16, ENTRY_EXTRA = 16 + 2 * sizeof(void *) };

/* ---- entries ---- */

int64_t mg_until_us(int64_t ttl_ms)
{
    int64_t now = mg_clock_monotonic_us();

    return ttl_ms == 0 ? 0 : ttl_ms > (INT64_MAX - now) / 1000 ? INT64_MAX : now + ttl_ms * 1000;
}

bool mg_entry_is_over(const struct entry *e)
{
    return e->until_us && e->until_us <= mg_clock_monotonic_us();
}

struct entry *mg_entry_new(struct mg_str key, uint64_t hash, const struct mg_datum *value)
{
    size_t value_n = value->kind == MG_TEXT ? value->text.n : 0;
    struct entry *e = mg_malloc(sizeof *e + key.n + value_n);

    if (!e)
        return NULL;
    *e = (struct entry){ .hash = hash, .cost = sizeof *e + key.n + value_n + ENTRY_EXTRA, .number = value->number, .value_n = value_n,
                         .key_n = (uint32_t)key.n, .kind = (uint8_t)value->kind };
    mg_list_init(&e->node);
    mg_list_init(&e->items);
    memcpy(e->bytes, key.p, key.n);
    if (value_n)
        memcpy(e->bytes + key.n, value->text.p, value_n);
    return e;
}

void mg_entry_free(struct entry *e)
{
    while (!mg_list_empty(&e->items)) {
        struct mg_list *n = mg_list_first(&e->items);

        mg_list_remove(n);
        mg_free(mg_container(n, struct item, node));
    }
    mg_free(e);
}

/* ---- parts ---- */

struct part *mg_part_lock(struct mg_shared *d, struct mg_str key, uint64_t *hash)
{
    struct part *p;

    *hash = mg_str_hash(key);
    p = &d->parts[*hash % SHARED_PARTS];
    pthread_mutex_lock(&p->lock);
    return p;
}

void mg_part_unlock(struct part *p, struct entry *dead)
{
    const struct entry *last = mg_list_empty(&p->used) ? NULL : mg_container(p->used.prev, struct entry, node);

    atomic_store_explicit(&p->oldest, last ? last->used : UINT64_MAX, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    while (dead) {
        struct entry *next = dead->next;

        mg_entry_free(dead);
        dead = next;
    }
}

static struct entry **bucket(const struct part *p, uint64_t hash)
{
    return &p->buckets[hash / SHARED_PARTS & (p->size - 1)];
}

struct entry *mg_part_find(struct part *p, uint64_t hash, struct mg_str key)
{
    struct entry *e = p->size ? *bucket(p, hash) : NULL;

    while (e && (e->hash != hash || e->key_n != key.n || memcmp(e->bytes, key.p, key.n) != 0))
        e = e->next;
    return e;
}

static void to_front(struct part *p, struct entry *e)
{
    mg_list_remove(&e->node);
    mg_list_unshift(&p->used, &e->node);
}

void mg_entry_used(struct mg_shared *d, struct part *p, struct entry *e)
{
    e->used = atomic_load_explicit(&d->clock, memory_order_relaxed);
    if (p->used.next != &e->node)
        to_front(p, e);
}

static bool grow(struct part *p)
{
    size_t size = p->size ? p->size * 2 : BUCKETS_FIRST, old_n = p->size;
    struct entry **buckets = mg_calloc(size, sizeof(struct entry *)), **old = p->buckets;

    if (!buckets)
        return p->size != 0; /* fuller, but working */
    p->buckets = buckets;
    p->size = size;
    for (size_t i = 0; i < old_n; i++)
        while (old[i]) {
            struct entry *e = old[i];

            old[i] = e->next;
            e->next = *bucket(p, e->hash);
            *bucket(p, e->hash) = e;
        }
    mg_free(old);
    return true;
}

bool mg_part_put(struct mg_shared *d, struct part *p, struct entry *e)
{
    if (p->n >= p->size && !grow(p))
        return false;
    e->next = *bucket(p, e->hash);
    *bucket(p, e->hash) = e;
    p->n++;
    e->used = atomic_fetch_add_explicit(&d->clock, 1, memory_order_relaxed) + 1;
    to_front(p, e);
    atomic_fetch_add_explicit(&d->items, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->bytes, (int64_t)e->cost, memory_order_relaxed);
    return true;
}

void mg_part_take(struct mg_shared *d, struct part *p, struct entry *e, struct entry **dead)
{
    struct entry **at = bucket(p, e->hash);

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    mg_list_remove(&e->node);
    p->n--;
    atomic_fetch_sub_explicit(&d->items, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&d->bytes, (int64_t)e->cost, memory_order_relaxed);
    e->next = *dead;
    *dead = e;
}

/* ---- the bound ---- */

static struct part *oldest_part(struct mg_shared *d)
{
    struct part *p = NULL;
    uint64_t oldest = UINT64_MAX;

    for (int i = 0; i < SHARED_PARTS; i++) {
        uint64_t used = atomic_load_explicit(&d->parts[i].oldest, memory_order_relaxed);

        if (used < oldest) {
            oldest = used;
            p = &d->parts[i];
        }
    }
    return p;
}

static bool is_over_capacity(const struct mg_shared *d)
{
    return atomic_load_explicit(&d->bytes, memory_order_relaxed) > atomic_load_explicit(&d->capacity, memory_order_relaxed);
}

int mg_shared_trim(struct mg_shared *d)
{
    int good = 0;

    while (is_over_capacity(d)) {
        struct part *p = oldest_part(d);
        struct entry *dead = NULL;

        if (!p)
            break;
        pthread_mutex_lock(&p->lock);
        if (!mg_list_empty(&p->used) && is_over_capacity(d)) {
            struct entry *e = mg_container(p->used.prev, struct entry, node);

            good += !mg_entry_is_over(e);
            mg_part_take(d, p, e, &dead);
        }
        mg_part_unlock(p, dead);
    }
    if (good)
        atomic_fetch_add_explicit(&d->evictions, good, memory_order_relaxed);
    return good;
}
