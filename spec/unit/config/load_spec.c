/* load_spec.c - running a config: what it may see, what comes out, where each value was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "config/config.h"
#include "config/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct mg_config *config;
static struct mg_error err;

static int load(const char *text)
{
    struct mg_sources *s = mg_sources_new();
    int rc;

    mg_config_free(config);
    config = NULL;
    err = (struct mg_error){ 0 };
    mg_sources_put(s, MG_MAIN_SOURCE, "gateway.lua", mg_str_c(text));
    rc = mg_config_load_sources(s, &config, &err);
    mg_sources_unref(s);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    mg_config_free(config);
    config = NULL;
    return 0;
}

static const struct mg_value *dig(const char *path)
{
    const struct mg_value *v = config->root;
    char key[64];
    int n, index;

    while (v && *path) {
        if (sscanf(path, "[%d]%n", &index, &n) == 1) {
            v = mg_value_at(v, (size_t)index - 1);
        } else {
            assert_int_equal(sscanf(path, "%63[a-zA-Z0-9_]%n", key, &n), 1);
            v = mg_value_get(v, key);
        }
        path += n;
        path += *path == '.';
    }
    return v;
}

static int line_of(const char *path)
{
    const struct mg_value *v = dig(path);

    assert_non_null(v);
    return v->line;
}

static void plain_data_becomes_a_tree(void **state)
{
    (void)state;
    assert_int_equal(load("return { listen = { '0:1', '0:2' }, workers = 4, deep = { on = true, ['x-y'] = 'z' } }"), 0);
    assert_string_equal(dig("listen[2]")->text.p, "0:2");
    assert_true(dig("workers")->number == 4);
    assert_true(dig("deep.on")->boolean);
    assert_string_equal(mg_value_path(mg_value_get(dig("deep"), "x-y"), &config->arena).p, "deep.x-y");
    assert_string_equal(mg_value_json(config->root, &config->arena).p,
                        "{\"deep\":{\"on\":true,\"x-y\":\"z\"},\"listen\":[\"0:1\",\"0:2\"],\"workers\":4}");
}

static void functions_are_numbered_in_one_order(void **state)
{
    (void)state;
    assert_int_equal(load("return { b = function() end, { function() end }, a = { z = function() end, c = function() end } }"), 0);
    assert_int_equal(config->functions_n, 4);
    assert_int_equal(dig("[1].[1]")->function, 0);
    assert_int_equal(dig("a.c")->function, 1);
    assert_int_equal(dig("a.z")->function, 2);
    assert_int_equal(dig("b")->function, 3);
}

static void routes_go_by_their_id_in_paths(void **state)
{
    (void)state;
    assert_int_equal(load("return { routes = { { 'users', plugins = { 'a', { 'b', limt = 1 } } } } }"), 0);
    assert_string_equal(mg_value_path(dig("routes[1].plugins[2].limt"), &config->arena).p, "routes.users.plugins[2].limt");
}

static void what_is_no_plain_data_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_int_equal(load("return {\n a = 1,\n b = { c = coroutine.create(function() end) } }"), MG_ECONF);
    assert_non_null(strstr(err.message, "gateway.lua:3: b.c: a thread"));
    assert_int_equal(load("local t = {}\nt.x = t\nreturn t"), MG_ECONF);
    assert_non_null(strstr(err.message, "contains itself"));
    assert_int_equal(load("return { a = {\n [1] = 1,\n [3] = 3 } }"), MG_ECONF);
    assert_non_null(strstr(err.message, "the key 3"));
    assert_int_equal(load("return 5"), MG_ECONF);
    assert_non_null(strstr(err.message, "returns number"));
    assert_int_equal(load("return {\n x = = }"), MG_ECONF);
    assert_non_null(strstr(err.message, "gateway.lua:2:"));
    assert_int_equal(load("local x\nreturn x.y"), MG_ECONF);
    assert_non_null(strstr(err.message, "gateway.lua:2: attempt to index local 'x'"));
}

static void pairs_and_next_go_in_sorted_order(void **state)
{
    (void)state;
    assert_int_equal(load("local t = { zeta = 1, alpha = 2, 10, 20, [true] = 3, mid = 4 }\n"
                          "local a, b = {}, {}\n"
                          "for k in pairs(t) do a[#a + 1] = tostring(k) end\n"
                          "for k in next, t do b[#b + 1] = tostring(k) end\n"
                          "return { a = table.concat(a, ' '), b = table.concat(b, ' ') }"), 0);
    assert_string_equal(dig("a")->text.p, "true 1 2 alpha mid zeta");
    assert_string_equal(dig("b")->text.p, "true 1 2 alpha mid zeta");
}

static void the_world_is_the_same_in_every_run(void **state)
{
    uint64_t digest;

    (void)state;
    setenv("MG_SPEC", "moon", 1);
    assert_int_equal(load("return { t = os.time(), d = os.date('%s'), r = math.random(1e9), e = os.getenv('MG_SPEC'), c = os.clock() }"), 0);
    assert_string_equal(dig("e")->text.p, "moon");
    digest = config->digest;
    unsetenv("MG_SPEC");
    mg_config_locate(config);
    assert_int_equal(line_of("r"), 1); /* the second run gave the same data, or there would be no lines */
    assert_true(digest == config->digest);
}

