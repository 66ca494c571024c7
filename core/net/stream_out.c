#include "net/stream_private.h"
#include "base/alloc.h"

enum { WRITE_BLOCKS = 4, TRY_BLOCKS = 16 }; /* libuv keeps up to 4 buffers of a request without malloc */

/* ---- requests ---- */

struct mg_request *mg_request_take(struct mg_stream *s)
{
    struct mg_request *r = s->loop->requests;

    if (r)
        s->loop->requests = r->next;
    else if (!(r = mg_malloc(sizeof(*r))))
        return NULL;
    r->stream = s;
    r->bytes = 0;
    return r;
}

void mg_request_give(struct mg_request *r)
{
    struct mg_loop *loop = r->stream->loop;

    r->next = loop->requests;
    loop->requests = r;
}

void mg_requests_free(struct mg_loop *loop)
{
    struct mg_request *r;

    while ((r = loop->requests)) {
        loop->requests = r->next;
        mg_free(r);
    }
}

/* ---- lists of blocks ---- */

struct mg_block *mg_blocks_room(struct mg_loop *loop, struct mg_block **first, struct mg_block **last, size_t n)
{
    struct mg_block *b = *last;

    if (b && MG_BLOCK_ROOM - b->to >= n)
        return b;
    b = mg_block_take(loop);
    if (!b)
        return NULL;
    *(*last ? &(*last)->next : first) = b;
    *last = b;
    return b;
}

bool mg_blocks_append(struct mg_loop *loop, struct mg_block **first, struct mg_block **last, const char *p, size_t n)
{
    while (n) {
        struct mg_block *b = mg_blocks_room(loop, first, last, 1);
        size_t room, part;

        if (!b)
            return false;
        room = MG_BLOCK_ROOM - b->to;
        part = n < room ? n : room;
        memcpy(b->bytes + b->to, p, part);
        b->to += (uint32_t)part;
        p += part;
        n -= part;
    }
    return true;
}

void mg_blocks_free(struct mg_loop *loop, struct mg_block **first, struct mg_block **last)
{
    struct mg_block *b;

    while ((b = *first)) {
        *first = b->next;
        mg_block_give(loop, b);
    }
    *last = NULL;
}

/* ---- what waits for the wire ---- */

void mg_out_append(struct mg_stream *s, const char *p, size_t n)
{
    if (!n || s->is_broken)
        return;
    if (mg_blocks_append(s->loop, &s->out_first, &s->out_last, p, n))
        s->out_bytes += n;
    else
        mg_stream_fail(s, UV_ENOMEM);
}

void mg_out_drop(struct mg_stream *s)
{
    if (s->is_writing) /* libuv still looks at them; the write's callback drops them */
        return;
    mg_blocks_free(s->loop, &s->out_first, &s->out_last);
    s->out_bytes = 0;
}

/* The first n waiting bytes are gone. Empty blocks go back. */
static void consume(struct mg_stream *s, size_t n)
{
    struct mg_block *b;

    s->out_bytes -= n;
    while ((b = s->out_first)) {
        size_t part = b->to - b->from;

        if (part > n) {
            b->from += (uint32_t)n;
            return;
        }
        n -= part;
        s->out_first = b->next;
        mg_block_give(s->loop, b);
    }
    s->out_last = NULL;
}

static unsigned blocks_to_bufs(struct mg_block *b, uv_buf_t *bufs, unsigned max, size_t *bytes)
{
    unsigned n = 0;

    *bytes = 0;
    for (; b && n < max; b = b->next) {
        if (b->to == b->from)
            continue;
        bufs[n++] = uv_buf_init(b->bytes + b->from, b->to - b->from);
        *bytes += b->to - b->from;
    }
    return n;
}

static void on_written(uv_write_t *w, int status)
{
    struct mg_request *r = mg_container(w, struct mg_request, uv.write);
    struct mg_stream *s = r->stream;
    size_t bytes = r->bytes;

    mg_request_give(r);
    s->is_writing = 0;
    if (s->is_closing)
        return;
    if (s->is_broken) {
        mg_out_drop(s);
    } else if (status < 0) {
        mg_stream_fail(s, status);
    } else {
        s->wrote_ms = mg_loop_now_ms(s->loop);
        consume(s, bytes);
        mg_out_push(s);
    }
    mg_out_check_drain(s);
    mg_loop_flush(s->loop);
}

