/* The chain and the consumers that a spec asks for: made by the parts that make a config's (server/build_parts.h), in the spec's VM. */
#include "server/build_parts.h"
#include "server/instances.h"
#include "trial/sim.h"
#include <lauxlib.h>
#include <lua.h>

/* A function in a conf gets the next number of the VM. */
static int32_t number_function(lua_State *L, void *arg)
{
    struct mg_sim *sim = arg;
    int32_t n;

    lua_rawgeti(L, LUA_REGISTRYINDEX, sim->trial->vm->functions);
    n = (int32_t)lua_objlen(L, -1) + 1;
    lua_insert(L, -2);
    lua_rawseti(L, -2, n);
    lua_pop(L, 1);
    return n;
}

/* What the spec has under a name, as a config would: a part of the root. */
static struct mg_value *part(struct mg_sim *sim, struct mg_value *root, const char *name)
{
    lua_State *L = sim->L;
    struct mg_error err = { 0 };
    struct mg_value *v;

    lua_getfield(L, sim->spec, name);
    v = mg_tree_take(L, -1, &sim->snapshot.arena, number_function, sim, &err);
    lua_pop(L, 1);
    if (!v)
        luaL_error(L, "%s: %s", name, err.message);
    if (v->kind == MG_V_NIL)
        return NULL;
    if (v->kind != MG_V_TABLE)
        luaL_error(L, "%s: a table expected", name);
    if (mg_value_put(root, mg_str_c(name), v, &sim->snapshot.arena) != 0)
        luaL_error(L, "out of memory");
    return v;
}

struct facts { struct mg_making *m; const struct mg_value *list; };

static void missing_fact(void *arg, int entry, const char *message)
{
    struct facts *f = arg;

    mg_check_add(&f->m->check, mg_value_at(f->list, (size_t)entry), "%s", message);
}

/* 0 or MG_ENOMEM; mistakes are in m->check. */
static int make(struct mg_sim *sim, struct mg_making *m, struct mg_value *plugins, const struct mg_value *consumers)
{
    struct mg_chain_entry *entries[MG_ENTRIES_MAX];
    struct facts facts = { m, plugins };
    int n = 0, rc;
    bool whole;

    rc = mg_make_entries(m, plugins, sim->route.id, entries, &n, &whole);
    if (rc != 0)
        return rc;
    if (whole)
        mg_chain_check_facts(entries, n, missing_fact, &facts);
    sim->route.chain = mg_chain_new(entries, n, &sim->snapshot.arena);
    return sim->route.chain ? mg_make_consumers(m, consumers) : MG_ENOMEM;
}

static void refuse(struct mg_sim *sim, struct mg_check *check)
{
    struct mg_str text = mg_check_text(check, &sim->snapshot.arena);

    while (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    lua_pushlstring(sim->L, text.p, text.n);
    lua_error(sim->L);
}

void mg_sim_config(struct mg_sim *sim)
{
    struct mg_arena *a = &sim->snapshot.arena;
    struct mg_value *root = mg_value_new(a, MG_V_TABLE), *plugins, *consumers;
    struct mg_making m = { .s = &sim->snapshot, .config = &sim->trial->config, .any_phase = true,
                           .check = { .arena = a, .folder = sim->trial->config.folder, .main_file = MG_STR("exchange"), .no_defaults = true } };
    struct mg_error err = { 0 };

    if (!root)
        luaL_error(sim->L, "out of memory");
    plugins = part(sim, root, "plugins");
    consumers = part(sim, root, "consumers");
    if (make(sim, &m, plugins, consumers) != 0)
        luaL_error(sim->L, "out of memory");
    if (m.check.n)
        refuse(sim, &m.check);
    if (mg_instances_begin(&sim->snapshot, 0, &err) != 0)
        luaL_error(sim->L, "%s", err.message);
    sim->has_begun = true;
}

void mg_sim_config_end(struct mg_sim *sim)
{
    if (sim->has_begun)
        mg_instances_leave(&sim->snapshot, 0);
    mg_instances_destroy(&sim->snapshot);
}
