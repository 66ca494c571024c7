/* DNS answers of any bytes: text of whole lines within its bound, or a refusal. The first byte says which type is asked for. */
#include <assert.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/error.h"
#include "net/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int types[] = { MG_RECORD_CNAME, MG_RECORD_PTR, MG_RECORD_MX, MG_RECORD_TXT, MG_RECORD_SRV };
    struct mg_str out;
    int rc, ttl_s = -1;

    if (!size)
        return 0;
    rc = mg_records_text(data + 1, size - 1, types[data[0] % 5], &out, &ttl_s);
    if (rc != 0) {
        assert(!out.p && (rc == MG_ENOENT || rc == MG_EPROTO));
        return 0;
    }
    assert(out.n > 0 && out.n <= MG_RECORDS_TEXT_MAX && ttl_s >= 0);
    for (size_t i = 0; i < out.n; i++)
        assert(out.p[i] == '\n' || (out.p[i] >= 0x20 && out.p[i] < 0x7f));
    mg_free((char *)out.p);
    return 0;
}
