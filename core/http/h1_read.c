/* h1_read.c - reading a message: one function for each state. */
#include "http/h1_inner.h"

enum { MORE = -1 };

static int error_of(const struct mg_refusal *no)
{
    switch (no->status) {
    case 413:
    case 414:
    case 431:
        return MG_ETOOBIG;
    case 503:
        return MG_ENOMEM;
    default:
        return MG_EPROTO;
    }
}

/* The peer's mistake. What it sends from now on is dropped, so all of n is taken. */
static long refused(struct mg_h1 *h, size_t n, const struct mg_refusal *no)
{
    mg_h1_fail(h, error_of(no), no->status, no->why);
    return (long)n;
}

static long broken(struct mg_h1 *h, size_t n, int status, const char *why)
{
    return refused(h, n, &(struct mg_refusal){ .status = status, .why = why });
}

static void scan_anew(struct mg_h1 *h)
{
    h->scanned = h->line_from = h->lines = 0;
    h->line_checked = 0;
}

static void enter(struct mg_h1 *h, int state)
{
    h->state = (uint8_t)state;
    scan_anew(h);
}

/* ---- before a head -------------------------------------------------------------------------- */

static bool begin_request(struct mg_h1 *h)
{
    struct mg_leg *leg = &h->leg;

    leg->head_bytes_in = leg->body_bytes_in = leg->body_bytes_out = leg->head_bytes_out = 0;
    leg->got_end = leg->sent_end = leg->is_paused = leg->was_reset = 0;
    h->is_busy = 1;
    h->requests++;
    h->keep_alive = !h->drains;
    h->head_out = h->chunked_out = h->length_out = h->no_body_out = h->wants_continue = h->trailers_out = h->is_cut = 0;
    h->peer_http10 = 0;
    h->to_method = MG_M_OTHER;
    h->trailers = NULL;
    enter(h, MG_H1_HEAD);
    return h->events->on_begin(h, leg);
}

/* One empty line before a request is passed over (RFC 9112, 2.2) and begins no exchange; a second one is refused. */
static long step_first(struct mg_h1 *h, const char *p, size_t n)
{
    char c = p[0];

    if (h->blank == 0 && c == '\r') {
        h->blank = 1;
        return 1;
    }
    if (h->blank == 1 && c == '\n') {
        h->blank = 2;
        return 1;
    }
    if (!begin_request(h)) {
        h->is_busy = 0;
        h->state = MG_H1_REFUSED; /* the caller settles it: the connection closes */
        return (long)n;
    }
    if (h->is_done)
        return (long)n;
    if (h->blank == 1 || c == '\r' || c == '\n')
        return broken(h, n, 400, "empty lines before the request");
    return 0;
}

/* ---- heads ------------------------------------------------------------------------------------- */

static void enter_body(struct mg_h1 *h, const struct mg_head *head)
{
    static const uint8_t states[] = {
        [MG_BODY_NONE] = MG_H1_ENDING, [MG_BODY_LENGTH] = MG_H1_LENGTH, [MG_BODY_STREAM] = MG_H1_CHUNK_LINE,
        [MG_BODY_CLOSE] = MG_H1_UNTIL_CLOSE,
    };

    h->extra_in = 0;
    h->left_in = head->framing == MG_BODY_LENGTH ? head->length : 0;
    enter(h, head->framing == MG_BODY_LENGTH && head->length == 0 ? MG_H1_ENDING : states[head->framing]);
}

static long take_request(struct mg_h1 *h, struct mg_head *head, long n)
{
    h->keep_alive &= !head->closes;
    h->peer_http10 = head->version == 10;
    h->to_method = (uint8_t)head->method;
    h->trailers_out = head->accepts_trailers;
    h->wants_continue = head->expects_continue;
    enter_body(h, head);
    h->leg.events->on_head(&h->leg, head);
    return n;
}

static long take_answer(struct mg_h1 *h, struct mg_head *head, long n)
{
    if (head->status < 200) {
        if (++h->blank > 100) /* no client wants that many */
            return broken(h, (size_t)n, 0, "too many interim answers");
        enter(h, MG_H1_HEAD);
        if (h->leg.events->on_interim)
            h->leg.events->on_interim(&h->leg, head);
        return n;
    }
    h->keep_alive &= !head->closes;
    enter_body(h, head);
    h->leg.events->on_head(&h->leg, head);
    return n;
}

static long step_head(struct mg_h1 *h, const char *p, size_t n)
{
    struct mg_refusal no = { 0 };
    long whole = mg_h1_scan_head(h, p, n, &no);
    struct mg_head *head;

    if (whole < 0)
        return refused(h, n, &no);
    if (whole == 0)
        return MORE;
    head = mg_h1_read_head(h, p, (size_t)whole, &no);
    if (!head)
        return refused(h, n, &no);
    h->leg.head_bytes_in += (uint64_t)whole;
    h->rest -= (uint32_t)whole;
    return h->is_server ? take_request(h, head, whole) : take_answer(h, head, whole);
}

/* ---- bodies ------------------------------------------------------------------------------------- */

/* A piece goes up, or is thrown away when the answer is out already and nobody wants it. */
static void give(struct mg_h1 *h, const char *p, size_t n)
{
    h->leg.body_bytes_in += n;
    h->rest -= (uint32_t)n;
    h->leg.at_end = h->state == MG_H1_ENDING;
    if (!h->is_mute)
        h->leg.events->on_data(&h->leg, mg_str(p, n));
    else if ((h->extra_in += (uint32_t)n) > MG_H1_DISCARD_MAX)
        mg_h1_fail(h, MG_ETOOBIG, 0, "more than is read after an answer");
}

