#include "net/resolver.h"
#include "base/alloc.h"
#include "net/hosts.h"
#include <ares.h>
#include <arpa/nameser.h>
#include <pthread.h>
#include <stdio.h>

enum { ADDRESSES_MAX = 64, NAME_MAX_BYTES = 254, DAY_S = 86400, PARTIAL_TTL_S = 5 };

struct mg_resolver {
    struct mg_loop *loop;
    ares_channel channel;
    struct mg_hosts hosts;
    struct mg_list sockets; /* of struct socket_watch: those that c-ares has open */
    struct mg_list asks;    /* with queries under way */
    struct mg_list ready;   /* to be told in the next turn */
    struct mg_timer tries;  /* c-ares' own timeouts */
    uv_timer_t soon;
};

struct socket_watch {
    struct mg_list node;
    struct mg_resolver *resolver;
    uv_poll_t poll;
    ares_socket_t fd;
};

struct ask {
    struct mg_list node;
    struct mg_resolver *resolver; /* NULL: it is gone, nobody is told */
    mg_resolved *done;
    void *arg;
    int type;                     /* of records; 0: addresses are asked for */
    mg_records_found *told;       /* then in place of done */
    struct mg_str text;           /* of records */
    int port, under_way, status, ttl_s;
    bool failed;                  /* one of the two queries got no answer */
    size_t n, n_v4;
    struct mg_address addrs[ADDRESSES_MAX];
};

static void ask_free(struct ask *a)
{
    mg_free((char *)a->text.p);
    mg_free(a);
}

/* ---- telling ---- */

static void on_soon(uv_timer_t *timer)
{
    struct mg_resolver *r = mg_container(timer, struct mg_resolver, soon);
    struct mg_list *n;

    while ((n = mg_list_first(&r->ready))) {
        struct ask *a = mg_container(n, struct ask, node);

        mg_list_remove(n);
        if (a->type)
            a->told(a->arg, a->status, a->text, a->ttl_s);
        else
            a->done(a->arg, a->n ? 0 : a->status, a->addrs, a->n, a->ttl_s);
        ask_free(a);
    }
}

static void tell_soon(struct ask *a)
{
    struct mg_resolver *r = a->resolver;

    mg_list_remove(&a->node);
    mg_list_push(&r->ready, &a->node);
    uv_timer_start(&r->soon, on_soon, 0, 0);
}

/* ---- answers ---- */

static int status_of(int ares)
{
    switch (ares) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: return MG_ENOENT;
    case ARES_ETIMEOUT: return MG_ETIMEOUT;
    default: return MG_EPROTO;
    }
}

/* Of two failures the more telling one is kept: no answer outweighs "no such name". */
static void note_failure(struct ask *a, int status)
{
    a->failed |= status != MG_ENOENT;
    if (a->status == MG_ENOENT || status == MG_ETIMEOUT)
        a->status = status;
}

static void note_ttl(struct ask *a, int ttl)
{
    if (a->ttl_s < 0 || ttl < a->ttl_s)
        a->ttl_s = ttl < 0 ? 0 : ttl;
}

/* IPv4 goes before what is there already, whichever answer came first. */
static void add_v4(struct ask *a, const struct ares_addrttl *t)
{
    if (a->n >= ADDRESSES_MAX)
        return;
    memmove(&a->addrs[a->n_v4 + 1], &a->addrs[a->n_v4], (a->n - a->n_v4) * sizeof(a->addrs[0]));
    mg_address_v4(&a->addrs[a->n_v4++], &t->ipaddr, a->port);
    a->n++;
    note_ttl(a, t->ttl);
}

static void add_v6(struct ask *a, const struct ares_addr6ttl *t)
{
    if (a->n >= ADDRESSES_MAX)
        return;
    mg_address_v6(&a->addrs[a->n++], &t->ip6addr, a->port);
    note_ttl(a, t->ttl);
}

/* One of the two queries has ended; when both have, the answer is complete. */
static void query_ended(struct ask *a, int ares)
{
    if (ares != ARES_SUCCESS)
        note_failure(a, status_of(ares));
    if (--a->under_way > 0)
        return;
    if (!a->resolver) {
        mg_free(a);
        return;
    }
    if (!a->n)
        a->ttl_s = 0;
    if (a->failed && a->n && a->ttl_s > PARTIAL_TTL_S) /* half an answer: ask again soon */
        a->ttl_s = PARTIAL_TTL_S;
    tell_soon(a);
}

static void on_records(void *arg, int status, int timeouts, unsigned char *p, int n)
{
    struct ask *a = arg;

    (void)timeouts;
    if (!a->resolver) {
        ask_free(a);
        return;
    }
    a->status = status == ARES_SUCCESS ? mg_records_text(p, (size_t)n, a->type, &a->text, &a->ttl_s) : status_of(status);
    tell_soon(a);
}

