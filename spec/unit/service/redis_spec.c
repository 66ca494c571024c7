/* Replies, keys, kinds of commands, and options of the Redis client. (Connections: spec/e2e/test_redis*.py.) */
#include "unit.h"
#include "service/redis_parts.h"

static struct mg_redis_reply *read_all(const char *p, size_t n, size_t piece, size_t max, int *rc)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *r = mg_redis_reply_new(max);

    *rc = 0;
    for (size_t at = 0; at < n && *rc == 0; at += piece) {
        assert_int_equal(mg_redis_reader_feed(reader, p + at, piece < n - at ? piece : n - at), 0);
        *rc = mg_redis_reader_next(reader, r);
    }
    mg_redis_reader_free(reader);
    return r;
}
#define READ(text, piece, max, rc) read_all(text, sizeof(text) - 1, piece, max, rc)

static void a_reply_is_read_however_it_is_cut(void **state)
{
    static const char text[] = "*5\r\n$3\r\na\r\n\r\n:-42\r\n*2\r\n+OK\r\n-ERR no\r\n$-1\r\n*-1\r\n";
    static const int kinds[] = { MG_REDIS_ARRAY, MG_REDIS_STRING, MG_REDIS_INTEGER, MG_REDIS_ARRAY, MG_REDIS_STATUS, MG_REDIS_ERROR,
                                 MG_REDIS_NIL, MG_REDIS_NIL };
    static const int next[] = { 8, 2, 3, 6, 5, 6, 7, 8 };

    (void)state;
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        int rc;
        struct mg_redis_reply *r = READ(text, piece, 1 << 20, &rc);

        assert_int_equal(rc, 1);
        assert_int_equal(r->n, 8);
        for (size_t i = 0; i < r->n; i++) {
            assert_int_equal(r->nodes[i].kind, kinds[i]);
            assert_int_equal(r->nodes[i].next, next[i]);
        }
        assert_str_is(mg_redis_reply_text(r, 1), "a\r\n");
        assert_int_equal(r->nodes[2].integer, -42);
        assert_str_is(mg_redis_reply_text(r, 4), "OK");
        assert_str_is(mg_redis_reply_text(r, 5), "ERR no");
        mg_redis_reply_free(r);
    }
}

static void a_reply_becomes_the_same_bytes_again(void **state)
{
    static const char text[] = "*3\r\n$3\r\na\r\n\r\n*2\r\n+OK\r\n:7\r\n$0\r\n\r\n";
    char *out = NULL;
    size_t n = 0, room = 0;
    int rc;
    struct mg_redis_reply *r = READ(text, 1000, 0, &rc);

    (void)state;
    assert_int_equal(rc, 1);
    assert_int_equal(mg_redis_reply_resp(r, 0, &out, &n, &room), 0);
    assert_int_equal(n, sizeof text - 1);
    assert_memory_equal(out, text, n);
    mg_free(out);
    mg_redis_reply_free(r);
}

static void what_is_no_reply_is_refused(void **state)
{
    static const char *const bad[] = { "!x\r\n", "$x\r\n", "*99999999999999\r\n", "$-2\r\nab\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int rc;
        struct mg_redis_reply *r = read_all(bad[i], strlen(bad[i]), 1000, 1 << 20, &rc);

        assert_int_equal(rc, MG_EPROTO);
        mg_redis_reply_free(r);
    }
}

static void a_reply_over_its_limit_is_refused_before_it_is_all_there(void **state)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *r = mg_redis_reply_new(10000);
    char piece[4096];
    int rc = 0;

    (void)state;
    memset(piece, 'x', sizeof piece);
    assert_int_equal(mg_redis_reader_feed(reader, "$536870912\r\n", 12), 0);
    for (int i = 0; i < 100 && rc == 0; i++) {
        assert_int_equal(mg_redis_reader_feed(reader, piece, sizeof piece), 0);
        rc = mg_redis_reader_next(reader, r);
    }
    assert_int_equal(rc, MG_ETOOBIG);
    mg_redis_reader_free(reader);
    mg_redis_reply_clear(r);
    reader = mg_redis_reader_new();
    assert_int_equal(mg_redis_reader_feed(reader, "*1000000\r\n", 10), 0);
    for (int i = rc = 0; i < 10000 && rc == 0; i++) {
        assert_int_equal(mg_redis_reader_feed(reader, ":1\r\n", 4), 0);
        rc = mg_redis_reader_next(reader, r);
    }
    assert_int_equal(rc, MG_ETOOBIG);
    assert_true(r->n * sizeof *r->nodes <= 10000);
    mg_redis_reader_free(reader);
    mg_redis_reply_free(r);
}

