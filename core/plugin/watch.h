/* watch.h - a step that is looked at: entries that only observe, entries that may fail, exchanges that are traced.
 *
 * plugin/step.c calls the two around a plugin's function when mg_watched says so, inside the step's frame.
 *
 * mode = "observe": the entry runs for real, waits included, on the exchange as it is without any observed entry. When it has
 * decided, the difference is told (log, metric, trace) and put back. While it waits its changes are put aside. Its ctx values
 * are its own: it finds them again in its later phases, and nobody else sees them. An entry that would have ended the request (an answer, or an
 * error with on_error = "fail") is over: of its later phases only on_log runs, as the request that they would have seen does not exist. */
#ifndef MG_PLUGIN_WATCH_H
#define MG_PLUGIN_WATCH_H

#include "plugin/step.h"
#include "plugin/trace.h"

struct mg_watch {
    struct mg_trace_step *step;     /* NULL: not traced, or the trace is full */
    const struct mg_kept *was;      /* NULL: in phases of bodies, and in on_log */
    struct mg_kept kept;
    struct mg_ctx_entry *ctx;       /* of a traced entry: ctx as it was */
    int ctx_n;
    int64_t began_us;
};

static inline bool mg_watched(const struct mg_exchange *x, const struct mg_chain_entry *e)
{
    return e->observe || e->continue_on_error || x->trace;
}
/* Do errors of this entry leave the request alone? */
static inline bool mg_is_lenient(const struct mg_chain_entry *e)
{
    return e->observe || e->continue_on_error;
}
/* Before the call. woken: it is on_wake's. 0, or MG_ENOMEM: what it may change cannot be kept; it must not run. */
int mg_watch_begin(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, bool woken, struct mg_watch *w);
/* After it, with a sound verdict. Returns what counts: an observed entry's is MG_WAIT or MG_CONTINUE. */
enum mg_verdict mg_watch_end(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, enum mg_verdict v, struct mg_watch *w);
/* In place of its on_wake: an observed entry gathered a body that is over its limit, where it would have refused it (413 or 502). */
enum mg_verdict mg_watch_refused(struct mg_exchange *x, const struct mg_chain_entry *e, int phase);
/* It waited too long, and is passed over (v: MG_ERROR, or MG_CONTINUE when undone). */
enum mg_verdict mg_watch_late(struct mg_exchange *x, const struct mg_chain_entry *e, int phase, enum mg_verdict v);
/* Declare the counter, so that a scrape shows it before anything is counted. Any thread. */
void mg_watch_metrics(void);

#endif
