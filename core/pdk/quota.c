/* quota.c - counters that all workers share and that outlive a reload.
 *
 * A process-wide table in SHARDS parts, each with its own lock, held for one lookup and some arithmetic. The hash is
 * keyed (SipHash), since callers choose the keys. Memory is bounded: entries that say nothing any more are swept a few at
 * each visit, and where a shard is full its oldest entries give way.
 *
 * All arithmetic is in whole numbers: a token is `window` units, and `limit` units come back each microsecond, so nothing is lost to
 * rounding however small the steps. */
#include "pdk/quota.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

#include <pthread.h>

enum { SHARDS = 64, BUCKETS_FIRST = 64, SWEEP = 4, SHARD_BYTES_MAX = 4 << 20 };
enum kind { BUCKET = 1, WINDOW = 2, COUNTER = 3 };
static const int64_t LIMIT_MAX = INT64_C(1) << 40, WINDOW_MS_MAX = INT64_C(366) * 86400 * 1000;

typedef __int128 wide;

struct entry {
    struct entry *next;
    uint64_t hash;
    int64_t until_us;           /* after this it says no more than its absence */
    wide level;                 /* BUCKET: units left */
    int64_t at_us;              /* BUCKET: when they were counted; WINDOW: its beginning */
    int64_t now_n, last_n;      /* WINDOW: this and the one before; COUNTER: now_n */
    int64_t first_us, final_us; /* WINDOW: when this window's first and latest were counted */
    int64_t last_first_us, last_final_us;
    int64_t limit, window_us;   /* that level was counted under */
    uint32_t space_n, key_n;
    uint8_t kind;
    char bytes[];
};
struct shard {
    pthread_mutex_t lock;
    struct entry **buckets;
    size_t size, n, bytes, hand;
} __attribute__((aligned(64)));

static struct shard shards[SHARDS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&shards[i].lock, NULL);
}

static size_t bytes_of(const struct entry *e)
{
    return sizeof *e + e->space_n + e->key_n;
}

static void drop(struct shard *s, struct entry **at)
{
    struct entry *e = *at;

    *at = e->next;
    s->n--;
    s->bytes -= bytes_of(e);
    mg_free(e);
}

void mg_quota_reset(void)
{
    pthread_once(&once, prepare);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &shards[i];

        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < s->size; k++)
            while (s->buckets[k])
                drop(s, &s->buckets[k]);
        pthread_mutex_unlock(&s->lock);
    }
}

/* The hand goes round the buckets; what is past its time goes. With `any`, the bucket's last entry goes anyway. */
static void sweep(struct shard *s, int64_t now, bool any)
{
    struct entry **at = &s->buckets[s->hand++ & (s->size - 1)];

    while (*at) {
        if ((*at)->until_us <= now || (any && !(*at)->next))
            drop(s, at);
        else
            at = &(*at)->next;
    }
}

static bool grow(struct shard *s)
{
    size_t size = s->size ? s->size * 2 : BUCKETS_FIRST;
    struct entry **buckets = mg_calloc(size, sizeof(struct entry *));

    if (!buckets)
        return s->size != 0; /* fuller, but working */
    for (size_t i = 0; i < s->size; i++)
        while (s->buckets[i]) {
            struct entry *e = s->buckets[i];

            s->buckets[i] = e->next;
            e->next = buckets[e->hash / SHARDS & (size - 1)];
            buckets[e->hash / SHARDS & (size - 1)] = e;
        }
    mg_free(s->buckets);
    s->buckets = buckets;
    s->size = size;
    return true;
}

static struct entry *find(struct shard *s, uint64_t hash, int kind, struct mg_str space, struct mg_str key)
{
    struct entry *e = s->size ? s->buckets[hash / SHARDS & (s->size - 1)] : NULL;

    for (; e; e = e->next)
        if (e->hash == hash && e->kind == kind && e->space_n == space.n && e->key_n == key.n &&
            !memcmp(e->bytes, space.p ? space.p : "", space.n) && !memcmp(e->bytes + space.n, key.p ? key.p : "", key.n))
            return e;
    return NULL;
}

/* A new entry, all zero but its name. NULL when out of memory. */
static struct entry *make(struct shard *s, uint64_t hash, int kind, struct mg_str space, struct mg_str key, int64_t now)
{
    struct entry *e, **head;

