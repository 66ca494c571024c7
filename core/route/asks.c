/* asks.c - what a route asks for besides host and path: methods, fields, arguments, cookies, scheme, listener, client. */
#include "route/parts.h"
#include "http/uri.h"

enum { DECODED_BYTES = 1024 };

const char mg_asks_scheme[] = "scheme", mg_asks_listener[] = "listener", mg_asks_client[] = "client";

/* ---- methods ---- */

static uint64_t bit_of(const struct mg_router *r, struct mg_str method)
{
    int known = mg_method_of(method);

    if (known != MG_M_OTHER)
        return 1ull << known;
    for (int i = MG_M_TRACE + 1; i < r->methods_n; i++)
        if (mg_str_eq(r->methods[i], method))
            return 1ull << i;
    return 1ull << MG_M_OTHER; /* which no route asks for */
}

static struct mg_str value_of(const struct mg_headers *h, struct mg_str name)
{
    const struct mg_header *f = h ? mg_headers_find(h, name) : NULL;

    return f ? mg_str(f->value, f->value_n) : mg_str(NULL, 0);
}

struct mg_wanted mg_router_wanted(const struct mg_router *r, const struct mg_router_query *q)
{
    uint64_t bit = bit_of(r, q->method);
    struct mg_wanted w = { bit, bit };
    struct mg_str asked;

    if (bit == 1ull << MG_M_OPTIONS && value_of(q->headers, MG_STR("origin")).p) {
        asked = value_of(q->headers, MG_STR("access-control-request-method"));
        if (asked.n)
            w.all |= bit_of(r, asked);
    }
    if (w.all & 1ull << MG_M_HEAD)
        w.all |= 1ull << MG_M_GET;
    return w;
}

static bool is_token(struct mg_str s)
{
    return s.n > 0 && s.n < 64 && mg_header_name_ok(s);
}

static int add_method(struct mg_router *r, struct mg_str method, uint64_t *methods, struct mg_error *err)
{
    uint64_t bit = bit_of(r, method);

    if (!is_token(method))
        return mg_fail(err, MG_EINVAL, "\"%.*s\" is no method", (int)method.n, method.p);
    if (bit == 1ull << MG_M_OTHER) {
        if (r->methods_n == MG_ROUTE_METHODS_MAX)
            return mg_fail(err, MG_EINVAL, "method %.*s: more than %d different methods in all routes", (int)method.n,
                           method.p, MG_ROUTE_METHODS_MAX - 1);
        bit = 1ull << r->methods_n;
        r->methods[r->methods_n++] = method;
    }
    *methods |= bit;
    return 0;
}

/* ---- compiling and comparing ---- */

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

/* Names of header fields are equal whatever their case, so their case must not count. */
static uint64_t cond_digest(const struct mg_cond *c)
{
    return mix(mix((uint64_t)c->kind * 4 + (uint64_t)c->absent * 2 + (c->equals.p != NULL) + c->name.n * 64) +
               (c->equals.n ? mg_str_hash(c->equals) : 0) + (c->source.n ? mg_str_hash(c->source) : 0));
}

static uint64_t digest_of(const struct mg_asks *asks)
{
    const struct mg_pattern *p = asks->pattern;
    uint64_t h = mix(asks->methods) + (uint64_t)p->scheme + (p->listener.n ? mg_str_hash(p->listener) : 0);

    for (size_t i = 0; i < p->conds_n; i++)
        h += cond_digest(&p->conds[i]); /* a sum: their order does not matter */
    for (size_t i = 0; i < p->clients_n; i++)
        h += mg_str_hash(mg_str((const char *)p->clients[i].addr, 16)) * (uint64_t)(p->clients[i].bits + 1);
    return h;
}

