#include "unit.h"
#include "base/map.h"
#include "base/text.h"
#include "base/error.h"
#include <math.h>
#include <uv.h>

static void case_is_ascii_alone(void **state)
{
    (void)state;
    assert_true(mg_str_ieq(MG_STR("Content-TYPE"), MG_STR("content-type")));
    assert_false(mg_str_ieq(MG_STR("a"), MG_STR("b")));
    assert_false(mg_str_ieq(MG_STR("@"), MG_STR("`"))); /* they differ in the same bit as A and a */
    assert_false(mg_str_ieq(MG_STR("ab"), MG_STR("abc")));
    assert_true(mg_str_ieq(mg_str(NULL, 0), MG_STR("")));
}

static void order_is_bytewise_and_shorter_first(void **state)
{
    (void)state;
    assert_true(mg_str_cmp(MG_STR("a"), MG_STR("b")) < 0);
    assert_true(mg_str_cmp(MG_STR("ab"), MG_STR("a")) > 0);
    assert_true(mg_str_cmp(MG_STR("\xff"), MG_STR("a")) > 0);
    assert_int_equal(mg_str_cmp(mg_str(NULL, 0), MG_STR("")), 0);
    assert_true(mg_str_starts(MG_STR("abc"), MG_STR("ab")));
    assert_false(mg_str_starts(MG_STR("a"), MG_STR("ab")));
    assert_true(mg_str_starts(MG_STR("a"), mg_str(NULL, 0)));
}

static void lists_are_cut_and_trimmed(void **state)
{
    struct mg_str rest = MG_STR(" a ,b,,\t c\t,"), item;

    (void)state;
    assert_true(mg_str_next(&rest, ',', &item));
    assert_str_is(item, "a");
    assert_true(mg_str_next(&rest, ',', &item));
    assert_str_is(item, "b");
    assert_true(mg_str_next(&rest, ',', &item));
    assert_str_is(item, "c");
    assert_false(mg_str_next(&rest, ',', &item));
    rest = mg_str(NULL, 0);
    assert_false(mg_str_next(&rest, ',', &item));
    assert_str_is(mg_str_trim(MG_STR(" \t ")), "");
}

static void numbers_are_whole_or_nothing(void **state)
{
    uint64_t n = 7;

    (void)state;
    assert_true(mg_str_u64(MG_STR("0"), 10, &n) && n == 0);
    assert_true(mg_str_u64(MG_STR("007"), 10, &n) && n == 7);
    assert_true(mg_str_u64(MG_STR("18446744073709551615"), UINT64_MAX, &n) && n == UINT64_MAX);
    assert_false(mg_str_u64(MG_STR("18446744073709551616"), UINT64_MAX, &n));
    assert_false(mg_str_u64(MG_STR("99999999999999999999999"), UINT64_MAX, &n));
    assert_false(mg_str_u64(MG_STR("11"), 10, &n));
    assert_false(mg_str_u64(MG_STR(""), 10, &n));
    assert_false(mg_str_u64(MG_STR("+1"), 10, &n));
    assert_false(mg_str_u64(MG_STR("1 "), 10, &n));
    assert_false(mg_str_u64(MG_STR("0x1"), 10, &n));
    assert_true(n == UINT64_MAX); /* untouched by failures */
}

static void the_nearest_word_is_found_and_a_far_one_is_not(void **state)
{
    static const char *const words[] = { "limit", "window", "by", "client_head", "on_error" };

    (void)state;
    assert_string_equal(mg_str_nearest(MG_STR("limt"), words, 5), "limit");
    assert_string_equal(mg_str_nearest(MG_STR("lmiit"), words, 5), "limit");
    assert_string_equal(mg_str_nearest(MG_STR("Window"), words, 5), "window");
    assert_string_equal(mg_str_nearest(MG_STR("client-haed"), words, 5), "client_head");
    assert_null(mg_str_nearest(MG_STR("upstream"), words, 5));
    assert_null(mg_str_nearest(MG_STR("x"), words, 5));
    assert_null(mg_str_nearest(MG_STR(""), words, 5));
}

static void hashes_depend_on_every_byte(void **state)
{
    char s[40] = { 0 };
    uint64_t seen[40];

    (void)state;
    for (size_t n = 0; n < sizeof(s); n++) { /* zero bytes count as well: the length is in the hash */
        seen[n] = mg_str_hash(mg_str(s, n));
        for (size_t i = 0; i < n; i++)
            assert_true(seen[i] != seen[n]);
        s[n] = 1;
        assert_true(mg_str_hash(mg_str(s, n + 1)) != seen[n]);
        s[n] = 0;
    }
    assert_true(mg_str_hash(MG_STR("abc")) == mg_str_hash(MG_STR("abc")));
}

static char keys[5000][16];

static void a_map_keeps_what_was_put(void **state)
{
    struct mg_map m = { 0 };
    void *old, *value;
    struct mg_str key;
    size_t n = 0;

    (void)state;
    assert_null(mg_map_get(&m, MG_STR("a")));
    assert_null(mg_map_remove(&m, MG_STR("a")));
    for (int i = 0; i < 5000; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
        assert_int_equal(mg_map_put(&m, mg_str_c(keys[i]), keys[i], &old), 0);
        assert_null(old);
    }
    for (int i = 0; i < 5000; i += 2)
        assert_ptr_equal(mg_map_remove(&m, mg_str_c(keys[i])), keys[i]);
    for (int i = 0; i < 5000; i++)
        assert_ptr_equal(mg_map_get(&m, mg_str_c(keys[i])), i % 2 ? keys[i] : NULL);
    for (size_t i = 0; mg_map_next(&m, &i, &key, &value); n++)
        assert_string_equal(value, key.p);
    assert_int_equal(n, 2500);
    assert_int_equal(mg_map_put(&m, MG_STR("key-1"), keys, &old), 0);
    assert_ptr_equal(old, keys[1]);
    assert_int_equal(m.used, 2500);
    mg_map_deinit(&m);
    assert_null(mg_map_get(&m, MG_STR("key-1")));
}

