#include "script/stack.h"
#include "script/host.h"
#include "script/embedded.h"
#include "base/alloc.h"
#include "base/log.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

/* What the host's own calls may take beyond the bound: a full VM can still be cleaned up, and its trouble told. */
enum { RESERVE_BYTES = 1 << 20 };

/* ---- memory ---- */

/* The control thread reads it for /metrics. */
static void set_used(struct mg_vm *vm, size_t used) { __atomic_store_n(&vm->used, used, __ATOMIC_RELAXED); }

/* Counted and bounded. LuaJIT collects no garbage of its own accord when an allocation fails: gc.h says what is done before. */
static void *allocate(void *ud, void *p, size_t old_n, size_t new_n)
{
    struct mg_vm *vm = ud;

    if (new_n == 0) {
        set_used(vm, vm->used - old_n);
        mg_heap_give(&vm->heap, p, old_n);
        return NULL;
    }
    if (new_n > old_n && !vm->is_opening) {
        if (vm->used + (new_n - old_n) > vm->max + vm->reserve)
            return NULL;
        mg_gc_grown(vm, vm->used + (new_n - old_n));
    }
    p = mg_heap_resize(&vm->heap, p, old_n, new_n, vm->is_opening);
    if (new_n > old_n)
        vm->allocated += new_n - old_n;
    if (p)
        set_used(vm, vm->used - old_n + new_n);
    return p;
}

/* ---- protected calls ---- */

struct call {
    struct mg_vm *vm;
    void (*fn)(struct mg_vm *vm, void *arg);
    void *arg;
};

static int call_body(lua_State *L)
{
    struct call *c = lua_touserdata(L, 1);

    lua_settop(L, 0);
    luaL_checkstack(L, 40, NULL);
    c->fn(c->vm, c->arg);
    return 0;
}

int mg_vm_call(struct mg_vm *vm, void (*fn)(struct mg_vm *vm, void *arg), void *arg, struct mg_error *err)
{
    struct call c = { vm, fn, arg };
    size_t reserve = vm->reserve;
    const char *text;
    int rc;

    vm->reserve = RESERVE_BYTES;
    rc = lua_cpcall(vm->L, call_body, &c);
    vm->reserve = reserve;

    if (rc == 0)
        return 0;
    text = rc == LUA_ERRMEM || lua_type(vm->L, -1) != LUA_TSTRING ? NULL : lua_tostring(vm->L, -1);
    if (rc == LUA_ERRMEM)
        rc = mg_fail(err, MG_ENOMEM, "lua: out of memory (%zu of %zu bytes in use)", vm->used, vm->max);
    else
        rc = mg_fail(err, MG_ECONF, "%s", text ? text : "lua: an error that is no text");
    lua_pop(vm->L, 1);
    return rc;
}

void mg_vm_push_host(struct mg_vm *vm, const char *name)
{
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->host);
    lua_getfield(vm->L, -1, name);
    lua_remove(vm->L, -2);
}

/* ---- opening ---- */

static void load_text(lua_State *L, const char *p, size_t n, const char *chunk)
{
    if (luaL_loadbufferx(L, p, n, chunk, "t") != 0)
        lua_error(L);
}

