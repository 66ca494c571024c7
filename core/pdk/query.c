/* query.c - arguments of the query. The raw text is the truth; a change makes a new text. */
#include "pdk/call.h"

static bool is_plain(struct mg_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%' || s.p[i] == '+')
            return false;
    return true;
}

/* A malformed escape is no reason to lose an argument: then its text counts as it is. */
static int decoded(struct mg_exchange *x, struct mg_str s, struct mg_str *out)
{
    int rc;

    if (is_plain(s))
        return mg_give(out, s);
    rc = mg_uri_decode(s, true, &x->arena, out);
    return rc == MG_ENOMEM ? rc : rc ? mg_give(out, s) : 0;
}

static int is_named(struct mg_exchange *x, struct mg_str name, struct mg_str wanted)
{
    struct mg_str plain;
    int rc;

    if (is_plain(name))
        return mg_str_eq(name, wanted);
    if (name.n < wanted.n)
        return 0;
    rc = decoded(x, name, &plain);
    return rc ? rc : mg_str_eq(plain, wanted);
}

int mg_query_get(struct mg_x *h, const char *name, size_t n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str rest, key, value;
    bool has_value;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    rest = x->query;
    while (mg_query_next(&rest, &key, &value, &has_value)) {
        int same = is_named(x, key, mg_str(name, n));

        if (same < 0)
            return same;
        if (same)
            return decoded(x, value, out);
    }
    return MG_ENOENT;
}

int mg_query_at(struct mg_x *h, int i, struct mg_str *name, struct mg_str *value)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str rest, key, text;
    bool has_value;
    int rc;

    *name = *value = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    rest = x->query;
    while (mg_query_next(&rest, &key, &text, &has_value)) {
        if (i-- > 0)
            continue;
        rc = decoded(x, key, name);
        return rc ? rc : decoded(x, text, value);
    }
    return MG_ENOENT;
}

struct builder { char *p; size_t n; };

static void put(struct builder *b, struct mg_str s)
{
    if (s.n)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
}

static void put_pair(struct builder *b, struct mg_str name, struct mg_str value, bool has_value)
{
    if (b->n)
        put(b, MG_STR("&"));
    put(b, name);
    if (has_value)
        put(b, MG_STR("="));
    put(b, value);
}

enum edit { SET, ADD, REMOVE };

/* The query anew: arguments named `wanted` go (SET: the first gives its place to the new one; ADD: none goes). */
static int edit(struct mg_exchange *x, struct mg_str wanted, struct mg_str value, enum edit how)
{
    struct mg_str rest, key, old, name = { 0 }, text = { 0 };
    struct builder b = { 0 };
    bool has_value, is_placed = how == REMOVE;
    int removed = 0;

    if (how != REMOVE && (mg_uri_encode(wanted, &x->arena, &name) || mg_uri_encode(value, &x->arena, &text)))
        return MG_ENOMEM;
    b.p = mg_arena_alloc(&x->arena, x->query.n + name.n + text.n + 3);
    if (!b.p)
        return MG_ENOMEM;
    rest = x->query;
    while (mg_query_next(&rest, &key, &old, &has_value)) {
        int same = how == ADD ? 0 : is_named(x, key, wanted);

        if (same < 0)
            return same;
        if (!same) {
            put_pair(&b, key, old, has_value);
            continue;
        }
        removed++;
        if (!is_placed)
            put_pair(&b, name, text, true);
        is_placed = true;
    }
    if (!is_placed)
        put_pair(&b, name, text, true);
    if (how == REMOVE && !removed)
        return 0;
    x->query = mg_str(b.p, b.n);
    x->has_query = b.n != 0;
    return removed;
}

static int checked_edit(struct mg_x *h, struct mg_str name, struct mg_str value, enum edit how)
{
    struct mg_exchange *x = mg_with_request(h);
    int rc;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    rc = edit(x, name, value, how);
    return rc < 0 || how == REMOVE ? rc : 0;
}

int mg_query_set(struct mg_x *h, const char *name, size_t name_n, const char *p, size_t n)
{
    return checked_edit(h, mg_str(name, name_n), mg_str(p, n), SET);
}

int mg_query_add(struct mg_x *h, const char *name, size_t name_n, const char *p, size_t n)
{
    return checked_edit(h, mg_str(name, name_n), mg_str(p, n), ADD);
}

int mg_query_remove(struct mg_x *h, const char *name, size_t name_n)
{
    return checked_edit(h, mg_str(name, name_n), mg_str(NULL, 0), REMOVE);
}
