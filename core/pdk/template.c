/* template.c - text with ${variable} or ${variable|default} in it; $$ stands for $.
 *
 * Compiled to parts: a literal, or a variable with its default. Filling in reads all values first and then makes one copy;
 * a template that is one literal or one variable makes none. */
#include "pdk/template.h"
#include "pdk/phase.h"
#include "base/alloc.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

struct part {
    bool is_variable, has_preset;
    struct mg_var_ref ref;
    struct mg_str text;     /* the literal, or the default */
};
struct mg_template {
    int n;
    struct part *parts;
    char text[];            /* the source, literals with $$ made $ in place */
};

static bool complain(char *error, size_t room, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (error && room)
        vsnprintf(error, room, fmt, args);
    va_end(args);
    return false;
}

static bool parse_variable(struct part *p, struct mg_str inside, char *error, size_t room)
{
    const char *bar = inside.n ? memchr(inside.p, '|', inside.n) : NULL;
    struct mg_str name = bar ? mg_str(inside.p, (size_t)(bar - inside.p)) : inside;
    const char *known[128], *near;
    int n = 0;

    p->is_variable = true;
    p->has_preset = bar != NULL;
    p->text = bar ? mg_str(bar + 1, (size_t)(inside.p + inside.n - bar - 1)) : mg_str(NULL, 0);
    if (mg_var_parse(name, &p->ref) == 0)
        return true;
    while (n < 128 && mg_var_name_at(n)) {
        known[n] = mg_var_name_at(n);
        n++;
    }
    near = mg_str_nearest(name, known, (size_t)n);
    return complain(error, room, "there is no variable \"%.*s\"%s%s%s", name.n > 60 ? 60 : (int)name.n, name.p ? name.p : "",
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* Literals move left over the second $ of $$. */
static bool parse(struct mg_template *t, size_t n, char *error, size_t room)
{
    char *s = t->text, *o = s, *literal = s;
    size_t i = 0;

    while (i < n) {
        const char *end;

        if (s[i] != '$' || i + 1 == n || (s[i + 1] != '$' && s[i + 1] != '{')) {
            *o++ = s[i++];
            continue;
        }
        if (s[i + 1] == '$') {
            *o++ = '$';
            i += 2;
            continue;
        }
        end = memchr(s + i, '}', n - i);
        if (!end)
            return complain(error, room, "byte %zu: \"${\" has no \"}\"", i + 1);
        if (o != literal)
            t->parts[t->n++] = (struct part){ .text = mg_str(literal, (size_t)(o - literal)) };
        if (!parse_variable(&t->parts[t->n++], mg_str(s + i + 2, (size_t)(end - s) - i - 2), error, room))
            return false;
        i = (size_t)(end - s) + 1;
        literal = o = s + i;
    }
    if (o != literal)
        t->parts[t->n++] = (struct part){ .text = mg_str(literal, (size_t)(o - literal)) };
    return true;
}

struct mg_template *mg_template_new(const char *text, size_t n, char *error, size_t error_n)
{
    struct mg_template *t;
    size_t parts = 1;

    for (size_t i = 0; i < n; i++)
        parts += text[i] == '$' ? 2 : 0;
    t = n < SIZE_MAX / 2 ? mg_malloc(sizeof *t + n + 1) : NULL;
    if (t)
        t->parts = mg_calloc(parts, sizeof *t->parts);
    if (!t || !t->parts) {
        mg_free(t);
        complain(error, error_n, "out of memory");
        return NULL;
    }
    t->n = 0;
    if (n)
        memcpy(t->text, text, n);
    t->text[n] = 0;
    if (parse(t, n, error, error_n))
        return t;
    mg_template_free(t);
    return NULL;
}

void mg_template_free(struct mg_template *t)
{
    if (!t)
        return;
    mg_free(t->parts);
    mg_free(t);
}

static int escape_html(struct mg_exchange *x, struct mg_str s, struct mg_str *out)
{
    char *p = mg_arena_alloc(&x->arena, s.n * 6 + 1), *o = p;

    if (!p)
        return MG_ENOMEM;
    for (size_t i = 0; i < s.n; i++) {
        const char *as = s.p[i] == '&' ? "&amp;" : s.p[i] == '<' ? "&lt;" : s.p[i] == '>' ? "&gt;" : s.p[i] == '"' ? "&quot;" :
                         s.p[i] == '\'' ? "&#39;" : NULL;
        size_t n = as ? strlen(as) : 1;

        memcpy(o, as ? as : s.p + i, n);
        o += n;
    }
    *out = mg_str(p, (size_t)(o - p));
    return 0;
}

static int escape(struct mg_exchange *x, enum mg_render_escape how, struct mg_str s, struct mg_str *out)
{
    struct mg_str quoted;

    if (how == MG_RENDER_HTML)
        return escape_html(x, s, out);
    if (mg_json_quote(s.p, s.n, &quoted))
        return MG_ENOMEM;
    *out = mg_arena_copy(&x->arena, quoted.p + 1, quoted.n - 2);
    return out->p ? 0 : MG_ENOMEM;
}

/* A part's text now: 0, 1 when the variable is absent, or MG_ENOMEM. */
static int part_text(struct mg_exchange *x, const struct part *p, enum mg_render_escape how, const struct mg_problem_facts *error,
                     struct mg_str *out)
{
    int rc, absent = 0;

    *out = p->text;
    if (!p->is_variable)
        return 0;
    rc = mg_var_read(x, &p->ref, error, out);
    if (rc == MG_ENOMEM)
        return rc;
    if (rc) {
        absent = !p->has_preset;
        *out = p->text;
    }
    if (how != MG_RENDER_PLAIN && out->n)
        rc = escape(x, how, *out, out);
    return rc == MG_ENOMEM ? rc : absent;
}

int mg_template_fill(struct mg_exchange *x, const struct mg_template *t, enum mg_render_escape how,
                     const struct mg_problem_facts *error, struct mg_str *out)
{
    struct mg_str few[16], *texts = few;
    size_t total = 0;
    int absent = 0;
    char *p;

    *out = mg_str(NULL, 0);
    if (t->n > 16)
        texts = mg_arena_alloc(&x->arena, (size_t)t->n * sizeof *texts);
    if (!texts)
        return MG_ENOMEM;
    for (int i = 0; i < t->n; i++) {
        int rc = part_text(x, &t->parts[i], how, error, &texts[i]);

        if (rc < 0)
            return rc;
        absent += rc;
        total += texts[i].n;
    }
    if (t->n == 1 && t->parts[0].is_variable) {
        *out = texts[0];
        return absent;
    }
    p = mg_arena_alloc(&x->arena, total + 1); /* a literal too: the template may go before the exchange does */
    if (!p)
        return MG_ENOMEM;
    *out = mg_str(p, total);
    for (int i = 0; i < t->n; i++) {
        if (texts[i].n)
            memcpy(p, texts[i].p, texts[i].n);
        p += texts[i].n;
    }
    return absent;
}

int mg_template_render(struct mg_x *h, const struct mg_template *t, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = mg_str(NULL, 0);
    if (!t)
        return MG_EINVAL;
    return x ? mg_template_fill(x, t, MG_RENDER_PLAIN, NULL, out) : mg_why_not(h);
}
