/* Any bytes under any row of codings, in pieces of any size: text in bounded pieces, or an error that stays; never more output
 * than there is room for, and never an endless run without progress. */
#include "http/coding.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
/* First byte: the codings. Second: the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const rows[] = { "gzip", "deflate", "br", "zstd", "gzip, br", "deflate, zstd", "br, gzip, deflate", "zstd,zstd" };
    struct mg_decoder *d;
    static char out[4096];
    size_t step, total = 0;
    int rc = 0;

    if (n < 2)
        return 0;
    step = data[1] % 64 + 1;
    assert(mg_decoder_new(mg_str_c(rows[data[0] % 8]), &d) == 0 && d);
    for (size_t at = 2; at < n && !rc && total < 1 << 22; at += step) {
        size_t got = 1;

        mg_decoder_give(d, mg_str((const char *)data + at, n - at < step ? n - at : step));
        while (!rc && got && total < 1 << 22) {
            rc = mg_decoder_take(d, out, data[1] & 1 ? sizeof out : 7, &got);
            assert(got <= sizeof out);
            assert(!rc || rc == MG_ESYNTAX || rc == MG_ENOMEM);
            total += got;
        }
        if (total >= 1 << 22)
            break;
    }
    if (rc)
        assert(mg_decoder_end(d) == rc);
    mg_decoder_free(d);
    return 0;
}
