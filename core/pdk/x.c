/* x.c - the exchange itself: its id, its memory, its times and sizes. */
#include "pdk/phase.h"
#include "pdk/problem.h"
#include "pdk/codec.h"
#include "pdk/random.h"
#include "plugin/chain.h"
#include "base/clock.h"

struct mg_str mg_exchange_id(struct mg_exchange *x)
{
    uint64_t raw[2];

    if (x->id.n)
        return x->id;
    raw[0] = mg_random_u64();
    raw[1] = mg_random_u64();
    mg_hex_put(x->id_bytes, raw, sizeof raw);
    x->id_bytes[32] = 0;
    x->id = mg_str(x->id_bytes, 32);
    return x->id;
}

int mg_x_id(struct mg_x *h, struct mg_str *out)
{
    struct mg_exchange *x = mg_handle(h);

    *out = x ? mg_exchange_id(x) : mg_str(NULL, 0);
    return x ? 0 : MG_EENDED;
}

int mg_x_set_id(struct mg_x *h, const char *id, size_t n)
{
    struct mg_exchange *x = mg_handle(h);
    struct mg_str copy;

    if (!x)
        return MG_EENDED;
    if (!mg_may(x, MG_SET_REQUEST))
        return MG_EPHASE;
    if (!n || n > 128)
        return MG_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (id[i] <= 0x20 || id[i] >= 0x7f)
            return MG_EINVAL;
    copy = mg_arena_copy(&x->arena, id, n);
    if (!copy.p)
        return MG_ENOMEM;
    x->id = copy;
    return 0;
}

int mg_x_phase(struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);

    return x ? x->phase : MG_EENDED;
}

void *mg_x_alloc(struct mg_x *h, size_t bytes)
{
    struct mg_exchange *x = mg_handle(h);

    return x ? mg_arena_alloc(&x->arena, bytes ? bytes : 1) : NULL;
}

/* The global chain's exchange may go on with a longer one: the array grows with it. */
static bool locals_reach(struct mg_exchange *x, int entry)
{
    int n = x->chain && x->chain->entries_n > entry ? x->chain->entries_n : entry + 1;
    void **at;

    if (entry < x->locals_n)
        return true;
    at = mg_arena_zalloc(&x->arena, (size_t)n * sizeof *at);
    if (!at)
        return false;
    if (x->locals_n)
        memcpy(at, x->locals, x->locals_n * sizeof *at);
    x->locals = at;
    x->locals_n = (uint8_t)n;
    return true;
}

void *mg_x_local(struct mg_x *h, size_t bytes)
{
    struct mg_exchange *x = mg_handle(h);

    if (!x || (!x->chain && !x->task) || !locals_reach(x, x->entry))
        return NULL;
    if (!x->locals[x->entry])
        x->locals[x->entry] = mg_arena_zalloc(&x->arena, bytes ? bytes : 1);
    return x->locals[x->entry];
}

static int64_t span_upstream(const struct mg_exchange *x, int64_t now)
{
    if (!x->upstream_us)
        return -1;
    return (x->upstream_end_us ? x->upstream_end_us : now) - x->upstream_us;
}

int64_t mg_x_span_us(struct mg_x *h, int span)
{
    struct mg_exchange *x = mg_handle(h);
    int64_t now, up;

    if (!x)
        return MG_EENDED;
    if (x->task && span != MG_SPAN_TOTAL)
        return MG_EPHASE;
    now = x->ended_us ? x->ended_us : mg_clock_monotonic_us();
    up = span_upstream(x, now);
    switch (span) {
    case MG_SPAN_TOTAL:
        return now - x->started_us;
    case MG_SPAN_UPSTREAM:
        return up;
    case MG_SPAN_CONNECT:
        return x->upstream_us && x->connected_us ? x->connected_us - x->upstream_us : -1;
    case MG_SPAN_FIRST_BYTE:
        if (!x->first_byte_us)
            return -1;
        /* An answer may come before the request has been sent whole. */
        return x->sent_us && x->sent_us < x->first_byte_us ? x->first_byte_us - x->sent_us : 0;
    case MG_SPAN_GATEWAY:
        return now - x->started_us - (up > 0 ? up : 0);
    default:
        return MG_EINVAL;
    }
}

int64_t mg_x_count(struct mg_x *h, int count)
{
    struct mg_exchange *x = mg_with_request(h);
    const struct mg_leg *down;

    if (!x)
        return mg_why_not(h);
    down = x->ended_us ? NULL : x->down; /* once ended, the proxy has noted the totals */
    switch (count) {
    case MG_BYTES_IN:
        return (int64_t)(down ? down->head_bytes_in + down->body_bytes_in : x->down_bytes_in);
    case MG_BYTES_OUT:
        return (int64_t)(down ? down->head_bytes_out + down->body_bytes_out : x->down_bytes_out);
    case MG_BYTES_BODY_IN:
        return (int64_t)x->body_in;
    case MG_BYTES_BODY_OUT:
        return (int64_t)(down ? down->body_bytes_out : x->body_out);
    case MG_UPSTREAM_BYTES_IN:
        return (int64_t)(x->up_bytes_in + (x->up ? x->up->head_bytes_in + x->up->body_bytes_in : 0));
    case MG_UPSTREAM_BYTES_OUT:
        return (int64_t)(x->up_bytes_out + (x->up ? x->up->head_bytes_out + x->up->body_bytes_out : 0));
    case MG_UPSTREAM_TRIES:
        return x->tries;
    default:
        return MG_EINVAL;
    }
}

int64_t mg_x_start_us(struct mg_x *h)
{
    struct mg_exchange *x = mg_handle(h);

    return x ? x->started_wall_us : MG_EENDED;
}
