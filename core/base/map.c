#include "base/map.h"
#include "base/alloc.h"

/* A slot is free (key.p NULL), dead (key.p is `grave`: taken out, but probes go on over it), or in use. */
static const char grave[1];

static bool in_use(const struct mg_map_slot *s) { return s->key.p && s->key.p != grave; }

void mg_map_deinit(struct mg_map *m)
{
    mg_free(m->slots);
    *m = (struct mg_map){ 0 };
}

static struct mg_map_slot *find(const struct mg_map *m, struct mg_str key, uint64_t hash)
{
    size_t mask = m->size - 1;

    if (!m->size)
        return NULL;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct mg_map_slot *s = &m->slots[i];

        if (!s->key.p)
            return NULL;
        if (s->hash == hash && in_use(s) && mg_str_eq(s->key, key))
            return s;
    }
}

void *mg_map_get(const struct mg_map *m, struct mg_str key)
{
    struct mg_map_slot *s = m->used ? find(m, key, mg_str_hash(key)) : NULL;

    return s ? s->value : NULL;
}

static struct mg_map_slot *free_slot(struct mg_map_slot *slots, size_t size, uint64_t hash)
{
    size_t i = hash & (size - 1);

    while (in_use(&slots[i]))
        i = (i + 1) & (size - 1);
    return &slots[i];
}

/* Room for one more at a load of at most 3/4, graves counted. */
static int make_room(struct mg_map *m)
{
    struct mg_map_slot *slots;
    size_t size = m->size ? m->size : 8;

    if (m->size && (m->used + m->dead + 1) * 4 <= m->size * 3)
        return 0;
    while ((m->used + 1) * 2 > size)
        size *= 2;
    slots = mg_calloc(size, sizeof(*slots));
    if (!slots)
        return MG_ENOMEM;
    for (size_t i = 0; i < m->size; i++) {
        if (in_use(&m->slots[i]))
            *free_slot(slots, size, m->slots[i].hash) = m->slots[i];
    }
    mg_free(m->slots);
    m->slots = slots;
    m->size = size;
    m->dead = 0;
    return 0;
}

int mg_map_put(struct mg_map *m, struct mg_str key, void *value, void **old)
{
    uint64_t hash = mg_str_hash(key);
    struct mg_map_slot *s;

    if (!key.p)
        key.p = ""; /* NULL marks a free slot */
    s = find(m, key, hash);
    if (old)
        *old = s ? s->value : NULL;
    if (s) {
        s->key = key; /* the old key may go with the old value */
        s->value = value;
        return 0;
    }
    if (make_room(m) < 0)
        return MG_ENOMEM;
    s = free_slot(m->slots, m->size, hash);
    if (s->key.p == grave)
        m->dead--;
    *s = (struct mg_map_slot){ hash, key, value };
    m->used++;
    return 0;
}

void *mg_map_remove(struct mg_map *m, struct mg_str key)
{
    struct mg_map_slot *s = m->used ? find(m, key, mg_str_hash(key)) : NULL;
    void *value;

    if (!s)
        return NULL;
    value = s->value;
    *s = (struct mg_map_slot){ 0, { grave, 0 }, NULL };
    m->used--;
    m->dead++;
    return value;
}

bool mg_map_next(const struct mg_map *m, size_t *i, struct mg_str *key, void **value)
{
    while (*i < m->size) {
        const struct mg_map_slot *s = &m->slots[(*i)++];

        if (!in_use(s))
            continue;
        if (key)
            *key = s->key;
        if (value)
            *value = s->value;
        return true;
    }
    return false;
}
