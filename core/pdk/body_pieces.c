/* body_pieces.c - bodies decoded, encoded and walked through piece by piece: plugin/recode.h, plugin/pull.h. */
#include "pdk/call.h"
#include "plugin/pull.h"
#include "plugin/recode.h"

/* The exchange and the body that a plugin's function may take into its hands now. 0 or why not. */
static int mine(struct mg_x *h, int side, struct mg_exchange **of)
{
    struct mg_exchange *x = *of = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (side != MG_REQUEST && side != MG_RESPONSE)
        return MG_EINVAL;
    if (!x->in_step || !mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY))
        return MG_EPHASE;
    return 0;
}

int mg_body_decode(struct mg_x *h, int side, int64_t limit)
{
    struct mg_exchange *x;
    int rc = mine(h, side, &x);

    if (rc)
        return rc;
    if (mg_entry_observes(x))
        return MG_EBUSY;
    return mg_body_decode_from(x, side, limit > 0 || side == MG_RESPONSE ? limit : x->limits.body);
}

int mg_body_encode(struct mg_x *h, int side, const char *codings, size_t n)
{
    struct mg_exchange *x = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (side != MG_REQUEST && side != MG_RESPONSE)
        return MG_EINVAL;
    if (!x->in_step || !mg_may(x, side == MG_REQUEST ? MG_RESIZE_REQUEST : MG_RESIZE_RESPONSE))
        return MG_EPHASE;
    return mg_body_encode_as(x, side, mg_str(codings, n));
}

int mg_body_pull(struct mg_x *h, int side)
{
    struct mg_exchange *x;
    int rc = mine(h, side, &x);

    if (rc)
        return rc;
    return mg_entry_observes(x) ? MG_EBUSY : mg_pull_begin(x, side);
}

/* Its walker, in the phase of the head or where it makes a body. */
static int walker(struct mg_x *h, int side, struct mg_exchange **of, struct mg_pull **p)
{
    struct mg_exchange *x = *of = mg_with_request(h);

    if (!x)
        return mg_why_not(h);
    if (side != MG_REQUEST && side != MG_RESPONSE)
        return MG_EINVAL;
    *p = mg_pull_of(&x->body[side]);
    if (*p && (*p)->entry != x->entry)
        *p = NULL;
    return *p ? 0 : MG_ENOENT;
}

int mg_body_next(struct mg_x *h, int side)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_pull *p;
    int rc;

    if (!x)
        return mg_why_not(h);
    if (!x->in_step || (x->phase != MG_ON_STREAM && !mg_may(x, side == MG_REQUEST ? MG_READ_REQUEST_BODY : MG_READ_RESPONSE_BODY)))
        return MG_EPHASE;
    rc = walker(h, side, &x, &p);
    return rc ? rc : mg_pull_next(x, p);
}

int mg_body_next_get(struct mg_x *h, int side, struct mg_str *out)
{
    struct mg_exchange *x;
    struct mg_pull *p;
    int rc = walker(h, side, &x, &p);

    *out = rc ? mg_str(NULL, 0) : mg_pull_piece(p);
    return rc;
}
