/* hosts.c - names that a request is for: exact, with a wildcard, with a port. */
#include "route/parts.h"

struct mg_str mg_host_bare(struct mg_str host)
{
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return mg_str(host.p + 1, host.n - 2);
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    return host;
}

/* Cut ":8080" off; an IPv6 address has its colons in brackets. */
static int cut_port(struct mg_str *name, int *port, struct mg_error *err)
{
    const char *colon = memrchr(name->p, ':', name->n), *bracket = memrchr(name->p, ']', name->n);
    struct mg_str digits;
    uint64_t v;

    if (!colon || (bracket && bracket > colon))
        return 0;
    digits = mg_str(colon + 1, (size_t)(name->p + name->n - colon - 1));
    if (!mg_str_u64(digits, 65535, &v) || v == 0)
        return mg_fail(err, MG_EINVAL, "host \"%.*s\": \"%.*s\" is no port%s", (int)name->n, name->p, (int)digits.n,
                       digits.p, bracket ? "" : " (IPv6 addresses stand in brackets)");
    *port = (int)v;
    name->n = (size_t)(colon - name->p);
    return 0;
}

static bool host_bytes_ok(struct mg_str s, bool in_brackets)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c >= 0x7f || strchr("*/?#@\"\\<>^`{|}[]", c) || (c >= 'A' && c <= 'Z') || (c == ':' && !in_brackets))
            return false;
        if (c == '.' && !in_brackets && (i == 0 || s.p[i - 1] == '.'))
            return false;
    }
    return s.n > 0;
}

int mg_host_parse(struct mg_str text, struct mg_host *out, struct mg_error *err)
{
    struct mg_str name = text;
    bool in_brackets = text.n && text.p[0] == '[';
    int rc;

    memset(out, 0, sizeof *out);
    out->text = text;
    if (!text.n)
        return mg_fail(err, MG_EINVAL, "an empty host");
    rc = cut_port(&name, &out->port, err);
    if (rc < 0)
        return rc;
    if (mg_str_eq(name, MG_STR("*"))) {
        out->is_any = true;
        return 0;
    }
    if (mg_str_starts(name, MG_STR("*."))) {
        out->is_wild = true;
        name = mg_str(name.p + 2, name.n - 2);
    }
    out->name = mg_host_bare(name);
    if (!host_bytes_ok(out->name, in_brackets))
        return mg_fail(err, MG_EINVAL, "\"%.*s\" is no host; \"api.example.com\", \"*.example.com\" or \"[::1]\", in "
                       "lower case, with \":port\" if need be", (int)text.n, text.p);
    return 0;
}

bool mg_host_fits(const struct mg_host *h, struct mg_str bare, int port)
{
    if (h->port && h->port != port)
        return false;
    if (h->is_any)
        return true;
    if (!h->is_wild)
        return mg_str_eq(h->name, bare);
    return bare.n > h->name.n + 1 && bare.p[bare.n - h->name.n - 1] == '.' &&
           memcmp(bare.p + bare.n - h->name.n, h->name.p, h->name.n) == 0;
}

static struct mg_hostname *hostname_of(struct mg_router *r, const struct mg_host *h)
{
    struct mg_table *t = h->is_wild ? &r->wild : &r->exact;
    struct mg_hostname *known;

    if (h->is_any)
        return &r->none;
    known = mg_table_get(t, h->name.p, h->name.n);
    if (known)
        return known;
    known = mg_arena_zalloc(&r->arena, sizeof *known);
    if (!known || mg_table_put(t, &r->arena, h->name, known) < 0)
        return NULL;
    if (h->is_wild && h->name.n > r->wild_longest)
        r->wild_longest = h->name.n;
    return known;
}

static struct mg_site **ported_site(struct mg_router *r, struct mg_hostname *known, int port)
{
    struct mg_ported *p;

    for (p = known->ported; p; p = p->next)
        if (p->port == port)
            return &p->site;
    p = mg_arena_zalloc(&r->arena, sizeof *p);
    if (!p)
        return NULL;
    p->port = port;
    p->next = known->ported;
    known->ported = p;
    return &p->site;
}

struct mg_site *mg_site_of(struct mg_router *r, const struct mg_host *h)
{
    struct mg_hostname *known = hostname_of(r, h);
    struct mg_site **at;

    if (!known)
        return NULL;
    at = h->port ? ported_site(r, known, h->port) : &known->site;
    if (at && !*at)
        *at = mg_arena_zalloc(&r->arena, sizeof **at);
    return at ? *at : NULL;
}
