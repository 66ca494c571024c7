/* run.c - running a config file: a VM that is bounded in time and memory, and what comes out of it. */
#include "config/vm.h"
#include "base/alloc.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { HOOK_EVERY = 10000, RUN_MS = 10000 };
#define VM_BYTES_MAX ((size_t)1 << 30)
#define TREE_BYTES_MAX ((size_t)2 << 30)

/* What bounds one VM of the builder. */
struct bounds {
    size_t used, max;
    int64_t until_ms; /* of this thread's processor time */
    int64_t ms;
    bool is_opening;
};

static int64_t cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *bounded_alloc(void *ud, void *p, size_t old, size_t n)
{
    struct bounds *b = ud;
    void *grown;

    if (n == 0) {
        free(p);
        b->used -= old;
        return NULL;
    }
    if (n > old && b->used + (n - old) > b->max)
        return NULL;
    grown = b->is_opening ? mg_realloc_patiently(p, n) : realloc(p, n); /* LuaJIT crashes when it fails half open */
    if (grown)
        b->used += n - old;
    return grown;
}

/* Past the time each instruction raises, so that a pcall in the config cannot go on for ever. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    void *ud;
    struct bounds *b;

    (void)ar;
    lua_getallocf(L, &ud);
    b = ud;
    if (cpu_ms() < b->until_ms)
        return;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    luaL_error(L, "the config ran for more than %d s (MOONGATE_CONFIG_SECONDS sets another bound)", (int)(b->ms / 1000));
}

static int64_t run_ms(void)
{
    const char *text = getenv("MOONGATE_CONFIG_SECONDS");
    uint64_t s;

    return text && mg_str_u64(mg_str_c(text), 86400, &s) && s > 0 ? (int64_t)s * 1000 : RUN_MS;
}

/* The folder of a file's path as it was given: "" for one without slash. malloc'd. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("");
}

struct opening { struct mg_sources *sources; const char *folder; };

static int open_protected(lua_State *L)
{
    struct opening *o = lua_touserdata(L, 1);

    luaL_openlibs(L); /* turns the compiler on */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    mg_config_open_builder_env(L, o->sources, o->folder);
    return 0;
}

lua_State *mg_builder_vm_new(struct mg_sources *sources, struct mg_error *err)
{
    const struct mg_source_file *main_file = mg_sources_find(sources, MG_MAIN_SOURCE);
    char *folder = folder_of(main_file ? main_file->path.p : "");
    struct bounds *b = calloc(1, sizeof(*b));
    struct opening o = { sources, folder };
    lua_State *L = NULL;

    if (b && folder) {
        b->max = VM_BYTES_MAX;
        b->ms = run_ms();
        b->until_ms = cpu_ms() + b->ms;
        b->is_opening = true;
        L = lua_newstate(bounded_alloc, b);
    }
    if (!L) {
        free(b);
        free(folder);
        mg_fail(err, MG_ENOMEM, "config: out of memory");
        return NULL;
    }
    if (lua_cpcall(L, open_protected, &o) != 0) {
        mg_fail(err, MG_ENOMEM, "config: %s", lua_tostring(L, -1));
        mg_builder_vm_free(L);
        L = NULL;
    } else {
        b->is_opening = false;
        lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_EVERY);
    }
    free(folder);
    return L;
}

void mg_builder_vm_free(lua_State *L)
{
    void *ud;

    if (!L)
        return;
    lua_getallocf(L, &ud);
    lua_sethook(L, NULL, 0, 0);
    lua_close(L);
    free(ud);
}

/* Lua shortens long file names to "...end/of/path.lua": put the whole one back. */
static void copy_message(struct mg_sources *sources, const char *message, struct mg_error *err)
{
    const char *colon = strchr(message, ':');

    for (size_t i = 0; strncmp(message, "...", 3) == 0 && colon && mg_sources_at(sources, i); i++) {
        struct mg_str path = mg_sources_at(sources, i)->path;
        size_t n = (size_t)(colon - message) - 3;

        if (path.n >= n && memcmp(path.p + path.n - n, message + 3, n) == 0) {
            mg_fail(err, MG_ECONF, "%s%s", path.p, colon);
            return;
        }
    }
    mg_fail(err, MG_ECONF, "%s", message);
}

