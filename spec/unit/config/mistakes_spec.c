/* mistakes_spec.c - a whole config from file to snapshot: every mistake told with its line, and none where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "server/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char path[64];
static struct mg_build build;

static int make(const char *text)
{
    int fd;

    strcpy(path, "/tmp/mg-mistakes-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    build = (struct mg_build){ .path = path, .number = 1, .workers = 1 };
    fd = mg_snapshot_build(&build);
    unlink(path);
    return fd;
}

static void forget(void)
{
    free(build.mistakes);
    mg_snapshot_free(build.snapshot);
    build = (struct mg_build){ 0 };
}

/* "FILE:line: rest" is among what was told. */
static void assert_told(int line, const char *rest)
{
    char whole[512];

    snprintf(whole, sizeof(whole), "%s:%d: %s", path, line, rest);
    if (!strstr(build.mistakes, whole))
        fail_msg("not told: %s\nbut:\n%s", whole, build.mistakes);
}

static const char many[] =
    "local function limit(n)\n"
    "  return { \"rate-limit\", limit = n, window = \"1 minute\" }\n"
    "end\n"
    "return {\n"
    "  listen = { \"0.0.0.0:99999\", { \"127.0.0.1:18080\", tls = { cert = \"nowhere.pem\", key = \"nowhere.key\" } } },\n"
    "  admin = \"0.0.0.0:9901\",\n"
    "  workers = 400,\n"
    "  wrokers = 4,\n"
    "  timeouts = { client_head = \"ten seconds\" },\n"
    "  limits = { head = \"32kb\" },\n"
    "  trusted_proxies = { \"10.0.0.1/8x\" },\n"
    "  forwarded = \"rfc-7239\",\n"
    "  errors = { body = \"${error.titel\" },\n"
    "  log = { level = \"verbose\" },\n"
    "  consumers = {\n"
    "    alice = { kyes = { \"k-1\" } },\n"
    "    bob = { keys = { { \"k-2\", ide = \"x\" }, \"k-3\" } },\n"
    "    carol = { keys = \"k-4\", groups = 5 },\n"
    "    dave = { keys = \"k-4\" },\n"
    "  },\n"
    "  upstreams = {\n"
    "    users = { targets = { \"10.0.0.1\" }, balance = \"random\" },\n"
    "    empty = { },\n"
    "  },\n"
    "  plugins = { \"request-idd\" },\n"
    "  routes = {\n"
    "    { \"a\", path = \"/a/{id\", upstream = \"user\" },\n"
    "    { \"a\", path = \"/b\", upstream = \"ftp://x/\" },\n"
    "    { \"c\", path = \"/c/{id}\", methods = \"get\", rewrite = \"/v1/{idd}\", upstream = \"users\" },\n"
    "    { \"d\", path = \"/d\", headers = { [\"x-a\"] = { regex = \"(\" } }, plugins = { limit(5), { \"rate-limit\", limt = 5 } } },\n"
    "    { path = \"/e\", client = \"300.0.0.1\", scheme = \"htps\" },\n"
    "    { \"f\", path = \"/f\", plugins = { { \"rate-limit\", limit = 5, window = \"1s\", by = \"consumer\" } } },\n"
    "    { \"g\", path = \"/f\" },\n"
    "    { \"h\", path = \"/h\", plugins = { { \"key-auth\", when = true, on_eror = \"continue\" }, { on_requst = function() end }, { on_worker = function() end } } },\n"
    "  },\n"
    "}\n";

