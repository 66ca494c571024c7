/* One snapshot's Lua: made on the builder thread, then a VM for each worker. */
#include "script/host.h"
#include "base/clock.h"
#include "base/log.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

enum { ARENA_BUDGET = 256 << 20, IDLES_A_REFRESH = 16 };

struct mg_script *mg_script_new(struct mg_config *config, size_t memory_max)
{
    struct mg_script *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->config = config;
    s->memory_max = memory_max;
    s->sources = config ? config->sources : NULL;
    mg_arena_init(&s->arena, NULL, ARENA_BUDGET);
    return s;
}

void mg_script_free(struct mg_script *s)
{
    if (!s)
        return;
    mg_vm_free(s->builder);
    for (int i = 0; i < MG_WORKERS_MAX; i++)
        mg_vm_free(s->vms[i]);
    mg_arena_deinit(&s->arena);
    free(s);
}

/* Load what a VM does not have yet. Plugins and instances have the same numbers in every VM. */
static int catch_up(struct mg_vm *vm, struct mg_error *err)
{
    int rc;

    for (const struct mg_lua_plugin *p = vm->script->plugins; p; p = p->next)
        if (p->number >= vm->plugins_n && (rc = mg_vm_add_plugin(vm, p, err)) != 0)
            return rc;
    for (const struct mg_lua_instance *in = vm->script->instances; in; in = in->next)
        if (in->number >= vm->confs_n && (rc = mg_vm_add_instance(vm, in, err)) != 0)
            return rc;
    return 0;
}

static struct mg_vm *vm_open(struct mg_script *s, bool may_read, struct mg_error *err)
{
    struct mg_vm *vm = mg_vm_new(s, may_read, err);

    if (vm && (mg_vm_run_config(vm, err) != 0 || catch_up(vm, err) != 0)) {
        mg_vm_free(vm);
        return NULL;
    }
    return vm;
}

struct mg_vm *mg_script_builder(struct mg_script *s, struct mg_error *err)
{
    if (!s->builder)
        s->builder = vm_open(s, true, err);
    return s->builder;
}

int mg_script_instance(struct mg_script *s, const struct mg_plugin *plugin, const struct mg_value *conf, const struct mg_entry *info,
                       const struct mg_chain_entry *entry, void **self, struct mg_error *err)
{
    struct mg_lua_instance *in = mg_arena_zalloc(&s->arena, sizeof(*in));
    struct mg_vm *vm;
    int rc;

    if (!in)
        return mg_fail(err, MG_ENOMEM, "lua: out of memory");
    in->script = s;
    in->plugin = (struct mg_lua_plugin *)plugin; /* the descriptor is its first member */
    in->conf = conf;
    in->id = info->id;
    in->route = info->route;
    in->entry = entry;
    in->number = s->instances_n;
    vm = mg_script_builder(s, err);
    if (!vm || (rc = mg_vm_add_instance(vm, in, err)) != 0)
        return err->code;
    if (s->instances_last)
        s->instances_last->next = in;
    else
        s->instances = in;
    s->instances_last = in;
    s->instances_n++;
    *self = in;
    return 0;
}

int mg_script_open(struct mg_script *s, int worker, struct mg_error *err)
{
    struct mg_vm *vm;
    int rc;

    if (s->plugins_n == 0 && (!s->config || s->config->functions_n == 0))
        return 0;
    vm = __atomic_exchange_n(&s->builder, NULL, __ATOMIC_ACQ_REL);
    if (!vm)
        vm = vm_open(s, false, err);
    if (!vm)
        return err->code;
    if ((rc = mg_vm_go_live(vm, false, err)) != 0) {
        mg_vm_free(vm);
        return rc;
    }
    s->vms[worker] = vm;
    return 0;
}

static void refresh(struct mg_vm *vm, void *arg)
{
    (void)arg;
    mg_vm_push_host(vm, "refresh");
    lua_call(vm->L, 0, 0);
}

void mg_script_turn(struct mg_script *s, int worker)
{
    struct mg_vm *vm = s->vms[worker];

    if (vm && vm->used >= vm->gc.due)
        mg_gc_turn(vm);
}

void mg_script_idle(struct mg_script *s, int worker)
{
    struct mg_vm *vm = s->vms[worker];
    struct mg_error err;

    if (!vm)
        return;
    if (++vm->gc.idles % IDLES_A_REFRESH == 0 && mg_vm_call(vm, refresh, NULL, &err) != 0)
        mg_logf(MG_LOG_WARN, "lua: %s", err.message);
    mg_gc_idle(vm);
}

bool mg_script_garbage(const struct mg_script *s, int worker, struct mg_garbage *out)
{
    const struct mg_vm *vm = s->vms[worker];

    if (!vm)
        return false;
    out->cycles = atomic_load_explicit(&vm->gc.cycles, memory_order_relaxed);
    out->steps = atomic_load_explicit(&vm->gc.steps, memory_order_relaxed);
    out->cpu_us = atomic_load_explicit(&vm->gc.cpu_us, memory_order_relaxed);
    out->longest_us = atomic_load_explicit(&vm->gc.longest_us, memory_order_relaxed);
    return true;
}

size_t mg_script_memory(const struct mg_script *s, int worker)
{
    return s->vms[worker] ? __atomic_load_n(&s->vms[worker]->used, __ATOMIC_RELAXED) : 0;
}

size_t mg_script_memory_max(const struct mg_script *s)
{
    return s->memory_max;
}