    if (s->n >= s->size && !grow(s))
        return NULL;
    for (size_t i = 0; s->bytes > SHARD_BYTES_MAX && i < 2 * s->size; i++)
        sweep(s, now, i >= s->size);
    e = mg_calloc(1, sizeof *e + space.n + key.n);
    if (!e)
        return NULL;
    e->hash = hash;
    e->kind = (uint8_t)kind;
    e->space_n = (uint32_t)space.n;
    e->key_n = (uint32_t)key.n;
    if (space.n)
        memcpy(e->bytes, space.p, space.n);
    if (key.n)
        memcpy(e->bytes + space.n, key.p, key.n);
    head = &s->buckets[hash / SHARDS & (s->size - 1)];
    e->next = *head;
    *head = e;
    s->n++;
    s->bytes += bytes_of(e);
    return e;
}

/* Lock its shard and find or make it. *fresh: it was made, or had run out. NULL (nothing locked): out of memory. */
static struct entry *take(int kind, struct mg_str space, struct mg_str key, int64_t now, struct shard **shard, bool *fresh)
{
    uint64_t hash = mg_str_hash(key) ^ mg_str_hash(space) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)kind;
    struct shard *s = &shards[hash % SHARDS];
    struct entry *e;

    pthread_once(&once, prepare);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SWEEP && s->size; i++)
        sweep(s, now, false);
    e = find(s, hash, kind, space, key);
    *fresh = !e || e->until_us <= now;
    if (!e)
        e = make(s, hash, kind, space, key, now);
    if (!e)
        pthread_mutex_unlock(&s->lock);
    *shard = s;
    return e;
}

static int64_t ceil_div(wide a, wide b)
{
    return a <= 0 ? 0 : (int64_t)((a + b - 1) / b);
}

static bool sane(int64_t limit, int64_t window_ms, int64_t cost)
{
    return limit >= 0 && limit <= LIMIT_MAX && window_ms > 0 && window_ms <= WINDOW_MS_MAX && cost <= LIMIT_MAX && cost >= -LIMIT_MAX;
}

/* ---- token bucket ------------------------------------------------------------------------------- */

/* The level as of now. Under other terms than before it keeps its tokens, up to the new limit. */
static void bucket_refill(struct entry *e, int64_t limit, int64_t window_us, int64_t now, bool fresh)
{
    wide most = (wide)limit * window_us;

    if (fresh) {
        e->level = most;
    } else {
        if (now > e->at_us)
            e->level += (wide)(now - e->at_us) * e->limit;
        if (e->level > (wide)e->limit * e->window_us)
            e->level = (wide)e->limit * e->window_us;
        if (e->window_us != window_us)
            e->level = e->level * window_us / e->window_us;
        if (e->level > most)
            e->level = most;
    }
    if (fresh || now > e->at_us)
        e->at_us = now;
    e->limit = limit;
    e->window_us = window_us;
}

