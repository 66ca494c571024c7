#include "unit.h"
#include "base/arena.h"

static void memory_is_aligned_and_apart(void **state)
{
    struct mg_arena a;
    char *last = NULL;

    (void)state;
    mg_arena_init(&a, NULL, 1 << 20);
    for (size_t n = 0; n < 200; n++) {
        char *p = mg_arena_alloc(&a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xee, n);
        if (n)
            assert_ptr_not_equal(p, last);
        last = n ? p : NULL;
    }
    mg_arena_deinit(&a);
}

static void nothing_is_taken_before_it_is_needed(void **state)
{
    struct mg_arena a;

    (void)state;
    mg_arena_init(&a, NULL, 100);
    assert_int_equal(a.used, 0);
    mg_arena_deinit(&a);
}

static void over_budget_allocation_fails_and_the_arena_lives_on(void **state)
{
    struct mg_arena a;

    (void)state;
    mg_arena_init(&a, NULL, 3 * MG_CHUNK_BYTES);
    assert_non_null(mg_arena_alloc(&a, 100));
    assert_null(mg_arena_alloc(&a, 3 * MG_CHUNK_BYTES));
    assert_null(mg_arena_alloc(&a, SIZE_MAX));
    assert_null(mg_arena_alloc(&a, SIZE_MAX - 20));
    assert_null(mg_arena_copy(&a, "x", SIZE_MAX).p);
    assert_non_null(mg_arena_alloc(&a, 100));
    for (int i = 0; i < 10000; i++)
        mg_arena_alloc(&a, 1000);
    assert_null(mg_arena_alloc(&a, 4000));
    assert_true(a.used <= a.budget);
    mg_arena_deinit(&a);
}

static void a_large_block_leaves_the_current_chunk_in_use(void **state)
{
    struct mg_arena a;
    char *first, *large, *second;

    (void)state;
    mg_arena_init(&a, NULL, 1 << 20);
    first = mg_arena_alloc(&a, 16);
    large = mg_arena_alloc(&a, 100000);
    second = mg_arena_alloc(&a, 16);
    assert_non_null(large);
    memset(large, 1, 100000);
    assert_ptr_equal(second, first + 16);
    mg_arena_deinit(&a);
}

static void growing_the_newest_stays_in_place(void **state)
{
    struct mg_arena a;
    char *p, *q;

    (void)state;
    mg_arena_init(&a, NULL, 1 << 20);
    p = mg_arena_grow(&a, NULL, 0, 10);
    memcpy(p, "0123456789", 10);
    assert_ptr_equal(mg_arena_grow(&a, p, 10, 1000), p);
    q = mg_arena_alloc(&a, 1);
    assert_true(q >= p + 1000);
    q = mg_arena_grow(&a, p, 1000, 2000); /* no longer the newest */
    assert_ptr_not_equal(q, p);
    assert_memory_equal(q, "0123456789", 10);
    q = mg_arena_grow(&a, q, 2000, 50000);
    assert_memory_equal(q, "0123456789", 10);
    memset(q, 2, 50000);
    mg_arena_deinit(&a);
}

static void copies_and_prints_end_with_nul(void **state)
{
    struct mg_arena a;
    struct mg_str s;
    char big[600];

    (void)state;
    mg_arena_init(&a, NULL, 1 << 20);
    s = mg_arena_copy(&a, "abc", 2);
    assert_str_is(s, "ab");
    assert_int_equal(s.p[2], 0);
    assert_str_is(mg_arena_printf(&a, "%d-%s", 42, "x"), "42-x");
    memset(big, 'b', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    s = mg_arena_printf(&a, "%s", big);
    assert_string_equal(s.p, big);
    assert_int_equal(s.n, 599);
    s = mg_arena_copy(&a, NULL, 0);
    assert_non_null(s.p);
    mg_arena_deinit(&a);
}

static char order[8];
static void note(void *arg) { strcat(order, arg); }

static void deferred_functions_run_last_in_first_out(void **state)
{
    struct mg_arena a;

    (void)state;
    order[0] = 0;
    mg_arena_init(&a, NULL, 1 << 20);
    assert_int_equal(mg_arena_defer(&a, note, "1"), 0);
    assert_int_equal(mg_arena_defer(&a, note, "2"), 0);
    mg_arena_deinit(&a);
    assert_string_equal(order, "21");
    mg_arena_deinit(&a); /* once */
    assert_string_equal(order, "21");
}

static void chunks_are_used_again_up_to_a_limit(void **state)
{
    struct mg_chunk_pool pool;
    struct mg_arena a;

    (void)state;
    mg_chunk_pool_init(&pool, 2);
    for (int round = 0; round < 3; round++) {
        mg_arena_init(&a, &pool, 1 << 20);
        for (int i = 0; i < 40; i++)
            memset(mg_arena_alloc(&a, 1000), 1, 1000);
        mg_arena_deinit(&a);
        assert_int_equal(pool.spare_n, 2);
    }
    mg_chunk_pool_deinit(&pool);
    assert_int_equal(pool.spare_n, 0);
}

static void use_everything(void)
{
    struct mg_arena a;

    mg_arena_init(&a, NULL, 1 << 20);
    mg_arena_zalloc(&a, 10);
    mg_arena_alloc(&a, 100000);
    if (mg_arena_defer(&a, note, "x") != 0)
        assert_true(mg_alloc_failed());
    mg_arena_copy(&a, "abc", 3);
    mg_arena_deinit(&a);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    order[0] = 0;
    each_allocation_fails({ use_everything(); order[0] = 0; });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_apart),
        cmocka_unit_test(nothing_is_taken_before_it_is_needed),
        cmocka_unit_test(over_budget_allocation_fails_and_the_arena_lives_on),
        cmocka_unit_test(a_large_block_leaves_the_current_chunk_in_use),
        cmocka_unit_test(growing_the_newest_stays_in_place),
        cmocka_unit_test(copies_and_prints_end_with_nul),
        cmocka_unit_test(deferred_functions_run_last_in_first_out),
        cmocka_unit_test(chunks_are_used_again_up_to_a_limit),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
