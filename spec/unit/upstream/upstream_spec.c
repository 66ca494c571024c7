/* Connections to upstreams: reuse, the next target, limits, waits. A real loop, and servers on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "upstream/upstream.h"
#include "base/alloc.h"

/* ---- a server that notes who comes ---- */

enum { PEERS_MAX = 32 };
struct server {
    uv_tcp_t tcp;
    uv_pipe_t pipe;
    union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t stream; uv_handle_t handle; } peers[PEERS_MAX];
    bool gone[PEERS_MAX];        /* that the client has closed */
    int accepted, left, port;
    bool is_open, is_silent;
    char seen[1024];
    size_t seen_n;
};

static struct mg_loop loop;
static struct mg_upstreams_local *local;
static struct server one, two;
static uv_timer_t deadline;
static bool is_late;

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    static char bytes[4096];

    (void)h;
    (void)n;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct server *sv = s->data;

    for (int i = 0; n < 0 && i < sv->accepted; i++)
        if (&sv->peers[i].stream == s && !sv->gone[i]) {
            sv->gone[i] = true;
            sv->left++;
            uv_read_stop(s);
        }
    if (n <= 0)
        return;
    memcpy(sv->seen + sv->seen_n, buf->base, (size_t)n);
    sv->seen_n += (size_t)n;
    if (!sv->is_silent) {
        static char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        uv_buf_t out = uv_buf_init(answer, sizeof answer - 1);

        uv_try_write(s, &out, 1);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *sv = listener->data;
    int i = sv->accepted++;

    assert_int_equal(status, 0);
    assert_true(i < PEERS_MAX);
    if (listener == (uv_stream_t *)&sv->tcp)
        uv_tcp_init(&loop.uv, &sv->peers[i].tcp);
    else
        uv_pipe_init(&loop.uv, &sv->peers[i].pipe, 0);
    sv->peers[i].stream.data = sv;
    assert_int_equal(uv_accept(listener, &sv->peers[i].stream), 0);
    uv_read_start(&sv->peers[i].stream, on_alloc, on_read);
}

static void serve(struct server *sv, const char *path)
{
    struct sockaddr_in addr;
    uv_stream_t *s = path ? (uv_stream_t *)&sv->pipe : (uv_stream_t *)&sv->tcp;
    int n = sizeof addr;

    memset(sv, 0, sizeof *sv);
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(&loop.uv, &sv->tcp);
    uv_pipe_init(&loop.uv, &sv->pipe, 0);
    s->data = sv;
    sv->is_open = true;
    if (path) {
        assert_int_equal(uv_pipe_bind(&sv->pipe, path), 0);
    } else {
        assert_int_equal(uv_tcp_bind(&sv->tcp, (struct sockaddr *)&addr, 0), 0);
        uv_tcp_getsockname(&sv->tcp, (struct sockaddr *)&addr, &n);
        sv->port = ntohs(addr.sin_port);
    }
    assert_int_equal(uv_listen(s, 16, on_connection), 0);
}

static void stop(struct server *sv)
{
    if (!sv->is_open)
        return;
    sv->is_open = false;
    uv_close((uv_handle_t *)&sv->tcp, NULL);
    uv_close((uv_handle_t *)&sv->pipe, NULL);
    for (int i = 0; i < sv->accepted; i++)
        if (!uv_is_closing(&sv->peers[i].handle))
            uv_close(&sv->peers[i].handle, NULL);
}

/* ---- waiting for events, with a deadline ---- */

static void on_deadline(uv_timer_t *t)
{
    (void)t;
    is_late = true;
}

#define UNTIL(condition) until_begin(); while (!(condition) && !is_late) uv_run(&loop.uv, UV_RUN_ONCE); until_end(#condition)
static void until_begin(void)
{
    is_late = false;
    uv_timer_start(&deadline, on_deadline, 5000, 0);
}
static void until_end(const char *what)
{
    uv_timer_stop(&deadline);
    if (is_late)
        print_message("never: %s\n", what);
    assert_false(is_late);
}

/* A turn of the loop that does not block. */
static void turn(void) { uv_run(&loop.uv, UV_RUN_NOWAIT); }

/* ---- upstreams and waits ---- */

static struct mg_target_spec targets[4];
static struct mg_upstream_spec spec;
static const struct mg_h1_limits limits = { 32768, 8192, 100, 8192 };

