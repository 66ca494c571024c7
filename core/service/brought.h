/* brought.h - what an ended operation brought (a row of the store, a cached value), until its exchange ends or it is let go of.
 *
 * A service embeds this as the first member of a result from the heap, keeps it when the operation ends, and finds it by the operation's
 * number when the plugin asks. Worker thread. */
#ifndef MG_SERVICE_BROUGHT_H
#define MG_SERVICE_BROUGHT_H

#include "exchange/exchange.h"

struct mg_brought {
    struct mg_brought *next;
    const void *kind;           /* whose it is: any address of the service's own */
    int op;
    void (*free)(struct mg_brought *b);
};

/* Takes b. 0, or MG_ENOMEM (b is freed): over the exchange's budget. */
int mg_brought_keep(struct mg_exchange *x, struct mg_brought *b);
struct mg_brought *mg_brought_find(struct mg_exchange *x, const void *kind, int op);
/* Free it now. */
void mg_brought_drop(struct mg_exchange *x, struct mg_brought *b);

#endif
