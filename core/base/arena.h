/* arena.h - memory that lives and dies with one thing (an exchange, a snapshot).
 *
 * Allocation bumps a pointer in a chunk; nothing is freed singly, so request code has no wrong frees.
 * An arena has a byte budget: over it allocation returns NULL and that one exchange is refused.
 * Chunks of the common size come from a free list (one for each worker, so no lock).
 *
 *     mg_arena_init(&a, &worker->chunks, 1 << 20);
 *     s = mg_arena_copy(&a, p, n);
 *     mg_arena_defer(&a, free_match_data, match);    // runs at deinit, last in first out
 *     mg_arena_deinit(&a);
 */
#ifndef MG_BASE_ARENA_H
#define MG_BASE_ARENA_H

#include "base/str.h"

enum { MG_CHUNK_BYTES = 8192 }; /* with its header */

struct mg_chunk;
struct mg_defer;

/* Spare chunks of MG_CHUNK_BYTES. Not shared between threads. */
struct mg_chunk_pool {
    struct mg_chunk *spare;
    size_t spare_n, spare_max; /* beyond spare_max, chunks go back to malloc */
};
void mg_chunk_pool_init(struct mg_chunk_pool *pool, size_t spare_max);
void mg_chunk_pool_deinit(struct mg_chunk_pool *pool);

struct mg_arena {
    char *at, *end;          /* free part of the current chunk */
    struct mg_chunk *chunks; /* newest first */
    struct mg_defer *defers;
    struct mg_chunk_pool *pool; /* may be NULL: malloc and free */
    size_t used, budget;     /* bytes taken from the system; the most that may be */
};
/* No memory is taken before the first allocation. pool is borrowed. */
void mg_arena_init(struct mg_arena *a, struct mg_chunk_pool *pool, size_t budget);
void mg_arena_deinit(struct mg_arena *a);

void *mg_arena_slow(struct mg_arena *a, size_t n);
/* n bytes aligned to 16, not cleared; NULL over budget or out of memory. */
static inline void *mg_arena_alloc(struct mg_arena *a, size_t n)
{
    char *p = a->at;
    size_t need = (n + 15) & ~(size_t)15;

    if ((size_t)(a->end - p) < need || need < n || !p)
        return mg_arena_slow(a, n);
    a->at = p + need;
    return p;
}
void *mg_arena_zalloc(struct mg_arena *a, size_t n);
/* A copy, NUL-terminated; p is NULL when there was no room. */
struct mg_str mg_arena_copy(struct mg_arena *a, const char *p, size_t n);
struct mg_str mg_arena_printf(struct mg_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Grow the newest allocation in place or move it; old may be NULL. */
void *mg_arena_grow(struct mg_arena *a, void *old, size_t old_n, size_t new_n);
/* 0, or MG_ENOMEM (then fn has not run and will not). */
int mg_arena_defer(struct mg_arena *a, void (*fn)(void *), void *arg);

#endif
