/* Any text in pieces of any size, each flushed or not, under any coding: what comes out decodes to the very text, and what was
 * flushed is there at once. An Accept-Encoding of any bytes is read without harm. */
#include "http/coding.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct told { char *p; size_t n; };

static void decode(struct mg_decoder *d, struct told *t, size_t room, const char *p, size_t n)
{
    size_t got = 1;

    if (!n)
        return; /* zstd takes many calls without input for an endless loop */
    mg_decoder_give(d, mg_str(p, n));
    while (got) {
        assert(mg_decoder_take(d, t->p + t->n, room - t->n, &got) == 0);
        t->n += got;
    }
}

/* First byte: the coding. Second: the size of the pieces. Then the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum mg_coding coding = n ? (enum mg_coding)(MG_CODING_GZIP + data[0] % 4) : MG_CODING_GZIP;
    struct mg_encoder *e;
    struct mg_decoder *d;
    struct told t = { NULL, 0 };
    char out[512];
    size_t step, got;

    if (n < 3)
        return 0;
    (void)mg_coding_accepted(mg_str((const char *)data, n), coding);
    step = data[1] % 200 + 1;
    e = mg_encoder_new(coding);
    assert(e && mg_decoder_new(mg_str_c(mg_coding_name(coding)), &d) == 0 && d);
    t.p = malloc(n + 64);
    for (size_t at = 2; at < n; at += step) {
        size_t some = n - at < step ? n - at : step;
        enum mg_encode how = at + some == n ? MG_ENCODE_END : data[at] & 1 ? MG_ENCODE_FLUSH : MG_ENCODE_MORE;

        mg_encoder_give(e, mg_str((const char *)data + at, some), how);
        for (got = 1; got;) {
            assert(mg_encoder_take(e, out, data[1] & 1 ? sizeof out : 9, &got) == 0);
            decode(d, &t, n + 64, out, got);
        }
        assert(how == MG_ENCODE_MORE || t.n == at + some - 2);
    }
    assert(mg_decoder_end(d) == 0 && t.n == n - 2 && memcmp(t.p, data + 2, t.n) == 0);
    free(t.p);
    mg_encoder_free(e);
    mg_decoder_free(d);
    return 0;
}
