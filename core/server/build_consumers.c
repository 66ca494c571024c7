/* build_consumers.c - consumers, and credentials of every kind that a plugin knows. */
#include "server/build_parts.h"

#include <stdio.h>

enum { KINDS_MAX = 64 };

struct kind { const struct mg_plugin *plugin; const struct mg_credential_kind *kind; };
struct kinds {
    struct mg_making *m;
    struct kind list[KINDS_MAX];
    size_t n;
    bool has_all; /* every plugin on the path was looked at */
};

static void add_kind(struct kinds *k, const struct mg_plugin *p)
{
    if (!p || !p->credentials || k->n == KINDS_MAX)
        return;
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->list[i].kind->kind, p->credentials->kind) == 0)
            return;
    k->list[k->n++] = (struct kind){ p, p->credentials };
}

static void add_found(void *arg, const struct mg_found_plugin *found)
{
    struct kinds *k = arg;
    const struct mg_plugin *p = NULL;
    struct mg_error err = { 0 };

    if (mg_making_plugin(k->m, found->name, false, &p, &err) == 0)
        add_kind(k, p);
}

static const struct kind *find_kind(struct kinds *k, struct mg_str name)
{
    for (;;) {
        for (size_t i = 0; i < k->n; i++)
            if (mg_str_eq(name, mg_str_c(k->list[i].kind->kind)))
                return &k->list[i];
        if (k->has_all)
            return NULL;
        k->has_all = true; /* of plugins that no chain names: only now worth loading */
        {
            bool uses_lua = k->m->uses_lua;

            mg_registry_each(k->m->s->registry, add_found, k);
            k->m->uses_lua = uses_lua;
        }
    }
}

static void unknown_key(struct kinds *k, const struct mg_member *member)
{
    const char *known[KINDS_MAX + 2];
    const char *near;
    size_t n = 0;

    known[n++] = "groups";
    known[n++] = "metadata";
    for (size_t i = 0; i < k->n; i++)
        known[n++] = k->list[i].kind->kind;
    near = mg_str_nearest(member->key, known, n);
    mg_check_add(&k->m->check, member->value, near ? "unknown key; did you mean \"%s\"?" : "unknown key: no plugin has credentials of that kind%s",
                 near ? near : "");
}

/* ---- one credential ---- */

static struct mg_str scalar_text(const struct mg_value *v, struct mg_arena *a)
{
    if (v->kind == MG_V_STRING)
        return v->text;
    return v->kind == MG_V_BOOL || v->kind == MG_V_NUMBER ? mg_value_json(v, a) : mg_str(NULL, 0);
}

/* Every scalar of a checked table, as text. */
static int pairs_of(const struct mg_value *table, struct mg_arena *a, const struct mg_pair **out, size_t *n)
{
    struct mg_pair *pairs = mg_arena_zalloc(a, (table->members_n + 1) * sizeof(*pairs));

    *n = 0;
    *out = pairs;
    for (size_t i = 0; pairs && i < table->members_n; i++) {
        struct mg_str text = scalar_text(table->members[i].value, a);

        if (text.p)
            pairs[(*n)++] = (struct mg_pair){ table->members[i].key, text };
    }
    return pairs ? 0 : MG_ENOMEM;
}

struct prepared { void (*release)(void *conf); void *conf; };

static void release(void *arg)
{
    struct prepared *p = arg;

    p->release(p->conf);
}

static int prepare(struct mg_making *m, const struct mg_credential_kind *kind, void *conf, const struct mg_value *at)
{
    struct mg_error err = { 0 };
    struct prepared *p;

    if (kind->prepare && kind->prepare(conf, m->config->folder.p, &err) != 0) {
        mg_check_add(&m->check, at, "%s", err.message);
        return 0;
    }
    if (!kind->release)
        return 0;
    p = mg_arena_alloc(mg_making_arena(m), sizeof(*p));
    if (p) {
        *p = (struct prepared){ kind->release, conf };
        if (mg_arena_defer(mg_making_arena(m), release, p) == 0)
            return 0;
    }
    kind->release(conf);
    return MG_ENOMEM;
}

