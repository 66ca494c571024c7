/* task.h - work outside of an exchange: what a plugin does when nobody waits for it.
 *
 * A task is a struct mg_exchange without client, request and response: it has a handle, an arena and operations, so that every
 * call that waits works the same in it, and calls about a request say MG_EPHASE. It belongs to the chain entry that started it
 * and runs on one worker:
 *
 *   mg_task_begin -> HELD (its snapshot is not in force yet) -> DUE -> fn(op 0) -> WAITS -> fn(op n) … -> END
 *                                                                         any time: mg_task_give_up -> END
 *
 * Its function never runs inside a call: the first time is in the next turn of the loop. `release` is called once, at the end.
 *
 * When the snapshot of a task goes out of force, or its worker stops, one that was begun for an exchange (or by a timer) has the
 * snapshot's `drain` to come to its end, then it is cancelled. One that was begun where there is no exchange (worker_create, on_worker) belongs to the
 * worker: it holds nothing up, and is cancelled at once. */
#ifndef MG_PLUGIN_TASK_H
#define MG_PLUGIN_TASK_H

#include "plugin/chain.h"

enum mg_task_state { MG_TASK_HELD = 0, MG_TASK_DUE, MG_TASK_WAITS, MG_TASK_ENDS /* cancelled; it goes in the next turn */ };

struct mg_task {
    struct mg_exchange *x;
    struct mg_list node;            /* in worker->tasks */
    struct mg_chain_entry *entry;
    mg_task_fn *fn;
    void *arg;
    void (*release)(void *arg);
    struct mg_timer late;           /* its own timeout */
    struct mg_timer grace;          /* what is left of `drain` */
    uint8_t state;                  /* enum mg_task_state */
    uint8_t phase;                  /* MG_ON_TASK, or MG_ON_WORKER: a script's on_worker */
    bool is_workers;                /* begun without an exchange */
};

/* What a task is begun with. */
struct mg_task_order {
    struct mg_chain_entry *entry;   /* whose work it is */
    const struct mg_exchange *from; /* the exchange or task that asks for it; NULL: a timer, or the worker itself */
    mg_task_fn *fn;
    void *arg;
    void (*release)(void *arg);     /* may be NULL */
    int64_t timeout_ms;             /* 0: none */
    bool is_workers;                /* it belongs to the worker: see above */
    bool is_held;                   /* it waits until the entry's snapshot is in force here */
    uint8_t phase;                  /* 0: MG_ON_TASK */
};

/* 0 with *out (may be NULL); MG_EBUSY: the worker has as many as it may; MG_ECANCELED: it stops; MG_ENOMEM. Then arg is still the
 * caller's. Worker thread. */
int mg_task_begin(struct mg_worker *w, const struct mg_task_order *order, struct mg_task **out);
/* Cancel: what it waits for is cancelled now, the rest goes in the next turn. Harmless inside a plugin's call, and twice. */
void mg_task_give_up(struct mg_task *t);

/* w->snapshot has come into force: its tasks begin, those of others are told to end. From the loop. */
void mg_tasks_follow(struct mg_worker *w);
/* Cancel those of one snapshot, or all (NULL): they are gone when it returns. From the loop, not inside a plugin's call. */
void mg_tasks_end(struct mg_worker *w, const struct mg_snapshot *s);

static inline bool mg_is_in_force(const struct mg_worker *w, const struct mg_snapshot *s) { return w->snapshot == s || w->is_simulated; }

/* What a snapshot grants (struct mg_snapshot_view). */
static inline struct mg_task_terms mg_task_terms_of(const struct mg_snapshot *s)
{
    struct mg_task_terms l = { .max = 1000, .timers = 1000, .memory = 1 << 20, .on_worker_ms = 10000, .drain_ms = 30000, .slot = -1 };

    if (s && mg_snapshot_view.tasks)
        mg_snapshot_view.tasks(s, &l);
    return l;
}

#endif
