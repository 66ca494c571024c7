/* h1_head.c - heads and trailer sections: finding their end, and reading them once they are whole. */
#include "http/h1_inner.h"

#include <llhttp.h>

enum { LINE_SLACK = 64 /* method, version, spaces of a request line */, SPARE_FIELDS = 8 /* for what a proxy adds */ };

static int refuse(struct mg_refusal *no, int status, const char *why)
{
    no->status = status;
    no->why = why;
    return -1;
}

/* ---- where does it end? ---------------------------------------------------------------------- */

/* The first line, without its CRLF. It is looked at as soon as it is there, or the scan fails behind it: HTTP/0.9
 * sends nothing else, and what is refused must not depend on how the bytes were cut. */
static int check_first_line(struct mg_h1 *h, struct mg_str line, struct mg_refusal *no)
{
    struct mg_head scratch = { 0 };

    h->line_checked = 1;
    if (!h->is_server)
        return mg_framing_status_line(line, &scratch, no) ? -1 : 0;
    if (mg_framing_request_line(line, &scratch, no) != 0)
        return -1;
    return scratch.target.n > h->limits->target_bytes ? refuse(no, 414, "target too long") : 0;
}

static int check_first_line_of(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    const char *nl = memchr(p, '\n', n);

    return check_first_line(h, mg_str(p, (size_t)(nl - p) - 1), no);
}

/* A first line of n bytes so far. */
static int first_line_fits(const struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    if (n > 0 && h->is_server && !mg_header_name_ok(mg_str(p, 1)))
        return refuse(no, 400, "bad request line"); /* TLS on a plain port, most often */
    if (n > (size_t)h->limits->target_bytes + LINE_SLACK || n >= h->limits->head_bytes)
        return refuse(no, 414, "first line too long");
    return 0;
}

/* The line from h->line_from to the LF at i. 1: it is the empty one. */
static int take_line(struct mg_h1 *h, const char *p, size_t i, struct mg_refusal *no)
{
    uint32_t from = h->line_from;

    if (h->lines == 0 && first_line_fits(h, p, i, no) != 0)
        return -1;
    if (i + 1 > h->limits->head_bytes)
        return refuse(no, 431, "head too large");
    if (i == from || p[i - 1] != '\r')
        return refuse(no, 400, "bare LF");
    if (i - 1 == from)
        return h->lines == 0 ? refuse(no, 400, "empty line before the head") : 1;
    if (h->lines > 0 && (p[from] == ' ' || p[from] == '\t'))
        return refuse(no, 400, "folded line");
    if (h->lines > h->limits->headers_max)
        return refuse(no, 431, "too many fields");
    h->lines++;
    h->line_from = (uint32_t)(i + 1);
    return 0;
}

/* The lines in the middle of a head that nothing is wrong with, which is nearly all: the loop below, without its
 * questions about the first and the last one. Stops in front of a line that needs them. */
static void scan_usual(struct mg_h1 *h, const char *p, size_t n)
{
    const char *from = p + h->line_from, *end = p + (n < h->limits->head_bytes ? n : h->limits->head_bytes), *nl;
    uint32_t lines = h->lines, most = h->limits->headers_max;

    while (lines <= most && from < end && (nl = memchr(from, '\n', (size_t)(end - from)))) {
        if (nl - from < 2 || nl[-1] != '\r' || *from == ' ' || *from == '\t')
            break;
        lines++;
        from = nl + 1;
    }
    if (lines > h->lines) {
        h->lines = lines;
        h->scanned = h->line_from = (uint32_t)(from - p);
    }
}

static long scan(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    const char *nl;

    while (h->scanned < n && (nl = memchr(p + h->scanned, '\n', n - h->scanned))) {
        int rc = take_line(h, p, (size_t)(nl - p), no);

        if (rc < 0)
            return -1;
        h->scanned = (uint32_t)(nl - p) + 1;
        if (rc > 0)
            return h->scanned;
        scan_usual(h, p, n);
    }
    h->scanned = (uint32_t)n;
    if (h->lines == 0)
        return first_line_fits(h, p, n, no);
    return n > h->limits->head_bytes ? refuse(no, 431, "head too large") : 0;
}

long mg_h1_scan_head(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    struct mg_refusal earlier;
    long rc = scan(h, p, n, no);

    if (rc <= 0 && h->lines > 0 && !h->line_checked && check_first_line_of(h, p, n, &earlier) != 0) {
        *no = earlier;
        return -1;
    }
    return rc;
}

/* ---- a whole head ------------------------------------------------------------------------------ */