struct ask { struct mg_upconn_wait w; struct mg_upconn *conn; int status, calls; const char *why; int order; };
static int order;

static void on_done(struct mg_upconn_wait *w, struct mg_upconn *conn, int status, const char *why)
{
    struct ask *a = mg_container(w, struct ask, w);

    a->calls++;
    a->conn = conn;
    a->status = status;
    a->why = why;
    a->order = ++order;
}

static void take(struct ask *a)
{
    memset(a, 0, sizeof *a);
    a->w.done = on_done;
    a->conn = mg_upstream_take(local, &spec, &a->w);
    assert_int_equal(a->calls, 0); /* never inside the call */
    if (a->conn)
        a->calls = 1;
}

static void take_now(struct ask *a)
{
    take(a);
    UNTIL(a->calls);
    assert_non_null(a->conn);
}

/* What the codec does when an exchange has released its leg; these tests start none. */
static void give(struct mg_upconn *c) { c->h1.events->on_idle(&c->h1); }

static void target(int i, const char *host, int port, int weight)
{
    targets[i] = (struct mg_target_spec){ .host = mg_str_c(host), .port = port, .weight = weight };
    if ((size_t)i + 1 > spec.targets_n)
        spec.targets_n = (size_t)i + 1;
}

static void attach(void)
{
    struct mg_error err = { 0 };

    assert_int_equal(mg_upstream_attach(&spec, &err), 0);
}

static void fresh_spec(const char *name)
{
    memset(&spec, 0, sizeof spec);
    spec.name = mg_str_c(name);
    spec.targets = targets;
    spec.connect_ms = 3000;
    spec.keepalive_ms = 60000;
    spec.keepalive_max = 8;
    spec.keepalive_requests = 1000;
    spec.limits = &limits;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    uv_timer_init(&loop.uv, &deadline);
    local = mg_upstreams_local_new(&loop, 0);
    assert_non_null(local);
    serve(&one, NULL);
    serve(&two, NULL);
    fresh_spec("u");
    order = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mg_upstream_detach(&spec);
    mg_upstreams_local_close(local);
    stop(&one);
    stop(&two);
    uv_close((uv_handle_t *)&deadline, NULL);
    turn();
    mg_upstreams_local_free(local);
    mg_loop_deinit(&loop);
    mg_h1_thread_deinit();
    return 0;
}

static struct mg_upstream_status total;
static void add_status(void *arg, const struct mg_upstream_status *s)
{
    int *n = arg;

    ++*n;
    total.active += s->active;
    total.idle += s->idle;
    total.requests += s->requests;
    total.failures += s->failures;
    total.resolved = s->resolved;
}
static int status_now(void)
{
    int n = 0;

    memset(&total, 0, sizeof total);
    mg_upstream_each(add_status, &n);
    return n;
}

/* ---- reuse ---- */

static void an_idle_connection_is_taken_again_at_once(void **state)
{
    struct ask a, b;
    struct mg_upconn *first;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    first = a.conn;
    assert_false(first->is_reused);
    assert_int_equal(first->requests, 1);
    give(first);
    take(&b);
    assert_ptr_equal(b.conn, first);
    assert_true(first->is_reused);
    assert_int_equal(first->requests, 2);
    give(b.conn);
    assert_int_equal(one.accepted, 1);
}

static void the_latest_idle_connection_is_taken_first(void **state)
{
    struct ask a, b, c;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take_now(&b);
    give(a.conn);
    give(b.conn);
    take(&c);
    assert_ptr_equal(c.conn, b.conn);
    give(c.conn);
}

static void fresh_asks_for_a_new_connection(void **state)
{
    struct ask a, b = { .calls = 0 };

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    b.w.done = on_done;
    b.w.fresh = true;
    assert_null(mg_upstream_take(local, &spec, &b.w));
    UNTIL(b.calls);
    assert_ptr_not_equal(b.conn, a.conn);
    give(b.conn);
}

static void an_idle_connection_that_the_peer_closes_is_dropped_at_once(void **state)
{
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    UNTIL(one.accepted == 1);
    status_now();
    assert_int_equal(total.idle, 1);
    uv_close(&one.peers[0].handle, NULL);
    UNTIL((status_now(), total.idle == 0));
    take_now(&b);
    assert_false(b.conn->is_reused);
    UNTIL(one.accepted == 2);
    give(b.conn);
}