static void every_mistake_is_told_in_one_run(void **state)
{
    (void)state;
    assert_int_equal(make(many), MG_ECONF);
    assert_null(build.snapshot);
    assert_told(2, "routes.d.plugins[1].window: expected a duration");
    assert_told(5, "listen[1].address: expected an address");
    assert_told(5, "listen[2].tls: ");
    assert_told(6, "admin: the admin listener has no passwords");
    assert_told(7, "workers: expected a whole number from 1 to 63; found 400");
    assert_told(8, "wrokers: unknown key; did you mean \"workers\"?");
    assert_told(9, "timeouts.client_head: expected a duration");
    assert_told(10, "limits.head: expected a size");
    assert_told(11, "trusted_proxies[1]: expected an address, a network");
    assert_told(12, "forwarded: expected one of \"none\", \"x\", \"rfc7239\", \"both\"; found \"rfc-7239\"; did you mean \"rfc7239\"?");
    assert_told(13, "errors.body: ");
    assert_told(14, "log.level: expected one of");
    assert_told(16, "consumers.alice.kyes: unknown key; did you mean \"keys\"?");
    assert_told(17, "consumers.bob.keys[1].ide: unknown key; did you mean \"id\"? (plugin key-auth)");
    assert_told(18, "consumers.carol.groups: expected text");
    assert_told(19, "consumers.dave.keys: consumer \"dave\" has the same keys credential as consumer \"carol\"");
    assert_told(22, "upstreams.users.balance: ");
    assert_told(22, "upstreams.users.targets[1]: expected \"host:port\"");
    assert_told(23, "upstreams.empty.targets: required");
    assert_told(25, "plugins[1]: there is no plugin \"request-idd\"; did you mean \"request-id\"?");
    assert_told(27, "routes.a.upstream: there is no upstream \"user\"; did you mean \"users\"?");
    assert_told(27, "routes.a: path \"/a/{id\"");
    assert_told(28, "routes.a: another route has the id \"a\"");
    assert_told(28, "routes.a.upstream: expected http://");
    assert_told(29, "routes.c.methods: expected a method in upper case");
    assert_told(29, "routes.c.rewrite: the path \"/c/{id}\" has no {idd}");
    assert_told(30, "routes.d.headers.x-a.regex: not a regular expression");
    assert_told(30, "routes.d.plugins[2].limt: unknown key; did you mean \"limit\"? (plugin rate-limit)");
    assert_told(31, "routes[5].id: required");
    assert_told(31, "routes[5].scheme: expected one of");
    assert_told(31, "routes[5].client: expected an address");
    assert_told(32, "routes.f.plugins[1]: rate-limit needs \"consumer\"");
    assert_told(33, "routes.g: route \"g\" matches exactly the same requests as route \"f\"");
    assert_told(34, "routes.h.plugins[1].when: expected a function; found true");
    assert_told(34, "routes.h.plugins[1].on_eror: unknown key; did you mean \"on_error\"?");
    assert_told(34, "routes.h.plugins[2]: a table of phase functions: unknown key \"on_requst\"");
    assert_told(34, "routes.h.plugins[3]: a table of phase functions has no \"on_worker\": that is for a plugin in a file of its own");
    assert_int_equal(build.mistakes_n, 37);
    assert_null(strstr(build.mistakes, "k-4")); /* keys are secret */
    forget();
}

