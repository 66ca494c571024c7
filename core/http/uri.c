#include "http/uri.h"
#include "base/bytes.h"
#include "http/framing.h"

enum {
    PLAIN = 0,  /* stands for itself in a path (pchar of RFC 3986, or '/') */
    DOT,        /* matters at the start of a segment */
    PERCENT,
    ENCODE,     /* must be percent-encoded */
    REFUSE      /* controls */
};

static const uint8_t path_class[256] = {
    [0 ... 0x1f] = REFUSE, [0x7f] = REFUSE, [0x80 ... 0xff] = ENCODE,
    [' '] = ENCODE, ['"'] = ENCODE, ['#'] = ENCODE, ['<'] = ENCODE, ['>'] = ENCODE, ['?'] = ENCODE, ['['] = ENCODE,
    ['\\'] = ENCODE, [']'] = ENCODE, ['^'] = ENCODE, ['`'] = ENCODE, ['{'] = ENCODE, ['|'] = ENCODE, ['}'] = ENCODE,
    ['%'] = PERCENT, ['.'] = DOT,
};

static const char hex[] = "0123456789ABCDEF";

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %XX at p stands for; -1 when it is none. */
static int percent_byte(const char *p, const char *end)
{
    int hi, lo;

    if (end - p < 3)
        return -1;
    hi = hex_digit(p[1]);
    lo = hex_digit(p[2]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static char *put_percent(char *o, uint8_t c)
{
    *o++ = '%';
    *o++ = hex[c >> 4];
    *o++ = hex[c & 15];
    return o;
}

/* Most paths are normal already. *extra: how much longer the normal form can be. */
static int look(struct mg_str path, bool *is_normal, size_t *extra)
{
    *is_normal = true;
    *extra = 0;
    for (size_t i = 0; i < path.n; i++) {
        switch (path_class[(uint8_t)path.p[i]]) {
        case PLAIN:
            break;
        case DOT: /* i > 0, as a path begins with '/' */
            if (path.p[i - 1] == '/')
                *is_normal = false;
            break;
        case ENCODE:
            *extra += 2;
            *is_normal = false;
            break;
        case PERCENT:
            *is_normal = false;
            break;
        default:
            return MG_ESYNTAX;
        }
    }
    return 0;
}

/* A segment has ended: begin .. *o in the output that starts at `out`. Resolves "." and "..". Returns false above the root. */
static bool end_segment(char *out, char **begin, char **o)
{
    size_t n = (size_t)(*o - *begin);

    if (n == 1 && (*begin)[0] == '.') {
        *o = *begin;
    } else if (n == 2 && (*begin)[0] == '.' && (*begin)[1] == '.') {
        char *p = *begin - 1; /* the slash before it */

        if (p == out)
            return false;
        while (p[-1] != '/')
            p--;
        *o = *begin = p;
    } else {
        return true;
    }
    return true;
}

static bool is_dots(const char *begin, const char *o)
{
    size_t n = (size_t)(o - begin);

    return (n == 1 && begin[0] == '.') || (n == 2 && begin[0] == '.' && begin[1] == '.');
}

int mg_uri_normalise_path(struct mg_str path, struct mg_arena *a, struct mg_str *out)
{
    const char *p = path.p, *end = path.p + path.n;
    char *buf, *o, *begin;
    bool is_normal;
    size_t extra;

    if (path.n == 0 || path.p[0] != '/')
        return MG_ESYNTAX;
    if (look(path, &is_normal, &extra) != 0)
        return MG_ESYNTAX;
    if (is_normal) {
        *out = path;
        return 0;
    }
    buf = mg_arena_alloc(a, path.n + extra + 1);
    if (!buf)
        return MG_ENOMEM;
    o = buf;
    *o++ = '/';
    begin = o;
    for (p++; p < end; p++) {
        uint8_t c = (uint8_t)*p;

        if (c == '/') {
            bool dots = is_dots(begin, o);

            if (!end_segment(buf, &begin, &o))
                return MG_ESYNTAX;
            if (!dots)
                *o++ = '/';
            begin = o;
        } else if (c == '%') {
            int byte = percent_byte(p, end);

            if (byte <= 0) /* malformed, or %00 */
                return MG_ESYNTAX;
            if (is_unreserved((uint8_t)byte))
                *o++ = (char)byte;
            else
                o = put_percent(o, (uint8_t)byte);
            p += 2;
        } else if (path_class[c] == ENCODE) {
            o = put_percent(o, c);
        } else {
            *o++ = (char)c;
        }
    }
    if (!end_segment(buf, &begin, &o))
        return MG_ESYNTAX;
    *out = mg_str(buf, (size_t)(o - buf));
    return 0;
}

/* What may stand in a query: all but controls, spaces and '#'. */
static bool query_ok(struct mg_str q)
{
    return mg_bytes_from(q.p, q.n, ' ' + 1) && (q.n == 0 || !memchr(q.p, '#', q.n));
}

static int split_query(struct mg_str rest, struct mg_str *path, struct mg_uri *out)
{
    const char *mark = rest.n ? memchr(rest.p, '?', rest.n) : NULL;
    size_t n = mark ? (size_t)(mark - rest.p) : rest.n;

    *path = mg_str(rest.p, n);
    out->has_query = mark != NULL;
    out->query = mark ? mg_str(mark + 1, rest.n - n - 1) : mg_str("", 0);
    if (!query_ok(out->query) || (n && memchr(rest.p, '#', n)) || (n && memchr(rest.p, ' ', n)))
        return MG_ESYNTAX;
    return 0;
}

/* http and https only: a gateway serves no other scheme. rest: what follows "//". */
static bool cut_scheme(struct mg_str target, struct mg_str *scheme, struct mg_str *rest)
{
    static const struct mg_str known[] = { { "http", 4 }, { "https", 5 } };

    for (size_t i = 0; i < 2; i++) {
        size_t n = known[i].n;

        if (target.n > n + 3 && memcmp(target.p + n, "://", 3) == 0 && mg_str_ieq(mg_str(target.p, n), known[i])) {
            *scheme = mg_str(target.p, n);
            *rest = mg_str(target.p + n + 3, target.n - n - 3);
            return true;
        }
    }
    return false;
}

int mg_uri_parse(struct mg_str target, struct mg_arena *a, struct mg_uri *out)
{
    struct mg_str rest = target, path;
    int rc;

    *out = (struct mg_uri){ .scheme = mg_str("", 0), .authority = mg_str("", 0), .path = mg_str("", 0), .query = mg_str("", 0) };
    if (target.n == 1 && target.p[0] == '*') {
        out->path = target;
        return 0;
    }
    if (target.n == 0)
        return MG_ESYNTAX;
    if (target.p[0] != '/') {
        size_t n = 0;

        if (!cut_scheme(target, &out->scheme, &rest))
            return MG_ESYNTAX;
        while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
            n++;
        out->authority = mg_str(rest.p, n);
        if (!mg_authority_ok(out->authority, NULL, NULL, NULL))
            return MG_ESYNTAX;
        rest = mg_str(rest.p + n, rest.n - n);
    }
    rc = split_query(rest, &path, out);
    if (rc != 0)
        return rc;
    if (path.n == 0)
        path = MG_STR("/");
    return mg_uri_normalise_path(path, a, &out->path);
}

int mg_uri_decode(struct mg_str s, bool plus_is_space, struct mg_arena *a, struct mg_str *out)
{
    const char *p = s.p, *end = s.p + s.n;
    char *buf, *o;

    *out = s;
    if (s.n == 0 || (!memchr(s.p, '%', s.n) && !(plus_is_space && memchr(s.p, '+', s.n))))
        return 0;
    *out = mg_str("", 0);
    buf = o = mg_arena_alloc(a, s.n);
    if (!buf)
        return MG_ENOMEM;
    for (; p < end; p++) {
        if (*p == '%') {
            int byte = percent_byte(p, end);

            if (byte < 0)
                return MG_ESYNTAX;
            *o++ = (char)byte;
            p += 2;
        } else {
            *o++ = *p == '+' && plus_is_space ? ' ' : *p;
        }
    }
    *out = mg_str(buf, (size_t)(o - buf));
    return 0;
}

int mg_uri_encode(struct mg_str s, struct mg_arena *a, struct mg_str *out)
{
    size_t extra = 0;
    char *buf, *o;

    for (size_t i = 0; i < s.n; i++)
        extra += is_unreserved((uint8_t)s.p[i]) ? 0 : 2;
    *out = s;
    if (extra == 0)
        return 0;
    *out = mg_str("", 0);
    buf = o = mg_arena_alloc(a, s.n + extra);
    if (!buf)
        return MG_ENOMEM;
    for (size_t i = 0; i < s.n; i++) {
        if (is_unreserved((uint8_t)s.p[i]))
            *o++ = s.p[i];
        else
            o = put_percent(o, (uint8_t)s.p[i]);
    }
    *out = mg_str(buf, (size_t)(o - buf));
    return 0;
}

bool mg_query_next(struct mg_str *rest, struct mg_str *name, struct mg_str *value, bool *has_value)
{
    while (rest->n > 0) {
        const char *amp = memchr(rest->p, '&', rest->n), *eq;
        size_t n = amp ? (size_t)(amp - rest->p) : rest->n;
        struct mg_str item = mg_str(rest->p, n);

        *rest = mg_str(rest->p + n + (amp != NULL), rest->n - n - (amp != NULL));
        if (n == 0)
            continue; /* "a&&b" */
        eq = memchr(item.p, '=', n);
        *has_value = eq != NULL;
        *name = mg_str(item.p, eq ? (size_t)(eq - item.p) : n);
        *value = eq ? mg_str(eq + 1, n - name->n - 1) : mg_str("", 0);
        return true;
    }
    return false;
}
