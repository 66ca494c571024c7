/* Lua values to and from the config's plain trees. */
#include "script/host.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

enum { DEPTH_MAX = 64 };

struct take {
    struct mg_arena *a;
    int32_t (*number)(lua_State *L, void *arg);
    void *arg;
    struct mg_error *err;
};

static struct mg_value *take(struct take *t, lua_State *L, int index, int depth);

static int by_key(const void *a, const void *b)
{
    return mg_str_cmp(((const struct mg_member *)a)->key, ((const struct mg_member *)b)->key);
}

static struct mg_value *refuse(struct take *t, int code, const char *message)
{
    mg_fail(t->err, code, "%s", message);
    return NULL;
}

static bool take_items(struct take *t, lua_State *L, int index, struct mg_value *v, int depth)
{
    v->items_n = lua_objlen(L, index);
    v->items = mg_arena_zalloc(t->a, (v->items_n + 1) * sizeof(*v->items));
    if (!v->items)
        return refuse(t, MG_ENOMEM, "out of memory");
    for (size_t i = 0; i < v->items_n; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        v->items[i] = take(t, L, lua_gettop(L), depth);
        lua_pop(L, 1);
        if (!v->items[i])
            return false;
        v->items[i]->parent = v;
        v->items[i]->index = (int)i + 1;
    }
    return true;
}

static bool take_members(struct take *t, lua_State *L, int index, struct mg_value *v, int depth)
{
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            n++;
        else if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) < 1 || lua_tonumber(L, -2) > (lua_Number)v->items_n) {
            lua_pop(L, 2);
            return refuse(t, MG_ECONF, "a key that is neither text nor a place in a list");
        }
        lua_pop(L, 1);
    }
    v->members = mg_arena_zalloc(t->a, (n + 1) * sizeof(*v->members));
    if (!v->members)
        return refuse(t, MG_ENOMEM, "out of memory");
    v->members_room = (uint32_t)n + 1;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        struct mg_member *m = &v->members[v->members_n];
        size_t key_n;
        const char *key;

        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 1);
            continue;
        }
        key = lua_tolstring(L, -2, &key_n);
        m->key = mg_arena_copy(t->a, key, key_n);
        m->value = m->key.p ? take(t, L, lua_gettop(L), depth) : refuse(t, MG_ENOMEM, "out of memory");
        lua_pop(L, 1);
        if (!m->value) {
            lua_pop(L, 1);
            return false;
        }
        m->value->parent = v;
        m->value->key = m->key;
        v->members_n++;
    }
    qsort(v->members, v->members_n, sizeof(*v->members), by_key);
    return true;
}

static struct mg_value *take(struct take *t, lua_State *L, int index, int depth)
{
    struct mg_value *v = mg_value_new(t->a, MG_V_NIL);
    size_t n;
    const char *p;

    if (!v)
        return refuse(t, MG_ENOMEM, "out of memory");
    if (depth > DEPTH_MAX || !lua_checkstack(L, 8))
        return refuse(t, MG_ECONF, "tables within tables without end");
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return v;
    case LUA_TBOOLEAN:
        v->kind = MG_V_BOOL;
        v->boolean = lua_toboolean(L, index);
        return v;
    case LUA_TNUMBER:
        v->kind = MG_V_NUMBER;
        v->number = lua_tonumber(L, index);
        return v;
    case LUA_TSTRING:
        p = lua_tolstring(L, index, &n);
        v->kind = MG_V_STRING;
        v->text = mg_arena_copy(t->a, p, n);
        return v->text.p ? v : refuse(t, MG_ENOMEM, "out of memory");
    case LUA_TFUNCTION:
        v->kind = MG_V_FUNCTION;
        v->function = -1;
        if (t->number) {
            lua_pushvalue(L, index);
            v->function = t->number(L, t->arg);
        }
        return v;
    case LUA_TTABLE:
        v->kind = MG_V_TABLE;
        return take_items(t, L, index, v, depth + 1) && take_members(t, L, index, v, depth + 1) ? v : NULL;
    default:
        return refuse(t, MG_ECONF, "a value that is no plain data");
    }
}

struct mg_value *mg_tree_take(lua_State *L, int index, struct mg_arena *a, int32_t (*number)(lua_State *L, void *arg), void *arg,
                              struct mg_error *err)
{
    struct take t = { a, number, arg, err };

    return take(&t, L, index < 0 ? lua_gettop(L) + index + 1 : index, 0);
}

static void push(lua_State *L, const struct mg_value *v, int functions)
{
    luaL_checkstack(L, 8, "a config nests too deep");
    switch (v->kind) {
    case MG_V_BOOL:
        lua_pushboolean(L, v->boolean);
        return;
    case MG_V_NUMBER:
        lua_pushnumber(L, v->number);
        return;
    case MG_V_STRING:
        lua_pushlstring(L, v->text.p ? v->text.p : "", v->text.n);
        return;
    case MG_V_FUNCTION:
        lua_rawgeti(L, LUA_REGISTRYINDEX, functions);
        lua_rawgeti(L, -1, v->function);
        lua_remove(L, -2);
        return;
    case MG_V_TABLE:
        lua_createtable(L, (int)v->items_n, (int)v->members_n);
        for (size_t i = 0; i < v->items_n; i++) {
            push(L, v->items[i], functions);
            lua_rawseti(L, -2, (int)i + 1);
        }
        for (size_t i = 0; i < v->members_n; i++) {
            lua_pushlstring(L, v->members[i].key.p, v->members[i].key.n);
            push(L, v->members[i].value, functions);
            lua_rawset(L, -3);
        }
        return;
    default:
        lua_pushnil(L);
    }
}

void mg_tree_push(lua_State *L, const struct mg_value *v, int functions)
{
    push(L, v, functions);
}
