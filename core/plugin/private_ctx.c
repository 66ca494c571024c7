/* private_ctx.c - what observed entries say to themselves. */
#include "plugin/private_ctx.h"

#include <stdio.h>

/* Of one entry in one exchange; a list, as few entries observe. */
struct mg_observed {
    struct mg_observed *next;
    int index;
    uint32_t said;                                /* bits of enum mg_changed */
    struct mg_ctx_entry *own, *copy, *real;       /* its values; the copy in force during a call; the exchange's own, meanwhile */
    uint16_t own_n, own_room, copy_room, real_n, real_room;
};

static struct mg_observed *of(struct mg_exchange *x, const struct mg_chain_entry *e)
{
    struct mg_observed *o = x->observed;

    while (o && o->index != e->index)
        o = o->next;
    if (o || !(o = mg_arena_zalloc(&x->arena, sizeof *o)))
        return o;
    o->index = e->index;
    o->next = x->observed;
    x->observed = o;
    return o;
}

static int find(const struct mg_ctx_entry *at, int n, struct mg_str name)
{
    for (int i = 0; i < n; i++)
        if (mg_str_eq(at[i].name, name))
            return i;
    return -1;
}

static bool reserve(struct mg_exchange *x, struct mg_ctx_entry **at, uint16_t *room, int n)
{
    struct mg_ctx_entry *p;
    int more = n + n / 2 + 4;

    if (n <= *room)
        return true;
    p = mg_arena_alloc(&x->arena, (size_t)more * sizeof *p);
    if (!p)
        return false;
    if (*room)
        memcpy(p, *at, *room * sizeof *p);
    *at = p;
    *room = (uint16_t)more;
    return true;
}

int mg_private_ctx_enter(struct mg_exchange *x, const struct mg_chain_entry *e)
{
    struct mg_observed *o = of(x, e);
    uint16_t n = x->ctx_n;

    if (!o || !reserve(x, &o->copy, &o->copy_room, x->ctx_n + o->own_n))
        return MG_ENOMEM;
    o->real = x->ctx;
    o->real_n = x->ctx_n;
    o->real_room = x->ctx_room;
    if (n)
        memcpy(o->copy, x->ctx, n * sizeof *o->copy);
    for (int i = 0; i < o->own_n; i++) {
        int k = find(o->copy, n, o->own[i].name);

        o->copy[k < 0 ? n++ : k] = o->own[i];
    }
    x->ctx = o->copy;
    x->ctx_n = n;
    x->ctx_room = o->copy_room;
    return 0;
}

static bool is_same(const struct mg_datum *a, const struct mg_datum *b)
{
    if (a->kind != b->kind)
        return false;
    return a->kind == MG_TEXT ? mg_str_eq(a->text, b->text) : a->kind == MG_NIL || a->number == b->number;
}

/* Without memory a value is forgotten. */
static void keep(struct mg_exchange *x, struct mg_observed *o, const struct mg_ctx_entry *e)
{
    int k = find(o->own, o->own_n, e->name);

    if (k < 0) {
        if (!reserve(x, &o->own, &o->own_room, o->own_n + 1))
            return;
        k = o->own_n++;
    }
    o->own[k] = *e;
}

void mg_private_ctx_leave(struct mg_exchange *x, const struct mg_chain_entry *e, mg_change_fn *told, void *arg)
{
    struct mg_observed *o = of(x, e);

    if (!o)
        return;
    o->copy = x->ctx;
    o->copy_room = x->ctx_room;
    for (int i = 0; i < x->ctx_n; i++) {
        const struct mg_ctx_entry *now = &x->ctx[i];
        int real = find(o->real, o->real_n, now->name), own = find(o->own, o->own_n, now->name);
        struct mg_ctx_entry nothing = { .name = now->name };
        const struct mg_ctx_entry *was = own >= 0 ? &o->own[own] : real >= 0 ? &o->real[real] : &nothing;

        if (is_same(&was->value, &now->value))
            continue;
        if (told)
            mg_ctx_changes(was, 1, now, 1, told, arg);
        keep(x, o, now);
    }
    x->ctx = o->real;
    x->ctx_n = o->real_n;
    x->ctx_room = o->real_room;
}

bool mg_private_said(struct mg_exchange *x, const struct mg_chain_entry *e, int what)
{
    struct mg_observed *o = of(x, e);
    bool said;

    if (!o)
        return true;
    said = o->said >> what & 1;
    o->said |= 1u << what;
    return said;
}

static struct mg_str as_text(const struct mg_datum *d, char *room, size_t room_n)
{
    switch (d->kind) {
    case MG_BOOLEAN: return d->number != 0 ? MG_STR("true") : MG_STR("false");
    case MG_DOUBLE:
        snprintf(room, room_n, "%.14g", d->number);
        return mg_str_c(room);
    case MG_TEXT: return mg_str(d->text.p ? d->text.p : "", d->text.n);
    default: return mg_str(NULL, 0);
    }
}

void mg_ctx_changes(const struct mg_ctx_entry *was, int was_n, const struct mg_ctx_entry *is, int is_n, mg_change_fn *told, void *arg)
{
    static const struct mg_datum nil;
    char a[40], b[40];

    for (int i = 0; i < is_n; i++) {
        int k = find(was, was_n, is[i].name);
        const struct mg_datum *before = k < 0 ? &nil : &was[k].value;
        struct mg_change c = { .what = MG_CHANGED_CTX, .name = is[i].name };

        if (is_same(before, &is[i].value))
            continue;
        c.was = as_text(before, a, sizeof a);
        c.is = as_text(&is[i].value, b, sizeof b);
        told(arg, &c);
    }
}
