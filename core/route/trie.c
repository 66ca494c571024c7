/* trie.c - tables and nodes: where a path leads, in a number of steps that is the path's, not the config's. */
#include "route/parts.h"

static void place(struct mg_table *t, struct mg_edge e)
{
    uint32_t i = e.hash & t->mask;

    while (t->slots[i].to)
        i = (i + 1) & t->mask;
    t->slots[i] = e;
}

/* Twice the slots; never more than half of them are used. */
static int grow(struct mg_table *t, struct mg_arena *a)
{
    struct mg_table wider = { NULL, t->slots ? t->mask * 2 + 1 : 1, t->used };

    wider.slots = mg_arena_zalloc(a, ((size_t)wider.mask + 1) * sizeof *wider.slots);
    if (!wider.slots)
        return MG_ENOMEM;
    for (uint32_t i = 0; t->slots && i <= t->mask; i++)
        if (t->slots[i].to)
            place(&wider, t->slots[i]);
    *t = wider;
    return 0;
}

int mg_table_put(struct mg_table *t, struct mg_arena *a, struct mg_str key, void *to)
{
    if ((!t->slots || t->used * 2 > t->mask) && grow(t, a) < 0)
        return MG_ENOMEM;
    place(t, (struct mg_edge){ key.p, (uint32_t)key.n, mg_table_hash(key.p, key.n), to });
    t->used++;
    return 0;
}

static struct mg_node *literal_child(struct mg_router *r, struct mg_node *n, struct mg_str text)
{
    struct mg_node *child = mg_table_get(&n->literals, text.p, text.n);

    if (child)
        return child;
    child = mg_arena_zalloc(&r->arena, sizeof *child);
    return child && mg_table_put(&n->literals, &r->arena, text, child) == 0 ? child : NULL;
}

/* Equal texts share one compiled regex, wherever they stand. */
static struct mg_re *regex_of(struct mg_router *r, struct mg_str text, struct mg_error *err)
{
    struct mg_re *re = mg_map_get(&r->regexes, text);
    struct mg_str whole;
    char why[128] = "";

    if (re)
        return re;
    whole = mg_arena_printf(&r->arena, "\\A(?:%.*s)\\z", (int)text.n, text.p);
    if (!whole.p)
        return NULL;
    re = mg_re_new(whole.p, whole.n, 0, why, sizeof why);
    if (!re)
        mg_fail(err, MG_EINVAL, "regex \"%.*s\": %s", (int)text.n, text.p, why);
    else if (mg_map_put(&r->regexes, text, re, NULL) < 0) {
        mg_re_free(re);
        re = NULL;
    }
    return re;
}

/* A regex before none, then more literal text before less, then the order of the file. */
static bool parts_before(const struct mg_segment *a, const struct mg_segment *b)
{
    if ((a->regex.n > 0) != (b->regex.n > 0))
        return a->regex.n > 0;
    return a->before.n + a->after.n > b->before.n + b->after.n;
}

static bool parts_equal(const struct mg_segment *a, const struct mg_segment *b)
{
    return mg_str_eq(a->regex, b->regex) && mg_str_eq(a->before, b->before) && mg_str_eq(a->after, b->after);
}

static struct mg_node *parts_child(struct mg_router *r, struct mg_node *n, const struct mg_segment *s, struct mg_error *err)
{
    struct mg_node **at, *child;

    for (child = n->parts; child; child = child->next)
        if (parts_equal(child->segment, s))
            return child;
    child = mg_arena_zalloc(&r->arena, sizeof *child);
    if (!child)
        return NULL;
    child->segment = s;
    child->order = r->nodes_n++;
    if (s->regex.n) {
        child->re = regex_of(r, s->regex, err);
        if (!child->re)
            return NULL;
    }
    for (at = &n->parts; *at && !parts_before(s, (*at)->segment);)
        at = &(*at)->next;
    child->next = *at;
    *at = child;
    return child;
}

struct mg_node *mg_node_child(struct mg_router *r, struct mg_node *n, const struct mg_segment *s, struct mg_error *err)
{
    if (s->kind == MG_SEG_LITERAL)
        return literal_child(r, n, s->text);
    if (s->kind == MG_SEG_PARTS)
        return parts_child(r, n, s, err);
    if (!n->param)
        n->param = mg_arena_zalloc(&r->arena, sizeof *n->param);
    return n->param;
}

bool mg_node_parts_fit(const struct mg_node *n, struct mg_str segment, struct mg_str *value)
{
    const struct mg_segment *s = n->segment;
    int32_t span[2];

    if (segment.n <= s->before.n + s->after.n)
        return false;
    if (memcmp(segment.p, s->before.n ? s->before.p : "", s->before.n) != 0)
        return false;
    if (memcmp(segment.p + segment.n - s->after.n, s->after.n ? s->after.p : "", s->after.n) != 0)
        return false;
    *value = mg_str(segment.p + s->before.n, segment.n - s->before.n - s->after.n);
    return !n->re || mg_re_match(n->re, value->p, value->n, 0, span, 1) > 0;
}

/* Exact hosts, wildcards by what they fix, none; a port before none. */
static int compare_hosts(const struct mg_host *a, const struct mg_host *b)
{
    int ra = a->is_any ? 2 : a->is_wild ? 1 : 0, rb = b->is_any ? 2 : b->is_wild ? 1 : 0;

    if (ra != rb)
        return ra - rb;
    if (a->is_wild && a->name.n != b->name.n)
        return a->name.n > b->name.n ? -1 : 1;
    return (a->port == 0) - (b->port == 0);
}

static int compare_segments(const struct mg_way *a, const struct mg_way *b, int i)
{
    const struct mg_segment *sa = &a->path->segments[i], *sb = &b->path->segments[i];

    if (sa->kind != sb->kind)
        return sa->kind - sb->kind;
    if (sa->kind != MG_SEG_PARTS || a->nodes[i] == b->nodes[i])
        return 0;
    if (parts_before(sa, sb) != parts_before(sb, sa))
        return parts_before(sa, sb) ? -1 : 1;
    return a->nodes[i]->order < b->nodes[i]->order ? -1 : 1;
}

static int compare_paths(const struct mg_way *a, const struct mg_way *b)
{
    const struct mg_path *pa = a->path, *pb = b->path;
    int n = pa->segments_n < pb->segments_n ? pa->segments_n : pb->segments_n;

    if (pa->is_any != pb->is_any)
        return pa->is_any ? 1 : -1;
    for (int i = 0; i < n; i++) {
        int rc = compare_segments(a, b, i);

        if (rc != 0)
            return rc;
    }
    /* What goes on says more than a star; two that fit one request and have no star are equally long. */
    if (pa->segments_n != pb->segments_n)
        return pa->segments_n > pb->segments_n ? -1 : 1;
    return (int)pa->has_star - (int)pb->has_star;
}

int mg_way_compare(const struct mg_way *a, bool a_implied, const struct mg_way *b, bool b_implied)
{
    int rc = compare_hosts(a->host, b->host);

    if (rc == 0)
        rc = compare_paths(a, b);
    if (rc == 0)
        rc = b->asks->count - a->asks->count;
    if (rc == 0)
        rc = (int)a_implied - (int)b_implied;
    if (rc == 0)
        rc = a->number < b->number ? -1 : a->number > b->number;
    return rc;
}
