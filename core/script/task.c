/* Tasks and timers whose function is Lua's: C knows it by a number (lua/moongate/task.lua keeps the functions).
 *
 * The two functions that Lua calls are no part of pdk.h: to C plugins a number of a Lua function means nothing. */
#include "script/host.h"
#include "base/alloc.h"
#include "base/log.h"
#include <lua.h>

__attribute__((visibility("default")))
int mg_lua_task_start(struct mg_x *x, int32_t number, double timeout_ms, struct mg_x **task);
__attribute__((visibility("default")))
int mg_lua_timer_start(struct mg_x *x, int32_t number, double ms, double jitter_ms, int flags);

struct work {
    struct mg_script *script;
    int32_t number;
    bool stays;                 /* a timer's: it may run again */
    bool has_begun;
};

static enum mg_verdict run(struct mg_x *task, void *arg, int op, int status)
{
    struct work *k = arg;

    if (op)
        return mg_script_work_on(task, k->script, op, status);
    k->has_begun = true;
    return mg_script_work(task, k->script, k->number);
}

static void forget_body(struct mg_vm *vm, void *arg)
{
    const struct work *k = arg;

    mg_vm_push_host(vm, "forget_work");
    lua_pushinteger(vm->L, k->number);
    lua_call(vm->L, 1, 0);
}

/* A task ends from the loop, so Lua may be entered; a timer may be stopped by a call of Lua's, which then forgets by itself. */
static void release(void *arg)
{
    struct work *k = arg;
    struct mg_vm *vm = mg_vm_here(k->script);
    struct mg_error err;

    if (!k->stays && !k->has_begun && vm && mg_vm_call(vm, forget_body, k, &err) != 0)
        mg_logf(MG_LOG_ERROR, "lua: %s", err.message);
    mg_free(k);
}

/* The script of whoever runs now. */
static struct mg_script *script_here(void)
{
    const struct mg_worker *w = mg_this_worker;
    const struct mg_chain_entry *e = w ? w->running_entry : NULL;

    if (w && w->running)
        return w->running->script_host;
    return e && mg_script_is_lua(e->plugin) ? ((struct mg_lua_instance *)e->self)->script : NULL;
}

static struct work *work_new(int32_t number, bool stays)
{
    struct mg_script *s = script_here();
    struct work *k = s ? mg_malloc(sizeof *k) : NULL;

    if (k)
        *k = (struct work){ .script = s, .number = number, .stays = stays };
    return k;
}

int mg_lua_task_start(struct mg_x *x, int32_t number, double timeout_ms, struct mg_x **task)
{
    struct work *k = work_new(number, false);
    int rc = k ? mg_task_start(x, run, k, release, (int64_t)timeout_ms, task) : script_here() ? MG_ENOMEM : MG_EPHASE;

    if (rc < 0)
        mg_free(k);
    return rc;
}

int mg_lua_timer_start(struct mg_x *x, int32_t number, double ms, double jitter_ms, int flags)
{
    struct work *k = work_new(number, true);
    int rc = k ? mg_timer_start(x, (int64_t)ms, (int64_t)jitter_ms, flags, run, k, release) : script_here() ? MG_ENOMEM : MG_EPHASE;

    if (rc < 0)
        mg_free(k);
    return rc;
}
