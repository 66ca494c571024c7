/* exchange.h - the data of one request and its response.
 *
 * Data only: core/proxy moves it along, core/plugin runs chains over it, core/pdk lets plugins see and change it. All
 * memory that it needs comes from its arena and goes when it ends. The drawing of its life is in proxy/run.c. */
#ifndef MG_EXCHANGE_EXCHANGE_H
#define MG_EXCHANGE_EXCHANGE_H

#include "exchange/route.h"
#include "exchange/worker.h"
#include "http/leg.h"
#include "http/uri.h"

struct mg_snapshot;     /* proxy/snapshot.h */
struct mg_chain;        /* plugin/chain.h */
struct mg_consumer;     /* exchange/consumer.h */
struct mg_credential;
struct mg_client;       /* proxy/client.h */
struct mg_script;       /* script/script.h */
struct mg_outside;      /* exchange/outside.h */
struct mg_trace;        /* plugin/trace.h */
struct mg_observed;     /* plugin/watch.h */
struct mg_redis_reply;  /* service/redis.h */
struct mg_calls;        /* service/http.h */
struct mg_op_kind;
struct mg_body_more;    /* plugin/body.h */
struct mg_brought;      /* service/brought.h */
struct mg_store;        /* service/store.h */
struct mg_task;         /* plugin/task.h */
struct mg_feed;         /* plugin/feed.h */
struct mg_record;       /* record/parts.h */

/* One asynchronous operation that a plugin started. Once it was delivered to its entry, or dropped, its memory may become another one's. */
struct mg_op {
    struct mg_list node;            /* in x->ops */
    struct mg_exchange *x;
    int id;
    uint8_t entry;                  /* who gets on_wake */
    uint8_t phase;                  /* in which it was started: head phases and the two bodies wait apart */
    bool has_ended;                 /* its status waits in the queue */
    int status;
    void (*cancel)(struct mg_op *op); /* stop what is under way; the op is in the arena */
    struct mg_timer timer;          /* of a sleep */
    const struct mg_op_kind *kind;  /* exchange/outside.h; NULL: nobody outside is asked */
    bool is_simulated;              /* its answer comes from x->outside */
    bool is_resumed;                /* mg_resume ends it: whoever does the work has nothing that refers to the op itself */
    void *arg;
};

/* Beside enum mg_over: an entry that only observes would have refused. It gets a part of its own in plugin/step.c. */
enum { MG_OVER_OBSERVED = 2 };

/* One direction's body as the exchange handles it. `at` walks the chain's body steps. */
/* Gathering at entry k: pieces run through the steps of the entries before k (for responses: above k), then collect in
 * `whole` (chain.h, mg_chain_run_body). DONE, OVER (skip: the part in `whole` and all that follows pass on) and replaced bodies
 * go on from k by mg_chain_run_whole. REFUSED: over the limit, to be answered 413 or 502. */
