/* The consumers of a spec, with credentials of the kinds that its chain's plugins have. */
#include "trial/sim.h"
#include <lauxlib.h>
#include <lua.h>

static const struct mg_credential_kind *kind_of(struct mg_sim *sim, struct mg_str name)
{
    for (int i = 0; i < sim->entries_n; i++) {
        const struct mg_credential_kind *kind = sim->entries[i]->plugin->credentials;

        if (kind && mg_str_eq(mg_str_c(kind->kind), name))
            return kind;
    }
    return NULL;
}

static struct mg_str scalar(struct mg_sim *sim, const struct mg_value *v)
{
    switch (v->kind) {
    case MG_V_STRING: return v->text;
    case MG_V_BOOL: return v->boolean ? MG_STR("true") : MG_STR("false");
    case MG_V_NUMBER: return mg_arena_printf(&sim->arena, "%.14g", v->number);
    default: return mg_str(NULL, 0);
    }
}

static size_t pairs_of(struct mg_sim *sim, const struct mg_value *table, const struct mg_pair **out)
{
    struct mg_pair *pairs = mg_arena_zalloc(&sim->arena, (table->members_n + 1) * sizeof(*pairs));
    size_t n = 0;

    if (!pairs)
        luaL_error(sim->L, "out of memory");
    for (size_t i = 0; i < table->members_n; i++) {
        struct mg_str text = scalar(sim, table->members[i].value);

        if (text.p)
            pairs[n++] = (struct mg_pair){ table->members[i].key, text };
    }
    *out = pairs;
    return n;
}

static void add_credential(struct mg_sim *sim, struct mg_str consumer, const struct mg_credential_kind *kind, struct mg_value *v)
{
    struct mg_credential *cred = mg_arena_zalloc(&sim->arena, sizeof(*cred));
    void *conf = mg_arena_zalloc(&sim->arena, kind->conf_bytes + 1);
    struct mg_error err = { 0 };
    const struct mg_value *key = mg_value_get(v, kind->key), *id = mg_value_get(v, "id");

    if (!cred || !conf || mg_fields_fill(kind->fields, sizeof(struct mg_field), v, conf, &sim->arena) != 0)
        luaL_error(sim->L, "out of memory");
    if (!key || key->kind != MG_V_STRING)
        luaL_error(sim->L, "consumers.%s.%s: a credential has a %s", consumer.p, kind->kind, kind->key);
    if (kind->prepare && kind->prepare(conf, sim->trial->config.folder.p, &err) != 0)
        luaL_error(sim->L, "consumers.%s.%s: %s", consumer.p, kind->kind, err.message);
    if (kind->release && mg_arena_defer(&sim->arena, kind->release, conf) != 0)
        luaL_error(sim->L, "out of memory");
    cred->kind = mg_str_c(kind->kind);
    cred->key = key->text;
    cred->id = id && id->kind == MG_V_STRING ? id->text : MG_STR("credential");
    cred->conf = conf;
    cred->fields_n = pairs_of(sim, v, &cred->fields);
    if (mg_consumers_add_credential(sim->snapshot.consumers, consumer, cred, &err) != 0)
        luaL_error(sim->L, "consumers.%s: %s", consumer.p, err.message);
}

/* A list of tables of the kind's fields; a scalar stands for the field at 1, one for a list of one. */
static void add_credentials(struct mg_sim *sim, struct mg_str consumer, const struct mg_credential_kind *kind, struct mg_value *v)
{
    struct mg_field *item = mg_arena_zalloc(&sim->arena, sizeof(*item)), *list = mg_arena_zalloc(&sim->arena, 2 * sizeof(*list));
    struct mg_check check = { .arena = &sim->arena, .folder = sim->trial->config.folder };
    struct mg_value *holder = mg_value_new(&sim->arena, MG_V_TABLE);

    if (!item || !list || !holder || !(holder->members = mg_arena_zalloc(&sim->arena, 2 * sizeof(struct mg_member))))
        luaL_error(sim->L, "out of memory");
    item->type = MG_TABLE;
    item->fields = kind->fields;
    item->item_bytes = kind->conf_bytes;
    list[0].name = kind->kind;
    list[0].type = MG_LIST;
    list[0].item = item;
    list[0].item_bytes = kind->conf_bytes;
    list[0].single = true;
    holder->members[0] = (struct mg_member){ mg_str_c(kind->kind), v };
    holder->members_n = 1;
    holder->members_room = 2;
    if (mg_fields_check(&check, list, sizeof(*list), holder, 0) != 0)
        luaL_error(sim->L, "consumers.%s: %s", consumer.p, mg_check_text(&check, &sim->arena).p);
    v = holder->members[0].value;
    for (size_t i = 0; i < v->items_n; i++)
        add_credential(sim, consumer, kind, v->items[i]);
}

static void add_consumer(struct mg_sim *sim, struct mg_str name, struct mg_value *v)
{
    struct mg_consumer c = { .name = name };
    struct mg_value *groups = v->kind == MG_V_TABLE ? mg_value_get(v, "groups") : NULL;
    struct mg_value *metadata = v->kind == MG_V_TABLE ? mg_value_get(v, "metadata") : NULL;

    if (v->kind != MG_V_TABLE)
        luaL_error(sim->L, "consumers.%s: a table expected", name.p);
    if (groups) {
        struct mg_str *list = mg_arena_zalloc(&sim->arena, (groups->items_n + 1) * sizeof(*list));

        if (!list)
            luaL_error(sim->L, "out of memory");
        for (size_t i = 0; i < groups->items_n; i++)
            list[i] = groups->items[i]->text;
        c.groups = list;
        c.groups_n = groups->items_n;
    }
    if (metadata)
        c.metadata_n = pairs_of(sim, metadata, &c.metadata);
    if (mg_consumers_add(sim->snapshot.consumers, &c) != 0)
        luaL_error(sim->L, "consumers.%s: twice, or out of memory", name.p);
    for (size_t i = 0; i < v->members_n; i++) {
        struct mg_str key = v->members[i].key;
        const struct mg_credential_kind *kind = kind_of(sim, key);

        if (mg_str_eq(key, MG_STR("groups")) || mg_str_eq(key, MG_STR("metadata")))
            continue;
        if (kind) /* others belong to plugins that are not in this chain */
            add_credentials(sim, name, kind, v->members[i].value);
    }
}

void mg_sim_people(struct mg_sim *sim)
{
    lua_State *L = sim->L;
    struct mg_error err = { 0 };
    struct mg_value *v;

    sim->snapshot.consumers = mg_consumers_new(&sim->arena);
    if (!sim->snapshot.consumers)
        luaL_error(L, "out of memory");
    lua_getfield(L, sim->spec, "consumers");
    v = mg_tree_take(L, -1, &sim->arena, NULL, NULL, &err);
    lua_pop(L, 1);
    if (!v)
        luaL_error(L, "consumers: %s", err.message);
    for (size_t i = 0; v->kind == MG_V_TABLE && i < v->members_n; i++)
        add_consumer(sim, v->members[i].key, v->members[i].value);
    if (mg_consumers_seal(sim->snapshot.consumers) != 0)
        luaL_error(L, "out of memory");
}
