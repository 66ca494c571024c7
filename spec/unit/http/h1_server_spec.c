/* What a client may send, however its bytes are cut, and what it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "http/h1_side.h"

#define H "Host: a\r\n"
#define END "\r\n\r\n"

/* expect: the statuses of the answers, '!' when the connection closes after them. */
struct raw { const char *name, *bytes, *expect; size_t n; };
#define RAW(name, bytes, expect) { name, bytes, expect, sizeof(bytes) - 1 }

static const struct raw table[] = {
    RAW("a request", "GET / HTTP/1.1\r\nHost: a" END, "200"),
    RAW("two in one packet", "GET / HTTP/1.1\r\nHost: a" END "GET /b HTTP/1.1\r\nHost: a" END, "200 200"),
    RAW("one empty line first", "\r\nGET / HTTP/1.1\r\nHost: a" END, "200"),
    RAW("an empty line between", "GET / HTTP/1.1\r\nHost: a" END "\r\nGET /b HTTP/1.1\r\nHost: a" END, "200 200"),
    RAW("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a bare LF first", "\nGET / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("CR first", "\rGET / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("connection: close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close" END, "200!"),
    RAW("close among others", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-foo, Close" END, "200!"),
    RAW("HTTP/1.0", "GET / HTTP/1.0" END, "200!"),
    RAW("HTTP/1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive" END, "200"),
    RAW("HTTP/1.0 keep-alive and close", "GET / HTTP/1.0\r\nConnection: keep-alive, close" END, "200!"),
    RAW("a body", "POST / HTTP/1.1\r\n" H "Content-Length: 5" END "hello", "200"),
    RAW("a body and the next", "POST / HTTP/1.1\r\n" H "Content-Length: 5" END "helloGET / HTTP/1.1\r\nHost: a" END, "200 200"),
    RAW("an empty body", "POST / HTTP/1.1\r\n" H "Content-Length: 0" END, "200"),
    RAW("chunks", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5\r\nhello\r\n0" END, "200"),
    RAW("chunked in capitals", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\tCHUNKED\t" END "A\r\n0123456789\r\n0" END, "200"),
    RAW("chunk extensions", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5;a=b;c=\"d\\\"e\" ; f\r\nhello\r\n0;x" END, "200"),
    RAW("chunks and the next", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5\r\nhello\r\n0" END "GET / HTTP/1.1\r\nHost: a" END, "200 200"),
    RAW("trailers", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nX-A: b" END, "200"),
    RAW("leading zeros in a chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0005\r\nhello\r\n000" END, "200"),
    RAW("an absolute target", "GET http://a/b HTTP/1.1\r\nHost: a" END, "200"),
    RAW("an absolute target with its port", "GET http://A:80/b HTTP/1.1\r\nHost: a" END, "200"),
    RAW("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a" END, "200"),
    RAW("TRACE", "TRACE / HTTP/1.1\r\nHost: a" END, "200"),
    RAW("IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80" END, "200"),
    RAW("8-bit bytes in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4" END, "200"),
    RAW("an empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t " END, "200"),
    RAW("percent bytes in the target", "GET /%41?x=%zz HTTP/1.1\r\nHost: a" END, "200"),

    RAW("no host", "GET / HTTP/1.1" END, "400!"),
    RAW("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a" END, "400!"),
    RAW("an empty host", "GET / HTTP/1.1\r\nHost:" END, "400!"),
    RAW("a host with a path", "GET / HTTP/1.1\r\nHost: a/b" END, "400!"),
    RAW("a host with userinfo", "GET / HTTP/1.1\r\nHost: u@a" END, "400!"),
    RAW("a host with a space", "GET / HTTP/1.1\r\nHost: a b" END, "400!"),
    RAW("a host list", "GET / HTTP/1.1\r\nHost: a, b" END, "400!"),
    RAW("a host with a bad port", "GET / HTTP/1.1\r\nHost: a:99999" END, "400!"),
    RAW("a host at odds with the target", "GET http://b/ HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a port at odds with the target", "GET http://a:81/ HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("userinfo in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a relative target", "GET a HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("GET *", "GET * HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a fragment", "GET /a#b HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("8-bit bytes in the target", "GET /\xff HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a tab in the target", "GET /\ta HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443" END, "501!"),
    RAW("an unknown method", "BREW / HTTP/1.1\r\nHost: a" END, "501!"),
    RAW("a method in lower case", "get / HTTP/1.1\r\nHost: a" END, "501!"),
    RAW("an RTSP method", "SETUP / HTTP/1.1\r\nHost: a" END, "501!"),
    RAW("a method that is no token", "GE(T / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("HTTP/0.9", "GET /\r\n", "400!"),
    RAW("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a" END, "505!"),
    RAW("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a" END, "505!"),
    RAW("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505!"),
    RAW("RTSP", "GET / RTSP/1.0\r\nHost: a" END, "400!"),
    RAW("HTTP/11", "GET / HTTP/11\r\nHost: a" END, "400!"),
    RAW("http/1.1", "GET / http/1.1\r\nHost: a" END, "400!"),
    RAW("two spaces", "GET  / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("two spaces before the version", "GET /  HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a space after the version", "GET / HTTP/1.1 \r\nHost: a" END, "400!"),
    RAW("a space first", " GET / HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a" END, "400!"),
    RAW("a bare LF after the request line", "GET / HTTP/1.1\nHost: a" END, "400!"),
    RAW("a bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b" END, "400!"),
    RAW("a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", "400!"),
    RAW("bare LFs throughout", "GET / HTTP/1.1\nHost: a\n\n", "400!"),
    RAW("a CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb" END, "400!"),
    RAW("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\nX: b" END, "400!"),
    RAW("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b" END, "400!"),
    RAW("a control in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01" END, "400!"),
    RAW("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f" END, "400!"),
    RAW("a NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: a" END, "400!"),
    RAW("8-bit bytes in a name", "GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa4: a" END, "400!"),
    RAW("a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : b" END, "400!"),
    RAW("a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b" END, "400!"),
    RAW("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b" END, "400!"),
    RAW("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX" END, "400!"),
    RAW("a fold", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c" END, "400!"),
    RAW("a fold with a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc" END, "400!"),
    RAW("a fold of nothing", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n " END, "400!"),
    RAW("a fold before the first field", "GET / HTTP/1.1\r\n Host: a" END, "400!"),
    RAW("a fold that hides chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked" END "0" END, "400!"),

    RAW("both lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked" END "0" END, "400!"),
    RAW("both lengths, other order", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5" END "0" END, "400!"),
    RAW("differing lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6" END "hello", "400!"),
    RAW("equal lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5" END "hello", "400!"),
    RAW("a list of lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5" END "hello", "400!"),
    RAW("a signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +5" END "hello", "400!"),
    RAW("a negative length", "POST / HTTP/1.1\r\n" H "Content-Length: -1" END, "400!"),
    RAW("a hex length", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5" END "hello", "400!"),
    RAW("an empty length", "POST / HTTP/1.1\r\n" H "Content-Length:" END, "400!"),
    RAW("a length beyond 2^63", "POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808" END, "400!"),
    RAW("a length beyond 2^64", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551621" END "hello", "400!"),
    RAW("a length with a space inside", "POST / HTTP/1.1\r\n" H "Content-Length: 1 2" END, "400!"),
    RAW("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked" END "0" END, "400!"),
    RAW("identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity" END, "400!"),
    RAW("gzip alone", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip" END, "400!"),
    RAW("gzip, chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked" END "0" END, "501!"),
    RAW("chunked, identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity" END "0" END, "400!"),
    RAW("chunked twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked" END "0" END, "400!"),
    RAW("chunked in two fields", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" END "0" END, "400!"),
    RAW("xchunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked" END "0" END, "400!"),
    RAW("chunked quoted", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"" END "0" END, "400!"),
    RAW("chunked with a vertical tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked" END "0" END, "400!"),
    RAW("an empty coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:" END, "400!"),
    RAW("another expectation", "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 1" END "a", "417!"),
    RAW("connection names host", "GET / HTTP/1.1\r\n" H "Connection: close, Host" END, "400!"),
    RAW("connection names x-forwarded-for", "GET / HTTP/1.1\r\n" H "Connection: X-Forwarded-For" END, "400!"),
    RAW("connection is no token", "GET / HTTP/1.1\r\n" H "Connection: a b" END, "400!"),
    RAW("TRACE with a body", "TRACE / HTTP/1.1\r\n" H "Content-Length: 1" END "a", "400!"),

    RAW("no chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "\r\n", "400!"),
    RAW("a chunk size of letters", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "xyz\r\n", "400!"),
    RAW("a chunk size with 0x", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0x5\r\nhello\r\n0" END, "400!"),
    RAW("a signed chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "-5\r\nhello\r\n0" END, "400!"),
    RAW("a chunk size with a space", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5 \r\nhello\r\n0" END, "400!"),
    RAW("a chunk size beyond 2^63", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "8000000000000000\r\n", "400!"),
    RAW("a chunk size beyond 2^64", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "10000000000000005\r\nhello\r\n0" END, "400!"),
    RAW("a bare LF after a chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5\nhello\r\n0" END, "400!"),
    RAW("a bare LF after chunk data", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5\r\nhello\n0" END, "400!"),
    RAW("a bare LF in an extension", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5;a\nb\r\nhello\r\n0" END, "400!"),
    RAW("a bare CR in an extension", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5;a\rb\r\nhello\r\n0" END, "400!"),
    RAW("a NUL in an extension", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5;a=\"\0\"\r\nhello\r\n0" END, "400!"),
    RAW("an extension without a name", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "5;\r\nhello\r\n0" END, "400!"),
    RAW("a chunk longer than its size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "4\r\nhello\r\n0" END, "400!"),
    RAW("a bare LF after the last chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\n\n", "400!"),
    RAW("content-length in trailers", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nContent-Length: 3" END, "400!"),
    RAW("host in trailers", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nHost: b" END, "400!"),
    RAW("a fold in trailers", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nX: a\r\n b" END, "400!"),
    RAW("a control in trailers", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nX: a\x02" END, "400!"),
    RAW("a space before a trailer's colon", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked" END "0\r\nX : a" END, "400!"),
    RAW("a client hello of TLS", "\x16\x03\x01\x02\x00\x01", "400!"),
    RAW("a request behind close", "GET / HTTP/1.1\r\n" H "Connection: close" END "GET /b HTTP/1.1\r\nHost: a" END, "200!"),
};

/* The statuses in what was written. */
static void statuses(const struct side *s, char *out)
{
    const char *p = s->f.out, *end = p + s->f.out_n;

    *out = 0;
    while (p && (p = memmem(p, (size_t)(end - p), "HTTP/1.1 ", 9))) {
        sprintf(out + strlen(out), "%s%.3s", *out ? " " : "", p + 9);
        p += 9;
    }
    if (side_closes(s))
        strcat(out, "!");
}

static void one_way(const struct raw *r, size_t first, size_t step, char *result, char *log)
{
    struct side s;
    size_t at = 0;

    side_init(&s, true);
    s.answers = true;
    while (at < r->n) {
        size_t n = at == 0 && first ? first : step;
        char *copy; /* so that reading past the piece is seen by the sanitizer */

        n = n < r->n - at ? n : r->n - at;
        copy = malloc(n);
        memcpy(copy, r->bytes + at, n);
        mg_h1_feed(&s.h, copy, n);
        free(copy);
        at += n;
    }
    statuses(&s, result);
    strcpy(log, s.log);
    side_deinit(&s);
}

static void every_input_gets_its_answer_however_it_is_cut(void **state)
{
    static char whole_log[8192], log[8192];
    char whole[256], result[256];
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct raw *r = &table[i];

        one_way(r, 0, r->n, whole, whole_log);
        if (strcmp(whole, r->expect) != 0) {
            print_error("%s: got %s, expected %s (%s)\n", r->name, whole, r->expect, whole_log);
            wrong++;
            continue;
        }
        for (size_t cut = 0; cut < r->n; cut++) { /* cut 0: byte by byte */
            one_way(r, cut, cut ? r->n : 1, result, log);
            if (strcmp(result, whole) != 0 || strcmp(log, whole_log) != 0) {
                print_error("%s: cut at %zu: got %s (%s), whole %s (%s)\n", r->name, cut, result, log, whole, whole_log);
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

#define POST5 "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
#define GET1 "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

static void pipelined_bytes_wait_until_the_leg_is_released(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, GET1 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;");
    side_answer(s.leg, 200);
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;begin;head GET /b 11 f0 -1;end;");
    assert_int_equal(s.idles, 0);
    side_answer(s.leg, 200);
    assert_int_equal(s.idles, 1);
    assert_null(s.h.kept);
    side_deinit(&s);
}

static void reading_stops_when_a_buffer_of_pipelined_bytes_waits(void **state)
{
    static char many[MG_READ_BYTES];
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, GET1);
    memset(many, 'x', sizeof many);
    mg_h1_feed(&s.h, many, sizeof many - 1);
    assert_false(s.f.is_paused);
    mg_h1_feed(&s.h, many, 1);
    assert_true(s.f.is_paused);
    side_answer(s.leg, 200); /* the rest is no request */
    assert_false(s.f.is_paused);
    assert_int_equal(s.status, 414);
    side_deinit(&s);
}

static void no_request_begins_while_the_client_takes_no_answers(void **state)
{
    static char many[MG_READ_BYTES];
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, GET1 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    s.f.stream.is_full = 1;
    side_answer(s.leg, 200);
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;");
    memset(many, 'x', sizeof many);
    mg_h1_feed(&s.h, many, sizeof many); /* and no more is read than a buffer */
    assert_true(s.f.is_paused);
    s.f.stream.is_full = 0;
    mg_h1_drained(&s.h);
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;begin;head GET /b 11 f0 -1;end;");
    side_deinit(&s);
}

static void a_half_closed_client_that_reads_slowly_gets_every_answer(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.h.half_close = 1;
    feed(&s, GET1 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    s.f.stream.is_full = 1;
    side_answer(s.leg, 200);
    mg_h1_ended(&s.h, UV_EOF);
    assert_false(side_closes(&s));
    s.f.stream.is_full = 0;
    mg_h1_drained(&s.h);
    side_answer(s.leg, 200);
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;begin;head GET /b 11 f0 -1;end;");
    assert_true(side_closes(&s));
    side_deinit(&s);
}

static void a_paused_body_is_kept_and_raised_after_resume(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.pauses = true;
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(s.log, "begin;head POST / 11 f2 -1;data abc");
    assert_true(s.f.is_paused);
    s.leg->ops->resume(s.leg);
    assert_string_equal(s.log, "begin;head POST / 11 f2 -1;data abcde");
    s.leg->ops->resume(s.leg);
    assert_string_equal(s.log, "begin;head POST / 11 f2 -1;data abcde;end;");
    assert_false(s.f.is_paused);
    side_deinit(&s);
}

static void the_end_of_a_length_is_held_back_with_its_last_piece(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.pauses = true;
    feed(&s, POST5 "hello");
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;data hello");
    s.leg->ops->resume(s.leg);
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;data hello;end;");
    side_deinit(&s);
}

static void a_pause_at_the_head_does_not_hold_back_the_end_of_nothing(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.pauses_at_head = true;
    feed(&s, GET1);
    assert_string_equal(s.log, "begin;head GET /a 11 f0 -1;end;");
    assert_false(s.f.is_paused);
    side_deinit(&s);
    side_init(&s, true);
    s.pauses_at_head = true;
    feed(&s, POST5 "hello");
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;");
    assert_true(s.f.is_paused);
    s.leg->ops->resume(s.leg);
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;data hello;end;");
    side_deinit(&s);
}

static void a_client_that_leaves_resets_the_exchange(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, GET1);
    mg_h1_ended(&s.h, UV_EOF);
    assert_int_equal(s.error, MG_ECLOSED);
    assert_int_equal(s.status, 0);
    assert_int_equal(s.dones, 0);
    s.leg->ops->release(s.leg);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void a_half_closed_client_gets_its_answers(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.h.half_close = 1;
    feed(&s, GET1 GET1);
    mg_h1_ended(&s.h, UV_EOF);
    assert_int_equal(s.error, 0);
    side_answer(s.leg, 200);
    assert_int_equal(s.dones, 0);
    side_answer(s.leg, 200);
    assert_int_equal(s.dones, 1);
    assert_non_null(memmem(s.f.out, s.f.out_n, "connection: close", 17));
    side_deinit(&s);
}

static void a_body_that_breaks_off_is_never_complete(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.h.half_close = 1;
    feed(&s, POST5 "hel");
    mg_h1_ended(&s.h, UV_EOF);
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;data hel;reset 0 client left;");
    side_deinit(&s);
}

static void a_connection_that_ends_while_idle_is_done(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    mg_h1_ended(&s.h, UV_EOF);
    assert_int_equal(s.dones, 1);
    assert_string_equal(s.log, "");
    side_deinit(&s);
}

static void little_that_is_missing_of_a_request_is_read_after_the_answer(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.answers_early = true;
    feed(&s, POST5 "he");
    assert_int_equal(s.idles, 0);
    feed(&s, "llo");
    assert_int_equal(s.idles, 1);
    assert_false(side_closes(&s));
    feed(&s, GET1);
    assert_string_equal(s.log, "begin;head POST /p 11 f1 5;begin;head GET /a 11 f0 -1;");
    assert_int_equal(s.idles, 2);
    side_deinit(&s);
}

static void much_that_is_missing_of_a_request_closes_lingering(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.answers_early = true;
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nab");
    assert_true(s.f.is_shut);
    assert_int_equal(s.dones, 0); /* the client still sends */
    feed(&s, "cdefgh");
    mg_h1_ended(&s.h, UV_EOF);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void endless_chunks_after_the_answer_end_the_connection(void **state)
{
    static const char chunk[] = "1000\r\n";
    char data[4098];
    struct side s;

    (void)state;
    side_init(&s, true);
    s.answers_early = true;
    memset(data, 'x', 4096);
    memcpy(data + 4096, "\r\n", 2);
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 16; i++) {
        feed(&s, chunk);
        mg_h1_feed(&s.h, data, sizeof data);
    }
    assert_false(s.f.is_shut);
    feed(&s, chunk);
    mg_h1_feed(&s.h, data, sizeof data);
    assert_true(s.f.is_shut);
    mg_wheel_advance(&s.f.loop.wheel, MG_H1_LINGER_MS + 100);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void a_lingering_connection_ends_in_time(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.answers = true;
    feed(&s, "GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(s.dones, 0);
    mg_wheel_advance(&s.f.loop.wheel, MG_H1_LINGER_MS / 2);
    assert_int_equal(s.dones, 0);
    mg_wheel_advance(&s.f.loop.wheel, MG_H1_LINGER_MS + 100);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void an_answer_without_100_to_one_who_waits_for_it_closes(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.answers_early = true;
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_non_null(memmem(s.f.out, s.f.out_n, "connection: close\r\n", 19));
    assert_true(s.f.is_shut);
    side_deinit(&s);
}

static void a_100_that_was_sent_keeps_the_connection(void **state)
{
    struct mg_head interim = { .status = 100 };
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(s.leg->ops->send_interim(s.leg, &interim), 0);
    assert_memory_equal(s.f.out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    feed(&s, "hello");
    side_answer(s.leg, 200);
    assert_int_equal(s.idles, 1);
    side_deinit(&s);
}

static void a_refused_owner_closes_the_connection(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.refuses = true;
    feed(&s, GET1);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void draining_closes_idle_connections_and_busy_ones_after_their_answer(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, GET1);
    mg_h1_drain(&s.h);
    assert_int_equal(s.dones, 0);
    side_answer(s.leg, 200);
    assert_int_equal(s.dones, 1);
    assert_non_null(memmem(s.f.out, s.f.out_n, "connection: close\r\n", 19));
    side_deinit(&s);
    side_init(&s, true);
    mg_h1_drain(&s.h);
    assert_int_equal(s.dones, 1);
    side_deinit(&s);
}

static void a_slow_head_is_read_in_linear_time(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    s.limits.head_bytes = 1 << 20;
    s.answers = true;
    feed(&s, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for (int i = 0; i < 500000; i++)
        mg_h1_feed(&s.h, "x", 1);
    feed(&s, "\r\n\r\n");
    assert_memory_equal(s.f.out, "HTTP/1.1 200", 12);
    side_deinit(&s);
}

static void limits_have_their_statuses(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, "GET /");
    for (int i = 0; i < 1100 && !s.status; i++)
        feed(&s, "x");
    assert_int_equal(s.status, 414);
    side_deinit(&s);
    side_init(&s, true);
    feed(&s, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for (int i = 0; i < 5000 && !s.status; i++)
        feed(&s, "x");
    assert_int_equal(s.status, 431);
    assert_in_range(s.h.leg.head_bytes_in, 4096, 4097);
    side_deinit(&s);
    side_init(&s, true);
    feed(&s, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 19; i++)
        feed(&s, "X: y\r\n");
    assert_int_equal(s.status, 0);
    feed(&s, "X: y\r\n");
    assert_int_equal(s.status, 431);
    side_deinit(&s);
    side_init(&s, true);
    feed(&s, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 300 && !s.status; i++)
        feed(&s, "x");
    assert_int_equal(s.status, 431);
    side_deinit(&s);
}

static void an_owner_without_memory_gets_503(void **state)
{
    struct side s;

    (void)state;
    side_init(&s, true);
    feed(&s, "G");
    s.arena.budget = 0;
    feed(&s, "ET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(s.status, 503);
    assert_int_equal(s.error, MG_ENOMEM);
    side_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_input_gets_its_answer_however_it_is_cut),
        cmocka_unit_test(pipelined_bytes_wait_until_the_leg_is_released),
        cmocka_unit_test(reading_stops_when_a_buffer_of_pipelined_bytes_waits),
        cmocka_unit_test(no_request_begins_while_the_client_takes_no_answers),
        cmocka_unit_test(a_half_closed_client_that_reads_slowly_gets_every_answer),
        cmocka_unit_test(a_paused_body_is_kept_and_raised_after_resume),
        cmocka_unit_test(the_end_of_a_length_is_held_back_with_its_last_piece),
        cmocka_unit_test(a_pause_at_the_head_does_not_hold_back_the_end_of_nothing),
        cmocka_unit_test(a_client_that_leaves_resets_the_exchange),
        cmocka_unit_test(a_half_closed_client_gets_its_answers),
        cmocka_unit_test(a_body_that_breaks_off_is_never_complete),
        cmocka_unit_test(a_connection_that_ends_while_idle_is_done),
        cmocka_unit_test(little_that_is_missing_of_a_request_is_read_after_the_answer),
        cmocka_unit_test(much_that_is_missing_of_a_request_closes_lingering),
        cmocka_unit_test(endless_chunks_after_the_answer_end_the_connection),
        cmocka_unit_test(a_lingering_connection_ends_in_time),
        cmocka_unit_test(an_answer_without_100_to_one_who_waits_for_it_closes),
        cmocka_unit_test(a_100_that_was_sent_keeps_the_connection),
        cmocka_unit_test(a_refused_owner_closes_the_connection),
        cmocka_unit_test(draining_closes_idle_connections_and_busy_ones_after_their_answer),
        cmocka_unit_test(a_slow_head_is_read_in_linear_time),
        cmocka_unit_test(limits_have_their_statuses),
        cmocka_unit_test(an_owner_without_memory_gets_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
