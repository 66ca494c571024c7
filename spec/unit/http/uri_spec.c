/* Request targets and their normal form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/uri.h"

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

/* out NULL: refused */
struct pair { const char *in, *out; };

static const struct pair paths[] = {
    { "/", "/" }, { "/a/b", "/a/b" }, { "/a/", "/a/" }, { "//", "//" }, { "//a//b", "//a//b" },
    { "/.", "/" }, { "/./", "/" }, { "/a/.", "/a/" }, { "/a/./b", "/a/b" }, { "/a/..", "/" }, { "/a/../", "/" },
    { "/a/../b", "/b" }, { "/a/b/../../c", "/c" }, { "/a/b/..", "/a/" }, { "/a//../b", "/a/b" }, { "//..", "/" },
    { "/...", "/..." }, { "/.a", "/.a" }, { "/..a", "/..a" }, { "/a.", "/a." }, { "/a..", "/a.." }, { "/a/.b/..c", "/a/.b/..c" },
    { "/..", NULL }, { "/../", NULL }, { "/../a", NULL }, { "/a/../..", NULL }, { "/a/../../b", NULL }, { "/./..", NULL },
    { "/%2e", "/" }, { "/%2E%2e/a", NULL }, { "/a/%2e%2E/b", "/b" }, { "/a/.%2e/b", "/b" }, { "/a/%2e/b", "/a/b" },
    { "/%41%7a%30%2d%5F%7E", "/Az0-_~" }, { "/%2f", "/%2F" }, { "/a%2Fb", "/a%2Fb" }, { "/a%2f..%2fb", "/a%2F..%2Fb" },
    { "/%c3%a4", "/%C3%A4" }, { "/\xc3\xa4", "/%C3%A4" }, { "/%20", "/%20" }, { "/ ", "/%20" }, { "/%25", "/%25" },
    { "/%252e", "/%252e" }, { "/a?b", "/a%3Fb" }, { "/a#b", "/a%23b" }, { "/\\..\\", "/%5C..%5C" }, { "/{a}|^`\"<>", "/%7Ba%7D%7C%5E%60%22%3C%3E" },
    { "/[1]", "/%5B1%5D" }, { "/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;=" }, { "/%3a%40", "/%3A%40" }, { "/%0a", "/%0A" },
    { "/%00", NULL }, { "/a%00b", NULL }, { "/%", NULL }, { "/%2", NULL }, { "/%g0", NULL }, { "/%0g", NULL }, { "/a%", NULL },
    { "/\n", NULL }, { "/\x7f", NULL }, { "/\t", NULL }, { "", NULL }, { "a", NULL }, { "*", NULL }, { "%2fa", NULL },
    { "/a/b/c/../../../", "/" }, { "/a/b/c/../../../..", NULL }, { "/;a/..;/b", "/;a/..;/b" },
};

static void paths_have_one_normal_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct mg_str out, again;
        int rc = mg_uri_normalise_path(mg_str_c(paths[i].in), &arena, &out);

        if ((rc == 0) != (paths[i].out != NULL) || (rc == 0 && !mg_str_eq(out, mg_str_c(paths[i].out))))
            fail_msg("%s: %d %.*s", paths[i].in, rc, rc == 0 ? (int)out.n : 0, rc == 0 ? out.p : "");
        if (rc != 0)
            continue;
        assert_int_equal(mg_uri_normalise_path(out, &arena, &again), 0);
        assert_true(mg_str_eq(out, again));
    }
}

static void a_normal_path_is_not_copied(void **state)
{
    struct mg_str path = MG_STR("/users/42/x.y"), out;

    (void)state;
    assert_int_equal(mg_uri_normalise_path(path, NULL, &out), 0);
    assert_ptr_equal(out.p, path.p);
}

static void a_path_beyond_the_budget_is_refused(void **state)
{
    struct mg_arena poor;
    struct mg_str out;

    (void)state;
    mg_arena_init(&poor, NULL, 0);
    assert_int_equal(mg_uri_normalise_path(MG_STR("/a/../b"), &poor, &out), MG_ENOMEM);
    mg_arena_deinit(&poor);
}

struct target { const char *in; int rc; const char *scheme, *authority, *path, *query; bool has_query; };

