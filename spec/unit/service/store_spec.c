/* The store: what is answered is on the disk, and when the disk or the memory is short those who asked are told. */
#include "unit.h"
#include "../pdk/fake.h"
#include "base/log.h"
#include "service/store.h"
#include <sqlite3.h>
#include <signal.h>
#include <sys/resource.h>

#undef LIT
static char folder[256], path[300];
static struct mg_store *store;

static void delivered(struct mg_exchange *x)
{
    (void)x;
}

static int set_up(void **state)
{
    struct mg_error err = { 0 };

    fake_setup(state);
    mg_exchange_woken = delivered;
    mg_log_capture(fake_quiet, NULL);
    temp_folder(folder);
    snprintf(path, sizeof path, "%s/state.db", folder);
    store = mg_store_open(path, &err);
    if (!store)
        fail_msg("%s", err.message);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const endings[] = { "", "-wal", "-shm", "-journal" };
    char name[320];

    mg_store_unref(store);
    fake_teardown(state);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    rmdir(folder);
    return 0;
}

/* Ask and wait; the status. *out: the job, which lives as long as the exchange. */
static int ask(struct fake *f, struct mg_store_job like, const struct mg_store_job **out)
{
    struct mg_op *op = mg_op_start(f->x, NULL);
    struct mg_store_job *job;
    struct mg_brought *b;
    int rc;

    assert_non_null(op);
    like.brought.op = op->id;
    like.worker = f->w.index;
    like.x = f->h;
    like.space = MG_STR("spec/space");
    like.now_ms = like.now_ms ? like.now_ms : mg_clock_wall_us() / 1000;
    job = mg_store_job_new(&like);
    if (!job) {
        mg_op_drop(op);
        return MG_ENOMEM;
    }
    rc = mg_store_do(store, job);
    if (rc != 0) {
        job->brought.free(&job->brought);
        mg_op_drop(op);
        return rc;
    }
    while (!op->has_ended)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    rc = op->status;
    b = mg_brought_find(f->x, &mg_store_kind, op->id);
    if (out)
        *out = b ? mg_container(b, struct mg_store_job, brought) : NULL;
    mg_op_done(op);
    return rc;
}

static int put(struct fake *f, const char *key, struct mg_str value)
{
    return ask(f, (struct mg_store_job){ .what = MG_STORE_PUT, .when = MG_SHARED_SET, .key = mg_str_c(key),
                                         .value = { .kind = MG_TEXT, .text = value } }, NULL);
}

static const struct mg_store_job *get(struct fake *f, const char *key)
{
    const struct mg_store_job *job = NULL;
    int rc = ask(f, (struct mg_store_job){ .what = MG_STORE_GET, .key = mg_str_c(key) }, &job);

    assert_true(rc >= 0 || rc == MG_ENOENT);
    assert_non_null(job);
    assert_int_equal(job->got.kind == MG_NIL, rc == MG_ENOENT);
    return job;
}

static void reopen(void)
{
    struct mg_error err = { 0 };

    mg_store_unref(store);
    store = mg_store_open(path, &err);
    if (!store)
        fail_msg("%s", err.message);
}

static void what_was_answered_is_there_when_it_is_opened_again(void **state)
{
    struct fake *f = *state;

    assert_true(put(f, "k", mg_str("a\0b", 3)) >= 0);
    reopen();
    assert_int_equal(get(f, "k")->got.kind, MG_TEXT);
    assert_int_equal(get(f, "k")->got.text.n, 3);
    assert_memory_equal(get(f, "k")->got.text.p, "a\0b", 3);
    assert_int_equal(get(f, "other")->got.kind, MG_NIL);
}

static void one_path_is_one_store(void **state)
{
    struct mg_error err = { 0 };
    struct mg_store *again = mg_store_open(path, &err);

    (void)state;
    assert_ptr_equal(again, store);
    mg_store_unref(again);
}

static void rows_come_in_order_behind_a_key(void **state)
{
    struct fake *f = *state;
    const struct mg_store_job *job = NULL;

    for (int i = 0; i < 9; i++) {
        char key[16];

        snprintf(key, sizeof key, "r%d", i);
        assert_true(put(f, key, mg_str_c(key)) >= 0);
    }
    assert_true(ask(f, (struct mg_store_job){ .what = MG_STORE_LIST, .key = MG_STR("r"), .after = MG_STR("r3"), .limit = 2 }, &job) >= 0);
    assert_int_equal(job->rows_n, 2);
    assert_str_is(job->rows[0].key, "r4");
    assert_str_is(job->rows[1].value.text, "r5");
}

