/* fill.c - a C struct from a checked table. */
#include "config/check.h"

static int fill_value(const struct mg_field *f, size_t stride, const struct mg_value *v, char *at, struct mg_arena *a);

/* Layout of a map's item: the key, then what `item` describes. */
enum { MAP_KEY_BYTES = sizeof(struct mg_str) };

/* What an absent field is: zero bytes, and -1 for functions, those inside a table as well. */
static void fill_absent(const struct mg_field *f, size_t stride, char *out)
{
    int32_t none = -1;
    struct mg_field inner;

    if (f->or_function)
        memcpy(out + f->function_offset, &none, sizeof(none));
    if (f->type == MG_FUNCTION)
        memcpy(out + f->offset, &none, sizeof(none));
    for (size_t i = 0; f->type == MG_TABLE && mg_field_at(f->fields, stride, i, &inner); i++)
        fill_absent(&inner, stride, out + f->offset);
}

static int fill_text(struct mg_str text, char *at, struct mg_arena *a)
{
    struct mg_str copy = mg_arena_copy(a, text.p ? text.p : "", text.n);

    memcpy(at, &copy, sizeof(copy));
    return copy.p ? 0 : MG_ENOMEM;
}

static void free_template(void *t)
{
    mg_template_free(t);
}

static void free_re(void *re)
{
    mg_re_free(re);
}

static int fill_compiled(const struct mg_field *f, const struct mg_value *v, char *at, struct mg_arena *a)
{
    char why[256];
    void *made;

    if (f->type == MG_TEMPLATE)
        made = mg_template_new(v->text.p, v->text.n, why, sizeof(why));
    else
        made = mg_re_new(v->text.p, v->text.n, 0, why, sizeof(why));
    if (!made)
        return MG_ENOMEM; /* it was compiled once, to check it */
    memcpy(at, &made, sizeof(made));
    if (mg_arena_defer(a, f->type == MG_TEMPLATE ? free_template : free_re, made) == 0)
        return 0;
    (f->type == MG_TEMPLATE ? free_template : free_re)(made);
    return MG_ENOMEM;
}

static int fill_items(const struct mg_field *f, size_t stride, const struct mg_value *v, char *at, struct mg_arena *a)
{
    bool is_map = f->type == MG_MAP;
    size_t n = is_map ? v->members_n : v->items_n;
    struct mg_array array = { NULL, n };
    struct mg_field item = { 0 };
    char *items;

    if (n && f->item) {
        memcpy(&item, f->item, stride && stride < sizeof(item) ? stride : sizeof(item));
        items = mg_arena_zalloc(a, n * f->item_bytes);
        if (!items)
            return MG_ENOMEM;
        for (size_t i = 0; i < n; i++) {
            char *one = items + i * f->item_bytes;

            if (is_map && fill_text(v->members[i].key, one, a) != 0)
                return MG_ENOMEM;
            if (item.or_function)
                fill_absent(&item, stride, one + (is_map ? MAP_KEY_BYTES : 0));
            if (fill_value(&item, stride, is_map ? v->members[i].value : v->items[i], one + (is_map ? MAP_KEY_BYTES : 0), a) != 0)
                return MG_ENOMEM;
        }
        array.items = items;
    }
    memcpy(at, &array, sizeof(array));
    return 0;
}

static int fill_enum(const struct mg_field *f, const struct mg_value *v, char *at)
{
    int i = 0;

    while (f->values[i] && !mg_str_eq(v->text, mg_str_c(f->values[i])))
        i++;
    memcpy(at, &i, sizeof(i));
    return 0;
}

/* base: the struct that the field is in. */
static int fill_value(const struct mg_field *f, size_t stride, const struct mg_value *v, char *base, struct mg_arena *a)
{
    char *at = base + f->offset;
    int64_t n = (int64_t)v->number;
    int32_t function = v->function;

    if (v->kind == MG_V_FUNCTION && f->type != MG_ANY) {
        memcpy(f->type == MG_FUNCTION ? at : base + f->function_offset, &function, sizeof(function));
        return 0;
    }
    switch (f->type) {
    case MG_BOOL: memcpy(at, &v->boolean, sizeof(bool)); return 0;
    case MG_INT: case MG_DURATION: case MG_SIZE: memcpy(at, &n, sizeof(n)); return 0;
    case MG_NUMBER: memcpy(at, &v->number, sizeof(double)); return 0;
    case MG_STRING: case MG_PATH: return fill_text(v->text, at, a);
    case MG_ENUM: return fill_enum(f, v, at);
    case MG_LIST: case MG_MAP: return fill_items(f, stride, v, at, a);
    case MG_TABLE: return mg_fields_fill(f->fields, stride, v, at, a);
    case MG_TEMPLATE: case MG_REGEX: return fill_compiled(f, v, at, a);
    case MG_ANY: {
        struct mg_str json = mg_value_json(v, a);

        memcpy(at, &json, sizeof(json));
        return json.p ? 0 : MG_ENOMEM;
    }
    case MG_FUNCTION: break;
    }
    return 0;
}

