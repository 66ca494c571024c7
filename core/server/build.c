/* build.c - from a config file to a snapshot.
 *
 *   run the config -> check it against the schema -> fill struct mg_conf -> listeners, upstreams, global chain,
 *   routes, consumers -> attach upstreams
 *
 * Mistakes do not stop it: each part is made as far as it makes sense, so that one run tells them all. With any, what was
 * made is freed, the config runs once more to find lines, and nothing else has happened. */
#include "server/build_parts.h"
#include "server/instances.h"
#include "service/store.h"

#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOT_BYTES_MAX ((size_t)4 << 30)

struct mg_arena *mg_making_arena(struct mg_making *m)
{
    return &m->s->arena;
}

struct mg_str mg_making_path(struct mg_making *m, struct mg_str path)
{
    struct mg_str folder = m->config->folder;

    if (path.n == 0 || path.p[0] == '/')
        return mg_arena_copy(mg_making_arena(m), path.p ? path.p : "", path.n);
    return mg_arena_printf(mg_making_arena(m), "%s/%.*s", folder.n == 1 ? "" : folder.p, (int)path.n, path.p);
}

static int cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : n > MG_WORKERS_MAX - 1 ? MG_WORKERS_MAX - 1 : n;
}

/* ---- the parts of the top level ---- */

static int trusted(struct mg_making *m)
{
    const struct mg_value *list = mg_value_get(m->config->root, "trusted_proxies");
    const struct mg_str *texts = m->conf.trusted_proxies.items;
    size_t n = m->conf.trusted_proxies.n;
    struct mg_cidr *out = mg_arena_zalloc(&m->s->arena, (n + 1) * sizeof(*out));

    if (!out)
        return MG_ENOMEM;
    m->s->trusted = out;
    for (size_t i = 0; i < n; i++) {
        if (mg_str_eq(texts[i], MG_STR("unix")))
            m->s->trust_unix = true;
        else if (mg_cidr_parse(texts[i], &out[m->s->trusted_n++]) != 0)
            mg_check_add(&m->check, mg_value_at(list, i), "expected an address, a network such as \"10.0.0.0/8\", or \"unix\"; found \"%.*s\"",
                         (int)texts[i].n, texts[i].p);
    }
    return 0;
}

static void free_template(void *t)
{
    mg_template_free(t);
}

static int errors(struct mg_making *m)
{
    const struct mg_value *node = mg_value_get(m->config->root, "errors");
    const struct mg_value *body = mg_value_get(node, "body");
    char why[256] = "";

    if (!body || body->kind != MG_V_STRING)
        return 0;
    m->s->error_type = m->conf.errors.content_type;
    m->s->error_body = mg_template_new(body->text.p, body->text.n, why, sizeof(why));
    if (!m->s->error_body) {
        mg_check_add(&m->check, body, "%s", why);
        return 0;
    }
    if (mg_arena_defer(&m->s->arena, free_template, m->s->error_body) == 0)
        return 0;
    mg_template_free(m->s->error_body);
    return MG_ENOMEM;
}

static int resolver(struct mg_making *m)
{
    const struct mg_str *servers = m->conf.resolver.servers.items;
    const struct mg_value *list = mg_value_get(mg_value_get(m->config->root, "resolver"), "servers");
    struct mg_str text = MG_STR("");

    for (size_t i = 0; i < m->conf.resolver.servers.n; i++) {
        struct mg_address a;
        struct mg_str host;
        int port;

        if (mg_address_parse(servers[i], 53, &a) != 0 &&
            (!mg_split_host_port(servers[i], &host, &port) || mg_address_parse(host, port, &a) != 0))
            mg_check_add(&m->check, mg_value_at(list, i), "expected an address such as \"10.0.0.2\" or \"10.0.0.2:5353\"; found \"%.*s\"",
                         (int)servers[i].n, servers[i].p);
        text = mg_arena_printf(&m->s->arena, "%.*s%s%.*s", (int)text.n, text.p, i ? "," : "", (int)servers[i].n, servers[i].p);
        if (!text.p)
            return MG_ENOMEM;
    }
    m->s->resolver = (struct mg_resolver_conf){ .servers = text, .timeout_ms = m->conf.resolver.timeout_ms, .tries = (int)m->conf.resolver.tries };
    return 0;
}

static void check_user(struct mg_making *m)
{
    const struct mg_value *root = m->config->root;

    if (m->conf.user.n && !getpwnam(m->conf.user.p))
        mg_check_add(&m->check, mg_value_get(root, "user"), "this machine has no user \"%s\"", m->conf.user.p);
    if (m->conf.group.n && !getgrnam(m->conf.group.p))
        mg_check_add(&m->check, mg_value_get(root, "group"), "this machine has no group \"%s\"", m->conf.group.p);
}

static void check_token(struct mg_making *m, struct mg_str text, const char *key, bool spaces)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < (spaces ? ' ' : '!') || (unsigned char)text.p[i] >= 0x7f || (!spaces && strchr(",()/", text.p[i]))) {
            mg_check_add(&m->check, mg_value_get(m->config->root, key), "expected visible ASCII characters%s", spaces ? "" : " without separators");
            return;
        }
}