/* The socket is full: have libuv wait for it. */
static void start_write(struct mg_stream *s)
{
    uv_buf_t bufs[WRITE_BLOCKS];
    struct mg_request *r = mg_request_take(s);
    unsigned n;
    int rc;

    if (!r) {
        mg_stream_fail(s, UV_ENOMEM);
        return;
    }
    n = blocks_to_bufs(s->out_first, bufs, WRITE_BLOCKS, &r->bytes);
    rc = uv_write(&r->uv.write, &s->h.uv, bufs, n, on_written);
    if (rc < 0) {
        mg_request_give(r);
        mg_stream_fail(s, rc);
        return;
    }
    s->is_writing = 1;
}

/* One try with all that waits and two pieces more. Returns how many bytes went; 0 after an error as well. */
static size_t try_write(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n)
{
    uv_buf_t bufs[TRY_BLOCKS + 2];
    size_t waiting;
    unsigned n = blocks_to_bufs(s->out_first, bufs, TRY_BLOCKS, &waiting);
    int rc;

    if (waiting == s->out_bytes || !s->out_first) { /* else the pieces are not next in line */
        if (a_n)
            bufs[n++] = uv_buf_init((char *)a, (unsigned)a_n);
        if (b_n)
            bufs[n++] = uv_buf_init((char *)b, (unsigned)b_n);
    }
    if (!n)
        return 0;
    rc = uv_try_write(&s->h.uv, bufs, n);
    if (rc < 0 && rc != UV_EAGAIN)
        mg_stream_fail(s, rc);
    if (rc <= 0)
        return 0;
    s->wrote_ms = mg_loop_now_ms(s->loop);
    return (size_t)rc;
}

void mg_out_send(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n)
{
    size_t waited, done, part;

    if (s->is_broken)
        return;
    if (!s->is_up || s->is_writing) {
        mg_out_append(s, a, a_n);
        mg_out_append(s, b, b_n);
        return;
    }
    done = try_write(s, a, a_n, b, b_n);
    if (s->is_broken)
        return;
    /* Blocks first, then a, then b. An empty block that was only reserved goes here, too. */
    waited = s->out_bytes;
    part = done < waited ? done : waited;
    consume(s, part);
    done -= part;
    part = done < a_n ? done : a_n;
    mg_out_append(s, a + part, a_n - part);
    done -= part;
    mg_out_append(s, b + done, b_n - done);
    if (s->out_first && !s->is_broken)
        start_write(s);
}

static void on_shut(uv_shutdown_t *req, int status)
{
    (void)status; /* a peer that is gone already is found by reading or writing */
    mg_request_give(mg_container(req, struct mg_request, uv.shutdown));
}

static void shut(struct mg_stream *s)
{
    struct mg_request *r = mg_request_take(s);

    if (!r) {
        mg_stream_fail(s, UV_ENOMEM);
        return;
    }
    s->has_shut = 1;
    if (uv_shutdown(&r->uv.shutdown, &s->h.uv, on_shut) < 0)
        mg_request_give(r);
}

void mg_out_push(struct mg_stream *s)
{
    if (!s->is_up || s->is_writing || s->is_broken)
        return;
    if (s->out_first)
        mg_out_send(s, NULL, 0, NULL, 0);
    if (s->wants_shutdown && !s->has_shut && !s->is_broken && mg_stream_is_flushed(s))
        shut(s);
}

void mg_out_check_drain(struct mg_stream *s)
{
    size_t waiting = s->out_bytes + s->plain_bytes;
    bool flushed = s->wants_flushed && mg_stream_is_flushed(s);

    if (!flushed && !(s->is_full && waiting <= s->low))
        return;
    s->is_full = 0;
    if (flushed)
        s->wants_flushed = 0;
    s->events->on_drain(s);
}
