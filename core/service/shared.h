/* shared.h - dictionaries that all workers share and that outlive a reload (mg_shared_* of pdk.h; core/pdk/shared.c is
 * the plugins' side, with the seam).
 *
 * A dictionary is found by name and lives as long as the process. Its entries lie in SHARDS parts by the hash of their
 * keys, each with a lock that is held for one lookup and one change; what goes is freed after the lock. One count of bytes
 * bounds the whole: when it is over the capacity, the part whose least recently used entry is the oldest gives that one
 * up, again and again until all fits. (What was written counts a dictionary's clock on; a use notes its time. So the order
 * is exact within a part, and between parts as fine as the writes.) An entry past its time is absent, is kept while there is
 * room (get_stale reads it), and goes when it is met at the end of its part's list.
 *
 * Any thread. All of this works on a clock that stands still (base/clock.h). */
#ifndef MG_SERVICE_SHARED_H
#define MG_SERVICE_SHARED_H

#include "base/str.h"

struct mg_shared;

enum {
    MG_SHARED_DICTIONARIES_MAX = 256, MG_SHARED_NAME_MAX = 128, MG_SHARED_KEY_MAX = 65535,
    MG_SHARED_CAPACITY = 1 << 20 /* of one that the config does not name */
};

/* Find or make. NULL: the name is empty, longer than MG_SHARED_NAME_MAX or not visible ASCII (MG_EINVAL), too many (MG_EBUSY) or out
 * of memory (MG_ENOMEM); *rc says which. */
struct mg_shared *mg_shared_find(struct mg_str name, int *rc);
bool mg_shared_is_name(struct mg_str name);
struct mg_str mg_shared_name(const struct mg_shared *d);

/* As pdk.h has them. out->text lives until the thread's next get or pop. Returns 0, 1 (`stale` allowed, and it is). */
int mg_shared_read(struct mg_shared *d, struct mg_str key, bool stale, struct mg_datum *out);
/* when: enum mg_shared_when. How many entries that were not past their time gave way; MG_EEXIST, MG_ENOENT, MG_ETOOBIG, MG_ENOMEM. */
int mg_shared_write(struct mg_shared *d, int when, struct mg_str key, const struct mg_datum *value, int64_t ttl_ms);
/* init NULL: absent is MG_ENOENT. */
int mg_shared_add(struct mg_shared *d, struct mg_str key, double by, const double *init, int64_t ttl_ms, double *out);
int mg_shared_remove(struct mg_shared *d, struct mg_str key);
int mg_shared_set_ttl(struct mg_shared *d, struct mg_str key, int64_t ttl_ms);
int64_t mg_shared_get_ttl(struct mg_shared *d, struct mg_str key);
/* The items' number from now on. */
int64_t mg_shared_list_push(struct mg_shared *d, struct mg_str key, int end, const struct mg_datum *value);
int mg_shared_list_pop(struct mg_shared *d, struct mg_str key, int end, struct mg_datum *out);
int64_t mg_shared_list_length(struct mg_shared *d, struct mg_str key);
/* Up to `limit` keys that are not past their time (0: all), most recently used first within a part. *out lives until the thread's
 * next call. */
int mg_shared_list_keys(struct mg_shared *d, int limit, const struct mg_str **out);
void mg_shared_clear(struct mg_shared *d);
void mg_shared_measure(struct mg_shared *d, struct mg_shared_stat *out);

/* The config's word, when a snapshot comes into force: these have these capacities, all others MG_SHARED_CAPACITY. What does not fit any
 * more goes, least recently used first. 0 or what mg_shared_find says. */
struct mg_shared_size { struct mg_str name; int64_t bytes; };
int mg_shared_configure(const struct mg_shared_size *sizes, size_t n);
/* Each dictionary, in the order of making. */
void mg_shared_each(void (*fn)(void *arg, struct mg_shared *d), void *arg);
/* Between two spec files: empty, and as large as by default. */
void mg_shared_reset(void);

#endif
