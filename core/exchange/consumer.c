/* consumer.c - consumers by name, credentials by (kind, key).
 *
 * Credentials stand in one open-addressing table. Their keys come from outsiders, so the hash is keyed (SipHash,
 * base/str.h), and the final comparison takes a time that depends on the lengths alone. */
#include "exchange/consumer.h"
#include "base/map.h"

#include <stdlib.h>

struct slot { uint64_t hash; const struct mg_credential *cred; };

struct mg_consumers {
    struct mg_arena *arena;
    struct mg_map by_name;
    struct slot *slots;
    size_t slots_n, credentials_n, numbers_room;
    const struct mg_credential **numbers;
    struct open_kind { struct open_kind *next; struct mg_str kind; } *open;
};

/* Kinds are the config's words: they only tell tables apart, so a plain mix will do. */
static uint64_t credential_hash(struct mg_str kind, struct mg_str key)
{
    uint64_t h = mg_str_hash(key);

    for (size_t i = 0; i < kind.n; i++)
        h = (h ^ (unsigned char)kind.p[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static bool same_bytes(struct mg_str a, struct mg_str b)
{
    unsigned char d = 0;

    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        d |= (unsigned char)a.p[i] ^ (unsigned char)b.p[i];
    return d == 0;
}

static void map_deinit(void *m)
{
    mg_map_deinit(m);
}

struct mg_consumers *mg_consumers_new(struct mg_arena *a)
{
    struct mg_consumers *c = mg_arena_zalloc(a, sizeof *c);

    if (!c || mg_arena_defer(a, map_deinit, &c->by_name))
        return NULL;
    c->arena = a;
    return c;
}

int mg_consumers_add(struct mg_consumers *c, const struct mg_consumer *consumer)
{
    struct mg_consumer *mine;

    if (mg_map_get(&c->by_name, consumer->name))
        return MG_EINVAL;
    mine = mg_arena_alloc(c->arena, sizeof *mine);
    if (!mine)
        return MG_ENOMEM;
    *mine = *consumer;
    return mg_map_put(&c->by_name, mine->name, mine, NULL);
}

static void slot_put(struct mg_consumers *c, uint64_t hash, const struct mg_credential *cred)
{
    size_t i = hash & (c->slots_n - 1);

    while (c->slots[i].cred)
        i = (i + 1) & (c->slots_n - 1);
    c->slots[i].hash = hash;
    c->slots[i].cred = cred;
}

static int slots_grow(struct mg_consumers *c)
{
    size_t n = c->slots_n ? c->slots_n * 2 : 16, old_n = c->slots_n;
    struct slot *old = c->slots, *slots = mg_arena_zalloc(c->arena, n * sizeof *slots);

    if (!slots)
        return MG_ENOMEM;
    c->slots = slots;
    c->slots_n = n;
    for (size_t i = 0; i < old_n; i++)
        if (old[i].cred)
            slot_put(c, old[i].hash, old[i].cred);
    return 0;
}

static int numbers_grow(struct mg_consumers *c)
{
    size_t room = c->numbers_room ? c->numbers_room * 2 : 16;
    const struct mg_credential **at = mg_arena_alloc(c->arena, room * sizeof *at);

    if (!at)
        return MG_ENOMEM;
    if (c->credentials_n)
        memcpy(at, c->numbers, c->credentials_n * sizeof *at);
    c->numbers = at;
    c->numbers_room = room;
    return 0;
}

int mg_consumers_add_credential(struct mg_consumers *c, struct mg_str consumer, struct mg_credential *cred, struct mg_error *err)
{
    const struct mg_consumer *owner = mg_consumers_find(c, consumer);
    const struct mg_credential *other = mg_consumers_credential(c, cred->kind, cred->key);

    if (!owner)
        return mg_fail(err, MG_ENOENT, "there is no consumer \"%.*s\"", (int)consumer.n, consumer.p);
    if (other) /* the key is a secret: it is not named */
        return mg_fail(err, MG_EINVAL, "consumer \"%.*s\" has the same %.*s credential as consumer \"%.*s\"", (int)consumer.n,
                       consumer.p, (int)cred->kind.n, cred->kind.p, (int)other->consumer->name.n, other->consumer->name.p);
    if ((c->credentials_n + 1) * 2 > c->slots_n && slots_grow(c))
        return mg_fail(err, MG_ENOMEM, "out of memory");
    if (c->credentials_n == c->numbers_room && numbers_grow(c))
        return mg_fail(err, MG_ENOMEM, "out of memory");
    cred->consumer = owner;
    cred->number = (int)c->credentials_n;
    c->numbers[c->credentials_n++] = cred;
    slot_put(c, credential_hash(cred->kind, cred->key), cred);
    return 0;
}

int mg_consumers_open_kind(struct mg_consumers *c, struct mg_str kind)
{
    struct open_kind *o = mg_arena_zalloc(c->arena, sizeof *o);

    if (!o)
        return MG_ENOMEM;
    o->kind = mg_arena_copy(c->arena, kind.p, kind.n);
    if (!o->kind.p)
        return MG_ENOMEM;
    o->next = c->open;
    c->open = o;
    return 0;
}

bool mg_consumers_kind_is_open(const struct mg_consumers *c, struct mg_str kind)
{
    for (const struct open_kind *o = c->open; o; o = o->next)
        if (mg_str_eq(o->kind, kind))
            return true;
    return false;
}

int mg_consumers_seal(struct mg_consumers *c)
{
    (void)c; /* the table is in its final form at any time */
    return 0;
}

const struct mg_consumer *mg_consumers_find(const struct mg_consumers *c, struct mg_str name)
{
    return c ? mg_map_get(&c->by_name, name) : NULL;
}

const struct mg_credential *mg_consumers_credential(const struct mg_consumers *c, struct mg_str kind, struct mg_str key)
{
    uint64_t hash;

    if (!c || !c->slots_n)
        return NULL;
    hash = credential_hash(kind, key);
    for (size_t i = hash & (c->slots_n - 1); c->slots[i].cred; i = (i + 1) & (c->slots_n - 1)) {
        const struct slot *s = &c->slots[i];

        if (s->hash == hash && mg_str_eq(s->cred->kind, kind) && same_bytes(s->cred->key, key))
            return s->cred;
    }
    return NULL;
}

const struct mg_credential *mg_consumers_number(const struct mg_consumers *c, int number)
{
    if (!c || number < 0 || (size_t)number >= c->credentials_n)
        return NULL;
    return c->numbers[number];
}
