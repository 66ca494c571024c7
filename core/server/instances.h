/* instances.h - what a worker must have of a snapshot before its first exchange: each instance's own state there, and the
 * scripts' on_worker handlers. On the worker's thread, where nothing else is said. */
#ifndef MG_SERVER_INSTANCES_H
#define MG_SERVER_INSTANCES_H

#include "proxy/snapshot.h"

/* worker_create of every instance, then the scripts. 0, or < 0 with err naming the plugin; then nothing is left of it. */
int mg_instances_enter(struct mg_snapshot *s, int worker, struct mg_error *err);
/* The first half of it: worker_create alone. */
int mg_instances_begin(struct mg_snapshot *s, int worker, struct mg_error *err);
/* worker_destroy of every instance. */
void mg_instances_leave(struct mg_snapshot *s, int worker);
/* The end of the instances themselves, last made first, once no worker has them. Any thread, when alone. */
void mg_instances_destroy(struct mg_snapshot *s);

#endif
