/* check.c - a table against its fields. One function for each kind of value; each normalises in place. */
#include "config/check.h"

#include <math.h>
#include <stdio.h>

static int check_value(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v);

enum { KNOWN_MAX = 128, LOCAL_TEXT = 480 };

/* What was found, for people; secrets by their kind alone. */
static void describe_found(const struct mg_check *c, const struct mg_value *v, char *buf, size_t n)
{
    if (c->is_secret || (v->kind != MG_V_STRING && v->kind != MG_V_NUMBER && v->kind != MG_V_BOOL))
        snprintf(buf, n, "%s", mg_value_kind_name(v));
    else if (v->kind == MG_V_STRING)
        snprintf(buf, n, "\"%.*s\"%s", (int)(v->text.n > 80 ? 80 : v->text.n), v->text.p, v->text.n > 80 ? "…" : "");
    else if (v->kind == MG_V_NUMBER)
        snprintf(buf, n, "%.14g", v->number);
    else
        snprintf(buf, n, "%s", v->boolean ? "true" : "false");
}

static void unexpected(struct mg_check *c, const struct mg_field *f, size_t stride, const struct mg_value *v)
{
    char expected[LOCAL_TEXT], found[128];

    mg_field_expects(f, stride, expected, sizeof(expected));
    describe_found(c, v, found, sizeof(found));
    mg_check_add(c, v, "expected %s; found %s", expected, found);
}

static bool in_range(const struct mg_field *f, double d)
{
    return !(f->has_min && d < f->min) && !(f->has_max && d > f->max);
}

/* ---- scalars --------------------------------------------------------------------------------- */

static void check_number(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    int64_t n = 0;

    if (v->kind == MG_V_STRING && ((f->type == MG_DURATION && mg_duration_parse(v->text, &n)) ||
                                   (f->type == MG_SIZE && mg_size_parse(v->text, &n)))) {
        if (!in_range(f, (double)n)) {
            unexpected(c, f, stride, v);
            return;
        }
        v->kind = MG_V_NUMBER;
        v->number = (double)n;
        return;
    }
    if (v->kind != MG_V_NUMBER || f->type == MG_DURATION || !isfinite(v->number) || !in_range(f, v->number) ||
        (f->type != MG_NUMBER && (v->number != floor(v->number) || fabs(v->number) > 9007199254740992.0)) ||
        (f->type == MG_SIZE && v->number < 0))
        unexpected(c, f, stride, v);
}

static void check_enum(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    const char *near;
    char expected[LOCAL_TEXT], found[128];
    size_t n = 0;

    while (f->values && f->values[n]) {
        if (v->kind == MG_V_STRING && mg_str_eq(v->text, mg_str_c(f->values[n])))
            return;
        n++;
    }
    near = v->kind == MG_V_STRING ? mg_str_nearest(v->text, f->values, n) : NULL;
    if (!near) {
        unexpected(c, f, stride, v);
        return;
    }
    mg_field_expects(f, stride, expected, sizeof(expected));
    describe_found(c, v, found, sizeof(found));
    mg_check_add(c, v, "expected %s; found %s; did you mean \"%s\"?", expected, found, near);
}

static void free_re(void *re)
{
    mg_re_free(re);
}

/* The whole value must match: "(?:…)\z", anchored. Kept, as one pattern meets many values. */
static const struct mg_re *pattern_of(struct mg_check *c, const char *pattern)
{
    struct mg_str whole;
    struct mg_re *re;
    char why[128];

    for (size_t i = 0; i < c->patterns_n; i++)
        if (c->patterns[i].pattern == pattern)
            return c->patterns[i].re;
    whole = mg_arena_printf(c->arena, "(?:%s)\\z", pattern);
    re = whole.p ? mg_re_new(whole.p, whole.n, MG_RE_ANCHORED, why, sizeof(why)) : NULL;
    if (!re || mg_arena_defer(c->arena, free_re, re) != 0) {
        mg_re_free(re);
        return NULL;
    }
    c->patterns[c->patterns_n % 16] = (struct mg_check_pattern){ pattern, re };
    if (c->patterns_n < 16)
        c->patterns_n++;
    return re;
}

