/* scratch.h - results that live until the thread's next call of the same function. */
#ifndef MG_BASE_SCRATCH_H
#define MG_BASE_SCRATCH_H

#include "base/str.h"

/* One for each function, _Thread_local and all zero to begin. Freed when the thread ends. */
struct mg_scratch {
    char *p;
    size_t room;
    bool is_listed;
    struct mg_scratch *next;
};
/* n bytes; NULL when out of memory (what was there is gone). */
char *mg_scratch_take(struct mg_scratch *s, size_t n);

#endif
