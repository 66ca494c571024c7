/* env.c - the environment in which a config runs: what it may see of the world, and the same in every VM. */
#include "config/vm.h"

#include "base/clock.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static const char env_key, native_key; /* their addresses are keys in the registry */

struct mg_config_env *mg_config_env_of(lua_State *L)
{
    struct mg_config_env *env;

    lua_pushlightuserdata(L, (void *)&env_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    env = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return env;
}

static int env_gc(lua_State *L)
{
    struct mg_config_env *env = lua_touserdata(L, 1);

    mg_sources_unref(env->sources);
    free(env->folder);
    env->sources = NULL;
    env->folder = NULL;
    return 0;
}

/* ---- the world ---- */

static int core_time(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);
    int64_t us = env->is_live ? mg_clock_wall_us() : env->world.wall_us;

    lua_pushnumber(L, (double)(us / 1000000));
    return 1;
}

static int core_clock(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);

    lua_pushnumber(L, env->is_live ? (double)mg_clock_monotonic_us() / 1e6 : 0);
    return 1;
}

static int core_getenv(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);
    size_t n;
    const char *name = luaL_checklstring(L, 1, &n);

    for (char *const *e = env->world.env; e && *e; e++) {
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') {
            lua_pushstring(L, *e + n + 1);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

static int core_print(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);
    int n = lua_gettop(L);

    if (!env->may_read_files || env->notes)
        return 0; /* a worker's copy, or the second run: it was said already */
    lua_getglobal(L, "tostring");
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, -1);
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        fprintf(stderr, "%s%s", i > 1 ? "\t" : "", lua_tostring(L, -1) ? lua_tostring(L, -1) : "?");
        lua_pop(L, 1);
    }
    fputc('\n', stderr);
    return 0;
}

/* ---- files ---- */

/* Captured before, or read now where that is allowed. Leaves a message on the stack when NULL. */
static const struct mg_source_file *source(lua_State *L, struct mg_config_env *env, struct mg_str name, const char *path)
{
    struct mg_error err = { 0 };
    const struct mg_source_file *f = mg_sources_find(env->sources, name);

    if (!f && env->may_read_files)
        f = mg_sources_read(env->sources, name, path, &err);
    if (!f)
        lua_pushstring(L, err.code ? err.message : "not found");
    return f;
}

static const char *push_path(lua_State *L, struct mg_config_env *env, const char *path)
{
    if (path[0] == '.' && path[1] == '/')
        path += 2;
    if (path[0] == '/' || !env->folder[0])
        lua_pushstring(L, path);
    else
        lua_pushfstring(L, "%s/%s", env->folder, path);
    return lua_tostring(L, -1);
}

static int core_read(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);
    const char *path = luaL_checkstring(L, 1);
    const struct mg_source_file *f;
    size_t n;
    const char *name;

    lua_pushfstring(L, MG_DATA_PREFIX "%s", path);
    name = lua_tolstring(L, -1, &n);
    f = source(L, env, mg_str(name, n), push_path(L, env, path));
    if (!f) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushlstring(L, f->bytes.p, f->bytes.n);
    return 1;
}

/* Compile text; instrumented when notes are taken. Leaves the function, or nil and a message. */
static int load_text(lua_State *L, struct mg_config_env *env, struct mg_str text, const char *chunk, const char *display)
{
    struct mg_str woven = { 0 };

    if (env->notes && display)
        woven = mg_notes_instrument(env->notes, text, display);
    if (woven.p && luaL_loadbufferx(L, woven.p, woven.n, chunk, "t") == 0)
        return 1;
    if (woven.p)
        lua_pop(L, 1); /* beyond a limit of the compiler that the plain text keeps: no lines for this file */
    if (luaL_loadbufferx(L, text.p, text.n, chunk, "t") == 0)
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int core_load(lua_State *L)
{
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);

    return load_text(L, mg_config_env_of(L), mg_str(p, n), luaL_checkstring(L, 2), NULL);
}

int mg_config_load_source(lua_State *L, const struct mg_source_file *f)
{
    struct mg_config_env *env = mg_config_env_of(L);
    const char *chunk = lua_pushfstring(L, "@%s", f->path.p);

    return load_text(L, env, f->bytes, chunk, f->path.p);
}

/* core.module(name, path[, key]): the loader of a module beside the config, or nil and where it was looked for. key: the name that the
 * source is kept under, when it is another. */
