/* What an operator reads when a script fails: message, plugin, phase, route, file, line, traceback. */
#include "script/host.h"
#include "base/log.h"
#include "plugin/trace.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

static struct mg_vm *vm_of(lua_State *L)
{
    void *vm = NULL;

    lua_getallocf(L, &vm);
    return vm;
}

/* The innermost function that is a script's and not the runtime's ("=moongate/…"). */
static void locate(struct mg_vm *vm, lua_State *co, int level)
{
    lua_Debug d;

    vm->error_file[0] = '\0';
    vm->error_line = 0;
    for (; lua_getstack(co, level, &d); level++) {
        if (!lua_getinfo(co, "Sl", &d) || d.currentline <= 0 || strncmp(d.source, "=moongate/", 10) == 0)
            continue;
        snprintf(vm->error_file, sizeof(vm->error_file), "%s", d.source[0] == '@' ? d.source + 1 : d.short_src);
        vm->error_line = d.currentline;
        return;
    }
}

/* The value at the top as text; it may call __tostring. */
static const char *as_text(lua_State *L)
{
    if (lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    if (luaL_callmeta(L, -1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    return lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, -1));
}

int mg_trouble_handler(lua_State *L)
{
    locate(vm_of(L), L, 1);
    luaL_traceback(L, L, as_text(L), 1);
    return 1;
}

struct trace { lua_State *co; bool is_coroutine; const char *what; };

static void log_text(struct mg_vm *vm, const char *what, const char *text, size_t n)
{
    static const char cut[] = "\nstack traceback:\n";
    const char *trace = memmem(text, n, cut, sizeof(cut) - 1);

    mg_log_text_c("phase", mg_str_c(what));
    if (vm->error_line > 0) {
        mg_log_text_c("file", mg_str_c(vm->error_file));
        mg_log_number_c("line", vm->error_line);
    }
    if (trace) {
        const char *from = trace + sizeof(cut) - 1;

        mg_log_text_c("traceback", mg_str(from, n - (size_t)(from - text)));
        n = (size_t)(trace - text);
    }
    if (mg_this_worker && mg_this_worker->running && mg_this_worker->running->trace)
        mg_trace_why(mg_this_worker->running, mg_str(text, n));
    mg_logf(MG_LOG_ERROR, "plugin failed: %.*s", n > 2000 ? 2000 : (int)n, text);
}

static void log_body(struct mg_vm *vm, void *arg)
{
    struct trace *t = arg;
    lua_State *L = vm->L;
    const char *text;
    size_t n;

    /* The message goes over to the main state, as calling into a failed coroutine would not do. */
    lua_xmove(t->co, L, 1);
    as_text(L);
    locate(vm, t->co, 0);
    luaL_traceback(L, t->co, lua_tostring(L, -1), 0);
    text = lua_tolstring(L, -1, &n);
    log_text(vm, t->what, text, n);
}

void mg_trouble_log(struct mg_vm *vm, lua_State *co, int rc, const char *what)
{
    struct trace t = { co, co != vm->L, what };
    struct mg_error err;
    const char *text;
    size_t n;

    if (rc == LUA_ERRMEM) {
        vm->gc.wants_hurry = true;
        mg_log_text_c("phase", mg_str_c(what));
        mg_logf(MG_LOG_ERROR, "plugin failed: out of Lua memory (%zu of %zu bytes in use)", vm->used, vm->max);
        return;
    }
    if (t.is_coroutine) {
        if (mg_vm_call(vm, log_body, &t, &err) != 0)
            mg_logf(MG_LOG_ERROR, "plugin failed in %s (and telling why failed too: %s)", what, err.message);
        return;
    }
    text = lua_type(co, -1) == LUA_TSTRING ? lua_tolstring(co, -1, &n) : NULL;
    if (text)
        log_text(vm, what, text, n);
    else
        mg_logf(MG_LOG_ERROR, "plugin failed in %s: the error is no text", what);
}
