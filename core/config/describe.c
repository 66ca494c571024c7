/* describe.c - what a field takes, in words, and its default as a value. */
#include "config/check.h"

#include <stdio.h>
#include <stdlib.h>

bool mg_field_at(const struct mg_field *fields, size_t field_bytes, size_t i, struct mg_field *out)
{
    size_t n = field_bytes && field_bytes < sizeof(*out) ? field_bytes : sizeof(*out);

    if (!fields)
        return false;
    memset(out, 0, sizeof(*out));
    memcpy(out, (const char *)fields + i * (field_bytes ? field_bytes : sizeof(*out)), n);
    return out->name != NULL;
}

const char *mg_type_name(enum mg_type type)
{
    static const char *const names[] = { "", "boolean", "integer", "number", "string", "duration", "size", "enum", "list", "map", "table",
                                         "function", "template", "regex", "path", "any" };

    return (unsigned)type < sizeof(names) / sizeof(*names) ? names[type] : "";
}

static void put_bound(const struct mg_field *f, double d, char *buf, size_t n)
{
    static const struct { double ms; const char *unit; } units[] = { { 864e5, "d" }, { 36e5, "h" }, { 6e4, "m" }, { 1e3, "s" }, { 1, "ms" } };

    if (f->type == MG_DURATION) {
        for (size_t i = 0; i < 5; i++) {
            double count = d / units[i].ms;

            if ((count >= 1 || i == 4) && count == (double)(int64_t)count) {
                snprintf(buf, n, "\"%.0f%s\"", count, units[i].unit);
                return;
            }
        }
    }
    snprintf(buf, n, d == (double)(int64_t)d && d < 1e15 && d > -1e15 ? "%.0f" : "%g", d);
}

/* " from 1 to 63", " of at least 1"… */
static void put_range(const struct mg_field *f, char *buf, size_t n)
{
    char low[40], high[40];

    put_bound(f, f->min, low, sizeof(low));
    put_bound(f, f->max, high, sizeof(high));
    if (f->has_min && f->has_max)
        snprintf(buf, n, " from %s to %s", low, high);
    else if (f->has_min)
        snprintf(buf, n, " of at least %s", low);
    else if (f->has_max)
        snprintf(buf, n, " of at most %s", high);
    else
        buf[0] = '\0';
}

static void put_words(const struct mg_field *f, char *buf, size_t n)
{
    size_t at = (size_t)snprintf(buf, n, f->values && f->values[0] && f->values[1] ? "one of" : "the word");

    for (size_t i = 0; f->values && f->values[i] && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, "%s \"%s\"", i ? "," : "", f->values[i]);
}

void mg_field_expects(const struct mg_field *f, size_t field_bytes, char *buf, size_t n)
{
    static const char *const plain[] = { "a value", "true or false", "a whole number", "a number", "text", "a duration (such as \"5s\")",
                                         "a size (such as 65536 or \"64k\")", "", "a list", "a table of names and values", "a table",
                                         "a function", "a template", "a regular expression", "a file's path", "plain data" };
    char range[96], inner[200];
    struct mg_field item = { 0 };

    put_range(f, range, sizeof(range));
    switch (f->type) {
    case MG_ENUM:
        put_words(f, buf, n);
        break;
    case MG_INT: case MG_NUMBER: case MG_DURATION: case MG_SIZE:
        snprintf(buf, n, "%s%s", plain[f->type], range);
        break;
    case MG_STRING:
        snprintf(buf, n, "text%s%s", f->has_min || f->has_max ? range : "", f->has_min || f->has_max ? " bytes" : "");
        if (f->has_min && f->min == 1 && !f->has_max)
            snprintf(buf, n, "text that is not empty");
        break;
    case MG_LIST:
        if (f->item) {
            memcpy(&item, f->item, field_bytes && field_bytes < sizeof(item) ? field_bytes : sizeof(item));
            mg_field_expects(&item, field_bytes, inner, sizeof(inner));
            snprintf(buf, n, f->single ? "%s, or a list of such" : "a list; each item %s", inner);
            break;
        } /* fall through */
    default:
        snprintf(buf, n, "%s", (unsigned)f->type < 16 ? plain[f->type] : plain[0]);
        break;
    }
    if (f->or_function && strlen(buf) + 16 < n)
        strcat(buf, ", or a function");
}

/* ---- defaults -------------------------------------------------------------------------------- */

static struct mg_value *scalar(const struct mg_field *f, struct mg_str text, struct mg_arena *a)
{
    struct mg_value *v = mg_value_new(a, MG_V_STRING);
    struct mg_str copy = mg_arena_copy(a, text.p, text.n);
    int64_t n = 0;

    if (!v || !copy.p)
        return NULL;
    v->text = copy;
    switch (f->type) {
    case MG_BOOL:
        v->kind = MG_V_BOOL;
        v->boolean = mg_str_eq(text, MG_STR("true"));
        break;
    case MG_INT: case MG_NUMBER:
        v->kind = MG_V_NUMBER;
        v->number = strtod(copy.p, NULL);
        break;
    case MG_DURATION: case MG_SIZE:
        v->kind = MG_V_NUMBER;
        if (f->type == MG_DURATION ? mg_duration_parse(text, &n) : mg_size_parse(text, &n))
            v->number = (double)n;
        break;
    default:
        break;
    }
    return v;
}

static struct mg_value *list(const struct mg_field *f, size_t field_bytes, struct mg_arena *a)
{
    struct mg_value *v = mg_value_new(a, MG_V_TABLE);
    struct mg_str rest = mg_str_c(f->preset), word;
    struct mg_field item = { 0 };
    size_t room = 1;

    if (rest.n >= 2 && rest.p[0] == '{' && rest.p[rest.n - 1] == '}')
        rest = mg_str(rest.p + 1, rest.n - 2);
    for (size_t i = 0; i < rest.n; i++)
        room += rest.p[i] == ',';
    if (!v || !(v->items = mg_arena_alloc(a, room * sizeof(struct mg_value *))) || !f->item)
        return NULL;
    memcpy(&item, f->item, field_bytes && field_bytes < sizeof(item) ? field_bytes : sizeof(item));
    while (mg_str_next(&rest, ',', &word)) {
        struct mg_value *one;

        if (word.n >= 2 && word.p[0] == '"' && word.p[word.n - 1] == '"')
            word = mg_str(word.p + 1, word.n - 2);
        if (word.n == 0)
            continue;
        one = scalar(&item, word, a);
        if (!one)
            return NULL;
        one->parent = v;
        one->index = (int)v->items_n + 1;
        v->items[v->items_n++] = one;
    }
    return v;
}

static struct mg_value *table(const struct mg_field *f, size_t field_bytes, struct mg_arena *a)
{
    struct mg_value *v = mg_value_new(a, MG_V_TABLE);
    struct mg_field inner;

    for (size_t i = 0; v && mg_field_at(f->fields, field_bytes, i, &inner); i++) {
        struct mg_value *member = mg_field_preset(&inner, field_bytes, a);

        if (member && mg_value_put(v, mg_str_c(inner.name), member, a) != 0)
            return NULL;
    }
    return v;
}

struct mg_value *mg_field_preset(const struct mg_field *f, size_t field_bytes, struct mg_arena *a)
{
    if (!f->preset)
        return NULL;
    switch (f->type) {
    case MG_LIST: return list(f, field_bytes, a);
    case MG_TABLE: return table(f, field_bytes, a);
    case MG_MAP: return mg_value_new(a, MG_V_TABLE);
    case MG_FUNCTION: return NULL;
    default: return scalar(f, mg_str_c(f->preset), a);
    }
}
