/* schema.h - the config's own keys: field tables (docs/configuration.md, in C) and the structs that they fill.
 *
 * What needs more than a field table can say (chains, consumers, conditions, "true or a table") has type 0 here, and is
 * checked by the build_*.c that makes it. */
#ifndef MG_SERVER_SCHEMA_H
#define MG_SERVER_SCHEMA_H

#include "exchange/route.h"
#include "exchange/worker.h"
#include "server/quarantine.h"

struct mg_conf_cert { struct mg_str cert, key; };
struct mg_conf_tls_server {
    struct mg_str cert, key;
    struct mg_array certs; /* of mg_conf_cert */
    int min_version;       /* 0: 1.2, 1: 1.3 */
    struct mg_str ciphers, ciphersuites;
    bool session_tickets;
    int64_t session_timeout_ms;
};
struct mg_conf_tls_client {
    bool verify;
    struct mg_str ca, cert, key, server_name;
    int min_version;
};
/* In timeouts and limits of the levels below the top, 0 may also mean "not set": merge from the tree. */
struct mg_conf_listener {
    struct mg_str address, name;
    struct mg_timeouts timeouts;
    struct mg_limits limits;
    struct mg_conf_tls_server tls;
    bool half_close;
    int64_t backlog, connections, redirect_port;
};
struct mg_conf_route_timeouts { struct mg_timeouts base; int64_t connect, first_byte, upstream_idle; };
struct mg_conf_route {
    struct mg_conf_route_timeouts timeouts;
    struct mg_limits limits;
    struct mg_array unused;
    struct mg_str id;
    struct mg_array hosts, paths, methods, clients; /* of mg_str */
    int scheme;            /* 0 any, 1 http, 2 https */
    struct mg_str listener, upstream, rewrite, host_header;
    bool strip_prefix;
};
struct mg_conf_target { struct mg_str address; int64_t weight; };
struct mg_conf_upstream {
    struct mg_array targets;
    int balance;
    struct { int64_t connect, first_byte, idle; } timeouts;
    struct { int64_t max, idle, requests; } keepalive;
    int64_t connections;
};
struct mg_conf_named_upstream { struct mg_str name; struct mg_conf_upstream conf; };
struct mg_conf_shared { struct mg_str name; int64_t bytes; };
struct mg_conf {
    struct mg_array listen;    /* of mg_conf_listener */
    struct mg_conf_listener admin;
    int64_t workers;           /* 0: one for each CPU */
    struct mg_array routes;    /* of mg_conf_route */
    struct mg_array upstreams; /* of mg_conf_named_upstream */
    struct mg_timeouts timeouts;
    struct mg_limits limits;
    struct mg_array trusted_proxies;
    int forwarded;
    struct mg_str via, server;
    struct { struct mg_str content_type, body; } errors;
    struct mg_array plugin_path, sandbox;
    struct { int level, format; struct mg_str path; } log;
    struct mg_str user, group;
    int64_t drain_ms, stall_ms;
    struct { int64_t crashes, window_ms; } quarantine;
    struct { struct mg_array servers; int64_t timeout_ms, tries; } resolver;
    struct { int64_t memory; } lua;
    struct mg_str store, tmp;
    struct mg_array shared;    /* of mg_conf_shared */
    struct { struct mg_str header; struct mg_array secrets, networks, mask; int64_t keep; } debug;
    struct { int64_t max, timers, memory, on_worker; } tasks;
    struct mg_array unused;
};

extern const struct mg_field mg_schema[];            /* the top level; fills struct mg_conf */
extern const struct mg_field mg_schema_tls_client[];
extern const struct mg_field mg_schema_timeouts[];   /* of struct mg_timeouts */
extern const struct mg_field mg_schema_limits[];
extern const struct mg_field mg_schema_groups[];     /* of a consumer: list of text */

#endif
