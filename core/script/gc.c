#include "script/gc.h"
#include "base/clock.h"
#include "base/log.h"
#include "script/host.h"
#include <lua.h>
#include <time.h>

enum {
    STEP_US = 100,           /* of a turn */
    IDLE_US = 400,
    HURRY_US = 800,          /* near the bound, after a handler */
    DUE_BYTES = 8 << 10,     /* allocated between two steps */
    STEPS_A_DUE = 48,        /* LuaJIT's steps for those: 2 KB each, so six bytes are looked at for one allocated */
    SLACK_BYTES = 1 << 20,   /* a small heap is not worth a cycle */
    LET_GO_BYTES = 8 << 20,
    STEPS_A_LOOK = 4         /* at the clock */
};

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void count(struct mg_gc *gc, uint64_t us)
{
    atomic_store_explicit(&gc->steps, atomic_load_explicit(&gc->steps, memory_order_relaxed) + 1, memory_order_relaxed);
    atomic_store_explicit(&gc->cpu_us, atomic_load_explicit(&gc->cpu_us, memory_order_relaxed) + us, memory_order_relaxed);
    if (us > atomic_load_explicit(&gc->longest_us, memory_order_relaxed))
        atomic_store_explicit(&gc->longest_us, us, memory_order_relaxed);
}

void mg_gc_init(struct mg_vm *vm)
{
    vm->gc.tight = vm->max / 2;
    vm->gc.due = SIZE_MAX;
}

/* After a cycle: what is left is live. */
static void set_marks(struct mg_vm *vm)
{
    struct mg_gc *gc = &vm->gc;

    gc->begin = vm->used + vm->used / 4 + SLACK_BYTES;
    gc->let_go = 2 * vm->used + LET_GO_BYTES;
    gc->tight = vm->used < vm->max ? vm->used + (vm->max - vm->used) / 2 : vm->max;
    if (gc->tight < vm->max / 2)
        gc->tight = vm->max / 2;
}

void mg_gc_hold(struct mg_vm *vm)
{
    vm->gc.is_held = true;
    vm->gc.in_cycle = false;
    set_marks(vm);
    vm->gc.due = vm->gc.begin;
    vm->gc.idle_used = vm->used;
    lua_gc(vm->L, LUA_GCSTOP, 0);
}

void mg_gc_grown(struct mg_vm *vm, size_t used)
{
    struct mg_gc *gc = &vm->gc;

    if (used > gc->tight)
        gc->wants_hurry = true;
    if (gc->is_held && used > gc->let_go) {
        gc->is_held = false;
        lua_gc(vm->L, LUA_GCRESTART, 0); /* sets a number that the next check of the collector reads */
    }
}

struct batch { int steps; int64_t us; bool done; };

static void batch_body(struct mg_vm *vm, void *arg)
{
    struct batch *b = arg;
    int64_t until = mg_clock_monotonic_us() + b->us;

    for (int i = 0; !b->done && i < b->steps; i++) {
        if (i % STEPS_A_LOOK == 0 && i > 0 && mg_clock_monotonic_us() >= until)
            break;
        b->done = lua_gc(vm->L, LUA_GCSTEP, 0) == 1;
    }
}

/* Some steps of a cycle. true: it is over. */
static bool collect(struct mg_vm *vm, int steps, int64_t us)
{
    struct mg_gc *gc = &vm->gc;
    struct batch b = { steps, us, false };
    bool was_live = gc->due != SIZE_MAX;
    int64_t from = cpu_us();
    struct mg_error err;

    gc->in_cycle = true;
    if (mg_vm_call(vm, batch_body, &b, &err) != 0)
        mg_logf(MG_LOG_WARN, "lua: a finalizer failed: %s", err.message);
    count(gc, (uint64_t)(cpu_us() - from));
    if (was_live && (b.done || vm->used < gc->let_go)) {
        lua_gc(vm->L, LUA_GCSTOP, 0);
        gc->is_held = true;
    }
    if (b.done) {
        atomic_store_explicit(&gc->cycles, atomic_load_explicit(&gc->cycles, memory_order_relaxed) + 1, memory_order_relaxed);
        gc->in_cycle = false;
        set_marks(vm);
    }
    if (was_live)
        gc->due = gc->in_cycle ? vm->used + DUE_BYTES : gc->begin;
    return b.done;
}

void mg_gc_turn(struct mg_vm *vm)
{
    struct mg_gc *gc = &vm->gc;
    size_t behind;

    behind = (vm->used - gc->due) / DUE_BYTES + 1;
    collect(vm, (int)(behind < 8 ? behind : 8) * STEPS_A_DUE, STEP_US);
}

void mg_gc_idle(struct mg_vm *vm)
{
    struct mg_gc *gc = &vm->gc;

    if (!gc->in_cycle && vm->used < gc->idle_used + DUE_BYTES) {
        if (vm->used < gc->idle_used)
            gc->idle_used = vm->used;
        return;
    }
    if (collect(vm, INT32_MAX, IDLE_US))
        gc->idle_used = vm->used;
}

static void all_body(struct mg_vm *vm, void *arg)
{
    (void)arg;
    lua_gc(vm->L, LUA_GCCOLLECT, 0);
}

void mg_vm_collect(struct mg_vm *vm)
{
    bool was_live = vm->gc.due != SIZE_MAX;
    struct mg_error err;

    if (mg_vm_call(vm, all_body, NULL, &err) != 0)
        mg_logf(MG_LOG_WARN, "lua: a finalizer failed: %s", err.message);
    vm->gc.wants_hurry = false;
    vm->gc.in_cycle = false;
    set_marks(vm);
    if (was_live)
        mg_gc_hold(vm);
}

/* What is left is live after a cycle: ask again when half of the remaining room is gone. */
void mg_gc_hurry(struct mg_vm *vm)
{
    vm->gc.wants_hurry = false;
    if (vm->used > vm->max - vm->max / 8) {
        mg_vm_collect(vm);
        return;
    }
    if (vm->used > vm->gc.tight && !collect(vm, INT32_MAX, HURRY_US))
        vm->gc.wants_hurry = true;
}
