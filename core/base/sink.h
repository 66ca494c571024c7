/* sink.h - access logs: many whole lines, never waited for.
 *
 * Each worker thread fills a buffer for each sink; full ones (64 KB, or 1 s old) go to the one log
 * thread, which writes them. When it lags by more than a few buffers lines are dropped and counted.
 * Sinks are shared by name and counted; a file is reopened on SIGUSR1. */
#ifndef MG_BASE_SINK_H
#define MG_BASE_SINK_H

#include <sys/types.h>
#include "base/error.h"
#include "base/str.h"

struct mg_sink;
/* where: "stdout", "stderr", "syslog", or an absolute path (created with mode 0640). Any thread. */
struct mg_sink *mg_sink_ref(struct mg_str where, struct mg_error *err);
void mg_sink_unref(struct mg_sink *s);
/* From now on no file is created or opened: mg_sink_ref says only whether it could be, and lines are lost. For commands
 * that check a config. Before any sink is made. */
void mg_sink_look_only(void);
/* Tests: while `line` is set nothing is opened or written; lines go there, at once, by the name of their sink. NULL: as usual. */
void mg_sink_capture(void (*line)(const char *where, struct mg_str line, void *arg), void *arg);
/* One line without newline. 0, or MG_EBUSY when dropped. Any thread. */
int mg_sink_line(struct mg_sink *s, struct mg_str line);
/* Called by every worker about once a second and before it ends: hand over what this thread holds. */
void mg_sink_flush_thread(void);
void mg_sink_reopen_all(void);
/* The process is about to become another user, who must be able to open its files anew: those that are ours become his. */
void mg_sink_give_all(uid_t user, gid_t group);
/* Wait until the log thread has written what was handed over, and end it. At exit. */
void mg_sink_shutdown(void);
uint64_t mg_sink_dropped(void);

#endif
