/* kept.c - the state that an entry may change: copied, compared, put back. */
#include "plugin/kept.h"
#include "exchange/consumer.h"

#include <stdio.h>

static const struct { const char *words, *key; } names[MG_CHANGED_KINDS] = {
    [MG_CHANGED_METHOD] = { "method", "request.method" },
    [MG_CHANGED_PATH] = { "path", "request.path" },
    [MG_CHANGED_QUERY] = { "query", "request.query" },
    [MG_CHANGED_HOST] = { "host", "request.host" },
    [MG_CHANGED_REQUEST_HEADER] = { "request header", "request.header" },
    [MG_CHANGED_ID] = { "id", "id" },
    [MG_CHANGED_CONSUMER] = { "consumer", "consumer" },
    [MG_CHANGED_UPSTREAM] = { "upstream", "upstream" },
    [MG_CHANGED_STATUS] = { "status", "response.status" },
    [MG_CHANGED_RESPONSE_HEADER] = { "response header", "response.header" },
    [MG_CHANGED_REQUEST_BODY] = { "request body", "request.body" },
    [MG_CHANGED_RESPONSE_BODY] = { "response body", "response.body" },
    [MG_CHANGED_ANSWER] = { "answer", "answer" },
    [MG_CHANGED_ANSWER_HEADER] = { "answer header", "answer.header" },
    [MG_CHANGED_CTX] = { "ctx", "ctx" },
};

const char *mg_changed_words(int what) { return names[what].words; }
const char *mg_changed_key(int what) { return names[what].key; }

/* ---- copying ------------------------------------------------------------------------------------ */

static bool copy(struct mg_head_copy *c, struct mg_head *head, struct mg_arena *a)
{
    size_t bytes;

    c->head = head;
    c->at = NULL;
    if (!head)
        return true;
    c->value = *head;
    bytes = head->headers.n * sizeof *c->at;
    if (!bytes)
        return true;
    c->at = mg_arena_alloc(a, bytes);
    if (!c->at)
        return false;
    memcpy(c->at, head->headers.at, bytes);
    return true;
}

/* The array may have grown and moved since: the newer, larger one is kept, its content put back. */
static void restore(const struct mg_head_copy *c)
{
    struct mg_headers now;

    if (!c->head)
        return;
    now = c->head->headers;
    *c->head = c->value;
    c->head->headers.at = now.at;
    c->head->headers.room = now.room;
    if (c->at)
        memcpy(now.at, c->at, c->value.headers.n * sizeof *c->at);
}

int mg_kept_save(struct mg_exchange *x, struct mg_kept *k, struct mg_arena *a)
{
    if (!copy(&k->req, x->req, a) || !copy(&k->res, x->res, a))
        return MG_ENOMEM;
    k->path = x->path;
    k->query = x->query;
    k->has_query = x->has_query;
    k->host = x->host;
    k->port = x->port;
    k->id = x->id;
    k->answer = x->answer;
    k->answer_head = x->answer_head;
    k->upstream = x->upstream;
    k->consumer = x->consumer;
    k->credential = x->credential;
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++) {
        k->resized[side] = x->body[side].resized;
        k->sets[side] = x->body[side].sets;
    }
    return 0;
}

void mg_kept_put_back(struct mg_exchange *x, const struct mg_kept *k)
{
    restore(&k->req);
    restore(&k->res);
    x->path = k->path;
    x->query = k->query;
    x->has_query = k->has_query;
    x->host = k->host;
    x->port = k->port;
    if (k->id.n) /* one that was made meanwhile is the exchange's own */
        x->id = k->id;
    else if (x->id.p != x->id_bytes)
        x->id = mg_str(NULL, 0);
    x->answer = k->answer;
    x->answer_head = k->answer_head;
    x->upstream = k->upstream;
    x->consumer = k->consumer;
    x->credential = k->credential;
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++)
        x->body[side].resized = k->resized[side];
}

/* ---- comparing ---------------------------------------------------------------------------------- */

struct telling { struct mg_exchange *x; mg_change_fn *told; void *arg; };

static void tell(const struct telling *t, int what, struct mg_str name, struct mg_str was, struct mg_str is, int64_t bytes)
{
    struct mg_change c = { .what = (uint8_t)what, .name = name, .was = was, .is = is, .bytes = bytes };

    t->told(t->arg, &c);
}

static bool same(struct mg_str a, struct mg_str b)
{
    return (a.p == NULL) == (b.p == NULL) && mg_str_eq(a, b);
}

static void text(const struct telling *t, int what, struct mg_str was, struct mg_str is)
{
    if (!same(was, is))
        tell(t, what, mg_str(NULL, 0), was, is, 0);
}

static struct mg_str name_of(const struct mg_header *f)
{
    return mg_str(f->name, f->name_n);
}

static bool is_named(const struct mg_header *f, struct mg_str name)
{
    return f->name && f->name_n == name.n && mg_str_ieq(name_of(f), name);
}

static bool is_same_field(const struct mg_header *a, const struct mg_header *b)
{
    return a->name_n == b->name_n && a->value_n == b->value_n &&
           (a->value == b->value || !memcmp(a->value, b->value, a->value_n));
}

/* The fields of a name from the i-th on, joined; p NULL: none. */
static struct mg_str joined(struct mg_exchange *x, const struct mg_headers *h, struct mg_str name)
{
    struct mg_str first = { 0 };
    size_t n = 0;
    char *p, *o;
    int count = 0;