/* The loader of a file that few need: its text is compiled when it is required. */
static int load_later(lua_State *L)
{
    const struct mg_embedded *e = lua_touserdata(L, lua_upvalueindex(1));

    lua_settop(L, 1);
    load_text(L, e->text, e->n, lua_tostring(L, lua_upvalueindex(2)));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* package.preload["moongate.kong.NAME"]; "moongate.kong" for kong/init.lua. preload is on top of the stack. */
static void preload_later(lua_State *L, const struct mg_embedded *e)
{
    static const char folder[] = "kong/";
    const char *name = e->name + sizeof(folder) - 1;
    size_t n = strlen(name) - 4;

    if (strcmp(name, "init.lua") == 0) {
        lua_pushliteral(L, "moongate.kong");
    } else {
        lua_pushliteral(L, "moongate.kong.");
        lua_pushlstring(L, name, n);
        lua_concat(L, 2);
    }
    lua_pushlightuserdata(L, (void *)(uintptr_t)e);
    lua_pushfstring(L, "=moongate/%s", e->name);
    lua_pushcclosure(L, load_later, 2);
    lua_settable(L, -3);
}

/* package.preload["moongate.NAME"] for every embedded file; "moongate" for init.lua. */
static void preload_runtime(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const struct mg_embedded *e = mg_embedded_files; e->name; e++) {
        size_t n = strlen(e->name);
        char chunk[96];

        if (n < 5 || strcmp(e->name + n - 4, ".lua") != 0 || strcmp(e->name, "host.lua") == 0)
            continue;
        if (strncmp(e->name, "kong/", 5) == 0) {
            preload_later(L, e);
            continue;
        }
        snprintf(chunk, sizeof(chunk), "=moongate/%s", e->name);
        load_text(L, e->text, e->n, chunk);
        if (strcmp(e->name, "init.lua") == 0)
            lua_setfield(L, -2, "moongate");
        else {
            lua_pushfstring(L, "moongate.%s", e->name);
            lua_pushlstring(L, lua_tostring(L, -1), strlen("moongate.") + n - 4);
            lua_remove(L, -2);
            lua_insert(L, -2);
            lua_settable(L, -3);
        }
    }
    lua_pop(L, 2);
}

static const struct mg_embedded *embedded(const char *name)
{
    for (const struct mg_embedded *e = mg_embedded_files; e->name; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

struct open { bool may_read; };

/* What LuaJIT 2.1 cannot do without memory, hence is_opening: lua_newstate crashes when it fails half way, and so does
 * lua_close of a state whose FFI library was half open. */
static void open_libraries(struct mg_vm *vm, void *arg)
{
    (void)arg;
    luaL_openlibs(vm->L);
    lua_getglobal(vm->L, "require");
    lua_pushliteral(vm->L, "ffi");
    lua_call(vm->L, 1, 0);
}

static int stack_is_low(lua_State *L)
{
    lua_pushboolean(L, mg_stack_is_low());
    return 1;
}

/* host.lua runs first, with the unrestricted libraries; it requires the rest. Then comes the config's environment,
 * and host.wrap puts itself around what must change once the VM is live. */
static void open_body(struct mg_vm *vm, void *arg)
{
    const struct open *o = arg;
    const struct mg_embedded *cdef = embedded("pdk.cdef"), *host = embedded("host.lua");
    lua_State *L = vm->L;

    if (!cdef || !host)
        luaL_error(L, "lua: this binary carries no runtime");
    preload_runtime(L);
    lua_newtable(L);
    vm->functions = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, mg_trouble_handler);
    vm->on_error = luaL_ref(L, LUA_REGISTRYINDEX);
    load_text(L, host->text, host->n, "=moongate/host.lua");
    lua_pushlstring(L, cdef->text, cdef->n);
    lua_pushlightuserdata(L, &vm->now);
    if (vm->script->config && vm->script->config->folder.p)
        lua_pushlstring(L, vm->script->config->folder.p, vm->script->config->folder.n);
    else
        lua_pushnil(L);
    lua_pushcfunction(L, stack_is_low);
    lua_call(L, 4, 1);
    lua_getfield(L, -1, "WAIT");
    vm->wait_mark = lua_topointer(L, -1);
    lua_getfield(L, -2, "RESPOND");
    vm->respond_mark = lua_topointer(L, -1);
    lua_getfield(L, -3, "EXIT");
    vm->exit_mark = lua_topointer(L, -1);
    lua_pop(L, 3);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    if (vm->script->sources) { /* the same in all VMs of a snapshot */
        lua_pushfstring(L, "%f", (double)(mg_sources_world(vm->script->sources)->seed >> 12));
        lua_setfield(L, -2, "generation");
    }
    lua_getfield(L, -1, "run_stream");
    vm->run_stream = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->host = luaL_ref(L, LUA_REGISTRYINDEX);
    mg_vm_push_host(vm, "run_work");
    vm->run_work = luaL_ref(L, LUA_REGISTRYINDEX);
    mg_vm_push_host(vm, "enter");
    vm->enter = luaL_ref(L, LUA_REGISTRYINDEX);
    if (vm->script->config)
        mg_config_open_env(L, vm->script->config->sources, vm->script->config->folder.p, o->may_read);
    mg_vm_push_host(vm, "wrap");
    lua_call(L, 0, 0);
}

static int panic(lua_State *L)
{
    mg_logf(MG_LOG_ERROR, "lua: unprotected error: %s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?");
    abort();
}

struct mg_vm *mg_vm_new(struct mg_script *s, bool may_read, struct mg_error *err)
{
    struct mg_vm *vm = calloc(1, sizeof(*vm));
    struct open o = { may_read };

    if (vm) {
        vm->script = s;
        vm->max = s->memory_max;
        mg_gc_init(vm);
        vm->is_opening = true;
        vm->L = lua_newstate(allocate, vm);
    }
    if (!vm || !vm->L) {
        free(vm);
        mg_fail(err, MG_ENOMEM, "lua: no memory for a VM");
        return NULL;
    }
    lua_atpanic(vm->L, panic);
    vm->functions = vm->host = vm->run_work = vm->enter = vm->on_error = LUA_NOREF;
    if (mg_vm_call(vm, open_libraries, NULL, err) != 0) {
        mg_logf(MG_LOG_WARN, "lua: %zu bytes of a VM that could not be opened are lost", vm->used);
        return NULL; /* better than closing it: see above */
    }
    vm->is_opening = false;
    if (mg_vm_call(vm, open_body, &o, err) != 0) {
        mg_vm_free(vm);
        return NULL;
    }
    return vm;
}

void mg_vm_free(struct mg_vm *vm)
{
    if (!vm)
        return;
    mg_coro_free_all(vm);
    lua_close(vm->L);
    mg_heap_free(&vm->heap);
    free(vm->plugins);
    free(vm->confs);
    free(vm->calls);
    free(vm);
}

/* ---- the config's functions ---- */

struct collected { int n; uint64_t digest; };

static void run_config_body(struct mg_vm *vm, void *arg)
{
    struct collected *c = arg;
    struct mg_error err = { 0 };
    int rc = mg_config_run(vm->L, vm->script->config->sources, &err);

    if (rc != 0)
        luaL_error(vm->L, "%s", err.message);
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->functions);
    lua_insert(vm->L, -2);
    c->n = mg_config_collect_functions(vm->L, lua_gettop(vm->L) - 1, &c->digest);
    if (c->n != vm->script->config->functions_n || c->digest != mg_config_digest(vm->script->config)) {
        mg_config_compare(vm->L, vm->script->config, &err);
        luaL_error(vm->L, "%s", err.message);
    }
}

