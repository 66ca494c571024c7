/* explain.c - why this route and not that one, in words.
 *
 * Every way is asked by itself, without the tries, and the ways are then put in order of preference: a second
 * opinion on match.c, which the specs use as such. */
#include "route/parts.h"
#include "base/alloc.h"

#include <stdlib.h>

/* How one way fared. Stages: the later it failed, the nearer it came. */
enum stage { AT_HOST, AT_PATH, AT_METHOD, AT_CONDITION, FITS };
struct verdict {
    const struct mg_way *way;
    int stage;
    bool is_implied;
    const void *miss;
};

static bool path_fits(const struct mg_way *way, struct mg_str path)
{
    const struct mg_path *p = way->path;
    const char *at, *end = path.p + path.n;
    struct mg_str value;

    if (p->is_any)
        return true;
    if (path.n == 0 || path.p[0] != '/')
        return false;
    at = path.p + 1;
    for (int i = 0; i < p->segments_n; i++) {
        const struct mg_segment *s = &p->segments[i];
        const char *slash;
        struct mg_str segment;

        if (!at)
            return false;
        slash = memchr(at, '/', (size_t)(end - at));
        segment = mg_str(at, (size_t)((slash ? slash : end) - at));
        at = slash ? slash + 1 : NULL;
        if (s->kind == MG_SEG_LITERAL ? !mg_str_eq(s->text, segment)
            : s->kind == MG_SEG_PARAM ? segment.n == 0
                                      : !mg_node_parts_fit(way->nodes[i], segment, &value))
            return false;
    }
    return p->has_star || !at;
}

static struct verdict judge(const struct mg_way *way, const struct mg_router_query *q, struct mg_wanted wanted,
                            struct mg_arena *a)
{
    struct verdict v = { .way = way };
    uint64_t methods = way->asks->methods;

    v.is_implied = methods && !(methods & wanted.exact);
    if (!mg_host_fits(way->host, mg_host_bare(q->host), q->port))
        return v;
    v.stage = AT_PATH;
    if (!path_fits(way, q->path))
        return v;
    v.stage = AT_METHOD;
    if (methods && !(methods & wanted.all))
        return v;
    v.stage = AT_CONDITION;
    v.miss = mg_asks_miss(way->asks, q, a);
    if (!v.miss)
        v.stage = FITS;
    return v;
}

static int compare_verdicts(const void *x, const void *y)
{
    const struct verdict *a = x, *b = y;

    return mg_way_compare(a->way, a->is_implied, b->way, b->is_implied);
}

static struct mg_str join(struct mg_arena *a, const struct mg_str *items, size_t n)
{
    struct mg_str all = mg_str("", 0);

    for (size_t i = 0; i < n && all.p; i++)
        all = mg_arena_printf(a, "%.*s%s%.*s", (int)all.n, all.p, i ? ", " : "", (int)items[i].n, items[i].p);
    return all;
}

static const char *cond_text(const struct mg_cond *c, struct mg_arena *a)
{
    static const char *const kinds[] = { "header", "query argument", "cookie" };
    const char *kind = kinds[c->kind], *name = c->name.p;
    int n = (int)c->name.n;

    if (c->absent)
        return mg_arena_printf(a, "%s %.*s is there", kind, n, name).p;
    if (c->equals.p)
        return mg_arena_printf(a, "%s %.*s is not \"%.*s\"", kind, n, name, (int)c->equals.n, c->equals.p).p;
    if (c->matches)
        return mg_arena_printf(a, "%s %.*s does not match \"%.*s\"", kind, n, name, (int)c->source.n, c->source.p).p;
    return mg_arena_printf(a, "%s %.*s is not there", kind, n, name).p;
}

static const char *reason(const struct verdict *v, struct mg_arena *a)
{
    const struct mg_pattern *p = v->way->asks->pattern;
    struct mg_str list;

    switch (v->stage) {
    case FITS:
        return NULL;
    case AT_HOST:
        list = join(a, p->hosts, p->hosts_n);
        return mg_arena_printf(a, "host is not %.*s", (int)list.n, list.p ? list.p : "").p;
    case AT_PATH:
        list = join(a, p->paths, p->paths_n);
        return mg_arena_printf(a, "path is not %.*s", (int)list.n, list.p ? list.p : "").p;
    case AT_METHOD:
        list = join(a, p->methods, p->methods_n);
        return mg_arena_printf(a, "method is not %.*s", (int)list.n, list.p ? list.p : "").p;
    }
    if (v->miss == mg_asks_scheme)
        return mg_arena_printf(a, "scheme is not %s", p->scheme == 2 ? "https" : "http").p;
    if (v->miss == mg_asks_listener)
        return mg_arena_printf(a, "listener is not %.*s", (int)p->listener.n, p->listener.p).p;
    if (v->miss == mg_asks_client)
        return "client is not among the route's";
    return cond_text(v->miss, a);
}

/* The best way of each pattern: it fits, else it came nearest. */
static size_t judge_all(const struct mg_router *r, const struct mg_router_query *q, struct mg_arena *a, struct verdict *out)
{
    struct mg_wanted wanted = mg_router_wanted(r, q);
    size_t n = 0;

    for (size_t i = 0; i < r->ways_n; i++) {
        struct verdict v = judge(&r->ways[i], q, wanted, a);

        if (n == 0 || out[n - 1].way->number != v.way->number)
            out[n++] = v;
        else if (v.stage > out[n - 1].stage || (v.stage == out[n - 1].stage && compare_verdicts(&v, &out[n - 1]) < 0))
            out[n - 1] = v;
    }
    return n;
}

void mg_router_explain(const struct mg_router *r, const struct mg_router_query *q, struct mg_arena *a,
                       void (*line)(void *arg, const struct mg_pattern *p, const char *why_not), void *arg)
{
    struct verdict *all = mg_malloc((r->ways_n + 1) * sizeof *all);
    size_t n;

    if (!all)
        return;
    n = judge_all(r, q, a, all);
    qsort(all, n, sizeof *all, compare_verdicts);
    for (size_t i = 0; i < n; i++) {
        const char *why = reason(&all[i], a);

        line(arg, all[i].way->asks->pattern, all[i].stage == FITS ? NULL : why ? why : "out of memory");
    }
    mg_free(all);
}
