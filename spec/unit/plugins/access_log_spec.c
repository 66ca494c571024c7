/* The writer of log lines: escaping, cutting, numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "../../../plugins/access-log/line.c"

static char buffer[4096 + LINE_SLACK];

static struct line fresh(bool is_json)
{
    memset(buffer, 0, sizeof(buffer));
    return (struct line){ buffer, buffer + 4096, 2048, is_json };
}

static const char *written(bool is_json, const char *p, size_t n)
{
    struct line l = fresh(is_json);

    line_text(&l, (struct mg_str){ p, n });
    return buffer;
}
#define JSON(s) written(true, s, sizeof(s) - 1)
#define PLAIN(s) written(false, s, sizeof(s) - 1)

static void plain_text_passes_through(void **state)
{
    (void)state;
    assert_string_equal(JSON(""), "\"\"");
    assert_string_equal(JSON("/users/42/orders?x=y"), "\"/users/42/orders?x=y\"");
    assert_string_equal(JSON("abcdefghijklmnopqrstuvwxyz"), "\"abcdefghijklmnopqrstuvwxyz\"");
    assert_string_equal(PLAIN("GET /x HTTP/1.1"), "GET /x HTTP/1.1");
}

static void quotes_backslashes_and_controls_are_escaped_wherever_they_stand(void **state)
{
    char text[20], expected[64];

    (void)state;
    assert_string_equal(JSON("a\"b\\c\nd\te\x01\x7f"), "\"a\\\"b\\\\c\\nd\\te\\u0001\\u007f\"");
    assert_string_equal(PLAIN("a\"b\\c\nd\x7f"), "a\\\"b\\\\c\\x0ad\\x7f");
    for (int i = 0; i < 19; i++) { /* each place in and after a word of eight */
        memset(text, 'x', 19);
        text[i] = '"';
        snprintf(expected, sizeof(expected), "\"%.*s\\\"%.*s\"", i, "xxxxxxxxxxxxxxxxxxx", 18 - i, "xxxxxxxxxxxxxxxxxxx");
        assert_string_equal(written(true, text, 19), expected);
    }
}

static void utf8_passes_and_what_is_none_is_replaced(void **state)
{
    (void)state;
    assert_string_equal(JSON("h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8c\x99"), "\"h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8c\x99\"");
    assert_string_equal(JSON("\xff"), "\"\\ufffd\"");
    assert_string_equal(JSON("\xc0\xaf"), "\"\\ufffd\\ufffd\"");                 /* overlong */
    assert_string_equal(JSON("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");      /* a surrogate */
    assert_string_equal(JSON("\xe2\x82"), "\"\\ufffd\\ufffd\"");                 /* cut short */
    assert_string_equal(PLAIN("\xc3\xa4"), "\\xc3\\xa4");
}

static void long_values_are_cut_and_a_full_line_stays_in_bounds(void **state)
{
    static char many[3000];
    struct line l = fresh(true);

    (void)state;
    l.text_max = 16;
    memset(many, 'a', sizeof(many));
    line_text(&l, (struct mg_str){ many, sizeof(many) });
    assert_int_equal(l.p - buffer, 18);
    memset(many, 1, sizeof(many)); /* six bytes each */
    l = fresh(true);
    line_text(&l, (struct mg_str){ many, sizeof(many) });
    assert_true(l.p <= l.end);
    line_text(&l, (struct mg_str){ many, sizeof(many) });
    assert_true(l.p <= l.end + 2);
}

static void numbers_are_written_in_full(void **state)
{
    struct line l = fresh(true);

    (void)state;
    line_number(&l, 0);
    line_raw(&l, " ", 1);
    line_number(&l, 9223372036854775807LL);
    line_raw(&l, " ", 1);
    line_number(&l, INT64_MIN);
    line_raw(&l, " ", 1);
    line_milli(&l, 12005);
    line_raw(&l, " ", 1);
    line_milli(&l, 7);
    assert_string_equal(buffer, "0 9223372036854775807 -9223372036854775808 12.005 0.007");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_passes_through),
        cmocka_unit_test(quotes_backslashes_and_controls_are_escaped_wherever_they_stand),
        cmocka_unit_test(utf8_passes_and_what_is_none_is_replaced),
        cmocka_unit_test(long_values_are_cut_and_a_full_line_stays_in_bounds),
        cmocka_unit_test(numbers_are_written_in_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