static void on_a(void *arg, int status, int timeouts, unsigned char *p, int n)
{
    struct ares_addrttl found[ADDRESSES_MAX / 2];
    struct ask *a = arg;
    int found_n = ADDRESSES_MAX / 2;

    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = ares_parse_a_reply(p, n, NULL, found, &found_n);
    if (status == ARES_SUCCESS) {
        for (int i = 0; i < found_n; i++)
            add_v4(a, &found[i]);
    }
    query_ended(a, status);
}

static void on_aaaa(void *arg, int status, int timeouts, unsigned char *p, int n)
{
    struct ares_addr6ttl found[ADDRESSES_MAX / 2];
    struct ask *a = arg;
    int found_n = ADDRESSES_MAX / 2;

    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = ares_parse_aaaa_reply(p, n, NULL, found, &found_n);
    if (status == ARES_SUCCESS) {
        for (int i = 0; i < found_n; i++)
            add_v6(a, &found[i]);
    }
    query_ended(a, status);
}

/* ---- c-ares and the loop ---- */

static void set_timer(struct mg_resolver *r)
{
    struct timeval tv, *t = ares_timeout(r->channel, NULL, &tv);

    if (t)
        mg_loop_arm(r->loop, &r->tries, (int64_t)t->tv_sec * 1000 + t->tv_usec / 1000 + 1);
    else
        mg_loop_disarm(r->loop, &r->tries);
}

static void on_tries(struct mg_timer *t)
{
    struct mg_resolver *r = mg_container(t, struct mg_resolver, tries);

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(r);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct socket_watch *w = mg_container(poll, struct socket_watch, poll);
    struct mg_resolver *r = w->resolver;
    bool any = status < 0; /* an error shows when c-ares reads or writes */

    ares_process_fd(r->channel, any || (events & UV_READABLE) ? w->fd : ARES_SOCKET_BAD,
                    any || (events & UV_WRITABLE) ? w->fd : ARES_SOCKET_BAD);
    set_timer(r);
}

static void free_watch(uv_handle_t *h) { mg_free(mg_container(h, struct socket_watch, poll)); }

static struct socket_watch *find_watch(struct mg_resolver *r, ares_socket_t fd)
{
    mg_list_each(n, &r->sockets) {
        struct socket_watch *w = mg_container(n, struct socket_watch, node);

        if (w->fd == fd)
            return w;
    }
    return NULL;
}

static struct socket_watch *new_watch(struct mg_resolver *r, ares_socket_t fd)
{
    struct socket_watch *w = mg_calloc(1, sizeof(*w));

    if (!w)
        return NULL; /* the query times out */
    if (uv_poll_init_socket(&r->loop->uv, &w->poll, fd) < 0) {
        mg_free(w);
        return NULL;
    }
    w->resolver = r;
    w->fd = fd;
    mg_list_push(&r->sockets, &w->node);
    return w;
}

/* c-ares tells what it waits for on each of its sockets; neither means that it closes it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct mg_resolver *r = arg;
    struct socket_watch *w = find_watch(r, fd);

    if (!readable && !writable) {
        if (!w)
            return;
        mg_list_remove(&w->node);
        uv_poll_stop(&w->poll);
        uv_close((uv_handle_t *)&w->poll, free_watch);
        return;
    }
    if (!w)
        w = new_watch(r, fd);
    if (w)
        uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_socket);
}

/* ---- asking ---- */

static bool is_localhost(struct mg_str host)
{
    struct mg_str end = MG_STR(".localhost");

    return mg_str_ieq(host, MG_STR("localhost")) ||
           (host.n > end.n && mg_str_ieq(mg_str(host.p + host.n - end.n, end.n), end));
}

/* What needs no DNS. localhost is this machine whatever DNS would say (RFC 6761, 6.3). */
static bool answer_here(struct ask *a, struct mg_str host)
{
    a->ttl_s = DAY_S;
    if (mg_address_parse(host, a->port, &a->addrs[0]) == 0)
        a->n = 1;
    else
        a->n = mg_hosts_find(&a->resolver->hosts, host, a->port, a->addrs, ADDRESSES_MAX);
    if (!a->n && is_localhost(host)) {
        mg_address_parse(MG_STR("127.0.0.1"), a->port, &a->addrs[0]);
        mg_address_parse(MG_STR("::1"), a->port, &a->addrs[1]);
        a->n = 2;
    }
    return a->n > 0;
}