/* One span for each name and value: the head is whole, so a second one is a fold. */
static int on_field(llhttp_t *parser, const char *at, size_t n)
{
    struct mg_headers *h = parser->data;
    struct mg_header *f;

    if (h->n == h->room)
        return HPE_USER;
    f = &h->at[h->n++];
    *f = (struct mg_header){ .name = at, .name_n = (uint32_t)n, .flags = MG_HEADER_CHECKED };
    f->id = (uint16_t)mg_header_id_of(mg_str(at, n));
    h->present |= mg_header_bit(f->id, at, n);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
    struct mg_headers *h = parser->data;
    struct mg_header *f = h->n ? &h->at[h->n - 1] : NULL;

    if (!f || f->value)
        return HPE_USER;
    f->value = at;
    f->value_n = (uint32_t)n;
    return 0;
}

/* It concludes nothing for us: it stops before any body. */
static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field, .on_header_value = on_value, .on_headers_complete = on_headers_complete,
};

/* What llhttp held against a head. Its versions name two lengths by different errors, at different places. */
static int refuse_parsed(llhttp_errno_t rc, const struct mg_headers *h, struct mg_refusal *no)
{
    const uint64_t lengths = mg_header_bit(MG_H_CONTENT_LENGTH, NULL, 0) | mg_header_bit(MG_H_TRANSFER_ENCODING, NULL, 0);

    if (rc == HPE_INVALID_METHOD || rc == HPE_INVALID_CONSTANT || rc == HPE_PAUSED_H2_UPGRADE)
        return refuse(no, 501, "method not known");
    if ((h->present & lengths) == lengths)
        return refuse(no, 400, "both content-length and transfer-encoding");
    if (rc == HPE_UNEXPECTED_CONTENT_LENGTH)
        return refuse(no, 400, "content-length repeated");
    if (rc == HPE_INVALID_CONTENT_LENGTH)
        return refuse(no, 400, "bad content-length");
    return refuse(no, 400, "malformed head");
}

/* llhttp_init leaves every lenient flag off, and nothing here sets one. */
static int parse_fields(bool is_request, struct mg_str raw, struct mg_headers *h, struct mg_refusal *no)
{
    llhttp_t parser;
    llhttp_errno_t rc;

    llhttp_init(&parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = h;
    rc = llhttp_execute(&parser, raw.p, raw.n);
    if (rc == HPE_PAUSED && llhttp_get_error_pos(&parser) == raw.p + raw.n)
        return 0;
    return refuse_parsed(rc, h, no);
}

static int read_first_line(struct mg_h1 *h, struct mg_str line, struct mg_head *head, struct mg_refusal *no)
{
    if (!h->is_server)
        return mg_framing_status_line(line, head, no);
    if (mg_framing_request_line(line, head, no) != 0)
        return MG_EPROTO;
    return head->target.n > h->limits->target_bytes ? refuse(no, 414, "target too long") : 0;
}

struct mg_head *mg_h1_read_head(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    struct mg_arena *a = h->leg.arena;
    uint32_t room = h->lines + SPARE_FIELDS;
    struct mg_head *head = mg_arena_zalloc(a, sizeof *head);
    char *raw = mg_arena_alloc(a, n);
    size_t line_n = (size_t)((const char *)memchr(p, '\n', n) - p) + 1;
    int rc;

    if (head)
        head->headers.at = mg_arena_alloc(a, room * sizeof *head->headers.at);
    if (!head || !raw || !head->headers.at) {
        refuse(no, 503, "out of memory");
        return NULL;
    }
    memcpy(raw, p, n);
    head->headers.room = room;
    if (read_first_line(h, mg_str(raw, line_n - 2), head, no) != 0 ||
        parse_fields(h->is_server, mg_str(raw, n), &head->headers, no) != 0 ||
        mg_framing_layout(mg_str(raw + line_n, n - line_n), &head->headers, no) != 0)
        return NULL;
    rc = h->is_server ? mg_framing_request(head, a, no) : mg_framing_response(head, h->to_method, a, no);
    return rc == 0 ? head : NULL;
}

/* ---- trailers ------------------------------------------------------------------------------------ */

struct mg_headers *mg_h1_read_trailers(struct mg_h1 *h, const char *p, size_t n, struct mg_refusal *no)
{
    struct mg_arena *a = h->leg.arena;
    struct mg_headers *t = mg_arena_zalloc(a, sizeof *t);
    const char *at, *end;
    char *raw = mg_arena_alloc(a, n);

    if (!t || !raw) {
        refuse(no, 503, "out of memory");
        return NULL;
    }
    memcpy(raw, p, n);
    for (at = raw, end = raw + n - 2; at < end;) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        struct mg_str name, value;

        if (mg_framing_field_line(mg_str(at, (size_t)(nl - at) - 1), &name, &value, no) != 0)
            return NULL;
        if (mg_headers_add(t, a, name, value) != 0) {
            refuse(no, 503, "out of memory");
            return NULL;
        }
        at = nl + 1;
    }
    return mg_framing_trailers(t, no) == 0 ? t : NULL;
}
