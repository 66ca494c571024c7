/* Handlers in coroutines: run, wait, wake, give up. */
#include "script/host.h"
#include "plugin/step.h"
#include "base/log.h"
#include "exchange/account.h"
#include "plugin/trace.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

enum { SPARE_MAX = 256 };

/* ---- coroutines ---- */

static void coro_body(struct mg_vm *vm, void *arg)
{
    struct mg_coro *c = arg;

    c->co = lua_newthread(vm->L);
    c->ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
}

static struct mg_coro *coro_take(struct mg_vm *vm)
{
    struct mg_coro *c = vm->spare;
    struct mg_error err;

    if (c) {
        vm->spare = c->next;
        vm->spare_n--;
        vm->running_n++;
        return c;
    }
    c = calloc(1, sizeof(*c));
    if (!c || mg_vm_call(vm, coro_body, c, &err) != 0) {
        free(c);
        return NULL;
    }
    vm->running_n++;
    return c;
}

/* After an error or a cancellation: its stack is not to be used again. */
static void coro_drop(struct mg_vm *vm, struct mg_coro *c)
{
    luaL_unref(vm->L, LUA_REGISTRYINDEX, c->ref);
    free(c);
    vm->running_n--;
}

static void coro_give(struct mg_vm *vm, struct mg_coro *c)
{
    if (vm->spare_n >= SPARE_MAX) {
        coro_drop(vm, c);
        return;
    }
    lua_settop(c->co, 0);
    c->next = vm->spare;
    vm->spare = c;
    vm->spare_n++;
    vm->running_n--;
}

void mg_coro_free_all(struct mg_vm *vm)
{
    while (vm->spare) {
        struct mg_coro *c = vm->spare;

        vm->spare = c->next;
        free(c);
    }
}

/* ---- what Lua has of an exchange ---- */

static struct mg_script_x *script_x(struct mg_exchange *x, struct mg_script *s)
{
    struct mg_script_x *sx = x->script;

    if (!sx) {
        sx = mg_arena_zalloc(&x->arena, sizeof(*sx));
        if (sx)
            sx->script = s;
        x->script = sx;
    }
    return sx;
}

static void forget_body(struct mg_vm *vm, void *arg)
{
    mg_vm_push_host(vm, "forget");
    lua_pushnumber(vm->L, *(double *)arg);
    lua_call(vm->L, 1, 0);
}

void mg_script_keeps_beside(struct mg_vm *vm, struct mg_exchange *x)
{
    struct mg_script_x *sx = script_x(x, vm->script);
    double handle = (double)x->handle;
    struct mg_error err;

    if (sx)
        sx->has_beside = true;
    else
        mg_vm_call(vm, forget_body, &handle, &err);
}

void mg_script_exchange_end(struct mg_exchange *x)
{
    struct mg_script_x *sx = x->script;
    struct mg_vm *vm = sx ? mg_vm_here(sx->script) : NULL;
    double handle = (double)x->handle;
    struct mg_error err;

    x->script = NULL;
    if (!vm)
        return;
    while (sx->waiting) {
        struct mg_coro *c = sx->waiting;

        sx->waiting = c->next;
        coro_drop(vm, c);
    }
    if (sx->has_beside && mg_vm_call(vm, forget_body, &handle, &err) != 0)
        mg_logf(MG_LOG_ERROR, "lua: %s", err.message);
}

void mg_script_forget(struct mg_exchange *x, const struct mg_plugin *plugin, const void *self, int phase)
{
    struct mg_script_x *sx = x->script;
    struct mg_vm *vm = sx && mg_script_is_lua(plugin) ? mg_vm_here(sx->script) : NULL;
    struct mg_coro **at = vm ? &sx->waiting : NULL;

    while (at && *at) {
        struct mg_coro *c = *at;

        if (c->instance != self || c->phase != phase) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        coro_drop(vm, c);
    }
}

/* ---- running ---- */

static enum mg_verdict complain(struct mg_exchange *x, const char *what, const char *message)
{
    mg_log_text_c("phase", mg_str_c(what));
    mg_logf(MG_LOG_ERROR, "plugin failed: %s", message);
    if (x)
        x->told_why = true;
    if (x && x->trace)
        mg_trace_why(x, mg_str_c(message));
    return MG_ERROR;
}

