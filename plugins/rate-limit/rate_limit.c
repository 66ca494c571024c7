/* rate_limit.c - has this caller had enough for now?
 *
 *     { "rate-limit", limit = 100, window = "1m", by = "consumer" }
 *     { "rate-limit", by = "ip", limits = { { 20, "1s", name = "burst" }, { 5000, "1h" } }, algorithm = "sliding-window" }
 *     { "rate-limit", by = "consumer", limit = 60, window = "1m", tiers = { gold = { limit = 6000, window = "1m" } } }
 *
 * Counters are the core's: exact over all workers, alive through a reload. With several limits a request has to pass
 * them all: they are asked in the order of the config, and when one refuses, what the ones before it took is given back.
 * Every answer says where the caller stands (RateLimit, RateLimit-Policy:
 * draft-ietf-httpapi-ratelimit-headers), by the limit that has least left. */
#include "rate_limit.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BUCKET, SLIDING_WINDOW };
enum by { BY_IP, BY_CONSUMER, BY_CREDENTIAL, BY_ROUTE, BY_HEADER, BY_TEMPLATE, BY_FUNCTION };
enum { KEY_MAX = 128 };

typedef int take_fn(const char *, size_t, const char *, size_t, int64_t, int64_t, int64_t, struct mg_quota *);

struct instance {
    const struct conf *conf;
    enum by by;
    struct mg_str header;
    struct mg_template *template;
    take_fn *take;
    struct plan *plans;       /* everybody's, then the tiers' */
    size_t plans_n;
};
struct standing {             /* of one exchange: what the answer will say */
    const struct plan *plan;  /* NULL: not counted */
    const struct limit *limit;
    int64_t remaining, reset_ms, retry_ms;
    bool is_refused;
};

static const char *const algorithms[] = { "token-bucket", "sliding-window", NULL };

#define NAME_PATTERN "[A-Za-z0-9_.:/-]{1,64}"

static const struct mg_field limit_fields[] = {
    { .name = "limit", .type = MG_INT, .offset = offsetof(struct limit_conf, limit), .at = 1, .required = true, .has_min = true,
      .min = 1, .has_max = true, .max = 1e12, .doc = "Requests allowed in a window." },
    { .name = "window", .type = MG_DURATION, .offset = offsetof(struct limit_conf, window_ms), .at = 2, .required = true,
      .has_min = true, .min = 1, .has_max = true, .max = 366 * 86400e3, .doc = "Length of a window." },
    { .name = "name", .type = MG_STRING, .offset = offsetof(struct limit_conf, name), .preset = "", .pattern = NAME_PATTERN "|",
      .doc = "The limit's name in answers; its window in seconds when none is given." },
    { 0 }
};
static const struct mg_field limit_item = { .type = MG_TABLE, .fields = limit_fields };

#define PLAN_FIELDS(base) \
    { .name = "limit", .type = MG_INT, .offset = (base) + offsetof(struct plan_conf, limit), .has_min = true, .min = 1, \
      .has_max = true, .max = 1e12, .doc = "Requests allowed in a window." }, \
    { .name = "window", .type = MG_DURATION, .offset = (base) + offsetof(struct plan_conf, window_ms), .has_min = true, .min = 1, \
      .has_max = true, .max = 366 * 86400e3, .doc = "Length of a window." }, \
    { .name = "limits", .type = MG_LIST, .offset = (base) + offsetof(struct plan_conf, limits), .item = &limit_item, \
      .item_bytes = sizeof(struct limit_conf), .doc = "Several limits at once, in place of limit and window." }

static const struct mg_field tier_fields[] = { PLAN_FIELDS(0), { 0 } };
static const struct mg_field tier_item = { .type = MG_TABLE, .fields = tier_fields };

