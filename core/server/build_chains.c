/* build_chains.c - chains: each entry's plugin, its checked config, its instance. */
#include "server/build_parts.h"
#include "pdk/sink.h"

#include <stdio.h>

static const char *const modes[] = { "enforce", "observe", NULL };
static const char *const on_errors[] = { "fail", "continue", NULL };
struct entry_keys { int32_t when; int mode, on_error; struct mg_str id; bool sandbox; };
/* Keys that every entry takes; with them a table is checked by itself, and without them against the plugin's fields. */
static const struct mg_field entry_fields[] = {
    { .name = "when", .type = MG_FUNCTION, .offset = offsetof(struct entry_keys, when), .doc = "Asked once in an exchange." },
    { .name = "mode", .type = MG_ENUM, .offset = offsetof(struct entry_keys, mode), .values = modes, .preset = "enforce",
      .doc = "observe: it runs, and is told instead of applied." },
    { .name = "on_error", .type = MG_ENUM, .offset = offsetof(struct entry_keys, on_error), .values = on_errors, .preset = "fail", .doc = "What an error does." },
    { .name = "id", .type = MG_STRING, .offset = offsetof(struct entry_keys, id), .has_min = true, .min = 1, .has_max = true, .max = 64,
      .doc = "Tells two entries of one plugin apart." },
    { .name = "sandbox", .type = MG_BOOL, .offset = offsetof(struct entry_keys, sandbox), .doc = "A Lua plugin without io, ffi and the rest." },
    { 0 }
};
static const char *const entry_words[] = { "when", "mode", "on_error", "id", "sandbox", NULL };
static const struct mg_field no_fields[] = { { 0 } };

/* Does the config's `sandbox` name it, or the folder that it lies in? */
static bool is_distrusted(const struct mg_making *m, const struct mg_found_plugin *found)
{
    const struct mg_str *all = m->conf.sandbox.items;

    for (size_t i = 0; i < m->conf.sandbox.n; i++) {
        struct mg_str folder = all[i];

        if (mg_str_eq(folder, found->name))
            return true;
        if (!memchr(folder.p, '/', folder.n))
            continue;
        folder = mg_making_path((struct mg_making *)(uintptr_t)m, folder);
        while (folder.n && folder.p[folder.n - 1] == '/')
            folder.n--;
        if (folder.n && mg_str_starts(found->path, folder) && found->path.p[folder.n] == '/')
            return true;
    }
    return false;
}

static int find_plugin(struct mg_making *m, struct mg_str name, bool sandbox, const struct mg_plugin **out, struct mg_error *err)
{
    struct mg_found_plugin found = { 0 };
    int rc = mg_registry_find(m->s->registry, name, &found, err);

    if (rc != 0)
        return rc;
    if (found.kind == MG_PLUGIN_LUA) {
        m->uses_lua = true;
        if (mg_str_starts(found.name, MG_STR("kong:")) && (sandbox || is_distrusted(m, &found)))
            return mg_fail(err, MG_ECONF, "%.*s is a Kong plugin: there is no sandbox for those", (int)name.n, name.p);
        return mg_script_plugin(m->s->script, name, found.path.p, sandbox || is_distrusted(m, &found), out, err);
    }
    if (sandbox || is_distrusted(m, &found))
        return mg_fail(err, MG_ECONF, "%.*s is written in C: there is no sandbox for that", (int)name.n, name.p);
    *out = found.plugin;
    return 0;
}

int mg_making_plugin(struct mg_making *m, struct mg_str name, bool sandbox, const struct mg_plugin **out, struct mg_error *err)
{
    int rc = mg_make_load(m, name, out);

    if (rc != 0)
        return rc;
    if (!*out)
        rc = find_plugin(m, name, sandbox, out, err);
    mg_make_loaded();
    return rc;
}

/* The keys of entry_fields out of v, checked. */
static int take_entry_keys(struct mg_making *m, struct mg_value *v, struct entry_keys *out)
{
    struct mg_arena *a = mg_making_arena(m);
    struct mg_value *keys = mg_value_new(a, MG_V_TABLE);

    if (!keys)
        return MG_ENOMEM;
    for (const struct mg_field *f = entry_fields; f->name && v->kind == MG_V_TABLE; f++) {
        struct mg_value *member = mg_value_remove(v, f->name);

        if (member && mg_value_put(keys, mg_str_c(f->name), member, a) != 0)
            return MG_ENOMEM;
    }
    *keys = (struct mg_value){ .kind = MG_V_TABLE, .members = keys->members, .members_n = keys->members_n, .members_room = keys->members_room,
                               .file = v->file, .line = v->line, .parent = v, .serial = (uint32_t)MG_NO_SERIAL };
    mg_fields_check(&m->check, entry_fields, sizeof(struct mg_field), keys, 0);
    memset(out, 0, sizeof(*out));
    return mg_fields_fill(entry_fields, sizeof(struct mg_field), keys, out, a);
}

