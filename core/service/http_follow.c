/* http_follow.c - where a redirect leads (RFC 9110, 15.4), and what of the request goes there.
 *
 * A POST that is answered 301 or 302 goes on as a GET, as everywhere; any but HEAD after a 303. What proves who we are (Authorization,
 * Cookie, the client certificate, a Host or server name of our own) stays with the host that it was meant for. */
#include "service/http_inner.h"

bool mg_call_follows(const struct mg_call *c, const struct mg_head *res)
{
    if (c->redirects_max == 0 || c->is_upload || !mg_headers_find_id(&res->headers, MG_H_LOCATION))
        return false;
    return res->status == 301 || res->status == 302 || res->status == 303 || res->status == 307 || res->status == 308;
}

static void become_get(struct mg_call *c)
{
    struct mg_headers *h = &c->req.headers;

    c->req.method = MG_M_GET;
    c->req.method_text = MG_STR("GET");
    c->req.framing = MG_BODY_NONE;
    mg_grown_free(&c->out);
    mg_headers_remove_id(h, MG_H_CONTENT_TYPE);
    mg_headers_remove_id(h, MG_H_CONTENT_ENCODING);
    mg_headers_remove(h, MG_STR("content-language"));
    mg_headers_remove(h, MG_STR("content-location"));
}

static void forget_secrets(struct mg_call *c)
{
    struct mg_headers *h = &c->req.headers;

    mg_headers_remove_id(h, MG_H_HOST);
    mg_headers_remove_id(h, MG_H_AUTHORIZATION);
    mg_headers_remove_id(h, MG_H_COOKIE);
    mg_headers_remove(h, MG_STR("proxy-authorization"));
    c->trust.server_name = c->trust.cert = c->trust.key = mg_str(NULL, 0);
}

static int bad(const char **token, const char **why, const char *words)
{
    *token = "bad_redirect";
    *why = words;
    return MG_EPROTO;
}

static int go_elsewhere(struct mg_call *c, struct mg_str text, const char **token, const char **why)
{
    struct mg_url url;
    int rc = mg_url_parse(text, &c->arena, &url);

    if (rc == MG_ENOMEM)
        return rc;
    if (rc)
        return bad(token, why, "a redirect to what is no URL for http or https");
    if (url.unix_path.n)
        return bad(token, why, "a redirect to a socket of this machine");
    if (c->url.is_tls && !url.is_tls)
        return bad(token, why, "a redirect from https to http");
    if (c->upstream_name.p) {
        if (!mg_str_ieq(url.authority, c->url.authority))
            return bad(token, why, "a redirect that leaves the upstream");
        c->url.target = url.target;
        return 0;
    }
    if (!mg_str_eq(url.origin, c->url.origin))
        forget_secrets(c);
    c->url = url;
    return 0;
}

int mg_call_follow(struct mg_call *c, const struct mg_head *res, const char **token, const char **why)
{
    const struct mg_header *f = mg_headers_find_id(&res->headers, MG_H_LOCATION);
    struct mg_str url, target;
    int rc;

    *token = "no_memory";
    *why = "out of memory";
    if (c->redirects == 0) {
        *token = "too_many_redirects";
        *why = "more redirects than are followed";
        return MG_EPROTO;
    }
    c->redirects--;
    rc = mg_url_follow(mg_str(f->value, f->value_n), c->url.is_tls, c->url.target, &c->arena, &url, &target);
    if (rc == MG_EINVAL)
        return bad(token, why, "a redirect to what is no URL");
    if (rc)
        return rc;
    if (!url.p)
        c->url.target = target;
    else if ((rc = go_elsewhere(c, url, token, why)) != 0)
        return rc;
    if ((res->status == 303 && c->req.method != MG_M_HEAD) || (res->status <= 302 && c->req.method == MG_M_POST))
        become_get(c);
    return 0;
}
