/* parts.h - what the files of core/upstream share; nobody else includes it.
 *
 *     live.c     process-wide: live upstreams, their lists        (a mutex; never on the hot path)
 *     targets.c  single addresses and what is counted of them
 *     names.c    host names and their answers
 *     control.c  asks the resolver for the names, on the control thread
 *     local.c    a worker's part: takes up new lists, drops what has left
 *     balance.c  which target is next
 *     pool.c     connections: idle ones by address, their life and death
 *     take.c     waits: for a name, for room, for a connection
 *
 * Who holds what:  mg_upstream ─list→ mg_target_list ─→ mg_target     counted, any thread
 *                  mg_group (worker × upstream) ─entries→ mg_pool     counted by entries and connections, one thread */
#ifndef MG_UPSTREAM_PARTS_H
#define MG_UPSTREAM_PARTS_H

#include "upstream/upstream.h"
#include "base/alloc.h"
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- process-wide ---- */

/* All that threads share, under one lock. */
struct mg_live {
    pthread_mutex_t lock;
    struct mg_map upstreams, names, targets;
    struct mg_list listeners;       /* workers that want to know of new lists */
    _Atomic uint32_t news;          /* how often they were woken for one */
};
extern struct mg_live mg_live;
/* Take out of a table. An empty one holds no memory, so that a process that has closed all holds nothing. */
void mg_table_forget(struct mg_map *m, struct mg_str key);
struct mg_str mg_live_copy(struct mg_str s); /* p NULL: out of memory */
void mg_upstream_wake_workers(void);         /* under the lock */

/* What one worker counts for a target: written by its thread alone. */
struct mg_counts { _Atomic int active, idle; _Atomic uint64_t requests, failures; };

/* One address of one upstream, whatever list names it: what is known of it outlives reloads. */
struct mg_target {
    _Atomic int refs;
    struct mg_str key;              /* upstream's name, NUL, bytes of the address */
    struct mg_str upstream;
    struct mg_address address;
    _Atomic(struct mg_counts *) counts[MG_UPSTREAM_WORKERS_MAX]; /* NULL until that worker uses it */
};
struct mg_target *mg_target_ref(struct mg_target *t);
void mg_target_unref(struct mg_target *t);
void mg_target_unref_locked(struct mg_target *t);
struct mg_target *mg_target_of(struct mg_str upstream, const struct mg_address *address); /* counted; NULL: no memory; locked */
/* This worker's counts; never NULL (a common one, which nobody reads, when out of memory). */
struct mg_counts *mg_target_counts(struct mg_target *t, int worker);

struct mg_listed { struct mg_target *target; int weight; struct mg_str host; }; /* host: borrowed from the upstream */
/* Immutable. */
struct mg_target_list {
    _Atomic int refs;
    bool is_settled;                /* every name has an answer, good or bad */
    size_t n;
    struct mg_listed at[];
};
void mg_target_list_unref(struct mg_target_list *l);

/* A host name with its port that some spec mentions. Under the lock. */
struct mg_name {
    int refs;
    struct mg_str key;              /* "host:port" */
    struct mg_str host;
    int port;
    bool is_settled;                /* the resolver has answered */
    bool is_stale;                  /* a list was not made for want of memory */
    int status;
    struct mg_address *addresses;   /* the last good answer */
    size_t addresses_n;
};

struct mg_upstream {
    _Atomic int refs;               /* specs, groups */
    int specs;                      /* under the lock; 0: no spec is left */
    uint32_t slot;                  /* in each worker's table of groups */
    struct mg_str key, name;
    struct mg_target_spec *targets; /* copies */
    struct mg_name **names;         /* for each target; NULL: an address */
    size_t targets_n;
    _Atomic uint32_t generation;    /* of `list` */
    _Atomic bool has_left;          /* no spec is left */
    struct mg_target_list *list;    /* under the lock */
};
void mg_upstream_unref(struct mg_upstream *up);
/* The list in force, counted for the caller, and its generation. */
struct mg_target_list *mg_upstream_list(struct mg_upstream *up, uint32_t *generation);

struct mg_name *mg_name_of(struct mg_str host, int port); /* counted; NULL: no memory; locked */
void mg_name_unref(struct mg_name *name);                 /* locked */
int mg_upstream_publish_with(const struct mg_name *name); /* new lists where it is mentioned; locked */

