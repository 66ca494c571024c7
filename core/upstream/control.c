/* control.c - keeps the names of all live upstreams resolved, on the control thread.
 *
 * Each name has a watch: asked at once when it is new, then again when its TTL is over (1 s to 1 h); after a failure
 * sooner, each time waiting twice as long. The last good answer stays in use until a better one comes. */
#include "upstream/parts.h"
#include "base/log.h"

enum { TTL_MIN_S = 1, TTL_MAX_S = 3600, RETRY_MIN_MS = 1000, RETRY_MAX_MS = 60000 };

struct watch {
    struct mg_upstream_control *control;
    struct mg_str key, host;       /* host is the beginning of key */
    int port;
    struct mg_timer timer;
    int64_t retry_ms;
    bool is_wanted, is_asking, has_warned;
    struct mg_list node;           /* in control->left: dropped while a question is under way */
};

struct ready_wait {
    struct mg_list node;
    struct mg_upstream_control *control;
    struct mg_timer timer;
    void (*done)(void *);
    void *arg;
};

struct mg_upstream_control {
    struct mg_loop *loop;
    struct mg_resolver *resolver;
    struct mg_resolver_conf conf;  /* that it was made by; its servers are a copy of ours */
    struct mg_map watches;
    struct mg_list left;           /* of watch */
    struct mg_list ready;
    struct mg_timer ready_soon;    /* done never runs inside mg_upstream_control_ready */
    struct mg_timer again;         /* an update that was out of memory */
    bool is_short;                 /* of memory */
};

static void ask(struct watch *w);

/* ---- readiness ---- */

static void ready_end(struct ready_wait *r)
{
    void (*done)(void *) = r->done;
    void *arg = r->arg;

    mg_loop_disarm(r->control->loop, &r->timer);
    mg_list_remove(&r->node);
    mg_free(r);
    done(arg);
}

static void on_ready_timeout(struct mg_timer *t)
{
    ready_end(mg_container(t, struct ready_wait, timer));
}

static void tell_ready(struct mg_upstream_control *c)
{
    struct mg_list *node;

    if (mg_list_empty(&c->ready) || !mg_names_settled())
        return;
    while ((node = mg_list_first(&c->ready)) != NULL)
        ready_end(mg_container(node, struct ready_wait, node));
}

static void on_ready_soon(struct mg_timer *t)
{
    tell_ready(mg_container(t, struct mg_upstream_control, ready_soon));
}

void mg_upstream_control_ready(struct mg_upstream_control *c, int64_t timeout_ms, void (*done)(void *), void *arg)
{
    struct ready_wait *r = mg_calloc(1, sizeof *r);

    if (!r) {
        done(arg); /* short of memory: not to wait is better than never to be told */
        return;
    }
    r->control = c;
    r->done = done;
    r->arg = arg;
    mg_timer_init(&r->timer, on_ready_timeout);
    mg_list_push(&c->ready, &r->node);
    mg_loop_arm(c->loop, &r->timer, timeout_ms);
    mg_loop_arm(c->loop, &c->ready_soon, 0);
}

/* ---- watches ---- */

static void watch_free(struct watch *w)
{
    mg_loop_disarm(w->control->loop, &w->timer);
    mg_list_remove(&w->node);
    mg_free((char *)w->key.p);
    mg_free(w);
}

static void on_watch_timer(struct mg_timer *t)
{
    ask(mg_container(t, struct watch, timer));
}

static void failed(struct watch *w, int status)
{
    if (!w->has_warned)
        mg_logf(MG_LOG_WARN, "upstream: %.*s does not resolve (%s); the last good answer stays in use, if there was one",
                (int)w->host.n, w->host.p, mg_error_name(status));
    w->has_warned = true;
    w->retry_ms = w->retry_ms ? w->retry_ms * 2 : RETRY_MIN_MS;
    if (w->retry_ms > RETRY_MAX_MS)
        w->retry_ms = RETRY_MAX_MS;
    mg_loop_arm(w->control->loop, &w->timer, w->retry_ms);
}

static void succeeded(struct watch *w, int ttl_s)
{
    if (w->has_warned)
        mg_logf(MG_LOG_INFO, "upstream: %.*s resolves again", (int)w->host.n, w->host.p);
    w->has_warned = false;
    w->retry_ms = 0;
    ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
    mg_loop_arm(w->control->loop, &w->timer, (int64_t)ttl_s * 1000);
}

static void on_answer(void *arg, int status, const struct mg_address *addrs, size_t n, int ttl_s)
{
    struct watch *w = arg;
    struct mg_upstream_control *c = w->control;

    w->is_asking = false;
    if (!w->is_wanted) {
        watch_free(w); /* it left the table while the question was under way */
        return;
    }
    if (status == 0 && n == 0)
        status = MG_ENOENT;
    if (mg_name_answer(w->key, status, addrs, status == 0 ? n : 0) < 0)
        status = MG_ENOMEM;
    if (status < 0)
        failed(w, status);
    else
        succeeded(w, ttl_s);
    tell_ready(c);
}

static void ask(struct watch *w)
{
    if (w->is_asking)
        return;
    w->is_asking = true;
    if (mg_resolver_ask(w->control->resolver, w->host, w->port, on_answer, w) < 0) {
        w->is_asking = false;
        failed(w, MG_ENOMEM);
    }
}

static struct watch *watch_new(struct mg_upstream_control *c, const struct mg_name *name)
{
    struct watch *w = mg_calloc(1, sizeof *w);
    char *key = mg_malloc(name->key.n);

