/* Which bytes a field may hold: the parser must say what headers.h says, whichever llhttp it is, since nobody
 * looks at them again (MG_HEADER_CHECKED). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/h1_side.h"

#define END "\r\n\r\n"

static bool passes(bool is_request, const char *head, size_t n)
{
    struct side s;
    bool passed;

    side_init(&s, is_request);
    s.answers = is_request;
    s.releases = !is_request;
    if (!is_request)
        side_request(&s, "GET");
    mg_h1_feed(&s.h, head, n);
    passed = strstr(s.log, "head ") != NULL;
    side_deinit(&s);
    return passed;
}

/* `before`, the byte, `after` as the last line of a head; as a request and as an answer. */
static int differs(const char *before, int byte, const char *after, bool expected)
{
    static const char *const starts[] = { "HTTP/1.1 204 No Content\r\n", "GET / HTTP/1.1\r\nHost: a\r\n" };
    int wrong = 0;

    for (int is_request = 0; is_request < 2; is_request++) {
        char head[256];
        int n = snprintf(head, sizeof head, "%s%s", starts[is_request], before);

        head[n++] = (char)byte;
        n += snprintf(head + n, sizeof head - (size_t)n, "%s" END, after);
        if (passes(is_request, head, (size_t)n) != expected) {
            print_error("%s: \"%s\" 0x%02x \"%s\" should have %s\n", is_request ? "request" : "answer", before, byte, after,
                        expected ? "passed" : "been refused");
            wrong++;
        }
    }
    return wrong;
}

static void a_name_holds_token_bytes_and_nothing_else(void **state)
{
    int wrong = 0;

    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool ok = mg_header_name_ok(mg_str(&byte, 1));

        wrong += differs("", c, "x: v", ok);
        if (c != ':') /* that one ends a name that has begun */
            wrong += differs("x", c, "y: v", ok) + differs("x", c, ": v", ok) + differs("connection", c, ": close", ok) +
                     differs("content-lengt", c, ": 0", ok);
    }
    assert_int_equal(wrong, 0);
}

static void a_value_holds_no_controls(void **state)
{
    int wrong = 0;

    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool ok = mg_header_value_ok(mg_str(&byte, 1));

        wrong += differs("x: a", c, "b", ok) + differs("x: ", c, "", ok) + differs("x:", c, "b", ok) + differs("x: ab", c, "", ok) +
                 differs("x: a\tb ", c, " c", ok) + differs("a-rather-long-name: and a value of many bytes ", c, " and more", ok);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_holds_token_bytes_and_nothing_else),
        cmocka_unit_test(a_value_holds_no_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
