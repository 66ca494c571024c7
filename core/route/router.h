/* router.h - which route does this request belong to?
 *
 * A router is compiled once from a snapshot and never changes, so every worker reads it without
 * locks. The most specific route wins, whatever the order in the file; docs/routing.md gives the
 * order and says why. The cost of a match does not grow with the number of routes: hosts are a hash
 * table (exact, then wildcards by label from the left, then none), each host has a trie of path
 * segments, and only routes that share a path are compared one by one.
 *
 *     r = mg_router_new(patterns, n, &arena, &err);
 *     mg_router_match(r, &query, &found);
 */
#ifndef MG_ROUTE_ROUTER_H
#define MG_ROUTE_ROUTER_H

#include "base/arena.h"
#include "base/error.h"
#include "http/message.h"

struct mg_router;

enum mg_cond_kind { MG_COND_HEADER, MG_COND_QUERY, MG_COND_COOKIE };
struct mg_cond {
    int kind;
    struct mg_str name;
    struct mg_str equals;            /* p NULL: presence is enough */
    struct mg_re *matches;           /* or NULL; borrowed */
    struct mg_str source;            /* the text of `matches`, by which two regexes are known to be equal; may be "" */
    bool absent;                     /* must not be there */
};
struct mg_cidr { uint8_t addr[16]; int bits; /* of 128 */ };
/* "10.0.0.0/8", "::1", "fe80::/10". MG_EINVAL when malformed or when host bits are set. */
int mg_cidr_parse(struct mg_str s, struct mg_cidr *out);
bool mg_cidr_has(const struct mg_cidr *c, const uint8_t addr16[16]);

/* What a route asks of a request. All memory is borrowed from the snapshot. */
struct mg_pattern {
    struct mg_str id;
    const struct mg_str *hosts;      /* "api.example.com", "*.example.com", lower case; none: any. May hold a port: then it must match too */
    size_t hosts_n;
    const struct mg_str *paths;      /* e.g. "/users/{id}", "/v{n:[0-9]+}/x", "/files/" + "*"; none: any path */
    size_t paths_n;
    const struct mg_str *methods;    /* none: any; GET admits HEAD */
    size_t methods_n;
    const struct mg_cond *conds;
    size_t conds_n;
    const struct mg_cidr *clients;   /* none: any */
    size_t clients_n;
    int scheme;                      /* 0 any, 1 http, 2 https */
    struct mg_str listener;          /* name or address of the listener; "" any */
    void *route;                     /* the caller's */
};

struct mg_router_query {
    struct mg_str host;              /* lower case, no port */
    int port;
    struct mg_str path;              /* normalised */
    struct mg_str query;             /* raw */
    struct mg_str method;
    const struct mg_headers *headers;
    const uint8_t *client_addr;      /* 16 bytes */
    bool is_https;
    struct mg_str listener_name, listener_address;
};
struct mg_param { struct mg_str name, value; };   /* value: undecoded, points into the query's path */
enum { MG_PARAMS_MAX = 16 };
struct mg_found {
    void *route;                     /* NULL: none fits */
    const struct mg_pattern *pattern;
    struct mg_str path_pattern;      /* which of its paths */
    struct mg_param params[MG_PARAMS_MAX]; /* "*" for the wildcard's rest, without leading slash */
    int params_n;
    size_t literal_bytes;            /* of the path that the pattern's literal head covers, for strip_prefix */
    bool path_exists;                /* no route, but one would fit with another method: 405 */
    struct mg_str allow;             /* then: "GET, HEAD, POST", in the arena; "" when that is full */
};

/* Compile. patterns are borrowed. Two routes that match exactly the same requests are an error, as is
 * a malformed pattern: every one is reported by `mistake` (pattern index, message). NULL then, or when out of memory. */
struct mg_router *mg_router_new(const struct mg_pattern *patterns, size_t n,
                                void (*mistake)(void *arg, size_t pattern, const char *message), void *arg);
void mg_router_free(struct mg_router *r);
/* Never blocks. Allocates only from `a`, and only for `allow` or to decode a query argument of more than a kilobyte for a
 * regex. Any thread. */
void mg_router_match(const struct mg_router *r, const struct mg_router_query *q, struct mg_arena *a, struct mg_found *out);
/* For `moongate explain`: each pattern in order of preference with the first reason why it does not fit ("host is not
 * api.example.com", "method is not GET, HEAD"), or NULL when it fits. The first that fits is the one that
 * mg_router_match finds. Compares pattern by pattern: for people, not for traffic. */
void mg_router_explain(const struct mg_router *r, const struct mg_router_query *q, struct mg_arena *a,
                       void (*line)(void *arg, const struct mg_pattern *p, const char *why_not), void *arg);

#endif
