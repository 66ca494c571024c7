/* vm.h - a Lua VM as the config sees it. Internal to core/config. */
#ifndef MG_CONFIG_VM_H
#define MG_CONFIG_VM_H

#include "config/config.h"

struct lua_State;
struct mg_notes; /* locate.c */

/* What the environment of one VM knows; in a userdata of that VM. */
struct mg_config_env {
    struct mg_sources *sources; /* reference */
    char *folder;               /* where `require` and io.open look; owned */
    bool may_read_files;
    bool is_live;               /* loading is over: the clock runs */
    struct mg_notes *notes;     /* instrument what is loaded; borrowed; NULL: no */
    struct mg_world world;      /* that of the sources; of fresh ones before */
};
/* NULL before mg_config_open_env. */
struct mg_config_env *mg_config_env_of(struct lua_State *L);

/* The Lua part of the environment: pairs, io, require. */
extern const char mg_config_env_lua[];

/* The name of the main file among the sources, and the prefix of files read as data. */
#define MG_MAIN_SOURCE MG_STR("")
#define MG_DATA_PREFIX "file:"

/* As mg_config_open_env; `require "moongate"` gives a table that may be named but not called. */
void mg_config_open_builder_env(struct lua_State *L, struct mg_sources *sources, const char *folder);

/* Compile a captured file: pushes its chunk (returns 1), or nil and a message (2). */
int mg_config_load_source(struct lua_State *L, const struct mg_source_file *f);

/* A VM for the builder: JIT off, memory and time bounded, the environment open. NULL with err. */
struct lua_State *mg_builder_vm_new(struct mg_sources *sources, struct mg_error *err);
void mg_builder_vm_free(struct lua_State *L);

/* ---- tree.c ---- */
struct mg_tree {
    struct mg_arena *arena;
    struct mg_value *root;
    int functions_n;
    struct mg_value **nodes; /* by serial; malloc; freed by the caller */
    size_t nodes_n, nodes_room;
};
/* Makes a tree of the value at the top of the stack (kept there). into: index of a table that gets the functions by
 * number, or 0. notes: where tables were written, to fill in file and line; or NULL. 0, MG_ECONF, MG_ENOMEM. */
enum { MG_TREE_DEPTH = 64, MG_TREE_NODES = 8 << 20 };
int mg_tree_read(struct mg_tree *t, struct lua_State *L, int into, const struct mg_notes *notes, struct mg_error *err);
uint64_t mg_tree_digest(const struct mg_value *root);

/* ---- locate.c ---- */
struct mg_notes *mg_notes_new(void);
void mg_notes_free(struct mg_notes *n);
/* The VM in which they are taken: numbers get the method that takes them. */
void mg_notes_open(struct mg_notes *n, struct lua_State *L);
/* Source as instrumented; the text is the notes'. p NULL when out of memory. */
struct mg_str mg_notes_instrument(struct mg_notes *n, struct mg_str source, const char *display);
/* Where the table at the top of the stack was written, and its entry (by key, or by index from 1 when key is NULL).
 * Lines are 0 when not known. */
struct mg_place { struct mg_str file; int line; };
struct mg_place mg_notes_table(const struct mg_notes *n, struct lua_State *L);
struct mg_place mg_notes_entry(const struct mg_notes *n, struct lua_State *L, const struct mg_str *key, int index);

#endif
