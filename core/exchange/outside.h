/* outside.h - the one seam between a chain and the world.
 *
 * What a plugin asks beyond its exchange (the time, randomness, shared counters, a store, another server) passes here as
 * a question and an answer, both bytes. Nothing listens in a gateway at work: the cost is one look at x->outside. Specs
 * give answers of their own (core/trial), a recording notes the real ones, a replay gives them again.
 *
 * A service that answers at once:
 *
 *     if (mg_outside_answers(x, "shared.get", question, &status, &answer)) return …;    // simulated
 *     … the real thing …
 *     mg_outside_told(x, "shared.get", status, answer);
 *
 * One that is waited for gives its operation a kind, and need not tell: mg_op_end does.
 *
 *     op = mg_op_start(x, cancel);
 *     if (x->outside && mg_outside_takes(op, &http_kind, question)) return op->id;      // simulated
 *     … begin the real thing, which calls mg_op_end(op, status) … */
#ifndef MG_EXCHANGE_OUTSIDE_H
#define MG_EXCHANGE_OUTSIDE_H

#include "exchange/exchange.h"

/* What is waited for, of one sort. Static. */
struct mg_op_kind {
    const char *service;             /* "http", "redis", "dns", "store.get"… */
    /* The answer of an op that ends with op->status, as the bytes that `load` reads; they live until the op goes. NULL: the
     * status says all. 0 or < 0: none can be given. */
    int (*save)(struct mg_op *op, struct mg_str *answer);
    /* Take an answer in place of the real one. The status to end with. */
    int (*load)(struct mg_op *op, int status, struct mg_str answer);
};

/* Who listens: for one exchange (a recording) or for all of a worker (a simulated world). On the worker's thread. */
struct mg_outside {
    /* Something is asked; op NULL: it is answered at once. true: the answer is taken from here, by *status and *answer (which live
     * until the exchange ends), or for an op by mg_outside_end later, never inside this call. It may not enter Lua. */
    bool (*ask)(struct mg_outside *o, struct mg_exchange *x, struct mg_op *op, const char *service, struct mg_str question,
                int64_t *status, struct mg_str *answer);
    /* The real thing has answered. op: its number; 0: at once. */
    void (*told)(struct mg_outside *o, struct mg_exchange *x, int op, const char *service, int64_t status, struct mg_str answer);
};

/* The exchange that runs on this thread, when somebody listens to it; else NULL. For calls that are given no exchange. */
static inline struct mg_exchange *mg_outside_here(void)
{
    struct mg_worker *w = mg_this_worker;

    return w && w->running && w->running->outside ? w->running : NULL;
}
/* Is the answer simulated? x may be NULL (nobody listens). */
static inline bool mg_outside_answers(struct mg_exchange *x, const char *service, struct mg_str question, int64_t *status,
                                      struct mg_str *answer)
{
    return x && x->outside && x->outside->ask(x->outside, x, NULL, service, question, status, answer);
}
static inline void mg_outside_told(struct mg_exchange *x, const char *service, int64_t status, struct mg_str answer)
{
    if (x && x->outside)
        x->outside->told(x->outside, x, 0, service, status, answer);
}
/* The same of an op, which gets its kind here. true: begin nothing, mg_outside_end follows. */
bool mg_outside_takes(struct mg_op *op, const struct mg_op_kind *kind, struct mg_str question);
/* By a listener whose `ask` returned true: the op ends with this answer. */
void mg_outside_end(struct mg_op *op, int status, struct mg_str answer);

#endif
