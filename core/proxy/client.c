/* client.c - accepting connections, their timeouts, and the ports that they came through. */
#include "proxy/run.h"
#include "base/log.h"
#include "plugin/alarm.h"

#include <stdlib.h>

/* ---- ports --------------------------------------------------------------------------------- */

static struct mg_str own(struct mg_str s)
{
    char *p = malloc(s.n + 1);

    if (!p)
        return mg_str(NULL, 0);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return mg_str(p, s.n);
}

static void port_unref(struct mg_port *port)
{
    if (--port->refs)
        return;
    mg_list_remove(&port->node);
    free((char *)port->id.p);
    free((char *)port->name.p);
    free((char *)port->address.p);
    free(port);
}

static struct mg_port *port_find(struct mg_worker *w, struct mg_str id)
{
    mg_list_each(n, &w->ports)
    {
        struct mg_port *port = mg_container(n, struct mg_port, node);

        if (!port->is_gone && mg_str_eq(port->id, id))
            return port;
    }
    return NULL;
}

static void port_renew(struct mg_port *port, const struct mg_listener_conf *conf)
{
    port->h1 = conf->h1;
    port->timeouts = conf->timeouts;
    port->limits = conf->limits;
    port->connections_max = conf->connections_max;
    port->redirect_https = conf->redirect_https;
    port->redirect_port = conf->redirect_port;
    port->half_close = conf->half_close;
    port->is_admin = conf->is_admin;
    if (!mg_str_eq(port->name, conf->name)) {
        free((char *)port->name.p);
        port->name = own(conf->name);
    }
}

static struct mg_port *port_new(struct mg_worker *w, const struct mg_listener_conf *conf)
{
    struct mg_port *port = calloc(1, sizeof *port);

    if (!port)
        return NULL;
    port->refs = 1;
    mg_list_push(&w->ports, &port->node);
    port->id = own(conf->id);
    port->name = own(conf->name);
    port->address = own(conf->address);
    if (!port->id.p || !port->name.p || !port->address.p) {
        port_unref(port);
        return NULL;
    }
    port_renew(port, conf);
    return port;
}

/* The ports follow the snapshot: settings are renewed, those of listeners that are gone live on
 * until their last connection closes. */
static void ports_follow(struct mg_worker *w, const struct mg_snapshot *s)
{
    mg_list_each(n, &w->ports)
    {
        struct mg_port *port = mg_container(n, struct mg_port, node);
        bool kept = false;

        if (port->is_gone)
            continue;
        for (size_t i = 0; s && i < s->listeners_n && !kept; i++)
            kept = mg_str_eq(s->listeners[i].id, port->id);
        if (!kept) {
            port->is_gone = true;
            port_unref(port);
        }
    }
    for (size_t i = 0; s && i < s->listeners_n; i++) {
        struct mg_port *port = port_find(w, s->listeners[i].id);

        if (port)
            port_renew(port, &s->listeners[i]);
        else
            port_new(w, &s->listeners[i]);
    }
}

