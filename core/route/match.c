/* match.c - the way that fits, on the hot path.
 *
 * Depth first through the trie of each host that fits, the preferred child first; the first way whose
 * conditions hold is the answer. A trie is a tree, so no node is entered twice in one match: the work is bounded
 * by the nodes that fit a leading part of the path, whatever the request says. With literal children alone
 * that is one node a segment; a level doubles it only where literal and parameter both fit and both lead on.
 *
 * When nothing fits, a second walk with `collects` gathers the methods that would have (405, Allow). */
#include "route/parts.h"

struct walk {
    const struct mg_router *r;
    const struct mg_router_query *q;
    struct mg_wanted wanted;
    struct mg_arena *arena;
    struct mg_found *out;
    struct mg_str values[MG_PARAMS_MAX]; /* of the parameters on the way down */
    int values_n;
    bool collects;
    uint64_t allowed;
    bool path_exists;
};

static void collect(struct walk *w, const struct mg_way *way)
{
    for (; way; way = way->next) {
        if (mg_asks_miss(way->asks, w->q, w->arena))
            continue;
        w->path_exists = true;
        w->allowed |= way->asks->methods;
    }
}

/* The best of the ways at one place. A method that the route names itself is better than GET for HEAD and
 * than the method that a preflight asks for, among ways with as many conditions. */
static const struct mg_way *best(struct walk *w, const struct mg_way *way)
{
    const struct mg_way *implied = NULL;

    for (; way; way = way->next) {
        uint64_t methods = way->asks->methods;

        if (implied && way->asks->count < implied->asks->count)
            break;
        if (methods && !(methods & w->wanted.all))
            continue;
        if (!way->asks->is_plain && mg_asks_miss(way->asks, w->q, w->arena))
            continue;
        if (!methods || (methods & w->wanted.exact))
            return way;
        if (!implied)
            implied = way;
    }
    return implied;
}

void mg_found_fill(struct mg_found *out, const struct mg_way *way, const struct mg_str *values, struct mg_str rest)
{
    const struct mg_path *path = way->path;
    int n = 0;

    out->pattern = way->asks->pattern;
    out->route = out->pattern->route;
    out->path_pattern = path->text;
    out->literal_bytes = path->literal_bytes;
    for (int i = 0; i < path->segments_n; i++)
        if (path->segments[i].kind != MG_SEG_LITERAL) {
            out->params[n].name = path->segments[i].name;
            out->params[n].value = values[n];
            n++;
        }
    if (path->has_star)
        out->params[n++] = (struct mg_param){ MG_STR("*"), rest };
    out->params_n = n;
}

/* Ways that end at one place: is one of them the answer? */
static bool take(struct walk *w, const struct mg_way *ways, struct mg_str rest)
{
    const struct mg_way *way;

    if (!ways) /* the usual case */
        return false;
    if (w->collects) {
        collect(w, ways);
        return false;
    }
    way = best(w, ways);
    if (way)
        mg_found_fill(w->out, way, w->values, rest);
    return way != NULL;
}

static bool descend(struct walk *w, const struct mg_node *n, const char *p, const char *end);

static bool descend_value(struct walk *w, const struct mg_node *n, struct mg_str value, const char *p, const char *end)
{
    bool found;

    w->values[w->values_n++] = value;
    found = descend(w, n, p, end);
    w->values_n--;
    return found;
}

/* p: the next segment; NULL when there is none. */
static bool descend(struct walk *w, const struct mg_node *n, const char *p, const char *end)
{
    const char *slash, *next;
    const struct mg_node *child;
    struct mg_str segment, value;

    for (;; n = child, p = next) {
        if (!p)
            return take(w, n->here, mg_str("", 0)) || take(w, n->star, mg_str("", 0));
        slash = memchr(p, '/', (size_t)(end - p));
        next = slash ? slash + 1 : NULL;
        segment = mg_str(p, (size_t)((slash ? slash : end) - p));
        child = mg_table_get(&n->literals, segment.p, segment.n);
        if (child && !n->parts && !n->param && !n->star)
            continue; /* no way back is needed */
        break;
    }
    if (child && descend(w, child, next, end))
        return true;
    for (child = n->parts; child; child = child->next)
        if (mg_node_parts_fit(child, segment, &value) && descend_value(w, child, value, next, end))
            return true;
    if (n->param && segment.n && descend_value(w, n->param, segment, next, end))
        return true;
    return take(w, n->star, mg_str(p, (size_t)(end - p)));
}

static bool in_site(struct walk *w, const struct mg_site *site)
{
    struct mg_str path = w->q->path;

    if (!site)
        return false;
    if (path.n && path.p[0] == '/' && descend(w, &site->root, path.p + 1, path.p + path.n))
        return true;
    return take(w, site->any, mg_str("", 0));
}

static bool in_hostname(struct walk *w, const struct mg_hostname *h)
{
    if (!h)
        return false;
    for (const struct mg_ported *p = h->ported; p; p = p->next)
        if (p->port == w->q->port && in_site(w, p->site))
            return true;
    return in_site(w, h->site);
}

/* Wildcards, the one that fixes most first. */
static bool in_wildcards(struct walk *w, struct mg_str host)
{
    const char *dot, *end = host.p + host.n;

    for (const char *p = host.p; p < end && (dot = memchr(p, '.', (size_t)(end - p))) != NULL; p = dot + 1) {
        size_t n = (size_t)(end - dot - 1);

        if (dot > host.p && n && n <= w->r->wild_longest &&
            in_hostname(w, mg_table_get(&w->r->wild, dot + 1, n)))
            return true;
    }
    return false;
}

static bool search(struct walk *w)
{
    struct mg_str host = mg_host_bare(w->q->host);

    if (host.n && w->r->exact.used && in_hostname(w, mg_table_get(&w->r->exact, host.p, host.n)))
        return true;
    if (host.n && w->r->wild.used && in_wildcards(w, host))
        return true;
    return in_hostname(w, &w->r->none);
}

/* "GET, HEAD, POST" */
static struct mg_str allow_text(const struct mg_router *r, uint64_t methods, struct mg_arena *a)
{
    size_t n = 0;
    char *text;

    if (methods & 1ull << MG_M_GET)
        methods |= 1ull << MG_M_HEAD;
    for (int i = 0; i < r->methods_n; i++)
        n += methods >> i & 1 ? r->methods[i].n + 2 : 0;
    text = a && n ? mg_arena_alloc(a, n) : NULL;
    if (!text)
        return mg_str(NULL, 0);
    n = 0;
    for (int i = 0; i < r->methods_n; i++) {
        if (!(methods >> i & 1))
            continue;
        if (n) {
            memcpy(text + n, ", ", 2);
            n += 2;
        }
        memcpy(text + n, r->methods[i].p, r->methods[i].n);
        n += r->methods[i].n;
    }
    return mg_str(text, n);
}

void mg_router_match(const struct mg_router *r, const struct mg_router_query *q, struct mg_arena *a, struct mg_found *out)
{
    struct walk w;

    w.r = r;
    w.q = q;
    w.arena = a;
    w.out = out;
    w.values_n = 0;
    w.collects = w.path_exists = false;
    w.allowed = 0;
    w.wanted = mg_router_wanted(r, q);
    out->route = NULL;
    out->pattern = NULL;
    out->path_pattern = out->allow = mg_str(NULL, 0);
    out->params_n = 0;
    out->literal_bytes = 0;
    out->path_exists = false;
    if (search(&w))
        return;
    w.collects = true;
    search(&w);
    out->path_exists = w.path_exists;
    if (w.path_exists)
        out->allow = allow_text(r, w.allowed, a);
}
