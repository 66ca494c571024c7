/* unit.h - what every unit spec includes first. */
#ifndef MG_UNIT_H
#define MG_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/alloc.h"
#include "base/str.h"

/* Have the nth allocation (mg_malloc and its kin) of this thread from now on fail; 0: none. */
static inline void fail_allocation(int nth) { mg_alloc_fail(nth); }
/* Run `code` with the first, the second, … allocation failing, until none was left to fail. */
#define each_allocation_fails(code) \
    do { \
        for (int nth_ = 1;; nth_++) { \
            int failed_; \
            fail_allocation(nth_); \
            code; \
            failed_ = mg_alloc_failed(); \
            fail_allocation(0); \
            if (!failed_) \
                break; \
            assert_true(nth_ < 100000); \
        } \
    } while (0)

#define assert_str_is(actual, literal) \
    do { \
        struct mg_str actual_ = (actual); \
        assert_int_equal(actual_.n, strlen(literal)); \
        assert_memory_equal(actual_.p ? actual_.p : "", literal, actual_.n); \
    } while (0)

/* A new folder under $TMPDIR; the caller's buffer has room for 256 bytes. */
static inline void temp_folder(char *path)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(path, 256, "%s/moongate-spec-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
}

/* The whole of a file, NUL-terminated, to be freed; NULL when it cannot be opened. */
static inline char *read_whole(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *p = NULL;
    long size;

    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    p = malloc((size_t)size + 1);
    assert_non_null(p);
    size = (long)fread(p, 1, (size_t)size, f);
    p[size] = 0;
    if (n)
        *n = (size_t)size;
    fclose(f);
    return p;
}

#endif