int mg_config_run(lua_State *L, struct mg_sources *sources, struct mg_error *err)
{
    const struct mg_source_file *f = mg_sources_find(sources, MG_MAIN_SOURCE);
    int top = lua_gettop(L);

    if (!f)
        return mg_fail(err, MG_ECONF, "config: there is no file");
    if (mg_config_load_source(L, f) != 1 || lua_pcall(L, 0, 1, 0) != 0) {
        if (lua_isstring(L, -1))
            copy_message(sources, lua_tostring(L, -1), err);
        else
            mg_fail(err, MG_ECONF, "%s: raised %s as an error", f->path.p, luaL_typename(L, -1));
        lua_settop(L, top);
        return MG_ECONF;
    }
    if (!lua_istable(L, -1)) {
        mg_fail(err, MG_ECONF, "%s: a config returns a table; this one returns %s", f->path.p,
                lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
        lua_settop(L, top);
        return MG_ECONF;
    }
    return 0;
}

struct running {
    struct mg_sources *sources;
    struct mg_notes *notes;
    struct mg_tree *tree;
    struct mg_error *err;
    int rc;
};

/* Lua raises when it is out of memory, whatever it is asked for: all of it happens inside a protected call. */
static int run_protected(lua_State *L)
{
    struct running *r = lua_touserdata(L, 1);

    lua_settop(L, 0);
    if (r->notes) {
        mg_config_env_of(L)->notes = r->notes;
        mg_notes_open(r->notes, L);
    }
    r->rc = mg_config_run(L, r->sources, r->err);
    if (r->rc == 0)
        r->rc = mg_tree_read(r->tree, L, 0, r->notes, r->err);
    return 0;
}

/* Run it in a VM of its own and read the tree. */
static int run_once(struct mg_sources *sources, struct mg_notes *notes, struct mg_tree *tree, struct mg_error *err)
{
    struct running r = { sources, notes, tree, err, 0 };
    lua_State *L = mg_builder_vm_new(sources, err);

    if (!L)
        return MG_ENOMEM;
    if (lua_cpcall(L, run_protected, &r) != 0)
        r.rc = mg_fail(err, MG_ENOMEM, "config: out of memory");
    mg_builder_vm_free(L);
    return r.rc;
}

/* The tree was refused: the same again with lines, for the message alone. */
static void explain_refusal(struct mg_sources *sources, struct mg_error *err)
{
    struct mg_notes *notes = mg_notes_new();
    struct mg_error located = { 0 };
    struct mg_arena arena;
    struct mg_tree tree = { .arena = &arena };

    mg_arena_init(&arena, NULL, TREE_BYTES_MAX);
    if (notes && run_once(sources, notes, &tree, &located) == MG_ECONF)
        *err = located;
    free(tree.nodes);
    mg_arena_deinit(&arena);
    mg_notes_free(notes);
}

static int absolute_paths(struct mg_config *c, struct mg_error *err)
{
    const struct mg_source_file *f = mg_sources_find(c->sources, MG_MAIN_SOURCE);
    char *real = f ? realpath(f->path.p, NULL) : NULL;
    char *folder = NULL;

    if (!real && f && f->path.p[0] == '/')
        real = strdup(f->path.p);
    if (!real) { /* bytes without a file: beside the working folder */
        char cwd[PATH_MAX];

        if (!getcwd(cwd, sizeof(cwd)) || asprintf(&real, "%s/%s", strcmp(cwd, "/") ? cwd : "", f ? f->path.p : "config") < 0)
            return mg_fail(err, MG_ECONF, "config: the working folder is gone");
    }
    folder = folder_of(real);
    if (folder) {
        c->path = mg_arena_copy(&c->arena, real, strlen(real));
        c->folder = mg_arena_copy(&c->arena, folder, strlen(folder));
    }
    free(real);
    free(folder);
    return c->path.p && c->folder.p ? 0 : mg_fail(err, MG_ENOMEM, "config: out of memory");
}

int mg_config_load_sources(struct mg_sources *sources, struct mg_config **out, struct mg_error *err)
{
    struct mg_config *c = calloc(1, sizeof(*c));
    struct mg_error own = { 0 };
    struct mg_tree tree = { 0 };
    int rc;

    if (!err)
        err = &own;
    if (!c)
        return mg_fail(err, MG_ENOMEM, "config: out of memory");
    mg_arena_init(&c->arena, NULL, TREE_BYTES_MAX);
    c->sources = mg_sources_ref(sources);
    tree.arena = &c->arena;
    rc = absolute_paths(c, err);
    if (rc == 0)
        rc = run_once(sources, NULL, &tree, err);
    c->nodes = tree.nodes;
    if (rc != 0) {
        if (rc == MG_ECONF && tree.nodes_n)
            explain_refusal(sources, err);
        mg_config_free(c);
        return rc;
    }
    c->root = tree.root;
    c->nodes_n = tree.nodes_n;
    c->functions_n = tree.functions_n;
    c->digest = mg_tree_digest(c->root);
    *out = c;
    return 0;
}

int mg_config_load(const char *path, struct mg_config **out, struct mg_error *err)
{
    struct mg_sources *sources = mg_sources_new();
    int rc;

    if (!sources)
        return mg_fail(err, MG_ENOMEM, "config: out of memory");
    if (mg_sources_read(sources, MG_MAIN_SOURCE, path, err))
        rc = mg_config_load_sources(sources, out, err);
    else
        rc = MG_ECONF;
    mg_sources_unref(sources);
    return rc;
}

void mg_config_free(struct mg_config *c)
{
    if (!c)
        return;
    mg_sources_unref(c->sources);
    mg_arena_deinit(&c->arena);
    free(c->nodes);
    free(c);
}

void mg_config_locate(struct mg_config *c)
{
    struct mg_notes *notes = c->is_located ? NULL : mg_notes_new();
    struct mg_arena arena;
    struct mg_tree tree = { .arena = &arena };
    struct mg_error err = { 0 };

    if (!notes)
        return;
    c->is_located = true;
    mg_arena_init(&arena, NULL, TREE_BYTES_MAX);
    /* Another tree (a config that changes from run to run) would give wrong lines: none, then. */
    if (run_once(c->sources, notes, &tree, &err) == 0 && tree.nodes_n == c->nodes_n && mg_tree_digest(tree.root) == c->digest) {
        struct mg_str from = { 0 }, file = { 0 };

        for (size_t i = 0; i < c->nodes_n; i++) {
            struct mg_value *n = tree.nodes[i];

            if (n->line && n->file.p != from.p) {
                from = n->file;
                file = mg_arena_copy(&c->arena, from.p, from.n);
            }
            c->nodes[i]->file = n->line ? file : mg_str("", 0);
            c->nodes[i]->line = n->line && file.p ? n->line : 0;
        }
    }
    free(tree.nodes);
    mg_arena_deinit(&arena);
    mg_notes_free(notes);
}

uint64_t mg_config_digest(const struct mg_config *c)
{
    return c->digest;
}

/* ---- worker VMs ---- */

int mg_config_collect_functions(lua_State *L, int into_index, uint64_t *digest)
{
    struct mg_arena arena;
    struct mg_tree tree = { .arena = &arena };
    struct mg_error err = { 0 };
    int rc;

    mg_arena_init(&arena, NULL, TREE_BYTES_MAX);
    if (into_index < 0 && into_index > LUA_REGISTRYINDEX)
        into_index = lua_gettop(L) + into_index + 1;
    rc = mg_tree_read(&tree, L, into_index, NULL, &err);
    *digest = rc == 0 ? mg_tree_digest(tree.root) : 0;
    free(tree.nodes);
    mg_arena_deinit(&arena);
    return rc == 0 ? tree.functions_n : rc;
}

static bool same_node(const struct mg_value *a, const struct mg_value *b)
{
    return a->kind == b->kind && a->boolean == b->boolean && a->number == b->number && mg_str_eq(a->text, b->text) &&
           a->function == b->function && mg_str_eq(a->key, b->key) && a->index == b->index;
}

int mg_config_compare(lua_State *L, const struct mg_config *c, struct mg_error *err)
{
    struct mg_arena arena;
    struct mg_tree here = { .arena = &arena }, there = { .arena = &arena };
    struct mg_error own = { 0 };
    const struct mg_value *differs = NULL;
    struct mg_str path;

    mg_arena_init(&arena, NULL, TREE_BYTES_MAX);
    /* The builder's own tree was normalised since: read it afresh. */
    if (mg_tree_read(&here, L, 0, NULL, &own) == 0 && run_once(c->sources, NULL, &there, &own) == 0) {
        for (size_t i = 0; !differs && i < here.nodes_n && i < there.nodes_n; i++)
            if (!same_node(here.nodes[i], there.nodes[i]))
                differs = here.nodes[i];
    }
    path = mg_value_path(differs ? differs : here.root, &arena);
    if (own.code)
        mg_fail(err, MG_ECONF, "%s", own.message);
    else
        mg_fail(err, MG_ECONF, "%s: %s: differs from one run to the next; a config must give the same data each time it runs",
                mg_sources_find(c->sources, MG_MAIN_SOURCE)->path.p, path.n ? path.p : "the config");
    free(here.nodes);
    free(there.nodes);
    mg_arena_deinit(&arena);
    return MG_ECONF;
}
