#include "pdk/fake.h"

#define KEY(k) LIT("test"), LIT(k)
static int64_t now_us = 1000000;
static void at_ms(int64_t ms) { mg_clock_set(now_us + ms * 1000, -1); }
static int setup(void **state)
{
    (void)state;
    at_ms(0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    mg_clock_set(-1, -1);
    return 0;
}

static void a_bucket_gives_its_tokens_and_refills_evenly(void **state)
{
    struct mg_quota q;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mg_bucket_take(KEY("b1"), 10, 1000, 1, &q), 0);
        assert_int_equal(q.allowed, 1);
        assert_int_equal(q.remaining, 9 - i);
    }
    mg_bucket_take(KEY("b1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 0);
    assert_int_equal(q.retry_ms, 100);
    assert_int_equal(q.reset_ms, 1000);
    assert_int_equal(q.limit, 10);
    at_ms(99);
    mg_bucket_take(KEY("b1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 0);
    assert_int_equal(q.retry_ms, 1);
    at_ms(100);
    mg_bucket_take(KEY("b1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 1);
    at_ms(350);
    mg_bucket_take(KEY("b1"), 10, 1000, 0, &q); /* looking takes nothing */
    assert_int_equal(q.remaining, 2);
    mg_bucket_take(KEY("b1"), 10, 1000, 3, &q);
    assert_int_equal(q.allowed, 0);
    mg_bucket_take(KEY("b1"), 10, 1000, -1, &q); /* given back */
    assert_int_equal(q.remaining, 3);
    mg_bucket_take(KEY("b1"), 10, 1000, -100, &q);
    assert_int_equal(q.remaining, 10);
}

static void a_third_of_a_token_a_millisecond_is_not_lost(void **state)
{
    struct mg_quota q;
    int taken = 0;

    (void)state;
    for (int ms = 0; ms <= 30000; ms++) {
        at_ms(ms);
        mg_bucket_take(KEY("b2"), 1, 3000, 1, &q);
        taken += (int)q.allowed;
    }
    assert_int_equal(taken, 11);
}

static void a_bucket_keeps_its_tokens_when_its_terms_change(void **state)
{
    struct mg_quota q;

    (void)state;
    mg_bucket_take(KEY("b3"), 100, 1000, 90, &q);
    mg_bucket_take(KEY("b3"), 100, 60000, 0, &q);
    assert_int_equal(q.remaining, 10);
    mg_bucket_take(KEY("b3"), 5, 60000, 0, &q);
    assert_int_equal(q.remaining, 5);
}

static void a_burst_leaves_a_sliding_window_one_window_after_it_came(void **state)
{
    struct mg_quota q;

    (void)state;
    for (int i = 0; i < 10; i++)
        mg_window_take(KEY("w1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 1);
    assert_int_equal(q.remaining, 0);
    mg_window_take(KEY("w1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 0);
    assert_int_equal(q.retry_ms, 1000);
    assert_int_equal(q.reset_ms, 1000);
    at_ms(999);
    mg_window_take(KEY("w1"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 0);
    assert_int_equal(q.retry_ms, 1);
    at_ms(1000);
    mg_window_take(KEY("w1"), 10, 1000, 10, &q);
    assert_int_equal(q.allowed, 1);
    at_ms(9000);
    mg_window_take(KEY("w1"), 10, 1000, 10, &q);
    assert_int_equal(q.allowed, 1);
}

static void a_sliding_window_weighs_the_last_one(void **state)
{
    struct mg_quota q;

    (void)state;
    for (int i = 0; i < 10; i++) { /* from 0 to 900 */
        at_ms(i * 100);
        mg_window_take(KEY("w2"), 10, 1000, 1, &q);
        assert_int_equal(q.allowed, 1);
    }
    mg_window_take(KEY("w2"), 10, 1000, 1, &q);
    assert_int_equal(q.retry_ms, 190); /* when a tenth of them have gone: at 1090 */
    at_ms(1089);
    mg_window_take(KEY("w2"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 0);
    at_ms(1090);
    mg_window_take(KEY("w2"), 10, 1000, 1, &q);
    assert_int_equal(q.allowed, 1);
    mg_window_take(KEY("w2"), 10, 1000, 1, &q);
    assert_int_equal(q.retry_ms, 90);
    at_ms(1450);
    mg_window_take(KEY("w2"), 10, 1000, 0, &q);
    assert_int_equal(q.remaining, 4); /* five of the last window, one of this */
    mg_window_take(KEY("w2"), 10, 1000, -1, &q);
    assert_int_equal(q.remaining, 5);
    assert_int_equal(q.reset_ms, 450);
}

static void a_sliding_window_never_asks_for_more_than_a_window(void **state)
{
    enum { WINDOW = 10000 };
    struct mg_quota q;
    int64_t at = 0, wait;
    uint32_t seed = 7;
    int refused = 0;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t cost;

        seed = seed * 1664525 + 1013904223;
        at += (seed >> 20) % 97 * ((seed >> 12) % 23 == 0 ? 50 : 1);
        cost = 1 + (seed >> 8) % 3;
        at_ms(at);
        mg_window_take(KEY("w3"), 100, WINDOW, cost, &q);
        if (q.allowed)
            continue;
        refused++;
        assert_in_range(q.retry_ms, 1, WINDOW);
        wait = q.retry_ms;
        at_ms(at + wait - 1);
        mg_window_take(KEY("w3"), 100, WINDOW, cost, &q);
        assert_int_equal(q.allowed, 0);
        at += wait;
        at_ms(at);
        mg_window_take(KEY("w3"), 100, WINDOW, cost, &q);
        assert_int_equal(q.allowed, 1);
    }
    assert_true(refused > 100);
    mg_window_take(KEY("w4"), 5, WINDOW, 6, &q); /* never */
    assert_int_equal(q.allowed, 0);
    assert_int_equal(q.retry_ms, WINDOW);
}

static void a_counter_is_forgotten_after_its_time(void **state)
{
    int64_t v;

    (void)state;
    assert_int_equal(mg_counter_add(KEY("c"), 2, 100, &v), 0);
    assert_int_equal(v, 2);
    at_ms(99);
    mg_counter_add(KEY("c"), 3, 100, &v);
    assert_int_equal(v, 5);
    at_ms(101);
    mg_counter_add(KEY("c"), 1, 100, &v);
    assert_int_equal(v, 1);
    assert_int_equal(mg_counter_add(KEY("c"), 1, 0, &v), MG_EINVAL);
    assert_int_equal(mg_counter_add(KEY("c"), 1, 100, NULL), 0);
}

static void spaces_and_keys_do_not_mix(void **state)
{
    int64_t v;

    (void)state;
    mg_counter_add(LIT("ab"), LIT("c"), 1, 1000, &v);
    mg_counter_add(LIT("a"), LIT("bc"), 1, 1000, &v);
    assert_int_equal(v, 1);
}

static void nonsense_is_refused(void **state)
{
    struct mg_quota q;

    (void)state;
    assert_int_equal(mg_bucket_take(KEY("n"), 10, 0, 1, &q), MG_EINVAL);
    assert_int_equal(mg_bucket_take(KEY("n"), -1, 1000, 1, &q), MG_EINVAL);
    assert_int_equal(mg_window_take(KEY("n"), 10, -5, 1, &q), MG_EINVAL);
    assert_int_equal(mg_bucket_take(KEY("n"), 0, 1000, 1, &q), 0);
    assert_int_equal(q.allowed, 0);
}

enum { THREADS = 4, TRIES = 20000, LIMIT = 30000 };
static void *hammer(void *arg)
{
    int64_t *taken = arg;
    struct mg_quota q;

    mg_clock_set(now_us, -1);
    for (int i = 0; i < TRIES; i++) {
        mg_bucket_take(KEY("many"), LIMIT, 60000, 1, &q);
        taken[0] += q.allowed;
        mg_window_take(KEY("many"), LIMIT, 60000, 1, &q);
        taken[1] += q.allowed;
        mg_counter_add(KEY("many"), 1, 60000, &taken[2]);
    }
    return NULL;
}

static void counting_is_exact_over_threads(void **state)
{
    pthread_t t[THREADS];
    int64_t taken[THREADS][3] = { { 0 } }, sum[2] = { 0 }, v;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, hammer, taken[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        sum[0] += taken[i][0];
        sum[1] += taken[i][1];
    }
    assert_int_equal(sum[0], LIMIT);
    assert_int_equal(sum[1], LIMIT);
    mg_counter_add(KEY("many"), 0, 60000, &v);
    assert_int_equal(v, THREADS * TRIES);
}

static void memory_is_bounded_by_forgetting_the_oldest(void **state)
{
    char key[64];
    int64_t v;

    (void)state;
    for (int i = 0; i < 400000; i++) {
        int n = snprintf(key, sizeof key, "some-long-client-supplied-key-%d", i);

        assert_int_equal(mg_counter_add(LIT("flood"), key, (size_t)n, 1, 3600000, &v), 0);
        assert_int_equal(v, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_bucket_gives_its_tokens_and_refills_evenly), T(a_third_of_a_token_a_millisecond_is_not_lost),
        T(a_bucket_keeps_its_tokens_when_its_terms_change), T(a_burst_leaves_a_sliding_window_one_window_after_it_came),
        T(a_sliding_window_weighs_the_last_one), T(a_sliding_window_never_asks_for_more_than_a_window),
        T(a_counter_is_forgotten_after_its_time), T(spaces_and_keys_do_not_mix), T(nonsense_is_refused),
        T(counting_is_exact_over_threads), T(memory_is_bounded_by_forgetting_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
