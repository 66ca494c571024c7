#include "net/pair.h"

static void echo(struct side *d, const char *p, size_t n) { mg_stream_write(&d->s, p, n, 0); }

static void bytes_go_both_ways(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);

    (void)state;
    p->server.on_data = echo;
    assert_int_equal(mg_stream_write(&p->client.s, "hello", 5, 0), 0);
    assert_true(mg_stream_is_flushed(&p->client.s));
    pair_until(p, p->client.got_n == 5);
    assert_string_equal(p->client.got, "hello");
    assert_int_equal(p->client.s.bytes_out, 5);
    assert_int_equal(p->client.s.bytes_in, 5);
    assert_int_equal(p->server.opened, 0); /* accepted plain streams are open at once */
    pair_free(p);
}

static void what_is_gathered_goes_out_at_the_end_of_the_turn(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    char *room = mg_stream_reserve(&p->client.s, 100);

    (void)state;
    assert_non_null(room);
    memcpy(room, "head ", 5);
    mg_stream_commit(&p->client.s, 5);
    mg_stream_write(&p->client.s, "a", 1, MG_MORE);
    mg_stream_write2(&p->client.s, "b", 1, "c", 1, MG_MORE);
    assert_int_equal(p->client.s.out_bytes, 8);
    assert_false(mg_stream_is_flushed(&p->client.s));
    pair_until(p, p->server.got_n == 8);
    assert_string_equal(p->server.got, "head abc");
    assert_null(p->client.s.out_first); /* an idle stream holds no block */
    pair_free(p);
}

static void gathered_bytes_and_a_large_piece_keep_their_order(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    size_t n = 24 << 20; /* more than the kernel's buffers take */
    char *big = malloc(n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 7 + i / 251);
    mg_stream_write(&p->client.s, "head", 4, MG_MORE);
    assert_int_equal(mg_stream_write(&p->client.s, big, n, 0), MG_FULL);
    mg_stream_write(&p->client.s, "tail", 4, 0);
    pair_until(p, p->server.got_n == n + 8);
    assert_memory_equal(p->server.got, "head", 4);
    assert_memory_equal(p->server.got + 4, big, n);
    assert_memory_equal(p->server.got + 4 + n, "tail", 4);
    pair_until(p, p->client.drained);
    assert_int_equal(p->client.drained, 1);
    free(big);
    pair_free(p);
}

static size_t left;
static size_t most_waiting;

static void produce(struct side *d)
{
    static const char piece[20000];
    int rc = 0;

    while (left && rc != MG_FULL) {
        size_t n = left < sizeof(piece) ? left : sizeof(piece);

        rc = mg_stream_write(&d->s, piece, n, 0);
        left -= n;
        if (d->s.out_bytes > most_waiting)
            most_waiting = d->s.out_bytes;
    }
}

static void a_slow_reader_slows_the_producer_and_memory_stays_bounded(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    size_t total = 64 << 20;

    (void)state;
    left = total;
    most_waiting = 0;
    p->server.count_only = true;
    p->client.on_drain = produce;
    mg_stream_pause(&p->server.s);
    produce(&p->client);
    pair_turns(p, 20);
    assert_int_equal(p->server.got_n, 0);
    assert_true(left > total / 2); /* the producer stands */
    mg_stream_resume(&p->server.s);
    pair_until(p, p->server.got_n == total);
    assert_true(most_waiting <= p->client.s.high + 20000);
    assert_true(p->client.drained > 3);
    pair_free(p);
}

static void close_it(struct side *d, const char *p, size_t n)
{
    (void)p, (void)n;
    mg_stream_close(&d->s);
    mg_stream_close(&d->s); /* a second time is harmless */
    mg_stream_write(&d->s, "late", 4, 0);
}

static void a_stream_may_close_inside_its_own_callback(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);

    (void)state;
    p->server.on_data = close_it;
    mg_stream_write(&p->client.s, "x", 1, 0);
    pair_until(p, p->server.closed && p->client.ended);
    assert_int_equal(p->client.end_status, UV_EOF);
    assert_int_equal(p->client.got_n, 0);
    pair_free(p);
}

