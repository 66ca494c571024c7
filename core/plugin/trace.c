/* trace.c - noting a chain as it runs. */
#include "plugin/trace.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "exchange/consumer.h"
#include "pdk/problem.h"

#include <stdio.h>

/* ---- secrets ------------------------------------------------------------------------------------ */

static const struct mg_str usual[] = {
    { "authorization", 13 }, { "proxy-authorization", 19 }, { "cookie", 6 }, { "set-cookie", 10 }, { "x-api-key", 9 }, { "api-key", 7 }, { "apikey", 6 },
    { "api_key", 7 }, { "x-auth-token", 12 }, { "x-csrf-token", 12 }, { "token", 5 }, { "access_token", 12 }, { "password", 8 },
    { "passwd", 6 }, { "secret", 6 }, { "client_secret", 13 }, { "refresh_token", 13 }, { "id_token", 8 }, { "x-vault-token", 13 },
    { "x-amz-security-token", 20 },
};

bool mg_trace_is_secret(const struct mg_str *masked, size_t masked_n, struct mg_str name)
{
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (mg_str_ieq(usual[i], name))
            return true;
    for (size_t i = 0; i < masked_n; i++)
        if (mg_str_ieq(masked[i], name))
            return true;
    return false;
}

static struct mg_str kept_text(struct mg_trace *t, struct mg_str s)
{
    struct mg_str copy;

    if (!s.p)
        return s;
    if (s.n > MG_TRACE_VALUE)
        copy = mg_arena_printf(&t->arena, "%.*s… (%zu bytes)", MG_TRACE_VALUE, s.p, s.n);
    else
        copy = mg_arena_copy(&t->arena, s.p, s.n);
    t->is_cut = t->is_cut || !copy.p;
    return copy;
}

static struct mg_str masked_value(const struct mg_trace *t, struct mg_str name, struct mg_str value)
{
    if (value.p && mg_trace_is_secret(t->masked, t->masked_n, name))
        return MG_STR("***");
    return value;
}

/* Arguments with a secret name, each on its own. */
static struct mg_str kept_query(struct mg_trace *t, struct mg_str query)
{
    struct mg_str rest = query, item, copy;
    char *o;

    if (!query.p)
        return query;
    o = mg_arena_alloc(&t->arena, query.n * 4 + 4); /* the shortest secret, "token=", becomes longer by three */
    if (!o) {
        t->is_cut = true;
        return mg_str(NULL, 0);
    }
    copy.p = o;
    while (rest.n && mg_str_next(&rest, '&', &item)) {
        const char *eq = item.n ? memchr(item.p, '=', item.n) : NULL;
        size_t name_n = eq ? (size_t)(eq - item.p) : item.n;
        bool hide = eq && mg_trace_is_secret(t->masked, t->masked_n, mg_str(item.p, name_n));
        size_t n = hide ? name_n + 1 : item.n;

        if (o != copy.p)
            *o++ = '&';
        if (n)
            memcpy(o, item.p, n);
        o += n;
        if (hide) {
            memcpy(o, "***", 3);
            o += 3;
        }
    }
    copy.n = (size_t)(o - copy.p);
    return kept_text(t, copy);
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct mg_trace *mg_trace_begin(struct mg_exchange *x, const struct mg_str *masked, size_t masked_n)
{
    struct mg_trace *t = x->trace ? NULL : mg_malloc(sizeof *t);
    struct mg_str id = mg_exchange_id(x);

    if (!t)
        return NULL;
    memset(t, 0, sizeof *t);
    atomic_init(&t->refs, 1);
    mg_arena_init(&t->arena, NULL, MG_TRACE_BYTES);
    t->masked = masked;
    t->masked_n = masked_n;
    t->worker = x->worker->index;
    t->began_wall_us = x->started_wall_us;
    memcpy(t->id, id.p, id.n < sizeof t->id ? id.n : sizeof t->id - 1);
    x->trace = t;
    return t;
}

static void note_exchange(struct mg_trace *t, struct mg_exchange *x)
{
    struct mg_x *h = mg_handle_of(x);

    if (x->req)
        t->method = kept_text(t, x->req->method_text);
    t->host = kept_text(t, x->host);
    t->path = kept_text(t, x->path);
    t->query = kept_query(t, x->has_query ? x->query : mg_str(NULL, 0));
    t->route = kept_text(t, x->route ? x->route->id : mg_str(NULL, 0));
    t->upstream = kept_text(t, x->upstream ? x->upstream->name : mg_str(NULL, 0));
    t->target = kept_text(t, x->target_text);
    t->consumer = kept_text(t, x->consumer ? x->consumer->name : mg_str(NULL, 0));
    snprintf(t->id, sizeof t->id, "%.*s", (int)mg_exchange_id(x).n, mg_exchange_id(x).p);
    t->failure = kept_text(t, mg_str_c(x->failure));
    t->status = x->res ? x->res->status : 0;
    t->source = x->source;
    t->body_in = x->body_in;
    t->body_out = x->body_out;
    t->total_us = mg_x_span_us(h, MG_SPAN_TOTAL);
    t->upstream_us = mg_x_span_us(h, MG_SPAN_UPSTREAM);
    t->gateway_us = mg_x_span_us(h, MG_SPAN_GATEWAY);
}

struct mg_trace *mg_trace_end(struct mg_exchange *x)
{
    struct mg_trace *t = x->trace;

