/* The memory of a VM: blocks keep their bytes over every resize, and come back. */
#include "script/heap.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { BLOCKS = 500 };

static void blocks_keep_their_bytes_while_others_grow_and_shrink(void **state)
{
    struct mg_heap h = { 0 };
    char *at[BLOCKS] = { 0 };
    size_t n[BLOCKS] = { 0 };
    uint32_t seed = 7;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        int i = (int)((seed = seed * 1664525 + 1013904223) >> 16) % BLOCKS;
        size_t to = (seed >> 8) % 1400, kept = n[i] < to ? n[i] : to;

        if (to == 0) {
            mg_heap_give(&h, at[i], n[i]);
            at[i] = NULL;
        } else {
            at[i] = mg_heap_resize(&h, at[i], n[i], to, false);
            assert_non_null(at[i]);
            assert_int_equal((uintptr_t)at[i] % MG_HEAP_STEP, 0);
            for (size_t k = 0; k < kept; k++)
                assert_int_equal(at[i][k], (char)i);
            memset(at[i], i, to);
        }
        n[i] = to;
    }
    for (int i = 0; i < BLOCKS; i++)
        mg_heap_give(&h, at[i], n[i]);
    mg_heap_free(&h);
}

static void a_block_given_back_is_the_next_of_its_size(void **state)
{
    struct mg_heap h = { 0 };
    char *first, *again;

    (void)state;
    first = mg_heap_resize(&h, NULL, 0, 40, false);
    mg_heap_give(&h, first, 40);
    again = mg_heap_resize(&h, NULL, 0, 48, false); /* 33 to 48 bytes are one size */
    if (h.chunks)                                   /* with a sanitizer all are malloc's */
        assert_ptr_equal(first, again);
    mg_heap_give(&h, again, 48);
    mg_heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes_while_others_grow_and_shrink),
        cmocka_unit_test(a_block_given_back_is_the_next_of_its_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
