#include "unit.h"
#include "net/resolver.h"
#include <arpa/inet.h>
#include <netinet/in.h>

/* A DNS server in the test's own loop: answers by the name's first label. */
static struct mg_loop loop;
static uv_udp_t dns;
static uv_timer_t deadline;
static int dns_port, questions;
static bool late;
static char servers[64];

struct answer {
    int calls, status, ttl_s;
    size_t n;
    struct mg_address addrs[64];
};

static void put16(unsigned char **p, unsigned v)
{
    *(*p)++ = (unsigned char)(v >> 8);
    *(*p)++ = (unsigned char)v;
}

static void put_record(unsigned char **p, unsigned type, unsigned ttl, const void *data, unsigned n)
{
    put16(p, 0xc00c); /* the question's name */
    put16(p, type);
    put16(p, 1);
    put16(p, 0);
    put16(p, ttl);
    put16(p, n);
    memcpy(*p, data, n);
    *p += n;
}

static void on_question(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
    unsigned char reply[512], *p, *q = (unsigned char *)buf->base;
    static const unsigned char v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 7 };
    bool is_a, name_is[4];
    static const char *const labels[] = { "\004both", "\006v4only", "\007missing", "\006silent" };
    size_t question_n;
    uv_buf_t out;

    (void)flags;
    if (n < 17 || !from)
        return;
    questions++;
    for (question_n = 12; q[question_n]; question_n += q[question_n] + 1u)
        ;
    is_a = q[question_n + 2] == 1;
    question_n += 5;
    for (int i = 0; i < 4; i++)
        name_is[i] = memcmp(q + 12, labels[i], strlen(labels[i])) == 0;
    if (name_is[3])
        return;
    memcpy(reply, q, question_n);
    reply[2] = 0x81; /* an answer */
    reply[3] = name_is[2] ? 0x83 : 0x80;
    memset(reply + 6, 0, 6);
    p = reply + question_n;
    if (is_a && (name_is[0] || name_is[1])) {
        put_record(&p, 1, 300, "\x0a\0\0\1", 4);
        put_record(&p, 1, 60, "\x0a\0\0\2", 4);
        reply[7] = 2;
    } else if (!is_a && name_is[0]) {
        put_record(&p, 28, 120, v6, 16);
        reply[7] = 1;
    }
    out = uv_buf_init((char *)reply, (unsigned)(p - reply));
    uv_udp_try_send(h, &out, 1, from);
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    static char bytes[2048];

    (void)h, (void)n;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_late(uv_timer_t *t)
{
    (void)t;
    late = true;
}

static void note(void *arg, int status, const struct mg_address *addrs, size_t n, int ttl_s)
{
    struct answer *a = arg;

    a->calls++;
    a->status = status;
    a->n = n;
    a->ttl_s = ttl_s;
    memcpy(a->addrs, addrs, n * sizeof(addrs[0]));
    uv_stop(&loop.uv); /* nobody polls for more */
}

static int set_up(void **state)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int n = sizeof(in);

    (void)state;
    assert_int_equal(mg_loop_init(&loop), 0);
    uv_timer_init(&loop.uv, &deadline);
    uv_udp_init(&loop.uv, &dns);
    assert_int_equal(uv_udp_bind(&dns, (struct sockaddr *)&in, 0), 0);
    uv_udp_getsockname(&dns, (struct sockaddr *)&in, &n);
    uv_udp_recv_start(&dns, on_alloc, on_question);
    dns_port = ntohs(in.sin_port);
    questions = 0;
    snprintf(servers, sizeof(servers), "127.0.0.1:%d", dns_port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&dns, NULL);
    uv_close((uv_handle_t *)&deadline, NULL);
    mg_loop_deinit(&loop);
    return 0;
}

static struct mg_resolver *resolver(void)
{
    struct mg_resolver_conf conf = { .servers = mg_str_c(servers), .timeout_ms = 50, .tries = 2 };
    struct mg_error err = { 0 };
    struct mg_resolver *r = mg_resolver_new(&loop, &conf, &err);