static void a_line_without_end_is_refused(void **state)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *r = mg_redis_reply_new(1 << 30);
    char piece[8192];
    int rc = 0;

    (void)state;
    memset(piece, 'x', sizeof piece);
    piece[0] = '+';
    for (int i = 0; i < 20 && rc == 0; i++) {
        assert_int_equal(mg_redis_reader_feed(reader, piece, sizeof piece), 0);
        rc = mg_redis_reader_next(reader, r);
        piece[0] = 'x';
    }
    assert_int_equal(rc, MG_EPROTO);
    mg_redis_reader_free(reader);
    mg_redis_reply_free(r);
}

static void a_dropped_reply_is_read_and_not_kept(void **state)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *r = mg_redis_reply_new(100), *next = mg_redis_reply_new(100);

    (void)state;
    r->is_dropped = true;
    assert_int_equal(mg_redis_reader_feed(reader, "*2\r\n$3\r\nabc\r\n", 13), 0);
    assert_int_equal(mg_redis_reader_next(reader, r), 0);
    assert_int_equal(mg_redis_reader_feed(reader, ":1\r\n+next\r\n", 11), 0);
    assert_int_equal(mg_redis_reader_next(reader, r), 1);
    assert_int_equal(r->n, 0);
    assert_int_equal(mg_redis_reader_next(reader, next), 1);
    assert_str_is(mg_redis_reply_text(next, 0), "next");
    mg_redis_reader_free(reader);
    mg_redis_reply_free(r);
    mg_redis_reply_free(next);
}

static void short_of_memory_a_reply_is_refused_and_nothing_leaks(void **state)
{
    static const char text[] = "*3\r\n$3\r\nabc\r\n:1\r\n*1\r\n$5\r\nhello\r\n";

    (void)state;
    each_allocation_fails({
        struct mg_redis_reader *reader = mg_redis_reader_new();
        struct mg_redis_reply *r = reader ? mg_redis_reply_new(1 << 20) : NULL;

        if (r && mg_redis_reader_feed(reader, text, sizeof text - 1) == 0) {
            int rc = mg_redis_reader_next(reader, r);

            assert_true(rc == 1 || rc == MG_ENOMEM);
        }
        mg_redis_reply_free(r);
        mg_redis_reader_free(reader);
    });
}

/* ---- commands ---- */

static int words(const char *line, struct mg_str *argv)
{
    struct mg_str rest = mg_str_c(line);
    int n = 0;

    while (mg_str_next(&rest, ' ', &argv[n]))
        n++;
    return n;
}

static void keys_have_the_slots_of_the_specification(void **state)
{
    (void)state;
    assert_int_equal(mg_redis_slot(MG_STR("123456789")), 0x31c3);
    assert_int_equal(mg_redis_slot(MG_STR("foo")), 12182);
    assert_int_equal(mg_redis_slot(MG_STR("")), 0);
    assert_int_equal(mg_redis_slot(MG_STR("{user1000}.following")), mg_redis_slot(MG_STR("user1000")));
    assert_int_equal(mg_redis_slot(MG_STR("foo{}{bar}")), 8363); /* an empty tag is none */
    assert_int_equal(mg_redis_slot(MG_STR("foo{{bar}}zap")), mg_redis_slot(MG_STR("{bar")));
    assert_int_equal(mg_redis_slot(MG_STR("foo{bar}{zap}")), mg_redis_slot(MG_STR("bar")));
    assert_int_not_equal(mg_redis_slot(MG_STR("foo{bar")), mg_redis_slot(MG_STR("bar")));
}

