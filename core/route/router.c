/* router.c - patterns into ways, ways into the tries of their hosts; every mistake of the config on the way. */
#include "route/parts.h"
#include "base/alloc.h"

#include <stdio.h>

struct build {
    struct mg_router *r;
    const struct mg_pattern *patterns;
    void (*mistake)(void *arg, size_t pattern, const char *message);
    void *arg;
    bool has_mistakes, is_out_of_memory;
};

static void tell(struct build *b, size_t pattern, const char *message)
{
    b->has_mistakes = true;
    if (b->mistake)
        b->mistake(b->arg, pattern, message);
}

/* A negative code: a mistake with its message, or out of memory when there is none. */
static void fault(struct build *b, size_t pattern, const struct mg_error *err)
{
    if (err->message[0])
        tell(b, pattern, err->message);
    else
        b->is_out_of_memory = true;
}

static void conflict(struct build *b, const struct mg_way *first, const struct mg_way *second)
{
    struct mg_str one = first->asks->pattern->id, two = second->asks->pattern->id, path = second->path->text;
    char text[512];

    snprintf(text, sizeof text, "route \"%.*s\" matches exactly the same requests as route \"%.*s\" (host %.*s, path %.*s)",
             (int)two.n, two.p, (int)one.n, one.p, (int)second->host->text.n, second->host->text.p, (int)path.n, path.p);
    tell(b, second->number, text);
}

/* Into the ways of one place: more conditions first, then the order of the file. false: its like is there already. */
static bool put_way(struct build *b, struct mg_way **at, struct mg_way *way)
{
    for (; *at && (*at)->asks->count >= way->asks->count; at = &(*at)->next) {
        if (!mg_asks_equal((*at)->asks, way->asks))
            continue;
        if ((*at)->number != way->number)
            conflict(b, *at, way);
        return false; /* one route that lists one thing twice is no harm */
    }
    way->next = *at;
    *at = way;
    return true;
}

static struct mg_way **place_of(struct build *b, struct mg_way *way, struct mg_site *site, struct mg_error *err)
{
    struct mg_router *r = b->r;
    const struct mg_path *path = way->path;
    struct mg_node *n = &site->root;

    if (path->is_any)
        return &site->any;
    if (path->segments_n) {
        way->nodes = mg_arena_alloc(&r->arena, (size_t)path->segments_n * sizeof *way->nodes);
        if (!way->nodes)
            return NULL;
    }
    for (int i = 0; i < path->segments_n; i++) {
        n = mg_node_child(r, n, &path->segments[i], err);
        if (!n)
            return NULL;
        way->nodes[i] = n;
    }
    return path->has_star ? &n->star : &n->here;
}

static void add_way(struct build *b, size_t i, const struct mg_host *host, const struct mg_path *path)
{
    struct mg_router *r = b->r;
    struct mg_way *way = &r->ways[r->ways_n], **at = NULL;
    struct mg_site *site = mg_site_of(r, host);
    struct mg_error err = { 0 };

    memset(way, 0, sizeof *way);
    way->asks = &r->asks[i];
    way->host = host;
    way->path = path;
    way->number = (uint32_t)i;
    if (site)
        at = place_of(b, way, site, &err);
    if (!at)
        fault(b, i, &err);
    else if (put_way(b, at, way))
        r->ways_n++;
}

static struct mg_host *hosts_of(struct build *b, size_t i, size_t *n)
{
    const struct mg_pattern *p = &b->patterns[i];
    struct mg_host *hosts = mg_arena_zalloc(&b->r->arena, (p->hosts_n + 1) * sizeof *hosts);
    struct mg_error err = { 0 };

    *n = 0;
    if (!hosts) {
        b->is_out_of_memory = true;
        return NULL;
    }
    if (p->hosts_n == 0) {
        hosts[0] = (struct mg_host){ .is_any = true, .text = MG_STR("any") };
        *n = 1;
    }
    for (size_t k = 0; k < p->hosts_n; k++) {
        if (mg_host_parse(p->hosts[k], &hosts[*n], &err) < 0)
            fault(b, i, &err);
        else
            ++*n;
    }
    return hosts;
}

static struct mg_path *paths_of(struct build *b, size_t i, size_t *n)
{
    const struct mg_pattern *p = &b->patterns[i];
    struct mg_path *paths = mg_arena_zalloc(&b->r->arena, (p->paths_n + 1) * sizeof *paths);

    *n = 0;
    if (!paths) {
        b->is_out_of_memory = true;
        return NULL;
    }
    if (p->paths_n == 0)
        paths[(*n)++] = (struct mg_path){ .is_any = true, .text = MG_STR("any") };
    for (size_t k = 0; k < p->paths_n; k++) {
        struct mg_error err = { 0 }, whole = { 0 };

        if (mg_path_parse(p->paths[k], &b->r->arena, &paths[*n], &err) == 0) {
            ++*n;
            continue;
        }
        if (err.message[0])
            mg_fail(&whole, err.code, "path \"%.*s\": %s", (int)p->paths[k].n, p->paths[k].p, err.message);
        fault(b, i, &whole);
    }
    return paths;
}

static void add_pattern(struct build *b, size_t i)
{
    size_t hosts_n, paths_n;
    struct mg_error err = { 0 };
    struct mg_host *hosts = hosts_of(b, i, &hosts_n);
    struct mg_path *paths = paths_of(b, i, &paths_n);

    if (mg_asks_compile(b->r, &b->patterns[i], &b->r->asks[i], &err) < 0) {
        fault(b, i, &err);
        return;
    }
    for (size_t h = 0; h < hosts_n; h++)
        for (size_t p = 0; p < paths_n; p++)
            add_way(b, i, &hosts[h], &paths[p]);
}

/* Room for every way that may come, at once, since they point at each other. */
static bool make_room(struct build *b, size_t n)
{
    struct mg_router *r = b->r;
    size_t ways = 0;

    for (size_t i = 0; i < n; i++)
        ways += (b->patterns[i].hosts_n ? b->patterns[i].hosts_n : 1) * (b->patterns[i].paths_n ? b->patterns[i].paths_n : 1);
    r->asks = mg_arena_zalloc(&r->arena, (n + 1) * sizeof *r->asks);
    r->ways = mg_arena_zalloc(&r->arena, (ways + 1) * sizeof *r->ways);
    return r->asks && r->ways;
}

struct mg_router *mg_router_new(const struct mg_pattern *patterns, size_t n,
                                void (*mistake)(void *arg, size_t pattern, const char *message), void *arg)
{
    struct build b = { .patterns = patterns, .mistake = mistake, .arg = arg };

    b.r = mg_calloc(1, sizeof *b.r);
    if (!b.r)
        return NULL;
    mg_arena_init(&b.r->arena, NULL, SIZE_MAX);
    for (int i = 1; i <= MG_M_TRACE; i++)
        b.r->methods[i] = mg_method_text(i);
    b.r->methods_n = MG_M_TRACE + 1;
    b.r->patterns_n = n;
    b.is_out_of_memory = !make_room(&b, n);
    for (size_t i = 0; i < n && !b.is_out_of_memory; i++)
        add_pattern(&b, i);
    if (b.has_mistakes || b.is_out_of_memory) {
        mg_router_free(b.r);
        return NULL;
    }
    return b.r;
}

void mg_router_free(struct mg_router *r)
{
    size_t i = 0;
    struct mg_str text;
    void *re;

    if (!r)
        return;
    while (mg_map_next(&r->regexes, &i, &text, &re))
        mg_re_free(re);
    mg_map_deinit(&r->regexes);
    mg_arena_deinit(&r->arena);
    mg_free(r);
}
