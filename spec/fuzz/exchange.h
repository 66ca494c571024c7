/* exchange.h - one exchange without sockets, for targets that call the PDK as a plugin does. */
#ifndef MG_FUZZ_EXCHANGE_H
#define MG_FUZZ_EXCHANGE_H

#include <stdlib.h>
#include "exchange/exchange.h"
#include "proxy/snapshot.h"

/* assert that stays in every build. */
static inline void must(bool claim)
{
    if (!claim)
        abort();
}

/* A fresh one in on_request; mg_exchange_free when done. */
static inline struct mg_exchange *fuzz_exchange(void)
{
    static struct mg_worker worker;
    static struct mg_snapshot snapshot;
    static struct mg_route route;
    static bool is_ready;
    struct mg_exchange *x;

    if (!is_ready) {
        must(mg_worker_init(&worker, 0) == 0);
        mg_this_worker = &worker;
        route.id = MG_STR("route");
        is_ready = true;
    }
    x = mg_exchange_new(&worker, 1 << 20);
    must(x != NULL);
    x->snapshot = &snapshot;
    x->route = &route;
    x->req = mg_arena_zalloc(&x->arena, sizeof(*x->req));
    x->res = mg_arena_zalloc(&x->arena, sizeof(*x->res));
    must(x->req && x->res);
    x->req->method_text = MG_STR("GET");
    x->req->method = MG_M_GET;
    x->req->version = 11;
    x->path = x->target = MG_STR("/");
    x->host = MG_STR("localhost");
    x->phase = MG_ON_REQUEST;
    return x;
}

/* A field whose value is what the codec lets pass. */
static inline void fuzz_field(struct mg_exchange *x, const char *name, struct mg_str value)
{
    if (mg_header_value_ok(value))
        must(mg_headers_add(&x->req->headers, &x->arena, mg_str_c(name), value) == 0);
}

/* The whole of `all` up to the next NUL; `all` moves behind it. */
static inline struct mg_str fuzz_next(struct mg_str *all)
{
    const char *end = all->n ? memchr(all->p, 0, all->n) : NULL;
    struct mg_str part = mg_str(all->p, end ? (size_t)(end - all->p) : all->n);
    size_t used = part.n + (end ? 1 : 0);

    *all = mg_str(used ? all->p + used : all->p, all->n - used);
    return part;
}

#endif