enum mg_gather { MG_GATHER_NO = 0, MG_GATHER_ASKED, MG_GATHER_DONE, MG_GATHER_OVER, MG_GATHER_REFUSED };
/* Why a body was refused: it is too large, it is not what its content-encoding says, or it could not be kept in a file. */
enum mg_refused { MG_REFUSED_SIZE = 0, MG_REFUSED_CODING, MG_REFUSED_FILE };
struct mg_body {
    uint8_t gather;                 /* enum mg_gather */
    uint8_t over;                   /* enum mg_over */
    uint8_t refused;                /* enum mg_refused */
    bool replaced;                  /* mg_body_set: what still arrives is dropped */
    bool resized;                   /* pieces may change in length */
    bool got_end;                   /* the sender has finished */
    bool ended;                     /* all was handed to the other leg */
    bool waiting;                   /* a body step waits: piece is kept here */
    bool last;                      /* of the piece in hand */
    bool held;                      /* the piece went into `whole`, or was dropped for it: nothing to send now */
    bool in_whole;                  /* the piece in hand is `whole` on its way from gather_entry */
    bool whole_out;                 /* `whole` has gone on */
    bool whole_last;                /* nothing follows what is in `whole` */
    bool regather;                  /* asked for again, by an entry further on: `whole` is to pass the steps between */
    bool has_defer;                 /* the arena frees whole and scratch */
    uint8_t whole_at;               /* body steps before this place have run over `whole` (entry; responses: 63 - entry) */
    uint8_t drop_at;                /* of a replaced body: what still arrives of the old one passes the steps before this place */
    uint8_t gather_entry;           /* who asked last: steps before it have been run over what is gathered */
    int64_t limit;
    struct mg_str piece;            /* the piece in hand */
    struct mg_str whole;            /* gathered, contiguous; heap, freed by a defer of the arena */
    size_t room;
    char *scratch[2];               /* heap: what steps made of the piece in hand; kept over pieces */
    size_t scratch_room[2];
    struct mg_str before;           /* the piece as the step that runs found it */
    int gather_op;                  /* the op to wake */
    struct mg_headers *trailers;
    int64_t seen_bytes;             /* from the sender, against limits.body */
    uint16_t step;                  /* where the chain is with the piece in hand */
    uint16_t sets;                  /* how often mg_body_set was called */
    bool observed_gather;           /* only observed entries (mode = "observe") asked for it: it goes on framed as it came */
    bool in_feed;                   /* the piece in hand is the feed's */
    bool in_decoded;                /* it comes from the decoder (plugin/recode.h) */
    struct mg_feed *feed;           /* where the body comes from, when not from its sender; NULL */
    struct mg_body_more *more;      /* of a body that is more than pieces passing by (plugin/body.h); else NULL */
};

struct mg_ctx_entry { struct mg_str name; struct mg_datum value; };

enum mg_state {
    MG_ST_HEAD = 0, MG_ST_REWRITE, MG_ST_ROUTE, MG_ST_REQUEST, MG_ST_CONNECT, MG_ST_SEND, MG_ST_RECEIVE, MG_ST_RESPOND, MG_ST_STREAM,
    MG_ST_LOG, MG_ST_END
};

struct mg_exchange {
    struct mg_arena arena;
    struct mg_worker *worker;
    uint64_t handle;                /* struct mg_x *: worker, slot, generation */
    struct mg_exchange *next_spare;
    uint32_t slot;                  /* kept over reuse; a new life has a new generation */
    struct mg_snapshot *snapshot;   /* pinned */
    const struct mg_route *route;   /* NULL before routing, and when none fits */
    struct mg_timeouts timeouts;    /* those that hold: the listener's, then the route's own */
    struct mg_limits limits;
    const struct mg_chain *chain;   /* the global one before routing, then the route's (which begins with the global) */

    /* the two sides */
    struct mg_client *client;       /* NULL once it has left */
    struct mg_leg *down;            /* client leg; NULL once released */
    struct mg_leg *up;              /* upstream leg; NULL when there is none */
    struct mg_upconn *upconn;
    struct mg_upconn_wait wait;
    const struct mg_upstream_spec *upstream;

    /* the request */
    struct mg_head *req;            /* method_text, headers… as they will go upstream */
    struct mg_str target;           /* as received */
    struct mg_str path, query;      /* normalised; raw */
    bool has_query;
    struct mg_str host;             /* lower case, without port */
    int port;
    bool is_https;                  /* as the client reached us; trusted proxies count */
    uint8_t client_addr[16];        /* what trusted proxies say, else the peer's */
    uint8_t peer_addr[16];          /* of the connection's other end; all zero on a Unix socket */
    uint16_t peer_port;
    struct mg_str client_ip, peer_ip; /* text; filled when first asked for (pdk) or for forwarding */
    struct mg_str tls_version, tls_cipher, sni; /* filled by mg_client_keep before `down` is let go of, and when asked for */
    bool tls_kept;
    bool peer_is_trusted;           /* the connection comes from one of trusted_proxies */
    struct mg_found found;          /* params */

