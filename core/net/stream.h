/* stream.h - a connected byte stream, plain or TLS behind one interface.
 *
 * Reading: uv_read_start stays on for the life of the stream (a client's departure is seen while an
 * exchange runs; a stop and a start cost two epoll_ctl). `on_data` must take all bytes before it returns; backpressure
 * alone pauses reading.
 *
 * Writing never blocks and never fails at the call: bytes are gathered (MG_MORE), or written at once with uv_try_write,
 * and what the socket does not take is copied into blocks and sent later. When more than `high` bytes wait,
 * mg_stream_write returns MG_FULL: the producer pauses until `on_drain`. Errors come by on_end.
 *
 * Closing is asynchronous: the memory is in use until on_closed has run, the last callback. No other
 * callback runs after mg_stream_close.
 *
 *     mg_stream_init(&c->stream, loop, &events);          // owner embeds it
 *     mg_stream_connect(&c->stream, addr, tls, host);     // or mg_stream_accept
 */
#ifndef MG_NET_STREAM_H
#define MG_NET_STREAM_H

#include "net/loop.h"
#include "base/error.h"

struct mg_stream;
struct mg_tls_conn; /* net/tls.c */
struct mg_tls;      /* net/tls.h */

enum { MG_FULL = 1 };
enum mg_write_flags { MG_MORE = 1 }; /* more follows in this turn: gather */

struct mg_stream_events {
    /* Connected (and TLS done), status 0; or it failed with a UV_E* or MG_ETLS code, `why` says
     * more about TLS. Then only mg_stream_close is left to do. Also for accepted TLS streams; not for accepted plain ones. */
    void (*on_open)(struct mg_stream *s, int status, const char *why);
    void (*on_data)(struct mg_stream *s, const char *p, size_t n);
    /* The peer has ended its half (UV_EOF) or the connection has broken (another UV_E*, MG_ETLS).
     * After UV_EOF writing still works; after an error it does nothing. At most once. */
    void (*on_end)(struct mg_stream *s, int status);
    /* Waiting output has fallen below `low` after MG_FULL; also when all is written after mg_stream_notify_flushed. */
    void (*on_drain)(struct mg_stream *s);
    void (*on_closed)(struct mg_stream *s);
};

struct mg_stream {
    union { uv_tcp_t tcp; uv_pipe_t pipe; uv_stream_t uv; uv_handle_t handle; } h;
    const struct mg_stream_events *events;
    struct mg_loop *loop;
    struct mg_tls_conn *tls;         /* NULL: plain */
    struct mg_list dirty_node;
    struct mg_block *out_first, *out_last; /* output that waits */
    size_t out_bytes;                /* in them */
    size_t plain_bytes;              /* TLS: gathered, not yet encrypted */
    size_t high, low;                /* marks; set by init to 128 KiB and 32 KiB */
    uint64_t bytes_in, bytes_out;    /* payload handed up, payload accepted */
    int64_t wrote_ms;                /* loop time at which the socket last took bytes (it is asked in steps of 64 KiB) */
    unsigned is_open : 1, is_paused : 1, is_full : 1, is_writing : 1, is_closing : 1, has_ended : 1, wants_shutdown : 1, wants_flushed : 1, is_pipe : 1;
    unsigned has_handle : 1, is_up : 1 /* connected, below TLS */, is_broken : 1, is_reading : 1, has_shut : 1;
    int error;                       /* why it broke, until that has been told */
    void *owner;                     /* the caller's */
};

void mg_stream_init(struct mg_stream *s, struct mg_loop *loop, const struct mg_stream_events *events, void *owner);
/* Take a connection off a listening handle (in its connection callback). tls: NULL for plain; else the
 * handshake starts and on_open follows. Plain streams read from now on. 0 or UV_E* (call mg_stream_close then). */
int mg_stream_accept(struct mg_stream *s, uv_stream_t *listener, struct mg_tls *tls);
/* Connect. server_name: for SNI and verification, may be NULL without TLS; copied. on_open follows, never inside
 * the call, even on failure. bind address NULL: any. */
void mg_stream_connect(struct mg_stream *s, const struct sockaddr *addr, struct mg_tls *tls, const char *server_name);
/* Hand over bytes; p is copied or written before it returns. 0 or MG_FULL. */
int mg_stream_write(struct mg_stream *s, const char *p, size_t n, int flags);
/* Two at once: a head that was gathered elsewhere, and a body. */
int mg_stream_write2(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n, int flags);
/* Room for n (<= 8192) contiguous bytes in the gathering block, to serialise in place; NULL when out of memory.
 * mg_stream_commit says how many were used; they wait as with MG_MORE, and count for on_drain. */
char *mg_stream_reserve(struct mg_stream *s, size_t n);
void mg_stream_commit(struct mg_stream *s, size_t n);
void mg_stream_flush(struct mg_stream *s);
/* Nothing waits to be written. */
static inline bool mg_stream_is_flushed(const struct mg_stream *s) { return s->out_bytes + s->plain_bytes == 0 && !s->is_writing; }
/* Call on_drain once when nothing waits; never inside this call, also when nothing waits now. */
void mg_stream_notify_flushed(struct mg_stream *s);
/* Send what waits, then end our half (TLS: close_notify first). */
void mg_stream_shutdown(struct mg_stream *s);
void mg_stream_pause(struct mg_stream *s);
void mg_stream_resume(struct mg_stream *s);
/* What waits is offered to the socket once more (TLS: with close_notify), then dropped. */
void mg_stream_close(struct mg_stream *s);
/* As close, with a TCP reset, so that the peer does not take a cut body for a whole one. */
void mg_stream_abort(struct mg_stream *s);

int mg_stream_peer(const struct mg_stream *s, struct sockaddr_storage *out);
int mg_stream_local(const struct mg_stream *s, struct sockaddr_storage *out);

#endif