/* Another process holds the file, so the first batch waits. */
static void too_many_at_once_are_refused(void **state)
{
    struct fake *f = *state;
    static char big[1 << 20];
    int rc = 0, asked = 0;
    sqlite3 *holder;

    assert_int_equal(sqlite3_open(path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    while (rc == 0 && asked < 64) {
        struct mg_store_job like = { .what = MG_STORE_PUT, .when = MG_SHARED_SET, .worker = f->w.index, .x = f->h,
                                     .space = MG_STR("s"), .key = MG_STR("k"), .value = { .kind = MG_TEXT, .text = { big, sizeof big - 8 } } };
        struct mg_store_job *job = mg_store_job_new(&like);

        assert_non_null(job);
        rc = mg_store_do(store, job);
        if (rc != 0)
            job->brought.free(&job->brought);
        asked++;
    }
    assert_int_equal(rc, MG_EBUSY);
    sqlite3_close(holder);
    mg_store_unref(store); /* waits for what is queued; nobody wants the answers */
    store = NULL;
}

/* As a full disk: no file may grow past what it has. */
static void a_full_disk_is_an_error_for_who_asked_and_later_writes_work_again(void **state)
{
    struct fake *f = *state;
    struct rlimit was, now;
    static char value[200000];
    int rc = 0;

    assert_true(put(f, "before", MG_STR("kept")) >= 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    now = was;
    now.rlim_cur = 300000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    for (int i = 0; i < 20 && rc >= 0; i++) {
        char key[16];

        snprintf(key, sizeof key, "big%d", i);
        rc = put(f, key, mg_str(value, sizeof value));
    }
    assert_int_equal(rc, MG_EIO);
    assert_str_is(get(f, "before")->got.text, "kept");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(put(f, "after", MG_STR("room")) >= 0);
    reopen();
    assert_str_is(get(f, "before")->got.text, "kept");
    assert_str_is(get(f, "after")->got.text, "room");
}

/* A store in memory does all on this thread. */
static void every_allocation_of_a_job_may_fail(void **state)
{
    struct fake *f = *state;
    struct mg_error err = { 0 };

    mg_store_unref(store);
    store = mg_store_open(NULL, &err);
    assert_non_null(store);
    fake_end_exchange(f);
    for (int nth = 1, failed = 1; failed; nth++) {
        int rc;

        fake_new_exchange(f);
        assert_true(put(f, "warm", MG_STR("1")) >= 0); /* the exchange's own memory is there */
        fail_allocation(nth);
        rc = put(f, "a", MG_STR("1"));
        if (rc >= 0)
            rc = ask(f, (struct mg_store_job){ .what = MG_STORE_LIST, .key = MG_STR(""), .limit = 10 }, NULL);
        failed = mg_alloc_failed();
        fail_allocation(0);
        assert_true(rc >= 0 || rc == MG_ENOMEM);
        fake_end_exchange(f);
    }
}

static void a_store_opens_or_says_that_there_is_no_memory(void **state)
{
    struct mg_error err = { 0 };
    struct mg_store *s;

    (void)state;
    mg_store_unref(store);
    each_allocation_fails({
        s = mg_store_open(path, &err);
        if (!s)
            assert_int_equal(err.code, MG_ENOMEM);
        mg_store_unref(s);
    });
    store = NULL;
}

static void what_is_no_database_is_refused_and_left_alone(void **state)
{
    struct mg_error err = { 0 };
    char other[320];
    FILE *file;

    (void)state;
    snprintf(other, sizeof other, "%s/other", folder);
    file = fopen(other, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is a text", file);
    fclose(file);
    assert_int_equal(mg_store_check(other, &err), MG_ECONF);
    assert_non_null(strstr(err.message, other));
    assert_null(mg_store_open(other, &err));
    unlink(other);
    assert_int_equal(mg_store_check("/nonexistent/folder/db", &err), MG_ECONF);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_answered_is_there_when_it_is_opened_again), TEST(one_path_is_one_store), TEST(rows_come_in_order_behind_a_key),
        TEST(too_many_at_once_are_refused), TEST(a_full_disk_is_an_error_for_who_asked_and_later_writes_work_again),
        TEST(every_allocation_of_a_job_may_fail), TEST(a_store_opens_or_says_that_there_is_no_memory),
        TEST(what_is_no_database_is_refused_and_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