/* Is the plain end of a chunked body there already? Its length, or 0. */
static size_t last_chunk(const char *p, size_t n)
{
    static const char end[] = "\r\n0\r\n\r\n";

    return n >= sizeof end - 1 && memcmp(p, end, sizeof end - 1) == 0 ? sizeof end - 1 : 0;
}

static long step_length(struct mg_h1 *h, const char *p, size_t n)
{
    size_t part = (uint64_t)n < (uint64_t)h->left_in ? n : (size_t)h->left_in;
    size_t after = 0;

    h->left_in -= (int64_t)part;
    if (h->left_in == 0 && h->state == MG_H1_CHUNK_DATA)
        after = last_chunk(p + part, n - part);
    if (h->left_in == 0)
        enter(h, h->state == MG_H1_LENGTH || after ? MG_H1_ENDING : MG_H1_CHUNK_CRLF);
    h->rest -= (uint32_t)after;
    give(h, p, part);
    return (long)(part + after);
}

static long step_chunk_line(struct mg_h1 *h, const char *p, size_t n)
{
    const char *nl = memchr(p + h->scanned, '\n', n - h->scanned);
    size_t line_n = nl ? (size_t)(nl - p) : n;
    struct mg_refusal no;
    uint64_t size;

    if (line_n > MG_H1_CHUNK_LINE_MAX)
        return broken(h, n, 400, "chunk line too long");
    h->scanned = (uint32_t)n;
    if (!nl)
        return MORE;
    if (line_n == 0 || p[line_n - 1] != '\r')
        return broken(h, n, 400, "bare LF in a chunk line");
    if (mg_framing_chunk_line(mg_str(p, line_n - 1), &size, &no) != 0)
        return refused(h, n, &no);
    if (line_n > 17 && (h->extra_in += (uint32_t)line_n) > (h->is_mute ? MG_H1_DISCARD_MAX : MG_H1_EXTENSIONS_MAX))
        return broken(h, n, 400, "too many chunk extensions");
    h->left_in = (int64_t)size;
    enter(h, size == 0 ? MG_H1_TRAILERS : MG_H1_CHUNK_DATA);
    return (long)line_n + 1;
}

static long step_chunk_crlf(struct mg_h1 *h, const char *p, size_t n)
{
    if (p[0] != '\r' || (n > 1 && p[1] != '\n'))
        return broken(h, n, 400, "chunk longer than its size");
    if (n < 2)
        return MORE;
    enter(h, MG_H1_CHUNK_LINE);
    return 2;
}

/* The section's length with its empty line, 0: not whole yet, -1: refused. */
static long scan_trailers(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    const size_t most = (size_t)h->limits->trailer_bytes + 2;
    const char *nl;

    *no = (struct mg_refusal){ .status = 431, .why = "trailers too large" };
    while (h->scanned < n && (nl = memchr(p + h->scanned, '\n', n - h->scanned))) {
        size_t i = (size_t)(nl - p), from = h->line_from;

        if (i + 1 > most)
            return -1;
        if (i == from || p[i - 1] != '\r' || p[from] == ' ' || p[from] == '\t') {
            *no = (struct mg_refusal){ .status = 400, .why = "bad trailer line" };
            return -1;
        }
        h->scanned = (uint32_t)i + 1;
        if (i - 1 == from)
            return (long)i + 1;
        if (++h->lines > h->limits->headers_max)
            return -1;
        h->line_from = (uint32_t)i + 1;
    }
    h->scanned = (uint32_t)n;
    return n > most ? -1 : 0;
}

static long step_trailers(struct mg_h1 *h, const char *p, size_t n)
{
    struct mg_refusal no;
    long whole = n >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : scan_trailers(h, p, n, &no);

    if (whole < 0)
        return refused(h, n, &no);
    if (whole == 0)
        return MORE;
    if (whole > 2 && !h->is_mute) {
        h->trailers = mg_h1_read_trailers(h, p, (size_t)whole, &no);
        if (!h->trailers)
            return refused(h, n, &no);
        h->leg.head_bytes_in += (uint64_t)whole;
    }
    enter(h, MG_H1_ENDING);
    return whole;
}

static long step_ending(struct mg_h1 *h)
{
    struct mg_headers *trailers = h->trailers;

    h->trailers = NULL;
    h->state = MG_H1_WHOLE;
    h->leg.got_end = 1;
    if (h->is_mute)
        mg_h1_message_over(h);
    else
        h->leg.events->on_end(&h->leg, trailers);
    return 0;
}

static long step_until_close(struct mg_h1 *h, const char *p, size_t n)
{
    give(h, p, n);
    return (long)n;
}

long mg_h1_step(struct mg_h1 *h, const char *p, size_t n)
{
    if (h->state == MG_H1_ENDING)
        return step_ending(h);
    if (n == 0)
        return MORE;
    switch (h->state) {
    case MG_H1_FIRST:
        return step_first(h, p, n);
    case MG_H1_HEAD:
        return step_head(h, p, n);
    case MG_H1_LENGTH:
    case MG_H1_CHUNK_DATA:
        return step_length(h, p, n);
    case MG_H1_CHUNK_LINE:
        return step_chunk_line(h, p, n);
    case MG_H1_CHUNK_CRLF:
        return step_chunk_crlf(h, p, n);
    case MG_H1_TRAILERS:
        return step_trailers(h, p, n);
    case MG_H1_UNTIL_CLOSE:
        return step_until_close(h, p, n);
    default:
        return MORE;
    }
}
