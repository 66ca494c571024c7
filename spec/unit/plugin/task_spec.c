/* Tasks and timers of plugins: when they run, what ends them, and that their argument is let go of once. */
#include "../pdk/fake.h"
#include "base/alloc.h"
#include "base/log.h"
#include "plugin/alarm.h"

/* What a function does, and what became of it. */
struct work {
    int64_t sleep_ms;          /* 0: it is done at once */
    bool begins_another;       /* in `release` */
    bool stops_timer;
    int timer;
    int begun, gone_on, released, rc, status;
};

static const struct mg_plugin plugin = { .abi = MG_PLUGIN_ABI, .size = sizeof plugin, .name = "fake" };
static struct mg_snapshot other;
static struct fake *f;
static int whose; /* the entry that sets timers */

static enum mg_verdict run(struct mg_x *task, void *arg, int op, int status)
{
    struct work *k = arg;

    if (op) {
        k->gone_on++;
        k->status = status;
        return MG_CONTINUE;
    }
    k->begun++;
    if (k->stops_timer)
        assert_int_equal(mg_timer_stop(k->timer), 0);
    if (!k->sleep_ms)
        return MG_CONTINUE;
    return mg_sleep(task, k->sleep_ms) > 0 ? MG_WAIT : MG_ERROR;
}

static void let_go(void *arg)
{
    struct work *k = arg;
    struct mg_task_order order = { .entry = &f->entries[0], .fn = run, .arg = k };

    k->released++;
    if (k->begins_another)
        k->rc = mg_task_begin(&f->w, &order, NULL);
}

static int setup(void **state)
{
    assert_int_equal(fake_setup(state), 0);
    f = *state;
    mg_log_capture(fake_quiet, NULL);
    fake_entry(f, &plugin, NULL)->snapshot = &f->snapshot;
    f->snapshot.drain_ms = 100;
    memset(&other, 0, sizeof other);
    other.slot = 1;
    f->w.snapshot = &f->snapshot;
    whose = 0;
    return 0;
}

static int teardown(void **state)
{
    mg_alloc_fail(0);
    mg_alarms_end(&f->w, NULL);
    mg_tasks_end(&f->w, NULL);
    assert_int_equal(f->w.tasks_n, 0);
    assert_int_equal(f->w.alarms_n, 0);
    assert_int_equal(f->w.pins[0], 0);
    return fake_teardown(state);
}

/* So much time passes, a millisecond a turn. */
static void pass(int ms)
{
    mg_ops_deliver(&f->w);
    while (ms-- > 0) {
        f->w.loop.ahead_ms++;
        mg_loop_time_passed(&f->w.loop);
        mg_wheel_advance(&f->w.loop.wheel, mg_loop_now_ms(&f->w.loop));
        mg_ops_deliver(&f->w);
    }
}

static struct mg_task *begin(struct work *k, struct mg_task_order more)
{
    struct mg_task *t = NULL;

    more.entry = &f->entries[0];
    more.fn = run;
    more.arg = k;
    more.release = let_go;
    assert_int_equal(mg_task_begin(&f->w, &more, &t), 0);
    assert_int_equal(k->begun, 0); /* never inside the call */
    return t;
}

static int set(struct work *k, int64_t ms, int flags, bool is_held)
{
    struct mg_alarm_order order = { .entry = &f->entries[whose], .fn = run, .arg = k, .release = let_go, .interval_ms = ms, .flags = flags,
                                    .is_held = is_held };

    k->timer = mg_alarm_set(&f->w, &order);
    return k->timer;
}

/* ---- tasks ---- */

static void a_task_runs_in_the_next_turn_and_is_let_go_of_at_its_end(void **state)
{
    struct work one = { 0 }, two = { .sleep_ms = 20 };

    (void)state;
    begin(&one, (struct mg_task_order){ 0 });
    begin(&two, (struct mg_task_order){ 0 });
    assert_int_equal(f->w.pins[0], 2);
    pass(0);
    assert_int_equal(one.begun + one.released, 2);
    assert_int_equal(two.begun, 1);
    assert_int_equal(two.released, 0);
    pass(60);
    assert_int_equal(two.gone_on, 1);
    assert_int_equal(two.status, 0);
    assert_int_equal(two.released, 1);
}

static void a_task_that_is_given_up_is_not_gone_on_with(void **state)
{
    struct work k = { .sleep_ms = 5 }, unborn = { 0 };
    struct mg_task *t = begin(&k, (struct mg_task_order){ 0 });

    (void)state;
    pass(0);
    mg_task_give_up(t);
    mg_task_give_up(t);
    pass(60);
    assert_int_equal(k.gone_on, 0);
    assert_int_equal(k.released, 1);
    mg_task_give_up(begin(&unborn, (struct mg_task_order){ 0 }));
    pass(5);
    assert_int_equal(unborn.begun, 0);
    assert_int_equal(unborn.released, 1);
}