static void nothing_dangerous_is_in_reach(void **state)
{
    (void)state;
    assert_int_equal(load("local r = {}\n"
                          "for _, n in ipairs { 'execute', 'remove', 'rename', 'exit', 'tmpname' } do r[#r+1] = tostring(os[n]) end\n"
                          "for _, n in ipairs { 'popen', 'write', 'output', 'tmpfile' } do r[#r+1] = tostring(io[n]) end\n"
                          "r[#r+1] = tostring(dofile) r[#r+1] = tostring(package.loadlib) r[#r+1] = tostring(jit)\n"
                          "r[#r+1] = tostring(debug.getregistry) r[#r+1] = tostring((pcall(require, 'ffi')))\n"
                          "r[#r+1] = tostring(load(string.dump(function() end)))\n"
                          "r[#r+1] = tostring((pcall(io.open, '/tmp/x', 'w')))\n"
                          "return { table.concat(r, ' ') }"), 0);
    assert_string_equal(dig("[1]")->text.p, "nil nil nil nil nil nil nil nil nil nil nil nil nil false nil false");
}

static void an_endless_config_is_stopped(void **state)
{
    (void)state;
    setenv("MOONGATE_CONFIG_SECONDS", "1", 1);
    assert_int_equal(load("while true do pcall(function() while true do end end) end"), MG_ECONF);
    assert_non_null(strstr(err.message, "ran for more than 1 s"));
    unsetenv("MOONGATE_CONFIG_SECONDS");
}

static void the_gateway_may_be_named_but_not_called(void **state)
{
    (void)state;
    assert_int_equal(load("local mg = require 'moongate'\nlocal log = mg.log\nreturn { f = function() log.info('x') end }"), 0);
    assert_int_equal(load("local mg = require 'moongate'\nmg.log.info('x')\nreturn {}"), MG_ECONF);
    assert_non_null(strstr(err.message, "gateway.lua:2: mg.log.info works while a request is served"));
    assert_int_equal(load("return { x = require 'moongate'.json }"), MG_ECONF);
    assert_non_null(strstr(err.message, "only while a request is served"));
}

/* ---- files ---- */

