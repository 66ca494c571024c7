#include "net/loop.h"
#include "base/alloc.h"
#include "net/stream_private.h"
#include <pthread.h>
#include <signal.h>

enum { BLOCKS_SPARE_MAX = 32, CHUNKS_SPARE_MAX = 256, PASSES_MAX = 4 };

static void on_tick(uv_timer_t *timer);

/* ---- the wheel's timer ---- */

void mg_loop_wake_at(struct mg_loop *loop, uint64_t due_tick)
{
    int64_t now = mg_loop_now_ms(loop), after = (int64_t)(due_tick * MG_TICK_MS) - now;

    if (loop->wheel.armed == 1) /* nothing was armed: the wheel may have stood still */
        mg_wheel_skip(&loop->wheel, now);
    if (after > 1000)
        after = 1000;
    if (after < 0)
        after = 0;
    loop->wake_tick = (uint64_t)(now + after) / MG_TICK_MS;
    uv_timer_start(&loop->tick, on_tick, (uint64_t)after, 0);
}

static void on_tick(uv_timer_t *timer)
{
    struct mg_loop *loop = mg_container(timer, struct mg_loop, tick);
    int64_t now = mg_loop_now_ms(loop), next;

    mg_loop_time_passed(loop);
    loop->wake_tick = 0; /* what is armed meanwhile is seen below */
    mg_wheel_advance(&loop->wheel, now);
    next = mg_wheel_next_ms(&loop->wheel, now);
    if (next < 0) {
        loop->wake_tick = UINT64_MAX; /* nothing is armed: no idle wakeups */
        return;
    }
    loop->wake_tick = (uint64_t)(now + next) / MG_TICK_MS;
    uv_timer_start(timer, on_tick, (uint64_t)next, 0);
}

/* ---- the end of a turn ---- */

/* Streams that become dirty meanwhile are left for the next pass. */
static void flush_pass(struct mg_loop *loop)
{
    struct mg_list pass, *n;

    if (mg_list_empty(&loop->dirty))
        return;
    mg_list_insert(&loop->dirty, &pass); /* take the whole list over: */
    mg_list_remove(&loop->dirty);        /* `pass` stands where the head stood */
    while ((n = mg_list_first(&pass))) {
        mg_list_remove(n);
        mg_stream_turn(mg_container(n, struct mg_stream, dirty_node));
    }
}

void mg_loop_flush(struct mg_loop *loop)
{
    flush_pass(loop);
    mg_loop_time_passed(loop); /* the event is over */
}

static void before_sleep(uv_prepare_t *prepare)
{
    struct mg_loop *loop = mg_container(prepare, struct mg_loop, before_sleep);

    for (int i = 0; i < PASSES_MAX && !mg_list_empty(&loop->dirty); i++)
        flush_pass(loop);
    mg_loop_time_passed(loop);
    if (!mg_list_empty(&loop->dirty)) { /* a producer that never fills its socket: let others have a turn */
        loop->wake_tick = 0;
        uv_timer_start(&loop->tick, on_tick, 0, 0);
    }
}

/* ---- blocks ---- */

struct mg_block *mg_block_take(struct mg_loop *loop)
{
    struct mg_block *b = loop->blocks;

    if (b) {
        loop->blocks = b->next;
        loop->blocks_n--;
    } else if (!(b = mg_malloc(MG_BLOCK_BYTES))) {
        return NULL;
    }
    b->next = NULL;
    b->from = b->to = 0;
    return b;
}

void mg_block_give(struct mg_loop *loop, struct mg_block *b)
{
    if (loop->blocks_n >= BLOCKS_SPARE_MAX) {
        mg_free(b);
        return;
    }
    b->next = loop->blocks;
    loop->blocks = b;
    loop->blocks_n++;
}

/* ---- life ---- */

static void free_spares(struct mg_loop *loop)
{
    struct mg_block *b;

    while ((b = loop->blocks)) {
        loop->blocks = b->next;
        mg_free(b);
    }
    mg_requests_free(loop);
    mg_chunk_pool_deinit(&loop->chunks);
    mg_free(loop->read_buffer);
    mg_free(loop->plain_buffer);
    mg_free(loop->wire_buffer);
}

/* A peer that is gone is an error of the write (EPIPE), not of the process. */
static void ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

int mg_loop_init(struct mg_loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc;

    pthread_once(&once, ignore_sigpipe);
    *loop = (struct mg_loop){ .wake_tick = UINT64_MAX };
    loop->read_buffer = mg_malloc(MG_READ_BYTES);
    if (!loop->read_buffer)
        return UV_ENOMEM;
    rc = uv_loop_init(&loop->uv);
    if (rc < 0) {
        mg_free(loop->read_buffer);
        return rc;
    }
    loop->uv.data = loop;
    uv_timer_init(&loop->uv, &loop->tick);
    uv_prepare_init(&loop->uv, &loop->before_sleep);
    uv_prepare_start(&loop->before_sleep, before_sleep);
    uv_unref((uv_handle_t *)&loop->before_sleep); /* it alone keeps no loop running */
    mg_list_init(&loop->dirty);
    mg_wheel_init(&loop->wheel, mg_loop_now_ms(loop));
    mg_chunk_pool_init(&loop->chunks, CHUNKS_SPARE_MAX);
    return 0;
}

void mg_loop_deinit(struct mg_loop *loop)
{
    uv_close((uv_handle_t *)&loop->tick, NULL);
    uv_close((uv_handle_t *)&loop->before_sleep, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    free_spares(loop);
}
