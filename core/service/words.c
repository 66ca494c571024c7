#include "service/words.h"

#include <stdio.h>
#include <stdlib.h>

struct mg_str mg_words_join(struct mg_arena *a, const struct mg_str *parts, size_t n)
{
    size_t total = n;
    char *p, *at;

    for (size_t i = 0; i < n; i++)
        total += parts[i].n;
    p = at = mg_arena_alloc(a, total);
    for (size_t i = 0; p && i < n; i++) {
        if (i)
            *at++ = '\n';
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    return mg_str(p, p ? (size_t)(at - p) : 0);
}

struct mg_str mg_words_of(struct mg_arena *a, const struct mg_datum *v)
{
    char *p;

    switch (v->kind) {
    case MG_TEXT:
        p = mg_arena_alloc(a, v->text.n + 1);
        if (!p)
            return mg_str(NULL, 0);
        p[0] = 's';
        if (v->text.n)
            memcpy(p + 1, v->text.p, v->text.n);
        return mg_str(p, v->text.n + 1);
    case MG_DOUBLE: return mg_arena_printf(a, "d%.17g", v->number);
    case MG_BOOLEAN: return v->number != 0 ? MG_STR("t") : MG_STR("f");
    default: return MG_STR("n");
    }
}

void mg_words_take(struct mg_str s, struct mg_datum *out)
{
    char digits[64];

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (s.n == 0)
        return;
    if (s.p[0] == 's') {
        out->kind = MG_TEXT;
        out->text = mg_str(s.p + 1, s.n - 1);
    } else if (s.p[0] == 'd') {
        snprintf(digits, sizeof digits, "%.*s", (int)s.n - 1, s.p + 1);
        out->kind = MG_DOUBLE;
        out->number = strtod(digits, NULL);
    } else if (s.p[0] == 't' || s.p[0] == 'f') {
        out->kind = MG_BOOLEAN;
        out->number = s.p[0] == 't';
    }
}
