/* Ranges of client addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <arpa/inet.h>

#include "route/router.h"

static bool has(const char *range, const char *address)
{
    struct mg_cidr c, one;

    assert_int_equal(mg_cidr_parse(mg_str_c(range), &c), 0);
    assert_int_equal(mg_cidr_parse(mg_str_c(address), &one), 0);
    return mg_cidr_has(&c, one.addr);
}

static void a_range_has_its_addresses_and_no_others(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.255.255"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("192.168.4.0/22", "192.168.7.255"));
    assert_false(has("192.168.4.0/22", "192.168.8.0"));
    assert_true(has("127.0.0.1", "127.0.0.1"));
    assert_false(has("127.0.0.1", "127.0.0.2"));
    assert_true(has("fe80::/10", "febf::1"));
    assert_false(has("fe80::/10", "fec0::1"));
    assert_true(has("2001:db8::/127", "2001:db8::1"));
    assert_false(has("2001:db8::/127", "2001:db8::2"));
}

static void a_range_of_no_bits_has_every_address_of_its_family(void **state)
{
    (void)state;
    assert_true(has("0.0.0.0/0", "255.1.2.3"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("::/0", "2001:db8::1"));
}

static void ipv4_and_its_mapped_form_are_the_same(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.2.3"));
}

static void what_is_malformed_or_has_host_bits_set_is_refused(void **state)
{
    static const char *const bad[] = { "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "::/129", "::1/64",
                                       "10.0.0.0/-1", "10.0.0.0/8/8", "a", "[::1]", "1.2.3.4 ", " 1.2.3.4", "10.0.0.0/8x",
                                       "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111:2222/1" };
    struct mg_cidr c;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mg_cidr_parse(mg_str_c(bad[i]), &c), MG_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_has_its_addresses_and_no_others),
        cmocka_unit_test(a_range_of_no_bits_has_every_address_of_its_family),
        cmocka_unit_test(ipv4_and_its_mapped_form_are_the_same),
        cmocka_unit_test(what_is_malformed_or_has_host_bits_set_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
