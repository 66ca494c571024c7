/* Any bytes from a server, cut anywhere: refused, or replies within their limit whose nodes hang together and which, written
 * again, read the same. */
#include "service/redis.h"
#include "base/alloc.h"

#include <assert.h>

enum { BYTES_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct mg_redis_reply *r)
{
    assert(r->n > 0 && r->nodes[0].next == (int32_t)r->n);
    assert(r->n * sizeof *r->nodes + r->text_n <= BYTES_MAX + sizeof *r->nodes);
    for (size_t i = 0; i < r->n; i++) {
        struct mg_str text = mg_redis_reply_text(r, i);
        int32_t at = (int32_t)i + 1;

        assert((size_t)r->nodes[i].start + text.n <= r->text_n);
        for (int32_t k = 0; k < r->nodes[i].count; k++)
            at = r->nodes[at].next;
        assert(r->nodes[i].next == at && at <= (int32_t)r->n);
    }
}

static void check_again(const struct mg_redis_reply *r)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *again = mg_redis_reply_new(0);
    char *out = NULL;
    size_t out_n = 0, room = 0;

    assert(mg_redis_reply_resp(r, 0, &out, &out_n, &room) == 0);
    assert(mg_redis_reader_feed(reader, out, out_n) == 0 && mg_redis_reader_next(reader, again) == 1);
    assert(again->n == r->n && again->text_n == r->text_n);
    for (size_t i = 0; i < r->n; i++)
        assert(again->nodes[i].kind == r->nodes[i].kind && again->nodes[i].integer == r->nodes[i].integer &&
               mg_str_eq(mg_redis_reply_text(again, i), mg_redis_reply_text(r, i)));
    mg_free(out);
    mg_redis_reply_free(again);
    mg_redis_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mg_redis_reader *reader = mg_redis_reader_new();
    struct mg_redis_reply *r = mg_redis_reply_new(BYTES_MAX);
    size_t piece = n ? data[0] % 64 + 1u : 1;
    int rc = 0;

    for (size_t at = 1; rc >= 0 && at < n; at += piece) {
        assert(mg_redis_reader_feed(reader, (const char *)data + at, piece < n - at ? piece : n - at) == 0);
        while ((rc = mg_redis_reader_next(reader, r)) == 1) {
            check(r);
            check_again(r);
            mg_redis_reply_clear(r);
        }
    }
    mg_redis_reply_free(r);
    mg_redis_reader_free(reader);
    return 0;
}