static const struct mg_field fields[] = {
    PLAN_FIELDS(offsetof(struct conf, plan)),
    { .name = "by", .type = MG_STRING, .offset = offsetof(struct conf, by), .preset = "ip", .or_function = true,
      .function_offset = offsetof(struct conf, by_function),
      .doc = "Who is counted: \"consumer\", \"credential\", \"ip\", \"route\", \"header:NAME\", a template, or a function that returns a "
             "key (nil: not counted)." },
    { .name = "algorithm", .type = MG_ENUM, .offset = offsetof(struct conf, algorithm), .values = algorithms,
      .preset = "token-bucket", .doc = "Tokens that come back evenly, or a count over the last window." },
    { .name = "tiers", .type = MG_MAP, .offset = offsetof(struct conf, tiers), .item = &tier_item,
      .item_bytes = sizeof(struct tier_conf),
      .doc = "Limits of consumer groups, in place of those above; an empty table lifts the limit." },
    { .name = "cost", .type = MG_INT, .offset = offsetof(struct conf, cost), .preset = "1", .has_min = true, .min = 0,
      .has_max = true, .max = 1e9, .or_function = true, .function_offset = offsetof(struct conf, cost_function),
      .doc = "What one request counts for, or a function that returns it." },
    { .name = "name", .type = MG_STRING, .offset = offsetof(struct conf, name), .preset = "", .pattern = NAME_PATTERN "|",
      .doc = "Entries of the same name share their counters, on whatever routes they are; without one an entry counts alone." },
    { .name = "ipv6_bits", .type = MG_INT, .offset = offsetof(struct conf, ipv6_bits), .preset = "64", .has_min = true, .min = 1,
      .has_max = true, .max = 128, .doc = "by = \"ip\": the part of an IPv6 address that counts as one client." },
    { .name = "headers", .type = MG_BOOL, .offset = offsetof(struct conf, headers), .preset = "true",
      .doc = "Send RateLimit and RateLimit-Policy." },
    { .name = "x_headers", .type = MG_BOOL, .offset = offsetof(struct conf, x_headers), .preset = "false",
      .doc = "Send X-RateLimit-Limit, -Remaining and -Reset (seconds) as well." },
    { .name = "status", .type = MG_INT, .offset = offsetof(struct conf, status), .preset = "429", .has_min = true, .min = 400,
      .has_max = true, .max = 599, .doc = "Status of the refusal." },
    { .name = "message", .type = MG_STRING, .offset = offsetof(struct conf, message), .preset = "Too many requests for now.",
      .doc = "Detail of the refusal." },
    { 0 }
};

/* ---- when the config loads ---------------------------------------------------------------------- */

static bool is_word(struct mg_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

static enum by kind_of(const struct conf *c)
{
    if (c->by_function >= 0)
        return BY_FUNCTION;
    if (is_word(c->by, "ip"))
        return BY_IP;
    if (is_word(c->by, "consumer"))
        return BY_CONSUMER;
    if (is_word(c->by, "credential"))
        return BY_CREDENTIAL;
    if (is_word(c->by, "route"))
        return BY_ROUTE;
    if (c->by.n > 7 && !memcmp(c->by.p, "header:", 7))
        return BY_HEADER;
    return BY_TEMPLATE;
}

static const char *const *needs_of(const void *conf)
{
    static const char *const consumer[] = { "consumer", NULL };
    static const char *const credential[] = { "credential", NULL };
    const struct conf *c = conf;

    if (kind_of(c) == BY_CREDENTIAL)
        return credential;
    return kind_of(c) == BY_CONSUMER || c->tiers.n ? consumer : NULL;
}

static int make_by(struct instance *in, struct mg_error *err)
{
    const struct conf *c = in->conf;
    char text[128];

    in->by = kind_of(c);
    if (in->by == BY_HEADER)
        in->header = (struct mg_str){ c->by.p + 7, c->by.n - 7 };
    if (in->by != BY_TEMPLATE)
        return 0;
    if (!memmem(c->by.p, c->by.n, "${", 2)) {
        snprintf(err->message, sizeof(err->message),
                 "by: expected \"consumer\", \"credential\", \"ip\", \"route\", \"header:NAME\", a template or a function, not \"%.*s\"",
                 (int)(c->by.n < 80 ? c->by.n : 80), c->by.p);
        return err->code = MG_ECONF;
    }
    in->template = mg_template_new(c->by.p, c->by.n, text, sizeof(text));
    if (in->template)
        return 0;
    snprintf(err->message, sizeof(err->message), "by: %s", text);
    return err->code = MG_ECONF;
}

static int make_plans(struct instance *in, const struct mg_entry *entry, struct mg_error *err)
{
    const struct conf *c = in->conf;
    const struct tier_conf *t = c->tiers.items;
    char base[512];
    struct mg_str space = { base, 0 }, none = { "", 0 };
    int n = c->name.n ? snprintf(base, sizeof(base), "rate-limit:%.*s", (int)c->name.n, c->name.p)
                      : snprintf(base, sizeof(base), "rate-limit@%.*s/%.*s", (int)entry->route.n, entry->route.n ? entry->route.p : "",
                                 (int)entry->id.n, entry->id.p);

    if (n >= (int)sizeof(base)) {
        snprintf(err->message, sizeof(err->message), "the ids of route and entry are too long");
        return err->code = MG_ECONF;
    }
    space.n = (size_t)n;
    if (!c->plan.limit && !c->plan.window_ms && !c->plan.limits.n) {
        snprintf(err->message, sizeof(err->message), "needs limit and window, or limits");
        return err->code = MG_ECONF;
    }
    in->plans = calloc(1 + c->tiers.n, sizeof(*in->plans));
    if (!in->plans)
        return no_memory(err);
    in->plans_n = 1 + c->tiers.n;
    if (plan_make(&in->plans[0], &c->plan, none, space, err) < 0)
        return err->code;
    for (size_t i = 0; i < c->tiers.n; i++)
        if (plan_make(&in->plans[1 + i], &t[i].plan, t[i].group, space, err) < 0)
            return err->code;
    return 0;
}

static void destroy(void *self)
{
    struct instance *in = self;

    for (size_t i = 0; i < in->plans_n; i++)
        plan_free(&in->plans[i]);
    free(in->plans);
    if (in->template)
        mg_template_free(in->template);
    free(in);
}

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = calloc(1, sizeof(*in));

    if (!in)
        return no_memory(err);
    in->conf = entry->conf;
    in->take = in->conf->algorithm == SLIDING_WINDOW ? mg_window_take : mg_bucket_take;
    if (make_by(in, err) < 0 || make_plans(in, entry, err) < 0) {
        destroy(in);
        return err->code;
    }
    *self = in;
    return 0;
}

