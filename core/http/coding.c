/* Each library behind one function: a stage takes bytes from `in` and puts text into `out`. */
#include "http/coding.h"
#include "http/coding_memory.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { BETWEEN = 16384, ZSTD_WINDOW_LOG = 23 };
enum kind { GZIP, DEFLATE, BROTLI, ZSTD };

struct stage {
    int kind;
    bool is_open;               /* the library's state is there */
    bool began;                 /* some input was seen */
    bool is_over;               /* its stream has ended; more input must begin another, where the coding allows that */
    struct mg_str in;           /* not yet read */
    z_stream z;
    BrotliDecoderState *br;
    ZSTD_DStream *zs;
    char *buffer;               /* its input, from the stage before; NULL: it reads the caller's */
};

struct mg_decoder {
    int stages_n;
    int error;
    struct stage stages[MG_CODINGS_MAX];  /* [0] reads the caller's bytes */
};

/* ---- which ---- */

static int kind_of(struct mg_str name)
{
    static const struct { const char *name; int kind; } known[] = {
        { "gzip", GZIP }, { "x-gzip", GZIP }, { "deflate", DEFLATE }, { "br", BROTLI }, { "zstd", ZSTD },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (mg_str_ieq(name, mg_str_c(known[i].name)))
            return known[i].kind;
    return MG_ENOENT;
}

/* The kinds in the order in which they were applied. Their number, or MG_ENOENT. */
static int kinds_of(struct mg_str codings, int kinds[MG_CODINGS_MAX])
{
    struct mg_str item;
    int n = 0;

    while (mg_str_next(&codings, ',', &item)) {
        item = mg_str_trim(item);
        if (!item.n || mg_str_ieq(item, MG_STR("identity")))
            continue;
        if (n == MG_CODINGS_MAX)
            return MG_ENOENT;
        kinds[n] = kind_of(item);
        if (kinds[n] < 0)
            return MG_ENOENT;
        n++;
    }
    return n;
}

int mg_coding_is_known(struct mg_str codings)
{
    int kinds[MG_CODINGS_MAX], n = codings.n ? kinds_of(codings, kinds) : 0;

    return n > 0 ? 1 : n;
}

int mg_decoder_new(struct mg_str codings, struct mg_decoder **out)
{
    int kinds[MG_CODINGS_MAX], n = kinds_of(codings, kinds);
    struct mg_decoder *d;

    *out = NULL;
    if (n <= 0)
        return n;
    d = mg_calloc(1, sizeof *d);
    if (!d)
        return MG_ENOMEM;
    d->stages_n = n;
    for (int i = 0; i < n; i++) {
        d->stages[i].kind = kinds[n - 1 - i]; /* what was put on last comes off first */
        if (i > 0 && !(d->stages[i].buffer = mg_malloc(BETWEEN))) {
            mg_decoder_free(d);
            return MG_ENOMEM;
        }
    }
    *out = d;
    return 0;
}

static void stage_close(struct stage *s)
{
    if (s->is_open && s->kind <= DEFLATE)
        inflateEnd(&s->z);
    if (s->br)
        BrotliDecoderDestroyInstance(s->br);
    if (s->zs)
        ZSTD_freeDStream(s->zs);
    mg_free(s->buffer);
}

void mg_decoder_free(struct mg_decoder *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->stages_n; i++)
        stage_close(&d->stages[i]);
    mg_free(d);
}

/* ---- one stage ---- */

/* "deflate" is the zlib format (RFC 9110, 8.4.1.2), but some send bare deflate: a zlib stream's first byte tells. */
static int window_bits(const struct stage *s)
{
    unsigned char first = (unsigned char)s->in.p[0];

    if (s->kind == GZIP)
        return 16 + MAX_WBITS;
    return (first & 0x0f) == 8 && first >> 4 <= 7 ? MAX_WBITS : -MAX_WBITS;
}

