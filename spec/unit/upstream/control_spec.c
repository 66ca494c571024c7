/* Names of targets: resolved on the control loop, kept fresh, told to workers. A DNS server of our own on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "upstream/upstream.h"
#include "base/log.h"

static struct mg_loop loop;
static struct mg_upstreams_local *local;
static struct mg_upstream_control *control;
static uv_timer_t deadline;
static bool is_late;

/* ---- a DNS server with one answer for every A question ---- */

static uv_udp_t dns;
static int dns_port, asked;
static int last_octet;          /* of 127.0.0.x; 0: SERVFAIL; -1: NXDOMAIN; -2: no answer at all */
static uint32_t ttl;

/* What the codec does when an exchange has released its leg; these tests start none. */
static void give(struct mg_upconn *c) { c->h1.events->on_idle(&c->h1); }

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    static char bytes[1500];

    (void)h;
    (void)n;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static size_t answer(uint8_t *p, size_t n)
{
    size_t q = 12;
    bool is_a;

    while (q < n && p[q])
        q += 1u + p[q];
    is_a = p[q + 2] == 1;
    q += 5; /* root, type, class */
    p[2] = 0x81;
    p[3] = last_octet == 0 ? 0x82 : last_octet < 0 ? 0x83 : 0x80;
    memset(p + 6, 0, 6);
    if (!is_a || last_octet <= 0)
        return q;
    asked++;
    p[7] = 1;
    memcpy(p + q, "\xc0\x0c\0\1\0\1", 6);
    p[q + 6] = (uint8_t)(ttl >> 24);
    p[q + 7] = (uint8_t)(ttl >> 16);
    p[q + 8] = (uint8_t)(ttl >> 8);
    p[q + 9] = (uint8_t)ttl;
    memcpy(p + q + 10, "\0\4\177\0\0", 5);
    p[q + 15] = (uint8_t)last_octet;
    return q + 16;
}

static void on_question(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
    uv_buf_t out = *buf;

    (void)flags;
    if (n < 17 || !from || last_octet == -2)
        return;
    out.len = answer((uint8_t *)buf->base, (size_t)n);
    uv_udp_try_send(h, &out, 1, from);
}

static void serve_dns(void)
{
    struct sockaddr_in addr;
    int n = sizeof addr;

    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_udp_init(&loop.uv, &dns);
    assert_int_equal(uv_udp_bind(&dns, (struct sockaddr *)&addr, 0), 0);
    uv_udp_getsockname(&dns, (struct sockaddr *)&addr, &n);
    dns_port = ntohs(addr.sin_port);
    uv_udp_recv_start(&dns, on_alloc, on_question);
}

/* ---- the upstream, listening on all of 127.0.0.0/8 ---- */

static uv_tcp_t server;
static uv_tcp_t peers[16];
static int accepted, left, server_port;

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0) {
        left++;
        uv_read_stop(s);
    }
}

static void on_connection(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    uv_tcp_init(&loop.uv, &peers[accepted]);
    uv_accept(s, (uv_stream_t *)&peers[accepted]);
    uv_read_start((uv_stream_t *)&peers[accepted++], on_alloc, on_read);
}

static void serve(void)
{
    struct sockaddr_in addr;
    int n = sizeof addr;

    accepted = left = 0;
    uv_ip4_addr("0.0.0.0", 0, &addr);
    uv_tcp_init(&loop.uv, &server);
    assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *)&addr, 0), 0);
    uv_tcp_getsockname(&server, (struct sockaddr *)&addr, &n);
    server_port = ntohs(addr.sin_port);
    assert_int_equal(uv_listen((uv_stream_t *)&server, 16, on_connection), 0);
}

/* ---- helpers ---- */

static void on_deadline(uv_timer_t *t)
{
    (void)t;
    is_late = true;
}

