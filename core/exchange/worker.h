/* worker.h - what one worker thread owns.
 *
 * Everything here is touched by its thread alone, but for the few fields marked atomic. The control
 * thread has one too, without listeners. */
#ifndef MG_EXCHANGE_WORKER_H
#define MG_EXCHANGE_WORKER_H

#include <stdatomic.h>
#include "net/loop.h"

struct mg_account;
struct mg_chain_entry;
struct mg_exchange;
struct mg_outside;
struct mg_dns;
struct mg_redis_local;
struct mg_record_job;
struct mg_snapshot;
struct mg_upstreams_local;

enum { MG_WORKERS_MAX = 64, MG_EXCHANGES_MAX = 1 << 20 };

struct mg_slot { struct mg_exchange *x; uint32_t generation; }; /* x NULL: free; then generation links nothing, it counts uses */

struct mg_worker {
    struct mg_loop loop;
    int index;                       /* 0…; the control thread has the last */
    struct mg_snapshot *snapshot;    /* in force here; swapped between turns */
    struct mg_upstreams_local *upstreams;
    struct mg_redis_local *redis;    /* clients of Redis; NULL before the first */

    struct mg_slot *slots;           /* exchange handles (exchange.h) */
    uint32_t slots_n, slots_used, slots_free; /* slots_free: first of a list through `free_next` */
    uint32_t *free_next;
    uint32_t generation_first;       /* of a slot's first life; 0: 1. Another one for a worker that takes the index of one that ended */
    struct mg_exchange *spare_x;     /* spare exchange structs, each with its slot */
    uint32_t spare_n;

    /* Work outside of exchanges (plugin/task.h, plugin/alarm.h). */
    struct mg_list tasks, alarms;
    uint32_t tasks_n, alarms_n;
    int alarms_last;                 /* number of the newest */
    struct mg_dns *dns;              /* of the control thread (service/dns.h) */
    bool stops_tasks;                /* the worker stops: none is begun any more */
    bool is_simulated;               /* by a spec: any number of snapshots are in force at once */

    /* Messages from other threads. */
    uv_async_t wake;
    uv_mutex_t inbox_lock;
    struct mg_list inbox;            /* of struct mg_message */
    struct mg_list woken;            /* of struct mg_exchange: with ended ops */
    uv_idle_t deliver;               /* on while there are any: they run before the loop sleeps again */

    /* Connections and the drain. */
    struct mg_list clients;          /* of struct mg_client (core/proxy) */
    size_t clients_n;
    struct mg_list ports;            /* of struct mg_port (core/proxy) */
    bool is_draining;
    bool is_leaving;                 /* fewer workers are wanted: each connection's next answer is its last */

    /* Which plugin runs now: for the crash report, mg_log's scope, calls without an exchange. The control thread reads
     * the three as well, so they are stored by mg_worker_runs; of the exchange it takes no more than the address. */
    struct mg_exchange *running;
    const struct mg_chain_entry *running_entry; /* the snapshot's */
    int running_phase;
    bool is_confined;                /* a sandboxed script runs: of exchanges it reaches the one that runs */

    struct mg_account *accounts;     /* by row: what plugins cost here (account.h); NULL in tests */
    struct mg_outside *outside;      /* of every exchange here: a simulated world; NULL in a gateway at work */

    struct mg_record_job *record;    /* exchanges are being recorded (record/record.h); NULL: no */

    /* Counted for /status and metrics; written by this thread alone. */
    _Atomic uint64_t requests, connections, connections_open, exchanges_open;
    _Atomic uint64_t turns;          /* heartbeats */
    _Atomic uint64_t pins[4];        /* exchanges that hold each live snapshot, by its slot (server/reload) */
};

/* On its own thread: this is what runs now; NULL, NULL: nothing. */
static inline void mg_worker_runs(struct mg_worker *w, struct mg_exchange *x, const struct mg_chain_entry *entry, int phase)
{
    __atomic_store_n(&w->running_phase, phase, __ATOMIC_RELAXED);
    __atomic_store_n(&w->running_entry, entry, __ATOMIC_RELAXED);
    __atomic_store_n(&w->running, x, __ATOMIC_RELAXED);
}

/* The worker of this thread; NULL on threads that are none (builder, pool). */
extern _Thread_local struct mg_worker *mg_this_worker;

/* Run fn(worker, arg) on that worker's thread in its next turn. Any thread. 0 or UV_ENOMEM. */
int mg_worker_post(struct mg_worker *w, void (*fn)(struct mg_worker *, void *), void *arg);

/* The same by index; MG_ENOENT when there is none. */
int mg_worker_post_index(int index, void (*fn)(struct mg_worker *, void *), void *arg);

/* On the worker's own thread, or before it starts and with mg_this_worker set by it: loop, inbox, handles. */
int mg_worker_init(struct mg_worker *w, int index);
/* Exchanges must have been freed. Messages that are left are run. */
void mg_worker_deinit(struct mg_worker *w);

#endif
