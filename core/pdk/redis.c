/* redis.c - the Redis client (core/service/redis.h) as plugins call it. */
#include "pdk/call.h"
#include "service/redis_parts.h"

static int may_start(const struct mg_exchange *x)
{
    return !x ? MG_EENDED : x->in_step && mg_may(x, MG_START_WAIT) ? 0 : MG_EPHASE;
}

int mg_redis_call(struct mg_x *h, struct mg_redis *redis, const struct mg_str *argv, int argc, int flags, int64_t timeout_ms)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may_start(x);

    if (rc)
        return rc;
    if (!redis || argc < 1 || (flags & ~MG_REDIS_IDEMPOTENT))
        return MG_EINVAL;
    return mg_redis_start(x, redis, argv, &argc, 1, flags, false, timeout_ms);
}

int mg_redis_pipeline(struct mg_x *h, struct mg_redis *redis, const struct mg_str *argv, const int *argc, int n, int flags,
                      int64_t timeout_ms)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may_start(x);

    if (rc)
        return rc;
    if (!redis || n < 1 || (flags & ~(MG_REDIS_IDEMPOTENT | MG_REDIS_ATOMIC)))
        return MG_EINVAL;
    return mg_redis_start(x, redis, argv, argc, n, flags, true, timeout_ms);
}

const struct mg_redis_node *mg_redis_nodes(struct mg_x *h, int op, size_t *nodes_n)
{
    struct mg_exchange *x = mg_handle(h);
    const struct mg_redis_reply *r = x ? mg_redis_reply_of(x, op) : NULL;

    *nodes_n = r ? r->n : 0;
    return r && r->n ? r->nodes : NULL;
}

int mg_redis_text(struct mg_x *h, int op, int node, struct mg_str *out)
{
    struct mg_exchange *x = mg_handle(h);
    const struct mg_redis_reply *r = x ? mg_redis_reply_of(x, op) : NULL;

    *out = mg_str(NULL, 0);
    if (!x)
        return MG_EENDED;
    if (!r || node < 0 || (size_t)node >= r->n)
        return MG_ENOENT;
    return mg_give(out, mg_redis_reply_text(r, (size_t)node));
}

int mg_redis_release(struct mg_x *h, int op)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x)
        return MG_EENDED;
    mg_redis_reply_release(x, op);
    return 0;
}

int mg_redis_subscribe(struct mg_x *h, struct mg_redis *redis, const struct mg_str *names, int n, int flags)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may_start(x);

    if (rc)
        return rc;
    if (!redis || (flags & ~MG_REDIS_PATTERNS))
        return MG_EINVAL;
    return mg_redis_sub_start(x, redis, names, n, flags);
}

int mg_redis_receive(struct mg_x *h, int subscription, int64_t timeout_ms)
{
    struct mg_exchange *x = mg_handle(h);
    int rc = may_start(x);

    return rc ? rc : mg_redis_sub_receive(x, subscription, timeout_ms);
}

int mg_redis_unsubscribe(struct mg_x *h, int subscription)
{
    struct mg_exchange *x = mg_handle(h);

    return x ? mg_redis_sub_end(x, subscription) : MG_EENDED;
}
