/* What heads say about their connection, and valid authorities. Refusals: see h1_server_spec and h1_client_spec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/framing.h"

static struct mg_arena arena;

static int setup(void **state)
{
    (void)state;
    mg_arena_init(&arena, NULL, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mg_arena_deinit(&arena);
    return 0;
}

static void authorities_are_checked(void **state)
{
    static const struct { const char *in; bool ok; const char *host; int port; } table[] = {
        { "a", true, "a", 0 }, { "Example.COM:8080", true, "example.com", 8080 }, { "a.", true, "a", 0 }, { "a_b~c-d.e", true, "a_b~c-d.e", 0 },
        { "127.0.0.1:1", true, "127.0.0.1", 1 }, { "[::1]", true, "[::1]", 0 }, { "[2001:DB8::1]:443", true, "[2001:db8::1]", 443 },
        { "a:", true, "a", 0 }, { "a:65535", true, "a", 65535 }, { "", false, "", 0 }, { ":80", false, "", 0 }, { "a:0", false, "", 0 },
        { "a:65536", false, "", 0 }, { "a:1x", false, "", 0 }, { "a:+1", false, "", 0 }, { "a:000080", false, "", 0 }, { "a:1:2", false, "", 0 },
        { "a..b", false, "", 0 }, { ".a", false, "", 0 }, { ".", false, "", 0 }, { "a b", false, "", 0 }, { "a/b", false, "", 0 }, { "u@a", false, "", 0 },
        { "a%41", false, "", 0 }, { "[::1", false, "", 0 }, { "[]", false, "", 0 }, { "[::1]x", false, "", 0 }, { "[g::]", false, "", 0 },
        { "[fe80::1%25eth0]", false, "", 0 }, { "[1.2.3.4]", false, "", 0 }, { "::1", false, "", 0 }, { "a,b", false, "", 0 }, { "a;b", false, "", 0 },
        { "\xc3\xa4", false, "", 0 }, { "a#b", false, "", 0 }, { "a?b", false, "", 0 }, { "a\\b", false, "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct mg_str host = { 0 };
        int port = -1;

        if (mg_authority_ok(mg_str_c(table[i].in), &host, &port, &arena) != table[i].ok)
            fail_msg("%s", table[i].in);
        if (table[i].ok && (!mg_str_eq(host, mg_str_c(table[i].host)) || port != table[i].port))
            fail_msg("%s: %.*s %d", table[i].in, (int)host.n, host.p, port);
    }
}

static void a_name_longer_than_dns_allows_is_no_host(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'a', sizeof name);
    assert_true(mg_authority_ok(mg_str(name, 255), NULL, NULL, NULL));
    assert_false(mg_authority_ok(mg_str(name, 256), NULL, NULL, NULL));
}

static void put(struct mg_head *head, const char *name, const char *value)
{
    assert_int_equal(mg_headers_add(&head->headers, &arena, mg_str_c(name), mg_str_c(value)), 0);
}

static struct mg_head request(void)
{
    struct mg_head head = { .method = MG_M_POST, .method_text = MG_STR("POST"), .target = MG_STR("/"), .version = 11 };

    put(&head, "Host", "a");
    return head;
}

static void hop_by_hop_fields_become_facts(void **state)
{
    struct mg_head head = request();
    struct mg_refusal no;

    (void)state;
    put(&head, "Connection", "keep-alive, TE, Upgrade, X-Foo");
    put(&head, "connection", ", x-bar ,");
    put(&head, "TE", "gzip, trailers");
    put(&head, "Trailer", "X-T");
    put(&head, "Upgrade", "websocket");
    put(&head, "Keep-Alive", "timeout=5");
    put(&head, "Proxy-Connection", "close");
    put(&head, "X-Foo", "1");
    put(&head, "X-BAR", "1");
    put(&head, "X-Kept", "1");
    put(&head, "Transfer-Encoding", "chunked");
    put(&head, "Expect", "100-Continue");
    assert_int_equal(mg_framing_request(&head, &arena, &no), 0);
    assert_int_equal(head.framing, MG_BODY_STREAM);
    assert_true(head.accepts_trailers);
    assert_true(head.expects_continue);
    assert_false(head.closes);
    assert_true(mg_str_eq(head.upgrade, MG_STR("websocket")));
    assert_true(mg_str_eq(head.trailer, MG_STR("X-T")));
    assert_true(mg_str_eq(head.authority, MG_STR("a")));
    for (uint32_t i = 0; i < head.headers.n; i++)
        if (head.headers.at[i].name && head.headers.at[i].id != MG_H_HOST)
            assert_memory_equal(head.headers.at[i].name, "X-Kept", 6);
}

static void an_upgrade_that_connection_does_not_name_is_none(void **state)
{
    struct mg_head head = request();
    struct mg_refusal no;

    (void)state;
    put(&head, "Upgrade", "websocket");
    assert_int_equal(mg_framing_request(&head, &arena, &no), 0);
    assert_int_equal(head.upgrade.n, 0);
    assert_null(mg_headers_find_id(&head.headers, MG_H_UPGRADE));
}

static void an_absolute_target_stands_for_a_missing_host_in_http10(void **state)
{
    struct mg_head head = { .method = MG_M_GET, .method_text = MG_STR("GET"), .target = MG_STR("http://b:81/x"), .version = 10 };
    struct mg_refusal no;

    (void)state;
    assert_int_equal(mg_framing_request(&head, &arena, &no), 0);
    assert_true(mg_str_eq(head.authority, MG_STR("b:81")));
    assert_memory_equal(mg_headers_find_id(&head.headers, MG_H_HOST)->value, "b:81", 4);
    assert_true(head.closes);
}

static void no_one_waits_for_a_body_that_was_not_announced(void **state)
{
    struct mg_head head = request();
    struct mg_refusal no;

    (void)state;
    put(&head, "Expect", "100-continue");
    assert_int_equal(mg_framing_request(&head, &arena, &no), 0);
    assert_false(head.expects_continue);
}

static void connection_must_not_strip_what_protects(void **state)
{
    static const char *const names[] = { "host", "Authorization", "COOKIE", "x-forwarded-for", "X-Real-IP", "via", "Forwarded" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct mg_head head = request();
        struct mg_refusal no = { 0 };

        put(&head, "Connection", names[i]);
        assert_int_equal(mg_framing_request(&head, &arena, &no), MG_EPROTO);
        assert_int_equal(no.status, 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities_are_checked),
        cmocka_unit_test(a_name_longer_than_dns_allows_is_no_host),
        cmocka_unit_test(hop_by_hop_fields_become_facts),
        cmocka_unit_test(an_upgrade_that_connection_does_not_name_is_none),
        cmocka_unit_test(an_absolute_target_stands_for_a_missing_host_in_http10),
        cmocka_unit_test(no_one_waits_for_a_body_that_was_not_announced),
        cmocka_unit_test(connection_must_not_strip_what_protects),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
