#include "net/pair.h"
#include "net/certs.h"
#include "net/tls_private.h"
#include "base/log.h"
#include <malloc.h>

static char folder[256];

static struct mg_str file(const char *name)
{
    static char paths[8][320];
    static int i;
    char *path = paths[i++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return mg_str_c(path);
}

static struct mg_tls *server_of(const char *a, const char *b, int min_version, bool tickets)
{
    struct mg_tls_cert certs[2];
    struct mg_tls_server_conf conf = { .certs = certs, .certs_n = b ? 2 : 1, .min_version = min_version,
                                       .session_tickets = tickets, .session_timeout_ms = 3600000 };
    struct mg_error err = { 0 };
    struct mg_tls *t;
    char name[64];

    for (int i = 0; i < (b ? 2 : 1); i++) {
        snprintf(name, sizeof(name), "%s.pem", i ? b : a);
        certs[i].cert = file(name);
        snprintf(name, sizeof(name), "%s.key", i ? b : a);
        certs[i].key = file(name);
    }
    t = mg_tls_server_new(&conf, &err);
    if (!t)
        fail_msg("%s", err.message);
    return t;
}

static struct mg_tls *client_of(bool verify, int min_version)
{
    struct mg_tls_client_conf conf = { .verify = verify, .ca = file("ca.pem"), .min_version = min_version };
    struct mg_error err = { 0 };
    struct mg_tls *t = mg_tls_client_new(&conf, &err);

    if (!t)
        fail_msg("%s", err.message);
    return t;
}

static struct pair *plain_case(void) { return pair_open(server_of("a", "b", 12, true), client_of(true, 12), "a.test"); }

static void echo(struct side *d, const char *p, size_t n) { mg_stream_write(&d->s, p, n, 0); }

static void a_verified_connection_carries_bytes_both_ways(void **state)
{
    struct pair *p = plain_case();

    (void)state;
    p->server.on_data = echo;
    mg_stream_write(&p->client.s, "hello", 5, 0);
    pair_until(p, p->client.got_n == 5);
    assert_string_equal(p->client.got, "hello");
    assert_int_equal(p->client.s.bytes_out, 5); /* payload is counted, not records */
    assert_str_is(mg_tls_version(&p->server.s), "TLSv1.3");
    assert_str_is(mg_tls_alpn(&p->server.s), "http/1.1");
    assert_str_is(mg_tls_sni(&p->server.s), "a.test");
    assert_true(mg_tls_cipher(&p->client.s).n > 0);
    assert_int_equal(p->server.opened, 1);
    assert_null(p->client.s.out_first);
    pair_free(p);
}

static void tls_12_works_as_well(void **state)
{
    struct mg_tls *server = server_of("a", NULL, 12, true);
    struct pair *p;

    (void)state;
    SSL_CTX_set_max_proto_version(server->ctx, TLS1_2_VERSION);
    p = pair_open(server, client_of(true, 12), "a.test");
    p->server.on_data = echo;
    mg_stream_write(&p->client.s, "hello", 5, 0);
    pair_until(p, p->client.got_n == 5);
    assert_str_is(mg_tls_version(&p->client.s), "TLSv1.2");
    pair_free(p);
}

/* The handshake fails on the client's side; returns what it said. */
static const char *client_refuses(struct mg_tls *server, struct mg_tls *client, const char *name)
{
    static char why[256];
    struct pair *p = pair_new();

    p->server_tls = server;
    p->client_tls = client;
    p->server_name = name;
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.opened);
    assert_int_equal(p->client.open_status, MG_ETLS);
    mg_stream_close(&p->client.s);
    pair_until(p, p->server.opened || p->server.ended);
    assert_false(p->server.s.is_open && p->server.end_status != MG_ETLS);
    snprintf(why, sizeof(why), "%s", p->client.why);
    assert_int_equal(p->client.ended, 0);
    pair_free(p);
    return why;
}