static int stage_open(struct stage *s)
{
    switch (s->kind) {
    case BROTLI:
        s->br = BrotliDecoderCreateInstance(br_alloc, z_free, NULL);
        s->is_open = s->br != NULL;
        break;
    case ZSTD:
        s->zs = ZSTD_createDStream();
        s->is_open = s->zs && !ZSTD_isError(ZSTD_DCtx_setParameter(s->zs, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
        break;
    default:
        s->z.zalloc = z_alloc;
        s->z.zfree = z_free;
        s->is_open = inflateInit2(&s->z, window_bits(s)) == Z_OK;
    }
    return s->is_open ? 0 : MG_ENOMEM;
}

static int run_zlib(struct stage *s, char *out, size_t room, size_t *n)
{
    int rc;

    if (s->is_over) { /* another member may follow (RFC 1952, 2.2); nothing else may */
        if (s->kind != GZIP || inflateReset(&s->z) != Z_OK)
            return MG_ESYNTAX;
        s->is_over = false;
    }
    s->z.next_in = (Bytef *)(uintptr_t)s->in.p;
    s->z.avail_in = (uInt)(s->in.n < 1u << 30 ? s->in.n : 1u << 30);
    s->z.next_out = (Bytef *)out;
    s->z.avail_out = (uInt)(room < 1u << 30 ? room : 1u << 30);
    rc = inflate(&s->z, Z_NO_FLUSH);
    *n = (size_t)((char *)s->z.next_out - out);
    s->in.n -= (size_t)((const char *)s->z.next_in - s->in.p);
    s->in.p = (const char *)s->z.next_in;
    s->is_over = rc == Z_STREAM_END;
    return rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR ? 0 : rc == Z_MEM_ERROR ? MG_ENOMEM : MG_ESYNTAX;
}

static int run_brotli(struct stage *s, char *out, size_t room, size_t *n)
{
    const uint8_t *in = (const uint8_t *)s->in.p;
    uint8_t *to = (uint8_t *)out;
    size_t left = room;
    BrotliDecoderResult r;

    if (s->is_over)
        return MG_ESYNTAX;
    r = BrotliDecoderDecompressStream(s->br, &s->in.n, &in, &left, &to, NULL);
    s->in.p = (const char *)in;
    *n = room - left;
    s->is_over = r == BROTLI_DECODER_RESULT_SUCCESS;
    if (r != BROTLI_DECODER_RESULT_ERROR)
        return 0;
    return BrotliDecoderGetErrorCode(s->br) <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                   BrotliDecoderGetErrorCode(s->br) >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES
               ? MG_ENOMEM
               : MG_ESYNTAX;
}

static int run_zstd(struct stage *s, char *out, size_t room, size_t *n)
{
    ZSTD_inBuffer in = { s->in.p, s->in.n, 0 };
    ZSTD_outBuffer to = { out, room, 0 };
    size_t rc = ZSTD_decompressStream(s->zs, &to, &in);

    *n = to.pos;
    s->in = mg_str(s->in.p + in.pos, s->in.n - in.pos);
    if (ZSTD_isError(rc))
        return ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? MG_ENOMEM : MG_ESYNTAX;
    s->is_over = rc == 0; /* a frame has ended; others may follow (RFC 8878, 3.1) */
    return 0;
}

static int stage_run(struct stage *s, char *out, size_t room, size_t *n)
{
    int rc = 0;

    *n = 0;
    if (s->in.n && !s->began) {
        s->began = true;
        rc = stage_open(s);
    }
    if (rc || !s->began || (s->is_over && !s->in.n))
        return rc;
    if (s->kind == BROTLI)
        return run_brotli(s, out, room, n);
    return s->kind == ZSTD ? run_zstd(s, out, room, n) : run_zlib(s, out, room, n);
}

/* ---- the row of them ---- */

static int pull(struct mg_decoder *d, int i, char *out, size_t room, size_t *n)
{
    struct stage *s = &d->stages[i];

    for (;;) {
        size_t before = s->in.n, more = 0;
        int rc = stage_run(s, out, room, n); /* also without input: what it holds comes out */

        if (rc || *n)
            return rc;
        if (s->in.n && s->in.n < before)
            continue;
        if (s->in.n && !s->is_over)
            return MG_ESYNTAX; /* it neither reads nor gives */
        if (s->in.n)
            continue;
        if (i == 0)
            return 0;
        rc = pull(d, i - 1, s->buffer, BETWEEN, &more);
        if (rc || !more)
            return rc;
        s->in = mg_str(s->buffer, more);
    }
}

void mg_decoder_give(struct mg_decoder *d, struct mg_str in)
{
    d->stages[0].in = in;
}

int mg_decoder_take(struct mg_decoder *d, char *out, size_t room, size_t *n)
{
    *n = 0;
    if (!d->error)
        d->error = pull(d, d->stages_n - 1, out, room, n);
    return d->error;
}

int mg_decoder_end(const struct mg_decoder *d)
{
    if (d->error)
        return d->error;
    if (!d->stages[0].began)
        return 0;
    for (int i = 0; i < d->stages_n; i++)
        if (!d->stages[i].is_over || d->stages[i].in.n)
            return MG_ESYNTAX;
    return 0;
}
