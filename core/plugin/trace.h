/* trace.h - a chain as it ran: each call of an entry, what came of it and what it changed.
 *
 * x->trace is NULL for nearly every exchange, and then nothing here is called: the price is one branch in a step. When somebody
 * wants to see (an authorised debug header, `moongate trace --follow`, a recording) whoever wants it gives the exchange a trace,
 * and plugin/step.c fills it:
 *
 *     t = mg_trace_begin(x, masked, masked_n);        // as early as may be: before on_rewrite
 *     … the exchange runs …
 *     mg_trace_end(x);                                // after on_log; x->trace is NULL from here, the trace lives on
 *     mg_trace_json(t, 0, &text);
 *     mg_trace_unref(t);
 *
 * A trace has memory of its own, so that it neither counts against the exchange's budget nor ends with it. It is bounded
 * (MG_TRACE_BYTES, values cut to MG_TRACE_VALUE): when full, `is_cut` is set and what follows is left out. Filled by the exchange's worker;
 * once ended it never changes and is shared by count, on any thread.
 *
 * Values of fields and query arguments whose names are secret are masked when they are noted: what is in a trace may be shown. */
#ifndef MG_PLUGIN_TRACE_H
#define MG_PLUGIN_TRACE_H

#include <stdatomic.h>

#include "plugin/chain.h"
#include "plugin/kept.h"

#include <stdio.h>

enum { MG_TRACE_BYTES = 512 * 1024, MG_TRACE_VALUE = 1024 };

/* What a step changed, or, of an observed entry, would have changed. Texts belong to the trace. */
struct mg_trace_change {
    struct mg_trace_change *next;
    struct mg_change change;
};

/* All calls of one entry in one phase: its function and each on_wake, or each piece of a body. */
struct mg_trace_step {
    struct mg_trace_step *next;
    struct mg_str entry, plugin, route; /* the entry's id; route empty: of the global chain */
    int index;                      /* the entry's, in the chain */
    uint8_t phase;                  /* enum mg_phase */
    uint8_t verdict;                /* enum mg_verdict of the last call, as the plugin meant it; see is_skipped */
    bool is_skipped;                /* its `when` said no: it did not run */
    bool is_observed;               /* mode = "observe": nothing of it was applied */
    bool is_waiting;
    bool has_failed;                /* verdict MG_ERROR; `error` says why, if it is known */
    uint32_t calls, pieces_changed;
    int64_t at_us;                  /* of the first call, since the exchange began */
    int64_t ran_us, waited_us;      /* in calls (monotonic time of the thread's clock), between them */
    int64_t since_us;               /* is_waiting: since when (monotonic) */
    uint64_t bytes_in, bytes_out;   /* phases of bodies: before the entry and after it */
    struct mg_trace_change *changes, *last;
    struct mg_str error;
};

struct mg_trace {
    atomic_int refs;
    struct mg_arena arena;
    const struct mg_str *masked;    /* names, any case; borrowed from the snapshot until mg_trace_end */
    size_t masked_n;
    bool is_cut;                    /* it was over its bounds: what follows is missing */
    bool wants_answer;              /* the client asked: its answer carries it */
    struct mg_trace_step *first, *last;
    int steps_n;
    /* The exchange, filled by mg_trace_end (`id` at the beginning). */
    char id[129];
    int worker, status, source;     /* source: enum mg_source */
    int64_t began_wall_us;
    int64_t total_us, upstream_us, gateway_us; /* -1: there was none */
    struct mg_str method, host, path, query, route, upstream, target, consumer, failure;
    uint64_t body_in, body_out;
    uint64_t serial;                /* given by the ring that keeps it (proxy/traces.h); 0: kept by none */
};

/* Give x a trace. masked: secret names beside the usual ones (mg_trace_is_secret), borrowed from the snapshot. NULL when out of memory; then, and when x has one
 * already, x->trace is as it was. The caller holds no reference: x does, until mg_trace_end. */
struct mg_trace *mg_trace_begin(struct mg_exchange *x, const struct mg_str *masked, size_t masked_n);
/* The facts of the exchange are noted, and x->trace is NULL: what x held is the caller's now (mg_trace_unref). NULL when it had none. */
struct mg_trace *mg_trace_end(struct mg_exchange *x);
struct mg_trace *mg_trace_ref(struct mg_trace *t);
void mg_trace_unref(struct mg_trace *t);

/* Is a field or query argument of that name secret? The usual ones (authorization, cookie, set-cookie, x-api-key…) and `masked`. */
bool mg_trace_is_secret(const struct mg_str *masked, size_t masked_n, struct mg_str name);

/* ---- filling, for plugin/ ---- */
/* The step of that entry and phase; made when it is its first call. NULL when the trace is full. */
struct mg_trace_step *mg_trace_step(struct mg_exchange *x, const struct mg_chain_entry *e, int phase);
/* Its `when` said no. */
void mg_trace_skipped(struct mg_exchange *x, const struct mg_chain_entry *e, int phase);
/* A mg_change_fn's work: note a copy, masked. */
void mg_trace_note(struct mg_trace *t, struct mg_trace_step *s, const struct mg_change *c);
/* Why the step that runs fails; the first that is said counts. Nothing without a trace. */
void mg_trace_why(struct mg_exchange *x, struct mg_str why);

/* ---- showing ---- */
enum mg_trace_form {
    MG_TRACE_JSON = 0,      /* one line, ASCII only: fit for a header field */
    MG_TRACE_SHORT = 1,     /* the same without changes' values, `limit` bytes at most: steps that do not fit are left out ("cut": true) */
    MG_TRACE_TEXT = 2       /* lines for a terminal */
};
/* The trace as text, from malloc. limit: of MG_TRACE_SHORT, at least 256. 0 or MG_ENOMEM. Any thread, once it has ended; before, the exchange's. */
int mg_trace_write(const struct mg_trace *t, int form, size_t limit, struct mg_str *out);
/* A JSON string of ASCII alone, with its quotes: how mg_trace_write writes texts. */
void mg_trace_quote(FILE *f, struct mg_str s);

#endif
