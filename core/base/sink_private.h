/* sink_private.h - what sink.c (workers) and sink_thread.c (the log thread) share. */
#ifndef MG_BASE_SINK_PRIVATE_H
#define MG_BASE_SINK_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/sink.h"

enum {
    MG_SINK_BUFFER_BYTES = 65536,
    MG_SINK_SPARE_MAX = 16,
    MG_SINK_LAG_BYTES = 4 << 20, /* waiting for one sink; beyond it lines are dropped */
    MG_SINK_AGE_MS = 1000,
    MG_SINK_END_S = 5 /* a stop waits that long for the log thread */
};

struct mg_sink {
    struct mg_sink *next;
    int refs; /* who named it, and each buffer under way */
    int fd;
    bool is_file, is_syslog;
    bool wants_reopen;
    size_t queued_bytes;
    atomic_bool is_lagging;
    bool is_failing;     /* the last write failed; said once */
    uint64_t lost_lines; /* since it fails */
    char where[];
};

struct mg_sink_buffer {
    struct mg_sink_buffer *next;
    struct mg_sink *sink;
    size_t n, max;
    uint64_t lines;
    int64_t born_ms;
    char bytes[];
};

/* All under the lock, but for `dropped`. The log thread holds it only between writes. */
struct mg_sinks {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct mg_sink *first;
    struct mg_sink_buffer *queue, *queue_last, *spare;
    size_t spare_n;
    pthread_t thread;
    bool has_thread, is_stopping, wants_reopen, look_only;
    atomic_uint_fast64_t dropped;
    void (*captured)(const char *where, struct mg_str line, void *arg); /* set by specs alone, which have one thread */
    void *captured_arg;
};
extern struct mg_sinks mg_sinks;

int mg_sink_open_file(const char *path); /* fd, or -1 with errno */
/* Under the lock: */
void mg_sink_drop(struct mg_sink *s);
void mg_sink_buffer_give(struct mg_sink_buffer *b);
bool mg_sink_thread_start(void); /* is there a log thread, or could one be started? */

#endif
