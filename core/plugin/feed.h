/* feed.h - a body that does not come from its sender: a plugin makes it, or it lies in a file.
 *
 *     generator --mg_body_write--> buffer --\
 *                                            +--> steps from place `at` on --> receiver (or an entry that wants it whole)
 *     file ------pieces of 64 KiB-----------/
 *
 * The receiver pulls: the proxy asks mg_feed_ready when it could send, and runs a piece with mg_chain_run_feed. A generator is
 * woken for the first time when somebody wants its bytes, and again when there is room; it runs in the phase MG_ON_STREAM, beside
 * whatever its exchange does, and ends with it. */
#ifndef MG_PLUGIN_FEED_H
#define MG_PLUGIN_FEED_H

#include "plugin/chain.h"

enum { MG_FEED_HIGH = 65536, MG_FEED_LOW = 32768, MG_FEED_MOST = 1 << 20 }; /* bytes that wait: full, room again, refused */

struct mg_feed {
    uint8_t entry;              /* who makes it */
    uint8_t at;                 /* its pieces pass the steps from this place on */
    bool finished;              /* nothing follows what waits */
    bool failed;                /* it broke off: what was sent must not look whole */
    const struct mg_head *head; /* the recorded answer whose body it is; NULL: of a body as it stands */
    struct mg_spill *file;      /* the body lies there; NULL: it is made */
    int64_t offset;             /* of the file's next piece */
    int start_op;               /* not yet begun: ends when its bytes are wanted */
    int room_op;                /* somebody waits for room; 0: nobody */
    char *buffer[2];            /* heap: what was written, and what is on its way */
    size_t n, room[2];
    uint8_t filling;            /* which of the two is written to */
};

/* A generated body for the entry that runs; its start op is in x->ops. NULL over budget. */
struct mg_feed *mg_feed_new(struct mg_exchange *x);
/* The body lies in a file (borrowed), and passes the steps from place `at` on. NULL over budget. */
struct mg_feed *mg_feed_of_file(struct mg_exchange *x, struct mg_spill *file, unsigned at);
/* Append. 0, 1: full; MG_EBUSY: not taken; MG_ENOMEM. */
int mg_feed_write(struct mg_exchange *x, struct mg_feed *f, struct mg_str bytes);
/* Is there a piece to run now? If not, whoever makes it is set going. */
bool mg_feed_ready(struct mg_exchange *x, int side);
/* The next piece through the steps. Verdicts, b->held, b->piece and b->last as of mg_chain_run_body; MG_ERROR also when it broke off. */
enum mg_verdict mg_chain_run_feed(struct mg_exchange *x, int side);
/* Wake the generators of x whose operations have ended. MG_ERROR: that of `*side` failed. */
enum mg_verdict mg_chain_wake_feeds(struct mg_exchange *x, int *side);

#endif
