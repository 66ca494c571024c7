/* redis_options.c - a client's options: checked, made once for each set of them, shared by all who name the same. */
#include "service/redis_parts.h"
#include "base/alloc.h"
#include "config/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_map table;          /* key -> struct mg_redis */

enum { OPTIONS_MAX = 64, OPTION_BYTES_MAX = 16384 };
static const char *const names[] = { "url", "host", "port", "user", "password", "db", "name", "sentinels", "master",
    "sentinel_user", "sentinel_password", "cluster", "tls", "ca", "verify", "cert", "key", "server_name", "connect_timeout",
    "timeout", "keepalive", "connections", "shared", "queue", "queue_bytes", "reply_max", "redirects", "messages",
    "messages_bytes" };
enum { NAMES_N = sizeof names / sizeof names[0] };

struct option { struct mg_str name, value; };
struct making {
    struct mg_redis *r;
    struct option at[OPTIONS_MAX];
    int n;
    bool is_tls;
    struct mg_error *err;
};

static struct mg_str option(const struct making *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (mg_str_eq(m->at[i].name, mg_str_c(name)))
            return m->at[i].value;
    return mg_str(NULL, 0);
}

static bool has(const struct making *m, const char *name) { return option(m, name).p != NULL; }

static int wrong(const struct making *m, const char *name, const char *expected)
{
    return mg_fail(m->err, MG_ECONF, "redis: %s: %s expected", name, expected);
}

static int keep(struct making *m, struct mg_str value, struct mg_str *out)
{
    *out = mg_arena_copy(&m->r->arena, value.p, value.n);
    return out->p ? 0 : mg_fail(m->err, MG_ENOMEM, "redis: out of memory");
}

/* ---- addresses ---- */

static int host_add(struct making *m, struct mg_str host, int port, const char *what)
{
    struct mg_redis *r = m->r;
    struct mg_redis_host *h = &r->hosts[r->hosts_n];

    if (r->hosts_n == MG_REDIS_HOSTS_MAX)
        return mg_fail(m->err, MG_ECONF, "redis: %s: at most %d", what, MG_REDIS_HOSTS_MAX);
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = mg_str(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= sizeof h->name || memchr(host.p, 0, host.n))
        return wrong(m, what, "a host");
    if (port == 0 && host.n >= sizeof ((struct sockaddr_un *)NULL)->sun_path)
        return mg_fail(m->err, MG_ECONF, "redis: %s: the path of a Unix socket has at most %zu bytes", what,
                       sizeof ((struct sockaddr_un *)NULL)->sun_path - 1);
    memcpy(h->name, host.p, host.n);
    h->name[host.n] = 0;
    h->port = port;
    r->hosts_n++;
    return 0;
}

/* "host", "host:port", "[::1]:port". */
static int host_parse(struct making *m, struct mg_str s, int preset, const char *what)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    const char *bracket = s.n ? memrchr(s.p, ']', s.n) : NULL;
    uint64_t port = (uint64_t)preset;

    if (colon && (!bracket || colon > bracket) && (bracket || memchr(s.p, ':', s.n) == colon)) {
        if (!mg_str_u64(mg_str(colon + 1, (size_t)(s.p + s.n - colon - 1)), 65535, &port) || port == 0)
            return wrong(m, what, "host:port with a port from 1 to 65535");
        s.n = (size_t)(colon - s.p);
    }
    return host_add(m, s, (int)port, what);
}

static int host_list(struct making *m, const char *name, int preset)
{
    struct mg_str rest = option(m, name), item;

    while (mg_str_next(&rest, ',', &item)) {
        int rc = host_parse(m, item, preset, name);

        if (rc)
            return rc;
    }
    return m->r->hosts_n ? 0 : wrong(m, name, "a list of host:port");
}

static int decoded(struct making *m, struct mg_str s, struct mg_str *out)
{
    struct mg_str plain;
    int rc = mg_url_decode(s.p, s.n, &plain);

    return rc < 0 ? wrong(m, "url", "well-formed percent escapes") : keep(m, plain, out);
}