int mg_quota_bucket(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms,
                   int64_t cost, struct mg_quota *out)
{
    int64_t now = mg_clock_monotonic_us(), window_us, per_ms;
    struct shard *s;
    struct entry *e;
    wide most, need;
    bool fresh;

    memset(out, 0, sizeof *out);
    if (!sane(limit, window_ms, cost))
        return MG_EINVAL;
    window_us = window_ms * 1000;
    e = take(BUCKET, mg_str(space, space_n), mg_str(key, key_n), now, &s, &fresh);
    if (!e)
        return MG_ENOMEM;
    bucket_refill(e, limit, window_us, now, fresh);
    most = (wide)limit * window_us;
    need = (wide)cost * window_us;
    per_ms = limit * 1000;
    out->limit = limit;
    out->allowed = e->level >= need;
    if (out->allowed)
        e->level = e->level - need > most ? most : e->level - need;
    else
        out->retry_ms = limit ? ceil_div((cost > limit ? most : need) - e->level, per_ms) : window_ms;
    out->remaining = (int64_t)(e->level / window_us);
    out->reset_ms = limit ? ceil_div(most - e->level, per_ms) : 0;
    e->until_us = now + out->reset_ms * 1000 + 1;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- sliding window ------------------------------------------------------------------------------
 *
 * Two counts, of this window and of the one before, and when the first and the latest of each came. What was counted in
 * the window before is taken to lie evenly between these two, so a burst leaves the sliding window all at once, exactly one window
 * after it came. (Spread over the whole of its window it would weigh up to two, and Retry-After say so.) */

static void window_move(struct entry *e, int64_t window_us, int64_t now, bool fresh)
{
    int64_t passed;

    if (fresh) {
        e->at_us = now;
        e->now_n = e->last_n = 0;
    }
    if (e->window_us != window_us && !fresh && now - e->at_us >= window_us) {
        e->at_us = e->first_us = e->final_us = now; /* other terms: what was counted weighs as if it were just now */
        e->last_n = 0;
    }
    e->window_us = window_us;
    passed = now > e->at_us ? (now - e->at_us) / window_us : 0;
    if (!passed)
        return;
    e->last_n = passed == 1 ? e->now_n : 0;
    e->last_first_us = e->first_us;
    e->last_final_us = e->final_us;
    e->now_n = 0;
    e->at_us += passed * window_us;
}

static void window_count(struct entry *e, int64_t cost, int64_t now)
{
    if (e->now_n == 0)
        e->first_us = now;
    e->now_n = e->now_n + cost > 0 ? e->now_n + cost : 0;
    if (cost > 0)
        e->final_us = now;
}

/* What lies within the window that ends now, in parts of *scale. */
static wide window_used(const struct entry *e, int64_t window_us, int64_t now, wide *scale)
{
    int64_t span = e->last_final_us - e->last_first_us, in = e->last_final_us + window_us - now;

    if (span < 1)
        span = 1; /* all in one moment */
    if (in < 0)
        in = 0;
    if (in > span)
        in = span;
    *scale = span;
    return (wide)e->now_n * span + (wide)e->last_n * in;
}

/* When the n between two moments are at most `room`: the later they came the later they leave. */
static int64_t window_left_at(int64_t first, int64_t final, int64_t n, int64_t room, int64_t window_us)
{
    return final + window_us - (int64_t)((wide)(final - first) * room / n);
}

/* How long until `cost` fits: first those of the window before leave, then this one's. At most a window. */
static int64_t window_retry_us(const struct entry *e, int64_t limit, int64_t window_us, int64_t now, int64_t cost)
{
    int64_t at;

    if (cost > limit)
        return window_us;
    if (limit - cost >= e->now_n)
        at = window_left_at(e->last_first_us, e->last_final_us, e->last_n, limit - cost - e->now_n, window_us);
    else
        at = window_left_at(e->first_us, e->final_us, e->now_n, limit - cost, window_us);
    return at > now ? at - now : 0;
}

int mg_quota_window(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms,
                   int64_t cost, struct mg_quota *out)
{
    int64_t now = mg_clock_monotonic_us(), window_us, end_us;
    struct shard *s;
    struct entry *e;
    bool fresh;
    wide used, scale;

    memset(out, 0, sizeof *out);
    if (!sane(limit, window_ms, cost))
        return MG_EINVAL;
    window_us = window_ms * 1000;
    e = take(WINDOW, mg_str(space, space_n), mg_str(key, key_n), now, &s, &fresh);
    if (!e)
        return MG_ENOMEM;
    window_move(e, window_us, now, fresh);
    used = window_used(e, window_us, now, &scale);
    out->limit = limit;
    out->allowed = cost <= 0 || used + (wide)cost * scale <= (wide)limit * scale;
    if (out->allowed && cost) {
        window_count(e, cost, now);
        used = window_used(e, window_us, now, &scale);
    }
    if (!out->allowed)
        out->retry_ms = (window_retry_us(e, limit, window_us, now, cost) + 999) / 1000;
    out->remaining = used < (wide)limit * scale ? (int64_t)(((wide)limit * scale - used) / scale) : 0;
    end_us = (e->now_n ? e->final_us : e->last_n ? e->last_final_us : now - window_us) + window_us;
    out->reset_ms = end_us > now ? (end_us - now + 999) / 1000 : 0;
    e->until_us = e->at_us + 2 * window_us;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- plain counter -------------------------------------------------------------------------------- */

int mg_quota_counter(const char *space, size_t space_n, const char *key, size_t key_n, int64_t by, int64_t ttl_ms, int64_t *value)
{
    int64_t now = mg_clock_monotonic_us();
    struct shard *s;
    struct entry *e;
    bool fresh;
    int rc = 0;

    if (value)
        *value = 0;
    if (ttl_ms <= 0 || ttl_ms > WINDOW_MS_MAX)
        return MG_EINVAL;
    e = take(COUNTER, mg_str(space, space_n), mg_str(key, key_n), now, &s, &fresh);
    if (!e)
        return MG_ENOMEM;
    if (fresh) {
        e->now_n = 0;
        e->until_us = now + ttl_ms * 1000;
    }
    if (__builtin_add_overflow(e->now_n, by, &e->now_n)) {
        e->now_n = by > 0 ? INT64_MAX : INT64_MIN;
        rc = MG_ETOOBIG;
    }
    if (value)
        *value = e->now_n;
    pthread_mutex_unlock(&s->lock);
    return rc;
}
