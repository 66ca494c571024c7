/* Requests of C plugins: several operations at once, and no callback once they are given up. A real loop, a server on loopback. */
#include "../pdk/fake.h"
#include "service/http_hosts.h"

#include <stdio.h>

enum { CALLS = 3 };

static uv_tcp_t server, peers[8];
static int accepted, asked, left, port;
static bool is_mute;
static int reqs[CALLS], ops[CALLS], woken, bodies;
static char url[64];

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    static char bytes[4096];

    (void)h, (void)n;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

/* All are answered when all have asked. */
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    static char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nhi";
    uv_buf_t out = uv_buf_init(answer, sizeof(answer) - 1);

    (void)buf;
    if (n < 0) {
        left++;
        uv_read_stop(s);
        return;
    }
    if (++asked < CALLS || is_mute)
        return;
    for (int i = 0; i < accepted; i++)
        uv_try_write((uv_stream_t *)&peers[i], &out, 1);
}

static void on_connection(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    uv_tcp_init(s->loop, &peers[accepted]);
    assert_int_equal(uv_accept(s, (uv_stream_t *)&peers[accepted]), 0);
    uv_read_start((uv_stream_t *)&peers[accepted++], on_alloc, on_read);
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    (void)self, (void)local;
    for (int i = 0; i < CALLS; i++) {
        reqs[i] = mg_http_new(x, LIT("GET"), url, strlen(url));
        assert_int_equal(mg_http_header(x, reqs[i], LIT("accept"), LIT("*/*")), 0);
        assert_int_equal(mg_http_header(x, reqs[i], LIT("connection"), LIT("close")), MG_EINVAL);
        ops[i] = mg_http_send(x, reqs[i]);
        assert_true(reqs[i] > 0 && ops[i] > 0);
        assert_int_equal(mg_http_send(x, reqs[i]), MG_EINVAL);
    }
    return MG_WAIT;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct mg_str body;

    (void)self, (void)local;
    assert_int_equal(status, 0);
    for (int i = 0; i < CALLS; i++)
        if (ops[i] == op) {
            assert_int_equal(mg_http_status(x, reqs[i]), 200);
            assert_int_equal(mg_http_field(x, reqs[i], MG_RESPONSE, LIT("X-A"), &body), 0);
            assert_str(body, "b");
            bodies += mg_http_body(x, reqs[i], &body) == 0 && body.n == 2;
            assert_int_equal(mg_http_close(x, reqs[i]), 0);
            assert_int_equal(mg_http_close(x, reqs[i]), MG_ENOENT);
        }
    return ++woken < CALLS ? MG_WAIT : MG_CONTINUE;
}

static const struct mg_plugin plugin = { .name = "asks", .on_request = on_request, .on_wake = on_wake };

static int setup(void **state)
{
    struct sockaddr_in addr;
    int n = sizeof(addr), rc = fake_setup(state);
    struct fake *f = *state;

    f->w.upstreams = mg_upstreams_local_new(&f->w.loop, 3);
    uv_ip4_addr("127.0.0.1", 0, &addr);
    uv_tcp_init(&f->w.loop.uv, &server);
    assert_int_equal(uv_tcp_bind(&server, (struct sockaddr *)&addr, 0), 0);
    uv_tcp_getsockname(&server, (struct sockaddr *)&addr, &n);
    port = ntohs(addr.sin_port);
    assert_int_equal(uv_listen((uv_stream_t *)&server, 8, on_connection), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    accepted = asked = left = woken = bodies = 0;
    is_mute = false;
    fake_entry(f, &plugin, NULL);
    return rc;
}

static int teardown(void **state)
{
    struct fake *f = *state;

    if (f->x)
        fake_end_exchange(f);
    assert_int_equal(mg_http_hosts_sweep(INT64_MAX, 0), 0);
    mg_upstreams_local_close(f->w.upstreams);
    uv_close((uv_handle_t *)&server, NULL);
    for (int i = 0; i < accepted; i++)
        uv_close((uv_handle_t *)&peers[i], NULL);
    uv_run(&f->w.loop.uv, UV_RUN_NOWAIT);
    mg_upstreams_local_free(f->w.upstreams);
    f->w.upstreams = NULL;
    mg_h1_thread_deinit();
    return fake_teardown(state);
}

static void several_run_at_once_and_each_is_told_once(void **state)
{
    struct fake *f = *state;

    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    while (woken < CALLS)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    assert_int_equal(f->woken, MG_CONTINUE);
    assert_int_equal(bodies, CALLS);
    assert_int_equal(accepted, CALLS);
}

static void the_end_of_the_exchange_closes_what_is_under_way_and_tells_nobody(void **state)
{
    struct fake *f = *state;

    is_mute = true;
    assert_int_equal(fake_phase(f, MG_ON_REQUEST), MG_WAIT);
    while (asked < CALLS)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    fake_end_exchange(f);
    while (left < CALLS)
        uv_run(&f->w.loop.uv, UV_RUN_ONCE);
    assert_int_equal(woken, 0);
}

static void outside_of_a_phase_that_may_wait_every_call_says_so(void **state)
{
    struct fake *f = *state;
    struct mg_str out, words;

    assert_int_equal(mg_http_new(f->h, LIT("GET"), LIT("http://x/")), MG_EPHASE);
    assert_int_equal(mg_http_to(f->h, LIT("u"), LIT("GET"), LIT("/")), MG_EPHASE);
    assert_int_equal(mg_http_send(f->h, 1), MG_EPHASE);
    assert_int_equal(mg_http_read(f->h, 1), MG_EPHASE);
    assert_int_equal(mg_http_status(f->h, 1), MG_ENOENT);
    assert_int_equal(mg_http_error(f->h, 1, &out, &words), MG_ENOENT);
    fake_end_exchange(f);
    assert_int_equal(mg_http_new(f->h, LIT("GET"), LIT("http://x/")), MG_EENDED);
    assert_int_equal(mg_http_close(f->h, 1), MG_EENDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(several_run_at_once_and_each_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_of_the_exchange_closes_what_is_under_way_and_tells_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(outside_of_a_phase_that_may_wait_every_call_says_so, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
