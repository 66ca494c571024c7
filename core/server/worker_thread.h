/* worker_thread.h - a worker and its thread: heartbeat, housekeeping, listeners, the snapshot in force there.
 *
 * The control thread has one of these too (it runs on the process's main thread). Functions with "post" in the name
 * are called on the control thread and run on the worker; their answer comes back to the control thread. */
#ifndef MG_SERVER_WORKER_THREAD_H
#define MG_SERVER_WORKER_THREAD_H

#include "server/instances.h"
#include "server/listeners.h"

enum { MG_THREAD_JOIN_MS = 15000 }; /* how long a stop waits for a worker's thread */

struct mg_gateway;

struct mg_thread {
    struct mg_worker worker;
    struct mg_gateway *gateway;
    struct mg_listeners listeners;
    uv_thread_t id;
    bool is_control, is_running, is_ending;
    uv_prepare_t turn;             /* the heartbeat: counts worker.turns */
    uv_timer_t house;              /* once a second while there is work; off when idle */
    uint64_t house_requests;
    bool house_is_on;
    struct mg_entering entering;   /* preparing for the next snapshot, and how it went (server/reload.c) */
    struct mg_snapshot *entered;   /* it is ready for that, which is not in force yet; NULL: none */
    /* The control thread's notes on it (server/watch.c). */
    uint64_t watched_turns;
    const void *watched_running;
    int64_t watched_since_ms;
    bool stall_reported;           /* a plugin has held it for long */
    bool is_orphaned;              /* its sockets have been given to another worker */
    bool successor_asked;
};

int mg_thread_init(struct mg_thread *t, struct mg_gateway *g, int index, bool is_control);
/* Start the thread of a worker (not of the control thread). */
int mg_thread_start(struct mg_thread *t);
/* Any thread: have the worker end. Its clients must be closed or are closed now; mg_thread_join waits. */
void mg_thread_stop(struct mg_thread *t);
void mg_thread_join(struct mg_thread *t);
/* On the thread itself, after its loop has stopped: close all, run the closing callbacks, free. */
void mg_thread_deinit(struct mg_thread *t);

#endif