/* The names are checked here; the dictionaries are made when the snapshot comes into force. */
static int shared(struct mg_making *m)
{
    const struct mg_value *map = mg_value_get(m->config->root, "shared");
    const struct mg_conf_shared *conf = m->conf.shared.items;
    struct mg_shared_size *sizes = mg_arena_alloc(&m->s->arena, (m->conf.shared.n + 1) * sizeof(*sizes));

    if (!sizes)
        return MG_ENOMEM;
    if (m->conf.shared.n > MG_SHARED_DICTIONARIES_MAX)
        mg_check_add(&m->check, map, "at most %d dictionaries", MG_SHARED_DICTIONARIES_MAX);
    for (size_t i = 0; i < m->conf.shared.n; i++) {
        if (!mg_shared_is_name(conf[i].name))
            mg_check_add(&m->check, mg_value_get(map, conf[i].name.p), "a dictionary's name has 1 to %d visible ASCII characters", MG_SHARED_NAME_MAX);
        sizes[i] = (struct mg_shared_size){ conf[i].name, conf[i].bytes };
    }
    m->s->shared = sizes;
    m->s->shared_n = m->conf.shared.n;
    return 0;
}

/* Bodies that are gathered in files go there. */
static void tmp(struct mg_making *m)
{
    struct stat st;
    const char *wrong = NULL;

    m->s->tmp = m->conf.tmp;
    if (!m->conf.tmp.n)
        return;
    if (stat(m->conf.tmp.p, &st) != 0)
        wrong = strerror(errno);
    else if (!S_ISDIR(st.st_mode))
        wrong = "not a folder";
    else if (access(m->conf.tmp.p, W_OK | X_OK) != 0)
        wrong = "no files can be made there";
    if (wrong)
        mg_check_add(&m->check, mg_value_get(m->config->root, "tmp"), "%s: %s", m->conf.tmp.p, wrong);
}

static void store(struct mg_making *m)
{
    struct mg_error err = { 0 };

    m->s->store_path = m->conf.store;
    if (m->conf.store.n && mg_store_check(m->conf.store.p, &err) != 0)
        mg_check_add(&m->check, mg_value_get(m->config->root, "store"), "%s", err.message);
}

static int top(struct mg_making *m)
{
    struct mg_snapshot *s = m->s;
    const struct mg_conf *c = &m->conf;

    s->workers = m->b->workers ? m->b->workers : c->workers ? (int)c->workers : cpus();
    s->forwarded = c->forwarded; /* the words stand in the order of the flags */
    s->via = c->via;
    s->via10 = mg_arena_printf(&s->arena, "1.0 %.*s", (int)c->via.n, c->via.p);
    s->via11 = mg_arena_printf(&s->arena, "1.1 %.*s", (int)c->via.n, c->via.p);
    s->server_header = c->server;
    s->user = c->user;
    s->group = c->group;
    s->log = (struct mg_log_conf){ .level = c->log.level, .json = c->log.format == 1, .path = c->log.path.n ? c->log.path.p : NULL };
    s->drain_ms = c->drain_ms;
    s->stall_ms = c->stall_ms;
    s->quarantine_crashes = (int)c->quarantine.crashes;
    s->quarantine_window_ms = c->quarantine.window_ms;
    s->tasks.max = c->tasks.max;
    s->tasks.timers = c->tasks.timers;
    s->tasks.memory = c->tasks.memory;
    s->tasks.on_worker = c->tasks.on_worker;
    s->digest = mg_arena_printf(&s->arena, "%016llx", (unsigned long long)m->config->digest);
    m->response_limits = mg_arena_zalloc(&s->arena, sizeof(*m->response_limits));
    if (!s->via10.p || !s->via11.p || !s->digest.p || !m->response_limits)
        return MG_ENOMEM;
    *m->response_limits = (struct mg_h1_limits){ .head_bytes = (uint32_t)c->limits.head, .target_bytes = (uint32_t)c->limits.target,
                                                 .headers_max = (uint32_t)c->limits.headers, .trailer_bytes = (uint32_t)c->limits.trailers };
    check_user(m);
    store(m);
    tmp(m);
    check_token(m, c->via, "via", false);
    check_token(m, c->server, "server", true);
    if (trusted(m) != 0 || errors(m) != 0 || shared(m) != 0 || mg_make_debug(m) != 0)
        return MG_ENOMEM;
    return resolver(m);
}