static void a_wrong_name_is_refused(void **state)
{
    const char *why = client_refuses(server_of("a", NULL, 12, true), client_of(true, 12), "other.test");

    (void)state;
    assert_non_null(strstr(why, "other.test"));
    assert_non_null(strstr(why, "hostname mismatch"));
}

static void a_stranger_s_certificate_is_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(client_refuses(server_of("stranger", NULL, 12, true), client_of(true, 12), "a.test"), "not accepted"));
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    assert_non_null(strstr(client_refuses(server_of("old", NULL, 12, true), client_of(true, 12), "a.test"), "expired"));
}

static void a_server_that_is_too_old_is_refused(void **state)
{
    struct mg_tls *server = server_of("a", NULL, 12, true);

    (void)state;
    SSL_CTX_set_max_proto_version(server->ctx, TLS1_2_VERSION);
    assert_true(strlen(client_refuses(server, client_of(true, 13), "a.test")) > 0);
}

static void without_verification_anybody_will_do(void **state)
{
    struct pair *p = pair_open(server_of("stranger", NULL, 12, true), client_of(false, 12), "other.test");

    (void)state;
    assert_int_equal(p->client.open_status, 0);
    pair_free(p);
}

static void an_address_is_verified_as_an_address(void **state)
{
    struct pair *p = pair_open(server_of("a", NULL, 12, true), client_of(true, 12), "127.0.0.1");

    (void)state;
    assert_int_equal(mg_tls_sni(&p->server.s).n, 0); /* SNI holds names only */
    pair_free(p);
    assert_non_null(strstr(client_refuses(server_of("a", NULL, 12, true), client_of(true, 12), "127.0.0.2"), "IP address mismatch"));
}

static void the_certificate_is_chosen_by_the_name_asked_for(void **state)
{
    static const char *const asked[] = { "a.test", "x.b.test", "X.B.TEST", "b.test" };
    struct pair *p;

    (void)state;
    for (size_t i = 0; i < 4; i++) { /* the client verifies: it must have got the right one */
        p = pair_open(server_of("a", "b", 12, true), client_of(true, 12), asked[i]);
        pair_free(p);
    }
    client_refuses(server_of("a", "b", 12, true), client_of(true, 12), "x.y.b.test"); /* a wildcard is one label */
    p = pair_open(server_of("a", "b", 12, true), client_of(false, 12), "unknown.test"); /* gets the first */
    pair_free(p);
}

static void a_large_transfer_is_whole_and_bounded(void **state)
{
    struct pair *p = plain_case();
    size_t n = 24 << 20;
    char *big = malloc(n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 13 + i / 257);
    mg_stream_write(&p->client.s, "head", 4, MG_MORE);
    assert_int_equal(mg_stream_write(&p->client.s, big, n, 0), MG_FULL);
    mg_stream_write(&p->client.s, "tail", 4, 0);
    pair_until(p, p->server.got_n == n + 8);
    assert_memory_equal(p->server.got, "head", 4);
    assert_memory_equal(p->server.got + 4, big, n);
    assert_memory_equal(p->server.got + 4 + n, "tail", 4);
    pair_until(p, p->client.drained);
    free(big);
    pair_free(p);
}

static void head_and_body_share_one_record(void **state)
{
    struct pair *p = plain_case();
    char *room;

    (void)state;
    pair_turns(p, 3); /* tickets have passed */
    room = mg_stream_reserve(&p->client.s, 64);
    memcpy(room, "head", 4);
    mg_stream_commit(&p->client.s, 4);
    assert_int_equal(p->client.s.plain_bytes, 4);
    assert_false(mg_stream_is_flushed(&p->client.s));
    mg_stream_write(&p->client.s, "body", 4, 0);
    assert_true(mg_stream_is_flushed(&p->client.s));
    p->server.s.bytes_in = 0;
    pair_until(p, p->server.got_n == 8);
    assert_int_equal(p->server.s.bytes_in, 8);
    pair_free(p);
}

