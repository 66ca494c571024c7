/* pair.h - two streams in one loop, connected over loopback, that note what happens to them. */
#ifndef MG_UNIT_PAIR_H
#define MG_UNIT_PAIR_H

#include "unit.h"
#include "net/stream.h"
#include "net/tls.h"
#include <netinet/in.h>
#include <sys/un.h>

struct side {
    struct mg_stream s;
    char *got;               /* all bytes that came */
    size_t got_n, got_room;
    int opened, open_status, ended, end_status, drained, closed, calls_after_close;
    char why[256];
    bool count_only;         /* large transfers: keep no bytes */
    void (*on_data)(struct side *side, const char *p, size_t n); /* a test's own */
    void (*on_drain)(struct side *side);
    void (*on_open)(struct side *side);
    void *test;
};

struct pair {
    struct mg_loop loop;
    union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t stream; uv_handle_t handle; } listener;
    uv_timer_t deadline;
    bool late;
    struct side client, server; /* the gateway's two roles */
    struct mg_tls *server_tls, *client_tls;
    const char *server_name;
    struct sockaddr_storage addr;
    int accepted;
};

static inline struct side *side_of(struct mg_stream *s) { return mg_container(s, struct side, s); }

static void side_opened(struct mg_stream *s, int status, const char *why)
{
    struct side *d = side_of(s);

    d->opened++;
    d->open_status = status;
    snprintf(d->why, sizeof(d->why), "%s", why ? why : "");
    d->calls_after_close += s->is_closing;
    if (d->on_open)
        d->on_open(d);
}

static void side_data(struct mg_stream *s, const char *p, size_t n)
{
    struct side *d = side_of(s);

    d->calls_after_close += s->is_closing;
    if (!d->count_only) {
        if (d->got_n + n + 1 > d->got_room) {
            d->got_room = (d->got_n + n + 1) * 2;
            d->got = realloc(d->got, d->got_room);
            assert_non_null(d->got);
        }
        memcpy(d->got + d->got_n, p, n);
        d->got[d->got_n + n] = 0;
    }
    d->got_n += n;
    if (d->on_data)
        d->on_data(d, p, n);
}

static void side_ended(struct mg_stream *s, int status)
{
    struct side *d = side_of(s);

    d->ended++;
    d->end_status = status;
    d->calls_after_close += s->is_closing;
}

static void side_drained(struct mg_stream *s)
{
    struct side *d = side_of(s);

    d->drained++;
    d->calls_after_close += s->is_closing;
    if (d->on_drain)
        d->on_drain(d);
}

static void side_closed(struct mg_stream *s) { side_of(s)->closed++; }

static const struct mg_stream_events side_events = { side_opened, side_data, side_ended, side_drained, side_closed };

static void pair_on_connection(uv_stream_t *listener, int status)
{
    struct pair *p = listener->data;

    assert_int_equal(status, 0);
    assert_int_equal(p->accepted, 0);
    p->accepted++;
    assert_int_equal(mg_stream_accept(&p->server.s, listener, p->server_tls), 0);
    mg_loop_flush(&p->loop);
}

static void pair_late(uv_timer_t *t) { ((struct pair *)t->data)->late = true; }

static inline struct pair *pair_new(void)
{
    struct pair *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    assert_int_equal(mg_loop_init(&p->loop), 0);
    uv_timer_init(&p->loop.uv, &p->deadline);
    p->deadline.data = p;
    mg_stream_init(&p->client.s, &p->loop, &side_events, NULL);
    mg_stream_init(&p->server.s, &p->loop, &side_events, NULL);
    return p;
}

/* Turn the loop until `what` holds; fail after ten seconds. */
#define pair_until(p, what) \
    do { \
        (p)->late = false; \
        uv_timer_start(&(p)->deadline, pair_late, 10000, 0); \
        while (!(what) && !(p)->late) { \
            uv_run(&(p)->loop.uv, UV_RUN_NOWAIT); /* what is told before the loop sleeps */ \
            if (!(what)) \
                uv_run(&(p)->loop.uv, UV_RUN_ONCE); \
        } \
        uv_timer_stop(&(p)->deadline); \
        if ((p)->late) \
            fail_msg("waited in vain for %s", #what); \
    } while (0)

/* A few turns in which nothing should happen. */
static inline void pair_turns(struct pair *p, int n)
{
    for (int i = 0; i < n; i++) {
        uv_run(&p->loop.uv, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static inline void pair_listen(struct pair *p)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int n = sizeof(p->addr);

    uv_tcp_init(&p->loop.uv, &p->listener.tcp);
    p->listener.handle.data = p;
    assert_int_equal(uv_tcp_bind(&p->listener.tcp, (struct sockaddr *)&in, 0), 0);
    assert_int_equal(uv_listen(&p->listener.stream, 16, pair_on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&p->listener.tcp, (struct sockaddr *)&p->addr, &n), 0);
}

static inline void pair_listen_unix(struct pair *p, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&p->addr;

    uv_pipe_init(&p->loop.uv, &p->listener.pipe, 0);
    p->listener.handle.data = p;
    assert_int_equal(uv_pipe_bind(&p->listener.pipe, path), 0);
    assert_int_equal(uv_listen(&p->listener.stream, 16, pair_on_connection), 0);
    un->sun_family = AF_UNIX;
    assert_true(strlen(path) < sizeof(un->sun_path));
    strcpy(un->sun_path, path);
}

static inline void pair_connect(struct pair *p)
{
    mg_stream_connect(&p->client.s, (struct sockaddr *)&p->addr, p->client_tls, p->server_name);
    assert_int_equal(p->client.opened, 0);
}

/* Connected and open on both sides. */
static inline struct pair *pair_open(struct mg_tls *server_tls, struct mg_tls *client_tls, const char *server_name)
{
    struct pair *p = pair_new();

    p->server_tls = server_tls;
    p->client_tls = client_tls;
    p->server_name = server_name;
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.opened && p->server.s.is_open);
    assert_int_equal(p->client.open_status, 0);
    return p;
}

static inline void pair_free(struct pair *p)
{
    mg_stream_close(&p->client.s);
    mg_stream_close(&p->server.s);
    pair_until(p, p->client.closed && p->server.closed);
    if (p->listener.handle.type)
        uv_close(&p->listener.handle, NULL);
    uv_close((uv_handle_t *)&p->deadline, NULL);
    assert_int_equal(p->client.calls_after_close + p->server.calls_after_close, 0);
    assert_int_equal(p->client.closed + p->server.closed, 2);
    mg_loop_deinit(&p->loop);
    mg_tls_unref(p->server_tls);
    mg_tls_unref(p->client_tls);
    free(p->client.got);
    free(p->server.got);
    free(p);
}

#endif