static void the_first_key_of_a_command_is_found(void **state)
{
    static const struct { const char *line; int at; } cases[] = {
        { "GET k", 1 }, { "set k v", 1 }, { "PING", 0 }, { "EVAL s 2 a b", 3 }, { "EVAL s 0", 0 }, { "evalsha s 1", 0 },
        { "BITOP AND d a b", 2 }, { "OBJECT ENCODING k", 2 }, { "XREAD COUNT 2 STREAMS s 0", 4 }, { "XREAD STREAMS", 0 },
        { "XREADGROUP GROUP g c BLOCK 5 STREAMS s >", 7 }, { "ZUNION 2 a b", 2 }, { "BLMPOP 1 2 a b LEFT", 3 }, { "MIGRATE h p k 0 1", 3 },
        { "SCAN 0", 0 }, { "XGROUP CREATE s g $", 2 }, { "PUBLISH c m", 0 }, { "GET", 0 },
    };
    struct mg_str argv[16];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mg_redis_key_index(argv, words(cases[i].line, argv)), cases[i].at);
}

static void commands_that_wait_or_change_the_connection_are_known(void **state)
{
    static const struct { const char *line; enum mg_redis_sort sort; int64_t block_ms; } cases[] = {
        { "GET k", MG_REDIS_PLAIN, 0 }, { "blpop q 1.5", MG_REDIS_BLOCKS, 1500 }, { "BLPOP q 0", MG_REDIS_BLOCKS, 0 },
        { "BLMPOP 2 1 q LEFT", MG_REDIS_BLOCKS, 2000 }, { "XREAD BLOCK 70 STREAMS s $", MG_REDIS_BLOCKS, 70 },
        { "XREAD STREAMS block 0", MG_REDIS_PLAIN, 0 }, { "WAIT 1 30", MG_REDIS_BLOCKS, 30 }, { "BLPOP q x", MG_REDIS_BLOCKS, -1 },
        { "select 1", MG_REDIS_STATEFUL, 0 }, { "MULTI", MG_REDIS_STATEFUL, 0 }, { "CLIENT REPLY OFF", MG_REDIS_STATEFUL, 0 },
        { "CLIENT LIST", MG_REDIS_PLAIN, 0 }, { "PSUBSCRIBE a", MG_REDIS_STATEFUL, 0 },
    };
    struct mg_str argv[16];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int n = words(cases[i].line, argv);

        assert_int_equal(mg_redis_sort_of(argv, n), cases[i].sort);
        if (cases[i].sort == MG_REDIS_BLOCKS)
            assert_int_equal(mg_redis_block_ms(argv, n), cases[i].block_ms);
    }
}

/* ---- options ---- */

/* "url=redis://…|db=1". */
static struct mg_redis *open_with(const char *line, char *error)
{
    struct mg_str rest = mg_str_c(line), item, options[32];
    size_t n = 0;

    while (mg_str_next(&rest, '|', &item)) {
        const char *eq = memchr(item.p, '=', item.n);

        options[2 * n] = mg_str(item.p, (size_t)(eq - item.p));
        options[2 * n + 1] = mg_str(eq + 1, (size_t)(item.p + item.n - eq - 1));
        n++;
    }
    return mg_redis_open(options, n, error, 256);
}

