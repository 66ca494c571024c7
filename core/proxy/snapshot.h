/* snapshot.h - the configuration in force, as the proxy reads it: immutable once built.
 *
 * Made by server/build.c on the builder thread; exchanges pin the one they began with. What an upstream is *now* lives
 * beside it (upstream/upstream.h). */
#ifndef MG_PROXY_SNAPSHOT_H
#define MG_PROXY_SNAPSHOT_H

#include "config/config.h"
#include "exchange/consumer.h"
#include "exchange/route.h"
#include "plugin/chain.h"
#include "plugin/registry.h"
#include "script/script.h"
#include "service/shared.h"

struct mg_listener_conf {
    struct mg_str name;              /* "" or given; routes may ask for it */
    struct mg_str address;           /* "0.0.0.0:8080", "[::]:80", "unix:/run/x.sock" as written */
    struct sockaddr_storage sa;
    int backlog;                     /* 4096 */
    struct mg_tls *tls;              /* NULL: plain */
    bool half_close;
    bool is_admin;
    int connections_max;             /* a worker; 0: no limit */
    int redirect_https;              /* 0, or the status; every request is redirected */
    int redirect_port;               /* 443 */
    struct mg_timeouts timeouts;
    struct mg_limits limits;
    struct mg_h1_limits h1;
    struct mg_str id;                /* address in canonical form: the key by which sockets are kept over reloads */
};

struct mg_debug_conf;

enum mg_forwarded_mode { MG_FWD_X = 1, MG_FWD_RFC7239 = 2 }; /* flags: which fields are sent upstream */

struct mg_snapshot {
    struct mg_arena arena;
    uint64_t number;                 /* 1, 2, … */
    int slot;                        /* of mg_worker.pins */
    _Atomic int refs;                /* workers that have it in force, and the builder */
    struct mg_config *config;
    struct mg_script *script;
    struct mg_registry *registry;

    struct mg_listener_conf *listeners;
    size_t listeners_n;
    const struct mg_router *router;
    struct mg_route *routes;
    struct mg_pattern *patterns;
    size_t routes_n;
    const struct mg_chain *global;   /* entries of `plugins` at the top; may be empty, never NULL */
    struct mg_chain_entry **all_entries; /* each once: for worker_create, destroy */
    size_t all_entries_n;
    struct mg_upstream_spec **upstreams; /* named and inline */
    size_t upstreams_n;
    struct mg_consumers *consumers;

    const struct mg_cidr *trusted;   /* trusted_proxies */
    size_t trusted_n;
    bool trust_unix;
    const struct mg_debug_conf *debug; /* proxy/traces.h; NULL: no header asks for a trace */
    int forwarded;                   /* enum mg_forwarded_mode flags; X by default */
    struct mg_str via;               /* pseudonym, "moongate"; "" sends none */
    struct mg_str via10, via11;      /* "1.0 moongate", "1.1 moongate" */
    struct mg_str server_header;     /* "" none: the upstream's passes */
    struct mg_template *error_body;  /* the shape of answers made by the gateway; NULL: RFC 9457 */
    struct mg_str error_type;        /* its content-type */
    int workers;
    struct mg_str user, group;
    struct mg_log_conf log;
    int64_t drain_ms;                /* 30 s */
    int64_t stall_ms;                /* 5 s; 0: never */
    int quarantine_crashes;          /* 3; 0: never */
    int64_t quarantine_window_ms;    /* 5 min */
    struct { int64_t max, timers, memory, on_worker; } tasks; /* of a worker: how many; of one: bytes; ms. 0: the defaults of plugin/task.h */
    struct mg_resolver_conf resolver;
    struct mg_str digest;
    struct mg_str tmp;               /* folder of temporary files; "": the environment says */
    struct mg_str store_path;        /* "": none */
    struct mg_store *store;          /* opened when the gateway takes the snapshot up (server/reload.c); NULL: none */
    const struct mg_shared_size *shared; /* of the dictionaries that the config names */
    size_t shared_n;
};

static inline struct mg_upstream_spec *mg_snapshot_upstream(const struct mg_snapshot *s, struct mg_str name)
{
    for (size_t i = 0; i < s->upstreams_n; i++)
        if (mg_str_eq(s->upstreams[i]->name, name))
            return s->upstreams[i];
    return NULL;
}

#endif
