/* rate_limit.h - the plans of a rate limit: what its config says, compiled.
 *
 * A plan is an ordered set of limits with the texts of their answer fields made beforehand. An entry has one plan
 * for everybody and one for each tier (a consumer group). */
#ifndef RATE_LIMIT_H
#define RATE_LIMIT_H

#include <moongate/plugin.h>

struct limit_conf {             /* one limit of the config */
    int64_t limit, window_ms;
    struct mg_str name;
};
struct plan_conf {              /* `limit` and `window`, or `limits` */
    int64_t limit, window_ms;
    struct mg_array limits;     /* of struct limit_conf */
};
struct tier_conf {
    struct mg_str group;
    struct plan_conf plan;
};
struct conf {
    struct plan_conf plan;
    struct mg_array tiers;      /* of struct tier_conf */
    struct mg_str by;
    int32_t by_function;
    int64_t cost;
    int32_t cost_function;
    struct mg_str name;
    int algorithm;
    int64_t ipv6_bits;
    bool headers, x_headers;
    int64_t status;
    struct mg_str message;
};

struct limit {
    int64_t limit, window_ms;
    struct mg_str space;        /* of its counters */
    struct mg_str head;         /* "\"name\";r=" */
    struct mg_str limit_text;
};
struct plan {
    struct mg_str group;        /* empty: everybody's */
    struct limit *limits;
    size_t n;
    struct mg_str policy;       /* the whole RateLimit-Policy */
};

enum { LIMITS_MAX = 8 };

/* Compile one plan; `space` begins the names of its counters. 0, or < 0 with err filled. What it
 * makes is freed by plan_free. */
int plan_make(struct plan *plan, const struct plan_conf *conf, struct mg_str group, struct mg_str space, struct mg_error *err);
void plan_free(struct plan *plan);
/* Decimal digits of v >= 0 at p (room for 20); returns how many. */
size_t put_number(char *p, int64_t v);

#endif