static void an_idle_connection_that_speaks_unasked_is_dropped(void **state)
{
    struct ask a;
    uv_buf_t buf = uv_buf_init("HTTP/1.1 408 Late\r\n\r\n", 21);

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    UNTIL(one.accepted == 1);
    uv_try_write(&one.peers[0].stream, &buf, 1);
    UNTIL(one.left == 1);
    status_now();
    assert_int_equal(total.idle, 0);
}

static void idle_connections_beyond_the_most_are_closed_the_oldest_first(void **state)
{
    struct ask a, b, c;

    (void)state;
    spec.keepalive_max = 2;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    UNTIL(one.accepted == 1);
    take_now(&b);
    take_now(&c);
    give(a.conn);
    give(b.conn);
    give(c.conn);
    UNTIL(one.left == 1);
    assert_true(one.gone[0]);
    status_now();
    assert_int_equal(total.idle, 2);
}

static void a_connection_serves_no_more_requests_than_it_may(void **state)
{
    struct ask a;

    (void)state;
    spec.keepalive_requests = 2;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    take(&a);
    assert_non_null(a.conn);
    give(a.conn);
    UNTIL(one.left == 1);
    take_now(&a);
    assert_false(a.conn->is_reused);
    give(a.conn);
}

static void an_idle_connection_grows_old_and_is_closed(void **state)
{
    struct ask a, b;

    (void)state;
    spec.keepalive_ms = 60;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take_now(&b);
    give(a.conn);
    give(b.conn);
    UNTIL(one.left == 2);
}

static void connections_are_shared_only_by_equal_tls_settings(void **state)
{
    struct mg_upstream_spec first;
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    first = spec;
    spec.name = MG_STR("other");
    attach();
    take(&b);
    assert_ptr_equal(b.conn, a.conn); /* another upstream at the same address */
    give(b.conn);
    mg_upstream_detach(&spec);
    spec.tls_digest = MG_STR("client certificate");
    attach();
    take_now(&b);
    assert_ptr_not_equal(b.conn, a.conn);
    give(b.conn);
    mg_upstream_detach(&first);
}

/* ---- targets ---- */

static void targets_take_turns_by_weight_and_spread_out(void **state)
{
    char got[8] = "";
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", one.port, 5);
    target(1, "127.0.0.1", two.port, 2);
    attach();
    for (int i = 0; i < 7; i++) {
        take_now(&a);
        got[i] = ntohs(((const struct sockaddr_in *)&a.conn->address->sa)->sin_port) == one.port ? 'a' : 'b';
        give(a.conn);
    }
    assert_string_equal(got, "abaaaba");
}

static int closed_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, n), 0); /* bound, never listening: refused */
    getsockname(fd, (struct sockaddr *)&addr, &n);
    close(fd);
    return ntohs(addr.sin_port);
}

static void a_target_that_refuses_is_followed_by_the_next(void **state)
{
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", closed_port(), 9);
    target(1, "127.0.0.1", two.port, 1);
    attach();
    for (int i = 0; i < 3; i++) {
        take_now(&a);
        UNTIL(two.accepted == 1);
        give(a.conn);
    }
    status_now();
    assert_int_equal(total.failures, 3);
    assert_string_equal(a.w.tried.text, a.conn->address->text);
}

static void when_all_targets_refuse_that_is_the_answer(void **state)
{
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", closed_port(), 1);
    target(1, "127.0.0.1", closed_port(), 1);
    attach();
    take(&a);
    UNTIL(a.calls);
    assert_null(a.conn);
    assert_int_equal(a.status, UV_ECONNREFUSED);
    assert_non_null(a.why);
    assert_true(a.w.tried.text[0] != '\0');
    turn();
    assert_int_equal(a.calls, 1);
}

/* A listening socket whose queue is full drops what comes: connecting hangs. */
static int full_port(int *fds)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof addr;

    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&addr, n), 0);
    getsockname(fds[0], (struct sockaddr *)&addr, &n);
    assert_int_equal(listen(fds[0], 0), 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&addr, n);
    }
    return ntohs(addr.sin_port);
}

