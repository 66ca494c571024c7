/* builder.h - the builder thread: what takes time is done here, so that neither workers nor the control thread wait.
 *
 * Jobs run one after the other; when one is done it comes back to the control thread. */
#ifndef MG_SERVER_BUILDER_H
#define MG_SERVER_BUILDER_H

#include "base/error.h"
#include "base/list.h"
#include "exchange/worker.h"

struct mg_builder;

struct mg_job {
    struct mg_list node;
    struct mg_builder *builder;
    void (*run)(struct mg_job *job);  /* on the builder thread */
    void (*done)(struct mg_job *job); /* on the control thread; may free the job */
};

/* control: whose thread gets `done`; borrowed. */
struct mg_builder *mg_builder_new(struct mg_worker *control, struct mg_error *err);
void mg_builder_do(struct mg_builder *b, struct mg_job *job);
/* Run what is queued, end the thread. `done` of jobs that were still under way is called here. Control thread. */
void mg_builder_end(struct mg_builder *b);
/* Once the control thread's inbox is gone as well: messages in it may speak of b. */
void mg_builder_free(struct mg_builder *b);

#endif
