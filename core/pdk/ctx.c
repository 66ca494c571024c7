/* ctx.c - named values of one exchange. There are few, so they stand in an array. */
#include "pdk/call.h"

enum { CTX_MAX = 1024 };

static struct mg_ctx_entry *find(const struct mg_exchange *x, const char *name, size_t n)
{
    for (int i = 0; i < x->ctx_n; i++)
        if (x->ctx[i].name.n == n && !memcmp(x->ctx[i].name.p, name, n))
            return &x->ctx[i];
    return NULL;
}

int mg_ctx_get(struct mg_x *h, const char *name, size_t n, struct mg_datum *out)
{
    struct mg_exchange *x = mg_handle(h);
    const struct mg_ctx_entry *e = x ? find(x, name, n) : NULL;

    if (e)
        *out = e->value;
    else
        memset(out, 0, sizeof *out);
    return x ? 0 : MG_EENDED;
}

static struct mg_ctx_entry *make(struct mg_exchange *x, const char *name, size_t n)
{
    struct mg_ctx_entry *e;
    struct mg_str copy;

    if (x->ctx_n == x->ctx_room) {
        int room = x->ctx_room ? x->ctx_room * 2 : 8;

        if (room > CTX_MAX)
            return NULL;
        e = mg_arena_grow(&x->arena, x->ctx, x->ctx_room * sizeof *e, (size_t)room * sizeof *e);
        if (!e)
            return NULL;
        x->ctx = e;
        x->ctx_room = (uint16_t)room;
    }
    copy = mg_arena_copy(&x->arena, name, n);
    if (!copy.p)
        return NULL;
    e = &x->ctx[x->ctx_n++];
    e->name = copy;
    return e;
}

static int set(struct mg_x *h, const char *name, size_t n, int kind, double number, struct mg_str text)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_ctx_entry *e;

    if (!x)
        return MG_EENDED;
    if (!n)
        return MG_EINVAL;
    e = find(x, name, n);
    if (!e && kind == MG_NIL)
        return 0;
    if (!e && !(e = make(x, name, n)))
        return MG_ENOMEM;
    e->value.kind = kind;
    e->value.number = number;
    e->value.text = text;
    return 0;
}

int mg_ctx_set_nil(struct mg_x *h, const char *name, size_t n)
{
    return set(h, name, n, MG_NIL, 0, mg_str(NULL, 0));
}

int mg_ctx_set_boolean(struct mg_x *h, const char *name, size_t n, int value)
{
    return set(h, name, n, MG_BOOLEAN, value != 0, mg_str(NULL, 0));
}

int mg_ctx_set_number(struct mg_x *h, const char *name, size_t n, double value)
{
    return set(h, name, n, MG_DOUBLE, value, mg_str(NULL, 0));
}

int mg_ctx_set_text(struct mg_x *h, const char *name, size_t name_n, const char *p, size_t n)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_str copy;

    if (!x)
        return MG_EENDED;
    copy = mg_arena_copy(&x->arena, p, n);
    return copy.p ? set(h, name, name_n, MG_TEXT, 0, copy) : MG_ENOMEM;
}

int mg_ctx_at(struct mg_x *h, int i, struct mg_str *name)
{
    struct mg_exchange *x = mg_handle(h);

    *name = mg_str(NULL, 0);
    if (!x)
        return MG_EENDED;
    for (int k = 0; k < x->ctx_n; k++)
        if (x->ctx[k].value.kind != MG_NIL && i-- == 0)
            return mg_give(name, x->ctx[k].name);
    return MG_ENOENT;
}
