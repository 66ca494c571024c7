/* value.c - walking, changing and printing a tree of plain data. */
#include "config/value.h"

#include "base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct mg_value *mg_value_new(struct mg_arena *a, enum mg_value_kind kind)
{
    struct mg_value *v = mg_arena_zalloc(a, sizeof(*v));

    if (v) {
        v->kind = (uint8_t)kind;
        v->function = -1;
        v->serial = (uint32_t)MG_NO_SERIAL;
    }
    return v;
}

/* The place of `key` among the members, or where it would go. */
static size_t member_place(const struct mg_value *table, struct mg_str key, bool *found)
{
    size_t low = 0, high = table->members_n;

    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = mg_str_cmp(table->members[mid].key, key);

        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct mg_value *mg_value_get(const struct mg_value *table, const char *key)
{
    bool found;
    size_t i;

    if (!table || table->kind != MG_V_TABLE)
        return NULL;
    i = member_place(table, mg_str_c(key), &found);
    return found ? table->members[i].value : NULL;
}

struct mg_value *mg_value_at(const struct mg_value *table, size_t i)
{
    return table && table->kind == MG_V_TABLE && i < table->items_n ? table->items[i] : NULL;
}

int mg_value_reserve(struct mg_value *table, size_t extra, struct mg_arena *a)
{
    size_t room = table->members_n + extra;
    struct mg_member *members;

    if (room <= table->members_room)
        return 0;
    members = mg_arena_alloc(a, room * sizeof(*members));
    if (!members)
        return MG_ENOMEM;
    if (table->members_n)
        memcpy(members, table->members, table->members_n * sizeof(*members));
    table->members = members;
    table->members_room = (uint32_t)room;
    return 0;
}

int mg_value_put(struct mg_value *table, struct mg_str key, struct mg_value *v, struct mg_arena *a)
{
    bool found;
    size_t i = member_place(table, key, &found);

    if (!found) {
        if (table->members_n >= table->members_room && mg_value_reserve(table, table->members_n + 4, a) != 0)
            return MG_ENOMEM;
        memmove(table->members + i + 1, table->members + i, (table->members_n - i) * sizeof(*table->members));
        table->members_n++;
    }
    table->members[i] = (struct mg_member){ key, v };
    v->parent = table;
    v->key = key;
    v->index = 0;
    return 0;
}

struct mg_value *mg_value_remove(struct mg_value *table, const char *key)
{
    bool found;
    size_t i;
    struct mg_value *v;

    if (table->kind != MG_V_TABLE)
        return NULL;
    i = member_place(table, mg_str_c(key), &found);
    if (!found)
        return NULL;
    v = table->members[i].value;
    table->members_n--;
    memmove(table->members + i, table->members + i + 1, (table->members_n - i) * sizeof(*table->members));
    return v;
}

const char *mg_value_kind_name(const struct mg_value *v)
{
    static const char *const names[] = { "nothing", "a boolean", "a number", "text", "a table", "a function" };

    return names[v ? v->kind : MG_V_NIL];
}

/* ---- paths ----------------------------------------------------------------------------------- */

static bool is_plain_key(struct mg_str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return key.n > 0;
}

/* The id of a route, so that paths say "routes.users" instead of "routes[1]". */
static struct mg_str route_id(const struct mg_value *v)
{
    const struct mg_value *list = v->parent, *id;

    if (v->kind != MG_V_TABLE || !list || !mg_str_eq(list->key, MG_STR("routes")) || !list->parent || list->parent->parent)
        return mg_str("", 0);
    id = mg_value_get(v, "id");
    if (!id)
        id = mg_value_at(v, 0);
    return id && id->kind == MG_V_STRING ? id->text : mg_str("", 0);
}

struct mg_str mg_value_path(const struct mg_value *v, struct mg_arena *a)
{
    struct mg_str head, key;

    if (!v || !v->parent)
        return mg_arena_copy(a, "", 0);
    head = mg_value_path(v->parent, a);
    if (!head.p)
        return head;
    key = v->index > 0 ? route_id(v) : v->key;
    if (key.n == 0)
        return v->index > 0 ? mg_arena_printf(a, "%s[%d]", head.p, v->index) : head;
    if (!is_plain_key(key))
        return mg_arena_printf(a, "%s[\"%.*s\"]", head.p, (int)(key.n > 100 ? 100 : key.n), key.p);
    return mg_arena_printf(a, "%s%s%.*s", head.p, head.n ? "." : "", (int)key.n, key.p);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

struct text { struct mg_arena *a; char *p; size_t n, room; bool failed; };

static void put(struct text *t, const char *p, size_t n)
{
    if (t->failed)
        return;
    if (t->n + n + 1 > t->room) {
        size_t room = (t->room + n + 64) * 2;
        char *grown = mg_arena_grow(t->a, t->p, t->room, room);

        if (!grown) {
            t->failed = true;
            return;
        }
        t->p = grown;
        t->room = room;
    }
    if (n)
        memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
}

static void put_string(struct text *t, struct mg_str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;

    put(t, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char escape[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        put(t, s.p + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') {
            escape[1] = (char)c;
            put(t, escape, 2);
        } else {
            put(t, escape, 6);
        }
    }
    put(t, s.p + from, s.n - from);
    put(t, "\"", 1);
}

static void put_number(struct text *t, double d)
{
    char buf[40];
    int n;

    if (!isfinite(d)) {
        put(t, "null", 4);
        return;
    }
    if (d == floor(d) && fabs(d) < 1e15)
        n = snprintf(buf, sizeof(buf), "%.0f", d == 0 ? 0.0 : d);
    else {
        n = snprintf(buf, sizeof(buf), "%.15g", d);
        if (strtod(buf, NULL) != d)
            n = snprintf(buf, sizeof(buf), "%.17g", d);
    }
    put(t, buf, (size_t)n);
}

static void put_value(struct text *t, const struct mg_value *v);

static void put_table(struct text *t, const struct mg_value *v)
{
    bool is_list = v->items_n > 0 && v->members_n == 0;
    char key[24];

    put(t, is_list ? "[" : "{", 1);
    for (size_t i = 0; i < v->items_n; i++) {
        if (i)
            put(t, ",", 1);
        if (!is_list)
            put(t, key, (size_t)snprintf(key, sizeof(key), "\"%zu\":", i + 1));
        put_value(t, v->items[i]);
    }
    for (size_t i = 0; i < v->members_n; i++) {
        if (i || v->items_n)
            put(t, ",", 1);
        put_string(t, v->members[i].key);
        put(t, ":", 1);
        put_value(t, v->members[i].value);
    }
    put(t, is_list ? "]" : "}", 1);
}

static void put_value(struct text *t, const struct mg_value *v)
{
    switch (v->kind) {
    case MG_V_BOOL: put(t, v->boolean ? "true" : "false", v->boolean ? 4 : 5); break;
    case MG_V_NUMBER: put_number(t, v->number); break;
    case MG_V_STRING: put_string(t, v->text); break;
    case MG_V_TABLE: put_table(t, v); break;
    default: put(t, "null", 4); break;
    }
}

struct mg_str mg_value_json(const struct mg_value *v, struct mg_arena *a)
{
    struct text t = { .a = a };

    put_value(&t, v);
    return t.failed ? mg_str(NULL, 0) : mg_str(t.p, t.n);
}
