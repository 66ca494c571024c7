#include "base/arena.h"
#include "base/alloc.h"
#include <stdarg.h>
#include <stdio.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct mg_chunk {
    struct mg_chunk *next;
    size_t bytes; /* with this header */
    char data[] __attribute__((aligned(16)));
};

struct mg_defer {
    struct mg_defer *next;
    void (*fn)(void *);
    void *arg;
};

enum { CHUNK_ROOM = MG_CHUNK_BYTES - sizeof(struct mg_chunk) };

/* ---- chunks ---- */

void mg_chunk_pool_init(struct mg_chunk_pool *pool, size_t spare_max)
{
    *pool = (struct mg_chunk_pool){ .spare_max = spare_max };
}

static struct mg_chunk *spare_pop(struct mg_chunk_pool *pool)
{
    struct mg_chunk *c = pool->spare;

    ASAN_UNPOISON_MEMORY_REGION(c->data, CHUNK_ROOM);
    pool->spare = c->next;
    pool->spare_n--;
    return c;
}

void mg_chunk_pool_deinit(struct mg_chunk_pool *pool)
{
    while (pool->spare)
        mg_free(spare_pop(pool));
}

static struct mg_chunk *chunk_take(struct mg_arena *a, size_t bytes)
{
    struct mg_chunk *c;

    if (bytes > a->budget - a->used) /* used never exceeds budget */
        return NULL;
    if (bytes == MG_CHUNK_BYTES && a->pool && a->pool->spare)
        c = spare_pop(a->pool);
    else
        c = mg_malloc(bytes);
    if (!c)
        return NULL;
    c->bytes = bytes;
    a->used += bytes;
    return c;
}

static void chunk_give(struct mg_arena *a, struct mg_chunk *c)
{
    struct mg_chunk_pool *pool = a->pool;

    if (!pool || c->bytes != MG_CHUNK_BYTES || pool->spare_n >= pool->spare_max) {
        mg_free(c);
        return;
    }
    ASAN_POISON_MEMORY_REGION(c->data, CHUNK_ROOM); /* a late use is found as if it had been freed */
    c->next = pool->spare;
    pool->spare = c;
    pool->spare_n++;
}

/* ---- the arena ---- */

void mg_arena_init(struct mg_arena *a, struct mg_chunk_pool *pool, size_t budget)
{
    *a = (struct mg_arena){ .pool = pool, .budget = budget };
}

void mg_arena_deinit(struct mg_arena *a)
{
    struct mg_defer *d;
    struct mg_chunk *c;

    while ((d = a->defers)) { /* one that is added by a deferred function runs as well */
        a->defers = d->next;
        d->fn(d->arg);
    }
    while ((c = a->chunks)) {
        a->chunks = c->next;
        chunk_give(a, c);
    }
    mg_arena_init(a, a->pool, a->budget);
}

/* A block of its own goes second in line, so that the current chunk keeps its free part. */
static void *alloc_alone(struct mg_arena *a, size_t n)
{
    struct mg_chunk *c = chunk_take(a, sizeof(*c) + n);

    if (!c)
        return NULL;
    if (a->chunks) {
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = NULL;
        a->chunks = c;
    }
    return c->data;
}

void *mg_arena_slow(struct mg_arena *a, size_t n)
{
    struct mg_chunk *c;

    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + 15) & ~(size_t)15;
    if (n > CHUNK_ROOM / 2)
        return alloc_alone(a, n);
    c = chunk_take(a, MG_CHUNK_BYTES);
    if (!c)
        return NULL;
    c->next = a->chunks;
    a->chunks = c;
    a->at = c->data + n;
    a->end = c->data + CHUNK_ROOM;
    return c->data;
}

void *mg_arena_zalloc(struct mg_arena *a, size_t n)
{
    void *p = mg_arena_alloc(a, n);

    return p ? memset(p, 0, n) : NULL;
}

struct mg_str mg_arena_copy(struct mg_arena *a, const char *p, size_t n)
{
    char *copy = n < SIZE_MAX ? mg_arena_alloc(a, n + 1) : NULL;

    if (!copy)
        return mg_str(NULL, 0);
    if (n)
        memcpy(copy, p, n);
    copy[n] = 0;
    return mg_str(copy, n);
}

struct mg_str mg_arena_printf(struct mg_arena *a, const char *fmt, ...)
{
    char small[256], *p;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return mg_str(NULL, 0);
    if ((size_t)n < sizeof(small))
        return mg_arena_copy(a, small, (size_t)n);
    p = mg_arena_alloc(a, (size_t)n + 1);
    if (!p)
        return mg_str(NULL, 0);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return mg_str(p, (size_t)n);
}

void *mg_arena_grow(struct mg_arena *a, void *old, size_t old_n, size_t new_n)
{
    size_t had = (old_n + 15) & ~(size_t)15;
    char *end = (char *)old + had;
    void *p;

    if (old && new_n <= had)
        return old;
    if (old && end == a->at && new_n - had <= (size_t)(a->end - a->at)) {
        size_t more = (new_n - had + 15) & ~(size_t)15;

        if (more <= (size_t)(a->end - a->at)) {
            a->at += more;
            return old;
        }
    }
    p = mg_arena_alloc(a, new_n);
    if (p && old && old_n)
        memcpy(p, old, old_n);
    return p;
}

int mg_arena_defer(struct mg_arena *a, void (*fn)(void *), void *arg)
{
    struct mg_defer *d = mg_arena_alloc(a, sizeof(*d));

    if (!d)
        return MG_ENOMEM;
    *d = (struct mg_defer){ a->defers, fn, arg };
    a->defers = d;
    return 0;
}
