/* Which origins match, which origin lists are refused, and how Vary is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail
#include "../../../plugins/cors/cors.c"

#define STR(s) ((struct mg_str){ s, sizeof(s) - 1 })

static void an_origin_matches_exactly_whatever_its_case(void **state)
{
    (void)state;
    assert_true(matches_origin(STR("https://app.example.com"), STR("https://app.example.com")));
    assert_true(matches_origin(STR("https://app.example.com"), STR("https://APP.example.com")));
    assert_false(matches_origin(STR("https://app.example.com"), STR("http://app.example.com")));
    assert_false(matches_origin(STR("https://app.example.com"), STR("https://app.example.com:8443")));
    assert_false(matches_origin(STR("https://app.example.com"), STR("https://app.example.com.evil.org")));
}

static void a_star_stands_for_labels_of_a_host_and_for_nothing_else(void **state)
{
    (void)state;
    assert_true(matches_origin(STR("https://*.example.com"), STR("https://a.example.com")));
    assert_true(matches_origin(STR("https://*.example.com"), STR("https://a.b.example.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://example.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://.example.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://evilexample.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://evil.org/.example.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://evil.org:1.example.com")));
    assert_false(matches_origin(STR("https://*.example.com"), STR("https://a.example.com:8443")));
    assert_true(matches_origin(STR("https://*.example.com:8443"), STR("https://a.example.com:8443")));
}

static void what_no_browser_sends_is_no_origin(void **state)
{
    static const char *const wrong[] = { "app.example.com", "https://app.example.com/", "https://", "://x", "https://a.*.example.com",
                                         "https://*", "https://*example.com", "https://*.*.example.com" };
    struct mg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(check_origin((struct mg_str){ wrong[i], strlen(wrong[i]) }, &err), MG_ECONF);
    assert_int_equal(check_origin(STR("*"), &err), 0);
    assert_int_equal(check_origin(STR("null"), &err), 0);
    assert_int_equal(check_origin(STR("https://*.example.com:8443"), &err), 0);
}

static void a_star_together_with_credentials_is_refused(void **state)
{
    struct mg_str star = STR("*"), named = STR("https://a.example");
    struct conf c = { .origins = { &star, 1 }, .credentials = true };
    struct mg_entry entry = { .conf = &c };
    struct mg_error err = { 0 };
    void *self = NULL;

    (void)state;
    assert_int_equal(create(&entry, &self, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "credentials"));
    c.origins.items = &named;
    c.expose_headers = (struct mg_array){ &star, 1 };
    assert_int_equal(create(&entry, &self, &err), MG_ECONF);
    c.expose_headers.n = 0;
    assert_int_equal(create(&entry, &self, &err), 0);
    destroy(self);
}

static void vary_is_read_as_a_list_of_whole_names(void **state)
{
    (void)state;
    assert_true(list_has(STR("Accept, origin"), "Origin", 6));
    assert_true(list_has(STR("*"), "Origin", 6));
    assert_false(list_has(STR("Accept, X-Origin"), "Origin", 6));
    assert_false(list_has(STR(""), "Origin", 6));
    assert_true(list_has(STR("Accept ,Origin ,Via"), "Origin", 6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_matches_exactly_whatever_its_case),
        cmocka_unit_test(a_star_stands_for_labels_of_a_host_and_for_nothing_else),
        cmocka_unit_test(what_no_browser_sends_is_no_origin),
        cmocka_unit_test(a_star_together_with_credentials_is_refused),
        cmocka_unit_test(vary_is_read_as_a_list_of_whole_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
