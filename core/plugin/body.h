/* body.h - where gathered and replaced bodies are kept. For pdk/body.c and plugin/body.c. */
#ifndef MG_PLUGIN_BODY_H
#define MG_PLUGIN_BODY_H

#include "plugin/chain.h"

/* `whole` is what it holds up to byte `at`, then s (which may lie in it). 0 or MG_ENOMEM. */
int mg_body_put_whole(struct mg_exchange *x, struct mg_body *b, size_t at, struct mg_str s);
/* The piece in hand becomes a copy of s, which may lie in the piece. 0 or MG_ENOMEM. */
int mg_body_put_piece(struct mg_exchange *x, struct mg_body *b, struct mg_str s);
/* Before `whole` is replaced: it and its state are kept where the entry that runs may have to be undone. 0 or MG_ENOMEM. */
int mg_undo_keep_body(struct mg_exchange *x, struct mg_body *b);
/* Are there body steps at the places [from, to) (mg_chain_place)? */
bool mg_body_steps_between(const struct mg_exchange *x, int side, unsigned from, unsigned to);

#endif
