/* config.h - runs a Lua config file and yields a tree of plain data.
 *
 * The builder runs the file once in a VM of its own (JIT off, a count hook bounds its time). os.time, os.getenv,
 * math.random, io are those of struct mg_world (io.open for reading only, captured); `require` finds modules beside the file; `pairs` goes in
 * sorted key order. When the tree does not pass its check, mg_config_locate runs it again from instrumented source and
 * fills in file and line of each value (DESIGN 7).
 *
 * core/script opens worker VMs with the same environment through mg_config_open_env. */
#ifndef MG_CONFIG_CONFIG_H
#define MG_CONFIG_CONFIG_H

#include "config/source.h"
#include "config/value.h"

struct lua_State;

struct mg_config {
    struct mg_arena arena;      /* all nodes */
    struct mg_value *root;
    struct mg_sources *sources; /* owned reference */
    struct mg_str folder, path; /* absolute */
    int functions_n;
    bool is_located;
    struct mg_value **nodes;    /* by serial */
    size_t nodes_n;
    uint64_t digest;            /* of the tree as it was read */
};

/* Run the file. 0 with *out set (free with mg_config_free), or MG_ECONF with err: a syntax or run-time
 * error as "gateway.lua:12: …". Builder thread. */
int mg_config_load(const char *path, struct mg_config **out, struct mg_error *err);
/* The same with sources given already (worker VMs' check, tests). */
int mg_config_load_sources(struct mg_sources *sources, struct mg_config **out, struct mg_error *err);
void mg_config_free(struct mg_config *c);
/* Run it again for file and line of every value. Best effort: values without stay at 0. */
void mg_config_locate(struct mg_config *c);

/* Give a VM the config's environment: restricted os and io, sorted pairs, seeded random, `require` over package.preload
 * and the captured sources (may_read_files: reads and captures what is not there yet). ffi, debug, jit and package.loadlib are out of
 * reach afterwards: take what the host needs of them before (or by "_LOADED" in the registry). May raise a Lua error when
 * out of memory: call it protected. For worker VMs. */
void mg_config_open_env(struct lua_State *L, struct mg_sources *sources, const char *folder, bool may_read_files);
/* Such a VM has loaded its code: from now on `pairs` and `next` are the native ones (compiled in handlers) and the clock
 * runs. math.random stays as it is; a host that serves requests puts its own there. */
void mg_config_live(struct lua_State *L);
/* Run the main chunk in such a VM and leave the returned table on the stack. 0, or MG_ECONF with err. */
int mg_config_run(struct lua_State *L, struct mg_sources *sources, struct mg_error *err);
/* Walk the table at the top of the stack in the order of the tree, and put each function at `into`[number] of the table at
 * `into_index`. Returns how many; their places' digest in *digest, to compare with the builder's. */
int mg_config_collect_functions(struct lua_State *L, int into_index, uint64_t *digest);
uint64_t mg_config_digest(const struct mg_config *c);
/* When a digest differs: run beside the builder's config, with the VM's table at the top of the stack: the first place that
 * differs, as err's message. Returns MG_ECONF always. */
int mg_config_compare(struct lua_State *L, const struct mg_config *c, struct mg_error *err);

#endif
