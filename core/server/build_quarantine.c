/* build_quarantine.c - who an entry is, for blame, and what stands in its place while it is out.
 *
 * Its digest is that of the plugin's file (a script's own, and the modules beside the config), and of the entry's config; where
 * functions of the config take part, of all that was read. */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/log.h"
#include "config/vm.h"
#include "exchange/account.h"
#include "pdk/problem.h"
#include "plugin/library.h"
#include "server/build_parts.h"
#include "server/crash.h"

/* ---- digests ---- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3ull; /* FNV-1a */
    return (h ^ n) * 0x100000001b3ull;
}

static bool has_function(const struct mg_value *v)
{
    if (v->kind == MG_V_FUNCTION)
        return true;
    for (size_t i = 0; v->kind == MG_V_TABLE && i < v->items_n; i++)
        if (has_function(v->items[i]))
            return true;
    for (size_t i = 0; v->kind == MG_V_TABLE && i < v->members_n; i++)
        if (has_function(v->members[i].value))
            return true;
    return false;
}

static bool is_module(struct mg_str name)
{
    return name.n && !mg_str_starts(name, MG_STR("plugin:")) && !mg_str_starts(name, MG_STR(MG_DATA_PREFIX));
}

static uint64_t mix_sources(uint64_t h, const struct mg_sources *s, bool main_too)
{
    const struct mg_source_file *f;

    for (size_t i = 0; (f = mg_sources_at(s, i)); i++)
        if (is_module(f->name) || (main_too && f->name.n == 0))
            h = mix(h, f->bytes.p, f->bytes.n);
    return h;
}

static void make_digests(struct mg_making *m, struct mg_chain_entry *e, const struct mg_value *conf, bool is_inline)
{
    uint64_t h = 0xcbf29ce484222325ull;
    bool is_lua = mg_script_is_lua(e->plugin);
    struct mg_str text = mg_value_json(conf, mg_making_arena(m));

    if (is_lua && !is_inline) {
        struct mg_str source = mg_script_source(e->plugin);

        h = mix_sources(mix(h, source.p, source.n), m->config->sources, false);
    } else if (!is_inline) {
        h = mg_library_digest(e->plugin);
    }
    e->file_digest = h;
    h = mix(h, text.p, text.n);
    if (is_inline || e->when >= 0 || has_function(conf))
        h = mix_sources(h, m->config->sources, true);
    e->digest = h;
}

/* ---- in its place ---- */

static enum mg_verdict refuse(struct mg_x *h, void *self, void *local)
{
    static const char detail[] = "A policy of this route is out of service.";
    struct mg_exchange *x = mg_handle(h);

    (void)self;
    (void)local;
    if (!x || mg_respond_error(h, 503, detail, sizeof detail - 1) != 0)
        return MG_ERROR;
    x->failure = "plugin_quarantined";
    (void)mg_header_set(h, MG_RESPONSE, "x-moongate-error", 16, "plugin_quarantined", 18);
    return MG_RESPOND;
}

/* Facts are checked as if it were there. */
static int stand_in(struct mg_making *m, struct mg_chain_entry *e, const struct mg_value *conf)
{
    const struct mg_plugin *real = e->plugin;
    struct mg_plugin *p = mg_arena_zalloc(mg_making_arena(m), sizeof *p);
    void *filled = mg_arena_zalloc(mg_making_arena(m), real->conf_bytes ? real->conf_bytes : 1);

    if (!p || !filled || (real->fields && mg_fields_fill(real->fields, real->field_bytes, conf, filled, mg_making_arena(m)) != 0))
        return MG_ENOMEM;
    *p = (struct mg_plugin){ .abi = MG_PLUGIN_ABI, .size = sizeof *p, .name = real->name, .version = real->version, .doc = real->doc,
                             .field_bytes = sizeof(struct mg_field), .provides = mg_plugin_provides(real, filled) };
    if (!e->continue_on_error && !e->observe)
        p->on_request = refuse;
    e->plugin = p;
    e->is_out = true;
    return 0;
}

static void tell(const struct mg_chain_entry *e, const struct mg_suspect *s)
{
    mg_log_text_c("entry", e->info.id);
    mg_log_text_c("route", e->info.route.n ? e->info.route : MG_STR("(the global chain)"));
    mg_log_number_c("crashes", (double)s->crashes);
    mg_log_text_c("last", mg_str_c(s->blame.cause));
    mg_logf(MG_LOG_ERROR, !e->plugin->on_request ? "quarantine: plugin %s is passed over" : "quarantine: plugin %s is out: its requests are answered 503",
            e->plugin->name);
}

/* It has changed: the supervisor must know too. */
static void tell_released(struct mg_making *m, const char *plugin, const struct mg_blame *b)
{
    struct mg_word word = { .note = MG_NOTE_RELEASED, .blame = *b };

    mg_logf(MG_LOG_INFO, "quarantine: plugin %s has changed, and is let in again", plugin);
    if (m->b->binder)
        mg_binder_tell(m->b->binder, &word);
}

