#include "unit.h"
#include <pthread.h>
#include "base/clock.h"
#include "service/shared.h"

#define LIT(literal) literal, sizeof(literal) - 1
enum { THREADS = 4, ROUNDS = 5000 };

static struct mg_shared *fresh(const char *name)
{
    struct mg_shared *d = mg_shared_open(name, strlen(name));

    assert_non_null(d);
    mg_shared_flush(d);
    return d;
}

static int teardown(void **state)
{
    (void)state;
    mg_clock_set(-1, -1);
    mg_shared_reset();
    return 0;
}

static void set(struct mg_shared *d, const char *key, const char *value)
{
    assert_true(mg_shared_set_text(d, MG_SHARED_SET, key, strlen(key), value, strlen(value), 0) >= 0);
}

static bool has(struct mg_shared *d, const char *key)
{
    return mg_shared_ttl(d, key, strlen(key)) >= 0;
}

static void a_name_is_one_dictionary_and_a_bad_name_is_none(void **state)
{
    (void)state;
    assert_ptr_equal(fresh("a"), mg_shared_open("a", 1));
    assert_ptr_not_equal(fresh("a"), fresh("b"));
    assert_null(mg_shared_open("", 0));
    assert_null(mg_shared_open("a b", 3));
}

static void every_kind_of_value_comes_back_as_it_went_in(void **state)
{
    struct mg_shared *d = fresh("a");
    struct mg_datum v;

    (void)state;
    assert_int_equal(mg_shared_set_text(d, MG_SHARED_SET, LIT("k"), LIT("a\0b"), 0), 0);
    assert_int_equal(mg_shared_get(d, LIT("k"), &v), 0);
    assert_int_equal(v.kind, MG_TEXT);
    assert_int_equal(v.text.n, 3);
    assert_memory_equal(v.text.p, "a\0b", 3);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_SET, LIT("k"), 2.5, 0), 0);
    assert_int_equal(mg_shared_get(d, LIT("k"), &v), 0);
    assert_int_equal(v.kind, MG_DOUBLE);
    assert_true(v.number == 2.5);
    assert_int_equal(mg_shared_set_boolean(d, MG_SHARED_SET, LIT("k"), 7, 0), 0);
    assert_int_equal(mg_shared_get(d, LIT("k"), &v), 0);
    assert_int_equal(v.kind, MG_BOOLEAN);
    assert_true(v.number == 1);
    assert_int_equal(mg_shared_delete(d, LIT("k")), 1);
    assert_int_equal(mg_shared_delete(d, LIT("k")), 0);
    assert_int_equal(mg_shared_get(d, LIT("k"), &v), 0);
    assert_int_equal(v.kind, MG_NIL);
    assert_int_equal(mg_shared_get(d, "", 0, &v), MG_EINVAL);
}

static void add_wants_absence_and_replace_presence(void **state)
{
    struct mg_shared *d = fresh("a");

    (void)state;
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_REPLACE, LIT("k"), 1, 0), MG_ENOENT);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_ADD, LIT("k"), 1, 0), 0);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_ADD, LIT("k"), 2, 0), MG_EEXIST);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_REPLACE, LIT("k"), 3, 0), 0);
}

static void what_is_past_its_time_is_absent_but_may_be_read_as_stale(void **state)
{
    struct mg_shared *d = fresh("a");
    struct mg_datum v;

    (void)state;
    mg_clock_set(1000000, -1);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_SET, LIT("k"), 1, 100), 0);
    assert_int_equal(mg_shared_ttl(d, LIT("k")), 100);
    mg_clock_set(1099999, -1);
    assert_int_equal(mg_shared_ttl(d, LIT("k")), 1);
    mg_clock_set(1100000, -1);
    assert_int_equal(mg_shared_ttl(d, LIT("k")), MG_ENOENT);
    mg_shared_get(d, LIT("k"), &v);
    assert_int_equal(v.kind, MG_NIL);
    assert_int_equal(mg_shared_get_stale(d, LIT("k"), &v), 1);
    assert_int_equal(v.kind, MG_DOUBLE);
    assert_int_equal(mg_shared_expire(d, LIT("k"), 100), MG_ENOENT);
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_ADD, LIT("k"), 2, 100), 0);
    assert_int_equal(mg_shared_expire(d, LIT("k"), 0), 0);
    assert_int_equal(mg_shared_ttl(d, LIT("k")), 0);
}

