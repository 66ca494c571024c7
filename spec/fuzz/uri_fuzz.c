/* Any target: refused, or in a normal form that is its own normal form and holds nothing that could climb or split. */
#include "http/uri.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_path(struct mg_str path, struct mg_arena *a)
{
    struct mg_str again;

    if (path.n == 1 && path.p[0] == '*')
        return;
    if (path.p[0] != '/' || mg_uri_normalise_path(path, a, &again) != 0 || !mg_str_eq(path, again))
        abort();
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] <= ' ' || path.p[i] == 0x7f || path.p[i] == '?' || path.p[i] == '#')
            abort();
    if (memmem(path.p, path.n, "/../", 4) || memmem(path.p, path.n, "/./", 3) || memmem(path.p, path.n, "%00", 3) ||
        (path.n >= 3 && memcmp(path.p + path.n - 3, "/..", 3) == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mg_str text = mg_str((const char *)data, n), out, encoded, rest, name, value;
    struct mg_arena a;
    struct mg_uri u;
    bool has;

    mg_arena_init(&a, NULL, 1 << 20);
    if (mg_uri_parse(text, &a, &u) == 0) {
        check_path(u.path, &a);
        rest = u.query;
        while (mg_query_next(&rest, &name, &value, &has))
            mg_uri_decode(value, true, &a, &out);
    }
    if (mg_uri_normalise_path(text, &a, &out) == 0)
        check_path(out, &a);
    if (mg_uri_encode(text, &a, &encoded) == 0 && (mg_uri_decode(encoded, false, &a, &out) != 0 || !mg_str_eq(out, text)))
        abort();
    mg_arena_deinit(&a);
    return 0;
}
