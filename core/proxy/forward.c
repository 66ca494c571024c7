/* forward.c - what a proxy changes on the way: where the client is, the path that is sent, the fields it adds.
 *
 * RFC 9110 7.6 (Via), RFC 7239 (Forwarded), and the de facto X-Forwarded-*. What a peer says of itself in these fields
 * is believed only when it is one of `trusted_proxies`; else it is replaced. */
#include "proxy/run.h"
#include "base/clock.h"
#include "http/framing.h"
#include "pdk/client.h"

#include <stdio.h>

/* ---- who the client is ------------------------------------------------------------------------ */

static bool is_trusted(const struct mg_snapshot *s, const uint8_t addr[16])
{
    for (size_t i = 0; i < s->trusted_n; i++)
        if (mg_cidr_has(&s->trusted[i], addr))
            return true;
    return false;
}

static bool peer_trusted(const struct mg_exchange *x)
{
    return x->client->is_unix ? x->snapshot->trust_unix : x->snapshot->trusted_n && is_trusted(x->snapshot, x->peer_addr);
}

/* An address as these fields write it: quoted or not, with a port or not. */
static bool read_address(struct mg_str s, uint8_t out[16])
{
    struct mg_cidr c;
    const char *p;

    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        s = mg_str(s.p + 1, s.n - 2);
    if (s.n && s.p[0] == '[') {
        p = memchr(s.p, ']', s.n);
        if (!p)
            return false;
        s = mg_str(s.p + 1, (size_t)(p - s.p - 1));
    } else if ((p = memchr(s.p, ':', s.n)) && !memchr(p + 1, ':', (size_t)(s.p + s.n - p - 1))) {
        s.n = (size_t)(p - s.p); /* one colon: a port */
    }
    if (memchr(s.p, '/', s.n) || mg_cidr_parse(s, &c))
        return false;
    memcpy(out, c.addr, 16);
    return true;
}

/* The element "for=" of one item of Forwarded; with `name` another parameter. */
static struct mg_str forwarded_param(struct mg_str item, struct mg_str name)
{
    struct mg_str pair;

    while (mg_str_next(&item, ';', &pair)) {
        const char *eq = memchr(pair.p, '=', pair.n);

        if (eq && mg_str_ieq(mg_str_trim(mg_str(pair.p, (size_t)(eq - pair.p))), name))
            return mg_str_trim(mg_str(eq + 1, (size_t)(pair.p + pair.n - eq - 1)));
    }
    return mg_str(NULL, 0);
}

enum { HOPS_MAX = 32 };

/* Walk the hops from the nearest: the first that is not trusted is the client. */
static void walk_hops(struct mg_exchange *x, const struct mg_str *hops, int n)
{
    uint8_t addr[16];

    for (int i = n - 1; i >= 0; i--) {
        if (!read_address(hops[i], addr))
            return;
        memcpy(x->client_addr, addr, 16);
        x->client_ip = mg_str(NULL, 0);
        if (!is_trusted(x->snapshot, addr))
            return;
    }
}

static int gather_hops(const struct mg_headers *h, int id, struct mg_str *hops)
{
    int n = 0;

    for (const struct mg_header *f = mg_headers_find_id(h, id); f; f = mg_headers_next(h, f)) {
        struct mg_str rest = mg_str(f->value, f->value_n), item;

        while (mg_str_next(&rest, ',', &item)) {
            if (n == HOPS_MAX) { /* the nearest ones count */
                memmove(hops, hops + 1, (HOPS_MAX - 1) * sizeof *hops);
                n--;
            }
            hops[n++] = id == MG_H_FORWARDED ? forwarded_param(item, MG_STR("for")) : item;
        }
    }
    return n;
}

