/* stream_private.h - how the files behind stream.h fit together.
 *
 *     stream.c      life: connect, accept, read, close
 *     stream_out.c  the way out: bytes for the wire gather in blocks, are offered to the socket, wait
 *     tls_conn.c    TLS between the two: the wire's bytes in, records out
 *
 * Plain:  write -> blocks -> socket.   TLS:  write -> plaintext blocks -> SSL_write -> wire buffer -> socket (or blocks).
 * out_bytes counts the wire's bytes that wait, plain_bytes those that are not encrypted yet. */
#ifndef MG_NET_STREAM_PRIVATE_H
#define MG_NET_STREAM_PRIVATE_H

#include "net/stream.h"
#include "net/tls.h"

enum { MG_BLOCK_ROOM = MG_BLOCK_BYTES - sizeof(struct mg_block), MG_GATHER_BYTES = 65536 };

struct mg_request {
    struct mg_request *next;
    struct mg_stream *stream;
    size_t bytes;
    union { uv_connect_t connect; uv_write_t write; uv_shutdown_t shutdown; } uv;
};
struct mg_request *mg_request_take(struct mg_stream *s); /* NULL when out of memory */
void mg_request_give(struct mg_request *r);
void mg_requests_free(struct mg_loop *loop);

/* ---- stream.c ---- */
/* It broke: what waits is dropped, and the owner hears it at the end of the turn. */
void mg_stream_fail(struct mg_stream *s, int error);
/* Have mg_stream_turn called before the loop sleeps. */
void mg_stream_dirty(struct mg_stream *s);
/* From mg_loop_flush: write, tell what is to be told. */
void mg_stream_turn(struct mg_stream *s);
void mg_stream_tell_open(struct mg_stream *s, int status, const char *why);
void mg_stream_tell_end(struct mg_stream *s, int status);

/* ---- stream_out.c ---- */
/* Add to a list of blocks; false when out of memory (what fitted was added). */
bool mg_blocks_append(struct mg_loop *loop, struct mg_block **first, struct mg_block **last, const char *p, size_t n);
/* The last block, or a new one, with room for n bytes; NULL when out of memory. */
struct mg_block *mg_blocks_room(struct mg_loop *loop, struct mg_block **first, struct mg_block **last, size_t n);
void mg_blocks_free(struct mg_loop *loop, struct mg_block **first, struct mg_block **last);
/* Offer to the socket what waits and then a and b; what it does not take waits. Bytes of a and b are counted here. */
void mg_out_send(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n);
/* Let them wait behind what waits already. */
void mg_out_append(struct mg_stream *s, const char *p, size_t n);
void mg_out_push(struct mg_stream *s);     /* mg_out_send without bytes of its own; then ends our half if that is wanted */
void mg_out_drop(struct mg_stream *s);
void mg_out_check_drain(struct mg_stream *s);

/* ---- tls_conn.c ---- */
int mg_tls_conn_open(struct mg_stream *s, struct mg_tls *tls, const char *server_name); /* 0, UV_ENOMEM, MG_ETLS */
void mg_tls_conn_start(struct mg_stream *s);                                  /* connected: a client speaks first */
void mg_tls_conn_read(struct mg_stream *s, const char *p, size_t n);
void mg_tls_conn_eof(struct mg_stream *s);
/* Gathers what is less than a record; encrypts and sends all unless more follows. */
void mg_tls_conn_write(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n, bool more);
struct mg_block *mg_tls_conn_room(struct mg_stream *s, size_t n);
void mg_tls_conn_push(struct mg_stream *s);                                   /* encrypt what was gathered, and send */
void mg_tls_conn_notify(struct mg_stream *s);                                 /* close_notify */
void mg_tls_conn_drop(struct mg_stream *s);                                   /* forget what was gathered */
void mg_tls_conn_free(struct mg_stream *s);

#endif
