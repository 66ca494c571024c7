/* check_spec.c - tables against fields: what passes, what becomes of it, what is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "config/check.h"
#include "config/vm.h"

#include <stdlib.h>

struct pair { struct mg_str name; int64_t n; };
struct inner { struct mg_str host; int64_t weight; };
struct conf {
    bool on;
    int64_t limit, window, size;
    double ratio;
    struct mg_str name, secret, file, any;
    int color;
    struct mg_array hosts, weights, targets;
    struct inner inner, absent;
    int32_t fn, by_fn;
    struct mg_str by;
};
static const char *const colors[] = { "red", "green", NULL };
static const struct mg_field text = { .type = MG_STRING }, number = { .type = MG_INT };
static const struct mg_field inner_fields[] = {
    { .name = "host", .type = MG_STRING, .offset = offsetof(struct inner, host), .at = 1, .required = true },
    { .name = "weight", .type = MG_INT, .offset = offsetof(struct inner, weight), .preset = "1" },
    { 0 }
};
static const struct mg_field target = { .type = MG_TABLE, .fields = inner_fields };
#define F(name_, type_) .name = #name_, .type = type_, .offset = offsetof(struct conf, name_)
static const struct mg_field fields[] = {
    { F(on, MG_BOOL), .preset = "true" },
    { F(limit, MG_INT), .required = true, .has_min = true, .min = 1, .has_max = true, .max = 10 },
    { F(window, MG_DURATION), .preset = "1m" },
    { F(size, MG_SIZE), .preset = "64k" },
    { F(ratio, MG_NUMBER) },
    { F(name, MG_STRING), .pattern = "[a-z]+", .doc = "Small letters." },
    { F(secret, MG_STRING), .secret = true, .has_max = true, .max = 5 },
    { F(file, MG_PATH) },
    { F(any, MG_ANY) },
    { F(color, MG_ENUM), .values = colors, .preset = "green" },
    { F(hosts, MG_LIST), .item = &text, .item_bytes = sizeof(struct mg_str), .single = true, .preset = "a,b" },
    { F(weights, MG_MAP), .item = &number, .item_bytes = sizeof(struct pair) },
    { F(targets, MG_LIST), .item = &target, .item_bytes = sizeof(struct inner), .single = true },
    { F(inner, MG_TABLE), .fields = inner_fields },
    { F(absent, MG_TABLE), .fields = inner_fields },
    { F(fn, MG_FUNCTION) },
    { F(by, MG_STRING), .or_function = true, .function_offset = offsetof(struct conf, by_fn), .preset = "ip" },
    { 0 }
};

static struct mg_config *config;
static struct mg_check check;
static struct conf conf;

static int run(const char *source)
{
    struct mg_sources *s = mg_sources_new();
    struct mg_error err = { 0 };

    mg_config_free(config);
    config = NULL;
    mg_sources_put(s, MG_MAIN_SOURCE, "gateway.lua", mg_str_c(source));
    if (mg_config_load_sources(s, &config, &err) != 0)
        fail_msg("%s", err.message);
    mg_sources_unref(s);
    check = (struct mg_check){ .arena = &config->arena, .folder = MG_STR("/etc/gate"), .main_file = MG_STR("gateway.lua") };
    memset(&conf, 0, sizeof(conf));
    if (mg_fields_check(&check, fields, sizeof(struct mg_field), config->root, 0) == 0)
        assert_int_equal(mg_fields_fill(fields, sizeof(struct mg_field), config->root, &conf, &config->arena), 0);
    return (int)check.n;
}

static void assert_told(const char *message)
{
    struct mg_str all;

    mg_config_locate(config);
    all = mg_check_text(&check, &config->arena);
    if (!strstr(all.p, message))
        fail_msg("not told: %s\nbut: %s", message, all.p);
}

static int teardown(void **state)
{
    (void)state;
    mg_config_free(config);
    config = NULL;
    return 0;
}

static void defaults_fill_what_is_absent(void **state)
{
    (void)state;
    assert_int_equal(run("return { limit = 5 }"), 0);
    assert_true(conf.on);
    assert_int_equal(conf.limit, 5);
    assert_int_equal(conf.window, 60000);
    assert_int_equal(conf.size, 65536);
    assert_int_equal(conf.color, 1);
    assert_int_equal(conf.hosts.n, 2);
    assert_string_equal(((const struct mg_str *)conf.hosts.items)[1].p, "b");
    assert_int_equal(conf.fn, -1);
    assert_int_equal(conf.by_fn, -1);
    assert_string_equal(conf.by.p, "ip");
    assert_null(conf.absent.host.p);
    assert_int_equal(conf.absent.weight, 0);
    assert_string_equal(mg_value_get(config->root, "by")->text.p, "ip"); /* in the tree as well, for Lua */
}

