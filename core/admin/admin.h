/* admin.h - what an operator asks of a running gateway, over HTTP on the admin listener.
 *
 *   GET  /live      200 while the process turns
 *   GET  /ready     200 when it serves, 503 while it starts or drains
 *   GET  /status    JSON: version, snapshot, last reload, workers, listeners, upstreams
 *   GET  /metrics   Prometheus text
 *   GET  /traces    the traces that are kept: after=SERIAL, route=ID, status=404|5xx|400-499, form=json|text; follow=WORD has some more made
 *                   for ten seconds: a share of all requests (sample=0.01; all by default) that fit
 *   GET  /traces/ID one of them: form=json|text
 *   POST /reload    loads the config anew: 200, or 422 with every mistake
 *   POST   /recording  begins: route=ID, host=NAME, method=M, path=PREFIX, status=404|5xx|400-499, sample=0.01, count=N, limit=BYTES of a body,
 *                      secret=NAME,NAME… (masked beside the usual ones), secrets=keep (mask nothing)
 *   GET    /recording  what is finished, a line of JSON each, and a last line {"more", "recorded", "dropped"}
 *   DELETE /recording  no more exchanges
 *   POST /release   ?plugin=NAME, or all: out of quarantine, and loads the config anew
 *
 * There are no credentials, hence the address is loopback or a Unix socket (the config's check sees to it). All on the control
 * thread. */
#ifndef MG_ADMIN_ADMIN_H
#define MG_ADMIN_ADMIN_H

#include "server/gateway.h"

/* Before mg_gateway_run: the admin listener's requests come here. */
void mg_admin_install(void);

/* recording.c */
void mg_admin_record_start(struct mg_exchange *x, struct mg_gateway *g);
void mg_admin_record_take(struct mg_exchange *x);
void mg_admin_record_stop(struct mg_exchange *x);
/* traces.c */
void mg_admin_traces(struct mg_exchange *x);
void mg_admin_trace(struct mg_exchange *x, struct mg_str id);
/* JSON text from malloc, or NULL. */
char *mg_admin_status(const struct mg_gateway *g);
/* Metrics of plugins and of the core, from malloc; p NULL when out of memory. */
struct mg_str mg_admin_metrics(const struct mg_gateway *g);

#endif
