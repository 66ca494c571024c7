/* shared_parts.h - what the files of the shared dictionaries share: entries, parts, and their bounds. */
#ifndef MG_SERVICE_SHARED_PARTS_H
#define MG_SERVICE_SHARED_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/list.h"
#include "service/shared.h"

enum { SHARED_PARTS = 16, SHARED_LIST = 4 /* beside enum mg_kind */ };

struct item {                    /* of a list */
    struct mg_list node;
    int kind;
    double number;
    size_t n;
    char bytes[];
};

struct entry {
    struct entry *next;          /* in its bucket; among those to be freed */
    struct mg_list node;         /* in the part's list: most recently used first */
    uint64_t hash;
    uint64_t used;               /* the dictionary's clock at the latest use */
    int64_t until_us;            /* monotonic; 0: for ever */
    struct mg_list items;        /* SHARED_LIST */
    int64_t items_n;
    size_t cost;                 /* bytes that it counts for */
    double number;
    size_t value_n;
    uint32_t key_n;
    uint8_t kind;
    char bytes[];                /* key, value */
};

struct part {
    pthread_mutex_t lock;
    struct entry **buckets;
    size_t size, n;
    struct mg_list used;
    _Atomic uint64_t oldest;     /* `used` of the last in the list; UINT64_MAX: it is empty */
} __attribute__((aligned(64)));

struct mg_shared {
    struct part parts[SHARED_PARTS];
    _Atomic uint64_t clock;      /* counts writes */
    _Atomic int64_t capacity, bytes, items, evictions;
    struct mg_shared *next;
    size_t name_n;
    char name[MG_SHARED_NAME_MAX + 1];
};

/* Lock the part of a key. */
struct part *mg_part_lock(struct mg_shared *d, struct mg_str key, uint64_t *hash);
/* `dead` (may be NULL): entries that were taken out, freed once the lock is open. */
void mg_part_unlock(struct part *p, struct entry *dead);
/* The entry, whether or not it is past its time. */
struct entry *mg_part_find(struct part *p, uint64_t hash, struct mg_str key);
bool mg_entry_is_over(const struct entry *e);
void mg_entry_used(struct mg_shared *d, struct part *p, struct entry *e);
/* Neither counted nor in a part yet. NULL: out of memory. Locks nothing. */
struct entry *mg_entry_new(struct mg_str key, uint64_t hash, const struct mg_datum *value);
void mg_entry_free(struct entry *e);
/* false: no memory for buckets; e is still the caller's. */
bool mg_part_put(struct mg_shared *d, struct part *p, struct entry *e);
/* Take it out, onto the list of the dead. */
void mg_part_take(struct mg_shared *d, struct part *p, struct entry *e, struct entry **dead);
/* Nothing is locked: have entries give way until all fits. How many of them were still good. */
int mg_shared_trim(struct mg_shared *d);
int64_t mg_until_us(int64_t ttl_ms);

#endif