    /* the response */
    struct mg_head *res;            /* NULL before there is one */
    uint8_t source;                 /* enum mg_source */
    const char *failure;            /* token; NULL: none */
    struct mg_str answer;           /* body of a recorded answer */
    struct mg_feed *answer_feed;    /* the body of answer_head, when a plugin makes it bit by bit */
    struct mg_head *answer_head;    /* recorded by mg_respond; becomes res when the plugin returns MG_RESPOND */

    struct mg_body body[2];         /* by enum mg_side */

    /* the chain */
    uint8_t state;                  /* enum mg_state */
    uint8_t phase;                  /* enum mg_phase, while a step runs or waits */
    uint8_t entry;                  /* of the step that runs or waits */
    bool in_step;                   /* a plugin's function is on the stack */
    bool is_waiting;                /* a step returned MG_WAIT */
    bool in_run;                    /* mg_run is on the stack */
    uint16_t step;                  /* next step of the phase */
    uint64_t seen;                  /* entries whose `when` was asked: bit set */
    uint64_t skipped;               /* of those, `when` said no */
    size_t observed_bytes;          /* of the arena's budget: added for what entries that only observe took */
    uint64_t began;                 /* entries that saw the request (on_response runs for these) */
    bool told_why;                  /* whoever ran the step has logged why it fails */
    struct mg_list ops;
    int ops_next;
    struct mg_op *spare_op;         /* ops whose memory may be used again, by `arg` */
    struct mg_list woken_node;      /* in the worker's queue of exchanges with ended ops */
    struct mg_task *task;           /* this is a task: no client, no request, no response; NULL: an exchange */
    void (*woken)(struct mg_exchange *x); /* takes the place of mg_exchange_woken; NULL: it does not */
    bool is_uncounted;              /* not in the worker's exchanges_open */
    void **locals;                  /* mg_x_local, by entry; NULL before the first */
    uint8_t locals_n;
    struct mg_undo *undo;           /* heads as they were before the entry that runs (on_error = "continue", mode = "observe"); NULL */
    struct mg_observed *observed;   /* what observed entries keep for themselves; NULL */
    struct mg_record *record;       /* it is being recorded; nearly always NULL (record/record.h) */
    struct mg_trace *trace;         /* somebody wants to see the chain as it runs; nearly always NULL */
    uint64_t over;                  /* observed entries that would have ended the request: only their on_log still runs */
    bool is_late;                   /* the plugin timeout has come: who waits is passed over (plugin/step.c) */
    struct mg_outside *outside;     /* listens to what is asked of the world; nearly always NULL (exchange/outside.h) */
    struct mg_redis_reply *redis;   /* replies that its operations got (service/redis.h) */
    bool has_redis;                 /* the arena frees them */
    struct mg_calls *calls;         /* its own HTTP requests; NULL before the first (service/http.h) */
    struct mg_brought *brought;     /* results of ended operations (service/brought.h) */
    bool brought_defer;
    void *script;                   /* the Lua host's part of this exchange */
    struct mg_script *script_host;  /* the snapshot's Lua (core/script); NULL when it has none */
    struct mg_timer plugin_timer;   /* plugin wait */

    /* who and what */
    struct mg_str id;               /* made when first asked for */
    char id_bytes[33];
    const struct mg_consumer *consumer;
    const struct mg_credential *credential;
    struct mg_ctx_entry *ctx;
    uint16_t ctx_n, ctx_room;

    /* times (monotonic µs; 0: not yet) and sizes */
    int64_t started_us, started_wall_us, upstream_us, connected_us, sent_us, first_byte_us, upstream_end_us, ended_us;
    uint64_t up_bytes_in, up_bytes_out, down_bytes_in, down_bytes_out, body_in, body_out;
    uint16_t tries;
    struct mg_str target_text;      /* "10.0.0.1:8080" of the last try */

    struct mg_timer total_timer;    /* whole exchange */
    struct mg_timer io_timer;       /* the one wait of the state: first byte, idle… */
    int64_t up_active_ms;           /* loop time at which the upstream last moved */
    bool up_full, down_full;        /* that leg's output is over its mark: its sender is paused */
    bool continued;                 /* 100 Continue was sent */
    bool answer_fed;                /* a recorded answer's body has entered the chain */
    bool awaits_head;               /* io_timer is the first byte's */
    uint16_t depth;                 /* calls into the proxy on the stack (proxy/run.h) */
    bool response_started, responding /* on_response has begun */, was_retried, close_after, awaits_upstream;
};

