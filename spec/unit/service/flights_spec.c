/* Who computes a value and who waits for it: exchanges of one worker, whose messages are delivered by its loop. */
#include "unit.h"
#include "../pdk/fake.h"
#include "service/flights.h"

enum { OTHERS = 3 };
static struct mg_exchange *others[OTHERS];
static struct mg_shared *shared;
static int kept;          /* calls of keep */
static bool was_current;
static int deliveries;

#undef LIT
#define KEY MG_STR("key")

static void delivered(struct mg_exchange *x)
{
    (void)x;
    deliveries++;
}

static int set_up(void **state)
{
    struct fake *f;

    fake_setup(state);
    f = *state;
    mg_exchange_woken = delivered;
    shared = mg_shared_open("flights", 7);
    assert_non_null(shared);
    for (int i = 0; i < OTHERS; i++) {
        others[i] = mg_exchange_new(&f->w, 1 << 20);
        assert_non_null(others[i]);
    }
    kept = deliveries = 0;
    return 0;
}

static void end(struct mg_exchange **x)
{
    if (*x) {
        mg_op_cancel_all(*x);
        mg_exchange_free(*x);
    }
    *x = NULL;
}

static int tear_down(void **state)
{
    for (int i = 0; i < OTHERS; i++)
        end(&others[i]);
    fake_teardown(state);
    mg_shared_reset();
    return 0;
}

static bool absent(void *arg)
{
    (void)arg;
    return false;
}

static bool landed(void *arg)
{
    (void)arg;
    return true;
}

static void keep(void *arg, bool is_current)
{
    (void)arg;
    kept++;
    was_current = is_current;
}

static enum mg_flight_role board(struct mg_exchange *x, struct mg_op **op)
{
    *op = NULL;
    return mg_flight_board(x, shared, KEY, absent, NULL, op);
}

static bool land(struct mg_exchange *x, const char *value)
{
    return mg_flight_land(x, shared, KEY, MG_CACHE_HIT, mg_str_c(value), 1000, keep, NULL);
}

static struct mg_flight_result *result(struct mg_exchange *x, const struct mg_op *op)
{
    struct mg_brought *b = mg_brought_find(x, &mg_flight_kind, op->id);

    return b ? mg_container(b, struct mg_flight_result, brought) : NULL;
}

/* Messages come by the loop. */
static void turn(struct fake *f, const struct mg_op *op)
{
    while (!op->has_ended)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
}

static void one_computes_and_each_that_waits_gets_a_copy(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *ops[OTHERS];

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER); /* it may ask again */
    for (int i = 0; i < OTHERS; i++)
        assert_int_equal(board(others[i], &ops[i]), MG_FLIGHT_WAITER);
    assert_false(land(others[0], "not its own"));
    assert_true(land(f->x, "value"));
    assert_int_equal(kept, 1);
    assert_true(was_current);
    for (int i = 0; i < OTHERS; i++) {
        turn(f, ops[i]);
        assert_int_equal(ops[i]->status, 0);
        assert_int_equal(result(others[i], ops[i])->state, MG_CACHE_HIT);
        assert_str_is(result(others[i], ops[i])->value, "value");
    }
    assert_false(land(f->x, "twice"));
    assert_int_equal(board(others[0], &op), MG_FLIGHT_OWNER); /* a new flight */
}

static void what_came_meanwhile_needs_no_flight(void **state)
{
    struct fake *f = *state;
    struct mg_op *op = NULL;

    assert_int_equal(mg_flight_board(f->x, shared, KEY, landed, NULL, &op), MG_FLIGHT_LANDED);
    assert_int_equal(board(others[0], &op), MG_FLIGHT_OWNER);
}

static void when_the_owner_goes_the_first_that_waits_computes(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *first, *second;

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_int_equal(board(others[0], &first), MG_FLIGHT_WAITER);
    assert_int_equal(board(others[1], &second), MG_FLIGHT_WAITER);
    end(&f->x);
    turn(f, first);
    assert_int_equal(result(others[0], first)->state, MG_CACHE_COMPUTE);
    assert_false(second->has_ended);
    assert_true(land(others[0], "its"));
    turn(f, second);
    assert_str_is(result(others[1], second)->value, "its");
}

