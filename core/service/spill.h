/* spill.h - a body in a temporary file: what does not fit into memory, out of the worker's way.
 *
 * The file is in the config's `tmp` (else TMPDIR, else /var/tmp), has no name from the first moment (O_TMPFILE; where the file system has none, it is unlinked
 * at once), and goes with its spill. All that touches the disk runs on libuv's pool, one piece of work at a time; `on_event` is
 * called on the worker's thread after each. At most MG_SPILL_FULL bytes and one read wait in memory for it. */
#ifndef MG_SERVICE_SPILL_H
#define MG_SERVICE_SPILL_H

#include "net/loop.h"

enum { MG_SPILL_FULL = 1 << 20, MG_SPILL_READ = 65536 };

struct mg_spill {
    uv_work_t work;
    struct mg_loop *loop;
    void (*on_event)(void *arg);
    void *arg;
    char *folder;
    int fd, error;              /* error: of the first work that failed; nothing more is done */
    int64_t bytes;              /* written, or to be */
    char *waiting, *writing;    /* bytes that wait, and those on their way */
    size_t waiting_n, waiting_room, writing_n, writing_room;
    int64_t written;
    char *read;                 /* MG_SPILL_READ bytes */
    int64_t read_at;            /* what `read` holds begins here; -1: nothing */
    size_t read_n;
    bool is_busy, reads, is_closed;
};

/* folder: copied; empty: the environment's. NULL when out of memory. */
struct mg_spill *mg_spill_new(struct mg_loop *loop, struct mg_str folder, void (*on_event)(void *arg), void *arg);
/* The file goes; on_event is not called any more. */
void mg_spill_close(struct mg_spill *s);
/* Append a copy. 0, 1: MG_SPILL_FULL or more wait, or an error (UV_ENOSPC…). */
int mg_spill_write(struct mg_spill *s, const char *p, size_t n);
static inline bool mg_spill_is_full(const struct mg_spill *s) { return s->waiting_n + s->writing_n >= MG_SPILL_FULL; }
static inline bool mg_spill_is_written(const struct mg_spill *s) { return !s->error && s->written == s->bytes; }
/* Have up to MG_SPILL_READ bytes from `at` on in s->read. 1: there; 0: on_event comes; < 0. Nothing may wait to be written. */
int mg_spill_fetch(struct mg_spill *s, int64_t at);

#endif
