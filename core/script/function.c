/* Functions of the config, called from C: fields of C plugins (mg_fn_call) and `when` of chain entries. */
#include "script/host.h"
#include "base/log.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

static void wrap_body(struct mg_vm *vm, void *arg)
{
    int *function = arg;
    lua_State *L = vm->L;

    mg_vm_push_host(vm, "handler");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->functions);
    lua_rawgeti(L, -1, *function);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1))
        luaL_error(L, "the config has no function %d", *function);
    lua_call(L, 1, 1);
    vm->calls[*function] = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Each function has a wrapper of its own, so that each gets traces of its own; made at its first call. */
static int wrapper_of(struct mg_vm *vm, int32_t function, struct mg_error *err)
{
    if (function < 0)
        return mg_fail(err, MG_EINVAL, "there is no function %d", function);
    if (function >= vm->calls_n) {
        int n = function + 32;
        int *p = realloc(vm->calls, (size_t)n * sizeof(*p));

        if (!p)
            return mg_fail(err, MG_ENOMEM, "out of memory");
        for (int i = vm->calls_n; i < n; i++)
            p[i] = LUA_NOREF;
        vm->calls = p;
        vm->calls_n = n;
    }
    if (vm->calls[function] == LUA_NOREF)
        return mg_vm_call(vm, wrap_body, &function, err);
    return 0;
}

/* Leaves message handler and result on the stack; returns the VM or NULL (logged). */
static struct mg_vm *call(struct mg_exchange *x, int32_t function, const char *what)
{
    struct mg_vm *vm = mg_vm_here(x->script_host);
    struct mg_script_now before;
    struct mg_error err = { 0 };
    int rc;

    if (!vm || wrapper_of(vm, function, &err) != 0 || !lua_checkstack(vm->L, 8)) {
        mg_logf(MG_LOG_ERROR, "%s: %s", what, err.code ? err.message : "there is no Lua VM on this worker");
        x->told_why = true;
        return NULL;
    }
    before = vm->now;
    vm->now = (struct mg_script_now){ (double)x->handle, 0, 0, mg_entry_observes(x) ? x->entry + 1 : 0, 0, 0 };
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->on_error);
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->calls[function]);
    lua_pushnumber(vm->L, (double)x->handle);
    rc = lua_pcall(vm->L, 1, 1, -3);
    if (vm->now.has_beside)
        mg_script_keeps_beside(vm, x);
    vm->now = before;
    if (rc != 0) {
        mg_trouble_log(vm, vm->L, rc, what);
        x->told_why = true;
        lua_pop(vm->L, 2);
        return NULL;
    }
    return vm;
}

static int take(struct mg_exchange *x, lua_State *L, struct mg_datum *out)
{
    size_t n;
    const char *p;

    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        return 0;
    case LUA_TBOOLEAN:
        out->kind = MG_BOOLEAN;
        out->number = lua_toboolean(L, -1);
        return 0;
    case LUA_TNUMBER:
        out->kind = MG_DOUBLE;
        out->number = lua_tonumber(L, -1);
        return 0;
    case LUA_TSTRING:
        p = lua_tolstring(L, -1, &n);
        out->kind = MG_TEXT;
        out->text = mg_arena_copy(&x->arena, p, n);
        if (out->text.p)
            return 0;
        out->kind = MG_NIL;
        return MG_ENOMEM;
    default:
        mg_logf(MG_LOG_ERROR, "function: it returned a %s, where nil, a boolean, a number or text may stand", luaL_typename(L, -1));
        x->told_why = true;
        return MG_EINVAL;
    }
}

int mg_fn_call(struct mg_x *h, int32_t function, struct mg_datum *out)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_vm *vm;
    int rc;

    *out = (struct mg_datum){ .kind = MG_NIL };
    if (!x)
        return MG_EENDED;
    vm = call(x, function, "function");
    if (!vm)
        return MG_EINVAL;
    rc = take(x, vm->L, out);
    lua_pop(vm->L, 2);
    if (vm->gc.wants_hurry)
        mg_gc_hurry(vm);
    return rc;
}

static int when(struct mg_exchange *x, int32_t function)
{
    struct mg_vm *vm = call(x, function, "when");
    int yes;

    if (!vm)
        return MG_EINVAL;
    yes = lua_toboolean(vm->L, -1);
    lua_pop(vm->L, 2);
    if (vm->gc.wants_hurry)
        mg_gc_hurry(vm);
    return yes;
}

/* The chain runner lives on the same floor and knows no Lua: it calls through this hook. */
__attribute__((constructor)) static void hook_when(void)
{
    mg_chain_when = when;
}