static int parse_login(struct making *m, struct mg_str s)
{
    const char *colon = memchr(s.p, ':', s.n);
    int rc;

    if (!colon) /* redis://password@… is what some write; the registered form has user:password */
        return decoded(m, s, &m->r->login.user);
    rc = decoded(m, mg_str(s.p, (size_t)(colon - s.p)), &m->r->login.user);
    return rc ? rc : decoded(m, mg_str(colon + 1, (size_t)(s.p + s.n - colon - 1)), &m->r->login.password);
}

static int parse_db(struct making *m, struct mg_str s, const char *name)
{
    uint64_t db;

    if (!mg_str_u64(s, 1000000, &db))
        return wrong(m, name, "the number of a database");
    m->r->db = (int)db;
    return 0;
}

/* redis://[user:password@]host[:port][/db], rediss://…, unix:/path, unix:///path. */
static int parse_url(struct making *m, struct mg_str s)
{
    const char *at, *slash;
    int rc;

    if (mg_str_starts(s, MG_STR("unix:"))) {
        s = mg_str(s.p + 5, s.n - 5);
        if (mg_str_starts(s, MG_STR("//")))
            s = mg_str(s.p + 2, s.n - 2);
        return s.n && s.p[0] == '/' ? host_add(m, s, 0, "url") : wrong(m, "url", "unix: with an absolute path");
    }
    if (mg_str_starts(s, MG_STR("rediss://")))
        m->is_tls = true;
    else if (!mg_str_starts(s, MG_STR("redis://")))
        return wrong(m, "url", "redis://, rediss:// or unix:");
    s = mg_str(s.p + (m->is_tls ? 9 : 8), s.n - (m->is_tls ? 9 : 8));
    at = s.n ? memrchr(s.p, '@', s.n) : NULL;
    if (at) {
        rc = parse_login(m, mg_str(s.p, (size_t)(at - s.p)));
        if (rc)
            return rc;
        s = mg_str(at + 1, (size_t)(s.p + s.n - at - 1));
    }
    slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    if (slash) {
        struct mg_str db = mg_str(slash + 1, (size_t)(s.p + s.n - slash - 1));

        rc = db.n ? parse_db(m, db, "url") : 0;
        if (rc)
            return rc;
        s.n = (size_t)(slash - s.p);
    }
    return host_parse(m, s.n ? s : MG_STR("127.0.0.1"), 6379, "url");
}

static int set_hosts(struct making *m)
{
    int given = has(m, "url") + has(m, "host") + has(m, "sentinels") + has(m, "cluster");
    struct mg_str port = option(m, "port");
    uint64_t n = 6379;

    if (given != 1)
        return mg_fail(m->err, MG_ECONF, "redis: one of url, host, sentinels and cluster says where it is");
    if (port.p && (!has(m, "host") || !mg_str_u64(port, 65535, &n) || n == 0))
        return wrong(m, "port", "with `host`, a port from 1 to 65535");
    if (has(m, "master") != has(m, "sentinels"))
        return mg_fail(m->err, MG_ECONF, "redis: sentinels and master go together");
    if (has(m, "url"))
        return parse_url(m, option(m, "url"));
    if (has(m, "host"))
        return host_add(m, option(m, "host"), (int)n, "host");
    m->r->mode = has(m, "cluster") ? MG_REDIS_CLUSTER : MG_REDIS_SENTINEL;
    if (m->r->mode == MG_REDIS_CLUSTER)
        return host_list(m, "cluster", 6379);
    return keep(m, option(m, "master"), &m->r->master) ? MG_ENOMEM : host_list(m, "sentinels", 26379);
}

/* ---- the rest ---- */

static int set_text(struct making *m, const char *name, struct mg_str *out)
{
    struct mg_str s = option(m, name);

    return s.p ? keep(m, s, out) : 0;
}