/* What the rooms below core/proxy ask of a snapshot. Defined in proxy/snapshot.c. */
struct mg_consumers;
struct mg_task_terms {
    int64_t max, timers;            /* of one worker */
    int64_t memory;                 /* bytes of a task's arena */
    int64_t on_worker_ms;           /* how long on_worker handlers may hold a worker back */
    int64_t drain_ms;               /* how long one may go on when its snapshot is no longer in force */
    int slot;                       /* of mg_worker.pins; -1: none */
    struct mg_script *script;       /* the snapshot's Lua; NULL: none */
};
struct mg_snapshot_view {
    const struct mg_consumers *(*consumers)(const struct mg_snapshot *s);
    const struct mg_upstream_spec *(*upstream)(const struct mg_snapshot *s, struct mg_str name);
    /* The shape of the gateway's own answers; NULL: RFC 9457. */
    const struct mg_template *(*error_body)(const struct mg_snapshot *s, struct mg_str *type);
    /* NULL: the config names none. */
    struct mg_store *(*store)(const struct mg_snapshot *s);
    /* Where temporary files go; empty: the environment says. */
    struct mg_str (*tmp)(const struct mg_snapshot *s);
    /* What holds for tasks (plugin/task.h); `out` has the defaults. */
    void (*tasks)(const struct mg_snapshot *s, struct mg_task_terms *out);
};
extern const struct mg_snapshot_view mg_snapshot_view;

/* ---- handles ---- */
/* Take an exchange from the worker's spares, with a fresh handle and an arena of `budget` bytes. NULL when out of memory. */
struct mg_exchange *mg_exchange_new(struct mg_worker *w, size_t budget);
/* The handle dies, the arena's defers run, memory goes back. Ops must have been cancelled. */
void mg_exchange_free(struct mg_exchange *x);
/* worker (6 bits), slot (20), generation (26): fits a Lua number. */
struct mg_exchange *mg_handle_slow(uint64_t handle);
/* Whose handle it is: a worker's index; -1 when it is none. Any thread. */
int mg_handle_worker(uint64_t handle);
/* Free spare structs and slots, at the worker's end. */
void mg_exchange_spares_free(struct mg_worker *w);
/* The exchange behind a handle; NULL when it has ended or belongs to another thread. */
static inline struct mg_exchange *mg_handle(const struct mg_x *h)
{
    struct mg_worker *w = mg_this_worker;
    uint64_t v = (uint64_t)(uintptr_t)h;

    if (w && w->running && w->running->handle == v)
        return w->running;
    return mg_handle_slow(v);
}
static inline struct mg_x *mg_handle_of(const struct mg_exchange *x) { return (struct mg_x *)(uintptr_t)x->handle; }

/* ---- operations ---- */
/* A new op for the entry that runs now; NULL over budget. */
struct mg_op *mg_op_start(struct mg_exchange *x, void (*cancel)(struct mg_op *));
struct mg_op *mg_op_find(struct mg_exchange *x, int id);
/* Give one up: stopped, forgotten. */
void mg_op_drop(struct mg_op *op);
/* It has ended and is being delivered: out of x->ops. Note id and status before. */
void mg_op_done(struct mg_op *op);
/* Deliver exchanges with ended ops now; run by the worker in each turn. */
void mg_ops_deliver(struct mg_worker *w);
/* It has ended: queued, and on_wake is called in this turn or the next, never inside this call. Worker thread. */
void mg_op_end(struct mg_op *op, int status);
void mg_op_cancel_all(struct mg_exchange *x);
/* Have it woken in this turn or the next, as if an op had ended. */
void mg_exchange_queue(struct mg_exchange *x);
/* Set by core/proxy: run the exchanges that have ended ops. Called when the queue is not empty, from the loop's turn. */
extern void (*mg_exchange_woken)(struct mg_exchange *x);

#endif
