/* Origins of strangers against origins of the config: what a star lets in stays a name under what stands behind it. */
#include "exchange.h"
#undef fail
#include "../../plugins/cors/cors.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parts with NUL between: the config's, the page's, a Vary. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str in = mg_str((const char *)data, size), want = fuzz_next(&in), origin = fuzz_next(&in);
    struct mg_error err = { 0 };
    const char *star;

    (void)list_has(in, "Origin", 6);
    if (check_origin(want, &err) != 0) {
        must(err.message[0] != 0);
        return 0;
    }
    if (!mg_header_value_ok(origin) || !matches_origin(want, origin))
        return 0;
    star = memchr(want.p, '*', want.n);
    if (!star)
        must(mg_str_ieq(want, origin));
    else
        must(origin.n >= want.n && mg_str_ieq(mg_str(star + 1, want.n - (size_t)(star - want.p) - 1),
                                              mg_str(origin.p + origin.n - (want.n - (size_t)(star - want.p) - 1),
                                                     want.n - (size_t)(star - want.p) - 1)));
    return 0;
}