int mg_vm_run_config(struct mg_vm *vm, struct mg_error *err)
{
    const struct mg_config *config = vm->script->config;
    struct collected c = { 0, 0 };

    if (!config || config->functions_n == 0)
        return 0;
    return mg_vm_call(vm, run_config_body, &c, err);
}

/* ---- plugins and instances ---- */

static bool make_room(void **items, int n, int *room, size_t size)
{
    void *p;
    int more = *room ? *room * 2 : 16;

    if (n < *room)
        return true;
    p = realloc(*items, (size_t)more * size);
    if (!p)
        return false;
    *items = p;
    *room = more;
    return true;
}

struct loading { const struct mg_lua_plugin *p; struct mg_vm_plugin refs; };

/* What lua/moongate/kong makes of a folder with handler.lua and schema.lua. */
static void load_kong(lua_State *L, const struct mg_lua_plugin *p, const char *path)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moongate.kong");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_remove(L, -2);
    lua_pushstring(L, p->kong_name);
    lua_pushlstring(L, path, (size_t)(strrchr(path, '/') - path));
    lua_getfield(L, LUA_REGISTRYINDEX, "moongate.module");
    lua_call(L, 3, 1);
}

/* Leaves the plugin's table on the stack. */
static void load_table(struct mg_vm *vm, const struct mg_lua_plugin *p)
{
    lua_State *L = vm->L;
    const char *path;
    char chunk[512];

    if (!p->source) {
        mg_tree_push(L, p->inline_table, vm->functions);
        return;
    }
    path = p->source->path.p;
    if (p->is_kong) {
        load_kong(L, p, path);
        return;
    }
    snprintf(chunk, sizeof(chunk), "@%s", path);
    if (vm->script->config) {
        struct mg_str folder = vm->script->config->folder;

        if (folder.n && mg_str_starts(p->source->path, folder) && path[folder.n] == '/')
            snprintf(chunk, sizeof(chunk), "@%s", path + folder.n + 1);
    }
    if (p->source->bytes.n && p->source->bytes.p[0] == '\033')
        luaL_error(L, "%s: bytecode is not taken, only Lua text", path);
    if (p->is_confined)
        mg_vm_push_host(vm, "confine");
    load_text(L, p->source->bytes.p, p->source->bytes.n, chunk);
    if (p->is_confined) {
        lua_pushlstring(L, path, (size_t)(strrchr(path, '/') ? strrchr(path, '/') - path : 0));
        lua_getfield(L, LUA_REGISTRYINDEX, "moongate.module");
        lua_call(L, 3, 1);
    }
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: a plugin file returns a table, this one returned %s", p->source->path.p, luaL_typename(L, -1));
}

