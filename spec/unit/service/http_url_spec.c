/* URLs of our own requests, and where a Location leads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "service/http_url.h"

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

#define assert_str(s, text) do { struct mg_str s_ = (s); assert_int_equal(s_.n, strlen(text)); assert_memory_equal(s_.p, text, s_.n); } while (0)

static void a_url_is_taken_apart(void **state)
{
    static const struct { const char *url, *origin, *authority, *target; } cases[] = {
        { "http://Example.COM", "http://example.com:80", "example.com", "/" },
        { "HTTPS://example.com:443/a?b#c", "https://example.com:443", "example.com", "/a?b" },
        { "https://example.com:8443?q", "https://example.com:8443", "example.com:8443", "/?q" },
        { "http://[::1]:8080/x", "http://[::1]:8080", "[::1]:8080", "/x" },
        { "http://unix:/run/a.sock:/p?q", "http://unix:/run/a.sock", "localhost", "/p?q" },
        { "http://unix:/run/a.sock", "http://unix:/run/a.sock", "localhost", "/" },
        { "http://h/a b\xc3\xa4", "http://h:80", "h", "/a%20b%C3%A4" },
        { "http://h/%2e/..", "http://h:80", "h", "/%2e/.." },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mg_url u;

        assert_int_equal(mg_url_parse(mg_str_c(cases[i].url), &arena, &u), 0);
        assert_str(u.origin, cases[i].origin);
        assert_str(u.authority, cases[i].authority);
        assert_str(u.target, cases[i].target);
    }
}

static void what_is_no_url_of_ours_is_refused(void **state)
{
    static const char *const bad[] = { "", "http://", "http:///x", "ftp://x/", "//x/", "/x", "http://u@x/", "http://u:p@x/", "http://x:0/",
        "http://x:99999/", "http://x y/", "http://x/\r\nhost: y", "http://[::1/", "http://[zz]/", "https://unix:/run/s:/", "http://unix:x:/",
        "http://x:80:80/", "http://x\x01/", "javascript:alert(1)" };
    struct mg_url u;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mg_url_parse(mg_str_c(bad[i]), &arena, &u), MG_EINVAL);
}

static void a_location_leads_as_rfc_3986_says(void **state)
{
    static const struct { const char *location, *url, *target; } cases[] = {
        { "http://other/x", "http://other/x", NULL }, { "//other/x", "https://other/x", NULL },   { "/x#f", NULL, "/x" },
        { "x", NULL, "/a/x" },                        { "./x", NULL, "/a/x" },                     { "../x?y", NULL, "/x?y" },
        { "?q", NULL, "/a/b?q" },                     { "", NULL, "/a/b?old" },                    { "x:y", "x:y", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mg_str url, target;

        assert_int_equal(mg_url_follow(mg_str_c(cases[i].location), true, MG_STR("/a/b?old"), &arena, &url, &target), 0);
        if (cases[i].url) {
            assert_str(url, cases[i].url);
        } else {
            assert_null(url.p);
            assert_str(target, cases[i].target);
        }
    }
}

static void a_location_above_the_root_or_with_controls_is_refused(void **state)
{
    struct mg_str url, target;

    (void)state;
    assert_int_equal(mg_url_follow(MG_STR("../../../x"), false, MG_STR("/a/b"), &arena, &url, &target), MG_EINVAL);
    assert_int_equal(mg_url_follow(MG_STR("/a\nb"), false, MG_STR("/a/b"), &arena, &url, &target), MG_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_url_is_taken_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_url_of_ours_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_location_leads_as_rfc_3986_says, setup, teardown),
        cmocka_unit_test_setup_teardown(a_location_above_the_root_or_with_controls_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
