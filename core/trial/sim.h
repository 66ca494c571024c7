/* sim.h - simulated exchanges and the world around them. Inside trial/.
 *
 * A trial is what one spec file has: a worker without sockets, a VM for the spec (and for plugins that test.exchange runs), clocks that
 * are moved by hand, and functions of the spec that play everything outside. An exchange of test.exchange runs a chain that was
 * made for it; one of test.gateway a whole config, which has a snapshot and VMs of its own. */
#ifndef MG_TRIAL_SIM_H
#define MG_TRIAL_SIM_H

#include "exchange/outside.h"
#include "proxy/client.h"
#include "proxy/snapshot.h"
#include "script/host.h"
#include "server/instances.h"
#include "trial/trial.h"
#include <stdio.h>

struct lua_State;

enum { TRIAL_LINES_MAX = 1024, TRIAL_PIECES_MAX = 264 };

/* What a spec file has. */
struct mg_trial {
    struct mg_worker worker;
    struct mg_config config;         /* sources and folder only */
    struct mg_script *script;
    struct mg_vm *vm;
    struct mg_registry *registry;
    struct mg_store *store;          /* in memory: the file's specs share it */
    int64_t monotonic_us, wall_us;   /* the simulated clocks */
    const struct mg_trial_options *options;
    struct mg_trial_sum *sum;
    char *lines[TRIAL_LINES_MAX];    /* of the log, since they were last asked for */
    int lines_n;
    struct mg_written { char *where; struct mg_str line; } written[TRIAL_LINES_MAX]; /* for sinks; the same */
    int written_n;

    struct mg_sim *running;          /* the innermost exchange */
    struct mg_outside world;         /* what is asked of the outside */
    struct mg_list asked;            /* of questions that nobody has answered yet */
    struct mg_list answered;         /* of those whose answer takes its time */
    struct mg_tape *tape;            /* answers of a recording go before all others (replay.c); NULL: none */
    FILE *recording;                 /* that is being read */
    struct mg_spool { FILE *file; bool is_read; } spool; /* texts kept by a diff; file NULL: none */
    int answer;                      /* reference of the spec's answer(service, question); LUA_NOREF: there is none */
};

struct mg_trial_sum { int passed, failed, skipped; };

struct mg_bytes { char *p; size_t n, room; };

/* A side's body as its sender gives it: pieces, with a pause before some. */
struct mg_pieces {
    struct mg_str at[TRIAL_PIECES_MAX];
    int64_t pause_ms[TRIAL_PIECES_MAX];
    int n, next;
    int64_t due_us;                  /* when the next one comes, once it has been asked for; 0: at once, or not asked for */
};

/* A whole config under test: a userdata of the spec. */
struct mg_sim_gateway {
    struct mg_trial *trial;
    struct mg_snapshot *snapshot;
    struct mg_entering entering;
    bool has_begun;
};

struct mg_sim {
    struct mg_trial *trial;
    struct mg_sim *outer;            /* the upstream of a spec may run an exchange of its own */
    struct mg_sim_gateway *gateway;  /* of a whole config; NULL: a chain alone */
    struct lua_State *L;
    int spec;                        /* index of the spec's table on L's stack */
    struct mg_snapshot snapshot;     /* of a chain alone; its arena has what is made for the spec, too */
    struct mg_route route;
    struct mg_upstream_spec upstream;
    struct mg_client client;         /* no connection: its port, and who the peer is */
    struct mg_port port;
    struct mg_exchange *x;
    bool has_begun;                  /* the chain's instances are on the worker */
    bool woken;
    bool upstream_called;
    bool left;                       /* the client has gone */
    const char *late;                /* the failure's token of a timeout that has passed */
    const char *cut;                 /* the upstream fails once its pieces are out: the failure's token */
    bool is_cut;                     /* it has */
    bool is_over;                    /* half an answer went out: the connection is closed */
    struct mg_head out;              /* of a whole config: the request as the upstream gets it */
    int64_t leaves_at_us, late_at_us, plugin_late_at_us; /* 0: never */
    int64_t piece_at_us;             /* a sender is waited for, until then; 0: none is */
    struct mg_pieces pieces[2];      /* what the senders have to give */
    struct mg_headers *trailers[2];  /* and what follows */
    struct mg_headers *arrived[2];   /* trailers that were passed on */
    struct mg_bytes sent[2];         /* what arrived: at the upstream, at the client */
    int sent_pieces[2];
    struct mg_str trace;             /* JSON, from malloc; p NULL: it was not asked for */
};

/* ---- spec.c ---- */
/* A trial for a spec, or for a folder. 0, or < 0 with err; to be closed either way. options and sum are set before. */
int mg_trial_open(struct mg_trial *t, const char *path, struct mg_error *err);
void mg_trial_close(struct mg_trial *t);
/* A table with what moongate.test and moongate.repl call. */
void mg_trial_push_natives(struct lua_State *L, struct mg_trial *t);

/* ---- sim.c ---- */
/* Body: fills the sim's exchange from the spec table, runs it, pushes the result table. Raises Lua errors: call it
 * through lua_pcall and then mg_sim_end. */
void mg_sim_run(struct mg_sim *sim);
void mg_sim_end(struct mg_sim *sim);

