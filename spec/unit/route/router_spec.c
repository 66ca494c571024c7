/* The router: which route a request belongs to, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "route/router.h"
#include "base/alloc.h"

/* ---- a small language to write routes and requests in ---- */

enum { ROUTES_MAX = 64 };
static struct mg_arena arena;
static struct mg_pattern routes[ROUTES_MAX];
static size_t routes_n;
static struct mg_router *router;
static struct mg_found found;
static struct mg_headers headers;
static char mistakes[4096];

static void note_mistake(void *arg, size_t pattern, const char *message)
{
    size_t n = strlen(mistakes);

    (void)arg;
    snprintf(mistakes + n, sizeof mistakes - n, "%zu: %s\n", pattern, message);
}

/* "a b" as an array of two; "" or NULL is none. */
static const struct mg_str *words(const char *text, size_t *n)
{
    struct mg_str *list = mg_arena_alloc(&arena, 32 * sizeof *list), rest = mg_str_c(text ? text : ""), item;

    *n = 0;
    while (rest.n && mg_str_next(&rest, ' ', &item))
        if (item.n)
            list[(*n)++] = item;
    return list;
}

static struct mg_pattern *route(const char *id, const char *hosts, const char *paths, const char *methods)
{
    struct mg_pattern *p = &routes[routes_n++];

    memset(p, 0, sizeof *p);
    p->id = mg_str_c(id);
    p->hosts = words(hosts, &p->hosts_n);
    p->paths = words(paths, &p->paths_n);
    p->methods = words(methods, &p->methods_n);
    p->route = p;
    return p;
}

static struct mg_cond *cond(struct mg_pattern *p, int kind, const char *name, const char *equals)
{
    struct mg_cond *conds = mg_arena_zalloc(&arena, 8 * sizeof *conds);

    if (p->conds_n)
        memcpy(conds, p->conds, p->conds_n * sizeof *conds);
    p->conds = conds;
    conds[p->conds_n] = (struct mg_cond){ .kind = kind, .name = mg_str_c(name), .equals = mg_str_c(equals) };
    return &conds[p->conds_n++];
}

static void compile(void)
{
    router = mg_router_new(routes, routes_n, note_mistake, NULL);
    if (!router)
        print_message("%s", mistakes);
    assert_non_null(router);
}

static struct mg_router_query query(const char *method, const char *host, const char *target)
{
    const char *mark = strchr(target, '?');
    struct mg_router_query q = { .host = mg_str_c(host), .port = 80, .method = mg_str_c(method), .headers = &headers };

    q.path = mark ? mg_str(target, (size_t)(mark - target)) : mg_str_c(target);
    q.query = mark ? mg_str_c(mark + 1) : mg_str("", 0);
    return q;
}

struct first { const struct mg_pattern *p; size_t lines; char why[512]; const char *asked; };

static void see_line(void *arg, const struct mg_pattern *p, const char *why_not)
{
    struct first *f = arg;

    f->lines++;
    if (!why_not && !f->p)
        f->p = p;
    if (f->asked && mg_str_eq(p->id, mg_str_c(f->asked)))
        snprintf(f->why, sizeof f->why, "%s", why_not ? why_not : "fits");
}

/* The id of the route that matches, or NULL. Explain must be of the same opinion. */
static const char *match_query(const struct mg_router_query *q)
{
    struct first f = { 0 };

    mg_router_match(router, q, &arena, &found);
    mg_router_explain(router, q, &arena, see_line, &f);
    assert_ptr_equal(f.p, found.pattern);
    assert_int_equal(f.lines, routes_n);
    return found.pattern ? mg_arena_copy(&arena, found.pattern->id.p, found.pattern->id.n).p : NULL;
}

static const char *match(const char *method, const char *host, const char *target)
{
    struct mg_router_query q = query(method, host, target);

    return match_query(&q);
}

static const char *get(const char *target) { return match("GET", "example.com", target); }

static const char *why_not(const char *id, const struct mg_router_query *q)
{
    struct first f = { .asked = id };

    mg_router_explain(router, q, &arena, see_line, &f);
    return mg_arena_copy(&arena, f.why, strlen(f.why)).p;
}