static int set_path(struct making *m, const char *name, struct mg_str *out)
{
    struct mg_str s = option(m, name);

    if (s.p && (s.n == 0 || s.p[0] != '/' || memchr(s.p, 0, s.n)))
        return wrong(m, name, "an absolute path");
    return set_text(m, name, out);
}

static int set_ms(struct making *m, const char *name, int64_t preset, int64_t *out)
{
    struct mg_str s = option(m, name);
    uint64_t n;

    *out = preset;
    if (!s.p)
        return 0;
    if (mg_str_u64(s, 86400000, &n))
        *out = (int64_t)n;
    else if (!mg_duration_parse(s, out))
        return wrong(m, name, "milliseconds or \"250ms\", \"5s\", \"1m\"");
    return *out > 0 && *out <= 86400000 ? 0 : wrong(m, name, "more than nothing and at most a day");
}

static int set_number(struct making *m, const char *name, int64_t preset, int64_t min, int64_t max, int64_t *out)
{
    struct mg_str s = option(m, name);
    char range[80];

    *out = preset;
    if (!s.p || (mg_size_parse(s, out) && *out >= min && *out <= max))
        return 0;
    snprintf(range, sizeof range, "a number from %lld to %lld", (long long)min, (long long)max);
    return wrong(m, name, range);
}

static int set_bool(struct making *m, const char *name, bool *out)
{
    struct mg_str s = option(m, name);

    if (mg_str_eq(s, MG_STR("true")) || mg_str_eq(s, MG_STR("on")))
        *out = true;
    else if (mg_str_eq(s, MG_STR("false")) || mg_str_eq(s, MG_STR("off")))
        *out = false;
    else if (s.p)
        return wrong(m, name, "true or false");
    return 0;
}

static int set_tls(struct making *m)
{
    struct mg_tls_client_conf conf = { .verify = true, .min_version = 12 };
    static const char *const of_tls[] = { "ca", "cert", "key", "verify", "server_name" };
    int rc;

    if (has(m, "tls") && (rc = set_bool(m, "tls", &m->is_tls)) != 0)
        return rc;
    for (size_t i = 0; i < sizeof of_tls / sizeof of_tls[0]; i++)
        if (has(m, of_tls[i]) && !m->is_tls)
            return mg_fail(m->err, MG_ECONF, "redis: %s is for TLS: rediss:// or tls = true", of_tls[i]);
    if (!m->is_tls)
        return 0;
    if (m->r->hosts[0].port == 0)
        return mg_fail(m->err, MG_ECONF, "redis: no TLS on a Unix socket");
    if (has(m, "cert") != has(m, "key"))
        return mg_fail(m->err, MG_ECONF, "redis: cert and key go together");
    if ((rc = set_path(m, "ca", &conf.ca)) || (rc = set_path(m, "cert", &conf.cert)) || (rc = set_path(m, "key", &conf.key)) ||
        (rc = set_bool(m, "verify", &conf.verify)) || (rc = set_text(m, "server_name", &m->r->server_name)))
        return rc;
    conf.server_name = m->r->server_name;
    m->r->tls = mg_tls_client_new(&conf, m->err);
    return m->r->tls ? 0 : m->err->code;
}

static int set_login(struct making *m)
{
    struct mg_redis *r = m->r;
    int rc;

    if ((rc = set_text(m, "user", &r->login.user)) || (rc = set_text(m, "password", &r->login.password)) ||
        (rc = set_text(m, "sentinel_user", &r->sentinel_login.user)) ||
        (rc = set_text(m, "sentinel_password", &r->sentinel_login.password)) || (rc = set_text(m, "name", &r->name)))
        return rc;
    if ((r->login.user.n && !r->login.password.n) || (r->sentinel_login.user.n && !r->sentinel_login.password.n))
        return mg_fail(m->err, MG_ECONF, "redis: a user needs a password (redis://:password@host has the default user)");
    if (r->sentinel_login.password.n && r->mode != MG_REDIS_SENTINEL)
        return mg_fail(m->err, MG_ECONF, "redis: sentinel_password is for sentinels");
    for (size_t i = 0; i < r->name.n; i++)
        if (r->name.p[i] <= ' ' || r->name.p[i] > '~')
            return wrong(m, "name", "visible ASCII characters");
    return 0;
}