static void every_form_of_a_value_becomes_the_full_one(void **state)
{
    const struct inner *t;

    (void)state;
    assert_int_equal(run("return { limit = 1, hosts = 'x', weights = { b = 2, a = 1 }, inner = 'h', file = 'a.pem', window = '1.5s', size = '1m',\n"
                         "  targets = { 'p', { 'q', weight = 3 } }, any = { 1, { x = true } }, fn = function() end, by = function() end, ratio = 0.5 }"), 0);
    assert_int_equal(conf.hosts.n, 1);
    assert_int_equal(conf.weights.n, 2);
    assert_string_equal(((const struct pair *)conf.weights.items)[0].name.p, "a");
    assert_int_equal(((const struct pair *)conf.weights.items)[1].n, 2);
    assert_string_equal(conf.inner.host.p, "h");
    assert_int_equal(conf.inner.weight, 1);
    assert_string_equal(conf.file.p, "/etc/gate/a.pem");
    assert_int_equal(conf.window, 1500);
    assert_int_equal(conf.size, 1 << 20);
    t = conf.targets.items;
    assert_string_equal(t[1].host.p, "q");
    assert_int_equal(t[1].weight, 3);
    assert_string_equal(conf.any.p, "[1,{\"x\":true}]");
    assert_int_equal(conf.by_fn, 0); /* members are walked by name */
    assert_int_equal(conf.fn, 1);
    assert_int_equal(run("return { limit = 1, targets = { 'q', weight = 3 } }"), 0);
    assert_int_equal(conf.targets.n, 1);
}

static void each_mistake_says_what_was_expected(void **state)
{
    (void)state;
    assert_int_equal(run("return {\n limit = 11,\n window = 5,\n size = '5q',\n name = 'A1',\n color = 'gren',\n on = 1,\n"
                         " secret = 'hunter2',\n inner = { wieght = 1 },\n weights = { 1 },\n fn = 5,\n any = { function() end },\n ratio = 0/0 }"), 13);
    assert_told("gateway.lua:2: limit: expected a whole number from 1 to 10; found 11");
    assert_told("gateway.lua:3: window: expected a duration (such as \"5s\"); found 5");
    assert_told("gateway.lua:4: size: expected a size");
    assert_told("gateway.lua:5: name: expected text that matches [a-z]+; found \"A1\". Small letters.");
    assert_told("gateway.lua:6: color: expected one of \"red\", \"green\"; found \"gren\"; did you mean \"green\"?");
    assert_told("gateway.lua:7: on: expected true or false; found 1");
    assert_told("gateway.lua:8: secret: expected text of at most 5 bytes; found text\n");
    assert_told("gateway.lua:9: inner.wieght: unknown key; did you mean \"weight\"?");
    assert_told("gateway.lua:9: inner.host: required: text");
    assert_told("gateway.lua:10: weights[1]: expected a name = value");
    assert_told("gateway.lua:11: fn: expected a function; found 5");
    assert_told("gateway.lua:12: any[1]: expected plain data; found a function");
    assert_told("gateway.lua:13: ratio: expected a number");
    assert_null(strstr(mg_check_text(&check, &config->arena).p, "hunter2"));
}

static void an_older_plugins_table_is_read_by_its_stride(void **state)
{
    size_t stride = offsetof(struct mg_field, doc); /* it did not know the last member */
    char table[3 * sizeof(struct mg_field)] = { 0 };
    struct mg_field one = { .name = "a", .type = MG_INT, .offset = 0 }, two = { .name = "b", .type = MG_INT, .offset = 8, .preset = "7" };
    int64_t out[2] = { 0 };

    (void)state;
    run("return { limit = 1 }");
    memcpy(table, &one, stride);
    memcpy(table + stride, &two, stride);
    mg_config_free(config);
    config = NULL;
    {
        struct mg_sources *s = mg_sources_new();

        mg_sources_put(s, MG_MAIN_SOURCE, "gateway.lua", MG_STR("return { a = 3 }"));
        assert_int_equal(mg_config_load_sources(s, &config, NULL), 0);
        mg_sources_unref(s);
    }
    check = (struct mg_check){ .arena = &config->arena };
    assert_int_equal(mg_fields_check(&check, (const struct mg_field *)table, stride, config->root, 0), 0);
    assert_int_equal(mg_fields_fill((const struct mg_field *)table, stride, config->root, out, &config->arena), 0);
    assert_int_equal(out[0], 3);
    assert_int_equal(out[1], 7);
}