static void believe(struct mg_exchange *x)
{
    const struct mg_headers *h = &x->req->headers;
    struct mg_str hops[HOPS_MAX], proto = { 0 };
    const struct mg_header *f;
    int n = gather_hops(h, MG_H_X_FORWARDED_FOR, hops);

    if (n == 0)
        n = gather_hops(h, MG_H_FORWARDED, hops);
    walk_hops(x, hops, n);
    if ((f = mg_headers_find_id(h, MG_H_X_FORWARDED_PROTO)))
        proto = mg_str_trim(mg_str(f->value, f->value_n));
    else if ((f = mg_headers_find_id(h, MG_H_FORWARDED))) {
        struct mg_str rest = mg_str(f->value, f->value_n), item;

        while (mg_str_next(&rest, ',', &item))
            proto = forwarded_param(item, MG_STR("proto"));
    }
    if (mg_str_ieq(proto, MG_STR("https")))
        x->is_https = true;
    else if (mg_str_ieq(proto, MG_STR("http")))
        x->is_https = false;
}

int mg_forward_facts(struct mg_exchange *x)
{
    struct mg_head *req = x->req;
    struct mg_uri uri;
    int rc;

    x->target = req->target;
    rc = mg_uri_parse(req->target, &x->arena, &uri);
    if (rc)
        return rc;
    x->path = uri.path;
    x->query = uri.query;
    x->has_query = uri.has_query;
    x->peer_is_trusted = peer_trusted(x);
    if (x->peer_is_trusted)
        believe(x);
    x->host = req->host;
    x->port = req->port ? req->port : x->is_https ? 443 : 80;
    return 0;
}

/* ---- the request's head for the upstream -------------------------------------------------------- */

static struct mg_str param(const struct mg_exchange *x, struct mg_str name)
{
    for (int i = 0; i < x->found.params_n; i++)
        if (mg_str_eq(x->found.params[i].name, name))
            return x->found.params[i].value;
    return mg_str(NULL, 0);
}

/* The path by the route's rules; "" when over budget. Parts alternate between literal text and a parameter's name. */
static struct mg_str path_out(struct mg_exchange *x)
{
    const struct mg_route *r = x->route;
    struct mg_str path = x->path;
    size_t n = 0;
    char *p;

    if (r->rewrite_parts_n) {
        for (size_t i = 0; i < r->rewrite_parts_n; i++)
            n += i % 2 ? param(x, r->rewrite_parts[i]).n : r->rewrite_parts[i].n;
        p = mg_arena_alloc(&x->arena, n + 1);
        if (!p)
            return mg_str(NULL, 0);
        path = mg_str(p, n);
        for (size_t i = 0; i < r->rewrite_parts_n; i++) {
            struct mg_str s = i % 2 ? param(x, r->rewrite_parts[i]) : r->rewrite_parts[i];

            if (s.n)
                memcpy(p, s.p, s.n);
            p += s.n;
        }
    } else if (r->strip_prefix && x->found.literal_bytes <= path.n) {
        size_t cut = x->found.literal_bytes;

        if (cut && path.p[cut - 1] == '/')
            cut--; /* what is left begins with the slash */
        path = mg_str(path.p + cut, path.n - cut);
        if (!path.n)
            path = MG_STR("/");
    }
    if (r->upstream_path.n && !mg_str_eq(r->upstream_path, MG_STR("/"))) {
        struct mg_str base = r->upstream_path;

        if (base.p[base.n - 1] == '/' && path.n && path.p[0] == '/')
            base.n--;
        return mg_arena_printf(&x->arena, "%.*s%.*s", (int)base.n, base.p, (int)path.n, path.p);
    }
    return path;
}

static struct mg_str target_out(struct mg_exchange *x)
{
    struct mg_str path = path_out(x);
    char *p;

    if (!path.p || !x->has_query)
        return path;
    if (path.p + path.n + 1 == x->query.p)
        return mg_str(path.p, path.n + 1 + x->query.n); /* both as received, the '?' between them */
    p = mg_arena_alloc(&x->arena, path.n + 1 + x->query.n);
    if (!p)
        return mg_str(NULL, 0);
    memcpy(p, path.p, path.n);
    p[path.n] = '?';
    if (x->query.n)
        memcpy(p + path.n + 1, x->query.p, x->query.n);
    return mg_str(p, path.n + 1 + x->query.n);
}