static void options_are_understood(void **state)
{
    char error[256];
    struct mg_redis *r = open_with("url=redis://al%69ce:p%40ss@[::1]:7000/2|timeout=250ms|reply_max=1m|name=gw", error);

    (void)state;
    assert_non_null(r);
    assert_string_equal(r->hosts[0].name, "::1");
    assert_int_equal(r->hosts[0].port, 7000);
    assert_str_is(r->login.user, "alice");
    assert_str_is(r->login.password, "p@ss");
    assert_int_equal(r->db, 2);
    assert_int_equal(r->timeout_ms, 250);
    assert_int_equal(r->reply_max, 1 << 20);
    assert_null(r->tls);
    mg_redis_close(r);
    r = open_with("url=redis://:pw@host", error);
    assert_non_null(r);
    assert_int_equal(r->hosts[0].port, 6379);
    assert_int_equal(r->login.user.n, 0);
    assert_str_is(r->login.password, "pw");
    mg_redis_close(r);
    r = open_with("sentinels=a:1,b, c:3|master=m", error);
    assert_non_null(r);
    assert_int_equal(r->mode, MG_REDIS_SENTINEL);
    assert_int_equal(r->hosts_n, 3);
    assert_int_equal(r->hosts[1].port, 26379);
    mg_redis_close(r);
    r = open_with("url=unix:///run/redis.sock", error);
    assert_non_null(r);
    assert_string_equal(r->hosts[0].name, "/run/redis.sock");
    assert_int_equal(r->hosts[0].port, 0);
    mg_redis_close(r);
    r = open_with("url=rediss://h|verify=false", error);
    assert_non_null(r);
    assert_non_null(r->tls);
    mg_redis_close(r);
}

static void wrong_options_are_told(void **state)
{
    static const struct { const char *line, *why; } cases[] = {
        { "timeout=1s", "one of url, host, sentinels and cluster" }, { "url=redis://a|host=b", "one of url" },
        { "url=http://a", "redis://, rediss:// or unix: expected" }, { "url=redis://a:0", "a port from 1 to 65535" },
        { "url=redis://a/x", "the number of a database" }, { "url=redis://a|timeuot=1s", "did you mean \"timeout\"?" },
        { "url=redis://a|timeout=soon", "timeout: milliseconds" }, { "url=redis://a|ca=/x", "ca is for TLS" },
        { "url=rediss://a|ca=x.pem", "ca: an absolute path" }, { "sentinels=a:1", "sentinels and master go together" },
        { "cluster=a:1|db=2", "database 0 only" }, { "url=redis://a|user=u", "a user needs a password" },
        { "url=redis://a|shared=99", "shared: a number from 1 to 16" }, { "url=redis://a|db=1|db=2", "db is there twice" },
        { "url=redis://u:%zz@a", "percent escapes" }, { "url=rediss://a|ca=/nowhere.pem", "/nowhere.pem" },
        { "url=unix:relative", "an absolute path" }, { "url=redis://a|tls=perhaps", "tls: true or false" },
    };
    char error[256];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(open_with(cases[i].line, error));
        if (!strstr(error, cases[i].why))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].line, error, cases[i].why);
    }
}

static void the_same_options_in_any_order_are_one_client(void **state)
{
    char error[256];
    struct mg_redis *a = open_with("url=redis://h|db=1", error), *b = open_with("db=1|url=redis://h", error),
                    *c = open_with("db=2|url=redis://h", error);

    (void)state;
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    mg_redis_close(a);
    assert_true(mg_redis_is_open(b));
    mg_redis_close(b);
    mg_redis_close(c);
    mg_redis_close(NULL);
}

static void short_of_memory_no_client_is_opened_and_nothing_leaks(void **state)
{
    char error[256];

    (void)state;
    each_allocation_fails({ mg_redis_close(open_with("sentinels=a:1|master=m|password=p", error)); });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_read_however_it_is_cut),
        cmocka_unit_test(a_reply_becomes_the_same_bytes_again),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(a_reply_over_its_limit_is_refused_before_it_is_all_there),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test(a_dropped_reply_is_read_and_not_kept),
        cmocka_unit_test(short_of_memory_a_reply_is_refused_and_nothing_leaks),
        cmocka_unit_test(keys_have_the_slots_of_the_specification),
        cmocka_unit_test(the_first_key_of_a_command_is_found),
        cmocka_unit_test(commands_that_wait_or_change_the_connection_are_known),
        cmocka_unit_test(options_are_understood),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(the_same_options_in_any_order_are_one_client),
        cmocka_unit_test(short_of_memory_no_client_is_opened_and_nothing_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