    if (w && key) {
        memcpy(key, name->key.p, name->key.n);
        w->key = mg_str(key, name->key.n);
        w->host = mg_str(key, name->host.n);
        w->port = name->port;
        w->control = c;
        mg_timer_init(&w->timer, on_watch_timer);
        mg_list_init(&w->node);
        if (mg_map_put(&c->watches, w->key, w, NULL) == 0)
            return w;
    }
    mg_free(key);
    mg_free(w);
    return NULL;
}

/* Under the tables' lock: only note what is wanted. */
static void want(void *arg, const struct mg_name *name)
{
    struct mg_upstream_control *c = arg;
    struct watch *w = mg_map_get(&c->watches, name->key);

    if (!w)
        w = watch_new(c, name);
    if (w)
        w->is_wanted = true;
    else
        c->is_short = true;
}

static void drop(struct mg_upstream_control *c, struct watch *w)
{
    mg_map_remove(&c->watches, w->key);
    mg_loop_disarm(c->loop, &w->timer);
    if (w->is_asking)
        mg_list_push(&c->left, &w->node);
    else
        watch_free(w);
}

void mg_upstream_control_update(struct mg_upstream_control *c)
{
    size_t i = 0;
    struct mg_str key;
    void *v;

    while (mg_map_next(&c->watches, &i, &key, &v))
        ((struct watch *)v)->is_wanted = false;
    c->is_short = false;
    mg_names_each(want, c);
    for (i = 0; mg_map_next(&c->watches, &i, &key, &v);) {
        struct watch *w = v;

        if (!w->is_wanted)
            drop(c, w);
        else if (!mg_timer_armed(&w->timer))
            ask(w);
    }
    if (c->is_short)
        mg_loop_arm(c->loop, &c->again, RETRY_MIN_MS);
}

static void on_again(struct mg_timer *t)
{
    mg_upstream_control_update(mg_container(t, struct mg_upstream_control, again));
}

/* ---- which servers are asked ---- */

static int copy_conf(struct mg_resolver_conf *to, const struct mg_resolver_conf *from, struct mg_error *err)
{
    char *servers = from->servers.n ? mg_malloc(from->servers.n) : NULL;

    if (from->servers.n && !servers)
        return mg_fail(err, MG_ENOMEM, "upstream: out of memory");
    if (servers)
        memcpy(servers, from->servers.p, from->servers.n);
    *to = *from;
    to->servers = mg_str(servers, from->servers.n);
    return 0;
}

static int set_resolver(struct mg_upstream_control *c, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    struct mg_resolver *resolver;
    struct mg_resolver_conf copy;
    int rc = copy_conf(&copy, conf, err);

    if (rc < 0)
        return rc;
    resolver = mg_resolver_new(c->loop, &copy, err);
    if (!resolver) {
        mg_free((char *)copy.servers.p);
        return err->code;
    }
    mg_resolver_free(c->resolver); /* what it was asked is cancelled */
    mg_free((char *)c->conf.servers.p);
    c->resolver = resolver;
    c->conf = copy;
    return 0;
}

int mg_upstream_control_resolver(struct mg_upstream_control *c, const struct mg_resolver_conf *conf, struct mg_error *err)
{
    size_t i = 0;
    struct mg_str key;
    void *v;
    int rc;

    if (c->conf.timeout_ms == conf->timeout_ms && c->conf.tries == conf->tries && mg_str_eq(c->conf.servers, conf->servers))
        return 0;
    rc = set_resolver(c, conf, err);
    if (rc < 0)
        return rc;
    while (!mg_list_empty(&c->left)) /* nobody answers them any more */
        watch_free(mg_container(mg_list_first(&c->left), struct watch, node));
    while (mg_map_next(&c->watches, &i, &key, &v)) {
        struct watch *w = v;

        mg_loop_disarm(c->loop, &w->timer);
        w->is_asking = false;
        w->retry_ms = 0;
        ask(w);
    }
    return 0;
}

struct mg_upstream_control *mg_upstream_control_new(struct mg_loop *loop, const struct mg_resolver_conf *conf,
                                                    struct mg_error *err)
{
    struct mg_upstream_control *c = mg_calloc(1, sizeof *c);

    if (!c) {
        mg_fail(err, MG_ENOMEM, "upstream: out of memory");
        return NULL;
    }
    c->loop = loop;
    mg_list_init(&c->left);
    mg_list_init(&c->ready);
    mg_timer_init(&c->ready_soon, on_ready_soon);
    mg_timer_init(&c->again, on_again);
    if (set_resolver(c, conf, err) == 0)
        return c;
    mg_free(c);
    return NULL;
}

void mg_upstream_control_free(struct mg_upstream_control *c)
{
    size_t i = 0;
    struct mg_str key;
    void *v;

    if (!c)
        return;
    mg_resolver_free(c->resolver);
    mg_free((char *)c->conf.servers.p);
    while (mg_map_next(&c->watches, &i, &key, &v))
        watch_free(v);
    mg_map_deinit(&c->watches);
    while (!mg_list_empty(&c->left))
        watch_free(mg_container(mg_list_first(&c->left), struct watch, node));
    while (!mg_list_empty(&c->ready)) {
        struct ready_wait *r = mg_container(mg_list_first(&c->ready), struct ready_wait, node);

        mg_loop_disarm(c->loop, &r->timer);
        mg_list_remove(&r->node);
        mg_free(r);
    }
    mg_loop_disarm(c->loop, &c->ready_soon);
    mg_loop_disarm(c->loop, &c->again);
    mg_free(c);
}