static void after_the_peers_end_writing_still_works(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);

    (void)state;
    mg_stream_write(&p->client.s, "question", 8, MG_MORE);
    mg_stream_shutdown(&p->client.s);
    mg_stream_write(&p->client.s, "lost", 4, 0); /* our half has ended */
    pair_until(p, p->server.ended);
    assert_int_equal(p->server.end_status, UV_EOF);
    assert_string_equal(p->server.got, "question");
    mg_stream_write(&p->server.s, "answer", 6, 0);
    pair_until(p, p->client.got_n == 6);
    assert_int_equal(p->client.ended, 0);
    pair_free(p);
}

static void an_end_waits_for_what_was_written_before(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    size_t n = 24 << 20;
    char *big = calloc(1, n);

    (void)state;
    p->server.count_only = true;
    mg_stream_pause(&p->server.s);
    mg_stream_write(&p->client.s, big, n, 0);
    mg_stream_shutdown(&p->client.s);
    pair_turns(p, 5);
    mg_stream_resume(&p->server.s);
    pair_until(p, p->server.ended);
    assert_int_equal(p->server.got_n, n);
    assert_int_equal(p->server.end_status, UV_EOF);
    free(big);
    pair_free(p);
}

static void an_abort_is_a_reset_for_the_peer(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);

    (void)state;
    mg_stream_abort(&p->server.s);
    pair_until(p, p->client.ended);
    assert_int_equal(p->client.end_status, UV_ECONNRESET);
    assert_int_equal(mg_stream_write(&p->client.s, "x", 1, 0), 0); /* does nothing */
    assert_true(mg_stream_is_flushed(&p->client.s));
    pair_free(p);
}

static void a_broken_connection_is_told_once_and_not_inside_the_write(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);

    (void)state;
    mg_stream_pause(&p->client.s); /* only writing can find out */
    mg_stream_abort(&p->server.s);
    pair_until(p, p->server.closed);
    for (int i = 0; i < 50 && !p->client.s.is_broken; i++) {
        mg_stream_write(&p->client.s, "x", 1, 0);
        assert_int_equal(p->client.ended, 0);
    }
    assert_true(p->client.s.is_broken);
    pair_until(p, p->client.ended);
    assert_true(p->client.end_status == UV_EPIPE || p->client.end_status == UV_ECONNRESET);
    pair_turns(p, 3);
    assert_int_equal(p->client.ended, 1);
    pair_free(p);
}

static void a_refused_connection_is_told_later(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    pair_listen(p);
    uv_close(&p->listener.handle, NULL);
    pair_turns(p, 2);
    memset(&p->listener, 0, sizeof(p->listener));
    mg_stream_write(&p->client.s, "early", 5, 0);
    pair_connect(p);
    pair_until(p, p->client.opened);
    assert_int_equal(p->client.open_status, UV_ECONNREFUSED);
    pair_turns(p, 2);
    assert_int_equal(p->client.opened, 1);
    assert_int_equal(p->client.ended, 0);
    pair_free(p);
}

static void what_is_written_before_the_connection_is_sent_after_it(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    pair_listen(p);
    pair_connect(p);
    mg_stream_write(&p->client.s, "early", 5, 0);
    pair_until(p, p->server.got_n == 5);
    assert_string_equal(p->server.got, "early");
    pair_free(p);
}

static void a_stream_may_close_while_it_connects(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    pair_listen(p);
    pair_connect(p);
    mg_stream_close(&p->client.s);
    pair_until(p, p->client.closed);
    assert_int_equal(p->client.opened, 0);
    pair_free(p);
}

static void a_stream_that_was_never_connected_closes_like_others(void **state)
{
    struct pair *p = pair_new();

    (void)state;
    mg_stream_close(&p->client.s);
    assert_int_equal(p->client.closed, 0); /* not inside the call */
    pair_free(p);
}

