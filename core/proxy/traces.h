/* traces.h - whose exchange gets a trace (plugin/trace.h), and where the last ones are kept.
 *
 * An exchange is traced when its request carries the debug header with one of the secrets of the config's `debug`, from one
 * of its networks; or when somebody follows (`moongate trace --follow`) and the dice say so. The traces that were asked for by a
 * header, and those that a follower wants, are kept in one ring of the process, for the admin listener; the oldest go first.
 *
 * The price for everybody else: one look at the snapshot's `debug` and at one atomic number when a request begins, one at x->trace in the
 * few places that would add to it. */
#ifndef MG_PROXY_TRACES_H
#define MG_PROXY_TRACES_H

#include <stdatomic.h>

#include "plugin/trace.h"
#include "proxy/snapshot.h"

enum { MG_TRACES_MAX = 1000, MG_TRACES_BYTES = 32 << 20, MG_TRACE_FIELD_BYTES = 8192, MG_FOLLOWERS_MAX = 8 };

/* The config's `debug`. In the snapshot; NULL without one. */
struct mg_debug_conf {
    struct mg_str header;           /* in lower case */
    const struct mg_str *secrets;
    size_t secrets_n;
    const struct mg_cidr *networks; /* none: any client */
    size_t networks_n;
    const struct mg_str *masked;
    size_t masked_n;
    int keep;
};

/* Who follows sets it: the share of exchanges to trace, of UINT32_MAX. 0 nearly always. */
extern atomic_uint mg_traces_share;

static inline bool mg_traces_may_want(const struct mg_exchange *x)
{
    return x->snapshot->debug || atomic_load_explicit(&mg_traces_share, memory_order_relaxed);
}
/* A request has begun (its head is whole, the client's address known): take the debug header out of it and begin its trace, if it is to have one. */
void mg_traces_begin(struct mg_exchange *x);
/* Before the response's head goes out, x->trace set: when the client asked, x-moongate-trace (the id) and x-moongate-trace-chain (the
 * chain so far, JSON of at most MG_TRACE_FIELD_BYTES). */
void mg_traces_answer(struct mg_exchange *x);
/* After on_log, x->trace set: it is kept, or not. */
void mg_traces_end(struct mg_exchange *x);

/* ---- the ring; any thread ---- */

/* What a follower wants to see. */
struct mg_trace_filter {
    char route[128];                /* "": any */
    int status_from, status_to;     /* 0, 0: any */
    double share;                   /* of all exchanges: 0 to 1 */
};
/* "404", "5xx" or "400-499". False: it is none of these. */
bool mg_trace_filter_status(struct mg_trace_filter *f, struct mg_str text);
bool mg_trace_filter_fits(const struct mg_trace_filter *f, const struct mg_trace *t);
/* A follower says that it is still there; it counts for ten seconds. token: its own, any word. False: there are too many. */
bool mg_traces_follow(struct mg_str token, const struct mg_trace_filter *f);

/* The newest with that id, or NULL. The caller's reference. */
struct mg_trace *mg_traces_find(struct mg_str id);
/* Those with a serial above `after`, oldest first: at most `room` references. Returns how many; *last gets the newest serial there is. */
size_t mg_traces_since(uint64_t after, struct mg_trace **out, size_t room, uint64_t *last);
/* At the process's end. */
void mg_traces_free(void);

#endif
