/* The plugin contract, spoken for Lua: a descriptor from the table that a script returned or the config holds. */
#include "script/host.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

const char *const mg_script_phase_names[MG_PHASES + 1] = {
    "on_rewrite", "on_request", "on_request_body", "on_response", "on_response_body", "on_log", NULL
};

#define PHASE(name, phase) \
    static enum mg_verdict name(struct mg_x *x, void *self, void *local) \
    { \
        (void)local; \
        return mg_script_run(x, self, phase); \
    }
PHASE(run_rewrite, MG_ON_REWRITE)
PHASE(run_request, MG_ON_REQUEST)
PHASE(run_request_body, MG_ON_REQUEST_BODY)
PHASE(run_response, MG_ON_RESPONSE)
PHASE(run_response_body, MG_ON_RESPONSE_BODY)
PHASE(run_log, MG_ON_LOG)

void mg_script_set_phase(struct mg_plugin *p, int phase)
{
    switch (phase) {
    case MG_ON_REWRITE: p->on_rewrite = run_rewrite; break;
    case MG_ON_REQUEST: p->on_request = run_request; break;
    case MG_ON_REQUEST_BODY: p->on_request_body = run_request_body; break;
    case MG_ON_RESPONSE: p->on_response = run_response; break;
    case MG_ON_RESPONSE_BODY: p->on_response_body = run_response_body; break;
    case MG_ON_LOG: p->on_log = run_log; break;
    default: break;
    }
}

bool mg_script_is_lua(const struct mg_plugin *plugin)
{
    return plugin->on_wake == mg_script_wake;
}

bool mg_script_is_confined(const struct mg_plugin *plugin)
{
    return mg_script_is_lua(plugin) && ((const struct mg_lua_plugin *)plugin)->is_confined;
}

bool mg_script_is_kong(const struct mg_plugin *plugin)
{
    return mg_script_is_lua(plugin) && ((const struct mg_lua_plugin *)plugin)->is_kong;
}

struct mg_str mg_script_source(const struct mg_plugin *plugin)
{
    const struct mg_lua_plugin *p = (const struct mg_lua_plugin *)plugin; /* the descriptor is its first member */

    return mg_script_is_lua(plugin) && p->source ? p->source->bytes : mg_str("", 0);
}

static const char *const known_keys[] = {
    "name", "version", "doc", "fields", "needs", "provides", "credentials", "create", "on_worker", "on_rewrite", "on_request",
    "on_request_body", "on_response", "on_response_body", "on_log"
};
enum { KNOWN_N = sizeof(known_keys) / sizeof(known_keys[0]) };

static bool is_known(struct mg_str key)
{
    for (size_t i = 0; i < KNOWN_N; i++)
        if (mg_str_eq(key, mg_str_c(known_keys[i])))
            return true;
    return false;
}

static int unknown(struct mg_error *err, struct mg_str where, struct mg_str key)
{
    const char *near = mg_str_nearest(key, known_keys, KNOWN_N);

    if (near)
        return mg_fail(err, MG_ECONF, "%.*s: unknown key \"%.*s\"; did you mean \"%s\"?", (int)where.n, where.p, (int)key.n, key.p, near);
    return mg_fail(err, MG_ECONF, "%.*s: unknown key \"%.*s\"", (int)where.n, where.p, (int)key.n, key.p);
}

/* ---- a script's table ---- */

struct describe { struct mg_script *s; struct mg_lua_plugin *p; struct mg_str name; struct mg_error *err; int rc; };

static int wrong(struct describe *d, const char *key, const char *expected)
{
    return mg_fail(d->err, MG_ECONF, "%s: \"%s\" must be %s", d->p->source->path.p, key, expected);
}

static int text_key(struct describe *d, lua_State *L, const char *key, const char **out)
{
    size_t n;
    const char *p;

    lua_getfield(L, 1, key);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return 0;
    }
    if (lua_type(L, -1) != LUA_TSTRING)
        return wrong(d, key, "text");
    p = lua_tolstring(L, -1, &n);
    *out = mg_arena_copy(&d->s->arena, p, n).p;
    lua_pop(L, 1);
    return *out ? 0 : mg_fail(d->err, MG_ENOMEM, "out of memory");
}

