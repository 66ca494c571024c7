#include "net/stream_private.h"
#include <sys/socket.h>
#include <sys/un.h>

enum { HIGH_BYTES = 128 << 10, LOW_BYTES = 32 << 10 };

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf);

void mg_stream_init(struct mg_stream *s, struct mg_loop *loop, const struct mg_stream_events *events, void *owner)
{
    *s = (struct mg_stream){ .events = events, .loop = loop, .owner = owner, .high = HIGH_BYTES, .low = LOW_BYTES };
    s->wrote_ms = mg_loop_now_ms(loop);
    mg_list_init(&s->dirty_node);
}

static struct mg_stream *stream_of(void *handle) { return mg_container(handle, struct mg_stream, h); }

static int handle_init(struct mg_stream *s, bool is_pipe)
{
    int rc = is_pipe ? uv_pipe_init(&s->loop->uv, &s->h.pipe, 0) : uv_tcp_init(&s->loop->uv, &s->h.tcp);

    s->is_pipe = is_pipe;
    s->has_handle = rc == 0;
    return rc;
}

/* ---- telling the owner ---- */

void mg_stream_tell_open(struct mg_stream *s, int status, const char *why)
{
    if (status == 0)
        s->is_open = 1;
    else
        s->has_ended = 1; /* nothing more is told */
    s->events->on_open(s, status, why);
}

void mg_stream_tell_end(struct mg_stream *s, int status)
{
    if (s->has_ended)
        return;
    s->has_ended = 1;
    s->events->on_end(s, status);
}

void mg_stream_dirty(struct mg_stream *s)
{
    if (!s->is_closing && mg_list_empty(&s->dirty_node))
        mg_list_push(&s->loop->dirty, &s->dirty_node);
}

void mg_stream_fail(struct mg_stream *s, int error)
{
    if (s->is_broken || s->is_closing)
        return;
    s->is_broken = 1;
    s->error = error;
    mg_out_drop(s);
    if (s->tls)
        mg_tls_conn_drop(s);
    mg_stream_dirty(s);
}

void mg_stream_turn(struct mg_stream *s)
{
    int error = s->error;

    s->error = 0;
    if (error && s->is_open)
        mg_stream_tell_end(s, error);
    else if (error && !s->has_ended)
        mg_stream_tell_open(s, error, uv_strerror(error));
    else if (!error)
        mg_stream_flush(s);
    if (!s->is_closing)
        mg_out_check_drain(s);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    *buf = uv_buf_init(stream_of(h)->loop->read_buffer, MG_READ_BYTES);
}

/* Start or stop, as the flags say. A handshake reads on whatever its owner wants. */
static void set_reading(struct mg_stream *s)
{
    bool want = s->is_up && (!s->is_paused || !s->is_open) && !s->has_ended && !s->is_closing;
    int rc;

    if (want == s->is_reading)
        return;
    s->is_reading = want;
    if (!want) {
        uv_read_stop(&s->h.uv);
        return;
    }
    rc = uv_read_start(&s->h.uv, on_alloc, on_read);
    if (rc < 0)
        mg_stream_fail(s, rc);
}

static void read_ended(struct mg_stream *s, int status)
{
    s->is_reading = 0; /* libuv stops by itself */
    if (status == UV_EOF && s->tls) {
        mg_tls_conn_eof(s);
        return;
    }
    if (status != UV_EOF) {
        mg_stream_fail(s, status);
        mg_stream_turn(s);
        return;
    }
    mg_stream_tell_end(s, UV_EOF);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
    struct mg_stream *s = stream_of(h);
    struct mg_loop *loop = s->loop;

    if (n == 0)
        return;
    if (n < 0) {
        read_ended(s, (int)n);
    } else if (s->tls) {
        mg_tls_conn_read(s, buf->base, (size_t)n);
        if (!s->is_closing)
            set_reading(s); /* an owner that paused during the handshake */
    } else {
        s->bytes_in += (size_t)n;
        s->events->on_data(s, buf->base, (size_t)n);
    }
    mg_loop_flush(loop);
}

void mg_stream_pause(struct mg_stream *s)
{
    s->is_paused = 1;
    set_reading(s);
}

void mg_stream_resume(struct mg_stream *s)
{
    s->is_paused = 0;
    set_reading(s);
}

/* ---- accept, connect ---- */

int mg_stream_accept(struct mg_stream *s, uv_stream_t *listener, struct mg_tls *tls)
{
    int rc = handle_init(s, listener->type == UV_NAMED_PIPE);

    if (rc < 0)
        return rc;
    rc = uv_accept(listener, &s->h.uv);
    if (rc < 0)
        return rc;
    s->is_up = 1;
    if (tls) {
        rc = mg_tls_conn_open(s, tls, NULL);
        if (rc < 0)
            return rc;
    }
    s->is_open = !tls;
    rc = uv_read_start(&s->h.uv, on_alloc, on_read);
    s->is_reading = rc == 0;
    return rc;
}

static void on_connect(uv_connect_t *req, int status)
{
    struct mg_request *r = mg_container(req, struct mg_request, uv.connect);
    struct mg_stream *s = r->stream;

    mg_request_give(r);
    if (s->is_closing)
        return;
    if (status < 0) {
        mg_stream_fail(s, status);
        mg_stream_turn(s);
        mg_loop_flush(s->loop);
        return;
    }
    if (s->is_broken) /* no memory for what was written before; that has been told or will be */
        return;
    s->is_up = 1;
    s->wrote_ms = mg_loop_now_ms(s->loop);
    set_reading(s);
    if (s->tls)
        mg_tls_conn_start(s);
    else
        mg_stream_tell_open(s, 0, "");
    mg_stream_dirty(s); /* what was written before */
    mg_loop_flush(s->loop);
}

