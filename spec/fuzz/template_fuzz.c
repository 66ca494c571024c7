/* Any text: refused with a message, or a template that renders on an exchange that has nothing. */
#include "exchange/exchange.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct mg_worker worker;
    static bool is_ready;
    char why[160] = "";
    struct mg_template *t = mg_template_new((const char *)data, n, why, sizeof why);
    struct mg_exchange *x;
    struct mg_str out;

    if (!t) {
        assert(why[0]);
        return 0;
    }
    if (!is_ready) {
        assert(mg_worker_init(&worker, 0) == 0);
        mg_this_worker = &worker;
        is_ready = true;
    }
    x = mg_exchange_new(&worker, 1 << 20);
    assert(x);
    assert(mg_template_render(mg_handle_of(x), t, &out) >= 0 || n > 4096);
    mg_exchange_free(x);
    mg_template_free(t);
    return 0;
}