static void load_body(struct mg_vm *vm, void *arg)
{
    struct loading *l = arg;
    lua_State *L = vm->L;

    load_table(vm, l->p);
    for (int phase = 0; phase < MG_PHASES; phase++) {
        l->refs.handlers[phase] = LUA_NOREF;
        mg_vm_push_host(vm, "handler");
        lua_getfield(L, 1, mg_script_phase_names[phase]);
        if (lua_isfunction(L, -1)) {
            lua_call(L, 1, 1);
            l->refs.handlers[phase] = luaL_ref(L, LUA_REGISTRYINDEX);
        }
        lua_settop(L, 1);
    }
    l->refs.table = luaL_ref(L, LUA_REGISTRYINDEX);
}

int mg_vm_add_plugin(struct mg_vm *vm, const struct mg_lua_plugin *p, struct mg_error *err)
{
    struct loading l = { .p = p };
    int rc;

    if (!make_room((void **)&vm->plugins, vm->plugins_n, &vm->plugins_room, sizeof(*vm->plugins)))
        return mg_fail(err, MG_ENOMEM, "lua: out of memory");
    rc = mg_vm_call(vm, load_body, &l, err);
    if (rc == 0)
        vm->plugins[vm->plugins_n++] = l.refs;
    return rc;
}

struct instancing { const struct mg_lua_instance *in; int ref; };

static void instance_body(struct mg_vm *vm, void *arg)
{
    struct instancing *i = arg;
    lua_State *L = vm->L;

    mg_vm_push_host(vm, "instance");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->plugins[i->in->plugin->number].table);
    if (i->in->conf)
        mg_tree_push(L, i->in->conf, vm->functions);
    else
        lua_newtable(L);
    lua_pushlstring(L, i->in->id.p ? i->in->id.p : "", i->in->id.n);
    lua_pushlstring(L, i->in->route.p ? i->in->route.p : "", i->in->route.n);
    lua_call(L, 4, 1);
    i->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int mg_vm_add_instance(struct mg_vm *vm, const struct mg_lua_instance *in, struct mg_error *err)
{
    struct instancing i = { in, LUA_NOREF };
    int rc;

    if (!make_room((void **)&vm->confs, vm->confs_n, &vm->confs_room, sizeof(*vm->confs)))
        return mg_fail(err, MG_ENOMEM, "lua: out of memory");
    rc = mg_vm_call(vm, instance_body, &i, err);
    if (rc == 0)
        vm->confs[vm->confs_n++] = i.ref;
    return rc;
}

static void live_body(struct mg_vm *vm, void *arg)
{
    mg_vm_push_host(vm, "go_live");
    lua_pushboolean(vm->L, *(bool *)arg);
    lua_call(vm->L, 1, 0);
    if (vm->script->config)
        mg_config_live(vm->L);
}

int mg_vm_go_live(struct mg_vm *vm, bool stays_open, struct mg_error *err)
{
    int rc = mg_vm_call(vm, live_body, &stays_open, err);

    if (rc == 0)
        mg_gc_hold(vm);
    return rc;
}

struct mg_vm *mg_vm_here(const struct mg_script *s)
{
    const struct mg_worker *w = mg_this_worker;

    return w && s ? s->vms[w->index] : NULL;
}
