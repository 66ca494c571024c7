#include "base/alloc.h"
#include <stdlib.h>
#include <time.h>

static _Thread_local int countdown, failed;

static int must_fail(void)
{
    if (__builtin_expect(countdown == 0, 1) || --countdown > 0)
        return 0;
    failed = 1;
    return 1;
}

void *mg_malloc(size_t n) { return must_fail() ? NULL : malloc(n); }
void *mg_calloc(size_t count, size_t n) { return must_fail() ? NULL : calloc(count, n); }
void *mg_realloc(void *p, size_t n) { return must_fail() ? NULL : realloc(p, n); }

void *mg_realloc_patiently(void *p, size_t n)
{
    const struct timespec pause = { .tv_nsec = 1000000 };
    void *q = mg_realloc(p, n);

    for (int i = 0; !q && n && i < 1000; i++) {
        nanosleep(&pause, NULL);
        q = mg_realloc(p, n);
    }
    return q;
}

void mg_free(void *p) { free(p); }

void mg_alloc_fail(int nth)
{
    countdown = nth;
    failed = 0;
}

int mg_alloc_failed(void) { return failed; }