/* The handler returned: nothing, true or false (go on), or what x:respond gave. */
static enum mg_verdict finished(struct mg_vm *vm, struct mg_exchange *x, struct mg_coro *c)
{
    int type = lua_gettop(c->co) > 0 ? lua_type(c->co, 1) : LUA_TNIL;
    bool says_respond = type == LUA_TTABLE && lua_topointer(c->co, 1) == vm->respond_mark;
    const char *phase = mg_phase_name(c->phase);

    coro_give(vm, c);
    if (x->task) /* what it returns is nobody's */
        return MG_CONTINUE;
    if (says_respond && !x->answer_head)
        return complain(x, phase, "it says that it answered, but there is no answer");
    if (!says_respond && type != LUA_TNIL && type != LUA_TBOOLEAN)
        return complain(x, phase, "a handler returns nothing, or what x:respond() returned");
    return x->answer_head && c->phase != MG_ON_LOG ? MG_RESPOND : MG_CONTINUE;
}

/* It is left from within (a Kong plugin's exit): as if it had returned, but its stack is not to be used again. */
static enum mg_verdict left(struct mg_vm *vm, struct mg_exchange *x, struct mg_coro *c)
{
    int phase = c->phase;

    coro_drop(vm, c);
    return x->answer_head && !x->task && phase != MG_ON_LOG ? MG_RESPOND : MG_CONTINUE;
}

/* It yielded: for an operation of ours, or by mistake. */
static enum mg_verdict suspended(struct mg_vm *vm, struct mg_exchange *x, struct mg_coro *c)
{
    struct mg_script_x *sx;
    const char *phase = mg_phase_name(c->phase);

    if (lua_gettop(c->co) == 1 && lua_topointer(c->co, 1) == vm->exit_mark)
        return left(vm, x, c);
    if (lua_gettop(c->co) < 2 || lua_topointer(c->co, 1) != vm->wait_mark) {
        coro_drop(vm, c);
        return complain(x, phase, "a handler may not call coroutine.yield outside a coroutine of its own");
    }
    c->op = (int)lua_tointeger(c->co, 2);
    lua_settop(c->co, 0);
    sx = script_x(x, vm->script);
    if (!sx) {
        coro_drop(vm, c);
        return complain(x, phase, "the exchange is over its memory budget");
    }
    c->next = sx->waiting;
    sx->waiting = c;
    return MG_WAIT;
}

static enum mg_verdict resume(struct mg_vm *vm, struct mg_exchange *x, struct mg_coro *c, int args)
{
    enum mg_verdict verdict;
    struct mg_script_now before = vm->now;
    uint64_t allocated = vm->allocated;
    int rc;

    vm->now.handle = (double)x->handle;
    vm->now.can_wait = c->phase != MG_ON_LOG;
    vm->now.has_beside = 0;
    vm->now.observes = mg_entry_observes(x) ? x->entry + 1 : 0;
    vm->now.entry = x->task ? 0 : x->entry + 1;
    vm->now.confined = x->worker->is_confined = x->worker->running_entry && x->worker->running_entry->is_confined;
    rc = lua_resume(c->co, args);
    x->worker->is_confined = before.confined;
    if (vm->now.has_beside)
        mg_script_keeps_beside(vm, x);
    vm->now = before;
    if (x->worker->accounts && x->worker->running_entry)
        mg_account_add(&x->worker->accounts[x->worker->running_entry->account].lua_bytes, vm->allocated - allocated);
    if (rc == 0)
        verdict = finished(vm, x, c);
    else if (rc == LUA_YIELD)
        verdict = suspended(vm, x, c);
    else {
        mg_trouble_log(vm, c->co, rc, mg_phase_name(c->phase)); /* the trace gets the message there */
        x->told_why = true;
        coro_drop(vm, c);
        verdict = MG_ERROR;
    }
    if (vm->used >= vm->gc.due)
        mg_gc_turn(vm);
    if (vm->gc.wants_hurry)
        mg_gc_hurry(vm);
    return verdict;
}

enum mg_verdict mg_script_run(struct mg_x *h, struct mg_lua_instance *in, int phase)
{
    struct mg_vm *vm = mg_vm_here(in->script);
    struct mg_exchange *x = mg_handle(h);
    struct mg_coro *c;

