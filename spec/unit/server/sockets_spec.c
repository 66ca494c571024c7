#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>
#include "server/binder.h"

static struct mg_bind_ask tcp(const char *key, int port, int count)
{
    struct mg_bind_ask ask = { .backlog = 16, .count = count };
    struct sockaddr_in *in = (struct sockaddr_in *)&ask.sa;

    snprintf(ask.key, sizeof ask.key, "%s", key);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in->sin_port = htons((uint16_t)port);
    return ask;
}

static struct mg_bind_ask local(const char *path)
{
    struct mg_bind_ask ask = { .backlog = 16, .count = 4 };
    struct sockaddr_un *un = (struct sockaddr_un *)&ask.sa;

    snprintf(ask.key, sizeof ask.key, "unix:%s", path);
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
    return ask;
}

static int port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t n = sizeof in;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    return ntohs(in.sin_port);
}

static void all_sockets_of_an_address_share_the_port_that_the_system_chose(void **state)
{
    struct mg_sockets *t = mg_sockets_new();
    struct mg_bind_ask ask = tcp("a", 0, 3);
    int fds[MG_SOCKETS_MAX];

    (void)state;
    assert_int_equal(mg_sockets_take(t, &ask, fds, MG_SOCKETS_MAX, NULL), 3);
    assert_int_equal(port_of(fds[0]), port_of(fds[1]));
    assert_int_equal(port_of(fds[0]), port_of(fds[2]));
    mg_sockets_free(t);
}

static void their_number_grows_and_never_shrinks(void **state)
{
    struct mg_sockets *t = mg_sockets_new();
    struct mg_bind_ask two = tcp("a", 0, 2), four = tcp("a", 0, 4);
    int first[MG_SOCKETS_MAX], fds[MG_SOCKETS_MAX];

    (void)state;
    assert_int_equal(mg_sockets_take(t, &two, first, MG_SOCKETS_MAX, NULL), 2);
    assert_int_equal(mg_sockets_take(t, &four, fds, MG_SOCKETS_MAX, NULL), 4);
    assert_memory_equal(first, fds, 2 * sizeof *fds);
    assert_int_equal(mg_sockets_take(t, &two, fds, MG_SOCKETS_MAX, NULL), 4);
    mg_sockets_free(t);
}

static void a_foreign_listener_is_an_error_even_when_it_shares_its_port(void **state)
{
    struct mg_sockets *theirs = mg_sockets_new(), *ours = mg_sockets_new();
    struct mg_bind_ask ask = tcp("a", 0, 1);
    struct mg_error err = { 0 };
    int fds[MG_SOCKETS_MAX];

    (void)state;
    assert_int_equal(mg_sockets_take(theirs, &ask, fds, MG_SOCKETS_MAX, NULL), 1);
    ask = tcp("127.0.0.1:x", port_of(fds[0]), 1);
    assert_int_equal(mg_sockets_take(ours, &ask, fds, MG_SOCKETS_MAX, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, "127.0.0.1:x"));
    mg_sockets_free(theirs);
    assert_int_equal(mg_sockets_take(ours, &ask, fds, MG_SOCKETS_MAX, &err), 1);
    mg_sockets_free(ours);
}

static void what_a_new_process_does_not_take_is_swept(void **state)
{
    struct mg_sockets *t = mg_sockets_new();
    struct mg_bind_ask a = tcp("a", 0, 1), b = tcp("b", 0, 1);
    int fds[MG_SOCKETS_MAX], port;

    (void)state;
    mg_sockets_take(t, &a, fds, MG_SOCKETS_MAX, NULL);
    mg_sockets_take(t, &b, fds, MG_SOCKETS_MAX, NULL);
    port = port_of(fds[0]);
    mg_sockets_mark(t);
    mg_sockets_take(t, &a, fds, MG_SOCKETS_MAX, NULL);
    mg_sockets_sweep(t);
    b = tcp("c", port, 1); /* free again */
    assert_int_equal(mg_sockets_take(t, &b, fds, MG_SOCKETS_MAX, NULL), 1);
    mg_sockets_free(t);
}

