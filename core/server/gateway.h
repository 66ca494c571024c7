/* gateway.h - the gateway process: a control thread (the main one), workers, a builder.
 *
 * The control thread has a loop like a worker's, without routes: it serves the admin listener, resolves names, takes signals, swaps
 * snapshots and watches the workers. It never computes. All of this header is for the control thread, unless said.
 *
 *   STARTING --first snapshot in force--> SERVING --SIGTERM--> DRAINING --no exchange left, or too late--> ENDED */
#ifndef MG_SERVER_GATEWAY_H
#define MG_SERVER_GATEWAY_H

#include "server/binder.h"
#include "server/builder.h"
#include "server/reload.h"
#include "server/worker_thread.h"

enum { MG_GATEWAY_SIGNALS = 6 };
enum mg_gateway_state { MG_GW_STARTING = 0, MG_GW_SERVING, MG_GW_DRAINING, MG_GW_ENDED };

struct mg_gateway_options {
    const char *config;      /* path */
    int workers;             /* 0: as the config says */
    const char *ports_file;  /* where to write the addresses bound, one JSON object a line; NULL: nowhere */
    bool is_supervised;
    bool watches;            /* load the config anew when a file of it is saved (onsave.h) */
    struct mg_quarantine *quarantine; /* what is known of plugins that crash; NULL without a supervisor */
    struct mg_last_words *words;      /* for the supervisor; NULL */
};

/* An address that is served, and its sockets. */
struct mg_open_address {
    struct mg_list node;           /* in gateway->addresses */
    char key[MG_SOCKET_KEY];
    char name[64];
    char text[MG_SOCKET_KEY];      /* with the real port */
    int port;                      /* 0: a Unix socket */
    bool is_admin, is_tls;
    int fds[MG_SOCKETS_MAX];       /* ours while it is served; workers listen on duplicates */
    int fds_n;
};

struct mg_gateway {
    struct mg_gateway_options options;
    int state;                     /* enum mg_gateway_state */
    int exit_code;
    int64_t started_us;            /* wall clock */
    int64_t started_mono_us;
    struct mg_binder *binder;      /* borrowed */
    struct mg_builder *builder;
    struct mg_thread control;
    struct mg_thread *workers;     /* MG_WORKERS_MAX of them; NULL before the first snapshot stands */
    int workers_n;                 /* that run; those from snapshot->workers on are leaving */
    int workers_ever;              /* what the ones beyond workers_n have counted still counts */
    struct mg_upstream_control *upstreams;
    struct mg_reload reload;
    struct mg_list addresses;
    char user[64], group[64];      /* of the first snapshot, which we became */
    struct mg_snapshot *snapshot;  /* in force; NULL before the first */
    uv_signal_t signals[MG_GATEWAY_SIGNALS];
    struct mg_onsave *onsave;      /* NULL: a reload is asked for */
    uv_timer_t watch;              /* stalled workers */
    int quiet_looks;               /* of it, in a row, that met no work */
    uv_timer_t drain;
    int64_t drain_deadline_ms;
    int drain_waiting;             /* workers that still close listeners */
    bool is_handed_over;           /* a successor has the sockets */
    int64_t asked_successor_ms;    /* when; 0: never */
    bool is_forced;                /* connections were closed as the drain took too long */
};

/* Run until told to end. The exit code: 0, or 1 when the first config does not hold. */
extern void (*mg_gateway_on_start)(struct mg_gateway *g); /* set by core/admin: before the loop runs */
int mg_gateway_run(const struct mg_gateway_options *options, struct mg_binder *binder);
/* Drain and end; again: end now. */
void mg_gateway_stop(struct mg_gateway *g, bool at_once);
/* A successor serves: let go of the sockets, which it has too, finish what is under way, end. */
void mg_gateway_hand_over(struct mg_gateway *g);
/* End with this exit code before anything was served. */
void mg_gateway_fail(struct mg_gateway *g, int exit_code);
/* A snapshot stands: see to it that as many workers run as it wants; for the first one, become its user before. 0 or < 0 with err. */
int mg_gateway_start_workers(struct mg_gateway *g, const struct mg_snapshot *s, struct mg_error *err);
/* End the workers beyond `wanted` that have no connection left, from the last one on. Only while no worker but these has anything of a
 * snapshot that is not in force. */
void mg_gateway_end_workers(struct mg_gateway *g, int wanted);
/* The first snapshot is in force. */
void mg_gateway_ready(struct mg_gateway *g);
/* From any thread, as mg_worker_post; when there is no memory for a message it tries again, and in the end aborts, since what it says
 * cannot be left unsaid. */
void mg_gateway_post(struct mg_worker *w, void (*fn)(struct mg_worker *, void *), void *arg);
static inline bool mg_gateway_is_ready(const struct mg_gateway *g) { return g->state == MG_GW_SERVING; }

#endif
