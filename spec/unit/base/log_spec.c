#include "unit.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sink.h"
#include <stdarg.h>
#include <syslog.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static char folder[256], path[300], moved[300];

static void configure(int level, bool json)
{
    struct mg_log_conf conf = { .level = level, .json = json, .path = path };
    struct mg_error err = { 0 };

    unlink(path);
    if (mg_log_configure(&conf, &err) < 0)
        fail_msg("%s", err.message);
    mg_clock_set(0, 1767323045678LL * 1000);
}

static void back_to_stderr(void)
{
    struct mg_log_conf conf = { .level = MG_LOG_INFO };

    assert_int_equal(mg_log_configure(&conf, NULL), 0);
    mg_clock_set(-1, -1);
}

static void expect_file(const char *name, const char *want)
{
    char *text = read_whole(name, NULL);

    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void a_text_line_has_time_level_message_and_fields(void **state)
{
    (void)state;
    configure(MG_LOG_INFO, false);
    mg_log_text_c("upstream", MG_STR("users"));
    mg_log_text_c("why", MG_STR("two words\n"));
    mg_log_number_c("status", 502);
    mg_log_boolean("retry", 5, 1);
    mg_logf(MG_LOG_WARN, "upstream: %s\n", "gone");
    mg_log_text_c("lost", MG_STR("with its line"));
    mg_logf(MG_LOG_DEBUG, "not written");
    mg_logf(MG_LOG_INFO, "next");
    back_to_stderr();
    expect_file(path, "2026-01-02T03:04:05.678Z warn  upstream: gone\\n upstream=users why=\"two words\\n\" status=502 retry=true\n"
                      "2026-01-02T03:04:05.678Z info  next\n");
}

static void a_json_line_is_one_object(void **state)
{
    struct mg_log_scope scope = { MG_STR("key-auth"), MG_STR("users"), MG_STR("0123"), NULL, NULL };

    (void)state;
    configure(MG_LOG_DEBUG, true);
    mg_log_set_scope(&scope);
    mg_log_text_c("path", MG_STR("C:\\x\"y\"\xff"));
    mg_log_number_c("rate", 0.5);
    mg_log(MG_LOG_ERROR, "it \"broke\"", 10);
    mg_log_set_scope(NULL);
    back_to_stderr();
    expect_file(path, "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"error\",\"message\":\"it \\\"broke\\\"\",\"plugin\":\"key-auth\","
                      "\"route\":\"users\",\"id\":\"0123\",\"path\":\"C:\\\\x\\\"y\\\"\\ufffd\",\"rate\":0.5}\n");
}

static void a_huge_line_is_cut_and_still_one_line(void **state)
{
    char *big = malloc(100000), *text;
    size_t n;

    (void)state;
    memset(big, '"', 100000);
    configure(MG_LOG_INFO, true);
    for (int i = 0; i < 5; i++)
        mg_log_text("field", 5, big, 3000);
    mg_log(MG_LOG_INFO, big, 100000);
    back_to_stderr();
    text = read_whole(path, &n);
    assert_true(n > 8000 && n < 20000);
    assert_int_equal(strcspn(text, "\n"), n - 1);
    assert_string_equal(text + n - 2, "}\n");
    free(text);
    free(big);
}

static void a_file_is_opened_anew(void **state)
{
    (void)state;
    configure(MG_LOG_INFO, false);
    mg_logf(MG_LOG_INFO, "one");
    assert_int_equal(rename(path, moved), 0);
    mg_logf(MG_LOG_INFO, "two");
    assert_int_equal(mg_log_reopen(NULL), 0);
    mg_logf(MG_LOG_INFO, "three");
    back_to_stderr();
    expect_file(moved, "2026-01-02T03:04:05.678Z info  one\n2026-01-02T03:04:05.678Z info  two\n");
    expect_file(path, "2026-01-02T03:04:05.678Z info  three\n");
    unlink(moved);
}

static void a_path_that_cannot_be_opened_changes_nothing(void **state)
{
    struct mg_log_conf conf = { .level = MG_LOG_DEBUG, .path = "/nonexistent/x.log" };
    struct mg_error err = { 0 };

    (void)state;
    assert_int_equal(mg_log_configure(&conf, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "/nonexistent/x.log"));
    assert_int_equal(mg_log_enabled(MG_LOG_DEBUG), 0);
    assert_int_equal(mg_log_enabled(MG_LOG_INFO), 1);
}

/* ---- sinks ---- */

static struct mg_sink *open_sink(const char *where)
{
    struct mg_error err = { 0 };
    struct mg_sink *s = mg_sink_ref(mg_str_c(where), &err);

    if (!s)
        fail_msg("%s", err.message);
    return s;
}

static void lines_arrive_whole_and_in_order(void **state)
{
    struct mg_sink *s;
    char line[100], *text, *p;
    size_t n;

    (void)state;
    unlink(path);
    s = open_sink(path);
    for (int i = 0; i < 20000; i++) {
        n = (size_t)snprintf(line, sizeof(line), "line %d of many", i);
        assert_int_equal(mg_sink_line(s, mg_str(line, n)), 0);
    }
    mg_sink_unref(s); /* what is under way keeps it */
    mg_sink_shutdown();
    p = text = read_whole(path, NULL);
    for (int i = 0; i < 20000; i++) {
        n = (size_t)snprintf(line, sizeof(line), "line %d of many\n", i);
        assert_memory_equal(p, line, n);
        p += n;
    }
    assert_int_equal(*p, 0);
    free(text);
}

/* In place of the C library's: what would have gone to /dev/log. */
static char syslogged[256];
static int syslog_priority;
void syslog(int priority, const char *fmt, ...)
{
    size_t n = strlen(syslogged);
    va_list args;

    syslog_priority = priority;
    va_start(args, fmt);
    vsnprintf(syslogged + n, sizeof(syslogged) - n, fmt, args);
    va_end(args);
    strncat(syslogged, "|", sizeof(syslogged) - strlen(syslogged) - 1);
}

static void a_syslog_sink_sends_a_message_for_each_line(void **state)
{
    struct mg_sink *s = open_sink("syslog");

    (void)state;
    mg_sink_line(s, MG_STR("one %s"));
    mg_sink_line(s, MG_STR(""));
    mg_sink_line(s, MG_STR("three"));
    mg_sink_unref(s);
    mg_sink_shutdown();
    assert_string_equal(syslogged, "one %s||three|");
    assert_int_equal(syslog_priority, LOG_INFO);
}

static void a_sink_is_shared_by_name(void **state)
{
    struct mg_sink *a = open_sink(path), *b = open_sink(path);

    (void)state;
    assert_ptr_equal(a, b);
    mg_sink_unref(a);
    mg_sink_unref(b);
}

static void *write_some(void *sink)
{
    for (int i = 0; i < 5000; i++)
        mg_sink_line(sink, MG_STR("abcdefghijklmnopqrstuvwxyz"));
    return NULL; /* what the thread holds is handed over at its end */
}

static void threads_write_without_mixing(void **state)
{
    struct mg_sink *s;
    pthread_t threads[4];
    char *text;
    size_t n;

    (void)state;
    unlink(path);
    s = open_sink(path);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, s), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    mg_sink_unref(s);
    mg_sink_shutdown();
    text = read_whole(path, &n);
    assert_int_equal(n, 4 * 5000 * 27);
    for (size_t i = 0; i < n; i += 27)
        assert_memory_equal(text + i, "abcdefghijklmnopqrstuvwxyz\n", 27);
    free(text);
}

