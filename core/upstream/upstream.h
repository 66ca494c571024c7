/* upstream.h - named groups of servers: what they are, what they are now, and connections to them.
 *
 * Three lives:
 *  - struct mg_upstream_spec belongs to a snapshot: targets as configured, balancing, timeouts, TLS.
 *  - struct mg_upstream is live state shared by all snapshots with a spec of that name: resolved
 *    addresses, counters, (later) health and breaker. It lives as long as one spec refers to it.
 *  - struct mg_upstreams_local is one worker's part: the target list in force, round-robin state, idle
 *    connections. No lock is needed there.
 *
 * The control thread resolves names (net/resolver.h) and publishes immutable target lists; workers are woken to
 * take them up. Addresses need no resolver: they are in the list as soon as the spec is attached.
 *
 *     conn = mg_upstream_take(worker->upstreams, spec, &x->wait);   // NULL: x->wait.done follows
 *     mg_h1_start(&conn->h1, &leg);                                 // … leg->ops->release(leg): back in its pool */
#ifndef MG_UPSTREAM_UPSTREAM_H
#define MG_UPSTREAM_UPSTREAM_H

#include "base/error.h"
#include "http/h1.h"
#include "net/resolver.h"
#include "net/tls.h"

struct mg_target_spec { struct mg_str host; int port; int weight; struct mg_str unix_path; };

struct mg_upstream_spec {
    struct mg_str name;                /* config key, or "http://host:port" for an inline URL */
    const struct mg_target_spec *targets;
    size_t targets_n;
    bool is_tls;
    struct mg_tls *tls;                /* reference owned by the spec */
    struct mg_str tls_digest;          /* of the TLS settings: idle connections are shared only by equals */
    int64_t connect_ms;                /* 5 s */
    int64_t first_byte_ms;             /* 60 s: request sent until response head; 0: none */
    int64_t idle_ms;                   /* 60 s: between two pieces, either way */
    int64_t keepalive_ms;              /* 60 s an idle connection is kept */
    int keepalive_max;                 /* 64 idle connections a worker and target */
    int keepalive_requests;            /* 10000 requests on one connection; 0: no limit */
    int connections_max;               /* a worker and upstream; 0: no limit; beyond it requests wait at most connect_ms */
    const struct mg_h1_limits *limits; /* of response heads */
    struct mg_upstream *live;          /* set by mg_upstream_attach */
};

struct mg_upstream;
struct mg_upstreams_local;

/* ---- process-wide (any thread unless said) ---- */
/* Find or make the live state for a spec and keep it: call for each spec of a new snapshot, detach
 * when the snapshot is freed. */
int mg_upstream_attach(struct mg_upstream_spec *spec, struct mg_error *err);
void mg_upstream_detach(struct mg_upstream_spec *spec);
/* Control thread: start resolving what a snapshot's specs name, keep them fresh by TTL (last good answer kept on failure); stop for names that no spec has. */
struct mg_upstream_control;
struct mg_upstream_control *mg_upstream_control_new(struct mg_loop *loop, const struct mg_resolver_conf *conf, struct mg_error *err);
void mg_upstream_control_update(struct mg_upstream_control *c); /* after attach or detach */
void mg_upstream_control_free(struct mg_upstream_control *c);
/* Ask by this conf from now on (copied). Where it differs, every name is asked for anew, also where an answer was under way; the last
 * good answers stay until then. 0, or < 0 with err: nothing has changed. */
int mg_upstream_control_resolver(struct mg_upstream_control *c, const struct mg_resolver_conf *conf, struct mg_error *err);
/* Wait until each attached upstream has an answer of the resolver, good or bad; `done` on the control loop, also when timeout_ms is over. */
void mg_upstream_control_ready(struct mg_upstream_control *c, int64_t timeout_ms, void (*done)(void *), void *arg);

/* For /status and metrics: walk the targets of live upstreams; names without address come with resolved = false. Under a lock: fn must
 * call nothing of this header. */
struct mg_upstream_status { struct mg_str name, target; bool resolved; int active, idle; uint64_t requests, failures; };
void mg_upstream_each(void (*fn)(void *arg, const struct mg_upstream_status *s), void *arg);

/* ---- one worker's part ---- */
enum { MG_UPSTREAM_WORKERS_MAX = 65 }; /* worker: 0… below it */
/* News of the control thread comes through a handle of its own in `loop`, which does not keep the loop alive. NULL when out of memory. */
struct mg_upstreams_local *mg_upstreams_local_new(struct mg_loop *loop, int worker);
/* Close idle connections and stop listening for news; those in use close as they become idle. */
void mg_upstreams_local_close(struct mg_upstreams_local *u);
/* After close. What the loop has not closed yet is freed as it closes, so the loop must run once more then. */
void mg_upstreams_local_free(struct mg_upstreams_local *u);

/* A connection to a target with its codec, held by one exchange at a time. */
struct mg_upconn {
    struct mg_stream stream;
    struct mg_h1 h1;
    const struct mg_address *address;  /* for logs: address->text */
    bool is_reused;                    /* it served another exchange before */
    uint32_t requests;                 /* that it was taken for, this one included */
    /* core/upstream's own */
    struct mg_list node;
    struct mg_pool *pool;
    struct mg_group *group;            /* the upstream that it was last taken for */
    struct mg_target *target;
    int64_t idle_since_ms, keepalive_ms;
    int keepalive_max, requests_max;
    int state;
    struct mg_upconn_wait *wait;
};

/* A request for a connection, embedded in the exchange. All zero to begin. */
struct mg_upconn_wait {
    struct mg_list node;
    struct mg_timer timer;
    /* conn, or NULL with status: UV_ECONNREFUSED, MG_ETIMEOUT, MG_ETLS, MG_ENOENT (name does not
     * resolve), MG_EBUSY… and `why` in words for the log. Never runs inside the call to mg_upstream_take that returned NULL. */
    void (*done)(struct mg_upconn_wait *w, struct mg_upconn *conn, int status, const char *why);
    struct mg_address tried;           /* the last target tried, for logs; text "" when none */
    const struct mg_upstream_spec *spec;
    int64_t connect_ms;              /* the route's, in place of the spec's; <= 0: the spec's */
    bool fresh;                        /* take no idle connection */
    struct mg_upconn *conn;
    /* core/upstream's own */
    struct mg_upstreams_local *local;
    struct mg_group *group;
    int64_t deadline_ms;
    uint32_t at, tries_left;           /* the target being tried, and how many others may follow */
    int state, status;
    const char *why;
};
/* Choose a target (smooth weighted round robin) and give a connection to it. Returns the idle connection at once
 * (nothing is called), or NULL: `done` follows. Set w->done, w->fresh and w->connect_ms before. A refused or
 * unreachable target is followed by the next one within connect_ms. A target that does not answer at all gets its
 * share of what is left of that time, but no less than a second. */
struct mg_upconn *mg_upstream_take(struct mg_upstreams_local *u, const struct mg_upstream_spec *spec, struct mg_upconn_wait *w);
/* Stop waiting: done will not be called. Harmless when it was called already, and on a wait that is all zero. */
void mg_upstream_cancel(struct mg_upconn_wait *w);
/* The exchange starts conn->h1 (mg_h1_start) and releases its leg; the codec's on_idle puts the connection back into its
 * pool, on_done closes it. */

/* Count an outcome for the target (passive health later): 0 or an error code. */
void mg_upstream_report(struct mg_upconn *conn, int error);

#endif