static void a_flight_that_comes_to_nobody_goes_on(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *first, *second;

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_int_equal(board(others[0], &first), MG_FLIGHT_WAITER);
    assert_int_equal(board(others[1], &second), MG_FLIGHT_WAITER);
    end(&f->x);
    end(&others[0]); /* its message is under way */
    turn(f, second);
    assert_int_equal(result(others[1], second)->state, MG_CACHE_COMPUTE);
}

static void who_gives_up_waiting_gets_nothing(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *gone, *there;

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_int_equal(board(others[0], &gone), MG_FLIGHT_WAITER);
    assert_int_equal(board(others[1], &there), MG_FLIGHT_WAITER);
    mg_op_drop(gone);
    assert_true(land(f->x, "value"));
    turn(f, there);
    assert_null(others[0]->brought);
}

static void a_key_that_changed_meanwhile_is_given_and_not_kept(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *waits;

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_int_equal(board(others[0], &waits), MG_FLIGHT_WAITER);
    mg_flight_changed(shared, KEY);
    assert_true(land(f->x, "old"));
    assert_int_equal(kept, 1);
    assert_false(was_current);
    turn(f, waits);
    assert_str_is(result(others[0], waits)->value, "old");
    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    mg_flight_all_changed();
    assert_true(land(f->x, "old"));
    assert_false(was_current);
}

static void many_flights_of_one_exchange_take_nothing_from_its_arena(void **state)
{
    struct fake *f = *state;
    struct mg_op *op;
    size_t used;

    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
    assert_true(land(f->x, "value"));
    used = f->x->arena.used;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
        assert_true(land(f->x, "value"));
    }
    assert_int_equal(f->x->arena.used, used);
    assert_null(f->x->brought);
}

/* Whatever fails, the one that waits hears something, and the next flight is a whole one. */
static void every_allocation_may_fail(void **state)
{
    struct fake *f = *state;
    struct mg_op *op, *waits;
    enum mg_flight_role role;

    each_allocation_fails({
        role = board(f->x, &op);
        if (role == MG_FLIGHT_OWNER) {
            role = board(others[0], &waits);
            assert_true(role == MG_FLIGHT_WAITER || (role == MG_FLIGHT_NO_MEMORY && !waits));
            assert_true(land(f->x, "value"));
            for (int i = 0; waits && !waits->has_ended && i < 3; i++)
                uv_run(&f->w.loop.uv, UV_RUN_NOWAIT);
            if (waits)
                mg_op_drop(waits);
        } else {
            assert_int_equal(role, MG_FLIGHT_NO_MEMORY);
        }
    });
    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER);
}

static void owner_goes(struct fake *f)
{
    struct mg_exchange *a = mg_exchange_new(&f->w, 1 << 16);
    struct mg_exchange *b = a ? mg_exchange_new(&f->w, 1 << 16) : NULL;
    struct mg_op *op, *waits = NULL;

    if (b && board(a, &op) == MG_FLIGHT_OWNER)
        board(b, &waits);
    end(&a);
    for (int i = 0; waits && !waits->has_ended && i < 3; i++)
        uv_run(&f->w.loop.uv, UV_RUN_NOWAIT);
    end(&b);
    for (int i = 0; i < 3; i++)
        uv_run(&f->w.loop.uv, UV_RUN_NOWAIT);
}

static void when_an_owner_goes_every_allocation_may_fail(void **state)
{
    struct fake *f = *state;
    struct mg_op *op;

    each_allocation_fails(owner_goes(f));
    assert_int_equal(board(f->x, &op), MG_FLIGHT_OWNER); /* none is left behind */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_computes_and_each_that_waits_gets_a_copy), TEST(what_came_meanwhile_needs_no_flight),
        TEST(when_the_owner_goes_the_first_that_waits_computes), TEST(a_flight_that_comes_to_nobody_goes_on),
        TEST(who_gives_up_waiting_gets_nothing), TEST(a_key_that_changed_meanwhile_is_given_and_not_kept),
        TEST(many_flights_of_one_exchange_take_nothing_from_its_arena), TEST(every_allocation_may_fail),
        TEST(when_an_owner_goes_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
