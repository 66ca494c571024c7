#include "pdk/fake.h"

static void a_handle_finds_its_exchange_while_it_lives(void **state)
{
    struct fake *f = *state;

    assert_ptr_equal(mg_handle(f->h), f->x);
    assert_int_equal(mg_handle_worker((uint64_t)(uintptr_t)f->h), 3);
    assert_true((uint64_t)(uintptr_t)f->h < UINT64_C(1) << 52);
}

static void a_kept_handle_is_stale_once_its_exchange_has_ended(void **state)
{
    struct fake *f = *state;
    struct mg_x *kept = f->h;
    struct mg_exchange *before = f->x;
    struct mg_str out;

    fake_end_exchange(f);
    assert_null(mg_handle(kept));
    assert_int_equal(mg_x_id(kept, &out), MG_EENDED);
    fake_new_exchange(f);
    assert_ptr_equal(f->x, before); /* the struct is used again, under another name */
    assert_null(mg_handle(kept));
    assert_ptr_equal(mg_handle(f->h), f->x);
}

static void a_used_struct_comes_back_cleared(void **state)
{
    struct fake *f = *state;

    f->x->began = 7;
    f->x->failure = "timeout";
    f->x->found.params_n = 3;
    f->x->body[1].gather = MG_GATHER_DONE;
    strcpy(f->x->wait.tried.text, "10.0.0.1:80");
    fake_end_exchange(f);
    fake_new_exchange(f);
    assert_int_equal(f->x->began, 0);
    assert_null(f->x->failure);
    assert_int_equal(f->x->found.params_n, 0);
    assert_int_equal(f->x->body[1].gather, MG_GATHER_NO);
    assert_string_equal(f->x->wait.tried.text, "");
}

static void a_handle_of_another_worker_finds_nothing_here(void **state)
{
    struct fake *f = *state;
    uint64_t v = (uint64_t)(uintptr_t)f->h;

    assert_null(mg_handle((struct mg_x *)(uintptr_t)(v ^ (UINT64_C(1) << 46))));
    assert_null(mg_handle(NULL));
    assert_null(mg_handle((struct mg_x *)(uintptr_t)UINT64_MAX));
}

static void many_exchanges_live_at_once(void **state)
{
    struct fake *f = *state;
    enum { N = 3000 };
    static struct mg_exchange *all[N];
    static struct mg_x *handles[N];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            all[i] = mg_exchange_new(&f->w, 4096);
            assert_non_null(all[i]);
            handles[i] = mg_handle_of(all[i]);
        }
        for (int i = 0; i < N; i++)
            assert_ptr_equal(mg_handle(handles[i]), all[i]);
        for (int i = 0; i < N; i++)
            mg_exchange_free(all[i]);
        for (int i = 0; i < N; i++)
            assert_null(mg_handle(handles[i]));
    }
}

static int posted;
static void on_post(struct mg_worker *w, void *arg)
{
    assert_ptr_equal(mg_this_worker, w);
    posted += *(int *)arg;
}

static void *post_from_elsewhere(void *arg)
{
    static int one = 1;

    (void)arg;
    for (int i = 0; i < 100; i++)
        mg_worker_post_index(3, on_post, &one);
    return NULL;
}

static void messages_from_other_threads_run_on_the_worker(void **state)
{
    struct fake *f = *state;
    pthread_t t;

    posted = 0;
    pthread_create(&t, NULL, post_from_elsewhere, NULL);
    while (posted < 100)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    pthread_join(t, NULL);
    assert_int_equal(posted, 100);
    assert_int_equal(mg_worker_post_index(9, on_post, NULL), MG_ENOENT);
}

static int cancelled;
static void on_cancel(struct mg_op *op)
{
    (void)op;
    cancelled++;
}

static void an_operation_that_ends_is_delivered_later_and_only_once(void **state)
{
    struct fake *f = *state;
    struct mg_op *op = mg_op_start(f->x, on_cancel);

    f->wakes = 0;
    cancelled = 0;
    mg_op_end(op, 5);
    mg_op_end(op, 6);
    assert_int_equal(f->wakes, 0);
    assert_int_equal(op->status, 5);
    fake_turn(f, 1);
    assert_int_equal(f->wakes, 1);
    assert_int_equal(cancelled, 0);
}

static void cancelling_all_stops_what_is_under_way(void **state)
{
    struct fake *f = *state;
    struct mg_op *ended = mg_op_start(f->x, on_cancel);

    cancelled = 0;
    mg_op_start(f->x, on_cancel);
    mg_op_end(ended, 0);
    f->wakes = 0;
    mg_op_cancel_all(f->x);
    assert_int_equal(cancelled, 1);
    uv_run(&f->w.loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(f->wakes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
        T(a_handle_finds_its_exchange_while_it_lives), T(a_kept_handle_is_stale_once_its_exchange_has_ended),
        T(a_used_struct_comes_back_cleared), T(a_handle_of_another_worker_finds_nothing_here), T(many_exchanges_live_at_once),
        T(messages_from_other_threads_run_on_the_worker), T(an_operation_that_ends_is_delivered_later_and_only_once),
        T(cancelling_all_stops_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