static int set_all(struct making *m)
{
    struct mg_redis *r = m->r;
    int rc;

    if ((rc = set_hosts(m)) || (rc = set_login(m)) || (rc = has(m, "db") ? parse_db(m, option(m, "db"), "db") : 0) ||
        (rc = set_tls(m)) || (rc = set_ms(m, "connect_timeout", 1000, &r->connect_ms)) ||
        (rc = set_ms(m, "timeout", 2000, &r->timeout_ms)) || (rc = set_ms(m, "keepalive", 60000, &r->keepalive_ms)) ||
        (rc = set_number(m, "connections", 64, 1, 10000, &r->connections)) ||
        (rc = set_number(m, "shared", 2, 1, MG_REDIS_SHARED_MAX, &r->shared)) ||
        (rc = set_number(m, "queue", 10000, 1, 1000000, &r->queue)) ||
        (rc = set_number(m, "queue_bytes", 64 << 20, 1024, (int64_t)4 << 30, &r->queue_bytes)) ||
        (rc = set_number(m, "reply_max", 16 << 20, 1024, (int64_t)1 << 30, &r->reply_max)) ||
        (rc = set_number(m, "redirects", 5, 0, 16, &r->redirects)) ||
        (rc = set_number(m, "messages", 1000, 1, 1000000, &r->messages)) ||
        (rc = set_number(m, "messages_bytes", 16 << 20, 1024, (int64_t)1 << 30, &r->messages_bytes)))
        return rc;
    if (r->db && r->mode == MG_REDIS_CLUSTER)
        return mg_fail(m->err, MG_ECONF, "redis: a cluster has database 0 only");
    return 0;
}

/* ---- the table ---- */

static int by_name(const void *a, const void *b)
{
    return mg_str_cmp(((const struct option *)a)->name, ((const struct option *)b)->name);
}

static int take_options(struct making *m, const struct mg_str *given, size_t n)
{
    if (n > OPTIONS_MAX)
        return mg_fail(m->err, MG_ECONF, "redis: too many options");
    for (size_t i = 0; i < n; i++) {
        struct option o = { given[2 * i], given[2 * i + 1] };
        size_t k = 0;

        while (k < NAMES_N && !mg_str_eq(o.name, mg_str_c(names[k])))
            k++;
        if (k == NAMES_N) {
            const char *near = mg_str_nearest(o.name, names, NAMES_N);

            return mg_fail(m->err, MG_ECONF, near ? "redis: unknown option %.*s; did you mean \"%s\"?" : "redis: unknown option %.*s",
                           (int)(o.name.n < 64 ? o.name.n : 64), o.name.p, near);
        }
        if (has(m, names[k]))
            return mg_fail(m->err, MG_ECONF, "redis: %s is there twice", names[k]);
        if (o.value.n > OPTION_BYTES_MAX || (o.value.n == 0 && k != 4))
            return wrong(m, names[k], "a value");
        if (!o.value.p)
            o.value.p = "";
        m->at[m->n++] = o;
    }
    qsort(m->at, (size_t)m->n, sizeof m->at[0], by_name);
    return 0;
}

static bool is_file(struct mg_str name)
{
    return mg_str_eq(name, MG_STR("ca")) || mg_str_eq(name, MG_STR("cert")) || mg_str_eq(name, MG_STR("key"));
}

