/* http.c - HTTP requests to others: the plugins' way to core/service/http.h. */
#include "pdk/call.h"
#include "service/http.h"

/* Where one may wait. */
static int may(const struct mg_exchange *x)
{
    return !x ? MG_EENDED : x->in_step && mg_may(x, MG_START_WAIT) ? 0 : MG_EPHASE;
}

/* The call, in a phase that may change it. */
static int find(struct mg_x *h, int req, struct mg_call **out)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may(x);

    *out = rc ? NULL : mg_call_find(x, req);
    return rc ? rc : *out ? 0 : MG_ENOENT;
}

/* The same, before it is sent. */
static int find_new(struct mg_x *h, int req, struct mg_call **out)
{
    int rc = find(h, req, out);

    return rc ? rc : (*out)->state == MG_CALL_NEW ? 0 : MG_EINVAL;
}

/* For looking at, in any phase. */
static int look(struct mg_x *h, int req, struct mg_call **out)
{
    struct mg_exchange *x = mg_handle(h);

    *out = x ? mg_call_find(x, req) : NULL;
    return !x ? MG_EENDED : *out ? 0 : MG_ENOENT;
}

int mg_http_new(struct mg_x *h, const char *method, size_t method_n, const char *url, size_t url_n)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may(x);
    struct mg_call *c = rc ? NULL : mg_call_new(x, mg_str(method, method_n), mg_str(url, url_n), &rc);

    return c ? c->number : rc;
}

int mg_http_to(struct mg_x *h, const char *upstream, size_t upstream_n, const char *method, size_t method_n, const char *path,
               size_t path_n)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may(x);
    struct mg_call *c = rc ? NULL : mg_call_to(x, mg_str(upstream, upstream_n), mg_str(method, method_n), mg_str(path, path_n), &rc);

    return c ? c->number : rc;
}

int mg_http_header(struct mg_x *h, int req, const char *name, size_t name_n, const char *p, size_t n)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_header(c, mg_str(name, name_n), mg_str(p, n));
}

int mg_http_set_body(struct mg_x *h, int req, const char *p, size_t n)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_set_body(c, mg_str(p, n));
}

int mg_http_set(struct mg_x *h, int req, int option, int64_t value)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_set(c, option, value);
}

int mg_http_set_text(struct mg_x *h, int req, int option, const char *p, size_t n)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_set_text(c, option, mg_str(p, n));
}

int mg_http_send(struct mg_x *h, int req)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_send(c);
}

int mg_http_start(struct mg_x *h, int req, int upload)
{
    struct mg_call *c;
    int rc = find_new(h, req, &c);

    return rc ? rc : mg_call_start(c, upload != 0);
}

int mg_http_write(struct mg_x *h, int req, const char *p, size_t n)
{
    struct mg_call *c;
    int rc = find(h, req, &c);

    return rc ? rc : mg_call_write(c, mg_str(p, n));
}

int mg_http_end(struct mg_x *h, int req)
{
    struct mg_call *c;
    int rc = find(h, req, &c);

    return rc ? rc : mg_call_end(c);
}

int mg_http_read(struct mg_x *h, int req)
{
    struct mg_call *c;
    int rc = find(h, req, &c);

    return rc ? rc : mg_call_read(c);
}

int mg_http_status(struct mg_x *h, int req)
{
    struct mg_call *c;
    int rc = look(h, req, &c);

    return rc ? rc : c->res ? c->res->status : 0;
}

/* The block; NULL: none yet. */
static const struct mg_headers *block(const struct mg_call *c, int side)
{
    if (side == MG_RESPONSE)
        return c->res ? &c->res->headers : NULL;
    return side == MG_RESPONSE_TRAILERS ? c->trailers : NULL;
}

int mg_http_field(struct mg_x *h, int req, int side, const char *name, size_t name_n, struct mg_str *out)
{
    struct mg_call *c;
    int rc = look(h, req, &c);
    const struct mg_headers *b = rc ? NULL : block(c, side);
    const struct mg_header *f = b ? mg_headers_find(b, mg_str(name, name_n)) : NULL;

    *out = f ? mg_str(f->value, f->value_n) : mg_str(NULL, 0);
    return rc ? rc : f ? 0 : MG_ENOENT;
}

int mg_http_field_at(struct mg_x *h, int req, int side, int i, struct mg_str *name, struct mg_str *value)
{
    struct mg_call *c;
    int rc = look(h, req, &c);
    const struct mg_headers *b = rc ? NULL : block(c, side);

    *name = *value = mg_str(NULL, 0);
    for (uint32_t k = 0; b && k < b->n; k++) {
        const struct mg_header *f = &b->at[k];

        if (!f->name || i-- != 0)
            continue;
        *name = mg_str(f->name, f->name_n);
        *value = mg_str(f->value, f->value_n);
        return 0;
    }
    return rc ? rc : MG_ENOENT;
}

int mg_http_body(struct mg_x *h, int req, struct mg_str *out)
{
    struct mg_call *c;
    int rc = look(h, req, &c);

    if (rc == 0 && mg_call_body(c, out))
        return 0;
    *out = mg_str(NULL, 0);
    return rc ? rc : MG_ENOENT;
}

int mg_http_url(struct mg_x *h, int req, struct mg_str *out)
{
    struct mg_call *c;
    int rc = look(h, req, &c);

    *out = mg_str(NULL, 0);
    if (rc)
        return rc;
    *out = mg_arena_printf(&c->arena, "%.*s%.*s", (int)c->url.origin.n, c->url.origin.p, (int)c->url.target.n, c->url.target.p);
    return out->p ? 0 : MG_ENOMEM;
}

int mg_http_error(struct mg_x *h, int req, struct mg_str *token, struct mg_str *words)
{
    struct mg_call *c;
    int rc = look(h, req, &c);

    *token = *words = mg_str(NULL, 0);
    if (rc)
        return rc;
    if (c->state != MG_CALL_FAILED)
        return MG_ENOENT;
    *token = mg_str_c(c->token);
    *words = c->words;
    return 0;
}

int mg_http_close(struct mg_x *h, int req)
{
    struct mg_call *c;
    int rc = look(h, req, &c);

    if (rc == 0)
        mg_call_close(c);
    return rc;
}
