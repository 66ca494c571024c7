#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/str.h"

#define S(literal) { literal, sizeof(literal) - 1 }

static bool accepts(struct mg_str s, char *why, size_t room)
{
    struct mg_json *doc = mg_json_parse(s.p, s.n, why, room);
    bool yes = doc != NULL;

    mg_json_free(doc);
    return yes;
}

static void what_is_json_is_accepted(void **state)
{
    static const struct mg_str good[] = {
        S("[]"), S("{}"), S("[[]   ]"), S("[\"\"]"), S("[]\n"), S(" [] "), S("\"asd\""), S("null"), S("true"), S("42"), S("-0"), S("[-0.0]"), S("[123e65]"),
        S("[0e+1]"), S("[0e1]"), S("[1E22]"), S("[1E-2]"), S("[1E+2]"), S("[123.456e78]"), S("[-123]"),
        S("[0.4e00669999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999969999999006]"),
        S("[100000000000000000000000]"), S("{\"a\":1,\"a\":2}"), S("{\"\":0}"), S("{\"a\":[{\"b\":null}]}"),
        S("[\"\\u0060\\u012a\\u12AB\"]"), S("[\"\\uD801\\udc37\"]"), S("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"),
        S("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"), S("[\"\\u0000\"]"), S("[\"a/*b*/c/*d//e\"]"), S("[\"\x7f\"]"), S("[\"\xf0\x9b\xbf\xbf\"]"),
        S("[\"\xef\xbf\xbf\"]"), S("[\"\xe2\x80\xa8\"]"), S("[\"\\uDBFF\\uDFFF\"]"), S("[1,null,null,2]"), S("\t[\r\n1 ]"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char why[128] = "";

        if (!accepts(good[i], why, sizeof why))
            fail_msg("refused: %.*s (%s)", (int)good[i].n, good[i].p, why);
    }
}

static void what_is_no_json_is_refused(void **state)
{
    static const struct mg_str bad[] = {
        S(""), S(" "), S("["), S("]"), S("{"), S("}"), S("[1,]"), S("[,1]"), S("[1,,2]"), S("[1 true]"), S("[1]x"), S("[]]"), S("{]"), S("[}"), S("[\"\""), S("[1"),
        S("[1\n,1\n,1"), S("[*]"), S("['a']"), S("[a"), S("[\xff]"), S("[\"a\",\n4\n,1,"), S("[\"x\"]]"), S("[+1]"), S("[+Inf]"), S("[-01]"), S("[-1.0.]"), S("[-2.]"),
        S("[-NaN]"), S("[.-1]"), S("[.2e-3]"), S("[0.1.2]"), S("[0.3e+]"), S("[0.3e]"), S("[0.e1]"), S("[0E+]"), S("[0E]"), S("[0e+]"), S("[0e]"), S("[1.0e+]"), S("[1.0e-]"), S("[1.0e]"),
        S("[1 000.0]"), S("[1eE2]"), S("[2.e+3]"), S("[2.e3]"), S("[9.e+]"), S("[Inf]"), S("[NaN]"), S("[0x1]"), S("[0x42]"), S("[Infinity]"), S("[0+1]"), S("[1+2]"), S("[-]"), S("[-foo]"), S("[- 1]"),
        S("[012]"), S("[-012]"), S("[-.123]"), S("[-1x]"), S("[1ea]"), S("[1.]"), S("[.123]"), S("[1.2a-3]"), S("[\xef\xbc\x91]"), S("[0.]"), S("[1e\xe5]"), S("[123\xe5]"),
        S("{\"a\":/*comment*/1}"), S("{}/**/"), S("{}//"), S("{\"a\" b}"), S("{\"x\", null}"), S("{\"x\"::\"b\"}"), S("{\"a\":\"a\" 123}"), S("{key: 'value'}"), S("{\"a\" \"b\"}"), S("{:\"b\"}"),
        S("{\"a\""), S("{\"a\":"), S("{1:1}"), S("{9999E9999:1}"), S("{null:null,null:null}"), S("{\"id\":0,,,,,}"), S("{'a':0}"), S("{\"id\":0,}"), S("{a: \"b\"}"), S("{\"a\":\"a"), S("{\"a\":true} \"x\""),
        S("[\"\\uD800\\u\"]"), S("[\"\\uD800\\u1\"]"), S("[\"\\uD800\\u1x\"]"), S("[\xc3\xa9]"), S("[\"\\a\"]"), S("[\"\\\\\\\"]"), S("[\"\\x00\"]"), S("[\"\\u00A\"]"), S("[\"\\uD834\\uDd\"]"), S("[\"\\uqqqq\"]"),
        S("[\"\\\xe5\"]"), S("[\"\\u\xe5\"]"), S("[\\u0020\"asd\"]"), S("[\\n]"), S("\""), S("['single quote']"), S("abc"), S("[\"\\"), S("[\"a\x00" "a\"]"), S("[\"new\nline\"]"), S("[\"\t\"]"), S("\"\\UA66D\""), S("\"\"x"),
        S("[\"\\ud800\"]"), S("[\"\\udc00\"]"), S("[\"\\ud800abc\"]"), S("[\"\\uD888\\u1234\"]"), S("[\"\\uDd1e\\uD834\"]"), S("[\"\xed\xa0\x80\"]"), S("[\"\xc0\xaf\"]"), S("[\"\xf4\xbf\xbf\xbf\"]"), S("[\"\xe9\"]"), S("[\"\x81\"]"),
        S("\xef\xbb\xbf{}"), S("<null>"), S("[<null>]"), S("[True]"), S("[nul]"), S("[tru]"), S("[fals]"), S("\x00"), S("[]\x00"), S("[\f]"), S("[\xe2\x81\xa0]"), S("123\x00"), S("{\"\":"), S("*"), S("1]"), S("{\"a\":\"b\"}#{}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char why[128] = "";

        if (accepts(bad[i], why, sizeof why))
            fail_msg("accepted: %.*s", (int)bad[i].n, bad[i].p);
        assert_int_equal(strncmp(why, "line ", 5), 0);
    }
}

static void nesting_ends_at_128(void **state)
{
    char text[600];

    (void)state;
    for (int depth = 127; depth <= 130; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(accepts(mg_str(text, 2 * (size_t)depth), NULL, 0), depth <= 128);
    }
    memset(text, '[', sizeof text);
    assert_false(accepts(mg_str(text, sizeof text), NULL, 0));
}

static void nodes_stand_in_the_order_of_the_text(void **state)
{
    static const char text[] = "{\"a\": [1, 12345678901234567890.50], \"b\\u0000\\ud83d\\ude39\": \"x\"}";
    struct mg_json *doc = mg_json_parse(text, sizeof text - 1, NULL, 0);
    const struct mg_json_node *at;
    struct mg_str out;
    size_t n;

    (void)state;
    assert_non_null(doc);
    at = mg_json_nodes(doc, &n);
    assert_int_equal(n, 7);
    assert_int_equal(at[0].kind, MG_JSON_OBJECT);
    assert_int_equal(at[0].count, 2);
    assert_int_equal(at[0].next, 7);
    assert_int_equal(at[1].kind, MG_JSON_STRING);
    assert_int_equal(at[2].kind, MG_JSON_ARRAY);
    assert_int_equal(at[2].key, 1);
    assert_int_equal(at[2].next, 5);
    assert_int_equal(at[3].key, -1);
    assert_int_equal(mg_json_text(doc, 4, &out), 0);
    assert_int_equal(out.n, 23);
    assert_memory_equal(out.p, "12345678901234567890.50", 23);
    assert_int_equal(mg_json_text(doc, 5, &out), 0);
    assert_int_equal(out.n, 6);
    assert_memory_equal(out.p, "b\0\xf0\x9f\x98\xb9", 6);
    assert_int_equal(mg_json_text(doc, 6, &out), 0);
    assert_memory_equal(out.p, "x", out.n);
    assert_int_equal(mg_json_raw(doc, 2, &out), 0);
    assert_memory_equal(out.p, "[1, 12345678901234567890.50]", out.n);
    assert_int_equal(mg_json_raw(doc, 7, &out), MG_ENOENT);
    mg_json_free(doc);
}

static void errors_say_line_and_column(void **state)
{
    char why[128];

    (void)state;
    assert_null(mg_json_parse("{\n \"a\": tru }", 13, why, sizeof why));
    assert_string_equal(why, "line 2, column 7: a value is missing");
}

static void quoting_makes_a_string_that_reads_back(void **state)
{
    static const char raw[] = "a\"b\\c\n\x01\0z";
    struct mg_str quoted, out;
    struct mg_json *doc;

    (void)state;
    assert_int_equal(mg_json_quote(raw, sizeof raw - 1, &quoted), 0);
    doc = mg_json_parse(quoted.p, quoted.n, NULL, 0);
    assert_non_null(doc);
    mg_json_text(doc, 0, &out);
    assert_int_equal(out.n, sizeof raw - 1);
    assert_memory_equal(out.p, raw, out.n);
    mg_json_free(doc);
    assert_int_equal(mg_json_quote("\xff", 1, &quoted), 0); /* what is no text becomes U+FFFD */
    assert_true(accepts(quoted, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_accepted), cmocka_unit_test(what_is_no_json_is_refused), cmocka_unit_test(nesting_ends_at_128),
        cmocka_unit_test(nodes_stand_in_the_order_of_the_text), cmocka_unit_test(errors_say_line_and_column),
        cmocka_unit_test(quoting_makes_a_string_that_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