/* Files that have changed since make another client. */
static int key_of(const struct making *m, char **out, size_t *out_n)
{
    FILE *f = open_memstream(out, out_n);

    if (!f)
        return MG_ENOMEM;
    for (int i = 0; i < m->n; i++) {
        const struct option *o = &m->at[i];
        struct stat st;
        char path[4096];

        fprintf(f, "%.*s=%zu:", (int)o->name.n, o->name.p, o->value.n);
        fwrite(o->value.p, 1, o->value.n, f);
        if (is_file(o->name) && o->value.n < sizeof path) {
            memcpy(path, o->value.p, o->value.n);
            path[o->value.n] = 0;
            if (stat(path, &st) == 0)
                fprintf(f, "@%lld.%ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        }
    }
    return fclose(f) == 0 && *out ? 0 : MG_ENOMEM;
}

static void destroy(struct mg_redis *r)
{
    mg_tls_unref(r->tls);
    mg_arena_deinit(&r->arena);
    free((char *)r->key.p);
    mg_free(r);
}

static struct mg_redis *make(struct making *m, struct mg_str key)
{
    struct mg_redis *r = mg_calloc(1, sizeof *r);

    if (!r) {
        free((char *)key.p);
        mg_fail(m->err, MG_ENOMEM, "redis: out of memory");
        return NULL;
    }
    r->key = key;
    r->refs = r->opened = 1;
    mg_arena_init(&r->arena, NULL, 1 << 20);
    m->r = r;
    if (set_all(m) == 0 && mg_map_put(&table, r->key, r, NULL) == 0)
        return r;
    if (!m->err->code)
        mg_fail(m->err, MG_ENOMEM, "redis: out of memory");
    destroy(r);
    return NULL;
}

static struct mg_redis *open_with(const struct mg_str *options, size_t n, struct mg_error *err)
{
    struct making m = { .err = err };
    struct mg_redis *r;
    struct mg_str key = { NULL, 0 };

    if (take_options(&m, options, n) != 0)
        return NULL;
    if (key_of(&m, (char **)&key.p, &key.n) != 0) {
        free((char *)key.p);
        mg_fail(err, MG_ENOMEM, "redis: out of memory");
        return NULL;
    }
    pthread_mutex_lock(&lock);
    r = mg_map_get(&table, key);
    if (r) {
        r->refs++;
        r->opened++;
        free((char *)key.p);
    } else {
        r = make(&m, key);
    }
    pthread_mutex_unlock(&lock);
    return r;
}

struct mg_redis *mg_redis_open(const struct mg_str *options, size_t options_n, char *error, size_t error_n)
{
    struct mg_error err = { 0 };
    struct mg_redis *r = open_with(options, options_n, &err);

    if (error && error_n)
        snprintf(error, error_n, "%s", r ? "" : err.message);
    return r;
}

static void release(struct mg_redis *r, bool opened)
{
    bool is_last, was_closed;

    pthread_mutex_lock(&lock);
    r->opened -= opened;
    was_closed = opened && r->opened == 0;
    is_last = --r->refs == 0;
    if (is_last) {
        mg_map_remove(&table, r->key);
        if (table.used == 0)
            mg_map_deinit(&table);
    }
    pthread_mutex_unlock(&lock);
    for (int i = 0; was_closed && i < MG_WORKERS_MAX; i++)
        mg_worker_post_index(i, mg_redis_sweep, NULL);
    if (is_last)
        destroy(r);
}

void mg_redis_all(void (*fn)(void *arg, struct mg_redis *r), void *arg)
{
    struct mg_str key;
    size_t i = 0;
    void *r;

    pthread_mutex_lock(&lock);
    while (mg_map_next(&table, &i, &key, &r))
        fn(arg, r);
    pthread_mutex_unlock(&lock);
}

void mg_redis_ref(struct mg_redis *r)
{
    pthread_mutex_lock(&lock);
    r->refs++;
    pthread_mutex_unlock(&lock);
}

void mg_redis_unref(struct mg_redis *r) { release(r, false); }

bool mg_redis_is_open(struct mg_redis *r)
{
    bool is_open;

    pthread_mutex_lock(&lock);
    is_open = r->opened > 0;
    pthread_mutex_unlock(&lock);
    return is_open;
}

void mg_redis_close(struct mg_redis *r)
{
    if (r)
        release(r, true);
}
