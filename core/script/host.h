/* host.h - the inside of the Lua host: what script.c, vm.c, run.c and test.c share.
 *
 * A script (struct mg_script) is the Lua of one snapshot: its plugins, the instances of chain entries, and a VM for each worker.
 * A VM holds the same things again as Lua values, found by number: plugin p's handlers, instance i's conf, the
 * config's function f. So C memory is shared and immutable once the workers run, and every Lua value has
 * one VM, which one thread uses at a time.
 *
 *     builder                                 worker w
 *     mg_script_plugin  load, check           mg_script_run     handler of plugin p, conf of instance i,
 *     mg_script_instance  conf, create                          in a coroutine of vms[w]
 *     mg_script_open(w)  the same in vms[w]   mg_script_wake    goes on with it
 *
 * A handler runs in a coroutine from a free list: the host pushes a wrapper, the exchange's handle as a number
 * (no allocation) and the conf, and resumes. A coroutine that returned is as good as new; one that failed or was cancelled is
 * dropped. lua/moongate/host.lua is the other half of this file. */
#ifndef MG_SCRIPT_HOST_H
#define MG_SCRIPT_HOST_H

#include "script/gc.h"
#include "script/heap.h"
#include "script/script.h"

struct lua_State;

/* What Lua reads through FFI (declared again in lua/moongate/host.lua). Set before Lua is entered. */
struct mg_script_now {
    double handle;          /* the exchange that runs */
    int32_t can_wait;       /* may it yield? */
    int32_t has_beside;     /* Lua sets it when it keeps values of its own beside the exchange's ctx */
    int32_t observes;       /* an entry with mode = "observe": its index + 1, as its values are its own; else 0 */
    int32_t confined;       /* the script that runs is sandboxed */
    int32_t entry;          /* which of the chain runs: its index + 1; 0 in a task */
};

struct mg_lua_plugin {
    struct mg_plugin plugin;            /* first: what the chain sees */
    struct mg_script *script;
    int number;                         /* in the script and in every VM */
    bool is_confined;                   /* runs in a sandbox (lua/moongate/sandbox.lua) */
    bool has_on_worker;
    bool is_kong;                       /* a folder in Kong's shape (lua/moongate/kong) */
    const char *kong_name;              /* the name without "kong:" */
    const struct mg_source_file *source; /* NULL: written in the config */
    const struct mg_value *inline_table; /* then: its place */
    struct mg_credential_kind credentials;
    struct mg_lua_plugin *next;
};

struct mg_lua_instance {
    struct mg_script *script;
    struct mg_lua_plugin *plugin;
    const struct mg_value *conf;        /* NULL for inline plugins */
    struct mg_str id, route;
    const struct mg_chain_entry *entry; /* whose it is; NULL in tests */
    int number;
    struct mg_lua_instance *next;
};

/* A coroutine: spare, running or waiting. */
struct mg_coro {
    struct lua_State *co;
    int ref;                            /* keeps it from the collector */
    struct mg_coro *next;               /* in the VM's spares, or among those of one exchange that wait */
    struct mg_lua_instance *instance;
    int phase;
    int op;                             /* waits for this operation; 0: for any of its entry */
};

/* The Lua host's part of an exchange (x->script): made when a handler first waits or keeps a Lua value. */
struct mg_script_x {
    struct mg_script *script;
    struct mg_coro *waiting;
    bool has_beside;
};

struct mg_vm_plugin { int handlers[MG_PHASES]; int table; }; /* references; LUA_NOREF where there is none */

struct mg_vm {
    struct lua_State *L;
    struct mg_script *script;
    size_t used, max;                   /* bytes of this VM */
    uint64_t allocated;                 /* bytes ever: for accounts */
    size_t reserve;                     /* how far the host's own calls may go beyond max */
    bool is_opening;                    /* LuaJIT must not run out of memory now */
    struct mg_gc gc;
    struct mg_heap heap;
    struct mg_script_now now;
    struct mg_vm_plugin *plugins;
    int plugins_n, plugins_room;
    int *confs;                         /* reference of each instance's conf */
    int confs_n, confs_room;
    int *calls;                         /* reference of each config function's wrapper; made at first use */
    int calls_n;
    int functions;                      /* reference of the table of the config's functions */
    int host;                           /* reference of host.lua's table */
    int run_work;                       /* reference of host.run_work */
    int enter;                          /* reference of host.enter */
    int on_error;                       /* reference of the message handler for lua_pcall */
    char error_file[128];               /* where the last error was raised, as far as known */
    int error_line;
    int run_stream;                     /* reference of host.lua's function that runs a stream */
    const void *wait_mark, *respond_mark, *exit_mark;
    struct mg_coro *spare;
    int spare_n, running_n;
};