static int core_module(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);
    struct mg_str name = { 0 }, rest, template, key;
    luaL_Buffer tried;
    const struct mg_source_file *f;

    name.p = luaL_checklstring(L, 1, &name.n);
    rest.p = luaL_checklstring(L, 2, &rest.n);
    key.p = luaL_optlstring(L, 3, name.p, &key.n);
    f = mg_sources_find(env->sources, key);
    if (f && key.n)
        return mg_config_load_source(L, f);
    luaL_gsub(L, name.p, ".", "/");
    luaL_gsub(L, rest.p, "?", lua_tostring(L, -1));
    rest.p = lua_tolstring(L, -1, &rest.n);
    luaL_buffinit(L, &tried);
    lua_pushfstring(L, "module '%s' not found:", name.p);
    luaL_addvalue(&tried);
    while (name.n && mg_str_next(&rest, ';', &template)) {
        const char *path;

        if (template.n == 0)
            continue;
        lua_pushlstring(L, template.p, template.n);
        path = push_path(L, env, lua_tostring(L, -1));
        f = source(L, env, key, path);
        if (f)
            return mg_config_load_source(L, f);
        lua_pushliteral(L, "\n\t");
        lua_insert(L, -2);
        lua_concat(L, 2);
        lua_insert(L, -3);
        lua_pop(L, 2);
        luaL_addvalue(&tried);
    }
    luaL_pushresult(&tried);
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* ---- opening ---- */

/* core.keep_native(pairs, next): for mg_config_live. */
static int core_keep_native(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&native_key);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, 2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

static int core_keep_proxy(lua_State *L)
{
    lua_setfield(L, LUA_REGISTRYINDEX, "moongate.proxy");
    return 0;
}

static const luaL_Reg core_functions[] = {
    { "time", core_time }, { "clock", core_clock }, { "getenv", core_getenv }, { "print", core_print },
    { "read", core_read }, { "load", core_load }, { "module", core_module },
    { "keep_native", core_keep_native }, { "keep_proxy", core_keep_proxy }, { NULL, NULL }
};

static struct mg_config_env *new_env(lua_State *L, struct mg_sources *sources, const char *folder, bool may_read_files)
{
    struct mg_config_env *env;

    lua_pushlightuserdata(L, (void *)&env_key);
    env = lua_newuserdata(L, sizeof(*env));
    memset(env, 0, sizeof(*env));
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, env_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    env->sources = mg_sources_ref(sources);
    env->folder = strdup(folder ? folder : "");
    env->may_read_files = may_read_files;
    env->world = *mg_sources_world(sources);
    if (!env->folder)
        luaL_error(L, "out of memory");
    return env;
}

static void open_env(lua_State *L, struct mg_sources *sources, const char *folder, bool may_read_files, bool is_builder)
{
    struct mg_config_env *env;

    lua_getglobal(L, "string");
    if (lua_isnil(L, -1))
        luaL_openlibs(L);
    lua_pop(L, 1);
    env = new_env(L, sources, folder, may_read_files);
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (double)(env->world.seed >> 12));
    lua_call(L, 1, 0);
    lua_pop(L, 1);
    if (luaL_loadbufferx(L, mg_config_env_lua, strlen(mg_config_env_lua), "=environment", "t") != 0)
        lua_error(L);
    lua_createtable(L, 0, 12);
    luaL_setfuncs(L, core_functions, 0);
    lua_pushboolean(L, is_builder);
    lua_setfield(L, -2, "is_builder");
    lua_call(L, 1, 0);
    lua_pushcfunction(L, core_module); /* for sandboxes, which have folders of their own */
    lua_setfield(L, LUA_REGISTRYINDEX, "moongate.module");
}

void mg_config_open_env(lua_State *L, struct mg_sources *sources, const char *folder, bool may_read_files)
{
    open_env(L, sources, folder, may_read_files, false);
}

void mg_config_open_builder_env(lua_State *L, struct mg_sources *sources, const char *folder)
{
    open_env(L, sources, folder, true, true);
}

void mg_config_live(lua_State *L)
{
    struct mg_config_env *env = mg_config_env_of(L);

    env->is_live = true;
    lua_pushlightuserdata(L, (void *)&native_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_rawgeti(L, -1, 1);
    lua_setglobal(L, "pairs");
    lua_rawgeti(L, -1, 2);
    lua_setglobal(L, "next");
    lua_pop(L, 1);
}