    for (uint32_t i = 0; i < h->n; i++) {
        if (!is_named(&h->at[i], name))
            continue;
        if (count++ == 0)
            first = mg_str(h->at[i].value ? h->at[i].value : "", h->at[i].value_n);
        n += h->at[i].value_n + 2;
    }
    p = o = count > 1 ? mg_arena_alloc(&x->arena, n) : NULL;
    if (!p)
        return first;
    for (uint32_t i = 0; i < h->n; i++) {
        if (!is_named(&h->at[i], name))
            continue;
        if (o != p) {
            *o++ = ',';
            *o++ = ' ';
        }
        memcpy(o, h->at[i].value, h->at[i].value_n);
        o += h->at[i].value_n;
    }
    return mg_str(p, (size_t)(o - p));
}

/* Do both hold the same fields of that name, one by one? */
static bool same_fields(const struct mg_headers *a, const struct mg_headers *b, struct mg_str name)
{
    uint32_t i = 0, k = 0;

    for (;;) {
        while (i < a->n && !is_named(&a->at[i], name))
            i++;
        while (k < b->n && !is_named(&b->at[k], name))
            k++;
        if (i == a->n || k == b->n)
            return i == a->n && k == b->n;
        if (!is_same_field(&a->at[i++], &b->at[k++]))
            return false;
    }
}

static bool is_first(const struct mg_headers *h, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (is_named(&h->at[k], name_of(&h->at[i])))
            return false;
    return true;
}

static bool has(const struct mg_headers *h, struct mg_str name)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (is_named(&h->at[i], name))
            return true;
    return false;
}

/* Names in the order in which they stand: first those that were there, then the new ones. */
static void fields(const struct telling *t, int what, const struct mg_headers *was, const struct mg_headers *is)
{
    if (was->n == is->n && (!was->n || !memcmp(was->at, is->at, was->n * sizeof *was->at)))
        return;
    for (uint32_t i = 0; i < was->n; i++) {
        struct mg_str name = name_of(&was->at[i]);

        if (name.p && is_first(was, i) && !same_fields(was, is, name))
            tell(t, what, name, joined(t->x, was, name), joined(t->x, is, name), 0);
    }
    for (uint32_t i = 0; i < is->n; i++) {
        struct mg_str name = name_of(&is->at[i]);

        if (name.p && is_first(is, i) && !has(was, name))
            tell(t, what, name, mg_str(NULL, 0), joined(t->x, is, name), 0);
    }
}

static struct mg_str number(char *room, size_t room_n, int n)
{
    snprintf(room, room_n, "%d", n);
    return mg_str_c(room);
}

static void request(const struct telling *t, const struct mg_kept *k)
{
    struct mg_exchange *x = t->x;
    struct mg_headers was = k->req.value.headers;
    struct mg_str none = { 0 };

    if (!k->req.head)
        return;
    was.at = k->req.at;
    text(t, MG_CHANGED_METHOD, k->req.value.method_text, x->req->method_text);
    text(t, MG_CHANGED_PATH, k->path, x->path);
    text(t, MG_CHANGED_QUERY, k->has_query ? k->query : none, x->has_query ? x->query : none);
    text(t, MG_CHANGED_HOST, k->host, x->host);
    fields(t, MG_CHANGED_REQUEST_HEADER, &was, &x->req->headers);
}

static void response(const struct telling *t, const struct mg_kept *k)
{
    struct mg_headers was = k->res.value.headers;
    const struct mg_head *now = k->res.head;
    char a[16], b[16];

    if (!now || t->x->res != now)
        return;
    was.at = k->res.at;
    if (k->res.value.status != now->status)
        tell(t, MG_CHANGED_STATUS, mg_str(NULL, 0), number(a, sizeof a, k->res.value.status), number(b, sizeof b, now->status), 0);
    fields(t, MG_CHANGED_RESPONSE_HEADER, &was, &now->headers);
}

static void answer(const struct telling *t, const struct mg_kept *k)
{
    static const struct mg_headers none;
    const struct mg_exchange *x = t->x;
    char status[16];

    if (!x->answer_head || x->answer_head == k->answer_head)
        return;
    tell(t, MG_CHANGED_ANSWER, mg_str(NULL, 0), mg_str(NULL, 0), number(status, sizeof status, x->answer_head->status), (int64_t)x->answer.n);
    fields(t, MG_CHANGED_ANSWER_HEADER, &none, &x->answer_head->headers);
}

static void bodies(const struct telling *t, const struct mg_kept *k)
{
    for (int side = MG_REQUEST; side <= MG_RESPONSE; side++) {
        const struct mg_body *b = &t->x->body[side];

        if (b->sets != k->sets[side])
            tell(t, side == MG_REQUEST ? MG_CHANGED_REQUEST_BODY : MG_CHANGED_RESPONSE_BODY, mg_str(NULL, 0), mg_str(NULL, 0),
                 mg_str(NULL, 0), (int64_t)b->whole.n);
    }
}

static struct mg_str upstream_name(const struct mg_upstream_spec *u)
{
    return u ? u->name : mg_str(NULL, 0);
}

static struct mg_str consumer_name(const struct mg_consumer *c)
{
    return c ? c->name : mg_str(NULL, 0);
}

void mg_kept_changes(struct mg_exchange *x, const struct mg_kept *k, mg_change_fn *told, void *arg)
{
    struct telling t = { x, told, arg };

    answer(&t, k);
    request(&t, k);
    if (k->id.n || x->id.p != x->id_bytes)
        text(&t, MG_CHANGED_ID, k->id.n ? k->id : mg_str(NULL, 0), x->id.n ? x->id : mg_str(NULL, 0));
    text(&t, MG_CHANGED_CONSUMER, consumer_name(k->consumer), consumer_name(x->consumer));
    text(&t, MG_CHANGED_UPSTREAM, upstream_name(k->upstream), upstream_name(x->upstream));
    response(&t, k);
    bodies(&t, k);
}
