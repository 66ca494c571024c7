/* proxy.h - client connections and the exchanges on them: what joins all the rooms below.
 *
 * stream -> codec -> exchange -> router -> chain -> upstream -> codec -> stream, and back.
 * run.c has the state machine, client.c the connection, upside.c the upstream's side, pieces.c the bodies,
 * answer.c what the gateway says by itself, forward.c the fields that a proxy adds. */
#ifndef MG_PROXY_PROXY_H
#define MG_PROXY_PROXY_H

#include "proxy/snapshot.h"

struct mg_client;

/* A listening socket of one worker has a connection to take. conf: of the snapshot in force. Worker thread. */
void mg_client_accept(struct mg_worker *w, uv_stream_t *listener, const struct mg_listener_conf *conf);
/* Stop keep-alive: idle connections close, busy ones after their answer. */
void mg_client_drain_all(struct mg_worker *w);
/* Past the drain's limit: close everything. */
void mg_client_close_all(struct mg_worker *w);

/* The admin listener's requests go here instead of through routes (set by core/admin): answer with
 * mg_answer, at once or later. */
extern void (*mg_proxy_admin)(struct mg_exchange *x);
/* An answer made by the gateway; body is copied. type may be "". */
void mg_answer(struct mg_exchange *x, int status, struct mg_str type, struct mg_str body);
/* …405, with the methods that are allowed ("GET, HEAD"; copied) and a text. */
void mg_answer_not_allowed(struct mg_exchange *x, struct mg_str allow, struct mg_str text);
/* …with the error body, the failure's token for the log and x-moongate-error ("connect_refused"; may be NULL) and a detail for the client. */
void mg_answer_error(struct mg_exchange *x, int status, const char *failure, const char *detail);

/* Put a snapshot in force on this worker (NULL: none): new exchanges begin under it. What is counted in `refs` is
 * the caller's matter. Worker thread. */
void mg_proxy_snapshot(struct mg_worker *w, struct mg_snapshot *s);

void mg_proxy_worker_init(struct mg_worker *w);
void mg_proxy_worker_deinit(struct mg_worker *w);

#endif