    if (!t)
        return NULL;
    x->trace = NULL;
    note_exchange(t, x);
    t->masked = NULL; /* the snapshot may go */
    t->masked_n = 0;
    return t;
}

struct mg_trace *mg_trace_ref(struct mg_trace *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void mg_trace_unref(struct mg_trace *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    mg_arena_deinit(&t->arena);
    mg_free(t);
}

/* ---- filling -------------------------------------------------------------------------------------- */

struct mg_trace_step *mg_trace_step(struct mg_exchange *x, const struct mg_chain_entry *e, int phase)
{
    struct mg_trace *t = x->trace;
    struct mg_trace_step *s;

    for (s = t->first; s; s = s->next)
        if (s->index == e->index && s->phase == phase)
            return s;
    s = mg_arena_zalloc(&t->arena, sizeof *s);
    if (!s) {
        t->is_cut = true;
        return NULL;
    }
    s->entry = kept_text(t, e->info.id.n ? e->info.id : e->scope.plugin);
    s->plugin = kept_text(t, mg_str_c(e->plugin->name));
    s->route = kept_text(t, e->info.route);
    s->index = e->index;
    s->phase = (uint8_t)phase;
    s->is_observed = e->observe;
    s->at_us = mg_clock_monotonic_us() - x->started_us;
    if (t->last)
        t->last->next = s;
    else
        t->first = s;
    t->last = s;
    t->steps_n++;
    return s;
}

void mg_trace_skipped(struct mg_exchange *x, const struct mg_chain_entry *e, int phase)
{
    struct mg_trace_step *s = mg_trace_step(x, e, phase);

    if (s)
        s->is_skipped = true;
}

void mg_trace_note(struct mg_trace *t, struct mg_trace_step *s, const struct mg_change *c)
{
    struct mg_trace_change *n = mg_arena_zalloc(&t->arena, sizeof *n);
    bool is_query = c->what == MG_CHANGED_QUERY;

    if (!n) {
        t->is_cut = true;
        return;
    }
    n->change = *c;
    n->change.name = kept_text(t, c->name);
    n->change.was = is_query ? kept_query(t, c->was) : kept_text(t, masked_value(t, c->name, c->was));
    n->change.is = is_query ? kept_query(t, c->is) : kept_text(t, masked_value(t, c->name, c->is));
    if (s->last)
        s->last->next = n;
    else
        s->changes = n;
    s->last = n;
}

void mg_trace_why(struct mg_exchange *x, struct mg_str why)
{
    struct mg_trace_step *s;

    if (!x->trace)
        return;
    for (s = x->trace->first; s; s = s->next)
        if (s->index == x->entry && s->phase == x->phase)
            break;
    if (!s)
        return;
    s->has_failed = true;
    if (!s->error.n)
        s->error = kept_text(x->trace, why);
}
