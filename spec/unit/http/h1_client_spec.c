/* What an upstream may answer, and what becomes of its connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/h1_side.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define END "\r\n\r\n"

/* end: what the stream does after the bytes (0: nothing). after: 'i' idle and kept, 'c' closed, 'w' waits. */
struct answer { const char *name, *method, *bytes; int end; const char *log; char after; size_t n; };
#define ANSWER(name, method, bytes, end, log, after) { name, method, bytes, end, log, after, sizeof(bytes) - 1 }

static const struct answer table[] = {
    ANSWER("a length", "GET", OK "Content-Length: 2" END "hi", 0, "head 200 f1 2;data hi;end;", 'i'),
    ANSWER("no content", "GET", OK "Content-Length: 0" END, 0, "head 200 f1 0;end;", 'i'),
    ANSWER("no reason phrase", "GET", "HTTP/1.1 200\r\nContent-Length: 0" END, 0, "head 200 f1 0;end;", 'i'),
    ANSWER("an empty reason phrase", "GET", "HTTP/1.1 200 \r\nContent-Length: 0" END, 0, "head 200 f1 0;end;", 'i'),
    ANSWER("chunks", "GET", OK "Transfer-Encoding: chunked" END "2\r\nhi\r\n0" END, 0, "head 200 f2 -1;data hi;end;", 'i'),
    ANSWER("trailers", "GET", OK "Transfer-Encoding: chunked" END "2\r\nhi\r\n0\r\nX-A: b\r\nConnection: x" END, 0, "head 200 f2 -1;data hi;end X-A=b;", 'i'),
    ANSWER("until the end", "GET", OK "X: y" END "hi", UV_EOF, "head 200 f3 -1 close;data hi;end;", 'c'),
    ANSWER("until a reset", "GET", OK "X: y" END "hi", UV_ECONNRESET, "head 200 f3 -1 close;data hi;reset 0 closed within an answer;", 'c'),
    ANSWER("until TLS is cut", "GET", OK "X: y" END "hi", MG_ETLS, "head 200 f3 -1 close;data hi;reset 0 closed within an answer;", 'c'),
    ANSWER("a length cut short", "GET", OK "Content-Length: 5" END "hi", UV_EOF, "head 200 f1 5;data hi;reset 0 closed within an answer;", 'c'),
    ANSWER("chunks cut short", "GET", OK "Transfer-Encoding: chunked" END "2\r\nhi\r\n", UV_EOF, "head 200 f2 -1;data hi;reset 0 closed within an answer;", 'c'),
    ANSWER("a last chunk without its end", "GET", OK "Transfer-Encoding: chunked" END "0\r\n", UV_EOF, "head 200 f2 -1;reset 0 closed within an answer;", 'c'),
    ANSWER("nothing", "GET", "", UV_EOF, "reset 0 closed before an answer;", 'c'),
    ANSWER("half a head", "GET", "HTTP/1.1 200 OK\r\nX", UV_EOF, "reset 0 closed before an answer;", 'c'),
    ANSWER("connection: close", "GET", OK "Connection: close\r\nContent-Length: 2" END "hi", 0, "head 200 f1 2 close;data hi;end;", 'c'),
    ANSWER("HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2" END "hi", 0, "head 200 f1 2 close;data hi;end;", 'c'),
    ANSWER("HTTP/1.0 kept", "GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2" END "hi", 0, "head 200 f1 2;data hi;end;", 'i'),
    ANSWER("an answer to HEAD", "HEAD", OK "Content-Length: 500" END, 0, "head 200 f0 500;end;", 'i'),
    ANSWER("a chunked answer to HEAD", "HEAD", OK "Transfer-Encoding: chunked" END, 0, "head 200 f0 -1;end;", 'i'),
    ANSWER("204", "GET", "HTTP/1.1 204 No Content" END, 0, "head 204 f0 -1;end;", 'i'),
    ANSWER("204 with a length of 0", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0" END, 0, "head 204 f0 -1;end;", 'i'),
    ANSWER("304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9" END, 0, "head 304 f0 9;end;", 'i'),
    ANSWER("interim answers", "GET", "HTTP/1.1 100 Continue" END "HTTP/1.1 103 Early Hints\r\nLink: x" END OK "Content-Length: 0" END, 0,
           "interim 100;interim 103;head 200 f1 0;end;", 'i'),
    ANSWER("upgrade offered", "GET", OK "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0" END, 0, "head 200 f1 0;end;", 'i'),
    ANSWER("bytes after the answer", "GET", OK "Content-Length: 2" END "hiHTTP/1.1 200 OK\r\n", 0, "head 200 f1 2;data hi;end;", 'c'),
    ANSWER("a body on 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2" END "hi", 0, "head 304 f0 2;end;", 'c'),
    ANSWER("a body on HEAD", "HEAD", OK "Content-Length: 2" END "hi", 0, "head 200 f0 2;end;", 'c'),

    ANSWER("a body on 204", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2" END "hi", 0, "reset 0 a body where none can be;", 'c'),
    ANSWER("chunks on 204", "GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked" END "0" END, 0, "reset 0 a body where none can be;", 'c'),
    ANSWER("101 that nobody asked for", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade" END, 0, "reset 0 101 that nobody asked for;", 'c'),
    ANSWER("both lengths", "GET", OK "Content-Length: 2\r\nTransfer-Encoding: chunked" END "0" END, 0, "reset 0 both content-length and transfer-encoding;", 'c'),
    ANSWER("both lengths, the other way", "GET", OK "Transfer-Encoding: chunked\r\nContent-Length: 2" END "0" END, 0, "reset 0 both content-length and transfer-encoding;", 'c'),
    ANSWER("differing lengths", "GET", OK "Content-Length: 2\r\nContent-Length: 3" END "hi", 0, "reset 0 content-length repeated;", 'c'),
    ANSWER("chunked not last", "GET", OK "Transfer-Encoding: chunked, gzip" END "0" END, 0, "reset 0 transfer-encoding does not end in chunked;", 'c'),
    ANSWER("gzip alone", "GET", OK "Transfer-Encoding: gzip" END "x", 0, "reset 0 transfer-encoding does not end in chunked;", 'c'),
    ANSWER("chunked in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked" END "0" END, 0, "reset 0 transfer-encoding in HTTP/1.0;", 'c'),
    ANSWER("a status below 100", "GET", "HTTP/1.1 099 Odd" END, 0, "reset 0 odd status;", 'c'),
    ANSWER("a status above 599", "GET", "HTTP/1.1 600 Odd" END, 0, "reset 0 odd status;", 'c'),
    ANSWER("a status of four digits", "GET", "HTTP/1.1 2000 OK" END, 0, "reset 0 bad status line;", 'c'),
    ANSWER("HTTP/2.0", "GET", "HTTP/2.0 200 OK" END, 0, "reset 0 bad status line;", 'c'),
    ANSWER("no HTTP", "GET", "220 smtp.example.com ESMTP\r\n", 0, "reset 0 bad status line;", 'c'),
    ANSWER("a fold", "GET", OK "X: a\r\n b\r\nContent-Length: 0" END, 0, "reset 0 folded line;", 'c'),
    ANSWER("a bare LF", "GET", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 0, "reset 0 bare LF;", 'c'),
    ANSWER("a NUL in a value", "GET", OK "X: a\0b" END, 0, "reset 0 malformed head;", 'c'),
    ANSWER("a control in the reason", "GET", "HTTP/1.1 200 O\x01K" END, 0, "reset 0 bad reason phrase;", 'c'),
    ANSWER("a length beyond 2^63", "GET", OK "Content-Length: 9223372036854775808" END, 0, "reset 0 bad content-length;", 'c'),
    ANSWER("a bad chunk size", "GET", OK "Transfer-Encoding: chunked" END "zz\r\n", 0, "head 200 f2 -1;reset 0 bad chunk size;", 'c'),
    ANSWER("an empty line first", "GET", "\r\n" OK "Content-Length: 0" END, 0, "reset 0 empty line before the head;", 'c'),
};

static char what_became(const struct side *s)
{
    return s->dones ? 'c' : s->idles ? 'i' : 'w';
}

static char one_way(const struct answer *a, size_t first, size_t step, char *log)
{
    struct side s;
    size_t at = 0;
    char after;

    side_init(&s, false);
    s.releases = true;
    side_request(&s, a->method);
    while (at < a->n) {
        size_t n = at == 0 && first ? first : step;
        char *copy;

        n = n < a->n - at ? n : a->n - at;
        copy = malloc(n);
        memcpy(copy, a->bytes + at, n);
        mg_h1_feed(&s.h, copy, n);
        free(copy);
        at += n;
    }
    if (a->end)
        mg_h1_ended(&s.h, a->end);
    strcpy(log, s.log);
    after = what_became(&s);
    if (s.idles && s.dones) /* idle first, then bytes that nobody asked for */
        after = 'c';
    side_deinit(&s);
    return after;
}

static void every_answer_is_judged_however_it_is_cut(void **state)
{
    static char log[8192];
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct answer *a = &table[i];
        size_t n = a->n ? a->n : 1;

        for (size_t cut = 0; cut <= n; cut++) { /* 0: whole; n: byte by byte */
            char after = one_way(a, cut == n ? 0 : cut, cut == n ? 1 : n, log);

            if (strcmp(log, a->log) != 0 || after != a->after) {
                print_error("%s: cut at %zu: %s %c, expected %s %c\n", a->name, cut, log, after, a->log, a->after);
                wrong++;
                break;
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void feed(struct side *s, const char *text)
{
    mg_h1_feed(&s->h, text, strlen(text));
}

static void a_connection_serves_one_exchange_after_another(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, false);
    s.releases = true;
    for (int i = 1; i <= 3; i++) {
        side_request(&s, "GET");
        feed(&s, OK "Content-Length: 2" END "hi");
        assert_int_equal(s.idles, i);
        assert_int_equal(s.h.requests, i);
    }
    assert_null(s.h.kept);
    side_deinit(&s);
}

static void bytes_on_an_idle_connection_end_it(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, false);
    feed(&s, OK);
    assert_int_equal(s.dones, 1);
    assert_string_equal(s.log, "");
    side_deinit(&s);
    side_init(&s, false);
    mg_h1_ended(&s.h, UV_EOF);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void an_answer_before_the_request_is_sent_does_not_keep_the_connection(void **state)
{
    struct mg_head head = { .method_text = MG_STR("POST"), .method = MG_M_POST, .target = MG_STR("/"), .authority = MG_STR("a"),
                            .framing = MG_BODY_LENGTH, .length = 10 };
    struct side s;

    (void)state;
    side_init(&s, false);
    s.releases = true;
    side_arena(&s);
    s.h.leg.owner = &s;
    s.h.leg.events = &side_leg_events;
    s.h.leg.arena = &s.arena;
    mg_h1_start(&s.h, &s.leg);
    s.leg->ops->send_head(s.leg, &head, 0);
    s.leg->ops->send_data(s.leg, MG_STR("abc"), 0);
    feed(&s, "HTTP/1.1 413 No\r\nContent-Length: 0" END);
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.idles, 0);
    assert_true(s.f.is_aborted);
    side_deinit(&s);
}

static void what_was_read_while_paused_comes_before_the_end_of_the_stream(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, false);
    s.pauses = s.releases = true;
    side_request(&s, "GET");
    feed(&s, OK "Transfer-Encoding: chunked" END "2\r\nab\r\n2\r\ncd\r\n0" END);
    mg_h1_ended(&s.h, UV_ECONNRESET);
    assert_string_equal(s.log, "head 200 f2 -1;data ab");
    s.leg->ops->resume(s.leg);
    s.leg->ops->resume(s.leg);
    assert_string_equal(s.log, "head 200 f2 -1;data abcd;end;");
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.idles, 0);
    side_deinit(&s);
}

static void the_last_bytes_say_so_when_the_end_is_seen_with_them(void **state)
{
    static const struct { const char *first, *second; int lasts; } cases[] = {
        { OK "Content-Length: 4" END "abcd", NULL, 1 },
        { OK "Content-Length: 4" END "ab", "cd", 1 },
        { OK "Transfer-Encoding: chunked" END "4\r\nabcd\r\n0" END, NULL, 1 },
        { OK "Transfer-Encoding: chunked" END "2\r\nab\r\n", "2\r\ncd\r\n0" END, 1 },
        { OK "Transfer-Encoding: chunked" END "4\r\nabcd\r\n0\r\n", "\r\n", 0 },
        { OK "Transfer-Encoding: chunked" END "4\r\nabcd\r\n", "0" END, 0 },
        { OK "Transfer-Encoding: chunked" END "4\r\nabcd\r\n0\r\nX-A: b" END, NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct side s;

        side_init(&s, false);
        s.releases = true;
        side_request(&s, "GET");
        feed(&s, cases[i].first);
        if (cases[i].second)
            feed(&s, cases[i].second);
        assert_int_equal(s.lasts, cases[i].lasts);
        assert_int_equal(s.body_n, 4);
        assert_non_null(strstr(s.log, "data abcd;end"));
        assert_int_equal(s.idles, 1);
        side_deinit(&s);
    }
}

static void too_many_interim_answers_are_refused(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, false);
    s.releases = true;
    side_request(&s, "GET");
    for (int i = 0; i < 100; i++)
        feed(&s, "HTTP/1.1 102 Processing" END);
    assert_int_equal(s.dones, 0);
    feed(&s, "HTTP/1.1 102 Processing" END);
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.error, MG_EPROTO);
    side_deinit(&s);
}

static void a_head_beyond_the_limit_is_too_big(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, false);
    s.releases = true;
    side_request(&s, "GET");
    feed(&s, OK "X: ");
    for (int i = 0; i < 5000 && !s.error; i++)
        feed(&s, "x");
    assert_int_equal(s.error, MG_ETOOBIG);
    assert_int_equal(s.status, 0);
    side_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_judged_however_it_is_cut),
        cmocka_unit_test(a_connection_serves_one_exchange_after_another),
        cmocka_unit_test(bytes_on_an_idle_connection_end_it),
        cmocka_unit_test(an_answer_before_the_request_is_sent_does_not_keep_the_connection),
        cmocka_unit_test(what_was_read_while_paused_comes_before_the_end_of_the_stream),
        cmocka_unit_test(the_last_bytes_say_so_when_the_end_is_seen_with_them),
        cmocka_unit_test(too_many_interim_answers_are_refused),
        cmocka_unit_test(a_head_beyond_the_limit_is_too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