static void a_handle_of_a_task_that_has_ended_says_so(void **state)
{
    struct work k = { 0 };
    struct mg_x *h = mg_handle_of(begin(&k, (struct mg_task_order){ 0 })->x);

    (void)state;
    assert_int_equal(mg_task_is_leaving(h), 0);
    assert_int_equal(mg_task_cancel(f->h), MG_EINVAL);
    pass(0);
    assert_int_equal(mg_task_cancel(h), MG_EENDED);
    assert_int_equal(mg_task_is_leaving(h), MG_EENDED);
}

static void a_task_is_cancelled_when_its_time_is_up(void **state)
{
    struct work k = { .sleep_ms = 100000 };

    (void)state;
    begin(&k, (struct mg_task_order){ .timeout_ms = 30 });
    pass(20);
    assert_int_equal(k.released, 0);
    pass(60);
    assert_int_equal(k.gone_on, 0);
    assert_int_equal(k.released, 1);
}

static void what_does_not_wait_gets_through_however_late_its_turn_comes(void **state)
{
    struct work k = { 0 };

    (void)state;
    begin(&k, (struct mg_task_order){ .timeout_ms = 1 });
    f->w.loop.ahead_ms += 100;
    mg_loop_time_passed(&f->w.loop);
    mg_wheel_advance(&f->w.loop.wheel, mg_loop_now_ms(&f->w.loop));
    assert_int_equal(k.released, 0);
    pass(0);
    assert_int_equal(k.begun, 1);
    assert_int_equal(k.released, 1);
}

static void one_of_a_snapshot_to_come_is_held_until_it_is_in_force(void **state)
{
    struct work k = { 0 }, first = { .sleep_ms = 10 };

    (void)state;
    f->w.snapshot = &other;
    begin(&k, (struct mg_task_order){ .is_workers = true, .is_held = true });
    begin(&first, (struct mg_task_order){ .is_workers = true, .phase = MG_ON_WORKER }); /* an on_worker does not wait for it */
    pass(50);
    assert_int_equal(k.begun, 0);
    assert_int_equal(first.released, 1);
    f->w.snapshot = &f->snapshot;
    mg_tasks_follow(&f->w);
    pass(0);
    assert_int_equal(k.begun, 1);
}

static void out_of_force_a_task_has_the_drain_and_a_workers_own_nothing(void **state)
{
    struct work k = { .sleep_ms = 60 }, longer = { .sleep_ms = 100000 }, own = { .sleep_ms = 60 };

    (void)state;
    begin(&k, (struct mg_task_order){ 0 });
    begin(&longer, (struct mg_task_order){ 0 });
    begin(&own, (struct mg_task_order){ .is_workers = true });
    pass(0);
    f->w.snapshot = &other;
    mg_tasks_follow(&f->w);
    pass(0);
    assert_int_equal(own.released, 1);
    assert_int_equal(k.released + longer.released, 0);
    pass(150);
    assert_int_equal(own.gone_on, 0);
    assert_int_equal(k.gone_on, 1);
    assert_int_equal(longer.gone_on, 0);
    assert_int_equal(longer.released, 1);
}

static void there_are_no_more_than_the_config_allows(void **state)
{
    struct work k = { .sleep_ms = 10 };
    struct mg_task_order order = { .entry = &f->entries[0], .fn = run, .arg = &k, .release = let_go };

    (void)state;
    f->snapshot.tasks.max = 2;
    assert_int_equal(mg_task_begin(&f->w, &order, NULL), 0);
    assert_int_equal(mg_task_begin(&f->w, &order, NULL), 0);
    assert_int_equal(mg_task_begin(&f->w, &order, NULL), MG_EBUSY);
    pass(50);
    assert_int_equal(k.released, 2);
    assert_int_equal(mg_task_begin(&f->w, &order, NULL), 0);
    mg_tasks_end(&f->w, NULL);
}

static void at_the_end_of_a_worker_all_are_gone_and_none_begins(void **state)
{
    struct work k = { .sleep_ms = 10, .begins_another = true };

    (void)state;
    begin(&k, (struct mg_task_order){ 0 });
    pass(0);
    mg_tasks_end(&f->w, NULL);
    assert_int_equal(k.released, 1);
    assert_int_equal(k.rc, MG_ECANCELED);
    assert_int_equal(f->w.tasks_n, 0);
}

/* ---- timers ---- */

static void a_timer_goes_off_once_or_again_and_again(void **state)
{
    struct work once = { 0 }, every = { 0 };

    (void)state;
    assert_true(set(&once, 20, 0, false) > 0);
    assert_true(set(&every, 20, MG_TIMER_EVERY, false) > once.timer);
    pass(500);
    assert_int_equal(once.begun, 1);
    assert_int_equal(once.released, 1);
    assert_true(every.begun >= 10);
    assert_int_equal(mg_alarm_stop(&f->w, once.timer), MG_ENOENT);
    assert_int_equal(mg_alarm_stop(&f->w, every.timer), 0);
    assert_int_equal(mg_alarm_stop(&f->w, every.timer), MG_ENOENT);
    assert_int_equal(every.released, 1);
}