/* ---- plugins that crash while they are loaded ---- */

static const char unloadable[] = "Crashes while it is loaded.";

/* Of files that it may lie in, before anything of them runs. */
static uint64_t stat_digest(const struct mg_registry *r, struct mg_str name)
{
    static const char *const forms[] = { "%.*s/%.*s.so", "%.*s/%.*s.lua", "%.*s/%.*s/handler.lua", "%.*s/kong/plugins/%.*s/handler.lua" };
    struct mg_str bare = mg_str_starts(name, MG_STR("kong:")) ? mg_str(name.p + 5, name.n - 5) : name;
    uint64_t h = 0xcbf29ce484222325ull;
    char path[PATH_MAX];
    struct stat st;

    for (size_t i = 0; i < mg_registry_folders(r); i++)
        for (size_t k = 0; k < sizeof forms / sizeof forms[0]; k++) {
            struct mg_str folder = mg_registry_folder(r, i);
            int n = snprintf(path, sizeof path, forms[k], (int)folder.n, folder.p, (int)bare.n, bare.p);

            if (n < 0 || n >= (int)sizeof path || stat(path, &st) != 0)
                continue;
            h = mix(h, path, (size_t)n);
            h = mix(h, &st.st_ino, sizeof st.st_ino);
            h = mix(h, &st.st_size, sizeof st.st_size);
            h = mix(h, &st.st_mtim.tv_sec, sizeof st.st_mtim.tv_sec);
            h = mix(h, &st.st_mtim.tv_nsec, sizeof st.st_mtim.tv_nsec);
        }
    return h;
}

int mg_make_load(struct mg_making *m, struct mg_str name, const struct mg_plugin **out)
{
    struct mg_quarantine *q = m->b ? m->b->quarantine : NULL;
    struct mg_arena *a = mg_making_arena(m);
    struct mg_blame who = { .phase = "" };
    struct mg_chain_entry *e;
    struct mg_plugin *p;
    struct mg_suspect found;
    bool released;

    *out = NULL;
    if (!q)
        return 0;
    e = mg_arena_zalloc(a, sizeof *e);
    p = mg_arena_zalloc(a, sizeof *p);
    if (!e || !p)
        return MG_ENOMEM;
    *p = (struct mg_plugin){ .abi = MG_PLUGIN_ABI, .size = sizeof *p, .name = mg_arena_copy(a, name.p, name.n).p, .version = "0", .doc = unloadable,
                             .field_bytes = sizeof(struct mg_field), .on_request = refuse };
    if (!p->name)
        return MG_ENOMEM;
    e->plugin = p;
    e->info.id = MG_STR(MG_BLAME_LOAD);
    e->digest = e->file_digest = stat_digest(m->s->registry, name);
    mg_blame_entry(e, &who);
    if (mg_quarantine_find(q, &who, &found, &released)) {
        *out = p;
        return 0;
    }
    if (released)
        tell_released(m, p->name, &found.blame);
    mg_calling = (struct mg_calling){ e, MG_AT_LOAD };
    return 0;
}

void mg_make_loaded(void) { mg_calling = (struct mg_calling){ NULL, 0 }; }

bool mg_make_is_unloadable(const struct mg_plugin *p) { return p->doc == unloadable; }

int mg_make_unloadable(struct mg_making *m, struct mg_chain_entry *e)
{
    struct mg_plugin *p = mg_arena_zalloc(mg_making_arena(m), sizeof *p);

    if (!p)
        return MG_ENOMEM;
    *p = *e->plugin;
    if (e->continue_on_error || e->observe)
        p->on_request = NULL;
    e->plugin = p;
    e->is_out = true;
    e->account = mg_account_row(mg_str_c(p->name), e->info.id, e->info.route);
    mg_log_text_c("entry", e->info.id);
    mg_log_text_c("route", e->info.route.n ? e->info.route : MG_STR("(the global chain)"));
    mg_logf(MG_LOG_ERROR, p->on_request ? "quarantine: plugin %s crashes while it is loaded: its requests are answered 503"
                                        : "quarantine: plugin %s crashes while it is loaded: it is passed over", p->name);
    return 0;
}

/* ---- an entry ---- */

int mg_make_quarantine(struct mg_making *m, struct mg_chain_entry *e, const struct mg_value *conf, bool is_inline)
{
    struct mg_quarantine *q = m->b ? m->b->quarantine : NULL;
    struct mg_blame who;
    struct mg_suspect found;
    bool is_out, released;

    make_digests(m, e, conf, is_inline);
    e->is_confined = mg_script_is_confined(e->plugin);
    e->account = mg_account_row(mg_str_c(e->plugin->name), e->info.id, e->info.route);
    if (!q)
        return 0;
    mg_blame_entry(e, &who);
    is_out = mg_quarantine_find(q, &who, &found, &released);
    if (is_out) {
        if (stand_in(m, e, conf) != 0)
            return MG_ENOMEM;
        tell(e, &found);
        return 0;
    }
    if (released)
        tell_released(m, e->plugin->name, &found.blame);
    return 0;
}
