/* alloc.h - the heap, with a way for tests to make it fail.
 *
 * What outlives an exchange comes from here. Running out of memory is behaviour that is tested, so
 * the gateway's own code allocates through these four functions:
 *
 *     mg_alloc_fail(nth);     // the nth allocation of this thread from now on fails; 0: none does
 */
#ifndef MG_BASE_ALLOC_H
#define MG_BASE_ALLOC_H

#include <stddef.h>

void *mg_malloc(size_t n);
void *mg_calloc(size_t count, size_t n);
void *mg_realloc(void *p, size_t n);
/* For the few places that cannot go on without (a foreign library's, at a start or a reload): asks again for a second. */
void *mg_realloc_patiently(void *p, size_t n);
void mg_free(void *p); /* NULL is fine; also takes what malloc gave */

/* Tests. */
void mg_alloc_fail(int nth);
int mg_alloc_failed(void); /* has the failure that was asked for happened? */

#endif