static void interleaved_streams_do_not_mix(void **state)
{
    struct pair *p = plain_case();
    static char piece[40000];

    (void)state;
    memset(piece, 'c', sizeof(piece));
    for (int i = 0; i < 20; i++) { /* both ends gather and encrypt in turns, in one loop with one buffer */
        mg_stream_write(&p->client.s, piece, sizeof(piece), MG_MORE);
        mg_stream_write(&p->server.s, piece, 17 + (size_t)i, MG_MORE);
    }
    pair_until(p, p->server.got_n == 20 * sizeof(piece) && p->client.got_n == 20 * 17 + 190);
    for (size_t i = 0; i < p->client.got_n; i++)
        assert_int_equal(p->client.got[i], 'c');
    pair_free(p);
}

static void an_announced_end_is_an_end(void **state)
{
    struct pair *p = plain_case();

    (void)state;
    mg_stream_write(&p->client.s, "all", 3, 0);
    mg_stream_shutdown(&p->client.s);
    pair_until(p, p->server.ended);
    assert_int_equal(p->server.end_status, UV_EOF);
    assert_string_equal(p->server.got, "all");
    mg_stream_write(&p->server.s, "answer", 6, 0);
    pair_until(p, p->client.got_n == 6);
    mg_stream_close(&p->server.s); /* says goodbye as well */
    pair_until(p, p->client.ended);
    assert_int_equal(p->client.end_status, UV_EOF);
    pair_free(p);
}

static void a_cut_connection_is_no_end(void **state)
{
    struct pair *p = plain_case();
    int fd;

    (void)state;
    mg_stream_write(&p->client.s, "part", 4, 0);
    uv_fileno(&p->client.s.h.handle, &fd);
    shutdown(fd, SHUT_WR); /* below TLS: somebody on the way could do that */
    pair_until(p, p->server.ended);
    assert_int_equal(p->server.end_status, MG_ETLS);
    assert_string_equal(p->server.got, "part");
    pair_free(p);
}

static void garbage_fails_the_handshake(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    p->server_tls = server_of("a", NULL, 12, true);
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.opened && p->accepted);
    mg_stream_write(&p->client.s, "GET / HTTP/1.1\r\n\r\n", 18, 0);
    pair_until(p, p->server.opened);
    assert_int_equal(p->server.open_status, MG_ETLS);
    assert_non_null(strstr(p->server.why, "plain HTTP"));
    assert_int_equal(p->server.ended, 0);
    pair_free(p);
}

static void a_client_that_leaves_during_the_handshake_is_told_once(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    p->server_tls = server_of("a", NULL, 12, true);
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.opened && p->accepted);
    mg_stream_close(&p->client.s);
    pair_until(p, p->server.opened);
    assert_int_equal(p->server.open_status, MG_ETLS);
    assert_int_equal(p->server.ended, 0);
    pair_free(p);
}

static void close_it(struct side *d) { mg_stream_close(&d->s); }
static void close_on_data(struct side *d, const char *p, size_t n)
{
    (void)p, (void)n;
    mg_stream_close(&d->s);
}

static void a_tls_stream_may_close_inside_its_callbacks(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    p->server_tls = server_of("a", NULL, 12, true);
    p->client_tls = client_of(true, 12);
    p->server_name = "a.test";
    p->client.on_open = close_it;
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.closed && (p->server.opened || p->server.ended));
    pair_free(p);

    p = plain_case();
    p->server.on_data = close_on_data;
    mg_stream_write(&p->client.s, "x", 1, 0);
    pair_until(p, p->server.closed && p->client.ended);
    assert_int_equal(p->client.end_status, UV_EOF);
    pair_free(p);
}