static void a_sink_is_opened_anew(void **state)
{
    struct mg_sink *s;
    struct stat st;

    (void)state;
    unlink(path);
    s = open_sink(path);
    mg_sink_line(s, MG_STR("before"));
    mg_sink_shutdown();
    rename(path, moved);
    mg_sink_line(s, MG_STR("after"));
    mg_sink_reopen_all();
    mg_sink_shutdown();
    expect_file(moved, "before\n");
    expect_file(path, "after\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    mg_sink_unref(s);
    unlink(moved);
}

static void a_place_that_makes_no_sense_is_refused(void **state)
{
    struct mg_error err = { 0 };

    (void)state;
    assert_null(mg_sink_ref(MG_STR("relative/path"), &err));
    assert_non_null(strstr(err.message, "relative/path"));
    assert_null(mg_sink_ref(MG_STR("/nonexistent/file"), &err));
    assert_non_null(strstr(err.message, "No such file"));
    assert_null(mg_sink_ref(mg_str("/tmp/a\0b", 8), &err));
}


static void lines_that_cannot_be_written_are_counted(void **state)
{
    struct mg_log_conf conf = { .level = MG_LOG_INFO, .path = moved };
    uint64_t before = mg_sink_dropped();
    struct mg_sink *s = open_sink("/dev/full");
    char *text, *first;

    (void)state;
    assert_int_equal(mg_log_configure(&conf, NULL), 0);
    for (int i = 0; i < 3; i++) { /* the disk is full each time */
        mg_sink_line(s, MG_STR("a"));
        mg_sink_line(s, MG_STR("b"));
        mg_sink_flush_thread();
        mg_sink_shutdown();
    }
    mg_sink_unref(s);
    back_to_stderr();
    assert_int_equal(mg_sink_dropped() - before, 6);
    text = read_whole(moved, NULL);
    first = strstr(text, "No space left");
    assert_non_null(first);
    assert_null(strstr(first + 1, "No space left")); /* said once */
    free(text);
    unlink(moved);
}

static void a_sink_that_lags_drops_lines_and_never_blocks(void **state)
{
    uint64_t before = mg_sink_dropped();
    char fifo[320], line[1000], drain[65536];
    struct mg_sink *s;
    int fd, busy = 0;

    (void)state;
    snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fd = open(fifo, O_RDWR | O_NONBLOCK); /* nobody reads for now */
    assert_true(fd >= 0);
    s = open_sink(fifo);
    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 20000; i++) /* 20 MB, far more than may wait */
        busy += mg_sink_line(s, mg_str(line, sizeof(line))) == MG_EBUSY;
    assert_true(busy > 5000);
    assert_true(mg_sink_dropped() - before >= (uint64_t)busy);
    mg_sink_unref(s);
    mg_sink_flush_thread();
    for (int idle = 0; idle < 50;) { /* let it end */
        if (read(fd, drain, sizeof(drain)) > 0)
            idle = 0;
        else
            idle++, usleep(2000);
    }
    mg_sink_shutdown();
    close(fd);
    unlink(fifo);
}

static int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(moved, sizeof(moved), "%s/log.1", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_line_has_time_level_message_and_fields),
        cmocka_unit_test(a_json_line_is_one_object),
        cmocka_unit_test(a_huge_line_is_cut_and_still_one_line),
        cmocka_unit_test(a_file_is_opened_anew),
        cmocka_unit_test(a_path_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(lines_arrive_whole_and_in_order),
        cmocka_unit_test(a_syslog_sink_sends_a_message_for_each_line),
        cmocka_unit_test(a_sink_is_shared_by_name),
        cmocka_unit_test(threads_write_without_mixing),
        cmocka_unit_test(a_sink_is_opened_anew),
        cmocka_unit_test(a_place_that_makes_no_sense_is_refused),
        cmocka_unit_test(lines_that_cannot_be_written_are_counted),
        cmocka_unit_test(a_sink_that_lags_drops_lines_and_never_blocks),
    };

    return cmocka_run_group_tests_name("base/log", tests, set_up, tear_down);
}
