/* parts.h - what the router's own files share; nobody else includes it.
 *
 * A pattern with h hosts and p paths is h × p *ways* to its route. A way hangs at the end of its path in
 * the trie of its host:
 *
 *     hosts:  "api.example.com" -> site      a site: root node of a trie, and the ways of any path
 *             "*.example.com"   -> site
 *             none              -> site
 *     node:   literal children (a hash table), children with a regex or literal parts (a list in order of preference),
 *             the {param} child, ways that end here, ways that end here with a star
 *
 *     pattern.c  text -> segments                hosts.c  host text -> site, request's host -> sites
 *     trie.c     tables and nodes                asks.c   everything but host and path
 *     router.c   building                        match.c  matching       explain.c  the same, one by one, in words */
#ifndef MG_ROUTE_PARTS_H
#define MG_ROUTE_PARTS_H

#include "route/router.h"
#include "base/map.h"

enum { MG_SEGMENTS_MAX = 128, MG_ROUTE_METHODS_MAX = 64 };

/* ---- tables: strings of the config to pointers ---- */
struct mg_edge { const char *p; uint32_t n, hash; void *to; };
struct mg_table { struct mg_edge *slots; uint32_t mask, used; };

/* Not keyed: only the config fills these tables, so a request cannot make chains longer. */
static inline uint32_t mg_table_hash(const char *p, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, w = 0;
    uint32_t a, b;

    for (; n > 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        w = (uint64_t)a << 32 | b;
    } else if (n) {
        w = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint8_t)p[n - 1];
    } else {
        w = 0;
    }
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    return (uint32_t)(h >> 32);
}

static inline void *mg_table_get(const struct mg_table *t, const char *p, size_t n)
{
    uint32_t hash;

    if (!t->used)
        return NULL;
    hash = mg_table_hash(p, n);
    for (uint32_t i = hash & t->mask; t->slots[i].to; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash && t->slots[i].n == n && (n == 0 || memcmp(t->slots[i].p, p, n) == 0))
            return t->slots[i].to;
    return NULL;
}
/* The key must be new and is borrowed. 0 or MG_ENOMEM. */
int mg_table_put(struct mg_table *t, struct mg_arena *a, struct mg_str key, void *to);

/* ---- paths ---- */
enum mg_segment_kind { MG_SEG_LITERAL, MG_SEG_PARTS, MG_SEG_PARAM }; /* in order of preference */
struct mg_segment {
    int kind;
    struct mg_str text;            /* literal, in normal form */
    struct mg_str name;            /* of the parameter */
    struct mg_str before, after;   /* literal text around the parameter, in normal form */
    struct mg_str regex;           /* "" : any text */
};
struct mg_path {
    struct mg_str text;            /* as written */
    struct mg_segment *segments;
    int segments_n, params_n;      /* params_n counts the star */
    bool is_any;                   /* no path given: fits "*" as well */
    bool has_star;
    size_t literal_bytes;
};
/* 0; MG_EINVAL with a message; MG_ENOMEM. */
int mg_path_parse(struct mg_str text, struct mg_arena *a, struct mg_path *out, struct mg_error *err);

/* ---- hosts ---- */
struct mg_host { struct mg_str name; int port; bool is_wild, is_any; struct mg_str text; }; /* port 0: any */
int mg_host_parse(struct mg_str text, struct mg_host *out, struct mg_error *err);
/* As the tables know it: without brackets and without a dot at the end. */
struct mg_str mg_host_bare(struct mg_str host);
bool mg_host_fits(const struct mg_host *h, struct mg_str bare, int port);

/* ---- conditions other than host and path ---- */
struct mg_asks {
    const struct mg_pattern *pattern;
    uint64_t methods;              /* bits; 0: any */
    uint64_t digest;               /* equal conditions have equal digests */
    int count;                     /* of conditions */
    bool is_plain;                 /* none but methods: mg_asks_miss need not be asked */
    int *header_ids;               /* for each cond: enum mg_header_id */
};
/* The methods that a request may be matched by: its own, and GET for HEAD, the asked one for a preflight. */
struct mg_wanted { uint64_t exact, all; };
struct mg_wanted mg_router_wanted(const struct mg_router *r, const struct mg_router_query *q);
int mg_asks_compile(struct mg_router *r, const struct mg_pattern *p, struct mg_asks *out, struct mg_error *err);
bool mg_asks_equal(const struct mg_asks *a, const struct mg_asks *b);
/* All but the method. NULL: all hold; else the condition that does not: &pattern->conds[i], or one of these. */
extern const char mg_asks_scheme[], mg_asks_listener[], mg_asks_client[];
const void *mg_asks_miss(const struct mg_asks *asks, const struct mg_router_query *q, struct mg_arena *a);

/* ---- the trie ---- */
struct mg_way {
    struct mg_way *next;           /* at the same place, the preferred first */
    const struct mg_asks *asks;
    const struct mg_host *host;
    const struct mg_path *path;
    struct mg_node **nodes;        /* one for each segment */
    uint32_t number;               /* of the pattern */
};
struct mg_node {
    struct mg_table literals;
    struct mg_node *parts;         /* first child of kind MG_SEG_PARTS, linked by `next` */
    struct mg_node *param;
    struct mg_way *here, *star;
    /* of kind MG_SEG_PARTS */
    struct mg_node *next;
    const struct mg_segment *segment;
    struct mg_re *re;              /* NULL: any text */
    uint32_t order;                /* in which they were made */
};
struct mg_site { struct mg_node root; struct mg_way *any; };
struct mg_ported { struct mg_ported *next; int port; struct mg_site *site; };
struct mg_hostname { struct mg_ported *ported; struct mg_site *site; }; /* site: of any port; may be NULL */

struct mg_router {
    struct mg_arena arena;
    struct mg_table exact, wild;   /* of struct mg_hostname; "*.example.com" is "example.com" in wild */
    size_t wild_longest;
    struct mg_hostname none;
    struct mg_asks *asks;          /* one for each pattern */
    size_t patterns_n;
    struct mg_way *ways;
    size_t ways_n;
    struct mg_map regexes;         /* text -> struct mg_re, owned */
    struct mg_str methods[MG_ROUTE_METHODS_MAX]; /* by bit; those beyond the core's own are the config's */
    int methods_n;
    uint32_t nodes_n;
};

/* Does one segment fit a child of kind MG_SEG_PARTS? value: what its parameter takes. */
bool mg_node_parts_fit(const struct mg_node *n, struct mg_str segment, struct mg_str *value);
/* The child for a segment, made when it is new. NULL: out of memory, or err is filled (a bad regex). */
struct mg_node *mg_node_child(struct mg_router *r, struct mg_node *n, const struct mg_segment *s, struct mg_error *err);
/* The site of a host, made when new. NULL: out of memory. */
struct mg_site *mg_site_of(struct mg_router *r, const struct mg_host *h);
/* Is way a to be preferred (< 0) among all that fit one request? implied: fits by GET for HEAD, or the like. */
int mg_way_compare(const struct mg_way *a, bool a_implied, const struct mg_way *b, bool b_implied);
void mg_found_fill(struct mg_found *out, const struct mg_way *way, const struct mg_str *values, struct mg_str rest);

#endif
