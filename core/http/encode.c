/* encode.c - content codings put on, and who takes them. */
#include "http/coding.h"
#include "http/coding_memory.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

enum { ZLIB_LEVEL = 5, BROTLI_QUALITY = 4, BROTLI_WINDOW = 18, ZSTD_LEVEL = 3, ZSTD_WINDOW = 18 };

struct mg_encoder {
    enum mg_coding coding;
    enum mg_encode how;
    bool is_done;               /* of what was given all has come out */
    struct mg_str in;
    z_stream z;
    bool z_open;
    BrotliEncoderState *br;
    ZSTD_CCtx *zs;
};

static const char *const names[] = { "", "gzip", "deflate", "br", "zstd" };

enum mg_coding mg_coding_named(struct mg_str name)
{
    for (int i = MG_CODING_GZIP; i <= MG_CODING_ZSTD; i++)
        if (mg_str_ieq(name, mg_str_c(names[i])))
            return (enum mg_coding)i;
    return mg_str_ieq(name, MG_STR("x-gzip")) ? MG_CODING_GZIP : MG_CODING_NONE;
}

const char *mg_coding_name(enum mg_coding coding)
{
    return names[coding];
}

/* ";q=0", ";q=0.000": not that one (RFC 9110, 12.4.2). */
static bool is_refused(struct mg_str weight)
{
    struct mg_str part;

    while (mg_str_next(&weight, ';', &part)) {
        part = mg_str_trim(part);
        if (part.n < 3 || (part.p[0] | 0x20) != 'q' || part.p[1] != '=')
            continue;
        for (size_t i = 2; i < part.n; i++)
            if (part.p[i] != '0' && part.p[i] != '.')
                return false;
        return true;
    }
    return false;
}

bool mg_coding_accepted(struct mg_str accept, enum mg_coding coding)
{
    struct mg_str item, name;
    bool any = false;

    while (mg_str_next(&accept, ',', &item)) {
        bool takes;

        if (!mg_str_next(&item, ';', &name))
            continue;
        name = mg_str_trim(name);
        takes = !is_refused(item);
        if (name.n && mg_coding_named(name) == coding)
            return takes;
        if (mg_str_eq(name, MG_STR("*")))
            any = takes;
    }
    return any;
}

/* ---- the libraries ---- */

static bool open_brotli(struct mg_encoder *e)
{
    e->br = BrotliEncoderCreateInstance(br_alloc, z_free, NULL);
    return e->br && BrotliEncoderSetParameter(e->br, BROTLI_PARAM_QUALITY, BROTLI_QUALITY) &&
           BrotliEncoderSetParameter(e->br, BROTLI_PARAM_LGWIN, BROTLI_WINDOW);
}

static bool open_zstd(struct mg_encoder *e)
{
    e->zs = ZSTD_createCCtx();
    return e->zs && !ZSTD_isError(ZSTD_CCtx_setParameter(e->zs, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(e->zs, ZSTD_c_windowLog, ZSTD_WINDOW));
}

static bool open_zlib(struct mg_encoder *e)
{
    e->z.zalloc = z_alloc;
    e->z.zfree = z_free;
    e->z_open = deflateInit2(&e->z, ZLIB_LEVEL, Z_DEFLATED, e->coding == MG_CODING_GZIP ? 16 + MAX_WBITS : MAX_WBITS, 8,
                             Z_DEFAULT_STRATEGY) == Z_OK;
    return e->z_open;
}

struct mg_encoder *mg_encoder_new(enum mg_coding coding)
{
    struct mg_encoder *e = mg_calloc(1, sizeof *e);
    bool ok;

    if (!e)
        return NULL;
    e->coding = coding;
    e->is_done = true;
    ok = coding == MG_CODING_BR ? open_brotli(e) : coding == MG_CODING_ZSTD ? open_zstd(e) : open_zlib(e);
    if (ok)
        return e;
    mg_encoder_free(e);
    return NULL;
}

void mg_encoder_free(struct mg_encoder *e)
{
    if (!e)
        return;
    if (e->z_open)
        deflateEnd(&e->z);
    if (e->br)
        BrotliEncoderDestroyInstance(e->br);
    if (e->zs)
        ZSTD_freeCCtx(e->zs);
    mg_free(e);
}

void mg_encoder_give(struct mg_encoder *e, struct mg_str in, enum mg_encode how)
{
    e->in = in;
    e->how = how;
    e->is_done = how == MG_ENCODE_MORE && !in.n;
}

static int take_zlib(struct mg_encoder *e, char *out, size_t room, size_t *n)
{
    static const int flush[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH };
    size_t some = e->in.n < 1u << 30 ? e->in.n : 1u << 30;
    int rc;

    e->z.next_in = (Bytef *)(uintptr_t)e->in.p;
    e->z.avail_in = (uInt)some;
    e->z.next_out = (Bytef *)out;
    e->z.avail_out = (uInt)(room < 1u << 30 ? room : 1u << 30);
    rc = deflate(&e->z, some < e->in.n ? Z_NO_FLUSH : flush[e->how]);
    *n = (size_t)((char *)e->z.next_out - out);
    e->in = mg_str(e->in.p + (some - e->z.avail_in), e->in.n - (some - e->z.avail_in));
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return MG_ENOMEM;
    e->is_done = rc == Z_STREAM_END || (e->how != MG_ENCODE_END && !e->in.n && e->z.avail_out);
    return 0;
}

static int take_brotli(struct mg_encoder *e, char *out, size_t room, size_t *n)
{
    static const BrotliEncoderOperation what[] = { BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH };
    const uint8_t *in = (const uint8_t *)e->in.p;
    uint8_t *to = (uint8_t *)out;
    size_t left = room;

    if (!BrotliEncoderCompressStream(e->br, what[e->how], &e->in.n, &in, &left, &to, NULL))
        return MG_ENOMEM;
    e->in.p = (const char *)in;
    *n = room - left;
    e->is_done = !e->in.n && !BrotliEncoderHasMoreOutput(e->br) && (e->how != MG_ENCODE_END || BrotliEncoderIsFinished(e->br));
    return 0;
}

static int take_zstd(struct mg_encoder *e, char *out, size_t room, size_t *n)
{
    static const ZSTD_EndDirective what[] = { ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end };
    ZSTD_inBuffer in = { e->in.p, e->in.n, 0 };
    ZSTD_outBuffer to = { out, room, 0 };
    size_t rc = ZSTD_compressStream2(e->zs, &to, &in, what[e->how]);

    if (ZSTD_isError(rc))
        return MG_ENOMEM;
    *n = to.pos;
    e->in = mg_str(e->in.p + in.pos, e->in.n - in.pos);
    e->is_done = !e->in.n && (e->how == MG_ENCODE_MORE || rc == 0);
    return 0;
}

int mg_encoder_take(struct mg_encoder *e, char *out, size_t room, size_t *n)
{
    int rc = 0;

    *n = 0;
    while (!rc && !*n && !e->is_done)
        rc = e->coding == MG_CODING_BR     ? take_brotli(e, out, room, n)
             : e->coding == MG_CODING_ZSTD ? take_zstd(e, out, room, n)
                                           : take_zlib(e, out, room, n);
    return rc;
}