    if (!r)
        fail_msg("%s", err.message);
    mg_resolver_hosts(r, "/nonexistent");
    return r;
}

static void ask(struct mg_resolver *r, const char *host, struct answer *a)
{
    memset(a, 0, sizeof(*a));
    assert_int_equal(mg_resolver_ask(r, mg_str_c(host), 80, note, a), 0);
    assert_int_equal(a->calls, 0); /* never inside the call */
    late = false;
    uv_timer_start(&deadline, on_late, 5000, 0);
    while (!a->calls && !late)
        uv_run(&loop.uv, UV_RUN_ONCE);
    uv_timer_stop(&deadline);
    assert_int_equal(a->calls, 1);
}

static void both_families_come_with_the_shortest_ttl(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a;

    (void)state;
    ask(r, "both.test", &a);
    assert_int_equal(a.status, 0);
    assert_int_equal(a.n, 3);
    assert_string_equal(a.addrs[0].text, "10.0.0.1:80");
    assert_string_equal(a.addrs[1].text, "10.0.0.2:80");
    assert_string_equal(a.addrs[2].text, "[2001:db8::7]:80");
    assert_int_equal(a.ttl_s, 60);
    ask(r, "v4only.test.", &a);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.ttl_s, 60);
    mg_resolver_free(r);
}

static void a_name_that_is_not_there_is_said_so(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a;

    (void)state;
    ask(r, "missing.test", &a);
    assert_int_equal(a.status, MG_ENOENT);
    assert_int_equal(a.n, 0);
    ask(r, "empty.test", &a); /* exists without addresses */
    assert_int_equal(a.status, MG_ENOENT);
    ask(r, "", &a);
    assert_int_equal(a.status, MG_ENOENT);
    ask(r, "a..b", &a);
    assert_int_equal(a.status, MG_ENOENT);
    mg_resolver_free(r);
}

static void a_silent_server_is_a_timeout(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a;

    (void)state;
    ask(r, "silent.test", &a);
    assert_int_equal(a.status, MG_ETIMEOUT);
    assert_int_equal(questions, 4); /* two tries for each family */
    assert_int_equal(a.ttl_s, 0);
    mg_resolver_free(r);
}

static void literals_and_localhost_ask_nobody(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a;

    (void)state;
    ask(r, "192.0.2.1", &a);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.addrs[0].text, "192.0.2.1:80");
    assert_int_equal(a.ttl_s, 86400);
    ask(r, "[::1]", &a);
    assert_string_equal(a.addrs[0].text, "[::1]:80");
    ask(r, "LocalHost", &a);
    assert_int_equal(a.n, 2);
    assert_string_equal(a.addrs[0].text, "127.0.0.1:80");
    ask(r, "x.localhost", &a);
    assert_int_equal(a.status, 0);
    assert_int_equal(questions, 0);
    mg_resolver_free(r);
}

static void the_hosts_file_comes_first_and_is_read_anew(void **state)
{
    struct mg_resolver *r = resolver();
    char folder[256], path[300];
    struct answer a;
    FILE *f;

    (void)state;
    temp_folder(folder);
    snprintf(path, sizeof(path), "%s/hosts", folder);
    f = fopen(path, "w");
    fputs("# comment both.test\n::2 both.test\n10.9.9.9\tother BOTH.test # trailing\nnonsense both.test\n10.9.9.8 x", f);
    fclose(f);
    mg_resolver_hosts(r, path);
    ask(r, "both.test", &a);
    assert_int_equal(a.n, 2);
    assert_string_equal(a.addrs[0].text, "10.9.9.9:80"); /* IPv4 first */
    assert_string_equal(a.addrs[1].text, "[::2]:80");
    ask(r, "x", &a);
    assert_int_equal(a.n, 1);
    assert_int_equal(questions, 0);
    f = fopen(path, "w");
    fputs("10.1.1.1 another", f);
    fclose(f);
    ask(r, "another", &a);
    assert_string_equal(a.addrs[0].text, "10.1.1.1:80");
    ask(r, "both.test", &a);
    assert_true(questions > 0);
    unlink(path);
    rmdir(folder);
    mg_resolver_free(r);
}