/* A list of facts as C has it; NULL when v is no list of words. */
static const char *const *facts_of(struct mg_script *s, const struct mg_value *v)
{
    const char **list;

    if (v->kind == MG_V_STRING) { /* one stands for a list of one */
        list = mg_arena_zalloc(&s->arena, 2 * sizeof(*list));
        if (list)
            list[0] = mg_arena_copy(&s->arena, v->text.p, v->text.n).p;
        return list;
    }
    if (v->kind != MG_V_TABLE || v->members_n)
        return NULL;
    list = mg_arena_zalloc(&s->arena, (v->items_n + 1) * sizeof(*list));
    for (size_t i = 0; list && i < v->items_n; i++) {
        if (v->items[i]->kind != MG_V_STRING)
            return NULL;
        list[i] = mg_arena_copy(&s->arena, v->items[i]->text.p, v->items[i]->text.n).p;
    }
    return list;
}

static int facts(struct describe *d, lua_State *L, const char *key, const char *const **out)
{
    struct mg_value *v;

    lua_getfield(L, 1, key);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return 0;
    }
    v = mg_tree_take(L, -1, &d->s->arena, NULL, NULL, d->err);
    lua_pop(L, 1);
    if (!v)
        return d->err->code;
    *out = facts_of(d->s, v);
    return *out ? 0 : wrong(d, key, "a list of facts, such as { \"consumer\" }");
}

static int fields_of(struct describe *d, struct mg_value *v, const char *what, const struct mg_field **fields, size_t *bytes)
{
    struct mg_error err = { 0 };

    *fields = mg_fields_from_value(v, &d->s->arena, bytes, &err);
    if (!*fields)
        return mg_fail(d->err, MG_ECONF, "%s: %s: %s", d->p->source->path.p, what, err.message);
    return 0;
}

static int describe_fields(struct describe *d, lua_State *L)
{
    struct mg_plugin *plugin = &d->p->plugin;
    struct mg_value *v;
    int rc;

    lua_getfield(L, 1, "fields");
    v = mg_tree_take(L, -1, &d->s->arena, NULL, NULL, d->err);
    lua_pop(L, 1);
    if (!v)
        return mg_fail(d->err, MG_ECONF, "%s: fields: not plain data", d->p->source->path.p);
    if (v->kind == MG_V_NIL)
        return 0;
    if (v->kind != MG_V_TABLE)
        return wrong(d, "fields", "a table of fields");
    rc = fields_of(d, v, "fields", &plugin->fields, &plugin->conf_bytes);
    plugin->field_bytes = sizeof(struct mg_field);
    return rc;
}

/* credentials = { kind = "keys", key = "key", fields = { … } } */
static int describe_credentials(struct describe *d, lua_State *L)
{
    struct mg_credential_kind *kind = &d->p->credentials;
    struct mg_value *v, *name, *key, *fields;

    lua_getfield(L, 1, "credentials");
    v = mg_tree_take(L, -1, &d->s->arena, NULL, NULL, d->err);
    lua_pop(L, 1);
    if (!v)
        return mg_fail(d->err, MG_ECONF, "%s: credentials: not plain data", d->p->source->path.p);
    if (v->kind == MG_V_NIL)
        return 0;
    name = v->kind == MG_V_TABLE ? mg_value_get(v, "kind") : NULL;
    key = name ? mg_value_get(v, "key") : NULL;
    fields = key ? mg_value_get(v, "fields") : NULL;
    if (!fields || name->kind != MG_V_STRING || key->kind != MG_V_STRING || fields->kind != MG_V_TABLE || v->members_n != 3)
        return wrong(d, "credentials", "a table with kind, key and fields");
    if (!mg_value_get(fields, key->text.p))
        return wrong(d, "credentials.key", "the name of one of its fields");
    kind->kind = name->text.p;
    kind->key = key->text.p;
    d->p->plugin.credentials = kind;
    return fields_of(d, fields, "credentials.fields", &kind->fields, &kind->conf_bytes);
}