    if (!vm || !x)
        return complain(x, mg_phase_name(phase), "there is no Lua VM on this worker");
    c = coro_take(vm);
    if (!c)
        return complain(x, mg_phase_name(phase), "no memory for a coroutine");
    c->instance = in;
    c->phase = phase;
    /* None of these allocates, and a coroutine has room for 20 values. */
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->plugins[in->plugin->number].handlers[phase]);
    lua_pushnumber(c->co, (double)x->handle);
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->confs[in->number]);
    return resume(vm, x, c, 2);
}

/* The bytes of a body that a script makes are wanted: its function, kept beside the exchange by exchange.lua, begins. */
static enum mg_verdict stream(struct mg_vm *vm, struct mg_exchange *x, const struct mg_lua_instance *in, int op)
{
    struct mg_coro *c = coro_take(vm);

    if (!c)
        return complain(x, "stream", "no memory for a coroutine");
    c->instance = (struct mg_lua_instance *)(uintptr_t)in;
    c->phase = MG_ON_STREAM;
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->run_stream);
    lua_pushnumber(c->co, (double)x->handle);
    lua_pushinteger(c->co, op);
    return resume(vm, x, c, 2);
}

/* Who waits for op: the one that names it, else one of the instance that takes whatever ends. */
static struct mg_coro *waiting_for(struct mg_script_x *sx, const struct mg_lua_instance *in, int op, int phase)
{
    struct mg_coro **at, **found = NULL;
    struct mg_coro *c;

    for (at = &sx->waiting; *at; at = &(*at)->next) {
        if ((*at)->instance != in || (*at)->phase != phase)
            continue;
        if ((*at)->op == op) {
            found = at;
            break;
        }
        if (!found || (*at)->op == 0)
            found = at;
    }
    if (!found)
        return NULL;
    c = *found;
    *found = c->next;
    return c;
}

static enum mg_verdict wake(struct mg_x *h, struct mg_script *s, const struct mg_lua_instance *in, int op, int status)
{
    struct mg_vm *vm = mg_vm_here(s);
    struct mg_exchange *x = mg_handle(h);
    struct mg_script_x *sx = x ? x->script : NULL;
    struct mg_coro *c = vm && sx ? waiting_for(sx, in, op, x->phase) : NULL;

    if (!c && vm && x && in && x->phase == MG_ON_STREAM)
        return stream(vm, x, in, op);
    if (!c)
        return MG_ERROR;
    lua_pushinteger(c->co, op);
    lua_pushinteger(c->co, status);
    return resume(vm, x, c, 2);
}

enum mg_verdict mg_script_wake(struct mg_x *h, void *self, void *local, int op, int status)
{
    struct mg_lua_instance *in = self;

    (void)local;
    return wake(h, in->script, in, op, status);
}

/* ---- tasks ---- */

static struct mg_coro *task_coro(struct mg_vm *vm, struct mg_exchange *x)
{
    struct mg_coro *c = vm && x ? coro_take(vm) : NULL;

    if (!c) {
        complain(x, x ? mg_phase_name(x->phase) : "task", vm ? "no memory for a coroutine" : "there is no Lua VM on this worker");
        return NULL;
    }
    c->instance = NULL;
    c->phase = x->phase;
    return c;
}

enum mg_verdict mg_script_work(struct mg_x *h, struct mg_script *s, int32_t number)
{
    struct mg_vm *vm = mg_vm_here(s);
    struct mg_exchange *x = mg_handle(h);
    struct mg_coro *c = task_coro(vm, x);

    if (!c)
        return MG_ERROR;
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->run_work);
    lua_pushinteger(c->co, number);
    return resume(vm, x, c, 1);
}

enum mg_verdict mg_script_on_worker(struct mg_x *h, const struct mg_lua_instance *in)
{
    struct mg_vm *vm = mg_vm_here(in->script);
    struct mg_exchange *x = mg_handle(h);
    struct mg_coro *c = task_coro(vm, x);

    if (!c)
        return MG_ERROR;
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->enter);
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->plugins[in->plugin->number].table);
    lua_rawgeti(c->co, LUA_REGISTRYINDEX, vm->confs[in->number]);
    return resume(vm, x, c, 2);
}

enum mg_verdict mg_script_work_on(struct mg_x *h, struct mg_script *s, int op, int status)
{
    return wake(h, s, NULL, op, status);
}
