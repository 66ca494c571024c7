/* coding_memory.h - the heap, as zlib and brotli ask for it. Inside http/: coding.c and encode.c. */
#ifndef MG_HTTP_CODING_MEMORY_H
#define MG_HTTP_CODING_MEMORY_H

#include "base/alloc.h"

static inline void *z_alloc(void *arg, unsigned n, unsigned size)
{
    (void)arg;
    return mg_calloc(n, size);
}
static inline void z_free(void *arg, void *p)
{
    (void)arg;
    mg_free(p);
}
static inline void *br_alloc(void *arg, size_t n)
{
    (void)arg;
    return mg_malloc(n);
}

#endif
