/* watch.h - is a plugin holding a worker? The control thread looks at the heartbeats every two seconds and says which. */
#ifndef MG_SERVER_WATCH_H
#define MG_SERVER_WATCH_H

struct mg_gateway;
void mg_watch_start(struct mg_gateway *g);

#endif