#define UNTIL(condition) until_begin(); while (!(condition) && !is_late) uv_run(&loop.uv, UV_RUN_ONCE); until_end(#condition)
static void until_begin(void)
{
    is_late = false;
    uv_timer_start(&deadline, on_deadline, 8000, 0);
}
static void until_end(const char *what)
{
    uv_timer_stop(&deadline);
    if (is_late)
        print_message("never: %s\n", what);
    assert_false(is_late);
}

static struct mg_target_spec target;
static struct mg_upstream_spec spec;
static const struct mg_h1_limits limits = { 32768, 8192, 100, 8192 };
static int warnings;

struct ask { struct mg_upconn_wait w; struct mg_upconn *conn; int status, calls; };

static void on_done(struct mg_upconn_wait *w, struct mg_upconn *conn, int status, const char *why)
{
    struct ask *a = mg_container(w, struct ask, w);

    (void)why;
    a->calls++;
    a->conn = conn;
    a->status = status;
}

static void take(struct ask *a)
{
    memset(a, 0, sizeof *a);
    a->w.done = on_done;
    a->conn = mg_upstream_take(local, &spec, &a->w);
    a->calls = a->conn != NULL;
}

static void on_ready(void *arg) { ++*(int *)arg; }

static void on_log(int level, struct mg_str text, void *arg)
{
    (void)text;
    (void)arg;
    warnings += level == MG_LOG_WARN;
}

static void start(void)
{
    char servers[32];
    struct mg_resolver_conf conf = { .timeout_ms = 100, .tries = 1 };
    struct mg_error err = { 0 };

    snprintf(servers, sizeof servers, "127.0.0.1:%d", dns_port);
    conf.servers = mg_str_c(servers);
    control = mg_upstream_control_new(&loop, &conf, &err);
    assert_non_null(control);
    target = (struct mg_target_spec){ .host = MG_STR("up.test"), .port = server_port, .weight = 1 };
    spec = (struct mg_upstream_spec){ .name = MG_STR("u"), .targets = &target, .targets_n = 1, .connect_ms = 5000,
                                      .keepalive_ms = 60000, .keepalive_max = 8, .limits = &limits };
    assert_int_equal(mg_upstream_attach(&spec, &err), 0);
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    uv_timer_init(&loop.uv, &deadline);
    local = mg_upstreams_local_new(&loop, 1);
    serve_dns();
    serve();
    asked = warnings = 0;
    ttl = 60;
    last_octet = 1;
    mg_log_capture(on_log, NULL);
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mg_upstream_detach(&spec);
    mg_upstream_control_free(control);
    mg_upstreams_local_close(local);
    uv_close((uv_handle_t *)&dns, NULL);
    uv_close((uv_handle_t *)&server, NULL);
    for (int i = 0; i < accepted; i++)
        uv_close((uv_handle_t *)&peers[i], NULL);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    mg_upstreams_local_free(local);
    mg_loop_deinit(&loop);
    mg_log_capture(NULL, NULL);
    return 0;
}

static void a_request_waits_until_its_name_has_an_address(void **state)
{
    struct ask a;

    (void)state;
    take(&a);
    assert_null(a.conn);
    mg_upstream_control_update(control);
    UNTIL(a.calls);
    assert_non_null(a.conn);
    assert_memory_equal(a.conn->address->text, "127.0.0.1:", 10);
    give(a.conn);
}

static void readiness_comes_when_all_names_have_answers_good_or_bad(void **state)
{
    int ready = 0;

    (void)state;
    last_octet = -1;
    mg_upstream_control_update(control);
    mg_upstream_control_ready(control, 5000, on_ready, &ready);
    assert_int_equal(ready, 0);
    UNTIL(ready);
    assert_int_equal(ready, 1);
}

static void readiness_comes_at_its_time_when_nobody_answers(void **state)
{
    int ready = 0;

    (void)state;
    mg_upstream_control_ready(control, 50, on_ready, &ready); /* nobody was asked yet */
    UNTIL(ready);
}