void mg_proxy_snapshot(struct mg_worker *w, struct mg_snapshot *s)
{
    w->snapshot = s;
    ports_follow(w, s);
    mg_alarms_follow(w);
    mg_tasks_follow(w);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void client_close(struct mg_client *c)
{
    c->waits_for = MG_CW_NOTHING;
    if (!c->stream.is_closing)
        mg_stream_close(&c->stream);
}

static int64_t wait_ms(const struct mg_client *c)
{
    const struct mg_timeouts *t = &c->port->timeouts;

    switch (c->waits_for) {
    case MG_CW_TLS:
    case MG_CW_HEAD:
        return t->client_head;
    case MG_CW_IDLE:
        return t->client_idle;
    case MG_CW_BODY:
        return c->x ? c->x->timeouts.client_body : t->client_body;
    case MG_CW_WRITE:
        return c->x ? c->x->timeouts.client_write : t->client_write;
    default:
        return 0;
    }
}

void mg_client_wait(struct mg_client *c, enum mg_client_wait what)
{
    int64_t ms;

    c->waits_for = (uint8_t)what;
    if (what == MG_CW_NOTHING)
        return; /* the next wait begins soon; client_late sees that there is none */
    c->active_ms = mg_loop_now_ms(&c->worker->loop);
    ms = wait_ms(c);
    if (ms > 0)
        mg_loop_arm_by(&c->worker->loop, &c->timer, ms);
}

static void client_late(struct mg_timer *t)
{
    struct mg_client *c = mg_container(t, struct mg_client, timer);
    int64_t active = c->active_ms, left;
    struct mg_exchange *x = c->x;

    if (wait_ms(c) <= 0) /* nothing is waited for, or for any time */
        return;
    if (c->waits_for != MG_CW_HEAD && c->waits_for != MG_CW_BODY && c->stream.wrote_ms > active)
        active = c->stream.wrote_ms;
    left = wait_ms(c) - (mg_loop_now_ms(&c->worker->loop) - active);
    if (left > 0) { /* something moved since the timer was armed */
        mg_loop_arm(&c->worker->loop, t, left);
        return;
    }
    if (c->waits_for == MG_CW_IDLE || c->waits_for == MG_CW_TLS || !x) {
        client_close(c);
        return;
    }
    mg_run_enter(x);
    if (c->waits_for == MG_CW_WRITE) {
        x->failure = x->failure ? x->failure : "client_write_timeout";
        mg_run_client_left(x);
    } else {
        mg_run_refuse(x, 408, "client_timeout", "The request did not arrive in time.");
    }
    mg_run_leave(x);
}

static bool on_begin(struct mg_h1 *h, struct mg_leg *leg)
{
    struct mg_client *c = h->owner;
    struct mg_worker *w = c->worker;
    struct mg_exchange *x;

    if (!w->snapshot)
        return false;
    x = mg_exchange_new(w, (size_t)c->port->limits.memory);
    if (!x)
        return false;
    mg_run_begin(x);
    x->client = c;
    x->down = leg;
    x->snapshot = w->snapshot;
    x->timeouts = c->port->timeouts;
    x->limits = c->port->limits;
    x->chain = w->snapshot->global;
    x->script_host = w->snapshot->script;
    x->is_https = c->is_secure;
    x->started_us = mg_loop_now_us(&w->loop);
    memcpy(x->client_addr, c->peer_addr, 16);
    memcpy(x->peer_addr, c->peer_addr, 16);
    x->peer_port = c->peer_port;
    atomic_store_explicit(&w->pins[x->snapshot->slot],
                          atomic_load_explicit(&w->pins[x->snapshot->slot], memory_order_relaxed) + 1, memory_order_relaxed);
    c->x = x;
    if (w->is_leaving)
        c->h1.drains = 1;
    leg->owner = x;
    leg->arena = &x->arena;
    leg->events = &mg_client_leg_events;
    mg_client_wait(c, MG_CW_HEAD);
    return true;
}

static void on_idle(struct mg_h1 *h)
{
    struct mg_client *c = h->owner;

    if (c->worker->is_draining || c->port->is_gone)
        mg_h1_drain(h);
    else
        mg_client_wait(c, MG_CW_IDLE);
}

static void on_done(struct mg_h1 *h)
{
    client_close(h->owner);
}

static const struct mg_h1_events codec_events = { .on_begin = on_begin, .on_idle = on_idle, .on_done = on_done };

static void stream_open(struct mg_stream *s, int status, const char *why)
{
    struct mg_client *c = s->owner;

    if (status) {
        if (mg_log_enabled(MG_LOG_DEBUG))
            mg_logf(MG_LOG_DEBUG, "client: TLS handshake failed: %s", why ? why : mg_error_name(status));
        client_close(c);
        return;
    }
    mg_client_wait(c, MG_CW_IDLE);
}

static void stream_data(struct mg_stream *s, const char *p, size_t n)
{
    struct mg_client *c = s->owner;

    if (c->waits_for != MG_CW_HEAD) /* a head counts from its first byte, however it trickles in */
        c->active_ms = mg_loop_now_ms(s->loop);
    mg_h1_feed(&c->h1, p, n);
}

static void stream_end(struct mg_stream *s, int status)
{
    struct mg_client *c = s->owner;

    mg_h1_ended(&c->h1, status);
}

static void stream_drain(struct mg_stream *s)
{
    struct mg_client *c = s->owner;

    mg_h1_drained(&c->h1);
}

static void stream_closed(struct mg_stream *s)
{
    struct mg_client *c = s->owner;
    struct mg_worker *w = c->worker;

    mg_loop_disarm(&w->loop, &c->timer);
    mg_h1_deinit(&c->h1);
    mg_list_remove(&c->node);
    w->clients_n--;
    atomic_fetch_sub_explicit(&w->connections_open, 1, memory_order_relaxed);
    c->port->connections--;
    port_unref(c->port);
    free(c);
}

static const struct mg_stream_events stream_events = {
    .on_open = stream_open, .on_data = stream_data, .on_end = stream_end, .on_drain = stream_drain, .on_closed = stream_closed,
};

static void learn_peer(struct mg_client *c)
{
    struct sockaddr_storage sa;

    if (mg_stream_peer(&c->stream, &sa) || (sa.ss_family != AF_INET && sa.ss_family != AF_INET6)) {
        c->is_unix = true;
        return;
    }
    if (sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;

        c->peer_addr[10] = c->peer_addr[11] = 0xff;
        memcpy(c->peer_addr + 12, &in->sin_addr, 4);
        c->peer_port = ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sa;

        memcpy(c->peer_addr, &in6->sin6_addr, 16);
        c->peer_port = ntohs(in6->sin6_port);
    }
}

void mg_client_accept(struct mg_worker *w, uv_stream_t *listener, const struct mg_listener_conf *conf)
{
    struct mg_port *port = port_find(w, conf->id);
    struct mg_client *c = port ? calloc(1, sizeof *c) : NULL;

    if (!c) { /* the connection stays in the queue; the next one that comes tries again */
        mg_logf(MG_LOG_ERROR, "client: out of memory for a connection");
        return;
    }
    c->worker = w;
    c->port = port;
    c->is_secure = conf->tls != NULL;
    port->refs++;
    port->connections++;
    mg_list_push(&w->clients, &c->node);
    w->clients_n++;
    atomic_fetch_add_explicit(&w->connections, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->connections_open, 1, memory_order_relaxed);
    mg_timer_init(&c->timer, client_late);
    mg_stream_init(&c->stream, &w->loop, &stream_events, c);
    mg_h1_init(&c->h1, &c->stream, true, &port->h1, &codec_events, c);
    c->h1.half_close = port->half_close;
    if (mg_stream_accept(&c->stream, listener, conf->tls) ||
        (port->connections_max && port->connections > port->connections_max)) {
        client_close(c);
        return;
    }
    learn_peer(c);
    mg_client_wait(c, conf->tls ? MG_CW_TLS : MG_CW_IDLE);
}

void mg_client_drain_all(struct mg_worker *w)
{
    w->is_draining = true;
    mg_list_each(n, &w->clients) mg_h1_drain(&mg_container(n, struct mg_client, node)->h1);
}

void mg_client_close_all(struct mg_worker *w)
{
    mg_list_each(n, &w->clients)
    {
        struct mg_client *c = mg_container(n, struct mg_client, node);
        struct mg_exchange *x = c->x;

        if (x) {
            mg_run_enter(x);
            mg_run_client_left(x);
            mg_run_leave(x);
        }
        client_close(c);
    }
}

void mg_proxy_worker_init(struct mg_worker *w)
{
    mg_list_init(&w->ports);
}

void mg_proxy_worker_deinit(struct mg_worker *w)
{
    mg_list_each(n, &w->ports)
    {
        struct mg_port *port = mg_container(n, struct mg_port, node);

        if (!port->is_gone) {
            port->is_gone = true;
            port_unref(port);
        }
    }
}
