/* Arguments and cookies, read, changed and hidden: what was set is found, what was removed is gone, the rest stays. */
#include "exchange.h"
#include "../../plugins/cookies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_query(struct mg_x *h)
{
    struct mg_str name, value;
    int n = 0;

    while (mg_query_at(h, n, &name, &value) == 0)
        n++;
    return n;
}

static void try_query(struct mg_x *h, struct mg_str name, struct mg_str value)
{
    struct mg_str got;
    int before = count_query(h), removed;

    if (mg_query_get(h, name.p, name.n, &got) == 0)
        must(mg_query_set(h, name.p, name.n, got.p, got.n) == 0);
    must(mg_query_set(h, name.p, name.n, value.p, value.n) == 0);
    must(mg_query_get(h, name.p, name.n, &got) == 0 && mg_str_eq(got, value));
    must(mg_query_add(h, name.p, name.n, "x", 1) == 0);
    removed = mg_query_remove(h, name.p, name.n);
    must(removed >= 2 && count_query(h) <= before);
    must(mg_query_get(h, name.p, name.n, &got) == MG_ENOENT);
}

static void try_cookies(struct mg_x *h, struct mg_str name)
{
    struct mg_str got;
    int rc = mg_request_cookie(h, name.p, name.n, &got);

    must(rc == 0 || rc == MG_ENOENT);
    rc = mg_hide_cookie(h, name);
    must(rc >= 0 || rc == MG_EINVAL);
    if (rc >= 0)
        must(mg_request_cookie(h, name.p, name.n, &got) == MG_ENOENT);
}

/* Parts with NUL between: the query, a name, a value, cookie fields. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_str in = mg_str((const char *)data, size), name, value;
    struct mg_exchange *x;

    if (size > 8192)
        return 0;
    x = fuzz_exchange();
    x->query = fuzz_next(&in);
    x->has_query = x->query.n != 0;
    name = fuzz_next(&in);
    value = fuzz_next(&in);
    while (in.n)
        fuzz_field(x, "cookie", fuzz_next(&in));
    try_query(mg_handle_of(x), name, value);
    if (name.n && !memchr(name.p, '=', name.n) && !memchr(name.p, ';', name.n))
        try_cookies(mg_handle_of(x), name);
    mg_exchange_free(x);
    return 0;
}
