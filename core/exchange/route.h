/* route.h - one route of a snapshot: what it matches, the chain it runs, where it goes, its limits. */
#ifndef MG_EXCHANGE_ROUTE_H
#define MG_EXCHANGE_ROUTE_H

#include "route/router.h"
#include "upstream/upstream.h"

struct mg_chain;

/* Timeouts in ms (0: none) and limits in bytes. A listener inherits from the gateway what it does not set, when the snapshot
 * is built; an exchange has its listener's, and of its route what that one sets (-1: not set). */
struct mg_timeouts {
    int64_t client_head;    /* 10 s: first byte of a request to its whole head: 408 */
    int64_t client_idle;    /* 75 s: kept-alive connection without a request: closed */
    int64_t client_body;    /* 60 s between two pieces of a request body: 408 */
    int64_t client_write;   /* 60 s without progress towards the client: closed */
    int64_t exchange;       /* 0: whole exchange: 504 */
    int64_t plugin;         /* 60 s: a plugin's wait: 504 */
};
struct mg_limits {
    int64_t head;           /* 32k: 431 */
    int64_t target;         /* 8k: 414 */
    int64_t headers;        /* 100: 431 */
    int64_t trailers;       /* 8k */
    int64_t body;           /* 0: no limit: 413 */
    int64_t buffered_body;  /* 1m: what mg_body_read gathers by default and at most */
    int64_t spilled_body;   /* 1g: what mg_body_read gathers in a file (MG_OVER_SPILL) */
    int64_t memory;         /* 1m: an exchange's arena */
};

enum mg_host_mode { MG_HOST_PRESERVE = 0, MG_HOST_UPSTREAM, MG_HOST_FIXED };

struct mg_route {
    struct mg_str id;
    const struct mg_pattern *pattern;
    const struct mg_chain *chain;            /* global entries, then its own */
    const struct mg_upstream_spec *upstream; /* NULL: a plugin answers, else 404 */
    struct mg_str upstream_path;             /* path of an inline URL, put before the path sent */
    const struct mg_str *rewrite_parts;      /* of "/v1/{*}": literal, param name, literal…; NULL: none */
    size_t rewrite_parts_n;
    bool strip_prefix;
    int host_mode;                           /* enum mg_host_mode */
    struct mg_str host;                      /* of MG_HOST_FIXED */
    int redirect_https;                      /* status to redirect plain requests with (301, 302, 307, 308); 0: none */
    int64_t connect_ms, first_byte_ms, upstream_idle_ms; /* -1: the upstream's */
    struct mg_timeouts timeouts;             /* -1 where the listener's hold; client_head and client_idle always */
    struct mg_limits limits;                 /* the same; a head's limits always */
    int number;                              /* position in the file */
};

#endif