static void incr_begins_at_init_only_when_absent_or_past_its_time(void **state)
{
    struct mg_shared *d = fresh("a");
    double sum = 0;

    (void)state;
    mg_clock_set(1000000, -1);
    assert_int_equal(mg_shared_incr(d, LIT("k"), 1, 0, 0, 0, &sum), MG_ENOENT);
    assert_int_equal(mg_shared_incr(d, LIT("k"), 1, 1, 10, 50, &sum), 0);
    assert_true(sum == 11);
    assert_int_equal(mg_shared_incr(d, LIT("k"), 2, 1, 10, 5000, &sum), 0);
    assert_true(sum == 13);
    mg_clock_set(1050000, -1);
    assert_int_equal(mg_shared_incr(d, LIT("k"), 1, 1, 0, 0, &sum), 0);
    assert_true(sum == 1);
    set(d, "t", "x");
    assert_int_equal(mg_shared_incr(d, LIT("t"), 1, 1, 0, 0, &sum), MG_EINVAL);
}

static void a_list_is_taken_from_at_both_ends_and_ends_with_its_last_item(void **state)
{
    struct mg_shared *d = fresh("a");
    struct mg_datum v;

    (void)state;
    assert_int_equal(mg_shared_push_text(d, MG_SHARED_BACK, LIT("l"), LIT("b")), 1);
    assert_int_equal(mg_shared_push_number(d, MG_SHARED_BACK, LIT("l"), 3), 2);
    assert_int_equal(mg_shared_push_text(d, MG_SHARED_FRONT, LIT("l"), LIT("a")), 3);
    assert_int_equal(mg_shared_length(d, LIT("l")), 3);
    assert_int_equal(mg_shared_get(d, LIT("l"), &v), MG_EINVAL);
    assert_int_equal(mg_shared_pop(d, MG_SHARED_FRONT, LIT("l"), &v), 0);
    assert_str_is(v.text, "a");
    assert_int_equal(mg_shared_pop(d, MG_SHARED_BACK, LIT("l"), &v), 0);
    assert_true(v.number == 3);
    assert_int_equal(mg_shared_pop(d, MG_SHARED_BACK, LIT("l"), &v), 0);
    assert_str_is(v.text, "b");
    assert_int_equal(mg_shared_pop(d, MG_SHARED_BACK, LIT("l"), &v), 0);
    assert_int_equal(v.kind, MG_NIL);
    assert_int_equal(mg_shared_length(d, LIT("l")), 0);
    assert_false(has(d, "l"));
    set(d, "t", "x");
    assert_int_equal(mg_shared_push_text(d, MG_SHARED_BACK, LIT("t"), LIT("x")), MG_EINVAL);
}

static void a_full_dictionary_lets_the_least_recently_used_go_and_says_so(void **state)
{
    struct mg_shared *d = fresh("lru");
    struct mg_shared_size size = { MG_STR("lru"), 16384 };
    struct mg_shared_stat s;
    char value[1000] = { 0 }, key[16];
    int gave_way = 0, n = 0;

    (void)state;
    mg_shared_configure(&size, 1);
    for (; gave_way == 0; n++) {
        if (n > 0) { /* k0 is used all the time */
            struct mg_datum v;

            mg_shared_get(d, LIT("k0"), &v);
            assert_int_equal(v.kind, MG_TEXT);
        }
        snprintf(key, sizeof key, "k%d", n);
        gave_way = mg_shared_set_text(d, MG_SHARED_SET, key, strlen(key), value, sizeof value, 0);
        assert_true(n < 100);
    }
    assert_int_equal(gave_way, 1);
    assert_true(n > 12);
    assert_true(has(d, "k0"));
    assert_false(has(d, "k1"));
    assert_true(has(d, "k2"));
    mg_shared_stats(d, &s);
    assert_int_equal(s.capacity, 16384);
    assert_true(s.bytes <= 16384);
    assert_int_equal(s.items, n - 1);
    assert_int_equal(s.evictions, 1);
    assert_int_equal(mg_shared_set_text(d, MG_SHARED_SET, LIT("big"), (char[16384]){ 0 }, 16384, 0), MG_ETOOBIG);
    assert_true(has(d, "k2"));
}

static void another_capacity_keeps_what_fits(void **state)
{
    struct mg_shared *d = fresh("resized");
    struct mg_shared_size small = { MG_STR("resized"), 16384 }, large = { MG_STR("resized"), 65536 };
    struct mg_shared_stat before, after;
    char value[1000] = { 0 }, key[16];

    (void)state;
    mg_shared_configure(&large, 1);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(mg_shared_set_text(d, MG_SHARED_SET, key, strlen(key), value, sizeof value, 0), 0);
    }
    mg_shared_stats(d, &before);
    mg_shared_configure(NULL, 0); /* the config does not name it any more: 1m */
    mg_shared_stats(d, &after);
    assert_int_equal(after.items, 40);
    assert_int_equal(after.bytes, before.bytes);
    mg_shared_configure(&small, 1);
    mg_shared_stats(d, &after);
    assert_true(after.bytes <= 16384 && after.bytes > 14000);
    assert_true(has(d, "k39"));
    assert_false(has(d, "k0"));
}