static int host_out(struct mg_exchange *x, struct mg_head *out)
{
    const struct mg_route *r = x->route;
    const struct mg_upstream_spec *u = x->upstream;
    struct mg_str host;

    if (r->host_mode == MG_HOST_PRESERVE && x->req->authority.n)
        return 0;
    if (r->host_mode == MG_HOST_FIXED) {
        host = r->host;
    } else if (!u->targets_n || u->targets[0].unix_path.n) {
        host = MG_STR("localhost");
    } else {
        const struct mg_target_spec *t = &u->targets[0];
        const char *fmt = t->port == (u->is_tls ? 443 : 80) ? "%.*s" : "%.*s:%d";

        if (memchr(t->host.p, ':', t->host.n))
            fmt = t->port == (u->is_tls ? 443 : 80) ? "[%.*s]" : "[%.*s]:%d";
        host = mg_arena_printf(&x->arena, fmt, (int)t->host.n, t->host.p, t->port);
    }
    if (!host.p)
        return MG_ENOMEM;
    out->authority = host;
    return mg_headers_set_id(&out->headers, &x->arena, MG_H_HOST, host);
}

/* "a, b" of a list field that a trusted peer began and we go on with. */
static int append(struct mg_exchange *x, struct mg_headers *h, int id, struct mg_str value, bool trusted)
{
    const struct mg_header *f = trusted ? mg_headers_find_id(h, id) : NULL;

    if (f && f->value_n) {
        struct mg_str all = { 0 };

        for (; f; f = mg_headers_next(h, f)) {
            all = all.p ? mg_arena_printf(&x->arena, "%.*s, %.*s", (int)all.n, all.p, (int)f->value_n, f->value)
                        : mg_str(f->value, f->value_n);
            if (!all.p)
                return MG_ENOMEM;
        }
        value = mg_arena_printf(&x->arena, "%.*s, %.*s", (int)all.n, all.p, (int)value.n, value.p);
        if (!value.p)
            return MG_ENOMEM;
    }
    return mg_headers_set_id(h, &x->arena, id, value);
}

static int keep_or_set(struct mg_exchange *x, struct mg_headers *h, int id, struct mg_str value, bool trusted)
{
    if (trusted && mg_headers_find_id(h, id))
        return 0;
    return mg_headers_set_id(h, &x->arena, id, value);
}

static int forwarded_x(struct mg_exchange *x, struct mg_headers *h, struct mg_str peer, bool trusted)
{
    char *port = mg_arena_alloc(&x->arena, 8);
    int n = x->port, at = 8;

    if (!port)
        return MG_ENOMEM;
    do
        port[--at] = (char)('0' + n % 10);
    while ((n /= 10) && at);
    if (append(x, h, MG_H_X_FORWARDED_FOR, peer, trusted) ||
        keep_or_set(x, h, MG_H_X_FORWARDED_PROTO, x->is_https ? MG_STR("https") : MG_STR("http"), trusted) ||
        (x->req->authority.n && keep_or_set(x, h, MG_H_X_FORWARDED_HOST, x->req->authority, trusted)) ||
        keep_or_set(x, h, MG_H_X_FORWARDED_PORT, mg_str(port + at, (size_t)(8 - at)), trusted))
        return MG_ENOMEM;
    return 0;
}

static int forwarded_7239(struct mg_exchange *x, struct mg_headers *h, struct mg_str peer, bool trusted)
{
    bool v6 = memchr(peer.p, ':', peer.n) && !x->client->is_unix;
    struct mg_str value = mg_arena_printf(&x->arena, v6 ? "for=\"[%.*s]\";proto=%s" : "for=%.*s;proto=%s",
                                          x->client->is_unix ? 7 : (int)peer.n, x->client->is_unix ? "unknown" : peer.p,
                                          x->is_https ? "https" : "http");

    if (value.p && x->req->authority.n)
        value = mg_arena_printf(&x->arena, "%.*s;host=\"%.*s\"", (int)value.n, value.p, (int)x->req->authority.n,
                                x->req->authority.p);
    return value.p ? append(x, h, MG_H_FORWARDED, value, trusted) : MG_ENOMEM;
}

