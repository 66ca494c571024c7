/* instances.h - what a worker must have of a snapshot before its first exchange: each instance's own state there, and the
 * scripts' on_worker handlers. On the worker's thread, where nothing else is said. */
#ifndef MG_SERVER_INSTANCES_H
#define MG_SERVER_INSTANCES_H

#include "proxy/snapshot.h"

/* On its way there. The caller's struct: it stays until `done` or mg_instances_stop. */
struct mg_entering {
    struct mg_snapshot *snapshot;
    struct mg_worker *worker;
    void (*done)(struct mg_entering *e, const struct mg_error *err); /* NULL: it is over */
    struct mg_script_entering script;
    struct mg_error error;
};
/* worker_create of every instance, then the scripts, which may wait: the worker's loop runs on. done(e, err) is called once, maybe inside
 * this call; with err->code < 0 err names the plugin, and nothing is left of it. */
void mg_instances_enter(struct mg_entering *e, struct mg_snapshot *s, struct mg_worker *w,
                        void (*done)(struct mg_entering *e, const struct mg_error *err));
/* The worker ends: give up without `done`, and leave. Harmless when it is over. */
void mg_instances_stop(struct mg_entering *e);
/* The first half of it: worker_create alone. 0, or < 0 with err. */
int mg_instances_begin(struct mg_snapshot *s, int worker, struct mg_error *err);
/* worker_destroy of every instance. */
void mg_instances_leave(struct mg_snapshot *s, int worker);
/* The end of the instances themselves, last made first, once no worker has them. Any thread, when alone. */
void mg_instances_destroy(struct mg_snapshot *s);

#endif
