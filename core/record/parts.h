/* parts.h - what the files of core/record share.
 *
 *     job.c      the filter, and documents until they are taken   (a mutex)
 *     record.c   one exchange while it runs
 *     write.c    its document
 *     mask.c, mask_body.c   secrets */
#ifndef MG_RECORD_PARTS_H
#define MG_RECORD_PARTS_H

#include "base/str.h"
#include "exchange/outside.h"
#include "plugin/trace.h"
#include "record/mask.h"
#include "record/record.h"

struct mg_record_job {
    atomic_int refs;                 /* the process's, each worker's, each exchange's */
    _Atomic bool has_ended;          /* no more exchanges */
    _Atomic int64_t left;            /* exchanges that may still begin; INT64_MAX: any number */
    struct mg_record_conf conf;      /* texts are the job's */
    uint8_t key[32];                 /* equal secrets get equal masks, in this job alone */
    uv_mutex_t lock;
    char *lines;                     /* whole documents */
    size_t lines_n, lines_room;
    uint64_t recorded, dropped;
    int64_t taken_ms;                /* when somebody last asked; under the lock */
    int under_way;                   /* exchanges being recorded; under the lock */
    bool is_abandoned;               /* nobody took them in time: nothing is kept any more; under the lock */
    char *texts;                     /* of conf */
};
void mg_record_job_unref(struct mg_record_job *job);
/* Does it begin well enough (method, host, path)? The sample is drawn here. */
bool mg_record_job_wants(struct mg_record_job *job, const struct mg_exchange *x);
/* …and did it end so (route, status)? */
bool mg_record_job_keeps(const struct mg_record_job *job, const struct mg_exchange *x);
/* A document, or none (NULL): the exchange is over. */
void mg_record_job_add(struct mg_record_job *job, const char *line, size_t n);

/* Bytes that grow up to a limit; `total` counts on. */
struct mg_kept_bytes { char *p; size_t n, room; uint64_t total; };
struct mg_kept_field { struct mg_str name, value; };
struct mg_kept_head {
    bool is_there;
    int64_t at_us;                   /* since the exchange began */
    int status, version;
    struct mg_str method, target, upstream, address;
    struct mg_kept_field *fields;
    size_t fields_n;
};
struct mg_kept_piece { int64_t at_us; size_t n; };
struct mg_kept_side {
    struct mg_kept_bytes body;
    struct mg_kept_piece *pieces;    /* at most PIECES_MAX: those beyond are added to the last */
    size_t pieces_n;
    struct mg_kept_field *trailers;
    size_t trailers_n;
    bool got_end;
};
struct mg_asked {
    struct mg_asked *next;
    const char *service;             /* static */
    int op;                          /* 0: answered at once */
    int entry, phase;
    bool is_told;
    int64_t asked_us, told_us, status;
    struct mg_str question, answer;
};
struct mg_record {
    struct mg_outside outside;       /* first */
    struct mg_record_job *job;
    struct mg_arena arena;           /* its own: nothing counts against the exchange */
    struct mg_mask mask;
    struct mg_str id;                /* the core's own, before a plugin gave another */
    struct mg_str listener;          /* its name, else its address */
    struct mg_kept_head request, sent, received, answer;
    struct mg_kept_side from_client, from_upstream;
    struct mg_kept_bytes to_client;
    struct mg_asked *asked, **asked_last;
    int asked_n;
    bool is_cut;                     /* something did not fit */
    bool is_streaming;               /* the upstream's answer has a body, as its head says */
};

/* ---- write.c ---- */
/* The document as a line from malloc, without newline; NULL when out of memory. */
char *mg_record_write(struct mg_exchange *x, struct mg_record *r, const struct mg_trace *trace);

#endif
