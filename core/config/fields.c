/* fields.c - a field table that a Lua plugin wrote, as the C one: same checks, same messages, same reference page.
 *
 *     plugin.fields = {
 *       limit  = { type = "integer", required = true, min = 1, at = 1, doc = "Requests allowed per window." },
 *       hosts  = { type = "list", item = "string", single = true },
 *       limits = { type = "list", item = { type = "table", fields = { … } } },
 *     }
 */
#include "config/check.h"

#include <math.h>
#include <stdio.h>

enum { NESTING_MAX = 16 };

struct make {
    struct mg_arena *a;
    struct mg_error *err;
    int depth;
};

static int describe(struct make *m, const struct mg_value *v, const char *name, struct mg_field *f);

static size_t size_of(const struct mg_field *f)
{
    switch (f->type) {
    case MG_BOOL: return sizeof(bool);
    case MG_INT: case MG_DURATION: case MG_SIZE: return sizeof(int64_t);
    case MG_NUMBER: return sizeof(double);
    case MG_ENUM: return sizeof(int);
    case MG_LIST: case MG_MAP: return sizeof(struct mg_array);
    case MG_FUNCTION: return sizeof(int32_t);
    case MG_TEMPLATE: case MG_REGEX: return sizeof(void *);
    case MG_TABLE: return f->item_bytes; /* kept there by describe */
    default: return sizeof(struct mg_str);
    }
}

static int type_of(struct mg_str word)
{
    for (int t = MG_BOOL; t <= MG_ANY; t++)
        if (mg_str_eq(word, mg_str_c(mg_type_name((enum mg_type)t))))
            return t;
    return 0;
}

