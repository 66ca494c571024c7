/* cookies.h - take one cookie out of a request: for plugins that find a secret in one and hide it. */
#ifndef PLUGINS_COOKIES_H
#define PLUGINS_COOKIES_H

#include <moongate/plugin.h>
#include <string.h>
#include <strings.h>

static inline bool mg_cookie_blank(char c) { return c == ' ' || c == '\t'; }

/* Is it NAME=…, as mg_request_cookie reads it: with blanks around the name? */
static inline bool mg_pair_is(const char *p, size_t n, struct mg_str name)
{
    const char *eq = n ? memchr(p, '=', n) : NULL;

    if (!eq)
        return false;
    n = (size_t)(eq - p);
    while (n && mg_cookie_blank(p[n - 1]))
        n--;
    return n == name.n && !memcmp(p, name.p, n);
}

/* Copy the pairs of one cookie field, except NAME=…; returns the new end of `out`. */
static inline size_t mg_copy_pairs(char *out, size_t n, struct mg_str field, struct mg_str name)
{
    size_t i = 0;

    while (i < field.n) {
        size_t from, to;

        while (i < field.n && (mg_cookie_blank(field.p[i]) || field.p[i] == ';'))
            i++;
        from = i;
        while (i < field.n && field.p[i] != ';')
            i++;
        to = i;
        if (to == from || mg_pair_is(field.p + from, to - from, name))
            continue;
        if (n) {
            out[n++] = ';';
            out[n++] = ' ';
        }
        memcpy(out + n, field.p + from, to - from);
        n += to - from;
    }
    return n;
}

static inline bool mg_is_cookie(struct mg_str name)
{
    return name.n == 6 && !strncasecmp(name.p, "cookie", 6);
}

/* One cookie field takes the place of all, without that cookie (RFC 9113, 8.2.3 joins them so). */
static inline int mg_hide_cookie(struct mg_x *x, struct mg_str cookie)
{
    struct mg_str name, value;
    size_t room = 0, n = 0;
    char *out;

    if (mg_request_cookie(x, cookie.p, cookie.n, &value) < 0)
        return 0;
    for (int i = 0; mg_header_at(x, MG_REQUEST, i, &name, &value) == 0; i++)
        room += mg_is_cookie(name) ? 2 * value.n + 2 : 0; /* "a;b" grows to "a; b" */
    if (!(out = mg_x_alloc(x, room + 1)))
        return MG_ENOMEM;
    for (int i = 0; mg_header_at(x, MG_REQUEST, i, &name, &value) == 0; i++)
        if (mg_is_cookie(name))
            n = mg_copy_pairs(out, n, value, cookie);
    if (n == 0)
        return mg_header_remove(x, MG_REQUEST, "cookie", 6);
    return mg_header_set(x, MG_REQUEST, "cookie", 6, out, n);
}

#endif
