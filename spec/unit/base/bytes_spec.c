#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { LONGEST = 40 };

static bool from_slowly(const char *p, size_t n, uint8_t low)
{
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)p[i] < low || (uint8_t)p[i] == 0x7f)
            return false;
    return true;
}

static void every_byte_at_every_place_of_every_length_is_judged_as_by_a_loop(void **state)
{
    static const uint8_t lows[] = { 0x20, 0x21, 0x80 };
    char text[LONGEST];

    (void)state;
    for (size_t n = 0; n <= LONGEST; n++)
        for (size_t at = 0; at < n; at++)
            for (int c = 0; c < 256; c++) {
                memset(text, (int)(0x80 + (n & 1) * 0x60), sizeof text);
                text[at] = (char)c;
                for (size_t i = 0; i < sizeof lows; i++)
                    assert_int_equal(mg_bytes_from(text, n, lows[i]), from_slowly(text, n, lows[i]));
            }
}

static void bytes_behind_the_end_do_not_count(void **state)
{
    char text[LONGEST];

    (void)state;
    for (size_t n = 0; n < LONGEST; n++) {
        memset(text, 'a', sizeof text);
        text[n] = '\n';
        assert_true(mg_bytes_from(text, n, 0x20));
        text[n] = (char)0xff;
        assert_true(mg_bytes_ascii(text, n));
    }
}

static void ascii_ends_at_0x7f(void **state)
{
    char text[LONGEST];

    (void)state;
    for (size_t n = 1; n <= LONGEST; n++)
        for (size_t at = 0; at < n; at++) {
            memset(text, 0x7f, sizeof text);
            assert_true(mg_bytes_ascii(text, n));
            text[at] = (char)0x80;
            assert_false(mg_bytes_ascii(text, n));
        }
}

static void nothing_at_all_is_fine(void **state)
{
    (void)state;
    assert_true(mg_bytes_from(NULL, 0, 0x20));
    assert_true(mg_bytes_ascii(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_at_every_place_of_every_length_is_judged_as_by_a_loop),
        cmocka_unit_test(bytes_behind_the_end_do_not_count),
        cmocka_unit_test(ascii_ends_at_0x7f),
        cmocka_unit_test(nothing_at_all_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