/* Folders with plugins: the config's, then plugins/ beside it. */
static int registry(struct mg_making *m)
{
    size_t n = m->conf.plugin_path.n;
    struct mg_str *folders = mg_arena_alloc(&m->s->arena, (n + 1) * sizeof(*folders));

    if (!folders)
        return MG_ENOMEM;
    if (n)
        memcpy(folders, m->conf.plugin_path.items, n * sizeof(*folders));
    folders[n] = mg_making_path(m, MG_STR("plugins"));
    if (!folders[n].p)
        return MG_ENOMEM;
    m->s->registry = mg_registry_new(folders, n + 1);
    m->s->script = m->s->registry ? mg_script_new(m->config, (size_t)m->conf.lua.memory) : NULL;
    return m->s->script ? 0 : MG_ENOMEM;
}

static int attach(struct mg_making *m)
{
    struct mg_error err = { 0 };

    for (size_t i = 0; i < m->s->upstreams_n; i++) {
        int rc = mg_upstream_attach(m->s->upstreams[i], &err);

        if (rc == MG_ENOMEM)
            return rc;
        if (rc != 0)
            mg_check_add(&m->check, NULL, "%s", err.message);
    }
    return 0;
}

static int make(struct mg_making *m)
{
    struct mg_chain_entry **global;
    int global_n, rc;

    mg_fields_check(&m->check, mg_schema, sizeof(struct mg_field), m->config->root, 0);
    if (mg_fields_fill(mg_schema, sizeof(struct mg_field), m->config->root, &m->conf, &m->s->arena) != 0)
        return MG_ENOMEM;
    if ((rc = top(m)) != 0 || (rc = registry(m)) != 0 || (rc = mg_make_listeners(m)) != 0 || (rc = mg_make_upstreams(m)) != 0 ||
        (rc = mg_make_global_chain(m, &global, &global_n)) != 0 || (rc = mg_make_routes(m, global, global_n)) != 0 ||
        (rc = mg_make_consumers(m, mg_value_get(m->config->root, "consumers"))) != 0)
        return rc;
    if (!m->uses_lua && m->config->functions_n == 0) {
        mg_script_free(m->s->script);
        m->s->script = NULL;
    }
    return m->check.n ? 0 : attach(m);
}

/* ---- the whole ---- */

void mg_snapshot_free(struct mg_snapshot *s)
{
    if (!s)
        return;
    mg_instances_destroy(s);
    for (size_t i = 0; i < s->upstreams_n; i++) {
        mg_upstream_detach(s->upstreams[i]);
        mg_tls_unref(s->upstreams[i]->tls);
    }
    for (size_t i = 0; i < s->listeners_n; i++)
        mg_tls_unref(s->listeners[i].tls);
    if (s->router)
        mg_router_free((struct mg_router *)s->router);
    if (s->script)
        mg_script_free(s->script);
    mg_registry_free(s->registry);
    mg_store_unref(s->store);
    mg_arena_deinit(&s->arena);
    mg_config_free(s->config);
    free(s);
}

static int tell(struct mg_making *m)
{
    struct mg_arena scratch;
    struct mg_str text;

    mg_config_locate(m->config);
    mg_arena_init(&scratch, NULL, (size_t)1 << 30);
    text = mg_check_text(&m->check, &scratch);
    m->b->mistakes = strndup(text.p ? text.p : "", text.n);
    m->b->mistakes_n = m->check.n;
    mg_arena_deinit(&scratch);
    return m->b->mistakes ? MG_ECONF : MG_ENOMEM;
}

static int tell_one(struct mg_build *b, const struct mg_error *err)
{
    b->mistakes_n = 1;
    if (asprintf(&b->mistakes, "%s\n", err->message) < 0)
        b->mistakes = NULL;
    return err->code == MG_ENOMEM || !b->mistakes ? MG_ENOMEM : MG_ECONF;
}

int mg_snapshot_build(struct mg_build *b)
{
    struct mg_making m = { .b = b };
    struct mg_error err = { 0 };
    const struct mg_source_file *main_file;
    int rc;

    b->snapshot = NULL;
    b->mistakes = NULL;
    b->mistakes_n = 0;
    if (mg_config_load(b->path, &m.config, &err) != 0)
        return tell_one(b, &err);
    m.s = calloc(1, sizeof(*m.s));
    if (!m.s) {
        mg_config_free(m.config);
        return MG_ENOMEM;
    }
    mg_arena_init(&m.s->arena, NULL, SNAPSHOT_BYTES_MAX);
    m.s->config = m.config;
    m.s->number = b->number;
    m.s->slot = b->slot;
    main_file = mg_sources_find(m.config->sources, mg_str("", 0));
    m.check = (struct mg_check){ .arena = &m.config->arena, .folder = m.config->folder, .no_defaults = true };
    m.check.main_file = main_file ? main_file->path : m.config->path;
    rc = make(&m);
    if (rc == 0 && m.check.n)
        rc = tell(&m);
    if (rc == MG_ENOMEM && !b->mistakes) {
        mg_fail(&err, MG_ENOMEM, "%s: out of memory", b->path);
        tell_one(b, &err);
    }
    mg_map_deinit(&m.upstreams);
    mg_map_deinit(&m.route_ids);
    if (rc == 0)
        b->snapshot = m.s;
    else
        mg_snapshot_free(m.s);
    return rc;
}
