/* quota_call.c - counters, as plugins ask for them. Question: "SPACE KEY LIMIT WINDOW COST"; answer: the five numbers of
 * struct mg_quota, or a counter's value. */
#include "pdk/quota.h"
#include "exchange/outside.h"
#include <stdio.h>

typedef int take_fn(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms, int64_t cost,
                    struct mg_quota *out);

static struct mg_str question(struct mg_exchange *x, struct mg_str space, struct mg_str key, int64_t a, int64_t b, int64_t c)
{
    return mg_arena_printf(&x->arena, "%.*s %.*s %lld %lld %lld", (int)space.n, space.p, (int)key.n, key.p, (long long)a, (long long)b,
                           (long long)c);
}

static void read_quota(struct mg_str text, struct mg_quota *q)
{
    int64_t *at[] = { &q->allowed, &q->limit, &q->remaining, &q->reset_ms, &q->retry_ms };
    struct mg_str item;

    for (int i = 0; i < 5 && mg_str_next(&text, ' ', &item); i++) {
        uint64_t n = 0;
        bool minus = item.n && item.p[0] == '-';

        mg_str_u64(minus ? mg_str(item.p + 1, item.n - 1) : item, INT64_MAX, &n);
        *at[i] = minus ? -(int64_t)n : (int64_t)n;
    }
}

static int take(take_fn *real, const char *service, struct mg_str space, struct mg_str key, int64_t limit, int64_t window_ms, int64_t cost,
                struct mg_quota *out)
{
    struct mg_exchange *x = mg_outside_here();
    struct mg_str answer = mg_str(NULL, 0);
    int64_t status = 0;

    if (!x)
        return real(space.p, space.n, key.p, key.n, limit, window_ms, cost, out);
    if (mg_outside_answers(x, service, question(x, space, key, limit, window_ms, cost), &status, &answer)) {
        memset(out, 0, sizeof *out);
        read_quota(answer, out);
        return (int)status;
    }
    status = real(space.p, space.n, key.p, key.n, limit, window_ms, cost, out);
    mg_outside_told(x, service, status, mg_arena_printf(&x->arena, "%lld %lld %lld %lld %lld", (long long)out->allowed, (long long)out->limit,
                                                        (long long)out->remaining, (long long)out->reset_ms, (long long)out->retry_ms));
    return (int)status;
}

int mg_bucket_take(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms, int64_t cost,
                   struct mg_quota *out)
{
    return take(mg_quota_bucket, "bucket", mg_str(space, space_n), mg_str(key, key_n), limit, window_ms, cost, out);
}

int mg_window_take(const char *space, size_t space_n, const char *key, size_t key_n, int64_t limit, int64_t window_ms, int64_t cost,
                   struct mg_quota *out)
{
    return take(mg_quota_window, "window", mg_str(space, space_n), mg_str(key, key_n), limit, window_ms, cost, out);
}

int mg_counter_add(const char *space, size_t space_n, const char *key, size_t key_n, int64_t by, int64_t ttl_ms, int64_t *value)
{
    struct mg_exchange *x = mg_outside_here();
    struct mg_str answer = mg_str(NULL, 0);
    struct mg_quota read = { 0 };
    int64_t status = 0, got = 0;

    if (!x)
        return mg_quota_counter(space, space_n, key, key_n, by, ttl_ms, value);
    if (mg_outside_answers(x, "counter", question(x, mg_str(space, space_n), mg_str(key, key_n), by, ttl_ms, 0), &status, &answer)) {
        read_quota(answer, &read);
        got = read.allowed;
    } else {
        status = mg_quota_counter(space, space_n, key, key_n, by, ttl_ms, &got);
        mg_outside_told(x, "counter", status, mg_arena_printf(&x->arena, "%lld", (long long)got));
    }
    if (value)
        *value = got;
    return (int)status;
}
