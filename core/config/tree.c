/* tree.c - a Lua table as a tree of plain data, in one order in every VM: items first, then members by key. */
#include "config/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

struct walk {
    struct mg_tree *tree;
    lua_State *L;
    int into;
    const struct mg_notes *notes;
    struct mg_error *err;
    const void *open[MG_TREE_DEPTH]; /* the tables around this value */
    int depth;
};

static struct mg_value *read_value(struct walk *w, struct mg_value *parent, struct mg_str key, int index, struct mg_place place,
                                   struct mg_place table_place);

static int out_of_memory(struct walk *w)
{
    return mg_fail(w->err, MG_ENOMEM, "config: out of memory");
}

/* what is wrong with v, said as "file:line: path: what". */
static int refuse(struct walk *w, const struct mg_value *v, const char *what)
{
    struct mg_str path = mg_value_path(v, w->tree->arena);
    const struct mg_source_file *main_file = mg_sources_find(mg_config_env_of(w->L)->sources, MG_MAIN_SOURCE);
    const char *dots = path.n ? ": " : "";
    const char *name = path.p ? path.p : "";

    if (v->line)
        return mg_fail(w->err, MG_ECONF, "%s:%d: %s%s%s", v->file.p, v->line, name, dots, what);
    return mg_fail(w->err, MG_ECONF, "%s: %s%s%s", main_file ? main_file->path.p : "config", name, dots, what);
}

static int number_node(struct walk *w, struct mg_value *v)
{
    struct mg_tree *t = w->tree;

    if (t->nodes_n == t->nodes_room) {
        size_t room = t->nodes_room ? t->nodes_room * 2 : 256;
        struct mg_value **nodes = room <= MG_TREE_NODES ? realloc(t->nodes, room * sizeof(struct mg_value *)) : NULL;

        if (!nodes)
            return out_of_memory(w);
        t->nodes = nodes;
        t->nodes_room = room;
    }
    v->serial = (uint32_t)t->nodes_n;
    t->nodes[t->nodes_n++] = v;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return mg_str_cmp(((const struct mg_member *)a)->key, ((const struct mg_member *)b)->key);
}

/* The keys of the table at the top, into v->members without values, sorted. Numbers 1…n are the items. */
static int read_keys(struct walk *w, struct mg_value *v)
{
    lua_State *L = w->L;
    size_t n = 0, items = lua_objlen(L, -1), room = 0;
    char what[128];

    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            double d = lua_tonumber(L, -1);

            if (d >= 1 && d <= (double)items && d == (double)(size_t)d)
                continue;
            snprintf(what, sizeof(what), "the key %.14g: items of a list are numbered from 1 without gaps, other keys are text", d);
            return refuse(w, v, what);
        }
        if (lua_type(L, -1) != LUA_TSTRING) {
            snprintf(what, sizeof(what), "a %s as a key: keys are text", luaL_typename(L, -1));
            return refuse(w, v, what);
        }
        if (n == room) {
            struct mg_member *grown = mg_arena_grow(w->tree->arena, v->members, room * sizeof(*grown),
                                                    (room ? room * 2 : 8) * sizeof(*grown));

            if (!grown)
                return out_of_memory(w);
            v->members = grown;
            room = room ? room * 2 : 8;
        }
        v->members[n].key.p = lua_tolstring(L, -1, &v->members[n].key.n); /* alive while the table holds it */
        v->members[n++].value = NULL;
    }
    v->members_n = n;
    v->members_room = (uint32_t)room;
    if (n > 1)
        qsort(v->members, n, sizeof(*v->members), by_key);
    v->items_n = items;
    v->items = items ? mg_arena_alloc(w->tree->arena, items * sizeof(struct mg_value *)) : NULL;
    return items && !v->items ? out_of_memory(w) : 0;
}

/* Where the entry of the table at the top was written. */
static struct mg_place entry_place(struct walk *w, const struct mg_str *key, int index)
{
    return w->notes ? mg_notes_entry(w->notes, w->L, key, index) : (struct mg_place){ 0 };
}

static int read_items(struct walk *w, struct mg_value *v, struct mg_place own)
{
    for (size_t i = 0; i < v->items_n; i++) {
        struct mg_place place = entry_place(w, NULL, (int)i + 1);

        lua_rawgeti(w->L, -1, (int)i + 1);
        v->items[i] = read_value(w, v, mg_str("", 0), (int)i + 1, place, own);
        lua_pop(w->L, 1);
        if (!v->items[i])
            return MG_ECONF;
    }
    return 0;
}

static int read_members(struct walk *w, struct mg_value *v, struct mg_place own)
{
    for (size_t i = 0; i < v->members_n; i++) {
        struct mg_str key = v->members[i].key;
        struct mg_place place = entry_place(w, &key, 0);

        lua_pushlstring(w->L, key.p, key.n);
        lua_rawget(w->L, -2);
        v->members[i].key = key = mg_arena_copy(w->tree->arena, key.p, key.n);
        if (!key.p) {
            lua_pop(w->L, 1);
            return out_of_memory(w);
        }
        v->members[i].value = read_value(w, v, key, 0, place, own);
        lua_pop(w->L, 1);
        if (!v->members[i].value)
            return MG_ECONF;
    }
    return 0;
}

