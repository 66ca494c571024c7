#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "http/coding.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

static char text[100000], packed[4][200000], got[400000];

static void fill(void)
{
    uint32_t r = 1;

    for (size_t i = 0; i < sizeof text; i++) {
        r = r * 1664525 + 1013904223;
        text[i] = (char)('a' + (r >> 24) % 20);
    }
}

static size_t zlib_pack(int bits, const char *p, size_t n, char *out, size_t room)
{
    z_stream z = { 0 };

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return (size_t)((char *)z.next_out - out);
}

static size_t pack(const char *how, const char *p, size_t n, char *out, size_t room)
{
    size_t made = room;

    if (!strcmp(how, "gzip"))
        return zlib_pack(31, p, n, out, room);
    if (!strcmp(how, "deflate"))
        return zlib_pack(15, p, n, out, room);
    if (!strcmp(how, "bare"))
        return zlib_pack(-15, p, n, out, room);
    if (!strcmp(how, "zstd"))
        return ZSTD_compress(out, room, p, n, 3);
    assert_true(BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, n, (const uint8_t *)p, &made, (uint8_t *)out));
    return made;
}

/* All of it in pieces of `step` bytes; the code of the end. */
static int unpack(const char *codings, const char *p, size_t n, size_t step, size_t *out_n)
{
    struct mg_decoder *d;
    int rc = mg_decoder_new(mg_str_c(codings), &d);

    *out_n = 0;
    if (rc)
        return rc;
    for (size_t at = 0; at < n && !rc; at += step) {
        size_t more = 1;

        mg_decoder_give(d, mg_str(p + at, n - at < step ? n - at : step));
        while (!rc && more) {
            rc = mg_decoder_take(d, got + *out_n, sizeof got - *out_n < 777 ? sizeof got - *out_n : 777, &more);
            *out_n += more;
        }
    }
    rc = mg_decoder_end(d);
    mg_decoder_free(d);
    return rc;
}

static void each_coding_comes_off_whatever_the_pieces(void **state)
{
    static const char *const hows[][2] = { { "gzip", "gzip" }, { "gzip", "x-gzip" }, { "deflate", "deflate" }, { "bare", "Deflate" },
                                           { "br", "br" }, { "zstd", "zstd" } };
    static const size_t steps[] = { 1, 13, 4096, 1 << 20 };

    (void)state;
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        size_t n = pack(hows[i][0], text, sizeof text, packed[0], sizeof packed[0]), made;

        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(unpack(hows[i][1], packed[0], n, steps[k], &made), 0);
            assert_int_equal(made, sizeof text);
            assert_memory_equal(got, text, sizeof text);
        }
    }
}

static void codings_in_a_row_come_off_in_reverse(void **state)
{
    size_t a = pack("br", text, sizeof text, packed[0], sizeof packed[0]);
    size_t b = pack("gzip", packed[0], a, packed[1], sizeof packed[1]);
    size_t c = pack("zstd", packed[1], b, packed[2], sizeof packed[2]), made;

    (void)state;
    assert_int_equal(unpack("br, gzip ,identity,, zstd", packed[2], c, 1000, &made), 0);
    assert_int_equal(made, sizeof text);
    assert_memory_equal(got, text, sizeof text);
    assert_int_equal(unpack("gzip, br, zstd", packed[2], c, 1000, &made), MG_ESYNTAX);
}

static void members_may_follow_each_other_and_junk_may_not(void **state)
{
    size_t a = pack("gzip", text, 1000, packed[0], sizeof packed[0]), made;
    size_t z = pack("zstd", text, 1000, packed[1], sizeof packed[1]);
    size_t b = pack("br", text, 1000, packed[2], sizeof packed[2]);

    (void)state;
    memcpy(packed[0] + a, packed[0], a);
    assert_int_equal(unpack("gzip", packed[0], 2 * a, 5, &made), 0);
    assert_int_equal(made, 2000);
    memcpy(packed[1] + z, packed[1], z);
    assert_int_equal(unpack("zstd", packed[1], 2 * z, 5, &made), 0);
    assert_int_equal(made, 2000);
    memcpy(packed[0] + a, "junk", 4);
    assert_int_equal(unpack("gzip", packed[0], a + 4, 5, &made), MG_ESYNTAX);
    memcpy(packed[2] + b, "junk", 4);
    assert_int_equal(unpack("br", packed[2], b + 4, 5, &made), MG_ESYNTAX);
}

static void what_breaks_off_or_is_no_such_thing_is_malformed(void **state)
{
    static const char *const hows[] = { "gzip", "deflate", "br", "zstd" };
    size_t made;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t n = pack(hows[i], text, sizeof text, packed[0], sizeof packed[0]);

        assert_int_equal(unpack(hows[i], packed[0], n - 1, 100, &made), MG_ESYNTAX);
        assert_int_equal(unpack(hows[i], packed[0], 1, 100, &made), MG_ESYNTAX);
        assert_int_equal(unpack(hows[i], "{\"plain\": \"text\"}", 17, 100, &made), MG_ESYNTAX);
        assert_int_equal(unpack(hows[i], "", 0, 100, &made), 0);
        assert_int_equal(made, 0);
    }
}

static void unknown_codings_and_too_many_are_told(void **state)
{
    struct mg_decoder *d;

    (void)state;
    assert_int_equal(mg_decoder_new(MG_STR("gzip, compress"), &d), MG_ENOENT);
    assert_int_equal(mg_decoder_new(MG_STR("gzip,gzip,gzip,gzip,gzip"), &d), MG_ENOENT);
    assert_int_equal(mg_decoder_new(MG_STR(" identity , "), &d), 0);
    assert_null(d);
    assert_int_equal(mg_coding_is_known(MG_STR("br")), 1);
    assert_int_equal(mg_coding_is_known(MG_STR("identity")), 0);
    assert_int_equal(mg_coding_is_known(MG_STR("sdch")), MG_ENOENT);
}

static void every_allocation_may_fail(void **state)
{
    size_t n = pack("gzip", text, 1000, packed[0], sizeof packed[0]);
    size_t b = pack("br", packed[0], n, packed[1], sizeof packed[1]), made;
    int rc = -1;

    (void)state;
    for (int nth = 1; rc; nth++) {
        mg_alloc_fail(nth);
        rc = unpack("gzip, br", packed[1], b, 4096, &made);
        mg_alloc_fail(0);
        assert_true(rc == 0 || rc == MG_ENOMEM);
        assert_true(nth < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_coding_comes_off_whatever_the_pieces),
        cmocka_unit_test(codings_in_a_row_come_off_in_reverse),
        cmocka_unit_test(members_may_follow_each_other_and_junk_may_not),
        cmocka_unit_test(what_breaks_off_or_is_no_such_thing_is_malformed),
        cmocka_unit_test(unknown_codings_and_too_many_are_told),
        cmocka_unit_test(every_allocation_may_fail),
    };

    fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
