/* h1_write.c - sending: heads straight into the stream's gathering block, bodies uncopied. */
#include "base/bytes.h"
#include "http/h1_inner.h"

enum { RESERVE_MAX = 8192, DECIMAL_MAX = 20 };

#define BIT(id) (UINT64_C(1) << (id))

/* The codec writes these by itself, from the head's facts. */
static const uint64_t OURS = BIT(MG_H_CONNECTION) | BIT(MG_H_KEEP_ALIVE) | BIT(MG_H_PROXY_CONNECTION) | BIT(MG_H_TE) |
                             BIT(MG_H_TRAILER) | BIT(MG_H_TRANSFER_ENCODING) | BIT(MG_H_UPGRADE) | BIT(MG_H_CONTENT_LENGTH) |
                             BIT(MG_H_EXPECT);

/* ---- putting bytes ------------------------------------------------------------------------------ */

struct out {
    struct mg_stream *stream;
    char *begin, *at, *end; /* reserved and not committed */
    size_t left;            /* bytes that the head needs beyond what was committed, as computed beforehand */
    size_t written;         /* committed */
    bool failed;
};

static void commit(struct out *o)
{
    size_t n = (size_t)(o->at - o->begin);

    mg_stream_commit(o->stream, n);
    o->written += n;
    o->left -= n < o->left ? n : o->left;
}

static bool more_room(struct out *o)
{
    size_t n;

    if (o->begin)
        commit(o);
    n = o->left == 0 ? 1 : o->left < RESERVE_MAX ? o->left : RESERVE_MAX;
    o->begin = o->at = mg_stream_reserve(o->stream, n);
    o->end = o->begin ? o->begin + n : NULL;
    o->failed |= !o->begin;
    return !o->failed;
}

static __attribute__((noinline)) void put_slow(struct out *o, const char *p, size_t n)
{
    while (n > 0 && !o->failed) {
        size_t room = (size_t)(o->end - o->at), part = n < room ? n : room;

        if (part == 0) {
            more_room(o);
            continue;
        }
        memcpy(o->at, p, part);
        o->at += part;
        p += part;
        n -= part;
    }
}

/* Inline, so that a literal becomes a store or two: all of a head fits into the first reservation, nearly always. */
static inline __attribute__((always_inline)) void put(struct out *o, const char *p, size_t n)
{
    if (n > (size_t)(o->end - o->at)) {
        put_slow(o, p, n);
        return;
    }
    memcpy(o->at, p, n);
    o->at += n;
}

static void put_str(struct out *o, struct mg_str s)
{
    if (s.n)
        put(o, s.p, s.n);
}

#define PUT(o, literal) put(o, literal, sizeof(literal) - 1)

static size_t decimal(char *end, uint64_t n)
{
    char *p = end;

    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    return (size_t)(end - p);
}

static void put_number(struct out *o, uint64_t n)
{
    char text[DECIMAL_MAX];
    size_t len = decimal(text + sizeof text, n);

    put(o, text + sizeof text - len, len);
}

/* ---- fields ------------------------------------------------------------------------------------------ */

/* What came through a parser is fit to be sent. What the gateway or a plugin added was checked when it was
 * added; whoever forgot must not be able to split a message. */
static bool is_sendable(const struct mg_header *f)
{
    if (!f->name || (OURS & BIT(f->id)))
        return false;
    if (f->flags & MG_HEADER_CHECKED)
        return true;
    return (f->name == mg_header_id_name(f->id).p || mg_header_name_ok(mg_str(f->name, f->name_n))) &&
           mg_header_value_ok(mg_str(f->value, f->value_n));
}

static size_t fields_size(const struct mg_headers *h)
{
    size_t n = 0;

    for (uint32_t i = 0; i < h->n; i++)
        n += h->at[i].name ? h->at[i].name_n + h->at[i].value_n + 4 : 0;
    return n;
}