static void many_names_at_once_are_all_answered(void **state)
{
    struct mg_resolver *r = resolver();
    static struct answer a[200];
    char name[32];
    int calls = 0;

    (void)state;
    memset(a, 0, sizeof(a));
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), i % 2 ? "both.x%d" : "10.0.0.%d", i);
        mg_resolver_ask(r, mg_str_c(name), 1000 + i, note, &a[i]);
    }
    late = false;
    uv_timer_start(&deadline, on_late, 5000, 0);
    while (calls < 200 && !late) {
        uv_run(&loop.uv, UV_RUN_ONCE);
        calls = 0;
        for (int i = 0; i < 200; i++)
            calls += a[i].calls;
    }
    uv_timer_stop(&deadline);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(a[i].calls, 1);
        assert_int_equal(a[i].n, i % 2 ? 3 : 1);
        assert_int_equal(ntohs(((struct sockaddr_in *)&a[i].addrs[0].sa)->sin_port), 1000 + i);
    }
    mg_resolver_free(r);
}

static void freeing_cancels_without_a_call(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a = { 0 }, b = { 0 };

    (void)state;
    mg_resolver_ask(r, MG_STR("silent.test"), 80, note, &a);
    mg_resolver_ask(r, MG_STR("127.0.0.1"), 80, note, &b);
    mg_resolver_free(r);
    for (int i = 0; i < 20; i++) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(a.calls + b.calls, 0);
}

static void without_memory_a_question_is_refused(void **state)
{
    struct mg_resolver *r = resolver();
    struct answer a = { 0 };

    (void)state;
    fail_allocation(1);
    assert_int_equal(mg_resolver_ask(r, MG_STR("127.0.0.1"), 80, note, &a), UV_ENOMEM);
    fail_allocation(0);
    mg_resolver_free(r);
}

static void nonsense_for_servers_is_refused(void **state)
{
    struct mg_resolver_conf conf = { .servers = MG_STR("not an address") };
    struct mg_error err = { 0 };

    (void)state;
    assert_null(mg_resolver_new(&loop, &conf, &err));
    assert_non_null(strstr(err.message, "not an address"));
}

static void addresses_are_parsed_strictly(void **state)
{
    static const char *const bad[] = { "", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "::g", "[1.2.3.4]", "[::1", "::1]", "a.test",
                                       "[]", "1.2.3.4:80", "::1%lo", "0x7f.1", "1.2.3.4.5" };
    struct mg_address a;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mg_address_parse(mg_str_c(bad[i]), 80, &a), MG_EINVAL);
    assert_int_equal(mg_address_parse(MG_STR("1.2.3.4"), 65536, &a), MG_EINVAL);
    assert_int_equal(mg_address_parse(MG_STR("1.2.3.4"), -1, &a), MG_EINVAL);
    assert_int_equal(mg_address_parse(mg_str("1.2.3.4\0x", 9), 80, &a), MG_EINVAL);
    assert_int_equal(mg_address_parse(MG_STR("2001:DB8:0:0::1"), 8443, &a), 0);
    assert_string_equal(a.text, "[2001:db8::1]:8443");
    assert_int_equal(mg_address_parse(MG_STR("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"), 65535, &a), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_families_come_with_the_shortest_ttl, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_is_not_there_is_said_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_server_is_a_timeout, set_up, tear_down),
        cmocka_unit_test_setup_teardown(literals_and_localhost_ask_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hosts_file_comes_first_and_is_read_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_names_at_once_are_all_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(freeing_cancels_without_a_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_a_question_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_for_servers_is_refused, set_up, tear_down),
        cmocka_unit_test(addresses_are_parsed_strictly),
    };

    return cmocka_run_group_tests_name("net/resolver", tests, NULL, NULL);
}
