/* watch.h - is a plugin holding a worker? The control thread looks at the heartbeats, twenty
 * times a second while requests are served and seldom while none are, and says which when one call takes 100 ms. It reads what the worker
 * publishes for it (mg_worker_runs) and what the snapshot owns, nothing of an exchange.
 *
 *     100 ms   told in the log, and as last words for a death without any
 *     1 s      another worker accepts on its sockets too
 *     `stall`  the supervisor is asked for a successor; the plugin is counted for quarantine as for a crash */
#ifndef MG_SERVER_WATCH_H
#define MG_SERVER_WATCH_H

struct mg_gateway;
void mg_watch_start(struct mg_gateway *g);

#endif