/* ---- body.c: bodies on their way through the chain ---- */
/* One thing that moves the body of a side on, as its phase allows: what a disk, a decoder, whoever makes it or its sender has ready. It is done
 * when no step of it waits any more. *moved false: nothing was. MG_ERROR: it failed or was refused, or the exchange is over. MG_RESPOND. */
enum mg_verdict mg_sim_move(struct mg_sim *sim, int side, bool *moved);
/* The body of a side, as far as it has not been gathered, through the chain to the other end. Verdicts as above. */
enum mg_verdict mg_sim_stream(struct mg_sim *sim, int side);
/* Until something has happened. false: the exchange is over. Raises when nothing ever will; who: waits. */
bool mg_sim_await(struct mg_sim *sim, const char *who);
int64_t mg_sim_length(const struct mg_sim *sim, int side);

/* ---- world.c: time, and answers from outside ---- */
int mg_world_open(struct mg_trial *t);
void mg_world_close(struct mg_trial *t);
/* Let `ms` pass; what is due on the way runs. Raises when the spec's fakes do. */
void mg_trial_advance(struct mg_trial *t, int64_t ms);
/* Set the wall clock. */
void mg_trial_set_wall(struct mg_trial *t, int64_t wall_us);
enum mg_pumped { PUMP_WOKEN, PUMP_OVER /* left or late: sim says which */, PUMP_NEVER };
/* Until the exchange is woken, its client leaves, a timeout passes, or it is clear that nothing will ever happen. */
enum mg_pumped mg_sim_pump(struct mg_sim *sim);
/* The other side takes that long. false: the exchange was over before. */
bool mg_sim_elapse(struct mg_sim *sim, int64_t ms);

/* Of a chain alone, when its exchange has ended: let `ms` pass (timers go off); < 0: until its tasks have ended, if they do within a
 * minute. What is left then is cancelled. */
void mg_sim_finish_tasks(struct mg_sim *sim, int64_t ms);
/* ---- replay.c: answers that were recorded ---- */
/* native.tape(list or nil): what is asked from now on is answered from { { service =, question =, status =, answer =, after_ms =, never = }… } in that order,
 * each once; nil: no more. Returns the questions that it had no answer for, as texts, and the answers that nobody asked for. */
int mg_trial_tape(struct lua_State *L);
void mg_tape_free(struct mg_tape *tape);
/* native.spool(text): kept in a temporary file without a name. native.spooled(): the texts again, in their order, one at a call; nil after
 * the last. Raise when the disk is full. */
int mg_trial_spool(struct lua_State *L);
int mg_trial_spooled(struct lua_State *L);
void mg_spool_close(struct mg_spool *s);
/* native.recording(path): open it, in place of another. native.recording_bytes(n): up to so many; nil at its end. Raise. */
int mg_trial_recording(struct lua_State *L);
int mg_trial_recording_bytes(struct lua_State *L);
/* false: nobody recorded that (it is noted). */
bool mg_tape_answer(struct mg_tape *tape, const char *service, struct mg_str question, int64_t *status, struct mg_str *answer, int64_t *after_ms);
/* *after_ms of an answer that never came then: nor does it now. */
enum { TAPE_NEVER = -1 };

/* ---- table.c: the spec's table, and results ---- */
/* The spec's text or number under a name, texts copied to the arena; p NULL / the default when absent. Raises for a wrong type. */
struct mg_str mg_sim_text(struct mg_sim *sim, const char *name);
double mg_sim_number(struct mg_sim *sim, const char *name, double preset);
/* A list of texts (and pauses: numbers, in ms) at the top of the stack, popped, as the pieces of a side. */
void mg_sim_take_pieces(struct mg_sim *sim, int side);
/* A list of { name, value } at the top of the stack, popped. */
void mg_sim_take_fields(struct mg_sim *sim, struct mg_headers *headers);
/* The same as trailers; NULL where the value is nil. */
struct mg_headers *mg_sim_take_trailers(struct mg_sim *sim);
void mg_sim_push_str(struct lua_State *L, struct mg_str s);
void mg_sim_push_fields(struct lua_State *L, const struct mg_headers *h);
/* The result of the whole, as a table. */
void mg_sim_push_result(struct mg_sim *sim);

/* ---- config.c ---- */
/* The route's chain and the snapshot's consumers, from the spec's `plugins` and `consumers`. Raises. */
void mg_sim_config(struct mg_sim *sim);
void mg_sim_config_end(struct mg_sim *sim);

/* ---- gateway.c ---- */
/* native.gateway(path, env): a userdata. Raises the config's mistakes. */
int mg_trial_gateway(struct lua_State *L);
/* native.gateway_close(gateway) */
int mg_trial_gateway_close(struct lua_State *L);
/* native.listeners(gateway): names and addresses by which a request may come in. */
int mg_trial_listeners(struct lua_State *L);
/* The gateway at a stack place, or NULL. */
struct mg_sim_gateway *mg_trial_gateway_at(struct lua_State *L, int index);
/* The listener that a request comes in by, from the spec's `listener` (name or address) and scheme: its settings. Raises. */
void mg_sim_gateway_port(struct mg_sim *sim);

#endif
