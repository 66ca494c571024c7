/* sim.h - one simulated exchange. Inside trial/. */
#ifndef MG_TRIAL_SIM_H
#define MG_TRIAL_SIM_H

#include "proxy/snapshot.h"
#include "script/host.h"

struct lua_State;

enum { TRIAL_LINES_MAX = 1024 };

/* What a spec file has: a worker without sockets, a VM, plugins by name. */
struct mg_trial {
    struct mg_worker worker;
    struct mg_config config;         /* sources and folder only */
    struct mg_script *script;
    struct mg_vm *vm;
    struct mg_registry *registry;
    int64_t monotonic_us, wall_us;   /* the simulated clocks */
    int failed, passed;
    char *lines[TRIAL_LINES_MAX];    /* of the log, since they were last asked for */
    int lines_n;
};

struct mg_bytes { char *p; size_t n, room; };

struct mg_sim {
    struct mg_trial *trial;
    struct lua_State *L;
    int spec;                        /* index of the spec's table on L's stack */
    struct mg_snapshot snapshot;     /* its arena has what is made for the spec, too */
    struct mg_route route;
    struct mg_upstream_spec upstream;
    struct mg_exchange *x;
    bool has_begun;                  /* the chain's instances are on the worker */
    bool woken;
    bool upstream_called;
    struct mg_str pieces[2][64];     /* what the senders have to give */
    int pieces_n[2], pieces_at[2];
    struct mg_bytes sent[2];         /* what arrived: at the upstream, at the client */
    int sent_pieces[2];
};

/* Body: fills the sim's exchange from the spec table, runs it, pushes the result table. Raises Lua errors: call it
 * through lua_pcall and then mg_sim_end. */
void mg_sim_run(struct mg_sim *sim);
void mg_sim_end(struct mg_sim *sim);
/* Move the simulated clocks on. */
void mg_trial_advance(struct mg_trial *t, int64_t ms);

/* config.c: the route's chain and the snapshot's consumers, from the spec's `plugins` and `consumers`. Raises. */
void mg_sim_config(struct mg_sim *sim);
void mg_sim_config_end(struct mg_sim *sim);

/* The spec's text, number or truth under a name, copied to the arena; p NULL / the default when absent. Raises for a wrong type. */
struct mg_str mg_sim_text(struct mg_sim *sim, const char *name);
double mg_sim_number(struct mg_sim *sim, const char *name, double preset);

#endif