struct mg_script {
    struct mg_config *config;           /* borrowed; NULL in tests */
    struct mg_sources *sources;         /* borrowed: the config's */
    size_t memory_max;
    struct mg_vm *builder;              /* checks plugins and confs, then becomes the first worker's VM */
    struct mg_vm *vms[MG_WORKERS_MAX];
    struct mg_arena arena;
    struct mg_lua_plugin *plugins, *plugins_last;
    int plugins_n;
    struct mg_lua_instance *instances, *instances_last;
    int instances_n;
};

/* ---- script.c ---- */
/* The builder's VM, made when first needed; NULL with err. */
struct mg_vm *mg_script_builder(struct mg_script *s, struct mg_error *err);

/* ---- vm.c ---- */
/* A VM with the runtime and the config's environment, without plugins. may_read: it captures what scripts require. */
struct mg_vm *mg_vm_new(struct mg_script *s, bool may_read, struct mg_error *err);
void mg_vm_free(struct mg_vm *vm);
/* Run fn(vm, arg) on a stack of its own, protected. 0, or MG_ECONF / MG_ENOMEM with err (its message without traceback). */
int mg_vm_call(struct mg_vm *vm, void (*fn)(struct mg_vm *vm, void *arg), void *arg, struct mg_error *err);
/* Push a member of host.lua's table. Inside mg_vm_call. */
void mg_vm_push_host(struct mg_vm *vm, const char *name);
/* Run the config's sources and keep the functions. MG_ECONF when they are not the builder's. */
int mg_vm_run_config(struct mg_vm *vm, struct mg_error *err);
/* Load plugin p, or instance i: the next number. */
int mg_vm_add_plugin(struct mg_vm *vm, const struct mg_lua_plugin *p, struct mg_error *err);
int mg_vm_add_instance(struct mg_vm *vm, const struct mg_lua_instance *in, struct mg_error *err);
/* From now on clocks and randomness are live, and no more files are loaded (stays_open: they may be). */
int mg_vm_go_live(struct mg_vm *vm, bool stays_open, struct mg_error *err);
/* Collect all garbage at once (gc.c). */
void mg_vm_collect(struct mg_vm *vm);
/* The VM of this thread's worker; NULL: none. */
struct mg_vm *mg_vm_here(const struct mg_script *s);

/* ---- tree.c ---- */
/* A Lua value as plain data in `a` (functions get number -1, or their number from `number` when given). NULL with err: out of memory, a cycle, a
 * value that is no data. */
struct mg_value *mg_tree_take(struct lua_State *L, int index, struct mg_arena *a, int32_t (*number)(struct lua_State *L, void *arg),
                              void *arg, struct mg_error *err);
/* Push a tree as a Lua value; functions come from the table at `functions` (0: false in their place). May raise. */
void mg_tree_push(struct lua_State *L, const struct mg_value *v, int functions);

/* ---- run.c ---- */
enum mg_verdict mg_script_run(struct mg_x *h, struct mg_lua_instance *in, int phase);
enum mg_verdict mg_script_wake(struct mg_x *h, void *self, void *local, int op, int status);
/* The function that Lua keeps under `number`, as (part of) a task: run it, go on with it. */
enum mg_verdict mg_script_work(struct mg_x *h, struct mg_script *s, int32_t number);
/* The on_worker handler of an instance, as the first part of a task. */
enum mg_verdict mg_script_on_worker(struct mg_x *h, const struct mg_lua_instance *in);
enum mg_verdict mg_script_work_on(struct mg_x *h, struct mg_script *s, int op, int status);
void mg_coro_free_all(struct mg_vm *vm);
/* Lua has set has_beside for x: its values are forgotten when x ends. */
void mg_script_keeps_beside(struct mg_vm *vm, struct mg_exchange *x);

/* ---- trouble.c ---- */
/* The lua_pcall message handler: adds a traceback, notes file and line. */
int mg_trouble_handler(struct lua_State *L);
/* Log what went wrong in `what` ("on_request", "when"…). co: a coroutine that failed with its message on top and its stack as it
 * was; or vm->L with the handler's text on top. */
void mg_trouble_log(struct mg_vm *vm, struct lua_State *co, int rc, const char *what);

/* ---- plugin.c ---- */
extern const char *const mg_script_phase_names[MG_PHASES + 1];
void mg_script_set_phase(struct mg_plugin *p, int phase);

#endif
