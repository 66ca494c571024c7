/* Path patterns, hosts and ranges, as a config may hold them: what is taken must match what it says. */
#include "route/router.h"
#include "http/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input: lines of "host path path…"; the last line is the path asked for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str rest = mg_str((const char *)data, size), line, word, asked = MG_STR("/");
    struct mg_str words[16][4];
    struct mg_pattern patterns[16];
    struct mg_router_query q = { .host = MG_STR("a.example.com"), .port = 80, .method = MG_STR("GET") };
    struct mg_headers none = { 0 };
    struct mg_found found;
    struct mg_arena a;
    struct mg_cidr range;
    size_t n = 0;
    struct mg_router *r;

    if (size > 4096)
        return 0;
    mg_arena_init(&a, NULL, 1 << 22);
    (void)mg_cidr_parse(rest, &range);
    while (n < 16 && mg_str_next(&rest, '\n', &line)) {
        struct mg_pattern *p = &patterns[n];
        size_t k = 0;

        asked = line;
        memset(p, 0, sizeof *p);
        while (k < 4 && mg_str_next(&line, ' ', &word))
            words[n][k++] = word;
        p->id = MG_STR("id");
        p->hosts = words[n];
        p->hosts_n = k > 0 && words[n][0].n > 0;
        p->paths = words[n] + 1;
        p->paths_n = k > 1 ? k - 1 : 0;
        p->route = p;
        n++;
    }
    q.headers = &none;
    if (mg_uri_normalise_path(asked, &a, &q.path) < 0)
        q.path = MG_STR("/a/b");
    r = mg_router_new(patterns, n, NULL, NULL);
    if (r) {
        mg_router_match(r, &q, &a, &found);
        for (int i = 0; i < found.params_n; i++)
            if (found.params[i].value.n && (found.params[i].value.p < q.path.p ||
                                            found.params[i].value.p + found.params[i].value.n > q.path.p + q.path.n))
                __builtin_trap();
        if (found.literal_bytes > q.path.n && found.route)
            __builtin_trap();
    }
    mg_router_free(r);
    mg_arena_deinit(&a);
    return 0;
}