/* Names, for control.c. Visit all under the lock; answer one (addrs are copied; n 0: failed, the last good answer stays). */
void mg_names_each(void (*fn)(void *arg, const struct mg_name *name), void *arg);
bool mg_names_settled(void);
int mg_name_answer(struct mg_str key, int status, const struct mg_address *addrs, size_t n);

/* Workers that want to know of new lists. */
struct mg_listener_node { struct mg_list node; uv_async_t *wake; };
void mg_upstream_listen(struct mg_listener_node *l);
void mg_upstream_unlisten(struct mg_listener_node *l);

size_t mg_sockaddr_bytes(const struct sockaddr_storage *sa); /* how many of them mean something */

/* ---- one worker ---- */

struct mg_pool {
    struct mg_upstreams_local *local;
    struct mg_str key;              /* bytes of the address; digest of the TLS settings and host */
    struct mg_address address;
    int entries, conns;             /* who needs it; freed when both are 0 */
    struct mg_list idle;            /* of mg_upconn, the latest first */
    int idle_n;
    struct mg_timer timer;          /* of the oldest */
};

struct mg_entry_target {
    struct mg_target *target;
    struct mg_pool *pool;
    struct mg_str host;
    int weight, current;
};
struct mg_group {
    struct mg_list node;
    struct mg_upstreams_local *local;
    struct mg_upstream *live;
    uint32_t generation;
    struct mg_target_list *list;
    struct mg_entry_target *entries;
    size_t entries_n;
    int64_t weights;                /* their sum */
    struct mg_str tls_digest;       /* copied */
    int conns;                      /* last taken for this upstream: in use, idle or connecting */
    int used;                       /* of them, in use or connecting */
    struct mg_list waits;           /* for a name or for room, the first come first */
    bool is_ready;                  /* in local->ready */
    struct mg_list ready_node;
};

struct mg_upstreams_local {
    struct mg_loop *loop;
    int worker;
    uv_async_t wake;
    struct mg_listener_node listener;
    struct mg_list groups_all;
    struct mg_group **groups;       /* by slot of the upstream */
    uint32_t groups_n;
    struct mg_map pools;
    struct mg_list failed;          /* of mg_upconn_wait: done is due */
    struct mg_list ready;           /* of mg_group: room for the first that waits */
    int conns;
    uint32_t news;                  /* that were looked at */
    bool is_closing, wake_closed, is_freed;
};

/* local.c */
struct mg_group *mg_group_of(struct mg_upstreams_local *u, const struct mg_upstream_spec *spec); /* NULL: out of memory */
void mg_group_take_up(struct mg_group *g);     /* a new list, if there is one */
void mg_group_ready(struct mg_group *g);       /* those that wait are looked at in the next turn */
void mg_local_maybe_free(struct mg_upstreams_local *u);

/* balance.c */
uint32_t mg_balance_next(struct mg_group *g);  /* entries_n must not be 0 */

/* pool.c */
enum mg_conn_state { MG_CONN_CONNECTING, MG_CONN_USED, MG_CONN_IDLE, MG_CONN_CLOSING };
struct mg_pool *mg_pool_of(struct mg_upstreams_local *u, const struct mg_address *address, struct mg_str tls_digest,
                           struct mg_str host);
void mg_pool_close_idle(struct mg_pool *p);
void mg_pool_drop(struct mg_pool *p);          /* an entry needs it no more */
struct mg_upconn *mg_pool_pop(struct mg_pool *p, struct mg_group *g, struct mg_target *t,
                              const struct mg_upstream_spec *spec);
bool mg_pool_evict(struct mg_group *g);        /* close the oldest idle connection of the group; false: none */
/* Begin to connect for w; NULL: out of memory. */
struct mg_upconn *mg_conn_new(struct mg_group *g, uint32_t entry, struct mg_upconn_wait *w);
void mg_conn_close(struct mg_upconn *c);

/* take.c */
void mg_wait_opened(struct mg_upconn_wait *w, struct mg_upconn *c, int status, const char *why);
void mg_waits_run(struct mg_group *g);
void mg_waits_fail_now(struct mg_upstreams_local *u);
void mg_count_failure(struct mg_target *t, int worker);

static inline void mg_count_add(_Atomic int *n, int by)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}
static inline void mg_count_more(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

#endif
