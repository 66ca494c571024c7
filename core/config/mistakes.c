/* mistakes.c - gathering mistakes and saying them, each with file, line and path. */
#include "config/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void add(struct mg_check *c, const struct mg_value *at, const char *key, const char *fmt, va_list args)
{
    char text[1024];
    int n = vsnprintf(text, sizeof(text), fmt, args);
    struct mg_mistake *m;

    if (c->n == c->room) {
        size_t room = c->room ? c->room * 2 : 16;
        struct mg_mistake *grown = mg_arena_grow(c->arena, c->list, c->room * sizeof(*grown), room * sizeof(*grown));

        if (!grown) {
            c->n += c->n == 0; /* out of memory, yet never taken for correct */
            return;
        }
        c->list = grown;
        c->room = room;
    }
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof(text))
        n = sizeof(text) - 1;
    m = &c->list[c->n++];
    *m = (struct mg_mistake){ .at = at, .path = mg_value_path(at, c->arena) };
    if (key)
        m->path = mg_arena_printf(c->arena, "%s%s%s", m->path.p ? m->path.p : "", m->path.n ? "." : "", key);
    m->message = mg_arena_printf(c->arena, "%.*s%s", n, text, c->suffix ? c->suffix : "");
}

void mg_check_add(struct mg_check *c, const struct mg_value *at, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(c, at, NULL, fmt, args);
    va_end(args);
}

void mg_check_add_key(struct mg_check *c, const struct mg_value *table, const char *key, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(c, table, key, fmt, args);
    va_end(args);
}

/* Where a node was written, or the nearest one around it that was written at all. */
static void locate(struct mg_check *c, struct mg_mistake *m)
{
    m->file = c->main_file;
    m->line = 0;
    for (const struct mg_value *v = m->at; v; v = v->parent) {
        if (v->line) {
            m->file = v->file;
            m->line = v->line;
            return;
        }
    }
}

struct sorted { const struct mg_mistake *m; size_t i; };

static int by_place(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = mg_str_cmp(x->m->file, y->m->file);

    if (order == 0)
        order = (x->m->line > y->m->line) - (x->m->line < y->m->line);
    return order ? order : (x->i > y->i) - (x->i < y->i);
}

struct mg_str mg_check_text(struct mg_check *c, struct mg_arena *a)
{
    struct sorted *order = c->n && c->list ? mg_arena_alloc(a, c->n * sizeof(*order)) : NULL;
    char *text = NULL;
    size_t n = 0, size = 0;
    FILE *f;
    struct mg_str out;

    if (!order)
        return c->n ? MG_STR("config: out of memory\n") : mg_str("", 0);
    for (size_t i = 0; i < c->n; i++) {
        locate(c, &c->list[i]);
        order[i] = (struct sorted){ &c->list[i], i };
    }
    qsort(order, c->n, sizeof(*order), by_place);
    f = open_memstream(&text, &size);
    for (size_t i = 0; f && i < c->n; i++) {
        const struct mg_mistake *m = order[i].m;

        fprintf(f, "%.*s", m->file.n ? (int)m->file.n : 6, m->file.n ? m->file.p : "config");
        if (m->line)
            fprintf(f, ":%d", m->line);
        fprintf(f, ": %.*s%s%.*s\n", (int)m->path.n, m->path.p ? m->path.p : "", m->path.n ? ": " : "", (int)m->message.n,
                m->message.p ? m->message.p : "out of memory");
        n++;
    }
    if (f)
        fclose(f);
    out = n ? mg_arena_copy(a, text, size) : mg_str(NULL, 0);
    free(text);
    return out.p ? out : MG_STR("config: out of memory\n");
}
