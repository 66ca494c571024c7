/* build_upstreams.c - named groups of servers, and those that a route's URL names. */
#include "server/build_parts.h"

#include <stdio.h>
#include <sys/stat.h>

static int add_spec(struct mg_making *m, struct mg_upstream_spec *spec)
{
    struct mg_snapshot *s = m->s;
    size_t n = s->upstreams_n;
    struct mg_upstream_spec **grown = s->upstreams;

    if ((n & (n - 1)) == 0) /* room is a power of two */
        grown = mg_arena_grow(&s->arena, s->upstreams, n * sizeof(struct mg_upstream_spec *), (n ? n * 2 : 1) * sizeof(struct mg_upstream_spec *));
    if (!grown || mg_map_put(&m->upstreams, spec->name, spec, NULL) != 0)
        return MG_ENOMEM;
    s->upstreams = grown;
    s->upstreams[s->upstreams_n++] = spec;
    return 0;
}

/* A file replaced under the same name is another file. */
static void stamp(struct mg_str path, char *buf, size_t n)
{
    struct stat st;

    if (path.n && stat(path.p, &st) == 0)
        snprintf(buf, n, "%s@%lld.%09ld+%lld", path.p, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size);
    else
        snprintf(buf, n, "%s", path.n ? path.p : "");
}

static int client_tls(struct mg_making *m, struct mg_upstream_spec *spec, const struct mg_conf_tls_client *t, const struct mg_value *at)
{
    struct mg_tls_client_conf conf = { .verify = t->verify, .ca = t->ca, .cert = t->cert, .key = t->key,
                                       .min_version = t->min_version ? 13 : 12, .server_name = t->server_name };
    struct mg_error err = { 0 };
    char ca[512], cert[512], key[512];

    spec->is_tls = true;
    if ((t->cert.n > 0) != (t->key.n > 0)) {
        mg_check_add(&m->check, at, "cert and key go together; %s is missing", t->cert.n ? "key" : "cert");
        return 0;
    }
    spec->tls = mg_tls_client_new(&conf, &err);
    if (!spec->tls) {
        mg_check_add(&m->check, at, "%s", err.message);
        return 0;
    }
    stamp(t->ca, ca, sizeof(ca));
    stamp(t->cert, cert, sizeof(cert));
    stamp(t->key, key, sizeof(key));
    spec->tls_digest = mg_arena_printf(mg_making_arena(m), "verify=%d min=%d name=%.*s ca=%s cert=%s key=%s", t->verify, conf.min_version,
                                       (int)t->server_name.n, t->server_name.p ? t->server_name.p : "", ca, cert, key);
    return spec->tls_digest.p ? 0 : MG_ENOMEM;
}

/* tls = true, or a table. */
static int tls(struct mg_making *m, struct mg_upstream_spec *spec, struct mg_value *v)
{
    struct mg_conf_tls_client conf;
    size_t before = m->check.n;

    if (!v || (v->kind == MG_V_BOOL && !v->boolean))
        return 0;
    if (v->kind == MG_V_BOOL) {
        v->kind = MG_V_TABLE;
    } else if (v->kind != MG_V_TABLE) {
        mg_check_add(&m->check, v, "expected true or a table; found %s", mg_value_kind_name(v));
        return 0;
    }
    mg_fields_check(&m->check, mg_schema_tls_client, sizeof(struct mg_field), v, 0);
    memset(&conf, 0, sizeof(conf));
    if (m->check.n != before)
        return 0;
    if (mg_fields_fill(mg_schema_tls_client, sizeof(struct mg_field), v, &conf, mg_making_arena(m)) != 0)
        return MG_ENOMEM;
    return client_tls(m, spec, &conf, v);
}

static bool is_host(struct mg_str host)
{
    for (size_t i = 0; i < host.n; i++) {
        unsigned char c = (unsigned char)host.p[i];

        if (c <= ' ' || c >= 0x7f || strchr("/@?#%\\\"<>^`{|}", c))
            return false;
    }
    return host.n > 0 && host.n < 254;
}

static int target(struct mg_making *m, const struct mg_conf_target *c, const struct mg_value *at, struct mg_target_spec *out)
{
    out->weight = (int)c->weight;
    if (mg_str_starts(c->address, MG_STR("unix:"))) {
        out->unix_path = mg_making_path(m, mg_str(c->address.p + 5, c->address.n - 5));
        if (!out->unix_path.p)
            return MG_ENOMEM;
        if (out->unix_path.n == 0 || out->unix_path.n > 107)
            mg_check_add(&m->check, at, "expected a path of 1 to 107 bytes after \"unix:\"");
        return 0;
    }
    if (c->address.n && (!mg_split_host_port(c->address, &out->host, &out->port) || !is_host(out->host) || out->port == 0))
        mg_check_add(&m->check, at, "expected \"host:port\" or \"unix:PATH\"; found \"%.*s\"", (int)c->address.n, c->address.p);
    return 0;
}

static void set_defaults(struct mg_making *m, struct mg_upstream_spec *spec)
{
    spec->connect_ms = 5000;
    spec->first_byte_ms = spec->idle_ms = spec->keepalive_ms = 60000;
    spec->keepalive_max = 64;
    spec->keepalive_requests = 10000;
    spec->limits = m->response_limits;
    spec->tls_digest = mg_str("", 0);
}

