/* pattern.c - a path as written, "/users/{id:[0-9]+}", into segments.
 *
 * Literal text is put into the normal form in which requests come (http/uri.h), so that a pattern may be
 * written as people write it. A segment holds at most one parameter, with literal text around it if need be. */
#include "route/parts.h"
#include "http/uri.h"

static int normal(struct mg_str text, struct mg_arena *a, struct mg_str *out, struct mg_error *err)
{
    struct mg_str whole = mg_arena_printf(a, "/%.*s", (int)text.n, text.p);
    int rc;

    if (!whole.p)
        return MG_ENOMEM;
    if (memchr(text.p ? text.p : "", '?', text.n) || memchr(text.p ? text.p : "", '#', text.n))
        return mg_fail(err, MG_EINVAL, "a path holds no '?' or '#'; ask for arguments with query = { … }");
    if (mg_str_eq(text, MG_STR(".")) || mg_str_eq(text, MG_STR("..")))
        return mg_fail(err, MG_EINVAL, "\"%.*s\" never occurs in a path as it is matched", (int)text.n, text.p);
    rc = mg_uri_normalise_path(whole, a, out);
    if (rc == MG_ENOMEM)
        return rc;
    if (rc < 0 || out->n == 0)
        return mg_fail(err, MG_EINVAL, "\"%.*s\" is not valid in a path", (int)text.n, text.p);
    out->p++;
    out->n--;
    return 0;
}

static bool name_ok(struct mg_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = mg_lower(s.p[i]);

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return s.n > 0;
}

/* The byte after the '}' that closes the '{' at p; NULL when there is none. Regexes may hold {2,3}, \} and [}]. */
static const char *close_brace(const char *p, const char *end)
{
    int depth = 0;
    bool in_class = false, in_regex = false;

    for (; p < end; p++) {
        if (*p == ':' && depth == 1)
            in_regex = true;
        else if (*p == '\\' && in_regex)
            p++;
        else if (*p == '[' && in_regex)
            in_class = true;
        else if (*p == ']')
            in_class = false;
        else if (*p == '{' && !in_class)
            depth++;
        else if (*p == '}' && !in_class && --depth == 0)
            return p + 1;
    }
    return NULL;
}

/* The end of the segment that begins at p; NULL when a brace is not closed. */
static const char *segment_end(const char *p, const char *end)
{
    while (p && p < end && *p != '/')
        p = *p == '{' ? close_brace(p, end) : p + 1;
    return p;
}

static int parse_param(struct mg_str inner, struct mg_segment *s, struct mg_error *err)
{
    const char *colon = inner.n ? memchr(inner.p, ':', inner.n) : NULL;

    s->name = colon ? mg_str(inner.p, (size_t)(colon - inner.p)) : inner;
    if (!name_ok(s->name))
        return mg_fail(err, MG_EINVAL, "{%.*s}: a parameter's name is letters, digits, \"_\" and \"-\"",
                       (int)inner.n, inner.p);
    if (colon) {
        s->regex = mg_str(colon + 1, (size_t)(inner.p + inner.n - colon - 1));
        if (!s->regex.n)
            return mg_fail(err, MG_EINVAL, "{%.*s}: the regex is empty", (int)inner.n, inner.p);
    }
    return 0;
}

static bool holds(struct mg_str s, const char *bytes)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] && strchr(bytes, s.p[i]))
            return true;
    return false;
}

static int parse_segment(struct mg_str text, struct mg_arena *a, struct mg_segment *s, struct mg_error *err)
{
    const char *open = text.n ? memchr(text.p, '{', text.n) : NULL, *end = text.p + text.n, *after;
    int rc;

    memset(s, 0, sizeof *s);
    if (holds(open ? mg_str(text.p, (size_t)(open - text.p)) : text, "*}"))
        return mg_fail(err, MG_EINVAL, "\"%.*s\": \"*\" stands alone at the end, \"}\" closes a \"{\"", (int)text.n, text.p);
    if (!open) {
        s->kind = MG_SEG_LITERAL;
        return normal(text, a, &s->text, err);
    }
    after = close_brace(open, end);
    if (holds(mg_str(after, (size_t)(end - after)), "{}*"))
        return mg_fail(err, MG_EINVAL, "\"%.*s\": one {parameter} in a segment, and \"*\" only alone at the end",
                       (int)text.n, text.p);
    rc = parse_param(mg_str(open + 1, (size_t)(after - open) - 2), s, err);
    if (rc == 0)
        rc = normal(mg_str(text.p, (size_t)(open - text.p)), a, &s->before, err);
    if (rc == 0)
        rc = normal(mg_str(after, (size_t)(end - after)), a, &s->after, err);
    s->kind = s->regex.n || s->before.n || s->after.n ? MG_SEG_PARTS : MG_SEG_PARAM;
    return rc;
}

static int add_name(struct mg_path *path, struct mg_str name, struct mg_error *err)
{
    if (++path->params_n > MG_PARAMS_MAX)
        return mg_fail(err, MG_EINVAL, "more than %d parameters", MG_PARAMS_MAX);
    for (int i = 0; i < path->segments_n; i++)
        if (path->segments[i].name.n && mg_str_eq(path->segments[i].name, name))
            return mg_fail(err, MG_EINVAL, "two parameters are named {%.*s}", (int)name.n, name.p);
    return 0;
}

static int parse_segments(struct mg_path *path, struct mg_arena *a, struct mg_error *err)
{
    const char *p = path->text.p + 1, *end = path->text.p + path->text.n, *stop;
    bool is_head = true;
    int rc = 0;

    for (;; p = stop + 1) {
        struct mg_segment *s = &path->segments[path->segments_n];

        stop = segment_end(p, end);
        if (!stop)
            return mg_fail(err, MG_EINVAL, "\"{\" without \"}\"");
        if (stop == end && end - p == 1 && *p == '*') {
            path->has_star = true;
            return add_name(path, MG_STR("*"), err);
        }
        if (path->segments_n == MG_SEGMENTS_MAX)
            return mg_fail(err, MG_EINVAL, "more than %d segments", MG_SEGMENTS_MAX);
        rc = parse_segment(mg_str(p, (size_t)(stop - p)), a, s, err);
        if (rc == 0 && s->name.n)
            rc = add_name(path, s->name, err);
        if (rc < 0)
            return rc;
        is_head = is_head && s->kind == MG_SEG_LITERAL;
        if (is_head)
            path->literal_bytes += 1 + s->text.n;
        path->segments_n++;
        if (stop == end)
            return 0;
    }
}

int mg_path_parse(struct mg_str text, struct mg_arena *a, struct mg_path *out, struct mg_error *err)
{
    size_t n = 1;

    memset(out, 0, sizeof *out);
    out->text = text;
    if (mg_str_eq(text, MG_STR("*"))) {
        out->is_any = true;
        return 0;
    }
    if (text.n == 0 || text.p[0] != '/')
        return mg_fail(err, MG_EINVAL, "it does not begin with \"/\"");
    if (memchr(text.p, '\0', text.n))
        return mg_fail(err, MG_EINVAL, "a path holds no NUL");
    for (size_t i = 0; i < text.n && n <= MG_SEGMENTS_MAX; i++)
        n += text.p[i] == '/';
    out->segments = mg_arena_zalloc(a, n * sizeof *out->segments);
    return out->segments ? parse_segments(out, a, err) : MG_ENOMEM;
}
