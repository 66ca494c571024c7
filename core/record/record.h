/* record.h - exchanges written down with all that went into them, so that they can be run again elsewhere.
 *
 * A job says which exchanges (a filter, a sample rate, sizes, names whose values are secret) and gathers their documents
 * until somebody takes them. There is at most one in a process. The control thread starts and ends it; each worker learns of it by
 * message and asks it for every new exchange; what a recorded exchange gets beside its trace is a `struct mg_record`:
 * bytes of both sides, their times, and every question to the world with its answer (exchange/outside.h).
 *
 *     admin                              worker                           replay
 *     mg_record_start -> job   ------>   mg_record_begin … mg_record_end   mg_recording_read
 *     mg_record_take  <- documents, one line of JSON each (docs/record.md has the format)
 *
 * A worker that does not record pays one look at a pointer for each exchange. */
#ifndef MG_RECORD_RECORD_H
#define MG_RECORD_RECORD_H

#include "exchange/exchange.h"

enum {
    MG_RECORD_BODY = 64 << 10,       /* default of body_max */
    MG_RECORD_ASKED = 1000,          /* questions of one exchange that are kept */
    MG_RECORD_HELD = 32 << 20,       /* documents that nobody has taken yet; beyond it they are dropped and counted */
    MG_RECORD_IDLE_MS = 15000        /* a job whose documents nobody takes ends */
};

/* Which exchanges. Texts are copied by mg_record_start; an empty one matches all. */
struct mg_record_conf {
    struct mg_str route, host, method, path; /* path: a prefix */
    int status_from, status_to;      /* of the answer; 0, 0: any */
    double sample;                   /* in (0, 1] */
    int64_t body_max;                /* bytes kept of each body; what is beyond is left out, and that is said */
    int64_t count;                   /* exchanges; 0: no limit */
    const struct mg_str *secret;     /* names of fields, arguments and JSON members, beside the usual ones */
    size_t secret_n;
    bool keep_secrets;               /* mask nothing */
};

struct mg_record_job;

/* ---- the control thread ---- */
/* Begin. NULL with err: MG_EBUSY (there is one), MG_EINVAL, MG_ENOMEM. `workers`: told by mg_worker_post. */
struct mg_record_job *mg_record_start(const struct mg_record_conf *conf, struct mg_worker *const *workers, int workers_n, struct mg_error *err);
/* No more exchanges; those under way are written still. Harmless when there is none. */
void mg_record_stop(void);
/* What is finished: whole lines, at most about 1 MB, to be freed; n 0: nothing. *more: ask again, it goes on or more is there.
 * false: there is no job (any more). */
bool mg_record_take(struct mg_str *out, bool *more, uint64_t *recorded, uint64_t *dropped);
/* Workers that came with a reload learn of the job, too. */
void mg_record_tell(struct mg_worker *w);

/* ---- workers ---- */
/* A fresh exchange whose request head has come, before anything has run, when w->record is set: is it one to record? Sets x->record, x->outside
 * and x->trace then. listener: its name, else its address. All below: only when x->record is set. */
void mg_record_begin(struct mg_exchange *x, struct mg_str listener);
/* A piece from the client, or from the upstream, as it arrived. */
void mg_record_piece(struct mg_exchange *x, int side, struct mg_str bytes, bool last);
/* The head as it goes to the upstream, and as it came from there; the second one of a retry takes the first one's place. */
void mg_record_sent(struct mg_exchange *x, const struct mg_head *head);
void mg_record_received(struct mg_exchange *x, const struct mg_head *head);
/* What the client gets. */
void mg_record_answer(struct mg_exchange *x, const struct mg_head *head);
void mg_record_answer_piece(struct mg_exchange *x, struct mg_str bytes);
/* After on_log and mg_trace_end, whose trace it is: write, and let go. */
struct mg_trace;
void mg_record_end(struct mg_exchange *x, const struct mg_trace *trace);
/* The worker ends. */
void mg_record_leave(struct mg_worker *w);

#endif
