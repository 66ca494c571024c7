/* chain.h - the ordered policies of a route, and how they run.
 *
 * A chain is compiled when the snapshot is built: for each phase an array of steps {function, entry}, so a phase that
 * a plugin does not implement costs nothing. Request phases go up the entries, response phases come
 * back down. A route's chain begins with the global entries, so an exchange may change from the global
 * chain to the route's in between: the numbers of the entries stay.
 *
 * `mg_chain_run` goes on from x->step and returns
 *   MG_CONTINUE  the phase is over
 *   MG_RESPOND   an entry recorded an answer
 *   MG_WAIT      an operation is under way; the proxy is called (mg_exchange_woken) when one has ended, then calls mg_chain_wake
 *   MG_ERROR     an entry failed and its on_error is "fail" (already logged) */
#ifndef MG_PLUGIN_CHAIN_H
#define MG_PLUGIN_CHAIN_H

#include "exchange/exchange.h"
#include "base/log.h"

enum { MG_ENTRIES_MAX = 64 };

/* One chain entry: a plugin with its validated config. Owned by the snapshot. */
struct mg_chain_entry {
    const struct mg_plugin *plugin;
    struct mg_entry info;           /* conf, id, route, folder: what create got */
    void *self;
    void *locals[MG_WORKERS_MAX];   /* of worker_create */
    struct mg_snapshot *snapshot;   /* whose it is; NULL in tests */
    int32_t when;                   /* function number; -1: always */
    bool continue_on_error;
    bool is_confined;               /* a sandboxed script */
    bool is_out;                    /* in quarantine: `plugin` is a stand-in */
    bool observe;                   /* mode = "observe": plugin/watch.h */
    int index;                      /* in the chain */
    uint32_t account;               /* row of what it costs */
    struct mg_log_scope scope;      /* plugin and route for the log */
    uint64_t digest, file_digest;   /* of the plugin's file and this entry's config; of the file alone */
    struct mg_str file; int line;   /* where the config has it */
};
/* What runs of an entry outside of the phases, where `running_phase` stands for a crash report. */
enum mg_at { MG_AT_CREATE = 100, MG_AT_WORKER_CREATE, MG_AT_WORKER_DESTROY, MG_AT_LOAD };
/* The entry that a thread without a worker calls (the builder); entry NULL: none. */
struct mg_calling { const struct mg_chain_entry *entry; int phase; };
extern _Thread_local struct mg_calling mg_calling;
struct mg_step { mg_phase_fn *fn; struct mg_chain_entry *entry; };
/* Where an entry stands on the way of its phase: up for requests, down for responses. */
static inline unsigned mg_chain_place(int side, int entry) { return side == MG_REQUEST ? (unsigned)entry : (unsigned)(MG_ENTRIES_MAX - 1 - entry); }
struct mg_chain {
    struct mg_chain_entry **entries;
    int entries_n;
    const struct mg_step *steps[MG_PHASES];
    int steps_n[MG_PHASES];
    uint64_t has_phase[MG_PHASES];  /* bit of each entry with that phase */
};

/* Compile entries (borrowed; in order) into steps. NULL when out of memory. */
struct mg_chain *mg_chain_new(struct mg_chain_entry **entries, int n, struct mg_arena *a);

/* Start a phase: x->phase, x->step. Response phases start at the highest entry that saw the request. Begin and run
 * on_request always, even when no entry has that phase: which entries saw the request is noted here. After
 * MG_RESPOND or MG_ERROR in on_response a further mg_chain_run goes on with the entries below. */
void mg_chain_begin(struct mg_exchange *x, int phase);
enum mg_verdict mg_chain_run(struct mg_exchange *x);
/* Deliver ended operations to the entry that waits, and run on. Verdicts as above; MG_WAIT while it still waits, or when
 * no entry does (a body step may: mg_chain_run_body). */
enum mg_verdict mg_chain_wake(struct mg_exchange *x);
/* A piece from the sender through the body steps. The caller sets b = &x->body[side]: b->piece, b->last, b->step = 0, and calls;
 * after MG_WAIT it calls again (b->piece and b->step untouched) when mg_exchange_woken says so, and gives no
 * other piece meanwhile.
 *   MG_CONTINUE  b->held: nothing to send (it was collected or dropped; when it was the last, the asking entry's op has
 *                ended). Else send b->piece (valid until the next call for that side), and the end when b->last
 *   MG_WAIT      b->waiting; the piece has been copied
 *   MG_RESPOND   a step recorded an answer (on_request_body)
 *   MG_ERROR     failed and logged; or b->gather == MG_GATHER_REFUSED: answer 413 (request) or 502 (response)
 * An empty piece that is not the last is dropped by the caller. */
enum mg_verdict mg_chain_run_body(struct mg_exchange *x, int side);
/* The gathered or replaced body goes on as one piece from the entry that asked, once, when the head has been sent (b->gather
 * DONE or OVER, or b->replaced; not b->whole_out). Verdicts and b->piece, b->last as above; after MG_WAIT call mg_chain_run_body. After OVER b->last is
 * false unless all had arrived, and later pieces run through every step. After a replaced body, pieces that still arrive are held (dropped). */
enum mg_verdict mg_chain_run_whole(struct mg_exchange *x, int side);
/* Must the body go on by mg_chain_run_whole? */
static inline bool mg_chain_has_whole(const struct mg_body *b)
{
    return !b->whole_out && (b->gather == MG_GATHER_OVER || (!b->feed && (b->replaced || b->gather == MG_GATHER_DONE)));
}
/* Does the entry that runs only observe? */
static inline bool mg_entry_observes(const struct mg_exchange *x)
{
    return x->in_step && x->chain && x->entry < x->chain->entries_n && x->chain->entries[x->entry]->observe;
}
static inline bool mg_chain_has(const struct mg_exchange *x, int phase) { return x->chain->steps_n[phase] != 0; }

/* Call `when` (set by core/script): 1 run, 0 skip, < 0 it raised. */
extern int (*mg_chain_when)(struct mg_exchange *x, int32_t function);
/* Facts: does the chain make sense? Each entry's needs must be provided by an earlier entry without `when`, observe
 * or on_error = "continue" (mg_plugin_needs and mg_plugin_provides say what, for each entry's conf). Calls mistake for each that is not. */
void mg_chain_check_facts(struct mg_chain_entry **entries, int n, void (*mistake)(void *arg, int entry, const char *message), void *arg);

#endif
