/* heap.h - memory of one VM: small blocks by size class, large ones from malloc. Inside script/.
 *
 * Lua says how large a block is when it gives it back, so small ones need neither headers nor searching: a free list for each 16
 * bytes up to 512. Sweeping a heap of them costs no more than pushing on lists, where malloc would from time to time
 * stop to put neighbours together (milliseconds, after ten thousand frees). Chunks go back when the VM does. Built with
 * a sanitizer, every block is malloc's, so that it can look. One thread at a time. */
#ifndef MG_SCRIPT_HEAP_H
#define MG_SCRIPT_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum { MG_HEAP_STEP = 16, MG_HEAP_SMALL = 512, MG_HEAP_CLASSES = MG_HEAP_SMALL / MG_HEAP_STEP };

struct mg_heap {
    void *spare[MG_HEAP_CLASSES]; /* by (bytes - 1) / MG_HEAP_STEP */
    char *at;                     /* what is left of the newest chunk */
    size_t left;
    void *chunks;
};

/* As realloc, with both sizes told; new_n > 0. patient: out of memory is waited for. NULL: out of memory, `p` as it was. */
void *mg_heap_resize(struct mg_heap *h, void *p, size_t old_n, size_t new_n, bool patient);
void mg_heap_give(struct mg_heap *h, void *p, size_t n);
/* When all blocks have been given back. */
void mg_heap_free(struct mg_heap *h);

#endif