int mg_asks_compile(struct mg_router *r, const struct mg_pattern *p, struct mg_asks *out, struct mg_error *err)
{
    memset(out, 0, sizeof *out);
    out->pattern = p;
    for (size_t i = 0; i < p->methods_n; i++) {
        int rc = add_method(r, p->methods[i], &out->methods, err);

        if (rc < 0)
            return rc;
    }
    if (p->conds_n) {
        out->header_ids = mg_arena_alloc(&r->arena, p->conds_n * sizeof *out->header_ids);
        if (!out->header_ids)
            return MG_ENOMEM;
    }
    for (size_t i = 0; i < p->conds_n; i++)
        out->header_ids[i] = p->conds[i].kind == MG_COND_HEADER ? mg_header_id_of(p->conds[i].name) : MG_H_OTHER;
    out->count = (out->methods != 0) + (int)p->conds_n + (p->clients_n > 0) + (p->scheme != 0) + (p->listener.n > 0);
    out->is_plain = out->count == (out->methods != 0);
    out->digest = digest_of(out);
    return 0;
}

static bool conds_equal(const struct mg_cond *a, const struct mg_cond *b)
{
    bool same_name = a->kind == MG_COND_HEADER ? mg_str_ieq(a->name, b->name) : mg_str_eq(a->name, b->name);
    bool same_regex = a->matches == b->matches ||
                      (a->matches && b->matches && a->source.n && mg_str_eq(a->source, b->source));

    return a->kind == b->kind && same_name && a->absent == b->absent && same_regex &&
           (a->equals.p != NULL) == (b->equals.p != NULL) && mg_str_eq(a->equals, b->equals);
}

/* Each of a's is among b's; with equal counts that is enough for a set that is checked both ways. */
static bool conds_within(const struct mg_pattern *a, const struct mg_pattern *b)
{
    for (size_t i = 0; i < a->conds_n; i++) {
        size_t j = 0;

        while (j < b->conds_n && !conds_equal(&a->conds[i], &b->conds[j]))
            j++;
        if (j == b->conds_n)
            return false;
    }
    return true;
}

static bool clients_within(const struct mg_pattern *a, const struct mg_pattern *b)
{
    for (size_t i = 0; i < a->clients_n; i++) {
        size_t j = 0;

        while (j < b->clients_n && (a->clients[i].bits != b->clients[j].bits ||
                                    memcmp(a->clients[i].addr, b->clients[j].addr, 16) != 0))
            j++;
        if (j == b->clients_n)
            return false;
    }
    return true;
}

bool mg_asks_equal(const struct mg_asks *a, const struct mg_asks *b)
{
    const struct mg_pattern *p = a->pattern, *q = b->pattern;

    return a->count == b->count && a->digest == b->digest && a->methods == b->methods && p->scheme == q->scheme &&
           mg_str_eq(p->listener, q->listener) && conds_within(p, q) && conds_within(q, p) && clients_within(p, q) &&
           clients_within(q, p);
}

/* ---- one request ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = mg_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next byte of a query's part, decoded as forms are; a '%' that begins no escape stands for itself. */
static char next_decoded(struct mg_str *s)
{
    char c = *s->p;

    if (c == '%' && s->n >= 3 && hex(s->p[1]) >= 0 && hex(s->p[2]) >= 0) {
        c = (char)(hex(s->p[1]) * 16 + hex(s->p[2]));
        *s = mg_str(s->p + 3, s->n - 3);
        return c;
    }
    *s = mg_str(s->p + 1, s->n - 1);
    return c == '+' ? ' ' : c;
}

static bool equals_decoded(struct mg_str raw, struct mg_str want)
{
    size_t i = 0;

    if (raw.n < want.n || raw.n > want.n * 3)
        return false;
    while (raw.n && i < want.n)
        if (next_decoded(&raw) != want.p[i++])
            return false;
    return raw.n == 0 && i == want.n;
}

static bool re_fits(const struct mg_re *re, struct mg_str s)
{
    int32_t span[2];

    return mg_re_match(re, s.p ? s.p : "", s.n, 0, span, 1) > 0;
}