/* The id: given, or the first digits of the key's digest, which tell two keys apart and give neither away. */
static int set_id(struct mg_making *m, struct mg_credential *c, const struct mg_value *v)
{
    const struct mg_value *id = mg_value_get(v, "id");
    struct mg_str digest, hex;

    if (id && id->kind == MG_V_STRING && id->text.n) {
        c->id = id->text;
        return 0;
    }
    if (mg_digest("sha256", c->key.p, c->key.n, &digest) != 0)
        return MG_ENOMEM;
    if (mg_hex_encode(digest.p, 5, &hex) != 0)
        return MG_ENOMEM;
    c->id = mg_arena_copy(mg_making_arena(m), hex.p, hex.n);
    return c->id.p ? 0 : MG_ENOMEM;
}

static int credential(struct mg_making *m, const struct kind *k, struct mg_str consumer, const struct mg_value *v)
{
    struct mg_arena *a = mg_making_arena(m);
    const struct mg_value *key = mg_value_get(v, k->kind->key);
    struct mg_credential *c = mg_arena_zalloc(a, sizeof(*c));
    struct mg_error err = { 0 };
    int rc;

    if (!c)
        return MG_ENOMEM;
    c->kind = mg_arena_copy(a, k->kind->kind, strlen(k->kind->kind)); /* a script's plugin may go before we do */
    if (!c->kind.p)
        return MG_ENOMEM;
    c->key = key ? scalar_text(key, a) : mg_str(NULL, 0);
    if (c->key.n == 0) {
        mg_check_add_key(&m->check, v, k->kind->key, "required: it finds the credential");
        return 0;
    }
    if (set_id(m, c, v) != 0 || pairs_of(v, a, &c->fields, &c->fields_n) != 0)
        return MG_ENOMEM;
    if (!mg_script_is_lua(k->plugin)) {
        void *conf = mg_arena_zalloc(a, k->kind->conf_bytes ? k->kind->conf_bytes : 1);

        if (!conf || mg_fields_fill(k->kind->fields, k->plugin->field_bytes, v, conf, a) != 0 || prepare(m, k->kind, conf, v) != 0)
            return MG_ENOMEM;
        c->conf = conf;
    }
    rc = mg_consumers_add_credential(m->s->consumers, consumer, c, &err);
    if (rc == MG_ENOMEM)
        return rc;
    if (rc != 0)
        mg_check_add(&m->check, v, "%s", err.message);
    return 0;
}

/* keys = { "k-1", { "k-2", id = "laptop" } } */
static int credentials(struct mg_making *m, const struct kind *k, struct mg_str consumer, struct mg_value *list, struct mg_value *node)
{
    struct mg_field item = { .type = MG_TABLE, .fields = k->kind->fields };
    struct mg_field field[2] = { { .name = k->kind->kind, .type = MG_LIST, .item = &item, .item_bytes = 1, .single = true }, { 0 } };
    struct mg_value *holder = mg_value_new(mg_making_arena(m), MG_V_TABLE);
    char suffix[96];
    size_t before = m->check.n;

    if (!holder || mg_value_put(holder, list->key, list, mg_making_arena(m)) != 0)
        return MG_ENOMEM;
    list->parent = node; /* for paths in messages */
    snprintf(suffix, sizeof(suffix), " (plugin %s)", k->plugin->name);
    m->check.suffix = suffix;
    m->check.is_secret = true;
    m->check.no_defaults = !mg_script_is_lua(k->plugin);
    /* The plugin's stride: item and list are ours, and as long as it is at most what we know they are read alike. */
    if (k->plugin->field_bytes == sizeof(struct mg_field)) {
        mg_fields_check(&m->check, field, sizeof(struct mg_field), holder, 0);
    } else {
        if (list->kind != MG_V_TABLE)
            mg_check_add(&m->check, list, "expected a list of tables (the plugin was built for another version of plugin.h)");
        for (size_t i = 0; list->kind == MG_V_TABLE && i < list->items_n; i++)
            mg_fields_check(&m->check, k->kind->fields, k->plugin->field_bytes, list->items[i], 0);
    }
    m->check.no_defaults = true;
    m->check.is_secret = false;
    m->check.suffix = NULL;
    for (size_t i = 0; m->check.n == before && i < list->items_n; i++)
        if (credential(m, k, consumer, list->items[i]) != 0)
            return MG_ENOMEM;
    return 0;
}