static void unix_sockets_work_both_ways(void **state)
{
    struct pair *p = pair_new();
    struct sockaddr_storage peer;
    char folder[256], path[300];

    (void)state;
    temp_folder(folder);
    snprintf(path, sizeof(path), "%s/s", folder);
    pair_listen_unix(p, path);
    pair_connect(p);
    pair_until(p, p->client.opened && p->accepted);
    assert_int_equal(p->client.open_status, 0);
    p->server.on_data = echo;
    mg_stream_write(&p->client.s, "via unix", 8, 0);
    pair_until(p, p->client.got_n == 8);
    assert_int_equal(mg_stream_peer(&p->server.s, &peer), 0);
    assert_int_equal(peer.ss_family, AF_UNIX);
    pair_free(p);
    unlink(path);
    rmdir(folder);
}

static void a_missing_unix_socket_is_an_error_of_the_connection(void **state)
{
    struct pair *p = pair_new();
    struct sockaddr_un *un = (struct sockaddr_un *)&p->addr;

    (void)state;
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, "/nonexistent/socket");
    pair_connect(p);
    pair_until(p, p->client.opened);
    assert_int_equal(p->client.open_status, UV_ENOENT);
    pair_free(p);
}

static void flushed_is_told_when_asked_for(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    size_t n = 24 << 20;
    char *big = calloc(1, n);

    (void)state;
    p->server.count_only = true;
    mg_stream_notify_flushed(&p->client.s);
    assert_int_equal(p->client.drained, 0);
    pair_until(p, p->client.drained == 1); /* nothing waited */
    p->client.s.high = p->client.s.low = 64 << 20;
    mg_stream_write(&p->client.s, big, n, 0);
    assert_false(mg_stream_is_flushed(&p->client.s));
    mg_stream_notify_flushed(&p->client.s);
    pair_until(p, p->client.drained == 2);
    assert_true(mg_stream_is_flushed(&p->client.s));
    pair_until(p, p->server.got_n == n);
    free(big);
    pair_free(p);
}

static void the_addresses_of_both_ends_are_known(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    struct sockaddr_storage a, b;

    (void)state;
    assert_int_equal(mg_stream_peer(&p->client.s, &a), 0);
    assert_int_equal(mg_stream_local(&p->server.s, &b), 0);
    assert_int_equal(((struct sockaddr_in *)&a)->sin_port, ((struct sockaddr_in *)&b)->sin_port);
    assert_int_equal(((struct sockaddr_in *)&a)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    pair_free(p);
}

static void running_out_of_memory_breaks_the_stream_not_the_process(void **state)
{
    struct pair *p = pair_open(NULL, NULL, NULL);
    size_t n = 8 << 20;
    char *big = calloc(1, n);

    (void)state;
    fail_allocation(3);
    mg_stream_write(&p->client.s, big, n, 0);
    assert_true(mg_alloc_failed());
    fail_allocation(0);
    assert_int_equal(p->client.ended, 0);
    pair_until(p, p->client.ended);
    assert_int_equal(p->client.end_status, UV_ENOMEM);
    free(big);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(what_is_gathered_goes_out_at_the_end_of_the_turn),
        cmocka_unit_test(gathered_bytes_and_a_large_piece_keep_their_order),
        cmocka_unit_test(a_slow_reader_slows_the_producer_and_memory_stays_bounded),
        cmocka_unit_test(a_stream_may_close_inside_its_own_callback),
        cmocka_unit_test(after_the_peers_end_writing_still_works),
        cmocka_unit_test(an_end_waits_for_what_was_written_before),
        cmocka_unit_test(an_abort_is_a_reset_for_the_peer),
        cmocka_unit_test(a_broken_connection_is_told_once_and_not_inside_the_write),
        cmocka_unit_test(a_refused_connection_is_told_later),
        cmocka_unit_test(what_is_written_before_the_connection_is_sent_after_it),
        cmocka_unit_test(a_stream_may_close_while_it_connects),
        cmocka_unit_test(a_stream_that_was_never_connected_closes_like_others),
        cmocka_unit_test(unix_sockets_work_both_ways),
        cmocka_unit_test(a_missing_unix_socket_is_an_error_of_the_connection),
        cmocka_unit_test(flushed_is_told_when_asked_for),
        cmocka_unit_test(the_addresses_of_both_ends_are_known),
        cmocka_unit_test(running_out_of_memory_breaks_the_stream_not_the_process),
    };

    return cmocka_run_group_tests_name("net/stream", tests, NULL, NULL);
}