static bool re_fits_decoded(const struct mg_re *re, struct mg_str raw, struct mg_arena *a)
{
    char small[DECODED_BYTES], *to = small;
    size_t n = 0;

    if (raw.n > sizeof small)
        to = a ? mg_arena_alloc(a, raw.n) : NULL;
    if (!to)
        return false;
    while (raw.n)
        to[n++] = next_decoded(&raw);
    return re_fits(re, mg_str(to, n));
}

static bool value_fits(const struct mg_cond *c, struct mg_str value)
{
    return (!c->equals.p || mg_str_eq(value, c->equals)) && (!c->matches || re_fits(c->matches, value));
}

static bool header_fits(const struct mg_cond *c, int id, const struct mg_headers *h)
{
    const struct mg_header *f = NULL;

    if (h)
        f = id != MG_H_OTHER ? mg_headers_find_id(h, id) : mg_headers_find(h, c->name);
    if (!f || c->absent)
        return !f == c->absent;
    for (; f; f = mg_headers_next(h, f))
        if (value_fits(c, mg_str(f->value, f->value_n)))
            return true;
    return false;
}

static bool query_fits(const struct mg_cond *c, struct mg_str rest, struct mg_arena *a)
{
    struct mg_str name, value;
    bool has_value;

    while (mg_query_next(&rest, &name, &value, &has_value)) {
        if (!equals_decoded(name, c->name))
            continue;
        if (c->absent)
            return false;
        if ((!c->equals.p || equals_decoded(value, c->equals)) && (!c->matches || re_fits_decoded(c->matches, value, a)))
            return true;
    }
    return c->absent;
}

/* One Cookie field: "a=1; b=2" (RFC 6265, 4.2.1). 1: fits, -1: it is there and does not fit, 0: not there. */
static int cookie_field_fits(const struct mg_cond *c, struct mg_str rest)
{
    struct mg_str item;
    int seen = 0;

    while (mg_str_next(&rest, ';', &item)) {
        const char *eq = item.n ? memchr(item.p, '=', item.n) : NULL;

        if (!eq || !mg_str_eq(mg_str_trim(mg_str(item.p, (size_t)(eq - item.p))), c->name))
            continue;
        if (value_fits(c, mg_str_trim(mg_str(eq + 1, (size_t)(item.p + item.n - eq - 1)))))
            return 1;
        seen = -1;
    }
    return seen;
}

static bool cookie_fits(const struct mg_cond *c, const struct mg_headers *h)
{
    const struct mg_header *f = h ? mg_headers_find_id(h, MG_H_COOKIE) : NULL;
    bool is_there = false;

    for (; f; f = mg_headers_next(h, f)) {
        int rc = cookie_field_fits(c, mg_str(f->value, f->value_n));

        if (rc > 0 && !c->absent)
            return true;
        is_there = is_there || rc != 0;
    }
    return c->absent && !is_there;
}

static bool cond_fits(const struct mg_cond *c, int id, const struct mg_router_query *q, struct mg_arena *a)
{
    if (c->kind == MG_COND_HEADER)
        return header_fits(c, id, q->headers);
    if (c->kind == MG_COND_QUERY)
        return query_fits(c, q->query, a);
    return cookie_fits(c, q->headers);
}

static bool client_fits(const struct mg_pattern *p, const uint8_t *addr)
{
    if (!p->clients_n)
        return true;
    for (size_t i = 0; addr && i < p->clients_n; i++)
        if (mg_cidr_has(&p->clients[i], addr))
            return true;
    return false;
}

const void *mg_asks_miss(const struct mg_asks *asks, const struct mg_router_query *q, struct mg_arena *a)
{
    const struct mg_pattern *p = asks->pattern;

    if (p->scheme && (p->scheme == 2) != q->is_https)
        return mg_asks_scheme;
    if (p->listener.n && !mg_str_eq(p->listener, q->listener_name) && !mg_str_eq(p->listener, q->listener_address))
        return mg_asks_listener;
    if (!client_fits(p, q->client_addr))
        return mg_asks_client;
    for (size_t i = 0; i < p->conds_n; i++)
        if (!cond_fits(&p->conds[i], asks->header_ids[i], q, a))
            return &p->conds[i];
    return NULL;
}
