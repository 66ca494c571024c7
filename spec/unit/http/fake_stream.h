/* fake_stream.h - the HTTP/1 codec on a stream that is a buffer: what it writes, and what it does to the connection.
 *
 * The codec's files are compiled into the including program under other names, so that the rest of the core, with the
 * real stream, can be linked as well. */
#ifndef SPEC_FAKE_STREAM_H
#define SPEC_FAKE_STREAM_H

#include <stdlib.h>

#define mg_loop_wake_at fake_wake_at
#define mg_stream_write fake_write
#define mg_stream_write2 fake_write2
#define mg_stream_reserve fake_reserve
#define mg_stream_commit fake_commit
#define mg_stream_flush fake_flush
#define mg_stream_notify_flushed fake_notify_flushed
#define mg_stream_shutdown fake_shutdown
#define mg_stream_pause fake_pause
#define mg_stream_resume fake_resume
#define mg_stream_abort fake_abort
#define mg_h1_init fake_h1_init
#define mg_h1_deinit fake_h1_deinit
#define mg_h1_feed fake_h1_feed
#define mg_h1_ended fake_h1_ended
#define mg_h1_drained fake_h1_drained
#define mg_h1_start fake_h1_start
#define mg_h1_drain fake_h1_drain
#define mg_h1_thread_deinit fake_h1_thread_deinit
#define mg_h1_fail fake_h1_fail
#define mg_h1_message_over fake_h1_message_over
#define mg_h1_next fake_h1_next
#define mg_h1_release fake_h1_release
#define mg_h1_pause fake_h1_pause
#define mg_h1_resume fake_h1_resume
#define mg_h1_step fake_h1_step
#define mg_h1_scan_head fake_h1_scan_head
#define mg_h1_read_head fake_h1_read_head
#define mg_h1_read_trailers fake_h1_read_trailers
#define mg_h1_ops_server fake_h1_ops_server
#define mg_h1_ops_client fake_h1_ops_client

#include "../../../core/http/h1.c"
#include "../../../core/http/h1_head.c"
#include "../../../core/http/h1_read.c"
#include "../../../core/http/h1_write.c"

struct fake {
    struct mg_loop loop;
    struct mg_stream stream;
    char *out;
    size_t out_n, out_room, flushed_n; /* bytes up to flushed_n have been flushed */
    int writes;                        /* what would have been system calls */
    bool is_shut, is_aborted, is_paused, wants_flushed, is_poor; /* poor: no memory for output */
};

static inline struct fake *fake_of(struct mg_stream *s) { return (struct fake *)s->owner; }

static inline void fake_init(struct fake *f)
{
    memset(f, 0, sizeof *f);
    mg_wheel_init(&f->loop.wheel, 0);
    f->stream.loop = &f->loop;
    f->stream.owner = f;
}

static inline void fake_deinit(struct fake *f) { free(f->out); }

void fake_wake_at(struct mg_loop *loop, uint64_t due_tick) { (void)loop; (void)due_tick; }

static char *fake_room(struct fake *f, size_t n)
{
    if (f->out_n + n > f->out_room) {
        f->out_room = (f->out_n + n) * 2;
        f->out = realloc(f->out, f->out_room);
    }
    return f->out + f->out_n;
}

char *fake_reserve(struct mg_stream *s, size_t n)
{
    if (n > 8192)
        abort();
    return fake_of(s)->is_poor ? NULL : fake_room(fake_of(s), n);
}

void fake_commit(struct mg_stream *s, size_t n) { fake_of(s)->out_n += n; }

int fake_write2(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n, int flags)
{
    struct fake *f = fake_of(s);
    char *p = fake_room(f, a_n + b_n);

    if (f->is_shut || f->is_aborted)
        abort();
    if (a_n)
        memcpy(p, a, a_n);
    if (b_n)
        memcpy(p + a_n, b, b_n);
    f->out_n += a_n + b_n;
    if (!(flags & MG_MORE))
        fake_flush(s);
    return s->is_full ? MG_FULL : 0;
}

int fake_write(struct mg_stream *s, const char *p, size_t n, int flags) { return fake_write2(s, p, n, NULL, 0, flags); }

void fake_flush(struct mg_stream *s)
{
    struct fake *f = fake_of(s);

    if (f->flushed_n < f->out_n)
        f->writes++;
    f->flushed_n = f->out_n;
}

void fake_notify_flushed(struct mg_stream *s) { fake_of(s)->wants_flushed = true; }
void fake_shutdown(struct mg_stream *s) { fake_of(s)->is_shut = true; }
void fake_pause(struct mg_stream *s) { fake_of(s)->is_paused = true; }
void fake_resume(struct mg_stream *s) { fake_of(s)->is_paused = false; }
void fake_abort(struct mg_stream *s) { fake_of(s)->is_aborted = true; }

#endif
