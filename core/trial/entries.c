/* The chain that a spec asks for, checked as a config's chain is. */
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

static struct mg_value *take_member(struct mg_value *table, const char *key)
{
    for (size_t i = 0; i < table->members_n; i++) {
        struct mg_value *v = table->members[i].value;

        if (!mg_str_eq(table->members[i].key, mg_str_c(key)))
            continue;
        memmove(&table->members[i], &table->members[i + 1], (table->members_n - i - 1) * sizeof(table->members[0]));
        table->members_n--;
        return v;
    }
    return NULL;
}

static void refuse(struct mg_sim *sim, const char *name, const char *message)
{
    luaL_error(sim->L, "plugins: %s: %s", name, message);
}

static const struct mg_plugin *find_plugin(struct mg_sim *sim, struct mg_str name)
{
    struct mg_found_plugin found = { 0 };
    struct mg_error err = { 0 };

    if (mg_registry_find(sim->trial->registry, name, &found, &err) != 0)
        refuse(sim, name.p, err.message);
    if (found.kind == MG_PLUGIN_LUA && mg_script_plugin(sim->trial->script, name, found.path.p, &found.plugin, &err) != 0)
        refuse(sim, name.p, err.message);
    return found.plugin;
}

static void check_conf(struct mg_sim *sim, const struct mg_plugin *plugin, struct mg_value *conf)
{
    static const struct mg_field none[] = { { 0 } };
    struct mg_check check = { .arena = &sim->arena, .folder = sim->trial->config.folder };
    struct mg_str text;

    if (mg_fields_check(&check, plugin->fields ? plugin->fields : none, plugin->fields ? plugin->field_bytes : sizeof(none[0]), conf, 1) == 0)
        return;
    text = mg_check_text(&check, &sim->arena);
    refuse(sim, plugin->name, text.p ? text.p : "out of memory");
}

static void create(struct mg_sim *sim, struct mg_chain_entry *e, struct mg_value *conf, bool is_inline)
{
    struct mg_error err = { 0 };
    const struct mg_plugin *p = e->plugin;
    int rc = 0;

    if (mg_script_is_lua(p)) {
        rc = mg_script_instance(sim->trial->script, p, is_inline ? NULL : conf, &e->info, &e->self, &err);
    } else {
        void *filled = mg_arena_zalloc(&sim->arena, p->conf_bytes + 1);

        if (!filled || (p->fields && mg_fields_fill(p->fields, p->field_bytes, conf, filled, &sim->arena) != 0))
            luaL_error(sim->L, "out of memory");
        e->info.conf = filled;
        e->self = filled;
        if (p->create)
            rc = p->create(&e->info, &e->self, &err);
    }
    if (rc != 0)
        refuse(sim, p->name, err.message[0] ? err.message : mg_error_name(rc));
}

static struct mg_str entry_id(struct mg_sim *sim, const struct mg_plugin *p, const struct mg_value *given)
{
    int before = 0;

    if (given)
        return given->text;
    for (int i = 0; i < sim->entries_n; i++)
        before += strcmp(sim->entries[i]->plugin->name, p->name) == 0;
    return before ? mg_arena_printf(&sim->arena, "%s#%d", p->name, before + 1) : mg_str_c(p->name);
}

/* A name alone becomes { name }. */
static struct mg_value *as_table(struct mg_sim *sim, struct mg_value *v)
{
    struct mg_value *table;

    if (v->kind == MG_V_TABLE)
        return v;
    table = mg_value_new(&sim->arena, MG_V_TABLE);
    if (v->kind != MG_V_STRING || !table || !(table->items = mg_arena_zalloc(&sim->arena, 2 * sizeof(struct mg_value *))))
        luaL_error(sim->L, "plugins: an entry is a name, { name, … } or a table of functions");
    table->items[0] = v;
    table->items_n = 1;
    return table;
}

static void add_entry(struct mg_sim *sim, struct mg_value *given)
{
    struct mg_value *v = as_table(sim, given), *when, *on_error, *id;
    bool is_inline = v->items_n == 0;
    struct mg_chain_entry *e = mg_arena_zalloc(&sim->arena, sizeof(*e));
    struct mg_error err = { 0 };

    if (!e || sim->entries_n == MG_ENTRIES_MAX)
        luaL_error(sim->L, "plugins: too many entries");
    when = take_member(v, "when");
    on_error = take_member(v, "on_error");
    id = take_member(v, "id");
    take_member(v, "mode");
    if (is_inline) {
        if (mg_script_inline(sim->trial->script, v, &e->plugin, &err) != 0)
            refuse(sim, "inline", err.message);
    } else {
        if (v->items[0]->kind != MG_V_STRING)
            luaL_error(sim->L, "plugins: an entry begins with a plugin's name");
        e->plugin = find_plugin(sim, v->items[0]->text);
        check_conf(sim, e->plugin, v);
    }
    if ((when && when->kind != MG_V_FUNCTION) || (id && id->kind != MG_V_STRING))
        refuse(sim, e->plugin->name, "`when` is a function, `id` is text");
    e->when = when ? when->function : -1;
    e->continue_on_error = on_error && mg_str_eq(on_error->text, MG_STR("continue"));
    e->info.id = entry_id(sim, e->plugin, id);
    e->info.route = sim->route.id;
    e->info.folder = sim->trial->config.folder;
    e->scope = (struct mg_log_scope){ mg_str_c(e->plugin->name), sim->route.id, MG_STR("") };
    create(sim, e, v, is_inline);
    sim->entries[sim->entries_n++] = e;
    if (e->plugin->worker_create && e->plugin->worker_create(e->self, &e->locals[0]) != 0) {
        if (e->plugin->destroy)
            e->plugin->destroy(e->self);
        sim->entries_n--;
        refuse(sim, e->plugin->name, "worker_create failed");
    }
}

static void fact_missing(void *arg, int entry, const char *message)
{
    struct mg_sim *sim = arg;

    luaL_error(sim->L, "plugins[%d]: %s", entry + 1, message);
}

void mg_sim_entries(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_error err = { 0 };
    struct mg_value *list;

    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    list = mg_tree_take(L, -1, &sim->arena, number_function, sim, &err);
    lua_pop(L, 1);
    if (!list)
        luaL_error(L, "plugins: %s", err.message);
    if (list->kind != MG_V_TABLE || list->members_n)
        luaL_error(L, "plugins: a list of chain entries expected");
    for (size_t i = 0; i < list->items_n; i++)
        add_entry(sim, list->items[i]);
    for (int i = 0; i < sim->entries_n; i++)
        sim->entries[i]->index = i;
    if (sim->entries_n)
        mg_chain_check_facts(sim->entries, sim->entries_n, fact_missing, sim);
}
