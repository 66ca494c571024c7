/* mask_parts.c - secrets in the parts of a form (RFC 7578), and in what a trace has cut. */
#include "record/mask.h"
#include "record/parts.h"
#include "plugin/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static struct mg_str from(struct mg_str s, size_t at)
{
    return mg_str(s.p + at, s.n - at);
}

/* ---- multipart ---- */

/* The value of name= in a part's head, a word or a quoted text. Of several heads' lines the first that has it. */
static struct mg_str name_of(struct mg_str head)
{
    for (size_t i = 1; i + 5 < head.n; i++) {
        char before = head.p[i - 1];
        size_t from_at = i + 5, n = 0;
        bool quoted;

        if (strncasecmp(head.p + i, "name=", 5) != 0 || !strchr("; \t", before) || !before)
            continue;
        quoted = head.p[from_at] == '"';
        from_at += quoted;
        while (from_at + n < head.n && !strchr(quoted ? "\"\r\n" : "; \t\r\n", head.p[from_at + n]))
            n++;
        return mg_str(head.p + from_at, n);
    }
    return mg_str("", 0);
}

static struct mg_str mask_part(struct mg_mask *m, struct mg_str part)
{
    const char *blank = memmem(part.p, part.n, "\r\n\r\n", 4);
    size_t n = blank ? (size_t)(blank + 4 - part.p) : part.n;
    struct mg_str head = mg_str(part.p, n), value = from(part, n);

    if (!value.n)
        return part;
    if (mg_mask_is_secret(m, name_of(head)))
        return mg_mask_joined(m, head, mg_mask_word(m, value));
    return mg_mask_joined(m, head, mg_mask_plain(m, value, MG_MASK_JSON));
}

/* The first line is the delimiter: text before it is nobody's. */
struct mg_str mg_mask_parts(struct mg_mask *m, struct mg_str body)
{
    const char *first = body.n >= 2 && memcmp(body.p, "--", 2) == 0 ? body.p : memmem(body.p, body.n, "\r\n--", 4), *end;
    struct mg_str delimiter, out, rest;

    if (!first)
        return body;
    first += first == body.p && *first == '-' ? 0 : 2;
    rest = from(body, (size_t)(first - body.p));
    end = memchr(rest.p, '\r', rest.n);
    if (!end)
        return body;
    delimiter = mg_mask_joined(m, MG_STR("\r\n"), mg_str(rest.p, (size_t)(end - rest.p)));
    out = mg_str(body.p, (size_t)(end - body.p));
    rest = from(rest, (size_t)(end - rest.p));
    while (rest.n) {
        const char *next = memmem(rest.p, rest.n, delimiter.p, delimiter.n);
        size_t n = next ? (size_t)(next - rest.p) : rest.n;

        out = mg_mask_joined(m, out, mask_part(m, mg_str(rest.p, n)));
        rest = from(rest, n);
        if (next)
            out = mg_mask_joined(m, out, delimiter);
        rest = next ? from(rest, delimiter.n) : rest;
        if (!next)
            break;
    }
    return out;
}

/* ---- traces ---- */

static const struct mg_str cut_mark = { "\\u2026 (", 8 };

/* Values that the trace cut end in that mark: each text before one may end in the beginning of a secret. */
static struct mg_str scrub_cut(struct mg_mask *m, struct mg_str json)
{
    struct mg_str out = mg_str("", 0), rest = json;
    const char *mark;

    while ((mark = memmem(rest.p, rest.n, cut_mark.p, cut_mark.n))) {
        size_t n = (size_t)(mark - rest.p);

        out = mg_mask_joined(m, mg_mask_joined(m, out, mg_mask_tail(m, mg_str(rest.p, n))), cut_mark);
        rest = from(rest, n + cut_mark.n);
    }
    return out.n ? mg_mask_joined(m, out, rest) : json;
}

/* As the trace writes it, without the quotes; empty: out of memory. */
static struct mg_str escaped(struct mg_mask *m, struct mg_str s)
{
    struct mg_str out = mg_str("", 0);
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (f)
        mg_trace_quote(f, s);
    if (f && fclose(f) == 0 && n > 2)
        out.p = mg_arena_copy(m->arena, text + 1, n - 2).p;
    out.n = out.p && n > 2 ? n - 2 : 0;
    free(text);
    m->is_short = m->is_short || !out.n;
    return out;
}

/* The last use of the mask: what it learned is written as the trace writes it from here on. */
struct mg_str mg_mask_trace(struct mg_mask *m, struct mg_str json)
{
    for (int i = 0; i < m->learned_n; i++) {
        struct mg_str s = escaped(m, m->learned[i].secret);

        if (!s.n) {
            m->is_short = true;
            return mg_str("", 0);
        }
        m->learned[i].secret = s;
    }
    return m->learned_n ? scrub_cut(m, mg_mask_scrub(m, json)) : json;
}