static void a_stale_unix_socket_is_replaced_and_a_plain_file_is_not(void **state)
{
    char folder[] = "/tmp/mg-sockets-XXXXXX", path[64];
    struct mg_sockets *t = mg_sockets_new();
    struct mg_bind_ask ask;
    struct stat st;
    int fds[MG_SOCKETS_MAX], stale = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    ask = local(path);
    assert_int_equal(bind(stale, (struct sockaddr *)&ask.sa, sizeof(struct sockaddr_un)), 0);
    close(stale);
    assert_int_equal(mg_sockets_take(t, &ask, fds, MG_SOCKETS_MAX, NULL), 1);
    mg_sockets_drop(t, ask.key);
    assert_int_not_equal(stat(path, &st), 0);
    fclose(fopen(path, "w"));
    assert_int_equal(mg_sockets_take(t, &ask, fds, MG_SOCKETS_MAX, NULL), -EADDRINUSE);
    unlink(path);
    rmdir(folder);
    mg_sockets_free(t);
}

static void a_file_that_somebody_else_has_put_there_since_is_left_alone(void **state)
{
    char folder[] = "/tmp/mg-sockets-XXXXXX", path[64];
    struct mg_sockets *t = mg_sockets_new();
    struct mg_bind_ask ask;
    struct stat st;
    int fds[MG_SOCKETS_MAX];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    ask = local(path);
    assert_int_equal(mg_sockets_take(t, &ask, fds, MG_SOCKETS_MAX, NULL), 1);
    unlink(path);
    fclose(fopen(path, "w"));
    mg_sockets_free(t);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    rmdir(folder);
}

static void a_local_binder_gives_sockets_of_their_own(void **state)
{
    struct mg_binder *b = mg_binder_local();
    struct mg_bind_ask ask = tcp("a", 0, 2);
    int fds[MG_SOCKETS_MAX];

    (void)state;
    assert_int_equal(mg_binder_listen(b, &ask, fds, MG_SOCKETS_MAX, NULL), 2);
    mg_binder_free(b);
    assert_true(port_of(fds[0]) > 0); /* still open: ours */
    close(fds[0]);
    close(fds[1]);
}

struct served { int fd; struct mg_sockets *table; };

static void serve(void *arg)
{
    struct served *s = arg;
    struct mg_word word;

    while (mg_binder_serve(s->fd, s->table, false, &word) == 0)
        ;
}

static void sockets_and_refusals_come_over_the_channel(void **state)
{
    struct mg_bind_ask ask = tcp("a", 0, 2), again;
    struct served s = { .table = mg_sockets_new() };
    struct mg_sockets *foreign = mg_sockets_new();
    struct mg_error err = { 0 };
    struct mg_binder *b;
    int pair[2], fds[MG_SOCKETS_MAX];
    uv_thread_t thread;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    s.fd = pair[0];
    b = mg_binder_remote(pair[1]);
    assert_int_equal(uv_thread_create(&thread, serve, &s), 0);
    assert_int_equal(mg_binder_listen(b, &ask, fds, MG_SOCKETS_MAX, &err), 2);
    assert_int_equal(port_of(fds[0]), port_of(fds[1]));
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(mg_sockets_take(foreign, &ask, fds, MG_SOCKETS_MAX, NULL), 2);
    again = tcp("b", port_of(fds[0]), 1);
    assert_int_equal(mg_binder_listen(b, &again, fds, MG_SOCKETS_MAX, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, "cannot listen on b"));
    mg_binder_drop(b, "a");
    mg_binder_free(b);
    uv_thread_join(&thread);
    close(pair[0]);
    mg_sockets_free(s.table);
    mg_sockets_free(foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sockets_of_an_address_share_the_port_that_the_system_chose),
        cmocka_unit_test(their_number_grows_and_never_shrinks),
        cmocka_unit_test(a_foreign_listener_is_an_error_even_when_it_shares_its_port),
        cmocka_unit_test(what_a_new_process_does_not_take_is_swept),
        cmocka_unit_test(a_stale_unix_socket_is_replaced_and_a_plain_file_is_not),
        cmocka_unit_test(a_file_that_somebody_else_has_put_there_since_is_left_alone),
        cmocka_unit_test(a_local_binder_gives_sockets_of_their_own),
        cmocka_unit_test(sockets_and_refusals_come_over_the_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
