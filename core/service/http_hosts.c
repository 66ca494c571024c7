/* http_hosts.c - see the header. One lock guards the table; a host's count goes up under it alone, so one that is at 0 under
 * the lock belongs to the table only. */
#include "service/http_hosts.h"
#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

struct mg_http_host {
    struct mg_list node;            /* the one used last is the last */
    struct mg_upstream_spec spec;
    struct mg_target_spec target;
    int refs;                       /* under the lock */
    int64_t used_ms;
    struct mg_str key;              /* origin, newline, digest */
    char bytes[];
};

static const struct mg_h1_limits limits = { .head_bytes = 32768, .target_bytes = 8192, .headers_max = 100, .trailer_bytes = 8192 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER; /* one reads the CAs, the others find what it read */
static struct mg_map hosts;
static struct mg_list by_age = { &by_age, &by_age };
static size_t hosts_n;

void (*mg_http_hosts_changed)(void);

static void tell(void)
{
    if (mg_http_hosts_changed)
        mg_http_hosts_changed();
}

/* ---- trust ---- */

/* A file replaced under the same name is another file. */
static int stamp(struct mg_str path, struct mg_arena *a, struct mg_str *out)
{
    struct stat st;

    *out = mg_str("", 0);
    if (!path.n)
        return 0;
    if (stat(path.p, &st) != 0)
        *out = path;
    else
        *out = mg_arena_printf(a, "%s@%lld.%09ld+%lld", path.p, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                               (long long)st.st_size);
    return out->p ? 0 : MG_ENOMEM;
}

/* The words of server/build_upstreams.c: what is the same there shares its connections. */
int mg_http_trust_digest(struct mg_http_trust *t, struct mg_arena *a)
{
    struct mg_str ca, cert, key;

    t->digest = MG_STR("verify=1");
    if (!t->no_verify && !t->ca.n && !t->server_name.n && !t->cert.n && !t->key.n)
        return 0;
    if (stamp(t->ca, a, &ca) || stamp(t->cert, a, &cert) || stamp(t->key, a, &key))
        return MG_ENOMEM;
    t->digest = mg_arena_printf(a, "verify=%d min=12 name=%.*s ca=%s cert=%s key=%s", !t->no_verify, (int)t->server_name.n,
                                t->server_name.n ? t->server_name.p : "", ca.p, cert.p, key.p);
    return t->digest.p ? 0 : MG_ENOMEM;
}

struct mg_tls *mg_http_trust_find(struct mg_str digest)
{
    struct mg_tls *found = NULL;

    pthread_mutex_lock(&lock);
    mg_list_each(node, &by_age) {
        struct mg_http_host *h = mg_container(node, struct mg_http_host, node);

        if (h->spec.tls && mg_str_eq(h->spec.tls_digest, digest)) {
            found = mg_tls_ref(h->spec.tls);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* What was read last: those that asked at the same time are not hosts yet. */
static struct mg_tls *last;
static char *last_digest;

static void keep_last(struct mg_tls *tls, struct mg_str digest)
{
    char *copy = mg_malloc(digest.n + 1);

    if (!copy)
        return;
    memcpy(copy, digest.p, digest.n);
    copy[digest.n] = '\0';
    mg_tls_unref(last);
    mg_free(last_digest);
    last = mg_tls_ref(tls);
    last_digest = copy;
}

static void forget_last(void)
{
    pthread_mutex_lock(&load_lock);
    mg_tls_unref(last);
    mg_free(last_digest);
    last = NULL;
    last_digest = NULL;
    pthread_mutex_unlock(&load_lock);
}

struct mg_tls *mg_http_trust_get(const struct mg_http_trust *t, struct mg_error *err)
{
    struct mg_tls_client_conf conf = { .verify = !t->no_verify, .ca = t->ca, .cert = t->cert, .key = t->key, .min_version = 12,
                                       .server_name = t->server_name };
    struct mg_tls *tls;

    pthread_mutex_lock(&load_lock);
    tls = mg_http_trust_find(t->digest);
    if (!tls && last && mg_str_eq(mg_str_c(last_digest), t->digest))
        tls = mg_tls_ref(last);
    if (!tls && (tls = mg_tls_client_new(&conf, err)))
        keep_last(tls, t->digest);
    pthread_mutex_unlock(&load_lock);
    return tls;
}

/* ---- the table ---- */

static void host_free(struct mg_http_host *h)
{
    mg_upstream_detach(&h->spec);
    mg_tls_unref(h->spec.tls);
    mg_free(h);
}

/* Out of the table, onto `left`; under the lock. */
static void leave(struct mg_http_host *h, struct mg_list *left)
{
    mg_map_remove(&hosts, h->key);
    mg_list_remove(&h->node);
    mg_list_push(left, &h->node);
    if (--hosts_n == 0)
        mg_map_deinit(&hosts); /* a process that has closed all holds nothing */
}

static void free_all(struct mg_list *left)
{
    struct mg_list *node;
    bool any = !mg_list_empty(left);

    while ((node = mg_list_first(left)) != NULL) {
        mg_list_remove(node);
        host_free(mg_container(node, struct mg_http_host, node));
    }
    if (any)
        tell();
}

static size_t key_bytes(const struct mg_url *url, const struct mg_http_trust *t)
{
    return url->origin.n + 1 + (url->is_tls ? t->digest.n : 0);
}

static void key_put(char *p, const struct mg_url *url, const struct mg_http_trust *t)
{
    memcpy(p, url->origin.p, url->origin.n);
    p[url->origin.n] = '\n';
    if (url->is_tls)
        memcpy(p + url->origin.n + 1, t->digest.p, t->digest.n);
}

/* Counted; under the lock. */
static struct mg_http_host *find(struct mg_str key, int64_t now_ms)
{
    struct mg_http_host *h = mg_map_get(&hosts, key);

    if (!h)
        return NULL;
    h->refs++;
    h->used_ms = now_ms;
    mg_list_remove(&h->node);
    mg_list_push(&by_age, &h->node);
    return h;
}

struct mg_http_host *mg_http_host_find(const struct mg_url *url, const struct mg_http_trust *t, int64_t now_ms)
{
    size_t n = key_bytes(url, t);
    char small[512], *key = n <= sizeof(small) ? small : mg_malloc(n);
    struct mg_http_host *h;

    if (!key)
        return NULL;
    key_put(key, url, t);
    pthread_mutex_lock(&lock);
    h = find(mg_str(key, n), now_ms);
    pthread_mutex_unlock(&lock);
    if (key != small)
        mg_free(key);
    return h;
}

static struct mg_str put(char **at, struct mg_str s)
{
    char *p = *at;

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    *at = p + s.n + 1;
    return mg_str(p, s.n);
}

static struct mg_http_host *host_new(const struct mg_url *url, const struct mg_http_trust *t, struct mg_tls *tls)
{
    size_t key_n = key_bytes(url, t);
    struct mg_str host = url->host;
    struct mg_http_host *h = mg_calloc(1, sizeof(*h) + key_n + host.n + url->unix_path.n + 3);
    char *at;

    if (!h)
        return NULL;
    at = h->bytes;
    key_put(at, url, t);
    h->key = mg_str(at, key_n);
    at += key_n + 1;
    if (host.n > 2 && host.p[0] == '[')
        host = mg_str(host.p + 1, host.n - 2);
    h->target.host = put(&at, host);
    h->target.unix_path = put(&at, url->unix_path);
    h->target.port = url->port;
    h->target.weight = 1;
    h->spec = (struct mg_upstream_spec){ .name = mg_str(h->key.p, url->origin.n), .targets = &h->target, .targets_n = 1,
        .is_tls = url->is_tls, .tls = tls, .tls_digest = mg_str(h->key.p + url->origin.n + 1, key_n - url->origin.n - 1),
        .connect_ms = 5000, .first_byte_ms = 60000, .idle_ms = 60000, .keepalive_ms = 60000, .keepalive_max = 64,
        .keepalive_requests = 10000, .limits = &limits };
    mg_list_init(&h->node);
    return h;
}

/* Room for one more: the idle one that was not used for longest leaves. Under the lock. */
static bool make_room(struct mg_list *left)
{
    if (hosts_n < MG_HTTP_HOSTS_MAX)
        return true;
    mg_list_each(node, &by_age) {
        struct mg_http_host *h = mg_container(node, struct mg_http_host, node);

        if (h->refs > 0)
            continue;
        leave(h, left);
        return true;
    }
    return false;
}

/* mine goes into the table, unless another thread was faster. Under the lock. */
static struct mg_http_host *enter(struct mg_http_host *mine, int64_t now_ms, struct mg_list *left, int *rc)
{
    struct mg_http_host *h = find(mine->key, now_ms);

    if (h) {
        mg_list_push(left, &mine->node);
        return h;
    }
    *rc = make_room(left) ? mg_map_put(&hosts, mine->key, mine, NULL) : MG_EBUSY;
    if (*rc) {
        mg_list_push(left, &mine->node);
        return NULL;
    }
    hosts_n++;
    mine->refs = 1;
    mine->used_ms = now_ms;
    mg_list_push(&by_age, &mine->node);
    return mine;
}

struct mg_http_host *mg_http_host_make(const struct mg_url *url, const struct mg_http_trust *t, struct mg_tls *tls, int64_t now_ms,
                                       int *rc)
{
    struct mg_http_host *mine = host_new(url, t, tls), *h;
    struct mg_list left;

    *rc = MG_ENOMEM;
    if (!mine) {
        mg_tls_unref(tls);
        return NULL;
    }
    if (mg_upstream_attach(&mine->spec, NULL) != 0) {
        host_free(mine);
        return NULL;
    }
    mg_list_init(&left);
    pthread_mutex_lock(&lock);
    h = enter(mine, now_ms, &left, rc);
    pthread_mutex_unlock(&lock);
    free_all(&left);
    if (h == mine)
        tell();
    return h;
}

const struct mg_upstream_spec *mg_http_host_spec(const struct mg_http_host *h)
{
    return &h->spec;
}

void mg_http_host_unref(struct mg_http_host *h, int64_t now_ms)
{
    pthread_mutex_lock(&lock);
    h->refs--;
    h->used_ms = now_ms;
    pthread_mutex_unlock(&lock);
}

size_t mg_http_hosts_sweep(int64_t now_ms, int64_t idle_ms)
{
    struct mg_list left;
    size_t n;

    mg_list_init(&left);
    pthread_mutex_lock(&lock);
    mg_list_each(node, &by_age) {
        struct mg_http_host *h = mg_container(node, struct mg_http_host, node);

        if (h->refs == 0 && now_ms - h->used_ms >= idle_ms)
            leave(h, &left);
    }
    n = hosts_n;
    pthread_mutex_unlock(&lock);
    free_all(&left);
    if (n == 0)
        forget_last();
    return n;
}
