/* store.h - what must survive a restart: keys and values in an SQLite file (mg_store_* of pdk.h; core/pdk/store.c is the plugins'
 * side, with the seam).
 *
 * One thread has the database. Workers put jobs into its queue; it takes all that wait (BATCH at most), does them in one
 * transaction, commits, and only then sends each back to its worker, where the operation ends if its exchange still lives. So writes
 * of one moment share one fsync, and what was answered is on the disk. When the commit fails all of the batch is told
 * MG_EIO (MG_EBUSY when another process holds the file), and the log says why. The queue is bounded by jobs and by bytes: MG_EBUSY.
 *
 * A store is counted: snapshots that name the same path share it, and the last one to go ends the thread once the queue is empty.
 * One in memory (specs) has no thread: each job is done at once. */
#ifndef MG_SERVICE_STORE_H
#define MG_SERVICE_STORE_H

#include <sys/types.h>
#include "base/error.h"
#include "base/str.h"
#include "service/brought.h"

enum {
    MG_STORE_SPACE_MAX = 128, MG_STORE_KEY_MAX = 1024, MG_STORE_VALUE_MAX = 1 << 20, MG_STORE_ROWS_MAX = 1000,
    MG_STORE_PAGE_BYTES = 4 << 20, MG_STORE_QUEUE_MAX = 1024, MG_STORE_QUEUE_BYTES = 16 << 20
};

struct mg_store;

/* Would it open? Looks, and makes nothing. 0, or MG_ECONF with err. */
int mg_store_check(const char *path, struct mg_error *err);
/* Open (or share) the file, made when it is absent; NULL: in memory. NULL with err. Any thread that may block. */
struct mg_store *mg_store_open(const char *path, struct mg_error *err);
void mg_store_unref(struct mg_store *s);
/* Its files become that user's (we are about to). */
void mg_store_chown(struct mg_store *s, uid_t user, gid_t group);

enum mg_store_what { MG_STORE_GET = 0, MG_STORE_PUT, MG_STORE_SWAP, MG_STORE_DELETE, MG_STORE_INCR, MG_STORE_LIST };

struct mg_store_row { struct mg_str key; struct mg_datum value; };

/* A question, and its result: kept with the exchange when it has ended. Freed by brought.free. */
struct mg_store_job {
    struct mg_brought brought;
    struct mg_list node;
    struct mg_store *store;
    int worker;
    struct mg_x *x;
    int what;
    int when;                      /* PUT: enum mg_shared_when */
    struct mg_str space, key;      /* LIST: key is the prefix */
    struct mg_str after;           /* LIST */
    struct mg_datum value, expected; /* PUT, SWAP; INCR: by, init */
    int64_t ttl_ms, now_ms;        /* wall clock when it was asked */
    int limit;
    size_t bytes;                  /* that it counts for in the queue */
    /* The result. */
    int status;
    struct mg_datum got;
    struct mg_store_row *rows;
    int rows_n;
    char *memory;                  /* of got and rows */
    size_t memory_n, memory_room;
    char text[];                   /* of the question */
};
/* A copy of a question's parts, with the result empty. NULL: out of memory. */
struct mg_store_job *mg_store_job_new(const struct mg_store_job *like);
/* Queue it for the operation job->brought.op of job->x; taken when 0. MG_EBUSY: too many wait. MG_ECLOSED. Worker thread. */
int mg_store_do(struct mg_store *s, struct mg_store_job *job);
/* Append bytes to the result's memory; false: no memory. (They move: point at them when all are there.) */
bool mg_store_keep(struct mg_store_job *job, const void *p, size_t n);
extern const char mg_store_kind; /* of brought */

#endif