static char folder[] = "/tmp/mg-config-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void modules_and_files_beside_the_config_are_captured(void **state)
{
    char path[256];
    const struct mg_source_file *f;

    (void)state;
    assert_non_null(mkdtemp(folder));
    write_file("gateway.lua", "local keys = require 'keys'\nlocal f = io.open('data.txt')\n"
                              "return { keys.one, f:read('*l'), f:read('*a'), secret.file('pw'), keys = keys.list }");
    write_file("keys.lua", "return {\n one = 'k-1',\n list = {\n  'a',\n  'b' } }");
    write_file("data.txt", "first\nrest\n");
    write_file("pw", "hunter2\n");
    snprintf(path, sizeof(path), "%s/gateway.lua", folder);
    mg_config_free(config);
    config = NULL;
    assert_int_equal(mg_config_load(path, &config, &err), 0);
    assert_string_equal(dig("[1]")->text.p, "k-1");
    assert_string_equal(dig("[2]")->text.p, "first");
    assert_string_equal(dig("[3]")->text.p, "rest\n");
    assert_string_equal(dig("[4]")->text.p, "hunter2");
    assert_string_equal(config->folder.p, folder);
    f = mg_sources_find(config->sources, MG_STR("keys"));
    assert_non_null(f);
    mg_config_locate(config);
    assert_int_equal(line_of("keys[2]"), 5);
    assert_true(mg_str_eq(dig("keys[2]")->file, f->path));
    write_file("gateway.lua", "return { secret.file('nowhere') }");
    mg_config_free(config);
    config = NULL;
    assert_int_equal(mg_config_load(path, &config, &err), MG_ECONF);
    assert_non_null(strstr(err.message, "secret.file"));
    assert_non_null(strstr(err.message, "nowhere: No such file"));
    snprintf(path, sizeof(path), "rm -r %s", folder);
    assert_int_equal(system(path), 0);
}

/* ---- lines ---- */

static void every_value_knows_its_line(void **state)
{
    (void)state;
    assert_int_equal(load("return {\n"                        /* 1 */
                          "  listen = 'x',\n"                 /* 2 */
                          "  routes = {\n"                    /* 3 */
                          "    { 'users',\n"                  /* 4 */
                          "      path = '/u',\n"              /* 5 */
                          "      plugins = { 'a',\n"          /* 6 */
                          "        { 'b', limt = 1,\n"        /* 7 */
                          "          ['x'] = 2 } } } } }"), 0); /* 8 */
    mg_config_locate(config);
    assert_int_equal(line_of("listen"), 2);
    assert_int_equal(line_of("routes"), 3);
    assert_int_equal(line_of("routes[1]"), 4);
    assert_int_equal(line_of("routes[1].path"), 5);
    assert_int_equal(line_of("routes[1].plugins[1]"), 6);
    assert_int_equal(line_of("routes[1].plugins[2]"), 7);
    assert_int_equal(line_of("routes[1].plugins[2].limt"), 7);
    assert_int_equal(line_of("routes[1].plugins[2].x"), 8);
}

static void tables_of_helpers_and_loops_know_their_lines(void **state)
{
    (void)state;
    assert_int_equal(load("local function limit(n)\n"              /* 1 */
                          "  return { 'rate-limit',\n"             /* 2 */
                          "    limt = n }\n"                       /* 3 */
                          "end\n"                                  /* 4 */
                          "local routes = {}\n"                    /* 5 */
                          "for i = 1, 3 do\n"                      /* 6 */
                          "  routes[i] = { 'r' .. i,\n"            /* 7 */
                          "    plugins = { limit(i) } }\n"         /* 8 */
                          "  routes[i].later = 1\n"                /* 9 */
                          "end\n"                                  /* 10 */
                          "return {\n"                             /* 11 */
                          "  routes = routes,\n"                   /* 12 */
                          "}"), 0);
    mg_config_locate(config);
    assert_int_equal(line_of("routes"), 12);
    assert_int_equal(line_of("routes[2]"), 7);
    assert_int_equal(line_of("routes[3].plugins"), 8);
    assert_int_equal(line_of("routes[3].plugins[1]"), 8);
    assert_int_equal(line_of("routes[3].plugins[1].limt"), 3);
    assert_int_equal(line_of("routes[3].later"), 7);
}

