/* Header blocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/message.h"

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

static void every_known_name_is_found_whatever_its_case(void **state)
{
    (void)state;
    for (int id = 1; id < MG_H_COUNT; id++) {
        struct mg_str name = mg_header_id_name(id);
        char other[32];

        assert_true(name.n > 0 && name.n < sizeof other);
        assert_int_equal(mg_header_id_of(name), id);
        for (size_t i = 0; i < name.n; i++)
            other[i] = name.p[i] >= 'a' && name.p[i] <= 'z' ? (char)(name.p[i] - 32) : mg_lower(name.p[i]);
        assert_int_equal(mg_header_id_of(mg_str(other, name.n)), id);
        for (size_t i = 0; i < name.n; i++) { /* one letter off */
            memcpy(other, name.p, name.n);
            other[i] = 'q';
            assert_int_equal(mg_header_id_of(mg_str(other, name.n)), MG_H_OTHER);
        }
        assert_int_equal(mg_header_id_of(mg_str(name.p, name.n - 1)), MG_H_OTHER);
    }
    assert_int_equal(mg_header_id_of(mg_str("", 0)), MG_H_OTHER);
    assert_int_equal(mg_header_id_of(MG_STR("X-Anything-Else-That-Is-Long")), MG_H_OTHER);
    assert_int_equal(mg_header_id_name(MG_H_COUNT).n, 0);
}

static void fields_are_added_found_set_and_removed(void **state)
{
    struct mg_headers h = { 0 };
    struct mg_header *f;

    (void)state;
    assert_null(mg_headers_find(&h, MG_STR("a")));
    assert_int_equal(mg_headers_remove(&h, MG_STR("a")), 0);
    assert_int_equal(mg_headers_add(&h, &arena, MG_STR("A"), MG_STR("1")), 0);
    assert_int_equal(mg_headers_add(&h, &arena, MG_STR("Host"), MG_STR("x")), 0);
    assert_int_equal(mg_headers_add(&h, &arena, MG_STR("b"), MG_STR("2")), 0);
    assert_int_equal(mg_headers_add(&h, &arena, MG_STR("a"), MG_STR("3")), 0);
    f = mg_headers_find(&h, MG_STR("a"));
    assert_int_equal(f->value[0], '1');
    f = mg_headers_next(&h, f);
    assert_int_equal(f->value[0], '3');
    assert_null(mg_headers_next(&h, f));
    assert_non_null(mg_headers_find_id(&h, MG_H_HOST));
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_OTHER, MG_STR("a"), MG_STR("4"), true), 0);
    f = mg_headers_find(&h, MG_STR("a"));
    assert_int_equal(f->value[0], '4');
    assert_null(mg_headers_next(&h, f));
    assert_int_equal(mg_headers_set_id(&h, &arena, MG_H_COOKIE, mg_str(NULL, 0)), 0);
    assert_int_equal(mg_headers_find(&h, MG_STR("cOOKIE"))->value_n, 0);
    assert_int_equal(mg_headers_remove(&h, MG_STR("B")), 1);
    assert_null(mg_headers_find(&h, MG_STR("b")));
    assert_int_equal(mg_headers_remove_id(&h, MG_H_HOST), 1);
    assert_null(mg_headers_find_id(&h, MG_H_HOST));
    assert_int_equal(mg_headers_set_id(&h, &arena, MG_H_HOST, MG_STR("y")), 0);
    assert_memory_equal(mg_headers_find_id(&h, MG_H_HOST)->name, "Host", 4);
    assert_int_equal(mg_headers_add(&h, &arena, MG_STR(""), MG_STR("y")), MG_EINVAL);
}

static void a_field_that_was_put_is_known_to_be_fit_to_be_sent(void **state)
{
    struct mg_headers h = { 0 };

    (void)state;
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_OTHER, MG_STR("X-Long-Enough"), MG_STR("1"), true), 0);
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_OTHER, MG_STR("x-long-enough"), MG_STR("2"), true), 0);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.at[0].flags, MG_HEADER_CHECKED);
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_OTHER, MG_STR("X-Long-Enougj"), MG_STR("3"), false), 0);
    assert_int_equal(h.n, 2);
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_VIA, MG_STR("Via"), MG_STR("1"), true), 0);
    assert_int_equal(mg_headers_set_id(&h, &arena, MG_H_VIA, MG_STR("unchecked")), 0);
    assert_int_equal(h.n, 3);
    assert_int_equal(h.at[2].flags, 0);
    assert_int_equal(mg_headers_put(&h, &arena, MG_H_VIA, MG_STR("Via"), MG_STR("4"), true), 0);
    assert_int_equal(h.at[2].flags, 0); /* nobody has looked at the name that stays */
    assert_null(mg_headers_find(&h, MG_STR("X-Long-EnougH\r")));
    assert_null(mg_headers_find(&h, MG_STR("X\rLong\rEnough")));
}

static void a_block_grows_until_the_budget_ends(void **state)
{
    struct mg_headers h = { 0 };
    struct mg_arena small;
    int rc = 0, n = 0;

    (void)state;
    mg_arena_init(&small, NULL, 20000);
    for (; n < 10000 && rc == 0; n++)
        rc = mg_headers_add(&h, &small, MG_STR("X"), MG_STR("y"));
    assert_int_equal(rc, MG_ENOMEM);
    assert_true(n > 64);
    assert_int_equal(mg_headers_remove(&h, MG_STR("x")), n - 1);
    mg_arena_deinit(&small);
}

static void names_are_tokens_and_values_hold_no_controls(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool is_token = c > 32 && c < 127 && !strchr("\"(),/:;<=>?@[\\]{}", c);

        assert_int_equal(mg_header_name_ok(mg_str(&byte, 1)), is_token);
        assert_int_equal(mg_header_value_ok(mg_str(&byte, 1)), (c >= 32 && c != 127) || c == '\t');
    }
    assert_false(mg_header_name_ok(mg_str("", 0)));
    assert_true(mg_header_value_ok(mg_str("", 0)));
}

static void methods_and_reasons_are_known(void **state)
{
    (void)state;
    for (int m = MG_M_GET; m <= MG_M_TRACE; m++)
        assert_int_equal(mg_method_of(mg_method_text(m)), m);
    assert_int_equal(mg_method_of(MG_STR("get")), MG_M_OTHER);
    assert_int_equal(mg_method_of(MG_STR("GETS")), MG_M_OTHER);
    assert_int_equal(mg_method_of(MG_STR("PUSH")), MG_M_OTHER);
    assert_int_equal(mg_method_of(mg_str("", 0)), MG_M_OTHER);
    assert_true(mg_str_eq(mg_reason(404), MG_STR("Not Found")));
    assert_int_equal(mg_reason(299).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found_whatever_its_case),
        cmocka_unit_test(fields_are_added_found_set_and_removed),
        cmocka_unit_test(a_field_that_was_put_is_known_to_be_fit_to_be_sent),
        cmocka_unit_test(a_block_grows_until_the_budget_ends),
        cmocka_unit_test(names_are_tokens_and_values_hold_no_controls),
        cmocka_unit_test(methods_and_reasons_are_known),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