/* "name", or "name#2" when the chain has that plugin already. */
static struct mg_str default_id(struct mg_making *m, const char *name, struct mg_chain_entry **entries, int n)
{
    int same = 1;

    for (int i = 0; i < n; i++)
        same += strcmp(entries[i]->plugin->name, name) == 0;
    if (same == 1)
        return mg_arena_copy(mg_making_arena(m), name, strlen(name));
    return mg_arena_printf(mg_making_arena(m), "%s#%d", name, same);
}

static int name_entry(struct mg_making *m, struct mg_chain_entry *e, struct mg_str given, const struct mg_value *at, struct mg_chain_entry **entries,
                      int n)
{
    e->info.id = given.n ? given : default_id(m, e->plugin->name, entries, n);
    if (!e->info.id.p)
        return MG_ENOMEM;
    for (int i = 0; i < n; i++)
        if (mg_str_eq(entries[i]->info.id, e->info.id))
            mg_check_add(&m->check, at, "the chain has another entry with the id \"%.*s\"; give this one an id", (int)e->info.id.n, e->info.id.p);
    return 0;
}

static int keep_entry(struct mg_making *m, struct mg_chain_entry *e)
{
    struct mg_snapshot *s = m->s;
    size_t n = s->all_entries_n;
    struct mg_chain_entry **grown = s->all_entries;

    if ((n & (n - 1)) == 0) /* room is a power of two */
        grown = mg_arena_grow(&s->arena, grown, n * sizeof(struct mg_chain_entry *), (n ? n * 2 : 1) * sizeof(struct mg_chain_entry *));
    if (!grown)
        return MG_ENOMEM;
    s->all_entries = grown;
    s->all_entries[s->all_entries_n++] = e;
    return 0;
}

static void destroy_entry(struct mg_chain_entry *e)
{
    if (!mg_script_is_lua(e->plugin) && e->plugin->create && e->plugin->destroy)
        e->plugin->destroy(e->self);
}

/* The instance of a C plugin: the config struct, or what `create` makes of it. */
static int create_c(struct mg_making *m, struct mg_chain_entry *e, const struct mg_value *conf, struct mg_error *err)
{
    const struct mg_plugin *p = e->plugin;
    void *filled = mg_arena_zalloc(mg_making_arena(m), p->conf_bytes ? p->conf_bytes : 1);
    int rc;

    if (!filled || (p->fields && mg_fields_fill(p->fields, p->field_bytes, conf, filled, mg_making_arena(m)) != 0))
        return MG_ENOMEM;
    e->info.conf = filled;
    e->self = filled;
    if (!p->create)
        return 0;
    mg_sink_folder(e->info.folder); /* where relative log paths start */
    rc = p->create(&e->info, &e->self, err);
    mg_sink_folder(mg_str(NULL, 0));
    if (rc != 0)
        return MG_ECONF;
    return 0;
}

static int create(struct mg_making *m, struct mg_chain_entry *e, struct mg_value *conf, bool is_inline, bool *made)
{
    struct mg_error err = { 0 };
    int rc;

    if (mg_script_is_lua(e->plugin)) {
        m->uses_lua = true;
        rc = mg_script_instance(m->s->script, e->plugin, is_inline ? NULL : conf, &e->info, e, &e->self, &err);
    } else {
        rc = create_c(m, e, conf, &err);
    }
    if (rc == MG_ENOMEM)
        return rc;
    if (rc != 0) {
        mg_check_add(&m->check, conf, "%s", err.message[0] ? err.message : "the plugin refused its config and did not say why");
        return 0;
    }
    rc = keep_entry(m, e);
    if (rc != 0)
        destroy_entry(e);
    *made = rc == 0;
    return rc;
}

/* A name alone becomes a table without fields. */
static struct mg_str entry_name(struct mg_value *v)
{
    struct mg_str name = mg_str("", 0);

    if (v->kind == MG_V_STRING) {
        name = v->text;
        v->kind = MG_V_TABLE;
    } else if (v->kind == MG_V_TABLE && v->items_n && v->items[0]->kind == MG_V_STRING) {
        name = v->items[0]->text;
    }
    return name;
}

static int load(struct mg_making *m, struct mg_value *v, struct mg_str name, bool is_inline, bool sandbox, const struct mg_plugin **out)
{
    struct mg_error err = { 0 };
    int rc;

    if (is_inline && sandbox) {
        rc = mg_fail(&err, MG_ECONF, "functions of the config share its globals and cannot be sandboxed: put them into a plugin's file");
    } else if (is_inline) {
        m->uses_lua = true;
        rc = mg_script_inline(m->s->script, v, out, &err);
    } else {
        rc = mg_making_plugin(m, name, sandbox, out, &err);
    }
    if (rc == MG_ENOMEM)
        return rc;
    if (rc != 0) {
        mg_check_add(&m->check, v, "%s", err.message[0] ? err.message : "the plugin cannot be loaded");
        *out = NULL;
    }
    return 0;
}

