#include "script/heap.h"
#include "base/alloc.h"
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 32 << 10 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SMALL = 0 };
#else
enum { SMALL = MG_HEAP_SMALL };
#endif

struct spare { struct spare *next; };
struct chunk { struct chunk *next; char bytes[]; };

static void *resize_large(void *p, size_t n, bool patient)
{
    return patient ? mg_realloc_patiently(p, n) : realloc(p, n);
}

static unsigned class_of(size_t n)
{
    return (unsigned)((n - 1) / MG_HEAP_STEP);
}

static bool grow(struct mg_heap *h, bool patient)
{
    struct chunk *c = resize_large(NULL, CHUNK_BYTES, patient);
    size_t head = MG_HEAP_STEP; /* keeps blocks aligned as malloc's are */

    if (!c)
        return false;
    c->next = h->chunks;
    h->chunks = c;
    h->at = (char *)c + head;
    h->left = CHUNK_BYTES - head;
    return true;
}

/* What is too little for this block is given away in blocks of the size that fits. */
static void use_up(struct mg_heap *h)
{
    if (h->left >= MG_HEAP_STEP)
        mg_heap_give(h, h->at, h->left);
    h->left = 0;
}

static void *take_small(struct mg_heap *h, size_t n, bool patient)
{
    unsigned k = class_of(n);
    size_t bytes = (k + 1) * (size_t)MG_HEAP_STEP;
    struct spare *s = h->spare[k];
    void *p;

    if (s) {
        h->spare[k] = s->next;
        return s;
    }
    if (h->left < bytes) {
        use_up(h);
        if (!grow(h, patient))
            return NULL;
    }
    p = h->at;
    h->at += bytes;
    h->left -= bytes;
    return p;
}

void mg_heap_give(struct mg_heap *h, void *p, size_t n)
{
    struct spare *s = p;

    if (!p)
        return;
    if (n > SMALL) {
        free(p);
        return;
    }
    s->next = h->spare[class_of(n)];
    h->spare[class_of(n)] = s;
}

void *mg_heap_resize(struct mg_heap *h, void *p, size_t old_n, size_t new_n, bool patient)
{
    void *q;

    if (new_n > SMALL && (!p || old_n > SMALL))
        return resize_large(p, new_n, patient);
    if (p && old_n <= SMALL && new_n <= SMALL && class_of(old_n) == class_of(new_n))
        return p;
    q = new_n > SMALL ? resize_large(NULL, new_n, patient) : take_small(h, new_n, patient);
    if (q && p) {
        memcpy(q, p, old_n < new_n ? old_n : new_n);
        mg_heap_give(h, p, old_n);
    }
    return q;
}

void mg_heap_free(struct mg_heap *h)
{
    for (struct chunk *c = h->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    memset(h, 0, sizeof *h);
}