static void a_timer_never_runs_twice_at_once(void **state)
{
    struct work k = { .sleep_ms = 200 };

    (void)state;
    set(&k, 20, MG_TIMER_EVERY, false);
    pass(150);
    assert_int_equal(k.begun, 1);
    pass(500);
    assert_int_equal(k.begun, k.gone_on + 1);
    assert_int_equal(mg_alarm_stop(&f->w, k.timer), 0);
    assert_int_equal(k.released, 0); /* its task runs on */
    pass(300);
    assert_int_equal(k.begun, k.gone_on);
    assert_int_equal(k.released, 1);
}

static void a_timer_may_be_stopped_by_its_own_task(void **state)
{
    struct work k = { .stops_timer = true };

    (void)state;
    set(&k, 10, MG_TIMER_EVERY, false);
    pass(200);
    assert_int_equal(k.begun, 1);
    assert_int_equal(k.released, 1);
}

static void timers_follow_their_snapshot(void **state)
{
    struct work old = { 0 }, next = { 0 }, held = { 0 };

    (void)state;
    set(&old, 10, MG_TIMER_EVERY, false);
    fake_entry(f, &plugin, NULL)->snapshot = &other;
    whose = 1;
    assert_int_equal(set(&next, 10, MG_TIMER_EVERY, false), MG_ECANCELED);
    assert_true(set(&held, 10, MG_TIMER_EVERY, true) > 0);
    pass(50);
    assert_true(old.begun > 0);
    assert_int_equal(held.begun, 0);
    f->w.snapshot = &other;
    mg_alarms_follow(&f->w);
    assert_int_equal(old.released, 1);
    pass(50);
    assert_true(held.begun > 0);
    mg_alarms_end(&f->w, &other);
    assert_int_equal(held.released, 1);
}

static void once_per_gateway_is_the_first_workers(void **state)
{
    struct work k = { 0 }, first = { 0 };

    (void)state;
    set(&k, 10, MG_TIMER_EVERY | MG_TIMER_ONCE_PER_GATEWAY, false);
    f->w.index = 0;
    set(&first, 10, MG_TIMER_EVERY | MG_TIMER_ONCE_PER_GATEWAY, false);
    f->w.index = 3; /* handles go by it */
    pass(100);
    assert_int_equal(k.begun, 0);
    assert_true(first.begun > 0);
    mg_alarms_end(&f->w, NULL);
}

static void a_timer_that_finds_no_room_goes_off_later(void **state)
{
    struct work k = { 0 }, holds = { .sleep_ms = 500 };

    (void)state;
    f->snapshot.tasks.max = 1;
    begin(&holds, (struct mg_task_order){ 0 });
    set(&k, 10, 0, false);
    pass(300);
    assert_int_equal(k.begun, 0);
    pass(1500);
    assert_int_equal(k.begun, 1);
    assert_int_equal(k.released, 1);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    struct work k = { 0 };
    struct mg_task_order order = { .entry = &f->entries[0], .from = f->x, .fn = run, .arg = &k, .release = let_go };
    int rc = MG_ENOMEM;

    (void)state;
    for (int nth = 1; rc == MG_ENOMEM; nth++) {
        mg_alloc_fail(nth);
        rc = mg_task_begin(&f->w, &order, NULL);
        mg_alloc_fail(0);
        assert_int_equal(f->w.tasks_n, rc == 0);
        assert_int_equal(f->w.pins[0], rc == 0);
        assert_int_equal(k.released, 0); /* it is still ours */
    }
    assert_int_equal(rc, 0);
    pass(0);
    assert_int_equal(k.released, 1);
    mg_alloc_fail(1);
    assert_int_equal(set(&k, 10, 0, false), MG_ENOMEM);
    mg_alloc_fail(0);
    assert_int_equal(f->w.alarms_n, 0);
    assert_int_equal(k.released, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_task_runs_in_the_next_turn_and_is_let_go_of_at_its_end), T(a_task_that_is_given_up_is_not_gone_on_with),
        T(a_handle_of_a_task_that_has_ended_says_so), T(a_task_is_cancelled_when_its_time_is_up),
        T(what_does_not_wait_gets_through_however_late_its_turn_comes), T(one_of_a_snapshot_to_come_is_held_until_it_is_in_force),
        T(out_of_force_a_task_has_the_drain_and_a_workers_own_nothing), T(there_are_no_more_than_the_config_allows),
        T(at_the_end_of_a_worker_all_are_gone_and_none_begins), T(a_timer_goes_off_once_or_again_and_again),
        T(a_timer_never_runs_twice_at_once), T(a_timer_may_be_stopped_by_its_own_task), T(timers_follow_their_snapshot),
        T(once_per_gateway_is_the_first_workers), T(a_timer_that_finds_no_room_goes_off_later), T(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
