/* request.c - the request line, path parameters, cookies. Fields: headers.c. Arguments: query.c. */
#include "pdk/call.h"

int mg_request_method(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->req ? x->req->method_text : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

int mg_request_set_method(struct mg_x *h, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str text = mg_str(p, n);
    int method;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    if (!mg_header_name_ok(text)) /* both are tokens: RFC 9110, 9.1 */
        return MG_EINVAL;
    method = mg_method_of(text);
    if (method == MG_M_CONNECT)
        return MG_EINVAL;
    text = method == MG_M_OTHER ? mg_arena_copy(&x->arena, p, n) : mg_method_text(method);
    if (!text.p)
        return MG_ENOMEM;
    x->req->method_text = text;
    x->req->method = method;
    return 0;
}

int mg_request_scheme(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = !x ? mg_str(NULL, 0) : x->is_https ? MG_STR("https") : MG_STR("http");
    return x ? 0 : mg_why_not(h);
}

int mg_request_host(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? x->host : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

int mg_request_port(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return x ? x->port : mg_why_not(h);
}

int mg_request_path(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? x->path : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

int mg_request_set_path(struct mg_x *h, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str copy, path;
    int rc;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    if (!n || p[0] != '/' || memchr(p, '?', n) || memchr(p, '#', n))
        return MG_EINVAL;
    copy = mg_arena_copy(&x->arena, p, n); /* the normal form may point into it */
    if (!copy.p)
        return MG_ENOMEM;
    rc = mg_uri_normalise_path(copy, &x->arena, &path);
    if (rc)
        return rc == MG_ENOMEM ? rc : MG_EINVAL;
    x->path = path;
    return 0;
}

int mg_request_query(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? x->query : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

int mg_request_set_query(struct mg_x *h, const char *p, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str copy;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    for (size_t i = 0; i < n; i++)
        if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '#')
            return MG_EINVAL;
    copy = mg_arena_copy(&x->arena, p, n);
    if (!copy.p)
        return MG_ENOMEM;
    x->query = copy;
    x->has_query = n != 0;
    return 0;
}

int mg_request_target(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? x->target : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}

int mg_request_version(struct mg_x *h)
{
    struct mg_exchange *x = mg_with_request(h);

    return !x ? mg_why_not(h) : x->req ? x->req->version : 0;
}

int mg_request_param(struct mg_x *h, const char *name, size_t n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_str wanted = mg_str(name, n);

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    for (int i = 0; i < x->found.params_n; i++) {
        const struct mg_param *p = &x->found.params[i];

        if (!mg_str_eq(p->name, wanted))
            continue;
        if ((n == 1 && name[0] == '*') || !memchr(p->value.p ? p->value.p : "", '%', p->value.n))
            return mg_give(out, p->value);
        return mg_uri_decode(p->value, false, &x->arena, out);
    }
    return MG_ENOENT;
}

static bool cookie_in(struct mg_str rest, struct mg_str wanted, struct mg_str *out)
{
    struct mg_str pair;

    while (mg_str_next(&rest, ';', &pair)) {
        const char *eq = pair.n ? memchr(pair.p, '=', pair.n) : NULL;

        if (!eq || !mg_str_eq(mg_str_trim(mg_str(pair.p, (size_t)(eq - pair.p))), wanted))
            continue;
        *out = mg_str_trim(mg_str(eq + 1, (size_t)(pair.p + pair.n - eq - 1)));
        return true;
    }
    return false;
}

int mg_request_cookie(struct mg_x *h, const char *name, size_t n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_header *f;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    f = x->req ? mg_headers_find_id(&x->req->headers, MG_H_COOKIE) : NULL;
    for (; f; f = mg_headers_next(&x->req->headers, f))
        if (cookie_in(mg_str(f->value, f->value_n), mg_str(name, n), out))
            return 0;
    return MG_ENOENT;
}