static void a_target_that_does_not_answer_is_given_up_in_time(void **state)
{
    int fds[4];
    struct ask a;

    (void)state;
    spec.connect_ms = 150;
    target(0, "127.0.0.1", full_port(fds), 1);
    attach();
    take(&a);
    UNTIL(a.calls);
    assert_null(a.conn);
    assert_int_equal(a.status, MG_ETIMEOUT);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void a_silent_target_leaves_time_for_the_next(void **state)
{
    int fds[4];
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", full_port(fds), 9);
    target(1, "127.0.0.1", two.port, 1);
    attach();
    take_now(&a);
    assert_int_equal(two.accepted, 1);
    give(a.conn);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void a_unix_socket_is_a_target_as_well(void **state)
{
    char path[] = "/tmp/moongate-spec-XXXXXX";
    struct ask a;
    struct server un;

    (void)state;
    close(mkstemp(path));
    unlink(path);
    serve(&un, path);
    target(0, "", 0, 1);
    targets[0].unix_path = mg_str_c(path);
    attach();
    take_now(&a);
    assert_memory_equal(a.conn->address->text, "unix:/tmp/", 10);
    UNTIL(un.accepted == 1);
    give(a.conn);
    take(&a);
    assert_non_null(a.conn);
    give(a.conn);
    stop(&un);
    turn();
    unlink(path);
}

/* ---- limits and waits ---- */

static void beyond_the_limit_requests_wait_in_order(void **state)
{
    struct ask a, b, c;

    (void)state;
    spec.connections_max = 1;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take(&b);
    take(&c);
    turn();
    assert_int_equal(b.calls + c.calls, 0);
    give(a.conn);
    UNTIL(b.calls);
    assert_ptr_equal(b.conn, a.conn);
    assert_int_equal(c.calls, 0);
    give(b.conn);
    UNTIL(c.calls);
    assert_true(b.order < c.order);
    give(c.conn);
    assert_int_equal(one.accepted, 1);
}

static void one_that_comes_later_does_not_overtake_those_that_wait(void **state)
{
    struct ask a, b, c;

    (void)state;
    spec.connections_max = 1;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take(&b);
    give(a.conn); /* b is served in the next turn */
    take(&c);
    assert_null(c.conn);
    UNTIL(b.calls);
    give(b.conn);
    UNTIL(c.calls);
    give(c.conn);
}

static void a_wait_for_room_ends_in_time(void **state)
{
    struct ask a, b;

    (void)state;
    spec.connections_max = 1;
    spec.connect_ms = 100;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take(&b);
    UNTIL(b.calls);
    assert_null(b.conn);
    assert_int_equal(b.status, MG_EBUSY);
    give(a.conn);
}

static void the_limit_counts_idle_connections_to_other_targets(void **state)
{
    struct ask a, b;

    (void)state;
    spec.connections_max = 1;
    target(0, "127.0.0.1", one.port, 1);
    target(1, "127.0.0.1", two.port, 1);
    attach();
    take_now(&a);
    UNTIL(one.accepted == 1);
    give(a.conn);
    take_now(&b);
    UNTIL(two.accepted == 1 && one.left == 1);
    give(b.conn);
}

static void cancelled_waits_are_never_told(void **state)
{
    struct ask a, b, c, d;

    (void)state;
    spec.connections_max = 1;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take(&a); /* connecting */
    mg_upstream_cancel(&a.w);
    mg_upstream_cancel(&a.w);
    take_now(&b);
    take(&c); /* in the queue */
    mg_upstream_cancel(&c.w);
    give(b.conn);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(a.calls + c.calls, 0);
    memset(&d, 0, sizeof d);
    mg_upstream_cancel(&d.w);
    mg_upstream_cancel(&b.w);
}

static void a_name_that_nobody_resolves_is_not_waited_for_longer_than_connect(void **state)
{
    struct ask a;

    (void)state;
    spec.connect_ms = 80;
    target(0, "name.invalid", 80, 1);
    attach();
    take(&a);
    UNTIL(a.calls);
    assert_null(a.conn);
    assert_int_equal(a.status, MG_ENOENT);
    assert_int_equal(status_now(), 1);
    assert_false(total.resolved);
}

/* ---- reloads ---- */

static void an_unchanged_upstream_keeps_its_connections_over_a_reload(void **state)
{
    struct mg_upstream_spec old;
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    give(a.conn);
    old = spec;
    attach();
    mg_upstream_detach(&old);
    turn();
    take(&b);
    assert_ptr_equal(b.conn, a.conn);
    give(b.conn);
}

static void idle_connections_to_targets_that_left_are_closed(void **state)
{
    struct mg_upstream_spec old;
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take_now(&b);
    give(a.conn);
    old = spec;
    target(0, "127.0.0.1", two.port, 1);
    attach();
    mg_upstream_detach(&old);
    UNTIL(one.left == 1);
    take_now(&a);
    UNTIL(two.accepted == 1);
    give(a.conn);
    give(b.conn); /* in flight over the reload */
    UNTIL(one.left == 2);
    UNTIL(status_now() == 1);
}

static void many_reloads_leave_nothing_behind(void **state)
{
    struct mg_upstream_spec old;
    struct ask a;
    char name[16];

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    for (int i = 0; i < 50; i++) {
        old = spec;
        snprintf(name, sizeof name, "u%d", i);
        spec.name = mg_str_c(name);
        attach();
        take_now(&a);
        give(a.conn);
        mg_upstream_detach(&old);
        turn();
        assert_int_equal(status_now(), 1);
    }
    assert_int_equal(one.accepted, 1);
}

static void count_only(void *arg, const struct mg_upstream_status *s)
{
    *(uint64_t *)arg += s->requests;
}

/* The builder's thread: snapshots come and go, some with this upstream and some with another list of targets. */
static void reload_often(void *arg)
{
    struct mg_upstream_spec mine = spec, other = spec;
    struct mg_target_spec pair[2] = { targets[0], targets[0] };
    uint64_t n = 0;

    pair[1].port = *(int *)arg;
    other.targets = pair;
    other.targets_n = 2;
    for (int i = 0; i < 300; i++) {
        mg_upstream_attach(&mine, NULL);
        mg_upstream_attach(&other, NULL);
        mg_upstream_each(count_only, &n);
        mg_upstream_detach(&mine);
        mg_upstream_detach(&other);
    }
}

static void snapshots_come_and_go_on_another_thread_while_a_worker_serves(void **state)
{
    uv_thread_t builder;
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    assert_int_equal(uv_thread_create(&builder, reload_often, &two.port), 0);
    for (int i = 0; i < 300; i++) {
        take_now(&a);
        give(a.conn);
        turn();
    }
    uv_thread_join(&builder);
    assert_int_equal(one.accepted, 1);
    assert_int_equal(status_now(), 1);
}

static void counts_are_told(void **state)
{
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    take_now(&b);
    give(b.conn);
    mg_upstream_report(a.conn, MG_ECLOSED);
    mg_upstream_report(a.conn, 0);
    assert_int_equal(status_now(), 1);
    assert_true(total.resolved);
    assert_int_equal(total.active, 1);
    assert_int_equal(total.idle, 1);
    assert_int_equal(total.requests, 2);
    assert_int_equal(total.failures, 1);
    give(a.conn);
}

static void out_of_memory_is_told_and_harms_nothing(void **state)
{
    struct ask a;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    for (int nth = 1; !spec.live; nth++) {
        mg_alloc_fail(nth);
        mg_upstream_attach(&spec, NULL);
    }
    for (int nth = 1;; nth++) {
        mg_alloc_fail(nth);
        take(&a);
        mg_alloc_fail(0);
        UNTIL(a.calls);
        if (a.conn)
            break;
        assert_true(a.status < 0);
    }
    give(a.conn);
}

/* ---- with the codec ---- */

struct talk { struct mg_leg *leg; struct mg_arena arena; int status, ended, error; char body[64]; size_t body_n; };

static void on_head(struct mg_leg *leg, struct mg_head *head) { ((struct talk *)leg->owner)->status = head->status; }
static void on_body(struct mg_leg *leg, struct mg_str s)
{
    struct talk *t = leg->owner;

    memcpy(t->body + t->body_n, s.p, s.n);
    t->body_n += s.n;
}
static void on_message_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    (void)trailers;
    ((struct talk *)leg->owner)->ended++;
}
static void on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    (void)status;
    (void)why;
    ((struct talk *)leg->owner)->error = error;
}
static void on_leg_drain(struct mg_leg *leg) { (void)leg; }
static const struct mg_leg_events talk_events = { on_head, NULL, on_body, on_message_end, on_reset, on_leg_drain };