static int check_keys(struct describe *d, lua_State *L)
{
    int handlers = 0;

    lua_pushnil(L);
    while (lua_next(L, 1)) {
        size_t n;
        const char *p;

        if (lua_type(L, -2) != LUA_TSTRING)
            return mg_fail(d->err, MG_ECONF, "%s: a plugin's table has named keys only", d->p->source->path.p);
        p = lua_tolstring(L, -2, &n);
        if (!is_known(mg_str(p, n)))
            return unknown(d->err, d->p->source->path, mg_str(p, n));
        if (strncmp(p, "on_", 3) == 0 || strcmp(p, "create") == 0) {
            if (!lua_isfunction(L, -1))
                return wrong(d, p, "a function");
            handlers++;
            d->p->has_on_worker |= strcmp(p, "on_worker") == 0;
        }
        lua_pop(L, 1);
    }
    for (int phase = 0; phase < MG_PHASES; phase++) {
        lua_getfield(L, 1, mg_script_phase_names[phase]);
        if (!lua_isnil(L, -1))
            mg_script_set_phase(&d->p->plugin, phase);
        lua_pop(L, 1);
    }
    if (!handlers)
        return mg_fail(d->err, MG_ECONF, "%s: a plugin has at least one handler, such as on_request", d->p->source->path.p);
    return 0;
}

static int describe(struct describe *d, lua_State *L)
{
    struct mg_plugin *plugin = &d->p->plugin;
    const char *name = NULL;
    int rc;

    if ((rc = check_keys(d, L)) != 0 || (rc = text_key(d, L, "name", &name)) != 0 || (rc = text_key(d, L, "version", &plugin->version)) != 0 ||
        (rc = text_key(d, L, "doc", &plugin->doc)) != 0)
        return rc;
    if (!name)
        return wrong(d, "name", "the plugin's name");
    if (!mg_str_eq(mg_str_c(name), d->name))
        return mg_fail(d->err, MG_ECONF, "%s: its name is \"%s\", but the file is called \"%.*s\"", d->p->source->path.p, name,
                       (int)d->name.n, d->name.p);
    plugin->name = name;
    if ((rc = describe_fields(d, L)) != 0 || (rc = facts(d, L, "needs", &plugin->needs)) != 0 ||
        (rc = facts(d, L, "provides", &plugin->provides)) != 0)
        return rc;
    return describe_credentials(d, L);
}

static void describe_body(struct mg_vm *vm, void *arg)
{
    struct describe *d = arg;

    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->plugins[d->p->number].table);
    d->rc = describe(d, vm->L);
}

/* ---- both kinds ---- */

static struct mg_lua_plugin *plugin_new(struct mg_script *s, struct mg_error *err)
{
    struct mg_lua_plugin *p = mg_arena_zalloc(&s->arena, sizeof(*p));

    if (!p) {
        mg_fail(err, MG_ENOMEM, "lua: out of memory");
        return NULL;
    }
    p->script = s;
    p->number = s->plugins_n;
    p->plugin.abi = MG_PLUGIN_ABI;
    p->plugin.size = sizeof(p->plugin);
    p->plugin.name = p->plugin.version = p->plugin.doc = "";
    p->plugin.field_bytes = sizeof(struct mg_field);
    p->plugin.on_wake = mg_script_wake;
    return p;
}

static void plugin_keep(struct mg_script *s, struct mg_lua_plugin *p)
{
    if (s->plugins_last)
        s->plugins_last->next = p;
    else
        s->plugins = p;
    s->plugins_last = p;
    s->plugins_n++;
}

static const struct mg_source_file *source_of(struct mg_script *s, struct mg_str name, const char *path, struct mg_error *err)
{
    struct mg_str key = mg_arena_printf(&s->arena, "plugin:%.*s", (int)name.n, name.p);

    if (!key.p) {
        mg_fail(err, MG_ENOMEM, "lua: out of memory");
        return NULL;
    }
    return mg_sources_read(s->sources, key, path, err);
}

