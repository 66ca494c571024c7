/* The ranges of ip-restriction: what is read, what is refused, what they contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../plugins/ip-restriction/ip_restriction.c"

static struct ranges compiled(const char *const *texts, size_t n)
{
    struct mg_str s[16];
    struct mg_array list = { s, n };
    struct mg_error err = { 0 };
    struct ranges rs = { NULL, 0 };

    for (size_t i = 0; i < n; i++)
        s[i] = (struct mg_str){ texts[i], strlen(texts[i]) };
    assert_int_equal(compile("allow", &list, &rs, &err), 0);
    return rs;
}

static bool has(const struct ranges *rs, const char *text)
{
    uint8_t addr[16];

    assert_true(parse_address(text, strlen(text), addr) >= 0);
    return contains(rs, addr);
}

static void a_network_contains_its_first_and_last_address_and_no_neighbour(void **state)
{
    const char *const texts[] = { "10.1.0.0/16", "2001:db8::/33", "192.0.2.7" };
    struct ranges rs = compiled(texts, 3);

    (void)state;
    assert_true(has(&rs, "10.1.0.0"));
    assert_true(has(&rs, "10.1.255.255"));
    assert_false(has(&rs, "10.0.255.255"));
    assert_false(has(&rs, "10.2.0.0"));
    assert_true(has(&rs, "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"));
    assert_false(has(&rs, "2001:db8:8000::"));
    assert_true(has(&rs, "192.0.2.7"));
    assert_false(has(&rs, "192.0.2.8"));
    free(rs.items);
}

static void ipv4_is_the_same_as_its_mapped_form_and_apart_from_ipv6(void **state)
{
    const char *const texts[] = { "0.0.0.0/0" };
    struct ranges rs = compiled(texts, 1);

    (void)state;
    assert_true(has(&rs, "::ffff:203.0.113.9"));
    assert_false(has(&rs, "::1"));
    assert_false(has(&rs, "::"));
    free(rs.items);
}

static void overlapping_and_nested_ranges_merge(void **state)
{
    const char *const texts[] = { "10.0.0.5", "10.0.0.0/8", "10.0.0.0-11.0.0.3", "12.0.0.0/8" };
    struct ranges rs = compiled(texts, 4);

    (void)state;
    assert_int_equal(rs.n, 2);
    assert_true(has(&rs, "11.0.0.3"));
    assert_false(has(&rs, "11.0.0.4"));
    assert_true(has(&rs, "12.255.0.1"));
    free(rs.items);
}

static void what_is_no_range_is_refused_with_a_reason(void **state)
{
    static const char *const wrong[] = { "10.0.0.1/8", "10.0.0/8", "10.0.0.0/33", "2001:db8::/129", "10.0.0.0/", "10.0.0.0/-1",
                                         "localhost", "", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "1.2.3.4/08x", "::1%lo" };
    struct range r;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_non_null(parse_range((struct mg_str){ wrong[i], strlen(wrong[i]) }, &r));
}

static void ten_thousand_networks_are_searched_right(void **state)
{
    struct ranges rs = { malloc(10000 * sizeof(struct range)), 0 };
    char text[32];

    (void)state;
    for (int i = 9999; i >= 0; i--) {
        snprintf(text, sizeof(text), "10.%d.%d.0/25", i / 256, i % 256);
        assert_null(parse_range((struct mg_str){ text, strlen(text) }, &rs.items[rs.n++]));
    }
    qsort(rs.items, rs.n, sizeof(*rs.items), compare_ranges);
    merge_ranges(&rs);
    assert_int_equal(rs.n, 10000);
    for (int i = 0; i < 10000; i++) {
        snprintf(text, sizeof(text), "10.%d.%d.127", i / 256, i % 256);
        assert_true(has(&rs, text));
        snprintf(text, sizeof(text), "10.%d.%d.128", i / 256, i % 256);
        assert_false(has(&rs, text));
    }
    free(rs.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_contains_its_first_and_last_address_and_no_neighbour),
        cmocka_unit_test(ipv4_is_the_same_as_its_mapped_form_and_apart_from_ipv6),
        cmocka_unit_test(overlapping_and_nested_ranges_merge),
        cmocka_unit_test(what_is_no_range_is_refused_with_a_reason),
        cmocka_unit_test(ten_thousand_networks_are_searched_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
