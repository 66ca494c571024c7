/* build_routes.c - routes: what they match, their chains, where they go. */
#include "server/build_parts.h"

#include <stdio.h>
#include <stdlib.h>

static struct mg_str *copy_texts(struct mg_making *m, const struct mg_array *list, bool lower)
{
    const struct mg_str *from = list->items;
    struct mg_str *out = mg_arena_alloc(mg_making_arena(m), (list->n + 1) * sizeof(*out));

    for (size_t i = 0; out && i < list->n; i++) {
        out[i] = from[i];
        for (size_t k = 0; lower && k < from[i].n; k++)
            ((char *)out[i].p)[k] = mg_lower(out[i].p[k]); /* our own copy */
    }
    return out;
}

/* ---- conditions ---- */

static void free_re(void *re)
{
    mg_re_free(re);
}

static int regex_condition(struct mg_making *m, struct mg_cond *c, const struct mg_value *v)
{
    const struct mg_value *regex = mg_value_get(v, "regex");
    char why[200] = "";

    if (!regex || regex->kind != MG_V_STRING || v->members_n != 1 || v->items_n) {
        mg_check_add(&m->check, v, "expected text, true, false or { regex = \"…\" }");
        return 0;
    }
    c->matches = mg_re_new(regex->text.p, regex->text.n, 0, why, sizeof(why));
    if (!c->matches) {
        mg_check_add(&m->check, regex, "not a regular expression: %s", why);
        return 0;
    }
    c->source = regex->text;
    if (mg_arena_defer(mg_making_arena(m), free_re, c->matches) == 0)
        return 0;
    mg_re_free(c->matches);
    return MG_ENOMEM;
}