static void secrets_are_masked_in_a_copy(void **state)
{
    const struct mg_value *masked;

    (void)state;
    assert_int_equal(run("return { limit = 1, secret = 'abc', inner = 'h' }"), 0);
    masked = mg_fields_mask(fields, sizeof(struct mg_field), config->root, &config->arena);
    assert_string_equal(mg_value_get(masked, "secret")->text.p, "***");
    assert_string_equal(mg_value_get(config->root, "secret")->text.p, "abc");
    assert_string_equal(mg_value_get(mg_value_get(masked, "inner"), "host")->text.p, "h");
}

static void a_lua_plugins_table_is_the_same_as_a_c_one(void **state)
{
    const struct mg_field *made;
    struct mg_error err = { 0 };
    struct mg_sources *s = mg_sources_new();
    size_t bytes = 0;

    (void)state;
    mg_config_free(config);
    config = NULL;
    mg_sources_put(s, MG_MAIN_SOURCE, "gateway.lua",
                   MG_STR("return { good = { limit = { type = 'integer', min = 1, required = true, at = 1, doc = 'D.' },\n"
                          "    window = { type = 'duration', preset = '1s', max = '1h' }, names = { type = 'list', item = 'string', preset = { 'a', 'b' } } },\n"
                          "  bad = { { limit = { type = 'integr' } }, { x = { type = 'enum' } }, { y = { type = 'integer', preset = 'many', min = 1 } },\n"
                          "    { z = { type = 'string', dok = 'x' } } } }"));
    assert_int_equal(mg_config_load_sources(s, &config, &err), 0);
    mg_sources_unref(s);
    made = mg_fields_from_value(mg_value_get(config->root, "good"), &config->arena, &bytes, &err);
    assert_non_null(made);
    assert_string_equal(made[0].name, "limit");
    assert_true(made[0].required && made[0].at == 1 && made[0].min == 1);
    assert_string_equal(made[1].preset, "a,b");
    assert_true(made[2].max == 3600000);
    assert_null(made[3].name);
    assert_true(bytes >= 48);
    for (size_t i = 0; i < 4; i++)
        assert_null(mg_fields_from_value(mg_value_at(mg_value_get(config->root, "bad"), i), &config->arena, &bytes, &err));
    assert_non_null(strstr(err.message, "z.dok: unknown key; did you mean \"doc\"?"));
}

static void durations_and_sizes_are_exact(void **state)
{
    int64_t n;

    (void)state;
    assert_true(mg_duration_parse(MG_STR("250ms"), &n) && n == 250);
    assert_true(mg_duration_parse(MG_STR("2h"), &n) && n == 7200000);
    assert_true(mg_size_parse(MG_STR("10m"), &n) && n == 10485760);
    assert_true(mg_size_parse(MG_STR("12"), &n) && n == 12);
    assert_false(mg_duration_parse(MG_STR("5"), &n));
    assert_false(mg_duration_parse(MG_STR("-5s"), &n));
    assert_false(mg_duration_parse(MG_STR("5 s"), &n));
    assert_false(mg_duration_parse(MG_STR(""), &n));
    assert_false(mg_size_parse(MG_STR("1e3"), &n));
    assert_false(mg_size_parse(MG_STR("99999999999999g"), &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_absent),
        cmocka_unit_test(every_form_of_a_value_becomes_the_full_one),
        cmocka_unit_test(each_mistake_says_what_was_expected),
        cmocka_unit_test(an_older_plugins_table_is_read_by_its_stride),
        cmocka_unit_test(secrets_are_masked_in_a_copy),
        cmocka_unit_test(a_lua_plugins_table_is_the_same_as_a_c_one),
        cmocka_unit_test(durations_and_sizes_are_exact),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