static int read_table(struct walk *w, struct mg_value *v)
{
    const void *table = lua_topointer(w->L, -1);
    struct mg_place own = { v->file, v->line };
    int rc;

    for (int i = 0; i < w->depth; i++)
        if (w->open[i] == table)
            return refuse(w, v, "a table that contains itself");
    if (w->depth == MG_TREE_DEPTH)
        return refuse(w, v, "tables nested more than 64 deep");
    if (!lua_checkstack(w->L, 8))
        return out_of_memory(w);
    if (lua_getmetatable(w->L, -1)) {
        lua_getfield(w->L, LUA_REGISTRYINDEX, "moongate.proxy");
        rc = lua_rawequal(w->L, -1, -2);
        lua_pop(w->L, 2);
        if (rc)
            return refuse(w, v, "something of require \"moongate\": it exists only while a request is served; use it in a function");
    }
    if (w->notes && mg_notes_table(w->notes, w->L).line)
        own = mg_notes_table(w->notes, w->L);
    w->open[w->depth++] = table;
    rc = read_keys(w, v);
    if (rc == 0)
        rc = read_items(w, v, own);
    if (rc == 0)
        rc = read_members(w, v, own);
    w->depth--;
    return rc;
}

static int read_function(struct walk *w, struct mg_value *v)
{
    v->function = w->tree->functions_n++;
    if (w->into) {
        lua_pushvalue(w->L, -1);
        lua_rawseti(w->L, w->into, v->function);
    }
    return 0;
}

static int read_kind(struct walk *w, struct mg_value *v)
{
    lua_State *L = w->L;
    char what[96];
    size_t n;
    const char *p;

    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        return 0;
    case LUA_TBOOLEAN:
        v->kind = MG_V_BOOL;
        v->boolean = lua_toboolean(L, -1);
        return 0;
    case LUA_TNUMBER:
        v->kind = MG_V_NUMBER;
        v->number = lua_tonumber(L, -1);
        return 0;
    case LUA_TSTRING:
        v->kind = MG_V_STRING;
        p = lua_tolstring(L, -1, &n);
        v->text = mg_arena_copy(w->tree->arena, p, n);
        return v->text.p ? 0 : out_of_memory(w);
    case LUA_TFUNCTION:
        v->kind = MG_V_FUNCTION;
        return read_function(w, v);
    case LUA_TTABLE:
        v->kind = MG_V_TABLE;
        return read_table(w, v);
    default:
        snprintf(what, sizeof(what), "a %s: a config holds plain data and functions", luaL_typename(L, -1));
        return refuse(w, v, what);
    }
}

/* The value at the top of the stack. place: of its entry; table_place: of the table that it is in. NULL with w->err. */
static struct mg_value *read_value(struct walk *w, struct mg_value *parent, struct mg_str key, int index, struct mg_place place,
                                   struct mg_place table_place)
{
    struct mg_value *v = mg_value_new(w->tree->arena, MG_V_NIL);

    if (!v) {
        out_of_memory(w);
        return NULL;
    }
    v->parent = parent;
    v->key = key;
    v->index = index;
    if (!place.line && w->notes && lua_istable(w->L, -1))
        place = mg_notes_table(w->notes, w->L);
    if (!place.line)
        place = table_place;
    v->file = place.file;
    v->line = place.line;
    if (number_node(w, v) != 0 || read_kind(w, v) != 0)
        return NULL;
    return v;
}

int mg_tree_read(struct mg_tree *t, lua_State *L, int into, const struct mg_notes *notes, struct mg_error *err)
{
    struct mg_error own = { 0 };
    int top = lua_gettop(L);
    struct walk w = { .tree = t, .L = L, .into = into, .notes = notes, .err = err ? err : &own };

    t->root = read_value(&w, NULL, mg_str("", 0), 0, (struct mg_place){ 0 }, (struct mg_place){ 0 });
    lua_settop(L, top);
    return t->root ? 0 : w.err->code;
}

/* ---- the digest ---- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3ull; /* FNV-1a */
    return h;
}

static uint64_t digest_value(uint64_t h, const struct mg_value *v)
{
    h = mix(h, &v->kind, 1);
    switch (v->kind) {
    case MG_V_BOOL: return mix(h, v->boolean ? "t" : "f", 1);
    case MG_V_NUMBER: return mix(h, &v->number, sizeof(v->number));
    case MG_V_STRING: return mix(mix(h, &v->text.n, sizeof(v->text.n)), v->text.p, v->text.n);
    case MG_V_FUNCTION: return mix(h, &v->function, sizeof(v->function));
    case MG_V_TABLE: break;
    default: return h;
    }
    h = mix(mix(h, &v->items_n, sizeof(v->items_n)), &v->members_n, sizeof(v->members_n));
    for (size_t i = 0; i < v->items_n; i++)
        h = digest_value(h, v->items[i]);
    for (size_t i = 0; i < v->members_n; i++) {
        h = mix(mix(h, &v->members[i].key.n, sizeof(size_t)), v->members[i].key.p, v->members[i].key.n);
        h = digest_value(h, v->members[i].value);
    }
    return h;
}

uint64_t mg_tree_digest(const struct mg_value *root)
{
    return digest_value(0xcbf29ce484222325ull, root);
}