static void check_string(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    const struct mg_re *re;
    int32_t spans[2];
    char found[128];

    if (v->kind != MG_V_STRING || !in_range(f, (double)v->text.n)) {
        unexpected(c, f, stride, v);
        return;
    }
    if (!f->pattern)
        return;
    re = pattern_of(c, f->pattern);
    if (re && mg_re_match(re, v->text.p, v->text.n, 0, spans, 1) > 0)
        return;
    describe_found(c, v, found, sizeof(found));
    if (!re)
        mg_check_add(c, v, "the pattern %s of this field cannot be compiled (%s)", f->pattern, found);
    else /* a pattern is for machines: the field's doc says in words what it is */
        mg_check_add(c, v, "expected text that matches %s; found %s%s%s", f->pattern, found, f->doc ? ". " : "", f->doc ? f->doc : "");
}

static void check_template(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    char why[256] = "";
    struct mg_template *t;

    if (v->kind != MG_V_STRING) {
        unexpected(c, f, stride, v);
        return;
    }
    t = mg_template_new(v->text.p, v->text.n, why, sizeof(why));
    if (!t)
        mg_check_add(c, v, "%s", why);
    mg_template_free(t);
}

static void check_regex(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    char why[256] = "";
    struct mg_re *re;

    if (v->kind != MG_V_STRING) {
        unexpected(c, f, stride, v);
        return;
    }
    re = mg_re_new(v->text.p, v->text.n, 0, why, sizeof(why));
    if (!re)
        mg_check_add(c, v, "not a regular expression: %s", why);
    mg_re_free(re);
}

static void check_path(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    struct mg_str path;

    if (v->kind != MG_V_STRING || memchr(v->text.p, '\0', v->text.n)) {
        unexpected(c, f, stride, v);
        return;
    }
    path = v->text;
    if (path.n == 0 || path.p[0] == '/' || c->folder.n == 0)
        return;
    if (mg_str_starts(path, MG_STR("./")))
        path = mg_str(path.p + 2, path.n - 2);
    path = mg_arena_printf(c->arena, "%s/%.*s", c->folder.n == 1 ? "" : c->folder.p, (int)path.n, path.p);
    if (path.p)
        v->text = path;
    else
        mg_check_add(c, v, "out of memory");
}

static void check_any(struct mg_check *c, struct mg_value *v)
{
    if (v->kind == MG_V_FUNCTION)
        mg_check_add(c, v, "expected plain data; found a function");
    for (size_t i = 0; v->kind == MG_V_TABLE && i < v->items_n; i++)
        check_any(c, v->items[i]);
    for (size_t i = 0; v->kind == MG_V_TABLE && i < v->members_n; i++)
        check_any(c, v->members[i].value);
}

/* ---- containers ------------------------------------------------------------------------------ */

/* v's content becomes a node of its own, and v an empty table. */
static struct mg_value *wrap(struct mg_check *c, struct mg_value *v)
{
    struct mg_value *inner = mg_value_new(c->arena, MG_V_NIL);

    if (!inner) {
        mg_check_add(c, v, "out of memory");
        return NULL;
    }
    *inner = *v;
    inner->serial = (uint32_t)MG_NO_SERIAL;
    for (size_t i = 0; inner->kind == MG_V_TABLE && i < inner->items_n; i++)
        inner->items[i]->parent = inner;
    for (size_t i = 0; inner->kind == MG_V_TABLE && i < inner->members_n; i++)
        inner->members[i].value->parent = inner;
    inner->parent = v;
    inner->key = mg_str("", 0);
    inner->index = 0;
    v->kind = MG_V_TABLE;
    v->items = NULL;
    v->members = NULL;
    v->items_n = v->members_n = v->members_room = 0;
    return inner;
}

