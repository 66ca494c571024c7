/* script.h - the Lua host: VMs, coroutines, and the plugin contract implemented for Lua.
 *
 * To the chain a Lua plugin is a plugin like any other: its mg_plugin is made here, with phase functions that
 * run the script's handler in a coroutine of this worker's VM. Each worker has a VM for each live snapshot that has Lua in it;
 * VMs are built on the builder thread from the captured sources. */
#ifndef MG_SCRIPT_SCRIPT_H
#define MG_SCRIPT_SCRIPT_H

#include "config/check.h"
#include "plugin/chain.h"

struct mg_script;      /* one snapshot's Lua: scripts, functions, a VM for each worker */

/* Begin: the config's sources and tree (for functions in it). Borrowed until mg_script_free. */
struct mg_script *mg_script_new(struct mg_config *config, size_t memory_max);
void mg_script_free(struct mg_script *s); /* VMs are closed */
/* A plugin written in Lua: reads and runs `path` (its source is captured), checks what it returns, makes the descriptor (fields by
 * mg_fields_from_value; needs, provides; the phases it has). It lives as long as s. is_confined: in a sandbox; the same file
 * may be there both ways. Builder thread. */
int mg_script_plugin(struct mg_script *s, struct mg_str name, const char *path, bool is_confined, const struct mg_plugin **out,
                     struct mg_error *err);
/* A table of phase functions written in the config: `v` is that table. */
int mg_script_inline(struct mg_script *s, const struct mg_value *v, const struct mg_plugin **out, struct mg_error *err);
/* The instance of a chain entry: conf is the checked, normalised table (NULL for inline ones). Its `self` for the phase functions.
 * entry: whose it is, or NULL in tests. */
int mg_script_instance(struct mg_script *s, const struct mg_plugin *plugin, const struct mg_value *conf, const struct mg_entry *info,
                       const struct mg_chain_entry *entry, void **self, struct mg_error *err);
bool mg_script_is_lua(const struct mg_plugin *plugin);
bool mg_script_is_confined(const struct mg_plugin *plugin);
/* A folder with handler.lua and schema.lua, as Kong has them: its name begins with "kong:". */
bool mg_script_is_kong(const struct mg_plugin *plugin);
/* The text of a Lua plugin's file; empty for one that the config holds. */
struct mg_str mg_script_source(const struct mg_plugin *plugin);
/* After all instances are there: build the VM of worker i (any thread; MG_ECONF when its functions differ from the builder's). Does nothing when no Lua is used. */
int mg_script_open(struct mg_script *s, int worker, struct mg_error *err);
/* On the worker itself, before the snapshot comes into force there: on_worker handlers, one after another. Each is a task in phase
 * MG_ON_WORKER, which may wait; the worker serves on meanwhile. Together they have timeout_ms: one that waits longer is cancelled, which
 * is logged, and fails nothing; one that raises an error does. The struct is the caller's, and stays until `done` or mg_script_enter_stop. */
struct mg_script_entering {
    struct mg_script *script;
    struct mg_worker *worker;
    void (*done)(struct mg_script_entering *e, int status); /* NULL: it is over */
    struct mg_lua_instance *at;     /* whose handler runs */
    struct mg_task *task;           /* it */
    struct mg_timer next;           /* to the one after it */
    int64_t until_ms;
    int status, result;             /* of all; of the one that runs */
};
/* done(e, 0 or < 0) is called once, inside this call when there is nothing to run; then what failed has been logged. */
void mg_script_enter(struct mg_script_entering *e, struct mg_script *s, struct mg_worker *w, int64_t timeout_ms,
                     void (*done)(struct mg_script_entering *e, int status));
/* Give up: `done` is not called. mg_tasks_end must follow, before the struct goes. Harmless when it is over. */
void mg_script_enter_stop(struct mg_script_entering *e);
/* On the worker: before its loop sleeps, and about once a second. Garbage is collected here, in small steps (gc.h). */
void mg_script_turn(struct mg_script *s, int worker);
void mg_script_idle(struct mg_script *s, int worker);
/* What the collection of garbage has cost in that VM: thread CPU. Any thread. false: there is no VM. */
struct mg_garbage { uint64_t cycles, steps, cpu_us, longest_us; };
bool mg_script_garbage(const struct mg_script *s, int worker, struct mg_garbage *out);
/* Bytes in use by that VM; 0 when there is none. */
size_t mg_script_memory(const struct mg_script *s, int worker);
/* The most that a VM may use (`lua.memory`). */
size_t mg_script_memory_max(const struct mg_script *s);
/* What that instance waits for in that phase of x has been given up: drop its coroutines. Nothing for plugins in C. */
void mg_script_forget(struct mg_exchange *x, const struct mg_plugin *plugin, const void *self, int phase);
/* The exchange ends: give up its coroutines. Called by the proxy when x->script is set. */
void mg_script_exchange_end(struct mg_exchange *x);

#endif
