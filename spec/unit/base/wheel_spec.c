#include "unit.h"
#include "base/clock.h"
#include "base/wheel.h"

struct alarm {
    struct mg_timer t;
    int fired;
    int64_t at;
};

static struct mg_wheel w;
static int64_t now;

static void note(struct mg_timer *t)
{
    struct alarm *a = mg_container(t, struct alarm, t);

    assert_false(mg_timer_armed(t));
    a->fired++;
    a->at = now;
}

static void start(int64_t at)
{
    now = at;
    mg_wheel_init(&w, now);
}

/* Millisecond by millisecond. */
static void pass(int64_t ms)
{
    while (ms--)
        mg_wheel_advance(&w, ++now);
}

static void timers_fire_never_early_and_at_most_two_ticks_late(void **state)
{
    static const int64_t after[] = { 0, 1, 7, 8, 9, 100, 1000, 8191, 8192, 8193, 20000, 75000 };

    (void)state;
    for (int64_t begin = 1000; begin < 1000 + MG_TICK_MS; begin++) {
        for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++) {
            struct alarm a = { 0 };

            start(begin);
            mg_timer_init(&a.t, note);
            mg_timer_arm(&w, &a.t, after[i]);
            assert_true(mg_timer_armed(&a.t));
            pass(after[i] + 2 * MG_TICK_MS);
            assert_int_equal(a.fired, 1);
            assert_true(a.at > begin + after[i]); /* clocks lose the fraction: the same millisecond may be early */
            assert_true(a.at <= begin + after[i] + 2 * MG_TICK_MS);
            assert_int_equal(w.armed, 0);
        }
    }
}

static void a_timer_moves_and_can_be_taken_back(void **state)
{
    struct alarm a = { 0 };

    (void)state;
    start(0);
    mg_timer_init(&a.t, note);
    mg_timer_disarm(&w, &a.t); /* harmless */
    mg_timer_arm(&w, &a.t, 100);
    mg_timer_arm(&w, &a.t, 500);
    assert_int_equal(w.armed, 1);
    pass(400);
    assert_int_equal(a.fired, 0);
    mg_timer_arm(&w, &a.t, 50); /* from now */
    pass(100);
    assert_int_equal(a.fired, 1);
    mg_timer_arm(&w, &a.t, 50);
    mg_timer_disarm(&w, &a.t);
    pass(100);
    assert_int_equal(a.fired, 1);
    assert_int_equal(w.armed, 0);
}

static void a_long_sleep_fires_all_that_is_due_and_nothing_else(void **state)
{
    struct alarm a[50] = { 0 };

    (void)state;
    start(5);
    for (int i = 0; i < 50; i++) {
        mg_timer_init(&a[i].t, note);
        mg_timer_arm(&w, &a[i].t, i * 1000);
    }
    now += 30500;
    mg_wheel_advance(&w, now);
    for (int i = 0; i < 50; i++)
        assert_int_equal(a[i].fired, i <= 30);
    assert_int_equal(w.armed, 19);
}

static struct alarm pair[2];

static void disarm_the_other(struct mg_timer *t)
{
    note(t);
    mg_timer_disarm(&w, &pair[t == &pair[0].t].t);
}

static void a_firing_timer_may_disarm_another_that_is_due_as_well(void **state)
{
    (void)state;
    start(0);
    for (int i = 0; i < 2; i++) {
        pair[i] = (struct alarm){ 0 };
        mg_timer_init(&pair[i].t, disarm_the_other);
        mg_timer_arm(&w, &pair[i].t, 10);
    }
    pass(100);
    assert_int_equal(pair[0].fired + pair[1].fired, 1);
    assert_int_equal(w.armed, 0);
}

static void again(struct mg_timer *t)
{
    note(t);
    mg_timer_arm(&w, t, 0);
}

static void a_timer_that_arms_itself_anew_fires_once_a_tick(void **state)
{
    struct alarm a = { 0 };

    (void)state;
    start(0);
    mg_timer_init(&a.t, again);
    mg_timer_arm(&w, &a.t, 0);
    now += 800;
    mg_wheel_advance(&w, now); /* a hundred ticks at once: it does not spin */
    assert_int_equal(a.fired, 1);
    pass(80);
    assert_int_equal(a.fired, 11);
}

static void the_next_wakeup_is_known(void **state)
{
    struct alarm a = { 0 };
    int64_t left;

    (void)state;
    start(1003);
    mg_timer_init(&a.t, note);
    assert_int_equal(mg_wheel_next_ms(&w, now), -1);
    mg_timer_arm(&w, &a.t, 300);
    left = mg_wheel_next_ms(&w, now);
    assert_true(left > 300 && left <= 300 + MG_TICK_MS);
    now += left - 1;
    mg_wheel_advance(&w, now);
    assert_int_equal(a.fired, 0);
    mg_wheel_advance(&w, ++now);
    assert_int_equal(a.fired, 1);
    mg_timer_arm(&w, &a.t, 60000);
    assert_int_equal(mg_wheel_next_ms(&w, now), 1000);
    now += 100000; /* overdue */
    assert_int_equal(mg_wheel_next_ms(&w, now), 0);
}

static void dates_are_those_of_http(void **state)
{
    (void)state;
    mg_clock_set(5, 784111777LL * 1000000 + 999999);
    assert_string_equal(mg_clock_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_true(mg_clock_monotonic_us() == 5);
    mg_clock_set(5, 1709210096LL * 1000000);
    assert_string_equal(mg_clock_http_date(), "Thu, 29 Feb 2024 12:34:56 GMT");
    mg_clock_set(-1, -1);
    assert_true(mg_clock_wall_us() > 1709210096LL * 1000000);
    assert_true(mg_clock_monotonic_us() <= mg_clock_monotonic_us());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_never_early_and_at_most_two_ticks_late),
        cmocka_unit_test(a_timer_moves_and_can_be_taken_back),
        cmocka_unit_test(a_long_sleep_fires_all_that_is_due_and_nothing_else),
        cmocka_unit_test(a_firing_timer_may_disarm_another_that_is_due_as_well),
        cmocka_unit_test(a_timer_that_arms_itself_anew_fires_once_a_tick),
        cmocka_unit_test(the_next_wakeup_is_known),
        cmocka_unit_test(dates_are_those_of_http),
    };

    return cmocka_run_group_tests_name("base/wheel", tests, NULL, NULL);
}
