/* http_hosts.h - upstreams that nobody configured: those that URLs of calls name.
 *
 * A table of the process, by scheme, host, port and TLS options, so that all calls and inline URLs of routes share pools, counters
 * and the answers of the resolver. It is bounded: when it is full the one that was not used for longest leaves, and those that
 * were not used for ten minutes leave by themselves (mg_http_hosts_sweep). One that is in use never does.
 *
 *     host = mg_http_host_find(&url, &trust, now_ms);            // counted; NULL: not there
 *     host = mg_http_host_make(&url, &trust, tls, now_ms, &rc);  // TLS: by mg_http_trust_get, which reads files
 *     … mg_upstream_take(…, mg_http_host_spec(host), …) …
 *     mg_http_host_unref(host, now_ms); */
#ifndef MG_SERVICE_HTTP_HOSTS_H
#define MG_SERVICE_HTTP_HOSTS_H

#include "service/http_url.h"
#include "upstream/upstream.h"

enum { MG_HTTP_HOSTS_MAX = 1000, MG_HTTP_HOST_IDLE_MS = 600000 };

/* How a server is to be trusted; files are absolute paths, NUL-terminated. digest: by mg_http_trust_digest. */
struct mg_http_trust {
    bool no_verify;
    struct mg_str ca, server_name, cert, key;
    struct mg_str digest;
};
struct mg_http_host;

/* Fills t->digest, which tells settings apart, the state of their files included. 0 or MG_ENOMEM. Any thread. */
int mg_http_trust_digest(struct mg_http_trust *t, struct mg_arena *a);
/* The settings' context, counted, if a host has one by that digest; else NULL. Any thread. */
struct mg_tls *mg_http_trust_find(struct mg_str digest);
/* The same, read from its files when there is none: takes a while, so on the thread pool. NULL with err. */
struct mg_tls *mg_http_trust_get(const struct mg_http_trust *t, struct mg_error *err);

/* now_ms: of any monotonic clock, the same in all calls. Any thread. */
struct mg_http_host *mg_http_host_find(const struct mg_url *url, const struct mg_http_trust *t, int64_t now_ms);
/* Takes tls (NULL for http), also when it fails. NULL: *rc is MG_EBUSY (all are in use) or MG_ENOMEM. */
struct mg_http_host *mg_http_host_make(const struct mg_url *url, const struct mg_http_trust *t, struct mg_tls *tls, int64_t now_ms,
                                       int *rc);
const struct mg_upstream_spec *mg_http_host_spec(const struct mg_http_host *h);
void mg_http_host_unref(struct mg_http_host *h, int64_t now_ms);

/* Set by core/server: names came or went, so that the control thread asks the resolver (mg_upstream_control_update). Any thread;
 * NULL: nobody is told. */
extern void (*mg_http_hosts_changed)(void);
/* Let those go that were idle for too long. How many are left. Any thread. */
size_t mg_http_hosts_sweep(int64_t now_ms, int64_t idle_ms);

#endif
