/* router_bench - instructions of a match, with 1 and with 10,000 routes.
 *
 *     cmake --build build/release --target router_bench
 *     perf stat -e instructions:u build/release/spec/router_bench 1 1000000
 *     perf stat -e instructions:u build/release/spec/router_bench 10000 1000000
 *
 * (or valgrind --tool=none --trace… callgrind with fewer rounds). The difference of two counts of rounds, divided by
 * theirs, is the cost of a match. */
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>

enum { REQUESTS = 64 };

static void mistake(void *arg, size_t pattern, const char *message)
{
    (void)arg;
    fprintf(stderr, "%zu: %s\n", pattern, message);
}

static struct mg_router *make(struct mg_arena *a, size_t n)
{
    struct mg_pattern *patterns = mg_arena_zalloc(a, n * sizeof *patterns);
    struct mg_str *paths = mg_arena_zalloc(a, n * sizeof *paths);

    for (size_t i = 0; i < n; i++) {
        paths[i] = mg_arena_printf(a, "/service-%zu/v%zu/items/{id}", i / 10, i);
        patterns[i] = (struct mg_pattern){ .id = paths[i], .paths = &paths[i], .paths_n = 1, .route = &patterns[i] };
    }
    return mg_router_new(patterns, n, mistake, NULL);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000, rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000000;
    struct mg_router_query q[REQUESTS] = { 0 };
    struct mg_headers headers = { 0 };
    struct mg_found found;
    struct mg_arena a;
    struct mg_router *r;

    mg_arena_init(&a, NULL, SIZE_MAX);
    r = n ? make(&a, n) : NULL;
    if (!r)
        return 1;
    for (size_t i = 0; i < REQUESTS; i++) {
        size_t k = i * (n / REQUESTS + 1) % n;

        q[i].host = MG_STR("api.example.com");
        q[i].port = 80;
        q[i].path = mg_arena_printf(&a, "/service-%zu/v%zu/items/4711", k / 10, k);
        q[i].method = MG_STR("GET");
        q[i].headers = &headers;
    }
    for (size_t i = 0; i < rounds; i++) {
        mg_router_match(r, &q[i % REQUESTS], NULL, &found);
        if (!found.route)
            return 1;
    }
    mg_router_free(r);
    mg_arena_deinit(&a);
    return 0;
}
