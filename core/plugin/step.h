/* step.h - calling one entry of a chain: the bookkeeping around a plugin's function, in one place.
 *
 * Inside plugin/, and for crash reports: chain.c walks the phases of heads, body.c those of bodies, task.c runs tasks. */
#ifndef MG_PLUGIN_STEP_H
#define MG_PLUGIN_STEP_H

#include "plugin/chain.h"

/* What is so while a plugin's function is on the stack: who runs, for crash reports and the log, and what the phase may. */
struct mg_frame {
    struct mg_exchange *running;
    const struct mg_chain_entry *running_entry;
    int running_phase;
    struct mg_log_scope scope;
    struct mg_head *answer_head;
    struct mg_str answer;
    uint8_t phase, entry;
    struct mg_account *account;
    int64_t since;              /* 0: this call is not measured */
};
void mg_frame_enter(struct mg_exchange *x, struct mg_frame *f, const struct mg_chain_entry *e, int phase);
void mg_frame_leave(struct mg_exchange *x, const struct mg_frame *f, enum mg_verdict v);

/* Does the entry take part in this phase of this exchange? Asks its `when` once. 1, 0, or < 0 when `when` raised and the
 * entry says on_error = "fail" (logged). */
int mg_step_takes_part(struct mg_exchange *x, struct mg_chain_entry *e, int phase);
/* Call the entry, and make its verdict sound: MG_RESPOND has an answer, MG_WAIT an operation, MG_ERROR is logged, and
 * undone where the entry says on_error = "continue". */
enum mg_verdict mg_step_call(struct mg_exchange *x, struct mg_chain_entry *e, int phase, mg_phase_fn *fn);
/* Give the entry what has ended of the operations that it waits for. MG_WAIT: none, or it waits on. */
enum mg_verdict mg_step_wake(struct mg_exchange *x, struct mg_chain_entry *e, int phase);
/* The same for the entry's operations as the maker of a body (plugin/feed.h). MG_CONTINUE or MG_WAIT: it goes on; MG_ERROR. */
enum mg_verdict mg_step_wake_stream(struct mg_exchange *x, struct mg_chain_entry *e);
const char *mg_phase_name(int phase);

/* undo.c: heads as values. Save before an entry runs; 0 or MG_ENOMEM. (A body is kept when it is replaced: plugin/body.h.) */
int mg_undo_save(struct mg_exchange *x);
void mg_undo_apply(struct mg_exchange *x);
/* What was saved; NULL: nothing. */
const struct mg_kept *mg_undo_kept(const struct mg_exchange *x);
/* While an observed entry waits the others find the exchange without its changes: they are put aside, and taken up again.
 * hide: 0, or MG_ENOMEM when its changes are lost. */
int mg_undo_hide(struct mg_exchange *x);
void mg_undo_show(struct mg_exchange *x);

/* body.c: an entry asked for a body that is in `whole` already: run it through the steps between. MG_CONTINUE when there
 * was nothing to do. */
enum mg_verdict mg_body_regather(struct mg_exchange *x);

#endif
