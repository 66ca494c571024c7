/* route.c - where the request belongs, and where it goes. */
#include "pdk/call.h"
#include "exchange/route.h"

int mg_route_id(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->route ? x->route->id : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : x->route ? 0 : MG_ENOENT;
}

int mg_route_path(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->route ? x->found.path_pattern : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : x->route ? 0 : MG_ENOENT;
}

int mg_upstream_name(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x && x->upstream ? x->upstream->name : mg_str(NULL, 0);
    return !x ? mg_why_not(h) : x->upstream ? 0 : MG_ENOENT;
}

int mg_upstream_set(struct mg_x *h, const char *name, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_upstream_spec *to;

    if (!x)
        return mg_why_not(h);
    if (!mg_may(x, MG_CHOOSE_UPSTREAM))
        return MG_EPHASE;
    to = x->snapshot ? mg_snapshot_view.upstream(x->snapshot, mg_str(name, n)) : NULL;
    if (!to)
        return MG_ENOENT;
    x->upstream = to;
    return 0;
}

int mg_upstream_target(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);

    *out = x ? x->target_text : mg_str(NULL, 0);
    return x ? 0 : mg_why_not(h);
}