/* ---- who is counted ----------------------------------------------------------------------------- */

static bool address_key(struct mg_x *x, int64_t ipv6_bits, uint8_t addr[16], struct mg_str *key)
{
    static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    if (mg_client_addr(x, addr) < 0)
        return false;
    if (memcmp(addr, mapped, 12) && ipv6_bits < 128) {
        size_t whole = (size_t)ipv6_bits / 8;

        addr[whole] &= (uint8_t)(0xff00 >> (ipv6_bits & 7));
        memset(addr + whole + 1, 0, 15 - whole);
    }
    *key = (struct mg_str){ (const char *)addr, 16 };
    return true;
}

/* Call the config's function. 1: key, 0: do not count, < 0: it raised. */
static int function_key(struct mg_x *x, int32_t function, char number[32], struct mg_str *key)
{
    struct mg_datum d;

    if (mg_fn_call(x, function, &d) < 0)
        return -1;
    if (d.kind == MG_TEXT) {
        *key = d.text;
        return 1;
    }
    if (d.kind != MG_DOUBLE)
        return 0;
    memcpy(number, &d.number, sizeof(d.number));
    *key = (struct mg_str){ number, sizeof(d.number) };
    return 1;
}

/* The key to count by, at `key`; `room` is memory for it. 1, 0: not counted, < 0: cannot be told. */
static int find_key(struct mg_x *x, const struct instance *in, char room[32], struct mg_str *key)
{
    int rc = 1;

    *key = (struct mg_str){ "", 0 };
    switch (in->by) {
    case BY_IP:
        return address_key(x, in->conf->ipv6_bits, (uint8_t *)room, key) ? 1 : -1;
    case BY_CONSUMER: /* needs_of saw to it that one is known; never fall back to something else */
        return mg_consumer_name(x, key) < 0 ? -1 : 1;
    case BY_CREDENTIAL:
        return mg_consumer_credential_id(x, key) < 0 ? -1 : 1;
    case BY_ROUTE:
        mg_route_id(x, key);
        return 1;
    case BY_HEADER: /* those who send none share one quota: leaving it out is no way around */
        mg_header_get(x, MG_REQUEST, in->header.p, in->header.n, key);
        break;
    case BY_TEMPLATE:
        if (mg_template_render(x, in->template, key) < 0)
            return -1;
        break;
    case BY_FUNCTION:
        rc = function_key(x, in->conf->by_function, room, key);
        break;
    }
    if (rc > 0 && key->n > KEY_MAX && mg_digest("sha256", key->p, key->n, key) < 0)
        return -1;
    return rc;
}

static const struct plan *find_plan(struct mg_x *x, const struct instance *in)
{
    struct mg_str group;

    if (in->plans_n > 1)
        for (int i = 0; mg_consumer_group_at(x, i, &group) == 0; i++)
            for (size_t k = 1; k < in->plans_n; k++)
                if (in->plans[k].group.n == group.n && !memcmp(in->plans[k].group.p, group.p, group.n))
                    return &in->plans[k];
    return &in->plans[0];
}

