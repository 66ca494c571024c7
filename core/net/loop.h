/* loop.h - what every thread that does I/O has: a libuv loop, a timer wheel, buffers to share.
 *
 * One uv_timer_t drives the wheel for all timeouts of the thread. One read buffer serves all
 * connections, since what was read is consumed before the read callback returns. Streams with
 * output that waits for the end of the turn stand in `dirty` and are written by mg_loop_flush: after each
 * read callback, and before the loop sleeps. */
#ifndef MG_NET_LOOP_H
#define MG_NET_LOOP_H

#include <uv.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/wheel.h"

enum { MG_READ_BYTES = 81920, MG_BLOCK_BYTES = 16384 }; /* a read: 64 KiB of a body with its head */

struct mg_block { struct mg_block *next; uint32_t from, to; char bytes[]; }; /* MG_BLOCK_BYTES in all */

struct mg_request; /* net/stream_private.h: what libuv needs while a connect, write or shutdown is under way */

struct mg_loop {
    uv_loop_t uv;
    uv_timer_t tick;
    uv_prepare_t before_sleep;
    struct mg_wheel wheel;
    struct mg_list dirty;          /* of struct mg_stream */
    struct mg_block *blocks;       /* spare output blocks */
    size_t blocks_n;
    struct mg_request *requests;   /* spare ones */
    uint64_t wake_tick;            /* the wheel's tick at which `tick` fires; UINT64_MAX: it is off */
    struct mg_chunk_pool chunks;   /* spare arena chunks */
    char *read_buffer;             /* MG_READ_BYTES */
    char *plain_buffer;            /* TLS: what one read holds in the clear, and */
    char *wire_buffer;             /* records on their way out (net/tls_conn.c); made with the first TLS stream */
    size_t wire_n;
    void *owner;                   /* the worker */
    int64_t now_us;                /* of mg_loop_now_us; 0: to be read */
    int64_t ahead_ms;              /* how far its clock runs before the real one: 0 but in simulated exchanges */
};

int mg_loop_init(struct mg_loop *loop);
/* All handles of the owner must be closed. Closes ours, runs the loop until they are gone, frees. */
void mg_loop_deinit(struct mg_loop *loop);
static inline int64_t mg_loop_now_ms(struct mg_loop *loop) { return (int64_t)uv_now(&loop->uv) + loop->ahead_ms; }
/* The monotonic clock in microseconds, read once for all that one event leads to: what the gateway itself does in it takes
 * less than anybody measures. What may take longer (a plugin's function) says so afterwards by mg_loop_time_passed. */
static inline int64_t mg_loop_now_us(struct mg_loop *loop)
{
    return loop->now_us ? loop->now_us : (loop->now_us = mg_clock_monotonic_us());
}
static inline void mg_loop_time_passed(struct mg_loop *loop) { loop->now_us = 0; }
void mg_loop_wake_at(struct mg_loop *loop, uint64_t due_tick); /* have the tick timer fire by then; for mg_loop_arm */
/* Arm, or move when armed. On the loop's thread. */
static inline void mg_loop_arm(struct mg_loop *loop, struct mg_timer *t, int64_t after_ms)
{
    loop->wheel.now_ms = mg_loop_now_ms(loop);
    mg_timer_arm(&loop->wheel, t, after_ms);
    if (t->due_tick < loop->wake_tick)
        mg_loop_wake_at(loop, t->due_tick);
}
/* Have it fire by then: one that is due earlier stays so. For owners who look at the time when it fires, and arm it again
 * for the rest; a timer that moves with every request is then left alone nearly always. */
static inline void mg_loop_arm_by(struct mg_loop *loop, struct mg_timer *t, int64_t after_ms)
{
    if (!mg_timer_armed(t) || (int64_t)t->due_tick * MG_TICK_MS > mg_loop_now_ms(loop) + after_ms + MG_TICK_MS)
        mg_loop_arm(loop, t, after_ms);
}
static inline void mg_loop_disarm(struct mg_loop *loop, struct mg_timer *t) { mg_timer_disarm(&loop->wheel, t); }
void mg_loop_flush(struct mg_loop *loop);
struct mg_block *mg_block_take(struct mg_loop *loop); /* NULL when out of memory */
void mg_block_give(struct mg_loop *loop, struct mg_block *b);

#endif
