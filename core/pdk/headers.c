/* headers.c - header fields as plugins see them. */
#include "pdk/call.h"
#include "http/framing.h"

#define ID(id) (UINT64_C(1) << (id))
/* Fields that frame a message or belong to one connection: the codecs write them (RFC 9110, 7.6.1; RFC 9112, 6). */
static const uint64_t core_fields = ID(MG_H_CONNECTION) | ID(MG_H_CONTENT_LENGTH) | ID(MG_H_EXPECT) | ID(MG_H_KEEP_ALIVE) |
                                    ID(MG_H_PROXY_CONNECTION) | ID(MG_H_TE) | ID(MG_H_TRAILER) | ID(MG_H_TRANSFER_ENCODING) |
                                    ID(MG_H_UPGRADE);

static struct mg_headers *block(struct mg_exchange *x, int side)
{
    switch (side) {
    case MG_REQUEST:
        return x->req ? &x->req->headers : NULL;
    case MG_RESPONSE:
        return x->answer_head ? &x->answer_head->headers : x->res ? &x->res->headers : NULL;
    case MG_REQUEST_TRAILERS:
        return x->body[MG_REQUEST].trailers;
    case MG_RESPONSE_TRAILERS:
        return x->body[MG_RESPONSE].trailers;
    default:
        return NULL;
    }
}

int mg_header_get(struct mg_x *h, int side, const char *name, size_t name_n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_headers *b;
    const struct mg_header *f;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    b = block(x, side);
    f = b ? mg_headers_find(b, mg_str(name, name_n)) : NULL;
    if (!f)
        return MG_ENOENT;
    *out = mg_str(f->value, f->value_n);
    return 0;
}

int mg_header_join(struct mg_x *h, int side, const char *name, size_t name_n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_headers *b;
    const struct mg_header *first, *f;
    size_t n = 0;
    char *p, *o;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    b = block(x, side);
    first = b ? mg_headers_find(b, mg_str(name, name_n)) : NULL;
    if (!first)
        return MG_ENOENT;
    if (!mg_headers_next(b, first))
        return mg_give(out, mg_str(first->value, first->value_n));
    for (f = first; f; f = mg_headers_next(b, f))
        n += f->value_n + 2;
    p = o = mg_arena_alloc(&x->arena, n);
    if (!p)
        return MG_ENOMEM;
    for (f = first; f; f = mg_headers_next(b, f)) {
        if (o != p) {
            *o++ = ',';
            *o++ = ' ';
        }
        memcpy(o, f->value, f->value_n);
        o += f->value_n;
    }
    *out = mg_str(p, (size_t)(o - p));
    return 0;
}

int mg_header_at(struct mg_x *h, int side, int i, struct mg_str *name, struct mg_str *value)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_headers *b;

    *name = *value = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    b = block(x, side);
    for (uint32_t k = 0; b && k < b->n; k++) {
        const struct mg_header *f = &b->at[k];

        if (!f->name || i-- > 0)
            continue;
        *name = mg_str(f->name, f->name_n);
        *value = mg_str(f->value, f->value_n);
        return 0;
    }
    return MG_ENOENT;
}

/* The block that may change now, or why none may. */
static int writable(struct mg_x *h, int side, int id, struct mg_exchange **of, struct mg_headers **out)
{
    struct mg_exchange *x = *of = mg_with_request(h);
    bool may;

    if (!x)
        return mg_why_not(h);
    if (side != MG_REQUEST && side != MG_RESPONSE)
        return MG_EINVAL;
    may = side == MG_REQUEST ? mg_may(x, MG_SET_REQUEST) : x->answer_head || mg_may(x, MG_SET_RESPONSE);
    *out = may ? block(x, side) : NULL;
    if (!*out)
        return MG_EPHASE;
    return core_fields & ID(id) ? MG_EINVAL : 0;
}

/* Host names whom the request is for: a valid one only, and before routing it is what the router matches. */
static int host_changes(struct mg_exchange *x, struct mg_str value)
{
    struct mg_str host;
    int port;

    if (!mg_authority_ok(value, &host, &port, &x->arena))
        return MG_EINVAL;
    if (x->phase != MG_ON_REWRITE)
        return 0;
    x->host = host;
    x->port = port ? port : x->is_https ? 443 : 80;
    return 0;
}

static int put(struct mg_x *h, int side, struct mg_str name, struct mg_str value, bool replace)
{
    struct mg_exchange *x;
    int id = mg_header_id_of(name);
    struct mg_headers *b;
    int rc = writable(h, side, id, &x, &b);

    if (rc)
        return rc;
    if (name.n > UINT16_MAX || value.n > UINT32_MAX / 2 || (id == MG_H_OTHER && !mg_header_name_ok(name)))
        return MG_EINVAL;
    value = mg_str_trim(value); /* OWS around it is no part of a value: RFC 9110, 5.5 */
    if (!mg_header_value_ok(value))
        return MG_EINVAL;
    if (id == MG_H_HOST && side == MG_REQUEST) { /* x->host points into the value */
        replace = true;
        value = mg_arena_copy(&x->arena, value.p, value.n);
        if (!value.p)
            return MG_ENOMEM;
        rc = host_changes(x, value);
        if (rc)
            return rc;
    }
    return mg_headers_put(b, &x->arena, id, name, value, replace);
}

int mg_header_set(struct mg_x *h, int side, const char *name, size_t name_n, const char *p, size_t n)
{
    return put(h, side, mg_str(name, name_n), mg_str(p, n), true);
}

int mg_header_add(struct mg_x *h, int side, const char *name, size_t name_n, const char *p, size_t n)
{
    return put(h, side, mg_str(name, name_n), mg_str(p, n), false);
}

int mg_header_remove(struct mg_x *h, int side, const char *name, size_t name_n)
{
    struct mg_exchange *x;
    int id = mg_header_id_of(mg_str(name, name_n));
    struct mg_headers *b;
    int rc = writable(h, side, id, &x, &b);

    if (rc)
        return rc;
    if (id == MG_H_HOST && side == MG_REQUEST)
        return MG_EINVAL; /* HTTP/1.1 needs one: RFC 9112, 3.2 */
    return id == MG_H_OTHER ? mg_headers_remove(b, mg_str(name, name_n)) : mg_headers_remove_id(b, id);
}