static void ask_for(struct talk *t, struct mg_upconn *c)
{
    struct mg_head head = { .method_text = MG_STR("GET"), .method = MG_M_GET, .target = MG_STR("/"), .version = 11,
                            .authority = MG_STR("h"), .length = -1 };

    memset(t, 0, sizeof *t);
    mg_arena_init(&t->arena, NULL, 1 << 20);
    mg_headers_add_id(&head.headers, &t->arena, MG_H_HOST, MG_STR("h"));
    c->h1.leg.owner = t;
    c->h1.leg.events = &talk_events;
    c->h1.leg.arena = &t->arena;
    mg_h1_start(&c->h1, &t->leg);
    assert_true(t->leg->ops->send_head(t->leg, &head, 0) >= 0);
    assert_true(t->leg->ops->send_end(t->leg, NULL) >= 0);
}

static void an_exchange_returns_its_connection_by_releasing_the_leg(void **state)
{
    struct talk t;
    struct ask a, b;

    (void)state;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    for (int i = 0; i < 3; i++) {
        ask_for(&t, a.conn);
        UNTIL(t.ended || t.error);
        assert_int_equal(t.status, 200);
        assert_memory_equal(t.body, "hi", 2);
        t.leg->ops->release(t.leg);
        mg_arena_deinit(&t.arena);
        take(&b);
        assert_ptr_equal(b.conn, a.conn);
    }
    assert_memory_equal(one.seen, "GET / HTTP/1.1\r\n", 16);
    give(b.conn);
    assert_int_equal(one.accepted, 1);
}