static void a_map_that_is_filled_and_emptied_does_not_grow(void **state)
{
    struct mg_map m = { 0 };

    (void)state;
    for (int i = 0; i < 100000; i++) {
        snprintf(keys[i % 5000], sizeof(keys[0]), "k%d", i);
        assert_int_equal(mg_map_put(&m, mg_str_c(keys[i % 5000]), keys, NULL), 0);
        assert_non_null(mg_map_remove(&m, mg_str_c(keys[i % 5000])));
    }
    assert_true(m.size <= 16);
    mg_map_deinit(&m);
}

static void a_map_survives_running_out_of_memory(void **state)
{
    struct mg_map m = { 0 };

    (void)state;
    fail_allocation(1);
    assert_int_equal(mg_map_put(&m, MG_STR("a"), keys, NULL), MG_ENOMEM);
    assert_int_equal(mg_map_put(&m, MG_STR("a"), keys, NULL), 0);
    assert_non_null(mg_map_get(&m, MG_STR("a")));
    assert_int_equal(mg_map_put(&m, mg_str(NULL, 0), keys, NULL), 0); /* an empty key is a key */
    assert_non_null(mg_map_get(&m, MG_STR("")));
    mg_map_deinit(&m);
    fail_allocation(0);
}

static struct mg_str escaped(struct mg_str s, enum mg_text_escape how)
{
    static char buffer[200];
    struct mg_text t;

    mg_text_init(&t, buffer, sizeof(buffer));
    mg_text_escape(&t, s, how);
    return mg_str(t.p, t.n);
}

static void controls_are_escaped_and_utf8_is_not(void **state)
{
    (void)state;
    assert_str_is(escaped(MG_STR("a\"b\\\n\x01\x7f"), MG_TEXT_JSON), "a\\\"b\\\\\\n\\u0001\\u007f");
    assert_str_is(escaped(MG_STR("a\"b\\\n\x1b[31m"), MG_TEXT_PLAIN), "a\"b\\\\n\\x1b[31m");
    assert_str_is(escaped(MG_STR("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x99"), MG_TEXT_JSON), "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x99");
    assert_str_is(escaped(MG_STR("\xff\xc0\x80\xed\xa0\x80"), MG_TEXT_JSON), "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd");
    assert_str_is(escaped(MG_STR("\xe2\x82"), MG_TEXT_PLAIN), "\\xe2\\x82"); /* cut short */
    assert_str_is(escaped(MG_STR("\xc2\x9b"), MG_TEXT_PLAIN), "\\x9b"); /* CSI in one byte */
}

static void what_does_not_fit_is_cut_between_characters(void **state)
{
    char buffer[8];
    struct mg_text t;

    (void)state;
    mg_text_init(&t, buffer, 6);
    mg_text_escape(&t, MG_STR("abcde\nxyz"), MG_TEXT_JSON);
    assert_str_is(mg_str(t.p, t.n), "abcde"); /* no half an escape, nothing after it */
    assert_true(t.was_cut);
}

static struct mg_str number(double v)
{
    static char buffer[60];
    struct mg_text t;

    mg_text_init(&t, buffer, sizeof(buffer));
    mg_text_number(&t, v);
    return mg_str(t.p, t.n);
}

static void numbers_read_back_the_same(void **state)
{
    (void)state;
    assert_str_is(number(502), "502");
    assert_str_is(number(-0.0), "0");
    assert_str_is(number(0.1), "0.1");
    assert_str_is(number(1e300), "1e+300");
    assert_str_is(number(1.0 / 3), "0.33333333333333331");
    assert_str_is(number(NAN), "null");
    assert_str_is(number(-INFINITY), "null");
}

static void errors_have_names(void **state)
{
    struct mg_error err;

    (void)state;
    assert_string_equal(mg_error_name(UV_ETIMEDOUT), "ETIMEDOUT");
    assert_string_equal(mg_error_name(MG_EENDED), "EENDED");
    assert_non_null(mg_error_name(-99999));
    assert_int_equal(mg_fail(&err, MG_ECONF, "%s: %d", "x", 1), MG_ECONF);
    assert_int_equal(err.code, MG_ECONF);
    assert_string_equal(err.message, "x: 1");
    assert_int_equal(mg_fail(NULL, MG_ECONF, "x"), MG_ECONF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_is_ascii_alone),
        cmocka_unit_test(order_is_bytewise_and_shorter_first),
        cmocka_unit_test(lists_are_cut_and_trimmed),
        cmocka_unit_test(numbers_are_whole_or_nothing),
        cmocka_unit_test(the_nearest_word_is_found_and_a_far_one_is_not),
        cmocka_unit_test(hashes_depend_on_every_byte),
        cmocka_unit_test(a_map_keeps_what_was_put),
        cmocka_unit_test(a_map_that_is_filled_and_emptied_does_not_grow),
        cmocka_unit_test(a_map_survives_running_out_of_memory),
        cmocka_unit_test(controls_are_escaped_and_utf8_is_not),
        cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
        cmocka_unit_test(numbers_read_back_the_same),
        cmocka_unit_test(errors_have_names),
    };

    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