static void check_conf(struct mg_making *m, const struct mg_plugin *p, struct mg_value *v)
{
    char suffix[96];

    snprintf(suffix, sizeof(suffix), " (plugin %s)", p->name);
    m->check.suffix = suffix;
    m->check.also_known = entry_words;
    m->check.no_defaults = !mg_script_is_lua(p);
    mg_fields_check(&m->check, p->fields ? p->fields : no_fields, p->fields ? p->field_bytes : sizeof(struct mg_field), v, v->items_n ? 1 : 0);
    m->check.no_defaults = true;
    m->check.suffix = NULL;
    m->check.also_known = NULL;
    v->items_n = 0; /* the name is not the plugin's */
}

/* One entry; *made says whether entries[*n] is there. */
static int make_entry(struct mg_making *m, struct mg_value *v, struct mg_str route, struct mg_chain_entry **entries, int *n, bool *made)
{
    struct mg_chain_entry *e = mg_arena_zalloc(mg_making_arena(m), sizeof(*e));
    struct mg_str name = entry_name(v);
    bool is_inline = v->kind == MG_V_TABLE && name.n == 0 && v->items_n == 0;
    struct entry_keys keys;
    size_t before = m->check.n;
    int rc;

    if (!e)
        return MG_ENOMEM;
    if (v->kind != MG_V_TABLE || (name.n == 0 && !is_inline)) {
        mg_check_add(&m->check, v, "expected a plugin's name, { \"name\", … } or a table of phase functions; found %s", mg_value_kind_name(v));
        return 0;
    }
    if (take_entry_keys(m, v, &keys) != 0 || load(m, v, name, is_inline, keys.sandbox, &e->plugin) != 0)
        return MG_ENOMEM;
    if (!e->plugin)
        return 0;
    if (!is_inline && !mg_make_is_unloadable(e->plugin))
        check_conf(m, e->plugin, v);
    if (e->plugin->on_rewrite && route.n && !m->any_phase && !mg_script_is_kong(e->plugin)) /* one of Kong's has it called in the global chain alone */
        mg_check_add(&m->check, v, "%s acts before a route is known (on_rewrite): it belongs into the global chain", e->plugin->name);
    if (name_entry(m, e, keys.id, v, entries, *n) != 0)
        return MG_ENOMEM;
    e->snapshot = m->s;
    e->info.route = route;
    e->info.folder = m->config->folder;
    e->when = keys.when;
    e->continue_on_error = keys.on_error == 1;
    e->observe = keys.mode == 1;
    e->index = *n;
    e->scope = (struct mg_log_scope){ .plugin = e->info.id, .route = route };
    e->file = v->file;
    e->line = v->line;
    if (m->check.n != before)
        return 0;
    rc = mg_make_is_unloadable(e->plugin) ? mg_make_unloadable(m, e) : mg_make_quarantine(m, e, v, is_inline);
    if (rc == 0 && e->is_out) {
        rc = keep_entry(m, e);
        *made = rc == 0;
    } else if (rc == 0) {
        mg_calling = (struct mg_calling){ e, MG_AT_CREATE };
        rc = create(m, e, v, is_inline, made);
        mg_calling = (struct mg_calling){ NULL, 0 };
    }
    if (*made)
        entries[(*n)++] = e;
    return rc;
}

int mg_make_entries(struct mg_making *m, struct mg_value *list, struct mg_str route, struct mg_chain_entry **entries, int *n, bool *whole)
{
    *whole = true;
    for (size_t i = 0; list && list->kind == MG_V_TABLE && i < list->items_n; i++) {
        bool made = false;
        int rc;

        if (*n == MG_ENTRIES_MAX) {
            mg_check_add(&m->check, list->items[i], "a chain has at most %d entries, those of the global one included", MG_ENTRIES_MAX);
            *whole = false;
            return 0;
        }
        rc = make_entry(m, list->items[i], route, entries, n, &made);
        if (rc != 0)
            return rc;
        *whole = *whole && made;
    }
    return 0;
}

struct facts { struct mg_making *m; const struct mg_value *list; };

static void missing_fact(void *arg, int entry, const char *message)
{
    struct facts *f = arg;

    mg_check_add(&f->m->check, mg_value_at(f->list, (size_t)entry), "%s", message);
}

int mg_make_global_chain(struct mg_making *m, struct mg_chain_entry ***entries, int *n)
{
    struct mg_value *list = mg_value_get(m->config->root, "plugins");
    struct facts facts = { m, list };
    bool whole;
    int rc;

    *n = 0;
    *entries = mg_arena_zalloc(mg_making_arena(m), MG_ENTRIES_MAX * sizeof(struct mg_chain_entry *));
    if (!*entries)
        return MG_ENOMEM;
    rc = mg_make_entries(m, list, mg_str("", 0), *entries, n, &whole);
    if (rc != 0)
        return rc;
    if (whole)
        mg_chain_check_facts(*entries, *n, missing_fact, &facts);
    m->s->global = mg_chain_new(*entries, *n, mg_making_arena(m));
    return m->s->global ? 0 : MG_ENOMEM;
}