static void a_connection_released_in_the_middle_is_closed(void **state)
{
    struct talk t;
    struct ask a;

    (void)state;
    one.is_silent = true;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    ask_for(&t, a.conn);
    UNTIL(one.seen_n > 0);
    t.leg->ops->release(t.leg);
    mg_arena_deinit(&t.arena);
    UNTIL(one.left == 1);
    status_now();
    assert_int_equal(total.active + total.idle, 0);
}

static void a_connection_that_dies_in_use_resets_the_leg_and_goes(void **state)
{
    struct talk t;
    struct ask a;

    (void)state;
    one.is_silent = true;
    target(0, "127.0.0.1", one.port, 1);
    attach();
    take_now(&a);
    ask_for(&t, a.conn);
    UNTIL(one.seen_n > 0);
    uv_close(&one.peers[0].handle, NULL);
    UNTIL(t.error);
    t.leg->ops->release(t.leg);
    mg_arena_deinit(&t.arena);
    UNTIL((status_now(), total.active + total.idle == 0));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_idle_connection_is_taken_again_at_once), T(the_latest_idle_connection_is_taken_first),
        T(fresh_asks_for_a_new_connection), T(an_idle_connection_that_the_peer_closes_is_dropped_at_once),
        T(an_idle_connection_that_speaks_unasked_is_dropped),
        T(idle_connections_beyond_the_most_are_closed_the_oldest_first),
        T(a_connection_serves_no_more_requests_than_it_may), T(an_idle_connection_grows_old_and_is_closed),
        T(connections_are_shared_only_by_equal_tls_settings), T(targets_take_turns_by_weight_and_spread_out),
        T(a_target_that_refuses_is_followed_by_the_next), T(when_all_targets_refuse_that_is_the_answer),
        T(a_target_that_does_not_answer_is_given_up_in_time), T(a_silent_target_leaves_time_for_the_next),
        T(a_unix_socket_is_a_target_as_well), T(beyond_the_limit_requests_wait_in_order),
        T(one_that_comes_later_does_not_overtake_those_that_wait), T(a_wait_for_room_ends_in_time),
        T(the_limit_counts_idle_connections_to_other_targets), T(cancelled_waits_are_never_told),
        T(a_name_that_nobody_resolves_is_not_waited_for_longer_than_connect),
        T(an_unchanged_upstream_keeps_its_connections_over_a_reload),
        T(idle_connections_to_targets_that_left_are_closed), T(many_reloads_leave_nothing_behind), T(counts_are_told),
        T(snapshots_come_and_go_on_another_thread_while_a_worker_serves),
        T(out_of_memory_is_told_and_harms_nothing), T(an_exchange_returns_its_connection_by_releasing_the_leg),
        T(a_connection_released_in_the_middle_is_closed), T(a_connection_that_dies_in_use_resets_the_leg_and_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
