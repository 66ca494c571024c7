/* What goes out on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/h1_side.h"

#define GET11 "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void wrote(struct side *s, const char *expect)
{
    assert_int_equal(s->f.out_n, strlen(expect));
    assert_memory_equal(s->f.out, expect, s->f.out_n);
    assert_int_equal(s->f.flushed_n, s->f.out_n);
}

static void begin_with(struct side *s, const char *request)
{
    side_init(s, true);
    mg_h1_feed(&s->h, request, strlen(request));
}

static void head_and_small_body_are_one_write(void **state)
{
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    side_answer(s.leg, 200);
    wrote(&s, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_int_equal(s.f.writes, 1);
    assert_int_equal(s.h.leg.body_bytes_out, 2);
    assert_int_equal(s.h.leg.head_bytes_out, s.f.out_n - 2);
    side_deinit(&s);
}

static void a_stream_goes_out_in_chunks(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_STREAM, .reason = MG_STR("Fine") };
    struct mg_headers trailers = { 0 };
    struct side s;

    (void)state;
    begin_with(&s, "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-A"), MG_STR("b"));
    mg_headers_add(&trailers, &s.arena, MG_STR("X-T"), MG_STR("c"));
    s.leg->ops->send_head(s.leg, &head, MG_MORE);
    s.leg->ops->send_data(s.leg, MG_STR("0123456789abcdef"), 0);
    s.leg->ops->send_data(s.leg, MG_STR(""), 0);
    s.leg->ops->send_data(s.leg, MG_STR("x"), MG_MORE);
    s.leg->ops->send_end(s.leg, &trailers);
    wrote(&s, "HTTP/1.1 200 Fine\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\nX-T: c\r\n\r\n");
    assert_int_equal(s.f.writes, 2);
    side_deinit(&s);
}

static void trailers_go_to_those_who_take_them(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_CLOSE };
    struct mg_headers trailers = { 0 };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    mg_headers_add(&trailers, &s.arena, MG_STR("X-T"), MG_STR("c"));
    s.leg->ops->send_head(s.leg, &head, 0);
    s.leg->ops->send_end(s.leg, &trailers);
    wrote(&s, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    side_deinit(&s);
}

static void an_old_client_gets_a_stream_until_the_close(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_STREAM };
    struct side s;

    (void)state;
    begin_with(&s, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    s.leg->ops->send_head(s.leg, &head, 0);
    s.leg->ops->send_data(s.leg, MG_STR("abc"), 0);
    s.leg->ops->send_end(s.leg, NULL);
    wrote(&s, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
    s.leg->ops->release(s.leg);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void an_old_client_is_told_that_the_connection_stays(void **state)
{
    struct side s;

    (void)state;
    begin_with(&s, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    side_answer(s.leg, 200);
    wrote(&s, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok");
    assert_int_equal(s.idles, 1);
    side_deinit(&s);
}

static void answers_to_head_and_304_keep_their_length_and_send_no_body(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_NONE, .length = 7 };
    struct side s;

    (void)state;
    begin_with(&s, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    s.leg->ops->send_head(s.leg, &head, MG_MORE);
    s.leg->ops->send_data(s.leg, MG_STR("content"), MG_MORE);
    s.leg->ops->send_end(s.leg, NULL);
    s.leg->ops->release(s.leg);
    wrote(&s, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
    assert_int_equal(s.idles, 1);
    side_deinit(&s);
    begin_with(&s, GET11);
    head.status = 204;
    s.leg->ops->send_head(s.leg, &head, MG_MORE);
    s.leg->ops->send_end(s.leg, NULL);
    wrote(&s, "HTTP/1.1 204 No Content\r\n\r\n");
    side_deinit(&s);
}

static void an_answer_that_can_have_a_body_says_when_it_has_none(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_NONE, .length = -1 };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    s.leg->ops->send_head(s.leg, &head, MG_MORE);
    s.leg->ops->send_end(s.leg, NULL);
    wrote(&s, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    side_deinit(&s);
}

static void more_or_less_than_promised_cuts_the_connection(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_LENGTH, .length = 3 };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    s.leg->ops->send_head(s.leg, &head, 0);
    assert_int_equal(s.leg->ops->send_data(s.leg, MG_STR("abcd"), 0), MG_EPROTO);
    assert_true(s.leg->ops->send_end(s.leg, NULL) < 0);
    s.leg->ops->release(s.leg);
    assert_true(s.f.is_aborted);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
    begin_with(&s, GET11);
    s.leg->ops->send_head(s.leg, &head, 0);
    assert_int_equal(s.leg->ops->send_data(s.leg, MG_STR("ab"), 0), 0);
    assert_int_equal(s.leg->ops->send_end(s.leg, NULL), MG_EPROTO);
    s.leg->ops->release(s.leg);
    assert_true(s.f.is_aborted);
    side_deinit(&s);
}

static void no_field_can_split_a_message(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_LENGTH, .reason = MG_STR("a\r\nX: b") };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-A"), MG_STR("b\r\nEvil: c"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("X\nB"), MG_STR("b"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("Content-Length"), MG_STR("5"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("Connection"), MG_STR("keep-alive"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-C"), MG_STR(""));
    s.leg->ops->send_head(s.leg, &head, 0);
    wrote(&s, "HTTP/1.1 200 OK\r\nX-C: \r\ncontent-length: 0\r\n\r\n");
    side_deinit(&s);
}

static void a_head_larger_than_a_block_goes_out_whole(void **state)
{
    static char value[20000];
    struct mg_head head = { .status = 200, .framing = MG_BODY_LENGTH };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    memset(value, 'v', sizeof value);
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-A"), mg_str(value, sizeof value));
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-B"), MG_STR("w"));
    s.leg->ops->send_head(s.leg, &head, 0);
    assert_int_equal(s.f.out_n, strlen("HTTP/1.1 200 OK\r\nX-A: \r\nX-B: w\r\ncontent-length: 0\r\n\r\n") + sizeof value);
    assert_memory_equal(s.f.out + s.f.out_n - 33, "vv\r\nX-B: w\r\ncontent-length: 0\r\n\r\n", 33);
    side_deinit(&s);
}

static void no_memory_for_a_head_sends_nothing(void **state)
{
    struct mg_head head = { .status = 200, .framing = MG_BODY_LENGTH };
    struct side s;

    (void)state;
    begin_with(&s, GET11);
    s.f.is_poor = true;
    assert_int_equal(s.leg->ops->send_head(s.leg, &head, 0), MG_ENOMEM);
    assert_int_equal(s.f.out_n, 0);
    s.leg->ops->release(s.leg);
    assert_true(side_closes(&s));
    side_deinit(&s);
}

static struct mg_leg *begin_request_on(struct side *s)
{
    side_init(s, false);
    side_arena(s);
    s->h.leg.owner = s;
    s->h.leg.events = &side_leg_events;
    s->h.leg.arena = &s->arena;
    mg_h1_start(&s->h, &s->leg);
    return s->leg;
}

static void a_request_has_its_host_first(void **state)
{
    struct mg_head head = { .method_text = MG_STR("GET"), .method = MG_M_GET, .target = MG_STR("/a?b"), .length = -1 };
    struct side s;
    struct mg_leg *leg;

    (void)state;
    leg = begin_request_on(&s);
    mg_headers_add(&head.headers, &s.arena, MG_STR("X-A"), MG_STR("b"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("gone"), MG_STR("b"));
    mg_headers_add(&head.headers, &s.arena, MG_STR("Host"), MG_STR("h:1"));
    mg_headers_remove(&head.headers, MG_STR("Gone"));
    leg->ops->send_head(leg, &head, MG_MORE);
    leg->ops->send_end(leg, NULL);
    wrote(&s, "GET /a?b HTTP/1.1\r\nHost: h:1\r\nX-A: b\r\n\r\n");
    assert_int_equal(s.f.writes, 1);
    side_deinit(&s);
}

static void requests_say_how_long_their_bodies_are(void **state)
{
    struct mg_head head = { .method_text = MG_STR("POST"), .method = MG_M_POST, .target = MG_STR("/"), .authority = MG_STR("h"),
                            .framing = MG_BODY_LENGTH, .length = 3 };
    struct side s;
    struct mg_leg *leg;

    (void)state;
    leg = begin_request_on(&s);
    leg->ops->send_head(leg, &head, MG_MORE);
    leg->ops->send_data(leg, MG_STR("abc"), MG_MORE);
    leg->ops->send_end(leg, NULL);
    wrote(&s, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc");
    side_deinit(&s);
    leg = begin_request_on(&s);
    head.framing = MG_BODY_STREAM;
    head.accepts_trailers = head.closes = true;
    leg->ops->send_head(leg, &head, MG_MORE);
    leg->ops->send_data(leg, MG_STR("abc"), MG_MORE);
    leg->ops->send_end(leg, NULL);
    wrote(&s, "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nte: trailers\r\nconnection: te, close\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    side_deinit(&s);
    leg = begin_request_on(&s);
    head.framing = MG_BODY_NONE;
    head.accepts_trailers = head.closes = false;
    leg->ops->send_head(leg, &head, MG_MORE);
    leg->ops->send_end(leg, NULL);
    wrote(&s, "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
    side_deinit(&s);
}

static void a_target_or_method_that_would_split_a_request_is_refused(void **state)
{
    struct mg_head head = { .method_text = MG_STR("GET"), .target = MG_STR("/a b"), .authority = MG_STR("h") };
    struct side s;
    struct mg_leg *leg;

    (void)state;
    leg = begin_request_on(&s);
    assert_int_equal(leg->ops->send_head(leg, &head, 0), MG_EINVAL);
    head.target = MG_STR("/");
    head.method_text = MG_STR("GET /x");
    assert_int_equal(leg->ops->send_head(leg, &head, 0), MG_EINVAL);
    assert_int_equal(s.f.out_n, 0);
    side_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_and_small_body_are_one_write),
        cmocka_unit_test(a_stream_goes_out_in_chunks),
        cmocka_unit_test(trailers_go_to_those_who_take_them),
        cmocka_unit_test(an_old_client_gets_a_stream_until_the_close),
        cmocka_unit_test(an_old_client_is_told_that_the_connection_stays),
        cmocka_unit_test(answers_to_head_and_304_keep_their_length_and_send_no_body),
        cmocka_unit_test(an_answer_that_can_have_a_body_says_when_it_has_none),
        cmocka_unit_test(more_or_less_than_promised_cuts_the_connection),
        cmocka_unit_test(no_field_can_split_a_message),
        cmocka_unit_test(a_head_larger_than_a_block_goes_out_whole),
        cmocka_unit_test(no_memory_for_a_head_sends_nothing),
        cmocka_unit_test(a_request_has_its_host_first),
        cmocka_unit_test(requests_say_how_long_their_bodies_are),
        cmocka_unit_test(a_target_or_method_that_would_split_a_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