static void a_right_config_makes_a_whole_snapshot(void **state)
{
    const struct mg_snapshot *s;
    const struct mg_credential *c;

    (void)state;
    assert_int_equal(make("return { listen = { '127.0.0.1:0', { 'unix:x.sock', name = 'local', timeouts = { client_idle = '1s' } } },\n"
                          "  admin = '[::1]:0', workers = 3, timeouts = { exchange = '9s' }, limits = { body = '1m' },\n"
                          "  consumers = { alice = { groups = 'gold', metadata = { plan = 'pro', n = 5 }, keys = { 'k-1', { 'k-2', id = 'lap' } } } },\n"
                          "  upstreams = { u = { targets = { '10.0.0.1:80', { '10.0.0.2:81', weight = 3 } }, keepalive = { max = 5 } } },\n"
                          "  plugins = 'request-id',\n"
                          "  routes = { { 'a', host = 'A.example.com', path = { '/a/{id}', '/b/{id:[0-9]+}' }, methods = 'GET', upstream = 'u',\n"
                          "      rewrite = '/v1/{id}/x', timeouts = { exchange = '1s', connect = '2s' }, limits = { body = 0 },\n"
                          "      plugins = { 'key-auth', { 'rate-limit', limit = 5, window = '1s', by = function(x) return 'k' end },\n"
                          "        { 'rate-limit', limit = 9, window = '1h' }, { on_request = function() end, when = function() return true end } } },\n"
                          "    { 'b', path = '/old/*', upstream = 'https://Example.com/base/', strip_prefix = true, host_header = 'upstream' } } }"), 0);
    assert_null(build.mistakes);
    s = build.snapshot;
    assert_int_equal(s->listeners_n, 3);
    assert_true(s->listeners[2].is_admin);
    assert_int_equal(s->listeners[1].timeouts.client_idle, 1000);
    assert_int_equal(s->listeners[0].timeouts.client_idle, 75000);
    assert_int_equal(s->workers, 1);
    assert_int_equal(s->routes_n, 2);
    assert_int_equal(s->routes[0].timeouts.exchange, 1000);
    assert_int_equal(s->routes[1].timeouts.exchange, -1); /* its listener's */
    assert_int_equal(s->listeners[0].timeouts.exchange, 9000);
    assert_int_equal(s->routes[0].limits.body, 0);
    assert_int_equal(s->routes[1].limits.body, -1);
    assert_int_equal(s->listeners[0].limits.body, 1 << 20);
    assert_int_equal(s->routes[0].connect_ms, 2000);
    assert_int_equal(s->routes[1].connect_ms, -1);
    assert_int_equal(s->routes[0].rewrite_parts_n, 3);
    assert_int_equal(s->routes[0].upstream->targets[1].weight, 3);
    assert_int_equal(s->routes[0].upstream->keepalive_max, 5);
    assert_string_equal(s->routes[1].upstream->name.p, "https://example.com:443");
    assert_true(s->routes[1].upstream->is_tls);
    assert_string_equal(s->routes[1].upstream_path.p, "/base/");
    assert_int_equal(s->routes[0].chain->entries_n, 5);
    assert_string_equal(s->routes[0].chain->entries[3]->info.id.p, "rate-limit#2");
    assert_true(s->routes[0].chain->entries[4]->when >= 0);
    assert_int_equal(s->routes[1].chain->entries_n, 1);
    c = mg_consumers_credential(s->consumers, MG_STR("keys"), MG_STR("k-2"));
    assert_non_null(c);
    assert_string_equal(c->id.p, "lap");
    assert_string_equal(c->consumer->name.p, "alice");
    assert_string_equal(c->consumer->metadata[0].value.p, "5");
    forget();
}

static void a_config_that_raises_is_one_mistake(void **state)
{
    (void)state;
    assert_int_equal(make("return { listen = nowhere.x }"), MG_ECONF);
    assert_int_equal(build.mistakes_n, 1);
    assert_told(1, "attempt to index global 'nowhere'");
    forget();
}

static void nothing_is_left_of_many_builds(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(make(many), MG_ECONF);
        forget();
    }
}

static void ten_thousand_routes_are_built_in_a_second(void **state)
{
    struct timespec from, to;
    double s;

    (void)state;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(make("local r = {}\n"
                          "for i = 1, 10000 do r[i] = { 'r' .. i, host = 'h' .. i % 100 .. '.example.com', path = '/a' .. i .. '/{id}', upstream = 'u',\n"
                          "  plugins = { { 'headers', response = { set = { ['x-a'] = 'b' } } } } } end\n"
                          "return { listen = '127.0.0.1:0', upstreams = { u = { targets = '10.0.0.1:80' } }, routes = r }"), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    print_message("10,000 routes: %.0f ms\n", s * 1000);
    assert_int_equal(build.snapshot->routes_n, 10000);
#ifndef __SANITIZE_ADDRESS__
    assert_true(s < 1.0);
#endif
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_is_told_in_one_run),
        cmocka_unit_test(a_right_config_makes_a_whole_snapshot),
        cmocka_unit_test(a_config_that_raises_is_one_mistake),
        cmocka_unit_test(nothing_is_left_of_many_builds),
        cmocka_unit_test(ten_thousand_routes_are_built_in_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