static void put_field(struct out *o, const struct mg_header *f)
{
    size_t n = (size_t)f->name_n + f->value_n + 4;

    if ((size_t)(o->end - o->at) >= n) { /* nearly always */
        char *p = o->at;

        mg_copy_short(p, f->name, f->name_n);
        p += f->name_n;
        *p++ = ':';
        *p++ = ' ';
        mg_copy_short(p, f->value, f->value_n);
        p += f->value_n;
        *p++ = '\r';
        *p++ = '\n';
        o->at = p;
        return;
    }
    put_slow(o, f->name, f->name_n);
    put_slow(o, ": ", 2);
    put_slow(o, f->value, f->value_n);
    put_slow(o, "\r\n", 2);
}

/* skip: a field that stands elsewhere already, or NULL. */
static void put_fields(struct out *o, const struct mg_headers *h, const struct mg_header *skip)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (&h->at[i] != skip && is_sendable(&h->at[i]))
            put_field(o, &h->at[i]);
}

static void put_length(struct out *o, int64_t n)
{
    PUT(o, "content-length: ");
    put_number(o, (uint64_t)n);
    PUT(o, "\r\n");
}

static bool begin(struct out *o, struct mg_h1 *h, size_t size)
{
    *o = (struct out){ .stream = h->stream, .left = size };
    return more_room(o);
}

static int result(const struct mg_h1 *h)
{
    return h->stream->is_full ? MG_FULL : 0;
}

/* Something of ours went out that cannot be made whole: nothing more is sent, release cuts the connection. */
static int spoil(struct mg_h1 *h, int error)
{
    h->is_cut = 1;
    h->keep_alive = 0;
    return error;
}