static int via(struct mg_exchange *x, struct mg_headers *h, int version)
{
    struct mg_str value;

    if (!x->snapshot->via.n)
        return 0;
    value = version == 10 ? x->snapshot->via10 : x->snapshot->via11;
    return append(x, h, MG_H_VIA, value, true);
}

/* The header block is copied: plugins go on seeing the request as the chain left it. */
static int copy_headers(struct mg_exchange *x, struct mg_headers *out)
{
    const struct mg_headers *in = &x->req->headers;
    uint32_t room = in->n + 10;
    struct mg_header *at = mg_arena_alloc(&x->arena, room * sizeof *at);

    if (!at)
        return MG_ENOMEM;
    if (in->n)
        memcpy(at, in->at, in->n * sizeof *at);
    *out = *in;
    out->at = at;
    out->room = room;
    return 0;
}

#define BIT(id) (UINT64_C(1) << (id))
/* What a peer may say of the client. */
static const uint64_t claims = BIT(MG_H_FORWARDED) | BIT(MG_H_X_FORWARDED_FOR) | BIT(MG_H_X_FORWARDED_PROTO) |
                               BIT(MG_H_X_FORWARDED_HOST) | BIT(MG_H_X_FORWARDED_PORT) | BIT(MG_H_X_REAL_IP);

int mg_forward_request(struct mg_exchange *x, struct mg_head *out)
{
    int added = x->snapshot->forwarded & (MG_FWD_X | MG_FWD_RFC7239);
    struct mg_str peer = added ? mg_client_peer_text(x) : MG_STR("");
    struct mg_headers *h = &out->headers;
    bool trusted = x->peer_is_trusted;

    out->target = target_out(x);
    if (!out->target.p || !peer.p || copy_headers(x, h) || host_out(x, out))
        return MG_ENOMEM;
    if (!trusted && h->present & claims) { /* what a stranger claims never passes */
        mg_headers_remove_id(h, MG_H_FORWARDED);
        mg_headers_remove_id(h, MG_H_X_FORWARDED_FOR);
        mg_headers_remove_id(h, MG_H_X_FORWARDED_PROTO);
        mg_headers_remove_id(h, MG_H_X_FORWARDED_HOST);
        mg_headers_remove_id(h, MG_H_X_FORWARDED_PORT);
        mg_headers_remove_id(h, MG_H_X_REAL_IP);
    }
    if ((x->snapshot->forwarded & MG_FWD_X) && forwarded_x(x, h, peer, trusted))
        return MG_ENOMEM;
    if ((x->snapshot->forwarded & MG_FWD_RFC7239) && forwarded_7239(x, h, peer, trusted))
        return MG_ENOMEM;
    out->version = 11;
    out->closes = false;
    out->upgrade = mg_str(NULL, 0);
    out->expects_continue = false; /* the body is asked for by us */
    return via(x, h, x->req->version);
}

void mg_forward_response(struct mg_exchange *x)
{
    struct mg_head *res = x->res;
    struct mg_headers *h = &res->headers;

    if (!mg_headers_find_id(h, MG_H_DATE)) {
        struct mg_str date = mg_arena_copy(&x->arena, mg_clock_http_date(), 29);

        if (date.p)
            mg_headers_add_id(h, &x->arena, MG_H_DATE, date);
    }
    if (x->snapshot->server_header.n)
        mg_headers_set_id(h, &x->arena, MG_H_SERVER, x->snapshot->server_header);
    if (x->source == MG_SOURCE_UPSTREAM)
        via(x, h, res->version);
    res->version = 11;
    res->upgrade = mg_str(NULL, 0);
    res->closes = false;
}
