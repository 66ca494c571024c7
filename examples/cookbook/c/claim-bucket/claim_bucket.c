/* claim_bucket.c - a token bucket for each value of a claim: who pays for more may ask for more.
 *
 * The claims are what an auth plugin before it left in ctx (jwt: claims_to_ctx). One claim says whose bucket it is, another one
 * (if any) the plan, whose size is in `plans`. Buckets are exact over all workers and survive reloads. Who has no such claim is
 * refused with 401: without a name there is no bucket. Answers say how much is left. Limits: this gateway's own count; a value is at most
 * 256 bytes. */
#include <moongate/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIT(s) s, sizeof(s) - 1

struct plan {
    struct mg_str key;
    int64_t limit;
};
struct conf {
    struct mg_str claim;
    struct mg_str plan_claim;
    struct mg_array plans; /* of struct plan, by name */
    int64_t limit;
    int64_t window_ms;
};

static const struct mg_field limit_item = { .type = MG_INT, .has_min = true, .min = 1 };
static const struct mg_field fields[] = {
    { .name = "claim", .type = MG_STRING, .offset = offsetof(struct conf, claim), .at = 1, .preset = "sub", .has_min = true, .min = 1,
      .doc = "The ctx value that names the bucket." },
    { .name = "plan_claim", .type = MG_STRING, .offset = offsetof(struct conf, plan_claim), .preset = "plan",
      .doc = "The ctx value that names the plan." },
    { .name = "plans", .type = MG_MAP, .offset = offsetof(struct conf, plans), .item = &limit_item, .item_bytes = sizeof(struct plan),
      .doc = "Requests a window, by plan." },
    { .name = "limit", .type = MG_INT, .offset = offsetof(struct conf, limit), .required = true, .has_min = true, .min = 1,
      .doc = "The same of all others." },
    { .name = "window", .type = MG_DURATION, .offset = offsetof(struct conf, window_ms), .preset = "1m", .has_min = true, .min = 1,
      .doc = "In which an empty bucket fills." },
    { 0 }
};

struct limiter {
    const struct conf *conf;
    size_t space_n;
    char space[]; /* whose buckets: this entry's */
};

/* What on_response tells. */
struct state {
    bool is_known;
    struct mg_quota quota;
};

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    size_t n = sizeof("claim-bucket//") + entry->route.n + entry->id.n;
    struct limiter *l = malloc(sizeof(*l) + n);

    if (!l) {
        snprintf(err->message, sizeof(err->message), "out of memory");
        return err->code = MG_ENOMEM;
    }
    l->conf = entry->conf;
    l->space_n = (size_t)snprintf(l->space, n, "claim-bucket/%.*s/%.*s", (int)entry->route.n, entry->route.p, (int)entry->id.n, entry->id.p);
    *self = l;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

static int64_t limit_of(struct mg_x *x, const struct conf *c)
{
    const struct plan *plans = c->plans.items;
    struct mg_datum plan;

    if (c->plans.n && mg_ctx_get(x, c->plan_claim.p, c->plan_claim.n, &plan) >= 0 && plan.kind == MG_TEXT)
        for (size_t i = 0; i < c->plans.n; i++)
            if (plans[i].key.n == plan.text.n && !memcmp(plans[i].key.p, plan.text.p, plan.text.n))
                return plans[i].limit;
    return c->limit;
}

static int put_number(struct mg_x *x, const char *name, size_t name_n, int64_t v)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%lld", (long long)v);

    return mg_header_set(x, MG_RESPONSE, name, name_n, text, (size_t)n);
}

static enum mg_verdict refuse(struct mg_x *x, int status, const char *detail, size_t n)
{
    return mg_respond_error(x, status, detail, n) < 0 ? MG_ERROR : MG_RESPOND;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct limiter *l = self;
    const struct conf *c = l->conf;
    struct state *s = mg_x_local(x, sizeof(*s));
    struct mg_datum who;
    enum mg_verdict v;

    if (!s || mg_ctx_get(x, c->claim.p, c->claim.n, &who) < 0)
        return MG_ERROR;
    if (who.kind != MG_TEXT || who.text.n == 0 || who.text.n > 256)
        return refuse(x, 401, LIT("This needs a token that says whose it is."));
    if (mg_bucket_take(l->space, l->space_n, who.text.p, who.text.n, limit_of(x, c), c->window_ms, 1, &s->quota) < 0)
        return MG_ERROR;
    s->is_known = true;
    if (s->quota.allowed)
        return MG_CONTINUE;
    v = refuse(x, 429, LIT("You have asked too often."));
    if (v == MG_RESPOND && put_number(x, LIT("retry-after"), (s->quota.retry_ms + 999) / 1000) < 0)
        return MG_ERROR;
    return v;
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    const struct state *s = mg_x_local(x, sizeof(*s));

    if (!s || !s->is_known)
        return MG_CONTINUE;
    if (put_number(x, LIT("x-ratelimit-limit"), s->quota.limit) < 0 || put_number(x, LIT("x-ratelimit-remaining"), s->quota.remaining) < 0)
        return MG_ERROR;
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "claim-bucket", .version = "1.0",
    .doc = "A token bucket for each value of a claim.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .create = create, .destroy = destroy, .on_request = on_request, .on_response = on_response,
};
