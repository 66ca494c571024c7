#include "unit.h"

#include "cli/cli.h"

static const struct mg_option options[] = {
    { "config", 'c', "FILE", "a file", false }, { "header", 'H', "H", "a header", true }, { "quiet", 'q', NULL, "say less", false }, { 0 }
};
static const struct mg_command about = { .name = "x", .usage = "x", .doc = "x", .options = options, .rest_max = 2 };

static bool parse(struct mg_cli *cli, int argc, const char **argv)
{
    return mg_cli_parse(cli, &about, argc, (char **)(uintptr_t)argv);
}

static void options_and_words_may_be_mixed(void **state)
{
    const char *argv[] = { "x", "one", "-c", "f", "--header=a", "two", "-Hb", "--quiet" };
    struct mg_cli cli;

    (void)state;
    assert_false(parse(&cli, 8, argv));
    assert_string_equal(mg_cli_text(&cli, "config"), "f");
    assert_string_equal(mg_cli_text_at(&cli, "header", 0), "a");
    assert_string_equal(mg_cli_text_at(&cli, "header", 1), "b");
    assert_null(mg_cli_text_at(&cli, "header", 2));
    assert_true(mg_cli_flag(&cli, "quiet"));
    assert_int_equal(cli.rest_n, 2);
    assert_string_equal(cli.rest[0], "one");
    assert_string_equal(cli.rest[1], "two");
}

static void two_dashes_end_the_options(void **state)
{
    const char *argv[] = { "x", "--", "--quiet" };
    struct mg_cli cli;

    (void)state;
    assert_false(parse(&cli, 3, argv));
    assert_false(mg_cli_flag(&cli, "quiet"));
    assert_string_equal(cli.rest[0], "--quiet");
}

static void what_makes_no_sense_is_told(void **state)
{
    const char *wrong[][4] = { { "x", "--nothing", NULL, NULL }, { "x", "-c", NULL, NULL }, { "x", "--quiet=1", NULL, NULL },
                               { "x", "a", "b", "c" }, { "x", "-q", "-q", NULL } };
    struct mg_cli cli;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int n = 0;

        while (n < 4 && wrong[i][n])
            n++;
        assert_true(parse(&cli, n, wrong[i]));
        assert_int_equal(cli.exit_code, MG_EXIT_USAGE);
    }
}

static void a_number_is_whole_and_within_its_range(void **state)
{
    const char *good[] = { "x", "-c", "12" }, *bad[] = { "x", "-c", "12x" }, *big[] = { "x", "-c", "99" };
    struct mg_cli cli;
    long n;

    (void)state;
    assert_false(parse(&cli, 3, good));
    assert_true(mg_cli_number(&cli, "config", 1, 20, 5, &n));
    assert_int_equal(n, 12);
    assert_false(parse(&cli, 3, bad));
    assert_false(mg_cli_number(&cli, "config", 1, 20, 5, &n));
    assert_false(parse(&cli, 3, big));
    assert_false(mg_cli_number(&cli, "config", 1, 20, 5, &n));
    assert_false(parse(&cli, 1, good));
    assert_true(mg_cli_number(&cli, "config", 1, 20, 5, &n));
    assert_int_equal(n, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_words_may_be_mixed),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(what_makes_no_sense_is_told),
        cmocka_unit_test(a_number_is_whole_and_within_its_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