int mg_script_plugin(struct mg_script *s, struct mg_str name, const char *path, bool is_confined, const struct mg_plugin **out, struct mg_error *err)
{
    struct describe d = { .s = s, .name = name, .err = err };
    struct mg_vm *vm;
    int rc;

    for (struct mg_lua_plugin *p = s->plugins; p; p = p->next)
        if (p->source && p->is_confined == is_confined && mg_str_eq(mg_str_c(p->plugin.name), name)) {
            *out = &p->plugin;
            return 0;
        }
    d.p = plugin_new(s, err);
    if (!d.p)
        return MG_ENOMEM;
    d.p->is_confined = is_confined;
    d.p->is_kong = mg_str_starts(name, MG_STR("kong:"));
    if (d.p->is_kong) {
        d.p->kong_name = mg_arena_copy(&s->arena, name.p + 5, name.n - 5).p;
        if (!d.p->kong_name)
            return mg_fail(err, MG_ENOMEM, "lua: out of memory");
    }
    d.p->source = source_of(s, name, path, err);
    if (!d.p->source)
        return err->code;
    vm = mg_script_builder(s, err);
    if (!vm || (rc = mg_vm_add_plugin(vm, d.p, err)) != 0)
        return err->code;
    rc = mg_vm_call(vm, describe_body, &d, err);
    if (rc == 0)
        rc = d.rc;
    if (rc != 0) {
        vm->plugins_n--; /* its table stays behind until the VM goes, as does a config that does not hold */
        return rc;
    }
    plugin_keep(s, d.p);
    *out = &d.p->plugin;
    return 0;
}

static const char *const entry_keys[] = { "when", "mode", "on_error", "id", "sandbox", NULL };

static bool is_entry_key(struct mg_str key)
{
    for (size_t i = 0; entry_keys[i]; i++)
        if (mg_str_eq(key, mg_str_c(entry_keys[i])))
            return true;
    return false;
}

static int phase_of(struct mg_str key)
{
    for (int phase = 0; phase < MG_PHASES; phase++)
        if (mg_str_eq(key, mg_str_c(mg_script_phase_names[phase])))
            return phase;
    return -1;
}

int mg_script_inline(struct mg_script *s, const struct mg_value *v, const struct mg_plugin **out, struct mg_error *err)
{
    struct mg_lua_plugin *p;
    struct mg_vm *vm;
    int phases = 0, rc;

    p = plugin_new(s, err);
    if (!p)
        return MG_ENOMEM;
    for (size_t i = 0; i < v->members_n; i++) {
        struct mg_str key = v->members[i].key;
        int phase = phase_of(key);

        if (is_entry_key(key))
            continue;
        if (mg_str_eq(key, MG_STR("needs")) || mg_str_eq(key, MG_STR("provides"))) {
            const char *const *list = facts_of(s, v->members[i].value);

            if (!list)
                return mg_fail(err, MG_ECONF, "\"%.*s\" must be a list of facts, such as { \"consumer\" }", (int)key.n, key.p);
            *(key.p[0] == 'n' ? &p->plugin.needs : &p->plugin.provides) = list;
            continue;
        }
        if (phase < 0 && is_known(key))
            return mg_fail(err, MG_ECONF, "a table of phase functions has no \"%.*s\": that is for a plugin in a file of its own",
                           (int)key.n, key.p);
        if (phase < 0)
            return unknown(err, MG_STR("a table of phase functions"), key);
        if (v->members[i].value->kind != MG_V_FUNCTION)
            return mg_fail(err, MG_ECONF, "\"%.*s\" must be a function", (int)key.n, key.p);
        mg_script_set_phase(&p->plugin, phase);
        phases++;
    }
    if (!phases || v->items_n)
        return mg_fail(err, MG_ECONF, "a table of phase functions has at least one, such as on_request, and no list");
    p->plugin.name = "inline";
    p->plugin.doc = "Functions in the config.";
    p->inline_table = v;
    vm = mg_script_builder(s, err);
    if (!vm || (rc = mg_vm_add_plugin(vm, p, err)) != 0)
        return err->code;
    plugin_keep(s, p);
    *out = &p->plugin;
    return 0;
}