static void what_is_written_before_the_handshake_is_sent_after_it(void **state)
{
    struct pair *p = pair_new();
    static char big[300000];

    (void)state;
    p->server_tls = server_of("a", NULL, 12, true);
    p->client_tls = client_of(true, 12);
    p->server_name = "a.test";
    pair_listen(p);
    pair_connect(p);
    assert_int_equal(mg_stream_write(&p->client.s, big, sizeof(big), 0), MG_FULL);
    pair_until(p, p->server.got_n == sizeof(big));
    pair_until(p, p->client.drained == 1);
    pair_free(p);
}

static size_t in_use(const struct pair *p)
{
    return mallinfo2().uordblks - p->loop.blocks_n * MG_BLOCK_BYTES - (p->loop.plain_buffer ? 5 * 16640 + MG_READ_BYTES + 20480 : 0);
}

static void an_idle_connection_holds_little_memory(void **state)
{
    struct mg_tls *server = server_of("a", NULL, 12, true), *client = client_of(true, 12);
    size_t before, after;
    struct pair *p;

    (void)state;
    p = pair_open(mg_tls_ref(server), mg_tls_ref(client), "a.test"); /* what OpenSSL makes once */
    pair_free(p);
    p = pair_new();
    p->server_tls = mg_tls_ref(server);
    p->client_tls = mg_tls_ref(client);
    p->server_name = "a.test";
    before = in_use(p);
    pair_listen(p);
    pair_connect(p);
    pair_until(p, p->client.opened && p->server.s.is_open);
    p->server.on_data = echo;
    mg_stream_write(&p->client.s, "x", 1, 0);
    pair_until(p, p->client.got_n == 1);
    after = in_use(p);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their heap says nothing */
    if (after - before > 36000)
        fail_msg("%zu bytes for the two ends", after - before);
#endif
    (void)before, (void)after;
    pair_free(p);
    mg_tls_unref(server);
    mg_tls_unref(client);
}

static void a_second_connection(bool server_tickets, int max_version)
{
    struct mg_tls *server = server_of("a", "b", 12, server_tickets), *client = client_of(true, 12);

    SSL_CTX_set_max_proto_version(server->ctx, max_version);
    for (int i = 0; i < 2; i++) {
        struct pair *p = pair_open(mg_tls_ref(server), mg_tls_ref(client), "x.b.test");
        SSL *ssl = mg_tls_conn_ssl(&p->client.s);

        mg_stream_write(&p->server.s, "x", 1, 0); /* TLS 1.3: the tickets come with it */
        pair_until(p, p->client.got_n == 1);
        assert_int_equal(SSL_session_reused(ssl), i);
        pair_free(p);
    }
    mg_tls_unref(server);
    mg_tls_unref(client);
}

static void a_second_connection_resumes_the_session(void **state)
{
    (void)state;
    a_second_connection(true, TLS1_3_VERSION);
    a_second_connection(true, TLS1_2_VERSION);
    a_second_connection(false, TLS1_3_VERSION);
    a_second_connection(false, TLS1_2_VERSION);
}