static void a_name_that_does_not_exist_fails_at_once_and_warns_once(void **state)
{
    struct ask a;

    (void)state;
    last_octet = -1;
    take(&a);
    mg_upstream_control_update(control);
    UNTIL(a.calls);
    assert_null(a.conn);
    assert_int_equal(a.status, MG_ENOENT);
    take(&a);
    UNTIL(a.calls);
    assert_int_equal(a.status, MG_ENOENT);
    last_octet = 1;
    UNTIL(asked);      /* asked again after a second */
    assert_int_equal(warnings, 1);
    do {
        take(&a);
        UNTIL(a.calls);
    } while (!a.conn); /* the answer may be on its way */
    give(a.conn);
}

static void a_new_address_is_taken_up_when_the_ttl_is_over(void **state)
{
    struct ask a;

    (void)state;
    ttl = 1;
    mg_upstream_control_update(control);
    take(&a);
    UNTIL(a.calls);
    give(a.conn);
    last_octet = 2;
    UNTIL(left == 1); /* the idle connection to the old address goes */
    take(&a);
    UNTIL(a.calls);
    assert_memory_equal(a.conn->address->text, "127.0.0.2:", 10);
    give(a.conn);
    assert_true(asked >= 2);
}

static void the_last_good_answer_stays_in_use_when_the_resolver_fails(void **state)
{
    struct ask a;

    (void)state;
    ttl = 1;
    mg_upstream_control_update(control);
    take(&a);
    UNTIL(a.calls);
    give(a.conn);
    last_octet = 0;
    UNTIL(warnings == 1);
    take(&a);
    assert_non_null(a.conn);
    assert_true(a.conn->is_reused);
    give(a.conn);
}

static void a_known_name_serves_a_new_snapshot_at_once(void **state)
{
    struct mg_upstream_spec old;
    struct ask a;
    int ready = 0;

    (void)state;
    mg_upstream_control_update(control);
    mg_upstream_control_ready(control, 5000, on_ready, &ready);
    UNTIL(ready);
    old = spec;
    spec.name = MG_STR("renamed");
    assert_int_equal(mg_upstream_attach(&spec, NULL), 0);
    mg_upstream_control_update(control);
    mg_upstream_detach(&old);
    mg_upstream_control_update(control);
    last_octet = -2;
    take(&a);
    UNTIL(a.calls);
    assert_non_null(a.conn);
    give(a.conn);
    assert_int_equal(asked, 1);
}

static void names_that_no_spec_has_are_asked_for_no_more(void **state)
{
    int ready = 0;

    (void)state;
    ttl = 1;
    mg_upstream_control_update(control);
    mg_upstream_control_ready(control, 5000, on_ready, &ready);
    UNTIL(ready);
    mg_upstream_detach(&spec);
    mg_upstream_control_update(control);
    ready = 0;
    mg_upstream_control_ready(control, 5000, on_ready, &ready);
    UNTIL(ready);
    uv_timer_start(&deadline, on_deadline, 1300, 0); /* longer than the TTL */
    for (is_late = false; !is_late;)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(asked, 1);
}

static void a_control_may_end_while_questions_are_under_way(void **state)
{
    int ready = 0;

    (void)state;
    last_octet = -2;
    mg_upstream_control_update(control);
    mg_upstream_detach(&spec);
    mg_upstream_control_update(control); /* dropped while it is asked for */
    assert_int_equal(mg_upstream_attach(&spec, NULL), 0);
    mg_upstream_control_update(control);
    mg_upstream_control_ready(control, 5000, on_ready, &ready);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(ready, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_request_waits_until_its_name_has_an_address), T(readiness_comes_when_all_names_have_answers_good_or_bad),
        T(readiness_comes_at_its_time_when_nobody_answers), T(a_name_that_does_not_exist_fails_at_once_and_warns_once),
        T(a_new_address_is_taken_up_when_the_ttl_is_over), T(the_last_good_answer_stays_in_use_when_the_resolver_fails),
        T(a_known_name_serves_a_new_snapshot_at_once), T(names_that_no_spec_has_are_asked_for_no_more),
        T(a_control_may_end_while_questions_are_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