static void query(struct ask *a, struct mg_str host)
{
    struct mg_resolver *r = a->resolver;
    char name[NAME_MAX_BYTES + 1];

    memcpy(name, host.p, host.n);
    name[host.n] = 0;
    if (a->type) {
        ares_query(r->channel, name, ns_c_in, a->type, on_records, a);
        set_timer(r);
        return;
    }
    a->ttl_s = -1;
    a->status = MG_ENOENT;
    a->under_way = 2;
    ares_query(r->channel, name, ns_c_in, ns_t_a, on_a, a);
    ares_query(r->channel, name, ns_c_in, ns_t_aaaa, on_aaaa, a); /* `a` lives: it counts two */
    set_timer(r);
}

static struct ask *ask_new(struct mg_resolver *r, void *arg)
{
    struct ask *a = mg_malloc(sizeof(*a));

    if (!a)
        return NULL;
    memset(a, 0, offsetof(struct ask, addrs));
    a->resolver = r;
    a->arg = arg;
    a->status = MG_ENOENT;
    mg_list_push(&r->asks, &a->node);
    return a;
}

static bool is_name(struct mg_str *host)
{
    if (host->n && host->p[host->n - 1] == '.')
        host->n--;
    return host->n != 0 && host->n < NAME_MAX_BYTES && !memchr(host->p, 0, host->n);
}

int mg_resolver_ask(struct mg_resolver *r, struct mg_str host, int port, mg_resolved *done, void *arg)
{
    struct ask *a = ask_new(r, arg);

    if (!a)
        return UV_ENOMEM;
    a->done = done;
    a->port = port;
    if (!is_name(&host) || answer_here(a, host))
        tell_soon(a);
    else
        query(a, host);
    return 0;
}

int mg_resolver_records(struct mg_resolver *r, struct mg_str name, int type, mg_records_found *done, void *arg)
{
    struct ask *a = ask_new(r, arg);

    if (!a)
        return UV_ENOMEM;
    a->told = done;
    a->type = type;
    if (is_name(&name))
        query(a, name);
    else
        tell_soon(a);
    return 0;
}

void mg_resolver_hosts(struct mg_resolver *r, const char *path)
{
    mg_hosts_deinit(&r->hosts);
    r->hosts.path = path;
}

/* ---- life ---- */

static void init_library(void) { ares_library_init(ARES_LIB_INIT_ALL); }

static int set_servers(ares_channel channel, struct mg_str servers, struct mg_error *err)
{
    char list[1024];

    if (!servers.n)
        return 0;
    if (servers.n >= sizeof(list))
        return mg_fail(err, MG_ECONF, "resolver: more than %zu bytes of servers", sizeof(list) - 1);
    snprintf(list, sizeof(list), "%.*s", (int)servers.n, servers.p);
    if (ares_set_servers_ports_csv(channel, list) != ARES_SUCCESS)
        return mg_fail(err, MG_ECONF, "resolver: \"%s\" is no list of addresses", list);
    return 0;
}

static int open_channel(struct mg_resolver *r, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ares_options options = {
        .timeout = (int)(conf->timeout_ms > 0 ? conf->timeout_ms : 2000),
        .tries = conf->tries > 0 ? conf->tries : 3,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
        .lookups = (char *)"b",
    };
    int rc;

    pthread_once(&once, init_library);
    rc = ares_init_options(&r->channel, &options,
                           ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS);
    if (rc != ARES_SUCCESS)
        return mg_fail(err, MG_ECONF, "resolver: %s", ares_strerror(rc));
    rc = set_servers(r->channel, conf->servers, err);
    if (rc < 0)
        ares_destroy(r->channel);
    return rc;
}

struct mg_resolver *mg_resolver_new(struct mg_loop *loop, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    struct mg_resolver *r = mg_calloc(1, sizeof(*r));

    if (!r) {
        mg_fail(err, MG_ENOMEM, "resolver: out of memory");
        return NULL;
    }
    r->loop = loop;
    r->hosts.path = "/etc/hosts";
    mg_list_init(&r->sockets);
    mg_list_init(&r->asks);
    mg_list_init(&r->ready);
    mg_timer_init(&r->tries, on_tries);
    if (open_channel(r, conf, err) < 0) {
        mg_free(r);
        return NULL;
    }
    uv_timer_init(&loop->uv, &r->soon);
    return r;
}

static void on_closed(uv_handle_t *h) { mg_free(mg_container(h, struct mg_resolver, soon)); }

void mg_resolver_free(struct mg_resolver *r)
{
    struct mg_list *n;

    if (!r)
        return;
    mg_list_each(i, &r->asks) {
        mg_container(i, struct ask, node)->resolver = NULL;
        mg_list_remove(i);
    }
    ares_destroy(r->channel); /* ends every query: the asks free themselves; its sockets are closed */
    while ((n = mg_list_first(&r->ready))) {
        mg_list_remove(n);
        ask_free(mg_container(n, struct ask, node));
    }
    mg_loop_disarm(r->loop, &r->tries);
    mg_hosts_deinit(&r->hosts);
    uv_close((uv_handle_t *)&r->soon, on_closed);
}