static const struct target targets[] = {
    { "/", 0, "", "", "/", "", false },
    { "/a?b=c", 0, "", "", "/a", "b=c", true },
    { "/a?", 0, "", "", "/a", "", true },
    { "/a?b?c/..", 0, "", "", "/a", "b?c/..", true },
    { "/?%00%zz\"'", 0, "", "", "/", "%00%zz\"'", true },
    { "/a/../b?x", 0, "", "", "/b", "x", true },
    { "*", 0, "", "", "*", "", false },
    { "http://a", 0, "http", "a", "/", "", false },
    { "http://a:80/b/./c?d", 0, "http", "a:80", "/b/c", "d", true },
    { "HTTPS://A?x", 0, "HTTPS", "A", "/", "x", true },
    { "http://[::1]:8080/x", 0, "http", "[::1]:8080", "/x", "", false },
    { "//a/b", 0, "", "", "//a/b", "", false },
    { "http://", MG_ESYNTAX, "", "", "", "", false },
    { "http:///a", MG_ESYNTAX, "", "", "", "", false },
    { "http://u:p@a/", MG_ESYNTAX, "", "", "", "", false },
    { "http://a b/", MG_ESYNTAX, "", "", "", "", false },
    { "http://a:x/", MG_ESYNTAX, "", "", "", "", false },
    { "ftp://a/", MG_ESYNTAX, "", "", "", "", false },
    { "a:80", MG_ESYNTAX, "", "", "", "", false },
    { "", MG_ESYNTAX, "", "", "", "", false },
    { "?a", MG_ESYNTAX, "", "", "", "", false },
    { "/a#b", MG_ESYNTAX, "", "", "", "", false },
    { "/a?b#c", MG_ESYNTAX, "", "", "", "", false },
    { "/a?b c", MG_ESYNTAX, "", "", "", "", false },
    { "/a b", MG_ESYNTAX, "", "", "", "", false },
    { "/a?\x01", MG_ESYNTAX, "", "", "", "", false },
    { "/..?x", MG_ESYNTAX, "", "", "", "", false },
};

static void targets_fall_into_their_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const struct target *t = &targets[i];
        struct mg_uri u;

        if (mg_uri_parse(mg_str_c(t->in), &arena, &u) != t->rc)
            fail_msg("%s", t->in);
        if (t->rc != 0)
            continue;
        if (!mg_str_eq(u.scheme, mg_str_c(t->scheme)) || !mg_str_eq(u.authority, mg_str_c(t->authority)) ||
            !mg_str_eq(u.path, mg_str_c(t->path)) || !mg_str_eq(u.query, mg_str_c(t->query)) || u.has_query != t->has_query)
            fail_msg("%s: path %.*s query %.*s", t->in, (int)u.path.n, u.path.p, (int)u.query.n, u.query.p);
    }
}

static void percent_encoding_is_undone(void **state)
{
    struct mg_str out;

    (void)state;
    assert_int_equal(mg_uri_decode(MG_STR("a%20b%2B+%00"), false, &arena, &out), 0);
    assert_int_equal(out.n, 6);
    assert_memory_equal(out.p, "a b++\0", 6);
    assert_int_equal(mg_uri_decode(MG_STR("a+b"), true, &arena, &out), 0);
    assert_true(mg_str_eq(out, MG_STR("a b")));
    assert_int_equal(mg_uri_decode(MG_STR("a+b"), false, &arena, &out), 0);
    assert_true(mg_str_eq(out, MG_STR("a+b")));
    assert_int_equal(mg_uri_decode(MG_STR("%4"), false, &arena, &out), MG_ESYNTAX);
    assert_int_equal(mg_uri_decode(MG_STR("%zz"), false, &arena, &out), MG_ESYNTAX);
    assert_int_equal(mg_uri_decode(mg_str(NULL, 0), true, &arena, &out), 0);
}

static void all_but_unreserved_bytes_are_encoded(void **state)
{
    struct mg_str out;

    (void)state;
    assert_int_equal(mg_uri_encode(MG_STR("a b/c?~\xff"), &arena, &out), 0);
    assert_true(mg_str_eq(out, MG_STR("a%20b%2Fc%3F~%FF")));
    assert_int_equal(mg_uri_encode(MG_STR("aZ09-._~"), NULL, &out), 0);
    assert_true(mg_str_eq(out, MG_STR("aZ09-._~")));
}

static void a_query_is_walked_argument_by_argument(void **state)
{
    struct mg_str rest = MG_STR("&a=1&&b&c==&=d&"), name, value;
    const struct { const char *name, *value; bool has; } expect[] = { { "a", "1", true }, { "b", "", false }, { "c", "=", true }, { "", "d", true } };
    bool has;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_true(mg_query_next(&rest, &name, &value, &has));
        assert_true(mg_str_eq(name, mg_str_c(expect[i].name)));
        assert_true(mg_str_eq(value, mg_str_c(expect[i].value)));
        assert_int_equal(has, expect[i].has);
    }
    assert_false(mg_query_next(&rest, &name, &value, &has));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_have_one_normal_form),
        cmocka_unit_test(a_normal_path_is_not_copied),
        cmocka_unit_test(a_path_beyond_the_budget_is_refused),
        cmocka_unit_test(targets_fall_into_their_parts),
        cmocka_unit_test(percent_encoding_is_undone),
        cmocka_unit_test(all_but_unreserved_bytes_are_encoded),
        cmocka_unit_test(a_query_is_walked_argument_by_argument),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