static void wrap_in_list(struct mg_check *c, struct mg_value *v)
{
    struct mg_value **items = mg_arena_alloc(c->arena, sizeof(struct mg_value *));
    struct mg_value *inner = items ? wrap(c, v) : NULL;

    if (!inner)
        return;
    items[0] = inner;
    v->items = items;
    v->items_n = 1;
}

static void check_list(struct mg_check *c, const struct mg_field *f, const struct mg_field *item, size_t stride, struct mg_value *v)
{
    bool is_one = v->kind != MG_V_TABLE || ((item->type == MG_TABLE || item->type == MG_MAP) && v->members_n > 0);

    if (is_one && f->single)
        wrap_in_list(c, v);
    if (v->kind != MG_V_TABLE) {
        unexpected(c, f, stride, v);
        return;
    }
    for (size_t i = 0; i < v->members_n; i++)
        mg_check_add(c, v->members[i].value, "a list has no keys");
    if (!in_range(f, (double)v->items_n)) {
        bool few = f->has_min && (double)v->items_n < f->min;
        double want = few ? f->min : f->max;

        mg_check_add(c, v, "expected at %s %.0f item%s; found %zu", few ? "least" : "most", want, want > 1 ? "s" : "", v->items_n);
    }
    for (size_t i = 0; i < v->items_n; i++)
        check_value(c, item, stride, v->items[i]);
}

static void check_map(struct mg_check *c, const struct mg_field *f, const struct mg_field *item, size_t stride, struct mg_value *v)
{
    if (v->kind != MG_V_TABLE) {
        unexpected(c, f, stride, v);
        return;
    }
    for (size_t i = 0; i < v->items_n; i++)
        mg_check_add(c, v->items[i], "expected a name = value, found an item without name");
    if (!in_range(f, (double)v->members_n))
        unexpected(c, f, stride, v);
    for (size_t i = 0; i < v->members_n; i++)
        check_value(c, item, stride, v->members[i].value);
}

static void check_table(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    struct mg_field first;
    size_t i = 0;

    while (mg_field_at(f->fields, stride, i, &first) && first.at != 1)
        i++;
    if (v->kind != MG_V_TABLE && first.name && v->kind != MG_V_NIL) {
        struct mg_value *inner = wrap(c, v);

        if (!inner || mg_value_put(v, mg_str_c(first.name), inner, c->arena) != 0)
            return;
    }
    if (v->kind != MG_V_TABLE)
        unexpected(c, f, stride, v);
    else
        mg_fields_check(c, f->fields, stride, v, 0);
}

static int check_value(struct mg_check *c, const struct mg_field *f, size_t stride, struct mg_value *v)
{
    size_t before = c->n;
    bool was_secret = c->is_secret;
    struct mg_field item = { 0 };

    if (f->or_function && v->kind == MG_V_FUNCTION)
        return 0;
    if (f->item)
        memcpy(&item, f->item, stride && stride < sizeof(item) ? stride : sizeof(item));
    c->is_secret = was_secret || f->secret;
    switch (f->type) {
    case MG_BOOL: if (v->kind != MG_V_BOOL) unexpected(c, f, stride, v); break;
    case MG_INT: case MG_NUMBER: case MG_DURATION: case MG_SIZE: check_number(c, f, stride, v); break;
    case MG_STRING: check_string(c, f, stride, v); break;
    case MG_ENUM: check_enum(c, f, stride, v); break;
    case MG_LIST: check_list(c, f, &item, stride, v); break;
    case MG_MAP: check_map(c, f, &item, stride, v); break;
    case MG_TABLE: check_table(c, f, stride, v); break;
    case MG_FUNCTION: if (v->kind != MG_V_FUNCTION) unexpected(c, f, stride, v); break;
    case MG_TEMPLATE: check_template(c, f, stride, v); break;
    case MG_REGEX: check_regex(c, f, stride, v); break;
    case MG_PATH: check_path(c, f, stride, v); break;
    case MG_ANY: check_any(c, v); break;
    }
    c->is_secret = was_secret;
    return (int)(c->n - before);
}