static void keys_are_listed_up_to_a_limit_without_those_past_their_time(void **state)
{
    struct mg_shared *d = fresh("a");
    const struct mg_str *keys;

    (void)state;
    mg_clock_set(1000000, -1);
    set(d, "one", "1");
    set(d, "two", "2");
    assert_int_equal(mg_shared_set_number(d, MG_SHARED_SET, LIT("gone"), 1, 1), 0);
    mg_clock_set(1001000, -1);
    assert_int_equal(mg_shared_keys(d, 0, &keys), 2);
    assert_int_equal(keys[0].n, 3);
    assert_int_equal(mg_shared_keys(d, 1, &keys), 1);
    mg_shared_flush(d);
    assert_int_equal(mg_shared_keys(d, 0, &keys), 0);
}

static void running_out_of_memory_changes_nothing(void **state)
{
    struct mg_shared *d = fresh("memory");
    struct mg_shared_stat s;

    (void)state;
    each_allocation_fails({
        mg_shared_flush(d);
        if (mg_shared_set_text(d, MG_SHARED_SET, LIT("k"), LIT("v"), 0) == 0)
            assert_true(has(d, "k"));
        mg_shared_push_text(d, MG_SHARED_BACK, LIT("l"), LIT("v"));
        mg_shared_incr(d, LIT("n"), 1, 1, 0, 0, NULL);
    });
    mg_shared_flush(d);
    mg_shared_stats(d, &s);
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.items, 0);
}

static void *count(void *arg)
{
    struct mg_shared *d = arg;
    char key[16];

    for (int i = 0; i < ROUNDS; i++) {
        struct mg_datum v;

        mg_shared_incr(d, LIT("n"), 1, 1, 0, 0, NULL);
        mg_shared_push_number(d, i & 1, LIT("list"), i);
        snprintf(key, sizeof key, "k%d", i % 500);
        mg_shared_set_text(d, MG_SHARED_SET, key, strlen(key), key, strlen(key), i % 3);
        mg_shared_get(d, key, strlen(key), &v);
        if (v.kind == MG_TEXT)
            assert_memory_equal(v.text.p, key, strlen(key));
        if (i % 100 == 0)
            mg_shared_delete(d, key, strlen(key));
    }
    return NULL;
}

static void counts_and_lists_are_exact_whoever_else_is_at_work(void **state)
{
    struct mg_shared *d = fresh("threads");
    struct mg_shared_size size = { MG_STR("threads"), 64 << 20 };
    pthread_t threads[THREADS];
    struct mg_datum v;

    (void)state;
    mg_shared_configure(&size, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, d), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    mg_shared_get(d, LIT("n"), &v);
    assert_true(v.number == THREADS * ROUNDS);
    assert_int_equal(mg_shared_length(d, LIT("list")), THREADS * ROUNDS);
}

static void *fill(void *arg)
{
    struct mg_shared *d = arg;
    char key[48], value[200] = { 0 };

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "%p%d", (void *)&value, i);
        mg_shared_set_text(d, MG_SHARED_SET, key, strlen(key), value, sizeof value, 0);
        if (i % 100 == 0)
            mg_shared_push_number(d, MG_SHARED_BACK, LIT("list"), i);
    }
    return NULL;
}

static void the_bound_holds_under_threads_that_fill(void **state)
{
    struct mg_shared *d = fresh("bound");
    struct mg_shared_size size = { MG_STR("bound"), 100000 };
    struct mg_shared_stat s;
    pthread_t threads[THREADS];

    (void)state;
    mg_shared_configure(&size, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fill, d), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    mg_shared_stats(d, &s);
    assert_true(s.bytes <= 100000);
    assert_true(s.items > 10);
    assert_true(s.evictions > 0);
    mg_shared_flush(d);
    mg_shared_stats(d, &s);
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.items, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_name_is_one_dictionary_and_a_bad_name_is_none, teardown),
        cmocka_unit_test_teardown(every_kind_of_value_comes_back_as_it_went_in, teardown),
        cmocka_unit_test_teardown(add_wants_absence_and_replace_presence, teardown),
        cmocka_unit_test_teardown(what_is_past_its_time_is_absent_but_may_be_read_as_stale, teardown),
        cmocka_unit_test_teardown(incr_begins_at_init_only_when_absent_or_past_its_time, teardown),
        cmocka_unit_test_teardown(a_list_is_taken_from_at_both_ends_and_ends_with_its_last_item, teardown),
        cmocka_unit_test_teardown(a_full_dictionary_lets_the_least_recently_used_go_and_says_so, teardown),
        cmocka_unit_test_teardown(another_capacity_keeps_what_fits, teardown),
        cmocka_unit_test_teardown(keys_are_listed_up_to_a_limit_without_those_past_their_time, teardown),
        cmocka_unit_test_teardown(running_out_of_memory_changes_nothing, teardown),
        cmocka_unit_test_teardown(counts_and_lists_are_exact_whoever_else_is_at_work, teardown),
        cmocka_unit_test_teardown(the_bound_holds_under_threads_that_fill, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
