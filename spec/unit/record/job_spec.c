#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/alloc.h"
#include "base/clock.h"
#include "record/parts.h"

enum { THREADS = 4, EACH = 500 };

static const struct mg_record_conf all = { .sample = 1, .body_max = 100 };
static struct mg_head head = { .method_text = { "GET", 3 } };
static const struct mg_exchange some = { .req = &head, .host = { "a.example", 9 }, .path = { "/a/b", 4 } };

static struct mg_record_job *begin(struct mg_record_conf conf)
{
    struct mg_error err = { 0 };
    struct mg_record_job *job = mg_record_start(&conf, NULL, 0, &err);

    assert_non_null(job);
    return job;
}

/* One exchange of a worker, from its head to its document. */
static bool exchange(struct mg_record_job *job, const char *line)
{
    if (!mg_record_job_wants(job, &some))
        return false;
    mg_record_job_add(job, line, line ? strlen(line) : 0);
    mg_record_job_unref(job);
    return true;
}

/* All that is there; how many lines. */
static size_t take(bool *more)
{
    uint64_t recorded, dropped;
    struct mg_str out;
    size_t n = 0;

    assert_true(mg_record_take(&out, more, &recorded, &dropped));
    for (size_t i = 0; i < out.n; i++)
        n += out.p[i] == '\n';
    mg_free((void *)(uintptr_t)out.p);
    return n;
}

static void stop(void)
{
    bool more = true;

    mg_record_stop();
    while (more)
        take(&more);
}

static void there_is_one_at_a_time_and_then_another(void **state)
{
    struct mg_error err = { 0 };

    (void)state;
    begin(all);
    assert_null(mg_record_start(&all, NULL, 0, &err));
    assert_int_equal(err.code, MG_EBUSY);
    stop();
    begin(all);
    stop();
    assert_null(mg_record_start(&(struct mg_record_conf){ .sample = 2 }, NULL, 0, &err));
    assert_int_equal(err.code, MG_EINVAL);
}

static void filters_say_which_exchanges(void **state)
{
    struct mg_record_conf confs[] = { all, all, all, all };

    (void)state;
    confs[0].method = MG_STR("POST");
    confs[1].host = MG_STR("b.example");
    confs[2].path = MG_STR("/b");
    confs[3].path = MG_STR("/a");
    for (int i = 0; i < 4; i++) {
        struct mg_record_job *job = begin(confs[i]);

        assert_int_equal(exchange(job, "{}"), i == 3);
        stop();
    }
}

static void a_count_ends_it_whatever_is_under_way(void **state)
{
    struct mg_record_conf two = all;
    struct mg_record_job *job;
    bool more;

    (void)state;
    two.count = 2;
    job = begin(two);
    assert_true(mg_record_job_wants(job, &some)); /* this one goes on */
    assert_true(exchange(job, "{1}"));
    assert_true(exchange(job, NULL)); /* filtered by its end: it does not count */
    assert_true(exchange(job, "{2}"));
    assert_false(exchange(job, "{3}"));
    assert_int_equal(take(&more), 2);
    if (more)
        take(&more);
    assert_false(more);
    mg_record_job_add(job, "{late}", 6);
    mg_record_job_unref(job);
    assert_false(mg_record_take(&(struct mg_str){ 0 }, &more, &(uint64_t){ 0 }, &(uint64_t){ 0 }));
}

static void what_nobody_takes_ends_and_makes_room(void **state)
{
    struct mg_record_job *job;

    (void)state;
    mg_clock_set(1000000, -1);
    job = begin(all);
    assert_true(exchange(job, "{}"));
    mg_clock_set(1000000 + (MG_RECORD_IDLE_MS + 1) * 1000, -1);
    assert_false(exchange(job, "{}"));
    begin(all); /* the old one is gone */
    stop();
    mg_clock_set(-1, -1);
}

static void what_does_not_fit_is_dropped_and_counted(void **state)
{
    static char line[(1 << 20) + 1];
    uint64_t recorded, dropped;
    struct mg_record_job *job;
    struct mg_str out;
    bool more;

    (void)state;
    memset(line, 'x', sizeof line - 1);
    job = begin(all);
    for (int i = 0; i < 40; i++)
        exchange(job, line);
    assert_true(mg_record_take(&out, &more, &recorded, &dropped));
    assert_int_equal(recorded + dropped, 40);
    assert_int_equal(recorded, 31);
    mg_free((void *)(uintptr_t)out.p);
    stop();
}

static void every_allocation_of_its_beginning_may_fail(void **state)
{
    struct mg_error err = { 0 };
    struct mg_record_job *job = NULL;

    (void)state;
    for (int nth = 1; !job; nth++) {
        mg_alloc_fail(nth);
        job = mg_record_start(&all, NULL, 0, &err);
        mg_alloc_fail(0);
        assert_true(job || err.code == MG_ENOMEM);
    }
    stop();
}

static void work(void *arg)
{
    for (int i = 0; i < EACH; i++)
        exchange(arg, "{\"some\":\"document\"}");
}

static void workers_add_while_it_is_taken(void **state)
{
    struct mg_record_job *job = begin(all);
    uv_thread_t threads[THREADS];
    size_t n = 0;
    bool more = true;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(uv_thread_create(&threads[i], work, job), 0);
    while (n < THREADS * EACH)
        n += take(&more);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(n, THREADS * EACH);
    stop();
}

static void it_may_end_while_workers_add(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct mg_record_job *job = begin(all);
        uv_thread_t threads[THREADS];

        atomic_fetch_add(&job->refs, THREADS); /* as each worker has one */
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(uv_thread_create(&threads[i], work, job), 0);
        stop();
        for (int i = 0; i < THREADS; i++)
            uv_thread_join(&threads[i]);
        for (int i = 0; i < THREADS; i++)
            mg_record_job_unref(job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_one_at_a_time_and_then_another), cmocka_unit_test(filters_say_which_exchanges),
        cmocka_unit_test(a_count_ends_it_whatever_is_under_way), cmocka_unit_test(what_nobody_takes_ends_and_makes_room),
        cmocka_unit_test(what_does_not_fit_is_dropped_and_counted), cmocka_unit_test(every_allocation_of_its_beginning_may_fail),
        cmocka_unit_test(workers_add_while_it_is_taken), cmocka_unit_test(it_may_end_while_workers_add),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