static int wrong_type(struct make *m, const char *name, struct mg_str word)
{
    const char *names[MG_ANY];
    const char *near;

    for (int t = MG_BOOL; t <= MG_ANY; t++)
        names[t - 1] = mg_type_name((enum mg_type)t);
    near = mg_str_nearest(word, names, MG_ANY);
    return mg_fail(m->err, MG_ECONF, "%s: unknown type \"%.*s\"%s%s%s", name, (int)word.n, word.p, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static struct mg_field *describe_all(struct make *m, const struct mg_value *v, size_t *bytes)
{
    struct mg_field *fields;
    size_t at = 0;

    if (v->kind != MG_V_TABLE || v->items_n) {
        mg_fail(m->err, MG_ECONF, "expected a table of name = description");
        return NULL;
    }
    if (++m->depth > NESTING_MAX) {
        mg_fail(m->err, MG_ECONF, "fields nested more than %d deep", NESTING_MAX);
        return NULL;
    }
    fields = mg_arena_zalloc(m->a, (v->members_n + 1) * sizeof(*fields));
    if (!fields) {
        mg_fail(m->err, MG_ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < v->members_n; i++) {
        struct mg_field *f = &fields[i];

        if (describe(m, v->members[i].value, v->members[i].key.p, f) != 0)
            return NULL;
        f->offset = at;
        at += (size_of(f) + 15) & ~(size_t)15;
        if (f->or_function) {
            f->function_offset = at;
            at += 16;
        }
    }
    m->depth--;
    *bytes = at ? at : 16;
    return fields;
}

static int describe_values(struct make *m, const struct mg_value *v, const char *name, struct mg_field *f)
{
    const char **words;

    if (v->kind != MG_V_TABLE || v->items_n == 0 || v->members_n)
        return mg_fail(m->err, MG_ECONF, "%s.values: expected a list of words", name);
    words = mg_arena_zalloc(m->a, (v->items_n + 1) * sizeof(*words));
    if (!words)
        return mg_fail(m->err, MG_ENOMEM, "out of memory");
    for (size_t i = 0; i < v->items_n; i++) {
        if (v->items[i]->kind != MG_V_STRING)
            return mg_fail(m->err, MG_ECONF, "%s.values[%zu]: expected text", name, i + 1);
        words[i] = mg_arena_copy(m->a, v->items[i]->text.p, v->items[i]->text.n).p;
        if (!words[i])
            return mg_fail(m->err, MG_ENOMEM, "out of memory");
    }
    f->values = words;
    return 0;
}

/* A default as its text. */
static int describe_preset(struct make *m, const struct mg_value *v, const char *name, struct mg_field *f)
{
    struct mg_str text = { 0 };

    switch (v->kind) {
    case MG_V_STRING: text = mg_arena_copy(m->a, v->text.p, v->text.n); break;
    case MG_V_BOOL: text = mg_str_c(v->boolean ? "true" : "false"); break;
    case MG_V_NUMBER: text = mg_value_json(v, m->a); break;
    case MG_V_TABLE:
        text = mg_str_c("");
        for (size_t i = 0; i < v->items_n; i++) {
            const struct mg_value *one = v->items[i];
            struct mg_str word = one->kind == MG_V_STRING ? one->text : mg_value_json(one, m->a);

            if (one->kind == MG_V_TABLE || one->kind == MG_V_FUNCTION || memchr(word.p, ',', word.n))
                return mg_fail(m->err, MG_ECONF, "%s.preset[%zu]: the default of a list holds words without commas", name, i + 1);
            text = mg_arena_printf(m->a, "%s%s%.*s", text.p, i ? "," : "", (int)word.n, word.p);
        }
        if (v->items_n == 0)
            text = mg_str_c("{}");
        break;
    default:
        return mg_fail(m->err, MG_ECONF, "%s.preset: expected a value of the field", name);
    }
    f->preset = text.p;
    return text.p ? 0 : mg_fail(m->err, MG_ENOMEM, "out of memory");
}

static int describe_item(struct make *m, const struct mg_value *v, const char *name, struct mg_field *f)
{
    struct mg_field *item = mg_arena_zalloc(m->a, sizeof(*item));
    char inner[96];
    int rc;

    if (!item)
        return mg_fail(m->err, MG_ENOMEM, "out of memory");
    snprintf(inner, sizeof(inner), "%s.item", name);
    if (++m->depth > NESTING_MAX)
        return mg_fail(m->err, MG_ECONF, "%s: nested too deep", inner);
    rc = describe(m, v, inner, item);
    m->depth--;
    if (rc != 0)
        return rc;
    item->name = NULL;
    f->item_bytes = ((size_of(item) + 15) & ~(size_t)15) + (f->type == MG_MAP ? sizeof(struct mg_str) : 0);
    if (item->or_function) {
        item->function_offset = (size_of(item) + 15) & ~(size_t)15;
        f->item_bytes += 16;
    }
    f->item = item;
    return 0;
}

static int describe_text(struct make *m, const struct mg_value *v, const char *name, const char *key, const char **out)
{
    struct mg_str copy;

    if (v->kind != MG_V_STRING)
        return mg_fail(m->err, MG_ECONF, "%s.%s: expected text", name, key);
    copy = mg_arena_copy(m->a, v->text.p, v->text.n);
    *out = copy.p;
    return copy.p ? 0 : mg_fail(m->err, MG_ENOMEM, "out of memory");
}

static int describe_flag(struct make *m, const struct mg_value *v, const char *name, const char *key, bool *out)
{
    if (v->kind != MG_V_BOOL)
        return mg_fail(m->err, MG_ECONF, "%s.%s: expected true or false", name, key);
    *out = v->boolean;
    return 0;
}

static int describe_bound(struct make *m, const struct mg_value *v, const char *name, const char *key, const struct mg_field *f,
                          bool *has, double *out)
{
    int64_t n = 0;

    *has = true;
    if (v->kind == MG_V_NUMBER && isfinite(v->number))
        *out = v->number;
    else if (v->kind == MG_V_STRING && f->type == MG_DURATION && mg_duration_parse(v->text, &n))
        *out = (double)n;
    else if (v->kind == MG_V_STRING && f->type == MG_SIZE && mg_size_parse(v->text, &n))
        *out = (double)n;
    else
        return mg_fail(m->err, MG_ECONF, "%s.%s: expected a number", name, key);
    return 0;
}

static int describe_key(struct make *m, struct mg_str key, const struct mg_value *v, const char *name, struct mg_field *f)
{
    static const char *const known[] = { "type", "preset", "required", "min", "max", "values", "fields", "item", "at", "single", "secret",
                                         "or_function", "pattern", "doc" };
    const char *near;

    if (mg_str_eq(key, MG_STR("type"))) return 0;
    if (mg_str_eq(key, MG_STR("preset"))) return describe_preset(m, v, name, f);
    if (mg_str_eq(key, MG_STR("required"))) return describe_flag(m, v, name, "required", &f->required);
    if (mg_str_eq(key, MG_STR("single"))) return describe_flag(m, v, name, "single", &f->single);
    if (mg_str_eq(key, MG_STR("secret"))) return describe_flag(m, v, name, "secret", &f->secret);
    if (mg_str_eq(key, MG_STR("or_function"))) return describe_flag(m, v, name, "or_function", &f->or_function);
    if (mg_str_eq(key, MG_STR("min"))) return describe_bound(m, v, name, "min", f, &f->has_min, &f->min);
    if (mg_str_eq(key, MG_STR("max"))) return describe_bound(m, v, name, "max", f, &f->has_max, &f->max);
    if (mg_str_eq(key, MG_STR("values"))) return describe_values(m, v, name, f);
    if (mg_str_eq(key, MG_STR("item"))) return describe_item(m, v, name, f);
    if (mg_str_eq(key, MG_STR("pattern"))) return describe_text(m, v, name, "pattern", &f->pattern);
    if (mg_str_eq(key, MG_STR("doc"))) return describe_text(m, v, name, "doc", &f->doc);
    if (mg_str_eq(key, MG_STR("fields"))) {
        f->fields = describe_all(m, v, &f->item_bytes);
        return f->fields ? 0 : MG_ECONF;
    }
    if (mg_str_eq(key, MG_STR("at"))) {
        if (v->kind != MG_V_NUMBER || v->number < 1 || v->number > 32 || v->number != floor(v->number))
            return mg_fail(m->err, MG_ECONF, "%s.at: expected a position from 1 to 32", name);
        f->at = (int)v->number;
        return 0;
    }
    near = mg_str_nearest(key, known, sizeof(known) / sizeof(*known));
    return mg_fail(m->err, MG_ECONF, "%s.%.*s: unknown key%s%s%s", name, (int)key.n, key.p, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

/* v: { type = "…", … }, or the type's word alone. */
static int describe(struct make *m, const struct mg_value *v, const char *name, struct mg_field *f)
{
    const struct mg_value *type = v->kind == MG_V_STRING ? v : mg_value_get(v, "type");
    int rc = 0;

    f->name = mg_arena_copy(m->a, name, strlen(name)).p;
    if (!f->name)
        return mg_fail(m->err, MG_ENOMEM, "out of memory");
    if (!type || type->kind != MG_V_STRING)
        return mg_fail(m->err, MG_ECONF, "%s: expected a description: { type = \"string\", … }", name);
    f->type = (enum mg_type)type_of(type->text);
    if (!f->type)
        return wrong_type(m, name, type->text);
    if (v->kind == MG_V_TABLE && v->items_n)
        return mg_fail(m->err, MG_ECONF, "%s: a description has only named keys", name);
    for (size_t i = 0; rc == 0 && v->kind == MG_V_TABLE && i < v->members_n; i++)
        rc = describe_key(m, v->members[i].key, v->members[i].value, name, f);
    if (rc != 0)
        return rc;
    if (f->type == MG_ENUM && !f->values)
        return mg_fail(m->err, MG_ECONF, "%s: an enum has values = { … }", name);
    if ((f->type == MG_LIST || f->type == MG_MAP) && !f->item)
        return mg_fail(m->err, MG_ECONF, "%s: a %s has item = { … }", name, mg_type_name(f->type));
    if (f->type == MG_TABLE && !f->fields)
        return mg_fail(m->err, MG_ECONF, "%s: a table has fields = { … }", name);
    return 0;
}

/* Does the default pass the field's own check? */
static int check_presets(struct make *m, const struct mg_field *fields)
{
    struct mg_check c = { .arena = m->a };
    struct mg_value *empty;

    for (const struct mg_field *f = fields; f->name; f++) {
        struct mg_field one[2] = { *f, { 0 } };

        if (!f->preset || f->type == MG_LIST || f->type == MG_MAP || f->type == MG_TABLE)
            continue;
        empty = mg_value_new(m->a, MG_V_TABLE);
        if (!empty)
            return mg_fail(m->err, MG_ENOMEM, "out of memory");
        one[0].preset = NULL;
        one[0].at = 0;
        {
            struct mg_value *text = mg_field_preset(f, sizeof(*f), m->a);

            if (!text || mg_value_put(empty, mg_str_c(f->name), text, m->a) != 0)
                return mg_fail(m->err, MG_ENOMEM, "out of memory");
            if (f->type == MG_DURATION) { /* checked from its text */
                text->kind = MG_V_STRING;
                text->text = mg_str_c(f->preset);
            }
        }
        if (mg_fields_check(&c, one, sizeof(*one), empty, 0) > 0)
            return mg_fail(m->err, MG_ECONF, "%s.preset: %s", f->name, c.list ? c.list[0].message.p : "wrong");
    }
    return 0;
}

const struct mg_field *mg_fields_from_value(const struct mg_value *v, struct mg_arena *a, size_t *bytes, struct mg_error *err)
{
    struct mg_error own = { 0 };
    struct make m = { .a = a, .err = err ? err : &own };
    struct mg_field *fields = describe_all(&m, v, bytes);

    return fields && check_presets(&m, fields) == 0 ? fields : NULL;
}
