#include "unit.h"
#include "base/clock.h"
#include "net/loop.h"

struct alarm {
    struct mg_timer t;
    struct mg_loop *loop;
    int fired;
    int64_t at_ms;
};

static int64_t now_ms(void) { return mg_clock_monotonic_us() / 1000; }

static void note(struct mg_timer *t)
{
    struct alarm *a = mg_container(t, struct alarm, t);

    a->fired++;
    a->at_ms = now_ms();
}

static void set(struct mg_loop *loop, struct alarm *a, int64_t after_ms)
{
    *a = (struct alarm){ .loop = loop };
    mg_timer_init(&a->t, note);
    uv_update_time(&loop->uv);
    mg_loop_arm(loop, &a->t, after_ms);
}

static void timers_fire_in_time_whatever_their_order(void **state)
{
    static const int64_t after[] = { 60000, 300, 20, 120 }; /* each is earlier than what the loop would sleep for */
    struct alarm a[4];
    struct mg_loop loop;
    int64_t begin;

    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    begin = now_ms();
    for (int i = 0; i < 4; i++)
        set(&loop, &a[i], after[i]);
    while (!a[1].fired)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(a[i].fired, 1);
        assert_true(a[i].at_ms - begin >= after[i]);
        assert_true(a[i].at_ms - begin < after[i] + 250); /* a busy machine */
    }
    assert_int_equal(a[0].fired, 0);
    mg_loop_disarm(&loop, &a[0].t);
    mg_loop_deinit(&loop);
}

static void a_loop_with_nothing_armed_sleeps(void **state)
{
    struct mg_loop loop;
    struct alarm a;

    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    set(&loop, &a, 5);
    uv_run(&loop.uv, UV_RUN_DEFAULT); /* ends by itself: the tick timer is off again */
    assert_int_equal(a.fired, 1);
    assert_true(loop.wake_tick == UINT64_MAX);
    usleep(30000);
    set(&loop, &a, 5); /* after a sleep the wheel catches up */
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(a.fired, 1);
    mg_loop_deinit(&loop);
}

static void rearm(struct mg_timer *t)
{
    struct alarm *a = mg_container(t, struct alarm, t);

    if (++a->fired < 3)
        mg_loop_arm(a->loop, t, 10);
}

static void a_timer_may_arm_itself_anew(void **state)
{
    struct mg_loop loop;
    struct alarm a;

    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    set(&loop, &a, 1);
    a.t.fire = rearm;
    uv_run(&loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(a.fired, 3);
    mg_loop_deinit(&loop);
}

static void blocks_are_used_again(void **state)
{
    struct mg_block *all[100];
    struct mg_loop loop;

    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    for (int i = 0; i < 100; i++)
        assert_non_null(all[i] = mg_block_take(&loop));
    for (int i = 0; i < 100; i++)
        mg_block_give(&loop, all[i]);
    assert_true(loop.blocks_n > 0 && loop.blocks_n < 100); /* not all are kept */
    fail_allocation(1);
    while (loop.blocks_n)
        free(mg_block_take(&loop));
    assert_null(mg_block_take(&loop));
    fail_allocation(0);
    mg_loop_deinit(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_time_whatever_their_order),
        cmocka_unit_test(a_loop_with_nothing_armed_sleeps),
        cmocka_unit_test(a_timer_may_arm_itself_anew),
        cmocka_unit_test(blocks_are_used_again),
    };

    return cmocka_run_group_tests_name("net/loop", tests, NULL, NULL);
}