static int connect_pipe(struct mg_stream *s, const struct sockaddr_un *sun, struct mg_request *r)
{
    int rc = handle_init(s, true);

    if (rc < 0)
        return rc;
    uv_pipe_connect(&r->uv.connect, &s->h.pipe, sun->sun_path, on_connect); /* its errors come by the callback */
    return 0;
}

static int connect_tcp(struct mg_stream *s, const struct sockaddr *addr, struct mg_request *r)
{
    int rc = handle_init(s, false);

    if (rc < 0)
        return rc;
    uv_tcp_nodelay(&s->h.tcp, 1); /* kept until there is a socket */
    return uv_tcp_connect(&r->uv.connect, &s->h.tcp, addr, on_connect);
}

void mg_stream_connect(struct mg_stream *s, const struct sockaddr *addr, struct mg_tls *tls, const char *server_name)
{
    struct mg_request *r = mg_request_take(s);
    int rc = r ? 0 : UV_ENOMEM;

    if (rc == 0 && tls)
        rc = mg_tls_conn_open(s, tls, server_name);
    if (rc == 0)
        rc = addr->sa_family == AF_UNIX ? connect_pipe(s, (const struct sockaddr_un *)addr, r) : connect_tcp(s, addr, r);
    if (rc == 0)
        return;
    if (r)
        mg_request_give(r);
    mg_stream_fail(s, rc);
}

/* ---- writing ---- */

static bool accepts(const struct mg_stream *s) { return !s->is_closing && !s->is_broken && !s->wants_shutdown; }

static int check_full(struct mg_stream *s)
{
    if (s->out_bytes + s->plain_bytes <= s->high)
        return 0;
    s->is_full = 1;
    return MG_FULL;
}

int mg_stream_write2(struct mg_stream *s, const char *a, size_t a_n, const char *b, size_t b_n, int flags)
{
    bool gather = flags & MG_MORE;

    if (!accepts(s) || a_n + b_n == 0)
        return 0;
    s->bytes_out += a_n + b_n;
    if (s->tls) {
        mg_tls_conn_write(s, a, a_n, b, b_n, gather);
    } else if (gather && (s->is_writing || s->out_bytes + a_n + b_n <= MG_GATHER_BYTES)) {
        mg_out_append(s, a, a_n);
        mg_out_append(s, b, b_n);
    } else {
        mg_out_send(s, a, a_n, b, b_n);
        gather = false;
    }
    if (gather)
        mg_stream_dirty(s);
    return check_full(s);
}

int mg_stream_write(struct mg_stream *s, const char *p, size_t n, int flags)
{
    return mg_stream_write2(s, p, n, NULL, 0, flags);
}

char *mg_stream_reserve(struct mg_stream *s, size_t n)
{
    struct mg_block *b = s->tls ? mg_tls_conn_room(s, n) : mg_blocks_room(s->loop, &s->out_first, &s->out_last, n);

    return b ? b->bytes + b->to : NULL;
}

void mg_stream_commit(struct mg_stream *s, size_t n)
{
    struct mg_block *b = s->tls ? mg_tls_conn_room(s, 0) : s->out_last;

    if (!accepts(s))
        return;
    b->to += (uint32_t)n;
    s->bytes_out += n;
    *(s->tls ? &s->plain_bytes : &s->out_bytes) += n;
    (void)check_full(s);
    mg_stream_dirty(s);
}

void mg_stream_flush(struct mg_stream *s)
{
    if (s->is_closing || s->is_broken)
        return;
    if (s->tls)
        mg_tls_conn_push(s);
    mg_out_push(s);
}

void mg_stream_notify_flushed(struct mg_stream *s)
{
    s->wants_flushed = 1;
    mg_stream_dirty(s);
}

void mg_stream_shutdown(struct mg_stream *s)
{
    if (!accepts(s))
        return;
    mg_stream_flush(s);
    if (s->tls)
        mg_tls_conn_notify(s);
    s->wants_shutdown = 1;
    mg_out_push(s);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *h)
{
    struct mg_stream *s = stream_of(h);

    mg_blocks_free(s->loop, &s->out_first, &s->out_last);
    if (s->tls)
        mg_tls_conn_free(s);
    s->events->on_closed(s);
}

static void end(struct mg_stream *s)
{
    s->is_closing = 1;
    mg_list_remove(&s->dirty_node);
    if (!s->has_handle)
        handle_init(s, false); /* so that the end comes from the loop in every case */
    uv_close(&s->h.handle, on_closed);
}

void mg_stream_close(struct mg_stream *s)
{
    if (s->is_closing)
        return;
    if (s->is_up && !s->is_broken) {
        mg_stream_flush(s);
        if (s->tls && !s->wants_shutdown)
            mg_tls_conn_notify(s);
    }
    end(s);
}

void mg_stream_abort(struct mg_stream *s)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    int fd;

    if (s->is_closing)
        return;
    if (s->is_up && !s->is_pipe && uv_fileno(&s->h.handle, &fd) == 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    end(s);
}

/* ---- addresses ---- */

static int address(const struct mg_stream *s, struct sockaddr_storage *out,
                   int (*get)(const uv_tcp_t *, struct sockaddr *, int *))
{
    int n = sizeof(*out);

    memset(out, 0, sizeof(*out));
    if (!s->is_up)
        return UV_ENOTCONN;
    if (s->is_pipe) {
        out->ss_family = AF_UNIX;
        return 0;
    }
    return get(&s->h.tcp, (struct sockaddr *)out, &n);
}

int mg_stream_peer(const struct mg_stream *s, struct sockaddr_storage *out) { return address(s, out, uv_tcp_getpeername); }
int mg_stream_local(const struct mg_stream *s, struct sockaddr_storage *out) { return address(s, out, uv_tcp_getsockname); }