static int end_head(struct mg_h1 *h, struct out *o, int flags)
{
    PUT(o, "\r\n");
    if (o->failed)
        return spoil(h, MG_ENOMEM);
    commit(o);
    h->leg.head_bytes_out += o->written;
    if (!(flags & MG_MORE))
        mg_stream_flush(h->stream);
    return result(h);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static void put_status_line(struct out *o, const struct mg_head *head)
{
    struct mg_str reason = head->reason.n && mg_header_value_ok(head->reason) ? head->reason : mg_reason(head->status);

    PUT(o, "HTTP/1.1 ");
    put_number(o, (uint64_t)head->status);
    PUT(o, " ");
    put_str(o, reason);
    PUT(o, "\r\n");
}

/* Whoever waits for a 100 that never came may send the body or not: the connection is of no further use (RFC 9110, 10.1.1). */
static bool body_is_in_doubt(const struct mg_h1 *h)
{
    return h->wants_continue && !h->leg.got_end && h->leg.body_bytes_in == 0;
}

/* An early answer to a body whose rest is too long to be read and thrown away. */
static bool body_is_too_long(const struct mg_h1 *h)
{
    return h->state == MG_H1_LENGTH && h->left_in > MG_H1_DISCARD_MAX;
}

static void put_response_framing(struct mg_h1 *h, struct out *o, const struct mg_head *head)
{
    bool is_bodiless = h->to_method == MG_M_HEAD || head->status == 204 || head->status == 304;

    if (is_bodiless) {
        h->no_body_out = 1;
        if (head->status != 204 && head->length >= 0)
            put_length(o, head->length);
    } else if (head->framing == MG_BODY_LENGTH || head->framing == MG_BODY_NONE) {
        h->length_out = 1;
        h->left_out = head->framing == MG_BODY_LENGTH ? head->length : 0;
        put_length(o, h->left_out);
    } else if (h->peer_http10) { /* its end is the end of the connection */
        h->keep_alive = 0;
    } else {
        h->chunked_out = 1;
        PUT(o, "transfer-encoding: chunked\r\n");
        if (head->trailer.n && h->trailers_out && mg_header_value_ok(head->trailer)) {
            PUT(o, "trailer: ");
            put_str(o, head->trailer);
            PUT(o, "\r\n");
        }
    }
}

static int send_response(struct mg_leg *leg, const struct mg_head *head, int flags)
{
    struct mg_h1 *h = mg_h1_of(leg);
    struct out o;

    if (h->is_done || !h->is_busy || h->head_out || head->status < 200 || head->status > 999)
        return MG_EINVAL;
    if (!begin(&o, h, fields_size(&head->headers) + head->reason.n + head->trailer.n + 192))
        return MG_ENOMEM;
    h->head_out = 1;
    if (head->closes || h->drains || leg->was_reset || body_is_in_doubt(h) || body_is_too_long(h))
        h->keep_alive = 0;
    put_status_line(&o, head);
    put_fields(&o, &head->headers, NULL);
    put_response_framing(h, &o, head);
    if (!h->keep_alive)
        PUT(&o, "connection: close\r\n");
    else if (h->peer_http10)
        PUT(&o, "connection: keep-alive\r\n");
    return end_head(h, &o, flags);
}

/* HTTP/1.0 clients know no interim answers (RFC 9110, 15.2). */
static int send_interim(struct mg_leg *leg, const struct mg_head *head)
{
    struct mg_h1 *h = mg_h1_of(leg);
    struct out o;

    if (h->is_done || !h->is_busy || h->head_out || leg->was_reset || head->status < 100 || head->status > 199 || head->status == 101)
        return MG_EINVAL;
    if (h->peer_http10)
        return 0;
    if (!begin(&o, h, fields_size(&head->headers) + head->reason.n + 64))
        return MG_ENOMEM;
    if (head->status == 100)
        h->wants_continue = 0;
    put_status_line(&o, head);
    put_fields(&o, &head->headers, NULL);
    return end_head(h, &o, 0);
}

/* ---- requests ------------------------------------------------------------------------------------- */

static void put_request_framing(struct mg_h1 *h, struct out *o, const struct mg_head *head)
{
    if (head->framing == MG_BODY_LENGTH) {
        h->length_out = 1;
        h->left_out = head->length;
        put_length(o, head->length);
    } else if (head->framing == MG_BODY_NONE) {
        h->no_body_out = 1;
        /* A method that expects content says so when there is none (RFC 9110, 8.6). */
        if (head->method == MG_M_POST || head->method == MG_M_PUT || head->method == MG_M_PATCH)
            put_length(o, 0);
    } else {
        h->chunked_out = h->trailers_out = 1;
        PUT(o, "transfer-encoding: chunked\r\n");
        if (head->trailer.n && mg_header_value_ok(head->trailer)) {
            PUT(o, "trailer: ");
            put_str(o, head->trailer);
            PUT(o, "\r\n");
        }
    }
}

static bool is_visible(struct mg_str s)
{
    return s.n > 0 && mg_bytes_from(s.p, s.n, ' ' + 1);
}

static void put_request_line(struct out *o, const struct mg_head *head)
{
    put_str(o, head->method_text);
    PUT(o, " ");
    put_str(o, head->target);
    PUT(o, " HTTP/1.1\r\n");
}

/* Host comes first (RFC 9110, 7.2). */
static const struct mg_header *put_host(struct out *o, const struct mg_head *head)
{
    const struct mg_header *host = mg_headers_find_id(&head->headers, MG_H_HOST);

    if (host && is_sendable(host)) {
        put_field(o, host);
        return host;
    }
    PUT(o, "host: ");
    if (mg_header_value_ok(head->authority))
        put_str(o, head->authority);
    PUT(o, "\r\n");
    return NULL;
}

static int send_request(struct mg_leg *leg, const struct mg_head *head, int flags)
{
    struct mg_h1 *h = mg_h1_of(leg);
    const struct mg_header *host;
    struct out o;

    if (h->is_done || !h->is_busy || h->head_out || !mg_header_name_ok(head->method_text) || !is_visible(head->target))
        return MG_EINVAL;
    if (!begin(&o, h, fields_size(&head->headers) + head->method_text.n + head->target.n + head->authority.n + head->trailer.n + 192))
        return MG_ENOMEM;
    h->head_out = 1;
    h->to_method = (uint8_t)head->method;
    put_request_line(&o, head);
    host = put_host(&o, head);
    put_fields(&o, &head->headers, host);
    put_request_framing(h, &o, head);
    if (head->closes) {
        h->keep_alive = 0;
        if (head->accepts_trailers)
            PUT(&o, "te: trailers\r\nconnection: te, close\r\n");
        else
            PUT(&o, "connection: close\r\n");
    } else if (head->accepts_trailers) {
        PUT(&o, "te: trailers\r\nconnection: te\r\n");
    }
    return end_head(h, &o, flags);
}

/* ---- bodies ------------------------------------------------------------------------------------------ */

static int send_chunk(struct mg_h1 *h, struct mg_str bytes, int flags)
{
    static const char hex[] = "0123456789abcdef";
    char *p = mg_stream_reserve(h->stream, 20);
    int shift = 60, n = 0;

    if (!p)
        return spoil(h, MG_ENOMEM);
    while (shift > 0 && (bytes.n >> shift) == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        p[n++] = hex[(bytes.n >> shift) & 15];
    p[n++] = '\r';
    p[n++] = '\n';
    mg_stream_commit(h->stream, (size_t)n);
    return mg_stream_write2(h->stream, bytes.p, bytes.n, "\r\n", 2, flags);
}

static int send_data(struct mg_leg *leg, struct mg_str bytes, int flags)
{
    struct mg_h1 *h = mg_h1_of(leg);

    if (h->is_done || !h->is_busy || !h->head_out || h->is_cut || leg->sent_end)
        return MG_EINVAL;
    if (h->no_body_out || bytes.n == 0) {
        if (!(flags & MG_MORE))
            mg_stream_flush(h->stream);
        return result(h);
    }
    if (h->length_out) {
        if ((uint64_t)bytes.n > (uint64_t)h->left_out) /* never more than was promised */
            return spoil(h, MG_EPROTO);
        h->left_out -= (int64_t)bytes.n;
    }
    leg->body_bytes_out += bytes.n;
    return h->chunked_out ? send_chunk(h, bytes, flags) : mg_stream_write(h->stream, bytes.p, bytes.n, flags);
}

static int send_last_chunk(struct mg_h1 *h, const struct mg_headers *trailers)
{
    struct out o;

    if (!trailers || !h->trailers_out) {
        mg_stream_write(h->stream, "0\r\n\r\n", 5, 0);
        return 0;
    }
    if (!begin(&o, h, fields_size(trailers) + 8))
        return spoil(h, MG_ENOMEM);
    PUT(&o, "0\r\n");
    put_fields(&o, trailers, NULL);
    return end_head(h, &o, 0) < 0 ? MG_ENOMEM : 0;
}

static int send_end(struct mg_leg *leg, const struct mg_headers *trailers)
{
    struct mg_h1 *h = mg_h1_of(leg);
    int rc = 0;

    if (h->is_done || !h->is_busy || !h->head_out || h->is_cut || leg->sent_end)
        return MG_EINVAL;
    if (h->length_out && h->left_out > 0) /* never less, either */
        return spoil(h, MG_EPROTO);
    if (h->chunked_out)
        rc = send_last_chunk(h, trailers);
    else
        mg_stream_flush(h->stream);
    if (rc < 0)
        return rc;
    leg->sent_end = 1;
    return result(h);
}

const struct mg_leg_ops mg_h1_ops_server = {
    .send_head = send_response, .send_interim = send_interim, .send_data = send_data, .send_end = send_end,
    .pause = mg_h1_pause, .resume = mg_h1_resume, .release = mg_h1_release,
};
const struct mg_leg_ops mg_h1_ops_client = {
    .send_head = send_request, .send_interim = send_interim, .send_data = send_data, .send_end = send_end,
    .pause = mg_h1_pause, .resume = mg_h1_resume, .release = mg_h1_release,
};
