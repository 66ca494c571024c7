/* private_ctx.h - the ctx values of an entry that only observes: its own, in all its phases, and nobody else's.
 *
 * Before each of its calls the exchange's ctx is a copy with its own values laid over; after it what differs is kept for
 * the next one, and the real ctx is back. Inside plugin/. */
#ifndef MG_PLUGIN_PRIVATE_CTX_H
#define MG_PLUGIN_PRIVATE_CTX_H

#include "plugin/chain.h"
#include "plugin/kept.h"

/* 0 or MG_ENOMEM (nothing has changed then). Not nested. */
int mg_private_ctx_enter(struct mg_exchange *x, const struct mg_chain_entry *e);
/* told may be NULL; it is called for each value that this call has set. */
void mg_private_ctx_leave(struct mg_exchange *x, const struct mg_chain_entry *e, mg_change_fn *told, void *arg);
/* Has this been said of the entry in this exchange? The first time: no. */
bool mg_private_said(struct mg_exchange *x, const struct mg_chain_entry *e, int what);
/* Call told for each value of `is` that is not so in `was`. */
void mg_ctx_changes(const struct mg_ctx_entry *was, int was_n, const struct mg_ctx_entry *is, int is_n, mg_change_fn *told, void *arg);

#endif
