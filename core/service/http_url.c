#include "service/http_url.h"
#include "http/framing.h"
#include "http/uri.h"

enum { URL_MAX = 32768, UNIX_MAX = 107 };

static struct mg_str from(struct mg_str s, size_t at) { return mg_str(s.p + at, s.n - at); }

static size_t until(struct mg_str s, const char *stops)
{
    size_t i = 0;

    while (i < s.n && !strchr(stops, s.p[i]))
        i++;
    return i;
}

/* '\0' is in every set of strchr, so controls are looked for first. */
static bool has_controls(struct mg_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

static bool is_plain(unsigned char c) { return c > ' ' && c < 0x7f; }

/* `prefix`, then s with what is no visible ASCII percent-encoded. */
static int clean(struct mg_str prefix, struct mg_str s, struct mg_arena *a, struct mg_str *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = prefix.n + s.n;
    char *p;

    for (size_t i = 0; i < s.n; i++)
        n += is_plain((unsigned char)s.p[i]) ? 0 : 2;
    *out = mg_str(mg_arena_alloc(a, n + 1), n);
    p = (char *)out->p;
    if (!p)
        return MG_ENOMEM;
    if (prefix.n)
        memcpy(p, prefix.p, prefix.n);
    p += prefix.n;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (is_plain(c)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p = '\0';
    return 0;
}

static struct mg_str without_fragment(struct mg_str s)
{
    const char *hash = s.n ? memchr(s.p, '#', s.n) : NULL;

    return hash ? mg_str(s.p, (size_t)(hash - s.p)) : s;
}

int mg_url_target(struct mg_str text, struct mg_arena *a, struct mg_str *out)
{
    text = without_fragment(text);
    if (text.n > URL_MAX || has_controls(text))
        return MG_EINVAL;
    if (text.n == 0 || text.p[0] == '?')
        return clean(MG_STR("/"), text, a, out);
    return text.p[0] == '/' ? clean(mg_str(NULL, 0), text, a, out) : MG_EINVAL;
}

/* "/run/app.sock:/path": what stands between. */
static int parse_unix(struct mg_str rest, struct mg_arena *a, struct mg_url *out)
{
    size_t n = until(rest, ":?#");
    struct mg_str target = from(rest, n);

    if (out->is_tls || n == 0 || n > UNIX_MAX || rest.p[0] != '/')
        return MG_EINVAL;
    if (target.n && target.p[0] == ':')
        target = from(target, 1);
    out->unix_path = mg_arena_copy(a, rest.p, n);
    out->host = mg_str("", 0);
    out->port = 0;
    out->authority = MG_STR("localhost");
    out->origin = mg_arena_printf(a, "http://unix:%.*s", (int)n, rest.p);
    if (!out->unix_path.p || !out->origin.p)
        return MG_ENOMEM;
    return mg_url_target(target, a, &out->target);
}

static int parse_host(struct mg_str rest, struct mg_arena *a, struct mg_url *out)
{
    size_t n = until(rest, "/?#");
    struct mg_str authority = mg_str(rest.p, n), host;
    int port, preset = out->is_tls ? 443 : 80;

    if (!mg_authority_ok(authority, &host, &port, a) || host.n > 253) /* an '@' is none of its characters */
        return MG_EINVAL;
    out->host = mg_arena_copy(a, host.p, host.n);
    out->port = port ? port : preset;
    out->unix_path = mg_str("", 0);
    out->origin = mg_arena_printf(a, "%s://%.*s:%d", out->is_tls ? "https" : "http", (int)host.n, host.p, out->port);
    out->authority = out->port == preset ? out->host : mg_arena_printf(a, "%.*s:%d", (int)host.n, host.p, out->port);
    if (!out->host.p || !out->origin.p || !out->authority.p)
        return MG_ENOMEM;
    return mg_url_target(from(rest, n), a, &out->target);
}

static bool has_scheme(struct mg_str text, struct mg_str scheme)
{
    return text.n > scheme.n && mg_str_ieq(mg_str(text.p, scheme.n), scheme);
}

int mg_url_parse(struct mg_str text, struct mg_arena *a, struct mg_url *out)
{
    struct mg_str rest;

    if (text.n > URL_MAX || has_controls(text))
        return MG_EINVAL;
    out->is_tls = has_scheme(text, MG_STR("https://"));
    if (!out->is_tls && !has_scheme(text, MG_STR("http://")))
        return MG_EINVAL;
    rest = from(text, out->is_tls ? 8 : 7);
    return mg_str_starts(rest, MG_STR("unix:/")) ? parse_unix(from(rest, 5), a, out) : parse_host(rest, a, out);
}

/* ---- redirects ---- */

/* The path up to its last slash, without the query. */
static struct mg_str folder_of(struct mg_str target)
{
    size_t n = until(target, "?");

    while (n > 0 && target.p[n - 1] != '/')
        n--;
    return mg_str(target.p, n);
}

/* "." and ".." resolved; the query, if any, behind it. */
static int settle(struct mg_str path, struct mg_arena *a, struct mg_str *out)
{
    size_t n = until(path, "?");
    struct mg_str query = from(path, n), normal;
    int rc = mg_uri_normalise_path(mg_str(path.p, n), a, &normal);

    if (rc)
        return rc == MG_ENOMEM ? rc : MG_EINVAL;
    *out = query.n ? mg_arena_printf(a, "%.*s%.*s", (int)normal.n, normal.p, (int)query.n, query.p) : normal;
    return out->p ? 0 : MG_ENOMEM;
}

/* "scheme:" before any '/', '?' or '#' (RFC 3986, 4.2). */
static bool is_absolute(struct mg_str s)
{
    size_t n = until(s, ":/?#");

    return n > 0 && n < s.n && s.p[n] == ':';
}

int mg_url_follow(struct mg_str location, bool is_tls, struct mg_str base_target, struct mg_arena *a, struct mg_str *url,
                  struct mg_str *target)
{
    struct mg_str joined, s = without_fragment(location);
    int rc;

    *url = mg_str(NULL, 0);
    if (s.n > URL_MAX || has_controls(s))
        return MG_EINVAL;
    if (is_absolute(s)) {
        *url = s;
        return 0;
    }
    if (mg_str_starts(s, MG_STR("//"))) {
        *url = mg_arena_printf(a, "%s:%.*s", is_tls ? "https" : "http", (int)s.n, s.p);
        return url->p ? 0 : MG_ENOMEM;
    }
    if (s.n && s.p[0] == '/') {
        rc = clean(mg_str(NULL, 0), s, a, &joined);
    } else if (s.n && s.p[0] == '?') {
        rc = clean(mg_str(base_target.p, until(base_target, "?")), s, a, &joined);
    } else {
        rc = s.n ? clean(folder_of(base_target), s, a, &joined) : 0;
        if (!s.n)
            joined = base_target;
    }
    return rc ? rc : settle(joined, a, target);
}
