/* Requests of any shape against a fixed set of routes: the tries and the reading one by one must agree. */
#include "route/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mg_str hosts[] = { { "a.example.com", 13 }, { "*.example.com", 13 }, { "*.com", 5 } };
static const struct mg_str paths[] = {
    { "/a/b", 4 }, { "/a/*", 4 }, { "/{x}/b", 6 }, { "/{x:[ab]+}/{y}", 14 }, { "/v{n:[0-9]+}", 12 }, { "/*", 2 }, { "/", 1 }, { "/{p}.json", 9 },
};
static const struct mg_str methods[] = { { "GET", 3 }, { "POST", 4 }, { "PURGE", 5 } };
static const struct mg_cond conds[] = {
    { .kind = MG_COND_QUERY, .name = { "q", 1 } }, { .kind = MG_COND_COOKIE, .name = { "c", 1 }, .equals = { "1", 1 } },
    { .kind = MG_COND_QUERY, .name = { "a b", 3 }, .equals = { "c&d", 3 } },
};
enum { ROUTES = 3 * 8 * 2 };
static struct mg_pattern patterns[ROUTES];

static struct mg_router *make(void)
{
    size_t n = 0;

    for (size_t h = 0; h < 3; h++)
        for (size_t p = 0; p < 8; p++)
            for (size_t k = 0; k < 2; k++, n++) {
                patterns[n] = (struct mg_pattern){ .id = { "r", 1 }, .hosts = &hosts[h], .hosts_n = h < 2, .paths = &paths[p],
                                                   .paths_n = 1, .route = &patterns[n] };
                patterns[n].methods = &methods[(h + p) % 3];
                patterns[n].methods_n = k;
                patterns[n].conds = &conds[(p + k) % 3];
                patterns[n].conds_n = (p + k) % 2;
            }
    return mg_router_new(patterns, n, NULL, NULL);
}

static void see(void *arg, const struct mg_pattern *p, const char *why_not)
{
    const struct mg_pattern **first = arg;

    if (!why_not && !*first)
        *first = p;
}

static struct mg_str cut(struct mg_str *rest)
{
    const char *nl = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    struct mg_str s = nl ? mg_str(rest->p, (size_t)(nl - rest->p)) : *rest;

    *rest = nl ? mg_str(nl + 1, rest->n - s.n - 1) : mg_str("", 0);
    return s;
}

/* Input: method, host, path, query, cookie, a line each. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mg_router *r;
    struct mg_str rest = mg_str((const char *)data, size);
    struct mg_router_query q = { .port = 80 };
    struct mg_headers h = { 0 };
    const struct mg_pattern *first = NULL;
    struct mg_found found;
    struct mg_arena a;

    if (!r)
        r = make();
    mg_arena_init(&a, NULL, 1 << 22);
    q.method = cut(&rest);
    q.host = cut(&rest);
    q.path = cut(&rest);
    q.query = cut(&rest);
    q.headers = &h;
    mg_headers_add(&h, &a, MG_STR("cookie"), rest);
    mg_router_match(r, &q, &a, &found);
    mg_router_explain(r, &q, &a, see, &first);
    if (first != found.pattern)
        __builtin_trap();
    mg_arena_deinit(&a);
    return 0;
}