int mg_fields_fill(const struct mg_field *fields, size_t field_bytes, const struct mg_value *table, void *out, struct mg_arena *a)
{
    struct mg_field f;

    for (size_t i = 0; mg_field_at(fields, field_bytes, i, &f); i++) {
        const struct mg_value *v = mg_value_get(table, f.name);
        int rc;

        fill_absent(&f, field_bytes, out);
        if (!v)
            v = mg_field_preset(&f, field_bytes, a);
        if (!v)
            continue;
        rc = fill_value(&f, field_bytes, v, out, a);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- masking --------------------------------------------------------------------------------- */

static struct mg_value *mask_value(const struct mg_field *f, size_t stride, const struct mg_value *v, struct mg_arena *a);

static struct mg_value *mask_copy(const struct mg_value *v, struct mg_arena *a)
{
    struct mg_value *copy = mg_value_new(a, MG_V_NIL);

    if (!copy)
        return NULL;
    *copy = *v;
    if (v->kind != MG_V_TABLE)
        return copy;
    copy->items = v->items_n ? mg_arena_alloc(a, v->items_n * sizeof(struct mg_value *)) : NULL;
    copy->members = v->members_n ? mg_arena_alloc(a, v->members_n * sizeof(struct mg_member)) : NULL;
    copy->members_room = (uint32_t)v->members_n;
    return (v->items_n && !copy->items) || (v->members_n && !copy->members) ? NULL : copy;
}

/* A table whose items and members are all of one field (a list, a map), or of none (f NULL: plain). */
static struct mg_value *mask_all(const struct mg_field *f, size_t stride, const struct mg_value *v, struct mg_arena *a)
{
    struct mg_value *copy = mask_copy(v, a);

    for (size_t i = 0; copy && v->kind == MG_V_TABLE && i < v->items_n; i++)
        if (!(copy->items[i] = mask_value(f, stride, v->items[i], a)))
            return NULL;
    for (size_t i = 0; copy && v->kind == MG_V_TABLE && i < v->members_n; i++) {
        copy->members[i].key = v->members[i].key;
        if (!(copy->members[i].value = mask_value(f, stride, v->members[i].value, a)))
            return NULL;
    }
    return copy;
}

static struct mg_value *mask_value(const struct mg_field *f, size_t stride, const struct mg_value *v, struct mg_arena *a)
{
    struct mg_field item = { 0 };
    struct mg_value *hidden;

    if (!f)
        return mask_all(NULL, stride, v, a);
    if (f->secret) {
        hidden = mg_value_new(a, MG_V_STRING);
        if (hidden)
            hidden->text = MG_STR("***");
        return hidden;
    }
    if (f->type == MG_TABLE && v->kind == MG_V_TABLE)
        return mg_fields_mask(f->fields, stride, v, a);
    if ((f->type == MG_LIST || f->type == MG_MAP) && f->item) {
        memcpy(&item, f->item, stride && stride < sizeof(item) ? stride : sizeof(item));
        return mask_all(&item, stride, v, a);
    }
    return mask_all(NULL, stride, v, a);
}

struct mg_value *mg_fields_mask(const struct mg_field *fields, size_t field_bytes, const struct mg_value *table, struct mg_arena *a)
{
    struct mg_value *copy = table->kind == MG_V_TABLE ? mask_copy(table, a) : mask_value(NULL, field_bytes, table, a);

    for (size_t i = 0; copy && table->kind == MG_V_TABLE && i < table->items_n; i++)
        if (!(copy->items[i] = mask_value(NULL, field_bytes, table->items[i], a)))
            return NULL;
    for (size_t i = 0; copy && table->kind == MG_V_TABLE && i < table->members_n; i++) {
        struct mg_field f = { 0 };
        size_t k = 0;

        while (mg_field_at(fields, field_bytes, k, &f) && !mg_str_eq(mg_str_c(f.name), table->members[i].key))
            k++;
        copy->members[i].key = table->members[i].key;
        copy->members[i].value = mask_value(f.name ? &f : NULL, field_bytes, table->members[i].value, a);
        if (!copy->members[i].value)
            return NULL;
    }
    return copy;
}