static int named(struct mg_making *m, const struct mg_conf_named_upstream *n, const struct mg_value *node)
{
    struct mg_upstream_spec *spec = mg_arena_zalloc(mg_making_arena(m), sizeof(*spec));
    const struct mg_conf_upstream *c = &n->conf;
    const struct mg_conf_target *targets = c->targets.items;
    struct mg_target_spec *out = mg_arena_zalloc(mg_making_arena(m), (c->targets.n + 1) * sizeof(*out));
    const struct mg_value *list = mg_value_get(node, "targets");

    if (!spec || !out)
        return MG_ENOMEM;
    set_defaults(m, spec);
    spec->name = n->name;
    spec->targets = out;
    spec->targets_n = c->targets.n;
    spec->connect_ms = c->timeouts.connect;
    spec->first_byte_ms = c->timeouts.first_byte;
    spec->idle_ms = c->timeouts.idle;
    spec->keepalive_ms = c->keepalive.idle;
    spec->keepalive_max = (int)c->keepalive.max;
    spec->keepalive_requests = (int)c->keepalive.requests;
    spec->connections_max = (int)c->connections;
    if (memmem(n->name.p, n->name.n, "://", 3))
        mg_check_add(&m->check, node, "a name cannot look like a URL");
    for (size_t i = 0; i < c->targets.n; i++)
        if (target(m, &targets[i], mg_value_at(list, i), &out[i]) != 0)
            return MG_ENOMEM;
    if (add_spec(m, spec) != 0)
        return MG_ENOMEM;
    return tls(m, spec, mg_value_get(node, "tls"));
}

int mg_make_upstreams(struct mg_making *m)
{
    const struct mg_value *map = mg_value_get(m->config->root, "upstreams");
    const struct mg_conf_named_upstream *list = m->conf.upstreams.items;

    for (size_t i = 0; i < m->conf.upstreams.n; i++)
        if (named(m, &list[i], map->members[i].value) != 0)
            return MG_ENOMEM;
    return 0;
}

/* ---- URLs ---- */

/* scheme://host[:port][/path]; nothing else has a meaning here. */
static bool split_url(struct mg_str url, bool *is_tls, struct mg_str *host, int *port, struct mg_str *path)
{
    struct mg_str rest = url;
    const char *slash;

    *is_tls = mg_str_starts(url, MG_STR("https://"));
    if (!*is_tls && !mg_str_starts(url, MG_STR("http://")))
        return false;
    rest = mg_str(url.p + (*is_tls ? 8 : 7), url.n - (*is_tls ? 8 : 7));
    slash = memchr(rest.p, '/', rest.n);
    *path = slash ? mg_str(slash, rest.n - (size_t)(slash - rest.p)) : mg_str("", 0);
    rest.n -= path->n;
    if (memchr(path->p, '?', path->n) || memchr(path->p, '#', path->n))
        return false;
    if (!mg_split_host_port(rest, host, port)) {
        *port = *is_tls ? 443 : 80;
        *host = rest;
        if (rest.n > 2 && rest.p[0] == '[' && rest.p[rest.n - 1] == ']')
            *host = mg_str(rest.p + 1, rest.n - 2);
        else if (memchr(rest.p, ':', rest.n))
            return false;
    }
    return is_host(*host) && *port > 0;
}

static struct mg_upstream_spec *url_spec(struct mg_making *m, struct mg_str name, bool is_tls, struct mg_str host, int port,
                                         const struct mg_value *at)
{
    struct mg_upstream_spec *spec = mg_arena_zalloc(mg_making_arena(m), sizeof(*spec));
    struct mg_target_spec *one = mg_arena_zalloc(mg_making_arena(m), sizeof(*one));
    struct mg_conf_tls_client verify = { .verify = true };

    if (!spec || !one)
        return NULL;
    *one = (struct mg_target_spec){ .host = host, .port = port, .weight = 1 };
    set_defaults(m, spec);
    spec->name = name;
    spec->targets = one;
    spec->targets_n = 1;
    if (is_tls && !m->tls_plain) {
        if (client_tls(m, spec, &verify, at) != 0)
            return NULL;
        m->tls_plain = spec->tls;
    } else if (is_tls) {
        spec->is_tls = true;
        spec->tls = mg_tls_ref(m->tls_plain);
        spec->tls_digest = MG_STR("verify=1");
    }
    if (is_tls)
        spec->tls_digest = MG_STR("verify=1");
    if (add_spec(m, spec) != 0) {
        mg_tls_unref(spec->tls);
        return NULL;
    }
    return spec;
}

struct mg_upstream_spec *mg_make_url_upstream(struct mg_making *m, struct mg_str url, const struct mg_value *at, struct mg_str *base)
{
    struct mg_arena *a = mg_making_arena(m);
    struct mg_str host, path, name;
    struct mg_upstream_spec *spec;
    bool is_tls;
    int port;

    *base = mg_str("", 0);
    if (!split_url(url, &is_tls, &host, &port, &path)) {
        mg_check_add(&m->check, at, "expected http://host[:port][/path] or https://…; found \"%.*s\"", (int)url.n, url.p);
        return NULL;
    }
    if (path.n > 1 && mg_uri_normalise_path(path, a, base) != 0) {
        mg_check_add(&m->check, at, "\"%.*s\" is no path", (int)path.n, path.p);
        return NULL;
    }
    host = mg_arena_copy(a, host.p, host.n);
    name = mg_arena_printf(a, memchr(host.p ? host.p : "", ':', host.n) ? "%s://[%s]:%d" : "%s://%s:%d", is_tls ? "https" : "http",
                           host.p ? host.p : "", port);
    if (!host.p || !name.p)
        return NULL;
    for (size_t i = 0; i < name.n; i++)
        ((char *)name.p)[i] = mg_lower(name.p[i]);
    spec = mg_map_get(&m->upstreams, name);
    return spec ? spec : url_spec(m, name, is_tls, host, port, at);
}