static int conditions_of(struct mg_making *m, struct mg_pattern *p, struct mg_cond *conds, int kind, const struct mg_value *map)
{
    for (size_t i = 0; map && map->kind == MG_V_TABLE && i < map->members_n; i++) {
        const struct mg_value *v = map->members[i].value;
        struct mg_cond *c = &conds[p->conds_n++];
        int rc = 0;

        c->kind = kind;
        c->name = mg_arena_copy(mg_making_arena(m), map->members[i].key.p, map->members[i].key.n);
        if (!c->name.p)
            return MG_ENOMEM;
        for (size_t k = 0; kind == MG_COND_HEADER && k < c->name.n; k++)
            ((char *)c->name.p)[k] = mg_lower(c->name.p[k]);
        if (v->kind == MG_V_STRING)
            c->equals = v->text;
        else if (v->kind == MG_V_BOOL)
            c->absent = !v->boolean;
        else if (v->kind == MG_V_TABLE)
            rc = regex_condition(m, c, v);
        else
            mg_check_add(&m->check, v, "expected text, true, false or { regex = \"…\" }; found %s", mg_value_kind_name(v));
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int conditions(struct mg_making *m, struct mg_pattern *p, const struct mg_value *node)
{
    static const char *const keys[] = { "headers", "query", "cookies" };
    static const int kinds[] = { MG_COND_HEADER, MG_COND_QUERY, MG_COND_COOKIE };
    struct mg_cond *conds;
    size_t n = 0;

    for (int i = 0; i < 3; i++) {
        const struct mg_value *map = mg_value_get(node, keys[i]);

        n += map && map->kind == MG_V_TABLE ? map->members_n : 0;
    }
    if (n == 0)
        return 0;
    conds = mg_arena_zalloc(mg_making_arena(m), n * sizeof(*conds));
    if (!conds)
        return MG_ENOMEM;
    p->conds = conds;
    for (int i = 0; i < 3; i++)
        if (conditions_of(m, p, conds, kinds[i], mg_value_get(node, keys[i])) != 0)
            return MG_ENOMEM;
    return 0;
}

static int clients(struct mg_making *m, struct mg_pattern *p, const struct mg_array *list, const struct mg_value *node)
{
    const struct mg_str *texts = list->items;
    struct mg_cidr *out = mg_arena_zalloc(mg_making_arena(m), (list->n + 1) * sizeof(*out));

    if (!out)
        return MG_ENOMEM;
    for (size_t i = 0; i < list->n; i++)
        if (mg_cidr_parse(texts[i], &out[i]) != 0)
            mg_check_add(&m->check, mg_value_at(node, i), "expected an address or a network such as \"10.0.0.0/8\"; found \"%.*s\"",
                         (int)texts[i].n, texts[i].p);
    p->clients = out;
    p->clients_n = list->n;
    return 0;
}

static void check_methods(struct mg_making *m, const struct mg_array *list, const struct mg_value *node)
{
    const struct mg_str *texts = list->items;

    for (size_t i = 0; i < list->n; i++)
        for (size_t k = 0; k < texts[i].n; k++)
            if (!((texts[i].p[k] >= 'A' && texts[i].p[k] <= 'Z') || texts[i].p[k] == '-' || texts[i].p[k] == '_')) {
                mg_check_add(&m->check, mg_value_at(node, i), "expected a method in upper case, such as \"GET\"; found \"%.*s\"", (int)texts[i].n,
                             texts[i].p);
                break;
            }
}

static void check_listener(struct mg_making *m, struct mg_str wanted, const struct mg_value *at)
{
    const char *known[64];
    const char *near;
    size_t n = 0;

    if (wanted.n == 0)
        return;
    for (size_t i = 0; i < m->s->listeners_n; i++) {
        const struct mg_listener_conf *l = &m->s->listeners[i];

        if (mg_str_eq(l->name, wanted) || mg_str_eq(l->address, wanted))
            return;
        if (l->name.n && n < 64)
            known[n++] = l->name.p;
    }
    near = mg_str_nearest(wanted, known, n);
    mg_check_add(&m->check, at, "no listener has the name or address \"%.*s\"%s%s%s", (int)wanted.n, wanted.p, near ? "; did you mean \"" : "",
                 near ? near : "", near ? "\"?" : "");
}

/* ---- rewrite: "/v1/{id}/{*}" as literal, name, literal, … ---- */

/* Is `name` a parameter of a path pattern? */
static bool has_param(struct mg_str path, struct mg_str name)
{
    if (mg_str_eq(name, MG_STR("*")))
        return memchr(path.p, '*', path.n) != NULL;
    for (size_t i = 0; i + name.n + 1 < path.n; i++)
        if (path.p[i] == '{' && memcmp(path.p + i + 1, name.p, name.n) == 0 && (path.p[i + 1 + name.n] == '}' || path.p[i + 1 + name.n] == ':'))
            return true;
    return false;
}

static void check_param(struct mg_making *m, const struct mg_conf_route *c, struct mg_str name, const struct mg_value *at)
{
    const struct mg_str *paths = c->paths.items;

    if (c->paths.n == 0)
        mg_check_add(&m->check, at, "{%.*s} is filled by the route's path, and it has none", (int)name.n, name.p);
    for (size_t i = 0; i < c->paths.n; i++)
        if (!has_param(paths[i], name)) {
            mg_check_add(&m->check, at, "the path \"%.*s\" has no {%.*s}", (int)paths[i].n, paths[i].p, (int)name.n, name.p);
            return;
        }
}

static int rewrite(struct mg_making *m, struct mg_route *r, const struct mg_conf_route *c, const struct mg_value *at)
{
    struct mg_str rest = c->rewrite, *parts;
    size_t n = 0, room = 1;

    if (rest.n == 0)
        return 0;
    if (rest.p[0] != '/' || memchr(rest.p, '?', rest.n) || memchr(rest.p, '#', rest.n)) {
        mg_check_add(&m->check, at, "expected a path that begins with \"/\" and has no query");
        return 0;
    }
    for (size_t i = 0; i < rest.n; i++)
        room += rest.p[i] == '{' ? 2 : 0;
    parts = mg_arena_alloc(mg_making_arena(m), room * sizeof(*parts));
    if (!parts)
        return MG_ENOMEM;
    for (;;) {
        const char *open = memchr(rest.p, '{', rest.n);
        const char *close = open ? memchr(open, '}', rest.n - (size_t)(open - rest.p)) : NULL;

        if (memchr(rest.p, '}', open ? (size_t)(open - rest.p) : rest.n) || (open && (!close || close == open + 1))) {
            mg_check_add(&m->check, at, "a brace without its partner, or with nothing between: expected \"/v1/{name}\"");
            return 0;
        }
        parts[n++] = mg_str(rest.p, open ? (size_t)(open - rest.p) : rest.n);
        if (!open)
            break;
        parts[n] = mg_str(open + 1, (size_t)(close - open) - 1);
        check_param(m, c, parts[n++], at);
        rest = mg_str(close + 1, rest.n - (size_t)(close + 1 - rest.p));
    }
    r->rewrite_parts = parts;
    r->rewrite_parts_n = n;
    return 0;
}

/* ---- where to ---- */

static void unknown_upstream(struct mg_making *m, struct mg_str wanted, const struct mg_value *at)
{
    const struct mg_value *map = mg_value_get(m->config->root, "upstreams");
    const char *known[256];
    const char *near;
    size_t n = 0;

    for (; map && map->kind == MG_V_TABLE && n < map->members_n && n < 256; n++)
        known[n] = map->members[n].key.p;
    near = mg_str_nearest(wanted, known, n);
    mg_check_add(&m->check, at, "there is no upstream \"%.*s\"%s%s%s", (int)wanted.n, wanted.p, near ? "; did you mean \"" : "", near ? near : "",
                 near ? "\"?" : "");
}

static int destination(struct mg_making *m, struct mg_route *r, const struct mg_conf_route *c, const struct mg_value *node)
{
    const struct mg_value *at = mg_value_get(node, "upstream");
    size_t before = m->check.n;

    if (c->upstream.n && memmem(c->upstream.p, c->upstream.n, "://", 3)) {
        r->upstream = mg_make_url_upstream(m, c->upstream, at, &r->upstream_path);
        if (!r->upstream && m->check.n == before)
            return MG_ENOMEM;
    } else if (c->upstream.n) {
        r->upstream = mg_map_get(&m->upstreams, c->upstream);
        if (!r->upstream)
            unknown_upstream(m, c->upstream, at);
    }
    r->strip_prefix = c->strip_prefix;
    if (c->strip_prefix && c->rewrite.n)
        mg_check_add(&m->check, mg_value_get(node, "strip_prefix"), "rewrite says the whole path already; give one of the two");
    r->host = c->host_header;
    r->host_mode = mg_str_eq(c->host_header, MG_STR("preserve")) ? MG_HOST_PRESERVE : MG_HOST_FIXED;
    if (mg_str_eq(c->host_header, MG_STR("upstream")))
        r->host_mode = MG_HOST_UPSTREAM;
    for (size_t i = 0; i < c->host_header.n; i++)
        if ((unsigned char)c->host_header.p[i] <= ' ' || strchr("/@?#,", c->host_header.p[i])) {
            mg_check_add(&m->check, mg_value_get(node, "host_header"), "expected \"preserve\", \"upstream\" or a host; found \"%.*s\"",
                         (int)c->host_header.n, c->host_header.p);
            break;
        }
    return rewrite(m, r, c, mg_value_get(node, "rewrite"));
}

static void levels(struct mg_making *m, struct mg_route *r, const struct mg_value *node)
{
    const struct mg_value *timeouts = mg_value_get(node, "timeouts"), *v;

    memset(&r->timeouts, 0xff, sizeof(r->timeouts)); /* -1 everywhere: the listener's hold */
    memset(&r->limits, 0xff, sizeof(r->limits));
    mg_merge_fields(mg_schema_timeouts, timeouts, &r->timeouts);
    mg_merge_fields(mg_schema_limits, mg_value_get(node, "limits"), &r->limits);
    r->connect_ms = (v = mg_value_get(timeouts, "connect")) ? (int64_t)v->number : -1;
    r->first_byte_ms = (v = mg_value_get(timeouts, "first_byte")) ? (int64_t)v->number : -1;
    r->upstream_idle_ms = (v = mg_value_get(timeouts, "upstream_idle")) ? (int64_t)v->number : -1;
    r->redirect_https = mg_redirect_status(m, mg_value_get(node, "redirect_https"));
}

/* ---- one route ---- */

struct facts { struct mg_making *m; const struct mg_value *list; int global_n; };

static void missing_fact(void *arg, int entry, const char *message)
{
    struct facts *f = arg;

    if (entry >= f->global_n) /* those of the global chain were told once */
        mg_check_add(&f->m->check, mg_value_at(f->list, (size_t)(entry - f->global_n)), "%s", message);
}

static int chain(struct mg_making *m, struct mg_route *r, struct mg_value *node, struct mg_chain_entry **global, int global_n)
{
    struct mg_value *list = mg_value_get(node, "plugins");
    struct mg_chain_entry *entries[MG_ENTRIES_MAX], **kept;
    struct facts facts = { m, list, global_n };
    int n = global_n;
    bool whole;

    if (!list || list->items_n == 0) {
        r->chain = m->s->global;
        return 0;
    }
    memcpy(entries, global, (size_t)global_n * sizeof(*entries));
    if (mg_make_entries(m, list, r->id, entries, &n, &whole) != 0)
        return MG_ENOMEM;
    if (whole)
        mg_chain_check_facts(entries, n, missing_fact, &facts);
    kept = mg_arena_alloc(mg_making_arena(m), ((size_t)n + 1) * sizeof(struct mg_chain_entry *));
    if (!kept)
        return MG_ENOMEM;
    memcpy(kept, entries, (size_t)n * sizeof(*entries));
    r->chain = mg_chain_new(kept, n, mg_making_arena(m));
    return r->chain ? 0 : MG_ENOMEM;
}

static int pattern(struct mg_making *m, struct mg_pattern *p, const struct mg_conf_route *c, const struct mg_value *node)
{
    p->id = c->id;
    p->hosts = copy_texts(m, &c->hosts, true);
    p->hosts_n = c->hosts.n;
    p->paths = copy_texts(m, &c->paths, false);
    p->paths_n = c->paths.n;
    p->methods = copy_texts(m, &c->methods, false);
    p->methods_n = c->methods.n;
    p->scheme = c->scheme;
    p->listener = c->listener;
    check_methods(m, &c->methods, mg_value_get(node, "methods"));
    check_listener(m, c->listener, mg_value_get(node, "listener"));
    if (!p->hosts || !p->paths || !p->methods || conditions(m, p, node) != 0)
        return MG_ENOMEM;
    return clients(m, p, &c->clients, mg_value_get(node, "client"));
}

static int refuse_double_id(struct mg_making *m, struct mg_str id, struct mg_value *node)
{
    const struct mg_value *first = mg_map_get(&m->route_ids, id);

    if (id.n == 0)
        return 0;
    if (first) {
        mg_check_add(&m->check, node, "another route has the id \"%.*s\" (the %d. of the list)", (int)id.n, id.p, first->index);
        return 0;
    }
    return mg_map_put(&m->route_ids, id, node, NULL);
}

struct router_mistakes { struct mg_making *m; const struct mg_value *list; bool any; };

/* The fields were looked at before: a path or a method that is wrong has been told of, at its own place. */
static bool is_told(const struct mg_check *c, const struct mg_value *route)
{
    const struct mg_value *path = mg_value_get(route, "path"), *methods = mg_value_get(route, "methods");

    for (size_t i = 0; c->list && i < c->n; i++)
        for (const struct mg_value *v = c->list[i].at; v && v != route; v = v->parent)
            if (v == path || v == methods)
                return true;
    return false;
}

static void router_mistake(void *arg, size_t i, const char *message)
{
    struct router_mistakes *r = arg;

    r->any = true;
    if (is_told(&r->m->check, mg_value_at(r->list, i)))
        return;
    mg_check_add(&r->m->check, mg_value_at(r->list, i), "%s", message);
}

int mg_make_routes(struct mg_making *m, struct mg_chain_entry **global, int global_n)
{
    struct mg_value *list = mg_value_get(m->config->root, "routes");
    const struct mg_conf_route *conf = m->conf.routes.items;
    size_t n = m->conf.routes.n;
    struct mg_snapshot *s = m->s;
    struct router_mistakes mistakes = { m, list, false };

    s->routes = mg_arena_zalloc(&s->arena, (n + 1) * sizeof(*s->routes));
    s->patterns = mg_arena_zalloc(&s->arena, (n + 1) * sizeof(*s->patterns));
    if (!s->routes || !s->patterns)
        return MG_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct mg_route *r = &s->routes[i];
        struct mg_value *node = list->items[i];

        r->id = conf[i].id;
        r->pattern = &s->patterns[i];
        r->number = (int)i;
        s->patterns[i].route = r;
        s->routes_n++;
        levels(m, r, node);
        if (node->kind != MG_V_TABLE)
            continue;
        if (refuse_double_id(m, r->id, node) != 0 || pattern(m, &s->patterns[i], &conf[i], node) != 0 ||
            destination(m, r, &conf[i], node) != 0 || chain(m, r, node, global, global_n) != 0)
            return MG_ENOMEM;
    }
    s->router = mg_router_new(s->patterns, n, router_mistake, &mistakes);
    return s->router || mistakes.any ? 0 : MG_ENOMEM;
}