static int find_cost(struct mg_x *x, const struct conf *c, int64_t *cost)
{
    struct mg_datum d;

    *cost = c->cost;
    if (c->cost_function < 0)
        return 0;
    if (mg_fn_call(x, c->cost_function, &d) < 0)
        return -1;
    *cost = 1;
    if (d.kind == MG_DOUBLE)
        *cost = d.number > 1e9 ? 1000000000 : d.number > 0 ? (int64_t)d.number : 0;
    return 0;
}

/* ---- counting ----------------------------------------------------------------------------------- */

/* Take from every limit of the plan, or from none. < 0: the counters failed. */
static int take_all(const struct instance *in, struct standing *s, struct mg_str key, int64_t cost)
{
    const struct plan *plan = s->plan;
    struct mg_quota q, unused;

    for (size_t i = 0; i < plan->n; i++) {
        const struct limit *l = &plan->limits[i];
        int rc = in->take(l->space.p, l->space.n, key.p, key.n, l->limit, l->window_ms, cost, &q);

        if (rc < 0)
            return rc;
        if (!q.allowed || !s->limit || q.remaining < s->remaining) {
            s->limit = l;
            s->remaining = q.remaining;
            s->reset_ms = q.reset_ms;
            s->retry_ms = q.retry_ms;
        }
        if (q.allowed)
            continue;
        s->is_refused = true;
        while (i-- > 0 && cost > 0) {
            l = &plan->limits[i];
            in->take(l->space.p, l->space.n, key.p, key.n, l->limit, l->window_ms, -cost, &unused);
        }
        return 0;
    }
    return 0;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct instance *in = self;
    const struct conf *c = in->conf;
    struct standing *s = mg_x_local(x, sizeof(*s));
    char room[32];
    struct mg_str key;
    int64_t cost;
    int rc;

    (void)local;
    if (!s || find_cost(x, c, &cost) < 0 || (rc = find_key(x, in, room, &key)) < 0)
        return MG_ERROR;
    if (rc == 0)
        return MG_CONTINUE;
    s->plan = find_plan(x, in);
    if (take_all(in, s, key, cost) < 0)
        return MG_ERROR;
    if (!s->is_refused)
        return MG_CONTINUE;
    return mg_respond_error(x, (int)c->status, c->message.p, c->message.n) < 0 ? MG_ERROR : MG_RESPOND;
}

/* ---- what the caller is told -------------------------------------------------------------------- */

#define SET(x, name, value, value_n) mg_header_set(x, MG_RESPONSE, name, sizeof(name) - 1, value, value_n)
#define ADD(x, name, value, value_n) mg_header_add(x, MG_RESPONSE, name, sizeof(name) - 1, value, value_n)

static int64_t seconds(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 0;
}

/* Added, not set: several limiting entries make one list (RFC 9651, 3.1). */
static int tell(struct mg_x *x, const struct standing *s)
{
    char text[160];
    size_t n = s->limit->head.n;

    memcpy(text, s->limit->head.p, n);
    n += put_number(text + n, s->remaining > 0 ? s->remaining : 0);
    memcpy(text + n, ";t=", 3);
    n += 3 + put_number(text + n + 3, seconds(s->reset_ms));
    if (ADD(x, "ratelimit-policy", s->plan->policy.p, s->plan->policy.n) < 0)
        return -1;
    return ADD(x, "ratelimit", text, n);
}

static int tell_x(struct mg_x *x, const struct standing *s)
{
    char text[20];
    size_t n;

    if (SET(x, "x-ratelimit-limit", s->limit->limit_text.p, s->limit->limit_text.n) < 0)
        return -1;
    n = put_number(text, s->remaining > 0 ? s->remaining : 0);
    if (SET(x, "x-ratelimit-remaining", text, n) < 0)
        return -1;
    n = put_number(text, seconds(s->reset_ms));
    return SET(x, "x-ratelimit-reset", text, n);
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = ((struct instance *)self)->conf;
    const struct standing *s = mg_x_local(x, sizeof(*s));
    char text[20];

    (void)local;
    if (!s)
        return MG_ERROR;
    if (!s->limit)
        return MG_CONTINUE;
    if ((c->headers && tell(x, s) < 0) || (c->x_headers && tell_x(x, s) < 0))
        return MG_ERROR;
    if (s->is_refused) {
        int64_t wait = seconds(s->retry_ms);

        if (SET(x, "retry-after", text, put_number(text, wait > 0 ? wait : 1)) < 0)
            return MG_ERROR;
    }
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "rate-limit", .version = "1.0",
    .doc = "Answers 429 above a number of requests in a time.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf), .needs_of = needs_of,
    .create = create, .destroy = destroy, .on_request = on_request, .on_response = on_response,
};
