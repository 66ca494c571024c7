/* pull.h - an entry walks through a body as it arrives, a piece at a time.
 *
 *   sender --> steps before that entry --> [ what has arrived ] --mg_body_next--> the entry
 *
 * What it walks through is spent: the message's body is another one from then on, an empty one until the entry sets it or makes it
 * bit by bit. So to the rest of the chain this is a replaced body, of whose old bytes somebody still hears. While enough of them
 * wait, the sender is paused. */
#ifndef MG_PLUGIN_PULL_H
#define MG_PLUGIN_PULL_H

#include "plugin/body.h"

enum { MG_PULL_FULL = 65536 };

struct mg_pull {
    uint8_t entry;
    bool is_over;               /* nobody walks any more: what still arrives is dropped */
    bool last;                  /* nothing follows what waits */
    int error;                  /* the sender broke off */
    int op;                     /* waits for the next piece; 0: nobody */
    char *buffer[2];            /* heap: what arrives, and the piece that was given out */
    size_t n, room[2], piece_n;
    uint8_t filling;
};

/* The entry that runs takes the body as it comes. 0, MG_EBUSY, MG_ENOMEM. */
int mg_pull_begin(struct mg_exchange *x, int side);
/* An operation for the next piece: its number. Status: bytes, 0: the end, MG_ECLOSED. */
int mg_pull_next(struct mg_exchange *x, struct mg_pull *p);
static inline struct mg_str mg_pull_piece(const struct mg_pull *p) { return mg_str(p->buffer[p->filling ^ 1], p->piece_n); }
static inline struct mg_pull *mg_pull_of(const struct mg_body *b) { return b->more && b->more->pull && !b->more->pull->is_over ? b->more->pull : NULL; }
/* Would it take more now? */
static inline bool mg_pull_wants(const struct mg_body *b) { struct mg_pull *p = mg_pull_of(b); return p && !p->last && !p->error && p->n < MG_PULL_FULL; }
static inline bool mg_pull_is_full(const struct mg_body *b) { struct mg_pull *p = mg_pull_of(b); return p && p->n >= MG_PULL_FULL; }
/* Does the walker wait for it? */
static inline bool mg_pull_waits(const struct mg_body *b) { struct mg_pull *p = mg_pull_of(b); return p && p->op; }
/* A piece of the old body has passed the steps before. 0 or MG_ENOMEM. */
int mg_pull_give(struct mg_exchange *x, struct mg_pull *p, struct mg_str piece, bool last);
/* Nothing more comes. */
void mg_pull_broke(struct mg_exchange *x, struct mg_body *b);
/* The entry's phase of the head is over: it goes on only where it makes a body of what it pulls. */
void mg_pull_settle(struct mg_exchange *x, int side, int entry);
/* Has the entry that runs taken bytes that nobody can give back? */
bool mg_pull_has_spent(const struct mg_exchange *x);

#endif
