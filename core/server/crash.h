/* crash.h - which plugin was it? Says so when the process dies of a signal, and when a worker does not come back.
 *
 * The handler runs on a stack of its own and uses nothing but write(2): it reads what the thread's
 * worker says that it runs (worker->running), then lets the signal take its course. */
#ifndef MG_SERVER_CRASH_H
#define MG_SERVER_CRASH_H

#include <stddef.h>
#include "exchange/worker.h"

/* For the process, once; then on each thread that runs plugins, at its start and at its end. */
void mg_crash_install(void);
int mg_crash_thread_enter(void);
void mg_crash_thread_leave(void);

/* "plugin rate-limit, phase on_request, route users"; "" when no plugin runs. Writes at most room bytes with a NUL; returns
 * the length. Takes no lock and allocates nothing. From the control thread: about a worker that stands still (its exchange pins
 * the snapshot that the names belong to, and this thread is the one that has snapshots freed). */
size_t mg_running_describe(const struct mg_worker *w, char *out, size_t room);

#endif
