/* crash.h - which plugin was it? Says so when the process dies of a signal, and when a worker does not come back.
 *
 * The handler runs on a stack of its own and uses nothing but write(2): it reads what the thread's
 * worker says that it runs (worker->running), then lets the signal take its course. */
#ifndef MG_SERVER_CRASH_H
#define MG_SERVER_CRASH_H

#include <signal.h>
#include <stddef.h>
#include "exchange/worker.h"
#include "plugin/chain.h"
#include "server/quarantine.h"

/* What a process leaves behind for the supervisor, on a page that both have. Whoever dies may have written nonsense: the texts are
 * closed by the reader (mg_quarantine_count). */
struct mg_last_words {
    int is_there;           /* blame is whole: of a fatal signal, or of exit() inside a plugin */
    struct mg_blame blame;
    int is_held;            /* a worker was held by a plugin when it was last looked at: for a death without words (out of memory) */
    struct mg_blame held;
};

/* For the process, once (words: NULL without a supervisor); then on each thread that runs plugins, at its start and at its end. */
void mg_crash_install(struct mg_last_words *words);
/* The signals that a thread which runs plugins blocks: all but those that say that it crashed. */
void mg_crash_mask(sigset_t *out);
int mg_crash_thread_enter(void);
void mg_crash_thread_leave(void);

/* "plugin rate-limit, phase on_request, route users"; "" when no plugin runs. Writes at most room bytes with a NUL; returns
 * the length. Takes no lock and allocates nothing. From the control thread: about a worker that stands still (its exchange pins
 * the snapshot that the names belong to, and this thread is the one that has snapshots freed). */
size_t mg_running_describe(const struct mg_worker *w, char *out, size_t room);
/* Who an entry is: no phase, no cause. */
void mg_blame_entry(const struct mg_chain_entry *e, struct mg_blame *out);
/* The same as a blame: false when no plugin runs. */
bool mg_running_blame(const struct mg_worker *w, const char *cause, struct mg_blame *out);
/* Leave word that a plugin holds this worker, or (NULL) that none does any more. Control thread. */
void mg_crash_held(const struct mg_worker *w);

#endif
