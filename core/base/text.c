#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void mg_text_init(struct mg_text *t, char *buffer, size_t max)
{
    *t = (struct mg_text){ .p = buffer, .max = max };
}

void mg_text_put(struct mg_text *t, const char *p, size_t n)
{
    if (n > t->max - t->n) { /* whole or not at all: half an escape would be worse than none */
        t->was_cut = true;
        return;
    }
    if (n)
        memcpy(t->p + t->n, p, n);
    t->n += n;
}

void mg_text_put_c(struct mg_text *t, const char *s) { mg_text_put(t, s, strlen(s)); }

size_t mg_utf8_length(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t len;

    if (!n)
        return 0;
    if (u[0] < 0x80)
        return 1;
    len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
        (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return len;
}

static const char *short_escape(char c)
{
    switch (c) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\\': return "\\\\";
    case '"': return "\\\"";
    default: return NULL;
    }
}

static void put_code(struct mg_text *t, const char *format, unsigned code)
{
    char s[8];

    snprintf(s, sizeof(s), format, code);
    mg_text_put_c(t, s);
}

/* One character that needs it, escaped. Returns how many bytes it took. */
static size_t escape_one(struct mg_text *t, const char *p, size_t n, enum mg_text_escape how)
{
    unsigned char c = (unsigned char)*p;
    const char *s = short_escape(*p);
    size_t len;

    if (s && (how == MG_TEXT_JSON || c < 0x20)) {
        mg_text_put_c(t, s);
        return 1;
    }
    if (c < 0x20 || c == 0x7f) {
        put_code(t, how == MG_TEXT_JSON ? "\\u%04x" : "\\x%02x", c);
        return 1;
    }
    len = mg_utf8_length(p, n);
    if (len == 0)
        put_code(t, how == MG_TEXT_JSON ? "\\ufffd" : "\\x%02x", c);
    else if (len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0) /* C1 controls: terminals obey them */
        put_code(t, how == MG_TEXT_JSON ? "\\u%04x" : "\\x%02x", (unsigned char)p[1]);
    else
        mg_text_put(t, p, len);
    return len ? len : 1;
}

/* Characters that need no escape: as many as there is room for. */
static void put_run(struct mg_text *t, const char *p, size_t n)
{
    size_t room = t->max - t->n;

    mg_text_put(t, p, n < room ? n : room);
    t->was_cut |= n > room;
}

void mg_text_escape(struct mg_text *t, struct mg_str s, enum mg_text_escape how)
{
    size_t from = 0, i = 0;

    while (i < s.n && !t->was_cut) {
        unsigned char c = (unsigned char)s.p[i];

        if (c >= 0x20 && c < 0x7f && (how == MG_TEXT_PLAIN || (c != '"' && c != '\\'))) {
            i++;
            continue;
        }
        put_run(t, s.p + from, i - from);
        if (!t->was_cut)
            i += escape_one(t, s.p + i, s.n - i, how);
        from = i;
    }
    put_run(t, s.p + from, i - from);
}

void mg_text_number(struct mg_text *t, double v)
{
    char s[40];

    if (!isfinite(v)) {
        mg_text_put_c(t, "null");
        return;
    }
    if (fabs(v) < 1e15 && v == floor(v)) {
        snprintf(s, sizeof(s), "%.0f", v == 0 ? 0.0 : v);
    } else {
        snprintf(s, sizeof(s), "%.15g", v);
        if (strtod(s, NULL) != v)
            snprintf(s, sizeof(s), "%.17g", v);
    }
    mg_text_put_c(t, s);
}