static void odd_syntax_survives_the_second_run(void **state)
{
    static const char text[] =
        "#!/usr/bin/env moongate\r\n"
        "local function f(t) return t, t end -- { not this }\n\r"
        "local function g(t) return f end\n"
        "local a = { 1, 2 }\n"
        "(f or g)(a)\n"
        "local b = f --[==[ a { in\n a comment ]==]\n { x = [[\n{]] }\n"
        "local c = g{ 1 }{ y = \"a\\\nb{\" }\n"
        "local o = { m = function(self, t) if t then return t end; local q = { 5 }; return q end }\n"
        "local d = o:m{ z = 0x1p4, w = 1e+5, [1] = '}' }\n"
        "local e = #{ 1, 2, 3 } + - #{ 1 }\n"
        "repeat until not {} == {} or true\n"
        "setfenv(1, { tostring = tostring })\n"
        "local h = { a, b, c, d, { e }, { n = function() local x, y = 1, 2; return { x, y } end } ; k = not {} }\n"
        "return h";

    (void)state;
    assert_int_equal(load(text), 0);
    mg_config_locate(config);
    assert_int_equal(line_of("[1]"), 17);
    assert_int_equal(line_of("[1].[2]"), 4);
    assert_int_equal(line_of("[2].x"), 8);
    assert_int_equal(line_of("[3].y"), 10);
    assert_int_equal(line_of("[4].w"), 13);
    assert_int_equal(line_of("k"), 17);
}

static void ten_thousand_routes_load_at_once(void **state)
{
    struct timespec from, to;
    double s;

    (void)state;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(load("local r = {}\n"
                          "for i = 1, 10000 do r[i] = { 'r' .. i, host = 'h' .. i .. '.example.com', path = { '/a/{id}', '/b/*' },\n"
                          "  upstream = 'u', plugins = { 'key-auth', { 'rate-limit', limit = 5, window = '1s' } } } end\n"
                          "return { routes = r }"), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    print_message("10,000 routes: %.0f ms\n", s * 1000);
    mg_config_locate(config);
    assert_int_equal(line_of("routes[10000].plugins[2].limit"), 3);
#ifndef __SANITIZE_ADDRESS__
    assert_true(s < 1.0);
#endif
}

static void a_vm_that_differs_is_found_out(void **state)
{
    lua_State *L = luaL_newstate();
    struct mg_sources *other = mg_sources_new();
    uint64_t digest = 0;

    (void)state;
    assert_int_equal(load("return { a = 1, f = function() return 7 end, b = { 2 } }"), 0);
    mg_config_open_env(L, config->sources, "/", false);
    lua_newtable(L);
    assert_int_equal(mg_config_run(L, config->sources, &err), 0);
    assert_int_equal(mg_config_collect_functions(L, 1, &digest), 1);
    assert_true(digest == mg_config_digest(config));
    lua_rawgeti(L, 1, 0);
    lua_call(L, 0, 1);
    assert_int_equal(lua_tointeger(L, -1), 7);
    lua_pop(L, 1);
    mg_sources_put(other, MG_MAIN_SOURCE, "gateway.lua", MG_STR("return { a = 1, f = function() end, b = { 3 } }"));
    lua_settop(L, 1);
    assert_int_equal(mg_config_run(L, other, &err), 0);
    mg_config_compare(L, config, &err);
    assert_non_null(strstr(err.message, "b[1]: differs"));
    lua_close(L);
    mg_sources_unref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_data_becomes_a_tree),
        cmocka_unit_test(functions_are_numbered_in_one_order),
        cmocka_unit_test(routes_go_by_their_id_in_paths),
        cmocka_unit_test(what_is_no_plain_data_is_refused_with_its_line),
        cmocka_unit_test(pairs_and_next_go_in_sorted_order),
        cmocka_unit_test(the_world_is_the_same_in_every_run),
        cmocka_unit_test(nothing_dangerous_is_in_reach),
        cmocka_unit_test(an_endless_config_is_stopped),
        cmocka_unit_test(the_gateway_may_be_named_but_not_called),
        cmocka_unit_test(modules_and_files_beside_the_config_are_captured),
        cmocka_unit_test(every_value_knows_its_line),
        cmocka_unit_test(tables_of_helpers_and_loops_know_their_lines),
        cmocka_unit_test(odd_syntax_survives_the_second_run),
        cmocka_unit_test(ten_thousand_routes_load_at_once),
        cmocka_unit_test(a_vm_that_differs_is_found_out),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