/* ---- one consumer ---- */

static int metadata(struct mg_making *m, struct mg_consumer *c, const struct mg_value *v)
{
    if (!v)
        return 0;
    if (v->kind != MG_V_TABLE || v->items_n) {
        mg_check_add(&m->check, v, "expected a table of names and values");
        return 0;
    }
    for (size_t i = 0; i < v->members_n; i++)
        if (v->members[i].value->kind == MG_V_TABLE || v->members[i].value->kind == MG_V_FUNCTION)
            mg_check_add(&m->check, v->members[i].value, "expected text, a number or a boolean; found %s",
                         mg_value_kind_name(v->members[i].value));
    return pairs_of(v, mg_making_arena(m), &c->metadata, &c->metadata_n);
}

static int consumer(struct mg_making *m, struct kinds *k, struct mg_str name, struct mg_value *node)
{
    struct mg_arena *a = mg_making_arena(m);
    struct mg_value *groups, *holder = mg_value_new(a, MG_V_TABLE);
    struct mg_consumer c = { .name = name };
    struct mg_array list = { 0 };

    if (node->kind != MG_V_TABLE) {
        mg_check_add(&m->check, node, "expected a table; found %s", mg_value_kind_name(node));
        return 0;
    }
    for (size_t i = 0; i < node->items_n; i++)
        mg_check_add(&m->check, node->items[i], "expected a name = value, found an item without name");
    groups = mg_value_get(node, "groups");
    if (!holder || (groups && mg_value_put(holder, groups->key, groups, a) != 0))
        return MG_ENOMEM;
    holder->parent = node;
    holder->key = mg_str("", 0);
    if (mg_fields_check(&m->check, mg_schema_groups, sizeof(struct mg_field), holder, 0) == 0 &&
        mg_fields_fill(mg_schema_groups, sizeof(struct mg_field), holder, &list, a) != 0)
        return MG_ENOMEM;
    c.groups = list.items;
    c.groups_n = list.n;
    if (metadata(m, &c, mg_value_get(node, "metadata")) != 0 || mg_consumers_add(m->s->consumers, &c) == MG_ENOMEM)
        return MG_ENOMEM;
    for (size_t i = 0; i < node->members_n; i++) {
        struct mg_member *member = &node->members[i];
        const struct kind *kind;

        if (mg_str_eq(member->key, MG_STR("groups")) || mg_str_eq(member->key, MG_STR("metadata")))
            continue;
        kind = find_kind(k, member->key);
        if (!kind)
            unknown_key(k, member);
        else if (credentials(m, kind, name, member->value, node) != 0)
            return MG_ENOMEM;
    }
    return 0;
}

/* Is the field that finds a credential of this kind a secret? */
static bool is_open(const struct kind *k)
{
    size_t stride = k->plugin->field_bytes ? k->plugin->field_bytes : sizeof(struct mg_field);
    const char *at = (const char *)k->kind->fields;

    for (const struct mg_field *f; at && (f = (const struct mg_field *)at)->name; at += stride)
        if (strcmp(f->name, k->kind->key) == 0)
            return !f->secret;
    return false;
}

int mg_make_consumers(struct mg_making *m, const struct mg_value *map)
{
    struct kinds kinds = { .m = m };

    m->s->consumers = mg_consumers_new(mg_making_arena(m));
    if (!m->s->consumers)
        return MG_ENOMEM;
    for (size_t i = 0; i < m->s->all_entries_n; i++)
        add_kind(&kinds, m->s->all_entries[i]->plugin);
    for (size_t i = 0; map && map->kind == MG_V_TABLE && i < map->members_n; i++)
        if (consumer(m, &kinds, map->members[i].key, map->members[i].value) != 0)
            return MG_ENOMEM;
    for (size_t i = 0; i < kinds.n; i++)
        if (is_open(&kinds.list[i]) && mg_consumers_open_kind(m->s->consumers, mg_str_c(kinds.list[i].kind->kind)) != 0)
            return MG_ENOMEM;
    return mg_consumers_seal(m->s->consumers);
}