/* ---- a table's fields ------------------------------------------------------------------------ */

/* Items by position become members. */
static void take_positions(struct mg_check *c, const struct mg_field *fields, size_t stride, struct mg_value *table, int skip)
{
    size_t keep = table->items_n < (size_t)skip ? table->items_n : (size_t)skip;

    for (size_t i = keep; i < table->items_n; i++) {
        struct mg_value *v = table->items[i];
        struct mg_field f;
        size_t k = 0;

        while (mg_field_at(fields, stride, k, &f) && f.at != (int)(i - (size_t)skip) + 1)
            k++;
        if (!f.name)
            mg_check_add(c, v, "no field is given at this position");
        else if (mg_value_get(table, f.name))
            mg_check_add(c, v, "%s is given twice: at this position and by name", f.name);
        else if (mg_value_put(table, mg_str_c(f.name), v, c->arena) != 0)
            mg_check_add(c, table, "out of memory");
    }
    table->items_n = keep;
}

static void refuse_unknown(struct mg_check *c, const struct mg_field *fields, size_t stride, struct mg_value *table)
{
    const char *known[KNOWN_MAX + 16];
    size_t n = 0, all;
    struct mg_field f;

    for (; n < KNOWN_MAX && mg_field_at(fields, stride, n, &f); n++)
        known[n] = f.name;
    all = n;
    for (size_t i = 0; c->also_known && c->also_known[i] && i < 16; i++)
        known[all++] = c->also_known[i];
    for (size_t i = 0; i < table->members_n; i++) {
        struct mg_str key = table->members[i].key;
        const char *near;
        size_t k = 0;

        while (k < n && !mg_str_eq(key, mg_str_c(known[k])))
            k++;
        if (k < n)
            continue;
        near = mg_str_nearest(key, known, all);
        if (near)
            mg_check_add(c, table->members[i].value, "unknown key; did you mean \"%s\"?", near);
        else
            mg_check_add(c, table->members[i].value, "unknown key");
    }
}

int mg_fields_check(struct mg_check *c, const struct mg_field *fields, size_t field_bytes, struct mg_value *table, int skip_first)
{
    size_t before = c->n, count = 0;
    char expected[LOCAL_TEXT];
    struct mg_field f;

    if (table->kind != MG_V_TABLE) {
        mg_check_add(c, table, "expected a table; found %s", mg_value_kind_name(table));
        return 1;
    }
    take_positions(c, fields, field_bytes, table, skip_first);
    refuse_unknown(c, fields, field_bytes, table);
    while (mg_field_at(fields, field_bytes, count, &f))
        count++;
    if (!c->no_defaults && mg_value_reserve(table, count, c->arena) != 0)
        mg_check_add(c, table, "out of memory");
    for (size_t i = 0; mg_field_at(fields, field_bytes, i, &f); i++) {
        struct mg_value *v = mg_value_get(table, f.name);

        if (v) {
            check_value(c, &f, field_bytes, v);
        } else if (f.required) {
            mg_field_expects(&f, field_bytes, expected, sizeof(expected));
            mg_check_add_key(c, table, f.name, "required: %s", expected);
        } else if (f.preset && (!c->no_defaults || f.type == MG_PATH)) {
            v = mg_field_preset(&f, field_bytes, c->arena);
            if (!v || mg_value_put(table, mg_str_c(f.name), v, c->arena) != 0)
                mg_check_add(c, table, "out of memory");
            else if (f.type == MG_PATH)
                check_path(c, &f, field_bytes, v);
        }
    }
    return (int)(c->n - before);
}
