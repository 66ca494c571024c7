/* log.h - the gateway's own log: what an operator reads when something is wrong.
 *
 * Lines go to one file or to stderr, as text or JSON, one write each (they are rare; access logs go
 * elsewhere, base/sink.h). A line is a message and fields, so that it can be searched:
 *
 *     mg_log_text_c("upstream", name); mg_log_number_c("status", 502);
 *     mg_logf(MG_LOG_WARN, "upstream: %s", mg_error_name(rc));
 *
 * Levels are those of pdk.h, and the PDK's log calls end here too. Any thread. */
#ifndef MG_BASE_LOG_H
#define MG_BASE_LOG_H

#include "base/error.h"
#include "base/str.h"

struct mg_log_conf {
    int level;          /* enum mg_log_level */
    bool json;
    const char *path;   /* NULL: stderr. Borrowed until the next mg_log_configure */
};
int mg_log_configure(const struct mg_log_conf *conf, struct mg_error *err);
/* Open the file anew (after SIGUSR1). */
int mg_log_reopen(struct mg_error *err);
void mg_log_text_c(const char *name, struct mg_str value);
void mg_log_number_c(const char *name, double value);
void mg_logf(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Fields that every line of this thread gets while set: plugin, route, exchange id. NULL: none. Borrowed. An id may be
 * made when a line asks for it. */
struct mg_log_scope { struct mg_str plugin, route, id; struct mg_str (*id_of)(void *of); void *of; };
void mg_log_set_scope(const struct mg_log_scope *scope);
/* Tests: lines go to this function instead. NULL: back to normal. */
void mg_log_capture(void (*line)(int level, struct mg_str text, void *arg), void *arg);

/* Where lines go now: stderr or the file of log.path. For a signal handler that must write and may not lock. */
int mg_log_fd(void);

#endif
