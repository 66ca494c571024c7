/* reload.h - from one snapshot to the next, without anybody noticing.
 *
 *   IDLE -> BUILDING (builder thread: config, plugins, VMs, new sockets)
 *        -> RESOLVING (first answers of the resolver, not for long)
 *        -> PREPARING (each worker, those that are new too: worker_create, on_worker)
 *        -> COMMITTING (each worker: swaps its pointer, opens and closes listeners) -> IDLE
 *
 * When fewer workers are wanted, those with the highest indices give up their listeners in COMMITTING. They follow further snapshots like
 * the others, say `connection: close` in each answer, and end when their last connection has gone.
 *
 * A failure before COMMITTING leaves everything as it was. Asking while one is under way asks for one more after it,
 * however often. A snapshot that is no longer in force is freed when no exchange pins it: the pins are counted by each
 * worker for itself (mg_worker.pins) and read here. At most MG_GENERATIONS live at a time; beyond that a
 * reload waits for one to go. All on the control thread. */
#ifndef MG_SERVER_RELOAD_H
#define MG_SERVER_RELOAD_H

#include "proxy/snapshot.h"
#include "server/builder.h"

enum { MG_GENERATIONS = 4 }; /* as many as mg_worker.pins counts */
enum mg_reload_phase { MG_RELOAD_IDLE = 0, MG_RELOAD_BUILDING, MG_RELOAD_RESOLVING, MG_RELOAD_PREPARING, MG_RELOAD_UNDOING, MG_RELOAD_COMMITTING };

struct mg_gateway;
struct mg_reload;

struct mg_generation {
    struct mg_snapshot *snapshot;   /* NULL: the slot is free. The builder's once free_job is under way: do not look inside */
    uint64_t number;                /* the snapshot's */
    uint64_t entered;               /* bit of each worker that has its part of it */
    bool is_retired;                /* in force nowhere */
    bool is_leaving;                /* workers are told to give up their part */
    int leaving;                    /* how many have not yet */
    struct mg_job free_job;
    struct mg_reload *reload;
};

/* Somebody who wants to know how it went. Embedded in the caller's struct. */
struct mg_reload_waiter {
    struct mg_list node;
    void (*done)(struct mg_reload_waiter *w, bool ok, const char *text);
};

struct mg_reload {
    struct mg_gateway *gateway;
    int phase;                      /* enum mg_reload_phase */
    bool again;                     /* asked for while one was under way */
    struct mg_generation generations[MG_GENERATIONS];
    struct mg_snapshot *next;
    struct mg_list opened;          /* of struct mg_open_address: new with `next` */
    int waiting;                    /* workers that have not answered */
    struct mg_error error;          /* of preparing */
    struct mg_list waiters, waiters_next; /* for the one under way; for the one after it */
    uv_timer_t sweep;               /* while there are retired generations, or leaving workers */
    int64_t leave_deadline_ms;      /* then their idle connections are closed; 0: they are told */
    uint64_t number;                /* of the last snapshot begun */
    /* For /status. */
    uint64_t reloads_ok, reloads_failed;
    bool last_ok;
    int64_t last_us;                /* wall clock; 0: none yet */
    char *last_text;                /* "snapshot 3 is in force", or the mistakes */
};

void mg_reload_init(struct mg_reload *r, struct mg_gateway *g);
/* Free all that is left; workers and builder have ended. */
void mg_reload_deinit(struct mg_reload *r);
/* Load the config anew. waiter may be NULL; it is told, once, not inside this call. */
void mg_reload_ask(struct mg_reload *r, struct mg_reload_waiter *waiter);
/* Stop the timer and refuse further work, as the process ends. */
void mg_reload_stop(struct mg_reload *r);

#endif