static const char *param(const char *name)
{
    for (int i = 0; i < found.params_n; i++)
        if (mg_str_eq(found.params[i].name, mg_str_c(name)))
            return mg_arena_copy(&arena, found.params[i].value.p, found.params[i].value.n).p;
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    mg_arena_init(&arena, NULL, SIZE_MAX);
    memset(&headers, 0, sizeof headers);
    routes_n = 0;
    router = NULL;
    mistakes[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mg_router_free(router);
    mg_arena_deinit(&arena);
    return 0;
}

static void header(const char *name, const char *value)
{
    assert_int_equal(mg_headers_add(&headers, &arena, mg_str_c(name), mg_str_c(value)), 0);
}

/* ---- hosts ---- */

static void an_exact_host_comes_before_a_wildcard_before_none(void **state)
{
    (void)state;
    route("none", "", "/", "");
    route("wild", "*.example.com", "/", "");
    route("exact", "api.example.com", "/", "");
    compile();
    assert_string_equal(match("GET", "api.example.com", "/"), "exact");
    assert_string_equal(match("GET", "www.example.com", "/"), "wild");
    assert_string_equal(match("GET", "a.b.example.com", "/"), "wild");
    assert_string_equal(match("GET", "example.com", "/"), "none");
    assert_string_equal(match("GET", "", "/"), "none");
}

static void a_longer_wildcard_comes_before_a_shorter(void **state)
{
    (void)state;
    route("short", "*.com", "/", "");
    route("long", "*.b.example.com", "/", "");
    route("middle", "*.example.com", "/", "");
    compile();
    assert_string_equal(match("GET", "a.b.example.com", "/"), "long");
    assert_string_equal(match("GET", "b.example.com", "/"), "middle");
    assert_string_equal(match("GET", "example.com", "/"), "short");
    assert_null(match("GET", "com", "/"));
    assert_null(match("GET", ".com", "/"));
}

static void the_host_decides_before_the_path(void **state)
{
    (void)state;
    route("path", "", "/a/b/c", "");
    route("host", "example.com", "/*", "");
    compile();
    assert_string_equal(get("/a/b/c"), "host");
}

static void a_host_without_a_fitting_route_leaves_it_to_the_next(void **state)
{
    (void)state;
    route("exact", "api.example.com", "/only", "");
    route("wild", "*.example.com", "/wild", "");
    route("none", "", "/any", "");
    compile();
    assert_string_equal(match("GET", "api.example.com", "/only"), "exact");
    assert_string_equal(match("GET", "api.example.com", "/wild"), "wild");
    assert_string_equal(match("GET", "api.example.com", "/any"), "none");
    assert_null(match("GET", "api.example.com", "/other"));
}

static void a_host_with_a_port_asks_for_that_port(void **state)
{
    struct mg_router_query q;

    (void)state;
    route("plain", "example.com", "/", "");
    route("ported", "example.com:8443", "/", "");
    route("six", "[::1]:8443", "/", "");
    compile();
    q = query("GET", "example.com", "/");
    assert_string_equal(match_query(&q), "plain");
    q.port = 8443;
    assert_string_equal(match_query(&q), "ported");
    q.host = MG_STR("[::1]");
    assert_string_equal(match_query(&q), "six");
    q.host = MG_STR("::1");
    assert_string_equal(match_query(&q), "six");
    q.port = 80;
    assert_null(match_query(&q));
}

static void a_dot_at_the_end_of_a_host_does_not_count(void **state)
{
    (void)state;
    route("exact", "example.com", "/", "");
    compile();
    assert_string_equal(match("GET", "example.com.", "/"), "exact");
}

/* ---- paths ---- */

static void segments_are_compared_from_the_left_by_kind(void **state)
{
    (void)state;
    route("star", "", "/u/*", "");
    route("param", "", "/u/{id}", "");
    route("regex", "", "/u/{id:[0-9]+}", "");
    route("literal", "", "/u/7", "");
    compile();
    assert_string_equal(get("/u/7"), "literal");
    assert_string_equal(get("/u/8"), "regex");
    assert_string_equal(param("id"), "8");
    assert_string_equal(get("/u/x"), "param");
    assert_string_equal(param("id"), "x");
    assert_string_equal(get("/u/x/y"), "star");
    assert_string_equal(param("*"), "x/y");
}

static void an_earlier_literal_beats_later_ones(void **state)
{
    (void)state;
    route("late", "", "/{x}/b/c/d", "");
    route("early", "", "/a/*", "");
    compile();
    assert_string_equal(get("/a/b/c/d"), "early");
}

static void a_branch_that_leads_nowhere_is_left_again(void **state)
{
    (void)state;
    route("deep", "", "/a/b/c", "");
    route("param", "", "/a/{x}/d", "");
    route("wide", "", "/{p}/{q}/{r}", "");
    route("rest", "", "/*", "");
    compile();
    assert_string_equal(get("/a/b/c"), "deep");
    assert_string_equal(get("/a/b/d"), "param");
    assert_string_equal(param("x"), "b");
    assert_string_equal(get("/a/b/e"), "wide");
    assert_string_equal(param("q"), "b");
    assert_string_equal(get("/a/b"), "rest");
    assert_string_equal(param("*"), "a/b");
    assert_int_equal(found.params_n, 1);
}

static void a_star_fits_at_a_segment_and_never_within(void **state)
{
    (void)state;
    route("old", "", "/old/*", "");
    compile();
    assert_string_equal(get("/old"), "old");
    assert_string_equal(param("*"), "");
    assert_string_equal(get("/old/"), "old");
    assert_string_equal(param("*"), "");
    assert_string_equal(get("/old/a/b/"), "old");
    assert_string_equal(param("*"), "a/b/");
    assert_int_equal(found.literal_bytes, 4);
    assert_null(get("/older"));
    assert_null(get("/ol"));
}

static void a_slash_at_the_end_counts_otherwise(void **state)
{
    (void)state;
    route("bare", "", "/a", "");
    route("slash", "", "/b/", "");
    compile();
    assert_string_equal(get("/a"), "bare");
    assert_null(get("/a/"));
    assert_string_equal(get("/b/"), "slash");
    assert_null(get("/b"));
    assert_null(get("/b//"));
}

static void an_exact_path_comes_before_a_star_at_the_same_place(void **state)
{
    (void)state;
    route("star", "", "/a/*", "");
    route("exact", "", "/a", "");
    route("root", "", "/", "");
    compile();
    assert_string_equal(get("/a"), "exact");
    assert_string_equal(get("/a/"), "star");
    assert_string_equal(get("/"), "root");
}

static void a_parameter_takes_one_segment_and_never_none(void **state)
{
    (void)state;
    route("p", "", "/u/{id}/x", "");
    compile();
    assert_string_equal(get("/u/%2F/x"), "p");
    assert_string_equal(param("id"), "%2F");
    assert_null(get("/u//x"));
    assert_null(get("/u/a/b/x"));
}

static void a_regex_must_take_the_whole_segment(void **state)
{
    (void)state;
    route("alt", "", "/{x:a|ab}", "");
    route("brace", "", "/n/{y:[0-9]{2,3}}", "");
    route("class", "", "/c/{z:[}]+}", "");
    compile();
    assert_string_equal(get("/ab"), "alt");
    assert_null(get("/abc"));
    assert_string_equal(get("/n/123"), "brace");
    assert_null(get("/n/1234"));
    assert_string_equal(get("/c/}}"), "class");
}

static void literal_text_may_stand_around_a_parameter(void **state)
{
    (void)state;
    route("version", "", "/v{n:[0-9]+}/x", "");
    route("file", "", "/f/{name}.json", "");
    route("any", "", "/f/{name}", "");
    route("more", "", "/f/a{name}.json", "");
    compile();
    assert_string_equal(get("/v12/x"), "version");
    assert_string_equal(param("n"), "12");
    assert_null(get("/v/x"));
    assert_null(get("/va/x"));
    assert_string_equal(get("/f/b.json"), "file");
    assert_string_equal(param("name"), "b");
    assert_string_equal(get("/f/.json"), "any");
    assert_string_equal(get("/f/ab.json"), "more");
    assert_string_equal(param("name"), "b");
    assert_string_equal(get("/f/a.json"), "file");
}

static void patterns_are_put_into_the_form_in_which_paths_come(void **state)
{
    (void)state;
    route("tilde", "", "/%7euser/caf\xc3\xa9", "");
    route("slash", "", "/a%2fb", "");
    compile();
    assert_string_equal(get("/~user/caf%C3%A9"), "tilde");
    assert_string_equal(get("/a%2Fb"), "slash");
    assert_null(get("/a/b"));
}

static void several_paths_lead_to_one_route(void **state)
{
    (void)state;
    route("both", "a.com b.com", "/x /y/{id}", "");
    compile();
    assert_string_equal(match("GET", "a.com", "/x"), "both");
    assert_string_equal(match("GET", "b.com", "/y/1"), "both");
    assert_string_equal(mg_arena_copy(&arena, found.path_pattern.p, found.path_pattern.n).p, "/y/{id}");
    assert_int_equal(found.literal_bytes, 2);
    assert_null(match("GET", "c.com", "/x"));
}

static void a_route_without_path_takes_any_even_the_asterisk(void **state)
{
    (void)state;
    route("any", "", "", "");
    route("root", "", "/*", "");
    compile();
    assert_string_equal(get("/x"), "root");
    assert_string_equal(match("OPTIONS", "example.com", "*"), "any");
}

static void two_routes_may_name_one_parameter_differently(void **state)
{
    (void)state;
    route("a", "", "/{x}/a", "");
    route("b", "", "/{y}/b", "");
    compile();
    assert_string_equal(get("/1/b"), "b");
    assert_string_equal(param("y"), "1");
    assert_null(param("x"));
}

/* ---- methods ---- */

static void get_admits_head(void **state)
{
    (void)state;
    route("get", "", "/a", "GET");
    route("post", "", "/a", "POST");
    compile();
    assert_string_equal(match("HEAD", "h", "/a"), "get");
    assert_string_equal(match("POST", "h", "/a"), "post");
}

static void a_route_that_names_head_is_better_for_it(void **state)
{
    (void)state;
    route("get", "", "/a", "GET");
    route("head", "", "/a", "HEAD");
    compile();
    assert_string_equal(match("HEAD", "h", "/a"), "head");
    assert_string_equal(match("GET", "h", "/a"), "get");
}

static void only_the_method_is_wrong_then_allow_lists_the_right_ones(void **state)
{
    (void)state;
    route("get", "", "/a", "GET");
    route("put", "", "/{x}", "PUT PURGE");
    compile();
    assert_null(match("DELETE", "h", "/a"));
    assert_true(found.path_exists);
    assert_string_equal(mg_arena_copy(&arena, found.allow.p, found.allow.n).p, "GET, HEAD, PUT, PURGE");
    assert_null(match("DELETE", "h", "/a/b"));
    assert_false(found.path_exists);
    assert_string_equal(match("PURGE", "h", "/a"), "put");
    assert_null(match("purge", "h", "/a"));
}

static void another_condition_is_wrong_then_it_is_no_405(void **state)
{
    (void)state;
    cond(route("get", "", "/a", "GET"), MG_COND_HEADER, "x-a", NULL);
    compile();
    assert_null(match("POST", "h", "/a"));
    assert_false(found.path_exists);
}

static void a_preflight_counts_as_the_method_that_it_asks_for(void **state)
{
    (void)state;
    route("get", "", "/a", "GET");
    route("put", "", "/a", "PUT");
    compile();
    assert_null(match("OPTIONS", "h", "/a"));
    header("origin", "https://x");
    assert_null(match("OPTIONS", "h", "/a"));
    header("access-control-request-method", "PUT");
    assert_string_equal(match("OPTIONS", "h", "/a"), "put");
    assert_string_equal(match("GET", "h", "/a"), "get");
}

static void a_route_that_names_options_is_better_for_a_preflight_at_its_place(void **state)
{
    (void)state;
    route("put", "", "/a/b", "PUT");
    route("options", "", "/a/b", "OPTIONS");
    route("all", "", "/*", "OPTIONS");
    route("post", "", "/c", "POST");
    compile();
    header("origin", "https://x");
    header("access-control-request-method", "PUT");
    assert_string_equal(match("OPTIONS", "h", "/a/b"), "options");
    assert_string_equal(match("OPTIONS", "h", "/c"), "all");
    headers.n = 0;
    header("origin", "https://x");
    header("access-control-request-method", "POST");
    assert_string_equal(match("OPTIONS", "h", "/c"), "post");
}

/* ---- other conditions ---- */

static void more_conditions_come_before_fewer_then_the_order_of_the_file(void **state)
{
    (void)state;
    route("plain", "", "/a", "");
    cond(route("first", "", "/a", ""), MG_COND_HEADER, "x-a", NULL);
    cond(route("second", "", "/a", ""), MG_COND_HEADER, "x-b", NULL);
    cond(route("two", "", "/a", "GET"), MG_COND_HEADER, "x-b", NULL);
    compile();
    assert_string_equal(get("/a"), "plain");
    header("X-B", "1");
    assert_string_equal(get("/a"), "two");
    assert_string_equal(match("PUT", "h", "/a"), "second");
    header("X-A", "1");
    assert_string_equal(match("PUT", "h", "/a"), "first");
}

static void the_path_counts_more_than_conditions(void **state)
{
    (void)state;
    cond(route("conds", "", "/{x}", "GET"), MG_COND_HEADER, "x-a", "1");
    route("path", "", "/a", "");
    compile();
    header("x-a", "1");
    assert_string_equal(get("/a"), "path");
    assert_string_equal(get("/b"), "conds");
}

static void a_field_may_be_asked_to_be_there_to_equal_or_to_be_absent(void **state)
{
    (void)state;
    cond(route("equals", "", "/h", ""), MG_COND_HEADER, "X-V", "2");
    cond(route("absent", "", "/n", ""), MG_COND_HEADER, "x-v", NULL)->absent = true;
    cond(route("known", "", "/k", ""), MG_COND_HEADER, "User-Agent", "curl");
    compile();
    assert_null(get("/h"));
    assert_string_equal(get("/n"), "absent");
    header("x-v", "1");
    assert_null(get("/h"));
    assert_null(get("/n"));
    header("x-v", "2");
    assert_string_equal(get("/h"), "equals");
    header("user-agent", "curl");
    assert_string_equal(get("/k"), "known");
}

static void a_field_may_be_asked_to_match_a_regex(void **state)
{
    char why[64];
    struct mg_re *re = mg_re_new("^v[0-9]+$", 9, 0, why, sizeof why);
    struct mg_cond *c;

    (void)state;
    c = cond(route("regex", "", "/h", ""), MG_COND_HEADER, "x-v", NULL);
    c->matches = re;
    c->source = MG_STR("^v[0-9]+$");
    c = cond(route("query", "", "/q", ""), MG_COND_QUERY, "v", NULL);
    c->matches = re;
    compile();
    header("x-v", "w1");
    assert_null(get("/h"));
    header("x-v", "v22");
    assert_string_equal(get("/h"), "regex");
    assert_string_equal(get("/q?v=%7612"), "query");
    assert_null(get("/q?v=x"));
    mg_re_free(re);
}

static void arguments_are_compared_decoded(void **state)
{
    (void)state;
    cond(route("q", "", "/q", ""), MG_COND_QUERY, "a b", "c d");
    cond(route("there", "", "/there", ""), MG_COND_QUERY, "debug", NULL);
    cond(route("gone", "", "/gone", ""), MG_COND_QUERY, "debug", NULL)->absent = true;
    compile();
    assert_string_equal(get("/q?x=1&a+b=c%20d"), "q");
    assert_null(get("/q?a+b=c%20dd"));
    assert_null(get("/q?a+b=c%20"));
    assert_string_equal(get("/there?debug"), "there");
    assert_string_equal(get("/there?debug=0"), "there");
    assert_null(get("/there?debugger=0"));
    assert_null(get("/gone?debug"));
    assert_string_equal(get("/gone?bug"), "gone");
}

static void cookies_are_found_in_any_cookie_field(void **state)
{
    (void)state;
    cond(route("c", "", "/c", ""), MG_COND_COOKIE, "beta", "1");
    cond(route("no", "", "/no", ""), MG_COND_COOKIE, "beta", NULL)->absent = true;
    compile();
    assert_string_equal(get("/no"), "no");
    header("cookie", "a=b; betas=1");
    assert_null(get("/c"));
    header("cookie", "x=y; beta=1");
    assert_string_equal(get("/c"), "c");
    assert_null(get("/no"));
}

static void scheme_listener_and_client_are_conditions(void **state)
{
    struct mg_pattern *p;
    struct mg_cidr net;
    struct mg_router_query q;
    uint8_t inside[16] = { [10] = 0xff, 0xff, 10, 1, 2, 3 }, outside[16] = { [10] = 0xff, 0xff, 11, 1, 2, 3 };

    (void)state;
    assert_int_equal(mg_cidr_parse(MG_STR("10.0.0.0/8"), &net), 0);
    p = route("client", "", "/a", "");
    p->clients = &net;
    p->clients_n = 1;
    route("https", "", "/s", "")->scheme = 2;
    route("listener", "", "/l", "")->listener = MG_STR("internal");
    compile();
    q = query("GET", "h", "/a");
    assert_null(match_query(&q));
    q.client_addr = outside;
    assert_null(match_query(&q));
    assert_string_equal(why_not("client", &q), "client is not among the route's");
    q.client_addr = inside;
    assert_string_equal(match_query(&q), "client");
    q.path = MG_STR("/s");
    assert_null(match_query(&q));
    assert_string_equal(why_not("https", &q), "scheme is not https");
    q.is_https = true;
    assert_string_equal(match_query(&q), "https");
    q.path = MG_STR("/l");
    assert_null(match_query(&q));
    q.listener_address = MG_STR("internal");
    assert_string_equal(match_query(&q), "listener");
}

static void explain_says_what_the_request_lacks(void **state)
{
    struct mg_router_query q = query("GET", "example.com", "/b");

    (void)state;
    route("host", "api.example.com *.x.org", "/", "");
    route("path", "", "/a", "");
    route("method", "", "/b", "PUT POST");
    cond(route("cond", "", "/b", ""), MG_COND_HEADER, "x-a", "1");
    route("fits", "", "/b", "");
    compile();
    assert_string_equal(match_query(&q), "fits");
    assert_string_equal(why_not("host", &q), "host is not api.example.com, *.x.org");
    assert_string_equal(why_not("path", &q), "path is not /a");
    assert_string_equal(why_not("method", &q), "method is not PUT, POST");
    assert_string_equal(why_not("cond", &q), "header x-a is not \"1\"");
    assert_string_equal(why_not("fits", &q), "fits");
}

/* The table of docs/routing.md. */
static void the_examples_of_the_manual_hold(void **state)
{
    (void)state;
    route("health", "", "/health", "");
    route("users", "api.example.com", "/users/{id:[0-9]+}", "GET");
    route("profile", "api.example.com", "/users/{name}", "");
    cond(route("beta", "api.example.com", "/users/{name}", ""), MG_COND_HEADER, "x-beta", NULL);
    route("tenants", "*.example.com", "/*", "");
    route("legacy", "", "/old/*", "");
    compile();
    assert_string_equal(match("GET", "api.example.com", "/users/7"), "users");
    assert_string_equal(match("PUT", "api.example.com", "/users/7"), "profile");
    assert_string_equal(match("GET", "api.example.com", "/health"), "tenants");
    assert_string_equal(match("GET", "example.com", "/health"), "health");
    assert_string_equal(match("GET", "www.example.org", "/old"), "legacy");
    header("x-beta", "1");
    assert_string_equal(match("GET", "api.example.com", "/users/ann"), "beta");
}

/* ---- mistakes ---- */

static void expect_mistake(const char *part)
{
    router = mg_router_new(routes, routes_n, note_mistake, NULL);
    assert_null(router);
    if (!strstr(mistakes, part))
        print_message("got: %s", mistakes);
    assert_non_null(strstr(mistakes, part));
    routes_n = 0;
    mistakes[0] = '\0';
}

static void two_routes_that_match_the_same_requests_are_a_mistake_naming_both(void **state)
{
    struct mg_pattern *a, *b;

    (void)state;
    route("one", "a.com", "/x/{a}", "GET");
    route("two", "a.com b.com", "/y /x/{b}", "GET");
    expect_mistake("1: route \"two\" matches exactly the same requests as route \"one\" (host a.com, path /x/{b})");
    a = route("one", "", "/", "");
    cond(a, MG_COND_HEADER, "x-a", "1");
    cond(a, MG_COND_QUERY, "b", NULL);
    b = route("two", "", "/", "");
    cond(b, MG_COND_QUERY, "b", NULL);
    cond(b, MG_COND_HEADER, "X-A", "1");
    expect_mistake("as route \"one\"");
}

static void routes_that_differ_in_one_condition_are_no_mistake(void **state)
{
    (void)state;
    cond(route("a", "", "/", ""), MG_COND_HEADER, "x", "1");
    cond(route("b", "", "/", ""), MG_COND_HEADER, "x", "2");
    cond(route("c", "", "/", ""), MG_COND_HEADER, "x", NULL);
    cond(route("d", "", "/", ""), MG_COND_HEADER, "x", NULL)->absent = true;
    cond(route("e", "", "/", ""), MG_COND_QUERY, "x", NULL);
    route("f", "", "/", "")->scheme = 1;
    route("g", "", "/", "")->scheme = 2;
    route("h", "", "/", "GET");
    route("i", "", "/", "GET POST");
    route("j", "x.com", "/ /", "");
    compile();
}

static void every_malformed_pattern_is_reported(void **state)
{
    (void)state;
    route("0", "", "a", "");
    route("1", "", "/{", "");
    route("2", "", "/{a b}", "");
    route("3", "", "/{a:(}", "");
    route("4", "", "/{a}/{a}", "");
    route("5", "", "/x*", "");
    route("6", "", "/*/x", "");
    route("7", "", "/%zz", "");
    route("8", "", "/a?b", "");
    route("9", "", "/a/../b", "");
    route("10", "API.example.com", "/", "");
    route("11", "a.com:x", "/", "");
    route("12", "*.*.com", "/", "");
    route("13", "", "/", "GE(T");
    route("14", "", "/{a}-{b}", "");
    route("15", "", "/{}", "");
    router = mg_router_new(routes, routes_n, note_mistake, NULL);
    assert_null(router);
    for (int i = 0; i < 16; i++) {
        char want[16];

        snprintf(want, sizeof want, "%s%d: ", i ? "\n" : "", i);
        if (!strstr(mistakes, want))
            print_message("no mistake for %d in:\n%s", i, mistakes);
        assert_non_null(strstr(mistakes, want));
    }
}

static void more_parameters_than_there_is_room_for_are_a_mistake(void **state)
{
    (void)state;
    route("p", "", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/*", "");
    expect_mistake("more than 16 parameters");
}

/* ---- scale ---- */

static void ten_thousand_routes_are_told_apart(void **state)
{
    enum { N = 10000 };
    struct mg_pattern *many = calloc(N, sizeof *many);
    struct mg_str *paths = calloc(N, sizeof *paths);

    (void)state;
    for (size_t i = 0; i < N; i++) {
        paths[i] = mg_arena_printf(&arena, "/s%zu/r%zu/{id}", i % 100, i);
        many[i] = (struct mg_pattern){ .id = paths[i], .paths = &paths[i], .paths_n = 1, .route = &many[i] };
    }
    router = mg_router_new(many, N, note_mistake, NULL);
    assert_non_null(router);
    for (size_t i = 0; i < N; i += 7) {
        struct mg_str target = mg_arena_printf(&arena, "/s%zu/r%zu/x", i % 100, i);
        struct mg_router_query q = query("GET", "h", target.p);

        mg_router_match(router, &q, NULL, &found);
        assert_ptr_equal(found.route, &many[i]);
    }
    free(many);
    free(paths);
}

/* Every combination of literal and parameter in depth 10: the worst that this many routes can do. */
static void backtracking_enters_no_node_twice(void **state)
{
    enum { DEPTH = 10, N = 1 << DEPTH };
    struct mg_pattern *many = calloc(N, sizeof *many);
    struct mg_str *paths = calloc(N, sizeof *paths);
    struct mg_router_query q = query("GET", "h", "/a/a/a/a/a/a/a/a/a/a/no");

    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct mg_str p = mg_str("", 0);

        for (int d = 0; d < DEPTH; d++)
            p = i >> d & 1 ? mg_arena_printf(&arena, "%.*s/{p%d}", (int)p.n, p.p, d)
                           : mg_arena_printf(&arena, "%.*s/a", (int)p.n, p.p);
        paths[i] = p;
        many[i] = (struct mg_pattern){ .id = p, .paths = &paths[i], .paths_n = 1, .route = &many[i] };
    }
    router = mg_router_new(many, N, note_mistake, NULL);
    assert_non_null(router);
    for (int i = 0; i < 1000; i++) {
        mg_router_match(router, &q, NULL, &found);
        assert_null(found.route);
    }
    free(many);
    free(paths);
}

/* Random routes and requests: the tries and the one-by-one reading of explain agree (match_query asserts it). */
static void the_tries_agree_with_reading_one_by_one(void **state)
{
    static const char *const segments[] = { "a", "b", "{x}", "{x:[ab]}", "a{x}", "{x}b", "", "ab" };
    static const char *const hosts[] = { "", "", "a.com", "*.com", "b.a.com", "*.a.com", "a.com:81" };
    static const char *const methods[] = { "", "GET", "POST", "HEAD", "OPTIONS", "GET POST" };
    static const char *const asked[] = { "a", "b", "ab", "abb", "c", "" };
    unsigned seed = 1;

    for (int round = 0; round < 300; round++) {
        setup(state);
        for (int i = 0; i < 20; i++) {
            char path[128] = "";
            int depth = rand_r(&seed) % 4, n = 0;

            for (int d = 0; d < depth; d++) {
                const char *s = segments[rand_r(&seed) % 8];
                char named[16], *x;

                snprintf(named, sizeof named, "%s", s);
                x = strchr(named, 'x');
                if (x)
                    *x = (char)('p' + d);
                n += snprintf(path + n, sizeof path - (size_t)n, "/%s", named);
            }
            if (rand_r(&seed) % 3 == 0)
                snprintf(path + n, sizeof path - (size_t)n, "/*");
            route(mg_arena_printf(&arena, "r%d", i).p, hosts[rand_r(&seed) % 7], mg_arena_copy(&arena, path, strlen(path)).p,
                  methods[rand_r(&seed) % 6]);
            if (rand_r(&seed) % 3 == 0)
                cond(&routes[routes_n - 1], MG_COND_QUERY, rand_r(&seed) % 2 ? "q" : "r", NULL);
            mistakes[0] = '\0';
            router = mg_router_new(routes, routes_n, note_mistake, NULL);
            if (!router)
                routes_n--; /* like one before */
            mg_router_free(router);
        }
        compile();
        if (round % 2) {
            header("origin", "x");
            header("access-control-request-method", "POST");
        }
        for (int i = 0; i < 100; i++) {
            static const char *const from[] = { "a.com", "b.a.com", "x.a.com", "c.com", "d" };
            static const char *const with[] = { "GET", "POST", "HEAD", "OPTIONS", "PUT" };
            struct mg_router_query q;
            char target[64] = "";
            int n = 0;

            for (int d = rand_r(&seed) % 4; d >= 0; d--)
                n += snprintf(target + n, sizeof target - (size_t)n, "/%s", asked[rand_r(&seed) % 6]);
            snprintf(target + n, sizeof target - (size_t)n, "?%s", rand_r(&seed) % 2 ? "q&r" : "r");
            q = query(with[rand_r(&seed) % 5], from[rand_r(&seed) % 5], target);
            q.port = 80 + rand_r(&seed) % 2;
            match_query(&q);
        }
        teardown(state);
    }
    setup(state);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    route("a", "a.com *.b.com", "/x/{id:[0-9]+} /y/*", "GET PURGE");
    cond(route("b", "a.com:81", "/x/{id}", ""), MG_COND_HEADER, "x-a", "1");
    route("c", "", "", "");
    for (int nth = 1; !router; nth++) {
        mg_alloc_fail(nth);
        router = mg_router_new(routes, routes_n, note_mistake, NULL);
        if (!router)
            assert_true(mg_alloc_failed());
        assert_true(nth < 1000);
    }
    mg_alloc_fail(0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_exact_host_comes_before_a_wildcard_before_none), T(a_longer_wildcard_comes_before_a_shorter),
        T(the_host_decides_before_the_path), T(a_host_without_a_fitting_route_leaves_it_to_the_next),
        T(a_host_with_a_port_asks_for_that_port), T(a_dot_at_the_end_of_a_host_does_not_count),
        T(segments_are_compared_from_the_left_by_kind), T(an_earlier_literal_beats_later_ones),
        T(a_branch_that_leads_nowhere_is_left_again), T(a_star_fits_at_a_segment_and_never_within),
        T(a_slash_at_the_end_counts_otherwise), T(an_exact_path_comes_before_a_star_at_the_same_place),
        T(a_parameter_takes_one_segment_and_never_none), T(a_regex_must_take_the_whole_segment),
        T(literal_text_may_stand_around_a_parameter), T(patterns_are_put_into_the_form_in_which_paths_come),
        T(several_paths_lead_to_one_route), T(a_route_without_path_takes_any_even_the_asterisk),
        T(two_routes_may_name_one_parameter_differently), T(get_admits_head), T(a_route_that_names_head_is_better_for_it),
        T(only_the_method_is_wrong_then_allow_lists_the_right_ones), T(another_condition_is_wrong_then_it_is_no_405),
        T(a_preflight_counts_as_the_method_that_it_asks_for),
        T(a_route_that_names_options_is_better_for_a_preflight_at_its_place),
        T(more_conditions_come_before_fewer_then_the_order_of_the_file), T(the_path_counts_more_than_conditions),
        T(a_field_may_be_asked_to_be_there_to_equal_or_to_be_absent), T(a_field_may_be_asked_to_match_a_regex),
        T(arguments_are_compared_decoded), T(cookies_are_found_in_any_cookie_field),
        T(scheme_listener_and_client_are_conditions), T(explain_says_what_the_request_lacks), T(the_examples_of_the_manual_hold),
        T(two_routes_that_match_the_same_requests_are_a_mistake_naming_both),
        T(routes_that_differ_in_one_condition_are_no_mistake), T(every_malformed_pattern_is_reported),
        T(more_parameters_than_there_is_room_for_are_a_mistake), T(ten_thousand_routes_are_told_apart),
        T(backtracking_enters_no_node_twice), T(the_tries_agree_with_reading_one_by_one), T(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