static void expect_server_error(const char *cert, const char *key, const char *part)
{
    struct mg_tls_cert pair = { file(cert), file(key) };
    struct mg_tls_server_conf conf = { .certs = &pair, .certs_n = 1, .min_version = 12 };
    struct mg_error err = { 0 };

    assert_null(mg_tls_server_new(&conf, &err));
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

static void what_is_wrong_with_a_pair_of_files_is_said(void **state)
{
    struct mg_tls_client_conf client = { .verify = true, .ca = file("a.key"), .min_version = 12 };
    struct mg_error err = { 0 };

    (void)state;
    expect_server_error("a.pem", "b.key", "b.key: this key does not belong to the certificate");
    expect_server_error("a.key", "a.key", "no PEM certificate chain");
    expect_server_error("a.pem", "a.pem", "no PEM key");
    expect_server_error("nowhere.pem", "a.key", "(No such file or directory)");
    expect_server_error("missing.pem", "a.key", "missing.pem");
    expect_server_error("a.pem", "missing.key", "missing.key");
    assert_null(mg_tls_client_new(&client, &err));
    assert_non_null(strstr(err.message, "no PEM certificates"));
}

static void note_line(int level, struct mg_str text, void *arg)
{
    assert_int_equal(level, MG_LOG_WARN);
    snprintf(arg, 300, "%.*s", (int)text.n, text.p);
}

static void an_expired_certificate_of_ours_is_a_warning(void **state)
{
    char line[300] = "";
    struct mg_tls *t;

    (void)state;
    mg_log_capture(note_line, line);
    t = server_of("old", NULL, 12, true);
    mg_log_capture(NULL, NULL);
    assert_non_null(strstr(line, "expired"));
    mg_tls_unref(t);
}

static void bad_cipher_lists_are_refused(void **state)
{
    struct mg_tls_cert pair = { file("a.pem"), file("a.key") };
    struct mg_tls_server_conf conf = { .certs = &pair, .certs_n = 1, .min_version = 12, .ciphers = MG_STR("NONSENSE") };
    struct mg_error err = { 0 };

    (void)state;
    assert_null(mg_tls_server_new(&conf, &err));
    assert_non_null(strstr(err.message, "NONSENSE"));
}

static void every_allocation_may_fail(void **state)
{
    struct mg_tls_cert pair = { file("a.pem"), file("a.key") };
    struct mg_tls_server_conf conf = { .certs = &pair, .certs_n = 1, .min_version = 12 };
    struct mg_error err;

    (void)state;
    each_allocation_fails(mg_tls_unref(mg_tls_server_new(&conf, &err)));
}

static int set_up(void **state)
{
    struct test_ca ca;

    (void)state;
    temp_folder(folder);
    ca = make_ca(folder);
    make_leaf(folder, "a", "DNS:a.test,IP:127.0.0.1", &ca, -1, 30);
    make_leaf(folder, "b", "DNS:b.test,DNS:*.B.test", &ca, -1, 30);
    make_leaf(folder, "old", "DNS:a.test", &ca, -9, -2);
    make_leaf(folder, "stranger", "DNS:a.test", NULL, -1, 30);
    free_ca(&ca);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = { "ca.pem", "a.pem", "a.key", "b.pem", "b.key", "old.pem", "old.key",
                                         "stranger.pem", "stranger.key" };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(file(files[i]).p);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verified_connection_carries_bytes_both_ways),
        cmocka_unit_test(tls_12_works_as_well),
        cmocka_unit_test(a_wrong_name_is_refused),
        cmocka_unit_test(a_stranger_s_certificate_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(a_server_that_is_too_old_is_refused),
        cmocka_unit_test(without_verification_anybody_will_do),
        cmocka_unit_test(an_address_is_verified_as_an_address),
        cmocka_unit_test(the_certificate_is_chosen_by_the_name_asked_for),
        cmocka_unit_test(a_large_transfer_is_whole_and_bounded),
        cmocka_unit_test(head_and_body_share_one_record),
        cmocka_unit_test(interleaved_streams_do_not_mix),
        cmocka_unit_test(an_announced_end_is_an_end),
        cmocka_unit_test(a_cut_connection_is_no_end),
        cmocka_unit_test(garbage_fails_the_handshake),
        cmocka_unit_test(a_client_that_leaves_during_the_handshake_is_told_once),
        cmocka_unit_test(a_tls_stream_may_close_inside_its_callbacks),
        cmocka_unit_test(what_is_written_before_the_handshake_is_sent_after_it),
        cmocka_unit_test(an_idle_connection_holds_little_memory),
        cmocka_unit_test(a_second_connection_resumes_the_session),
        cmocka_unit_test(what_is_wrong_with_a_pair_of_files_is_said),
        cmocka_unit_test(an_expired_certificate_of_ours_is_a_warning),
        cmocka_unit_test(bad_cipher_lists_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("net/tls", tests, set_up, tear_down);
}
