/* http_text.c - messages as text, for the seam. What a specification writes by hand is read here as well, so a head's lines may end
 * in LF alone; else it is as strict as the codec. */
#include "service/http_inner.h"
#include "http/framing.h"

#include <stdio.h>

static bool put_str(struct mg_grown *h, struct mg_str s) { return mg_grown_put(h, s.p, s.n); }
#define PUT(h, literal) mg_grown_put(h, literal, sizeof(literal) - 1)

bool mg_http_text_fields(const struct mg_headers *h, struct mg_grown *out)
{
    for (uint32_t i = 0; i < h->n; i++) {
        const struct mg_header *f = &h->at[i];

        if (f->name && !(mg_grown_put(out, f->name, f->name_n) && PUT(out, ": ") && mg_grown_put(out, f->value, f->value_n) &&
                         PUT(out, "\r\n")))
            return false;
    }
    return true;
}

static bool put_length(struct mg_grown *out, int64_t n)
{
    char text[48];

    return mg_grown_put(out, text, (size_t)snprintf(text, sizeof(text), "content-length: %lld\r\n", (long long)n));
}

bool mg_http_text_request(const struct mg_call *c, struct mg_grown *out)
{
    const struct mg_head *r = &c->req;
    bool ok = put_str(out, r->method_text) && PUT(out, " ") && put_str(out, c->url.origin) && put_str(out, c->url.target) &&
              PUT(out, " HTTP/1.1\r\n");

    if (!mg_headers_find_id(&r->headers, MG_H_HOST))
        ok = ok && PUT(out, "host: ") && put_str(out, c->url.authority) && PUT(out, "\r\n");
    ok = ok && mg_http_text_fields(&r->headers, out);
    if (r->framing == MG_BODY_STREAM)
        ok = ok && PUT(out, "transfer-encoding: chunked\r\n");
    else if (r->framing == MG_BODY_LENGTH)
        ok = ok && put_length(out, r->length);
    ok = ok && PUT(out, "\r\n");
    return ok && (c->is_upload || mg_grown_put(out, c->out.p, c->out.n));
}

/* Trailers need chunks. */
static bool put_chunked(const struct mg_call *c, struct mg_grown *out)
{
    char size[24];

    if (c->in.n && !(mg_grown_put(out, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", c->in.n)) &&
                     mg_grown_put(out, c->in.p, c->in.n) && PUT(out, "\r\n")))
        return false;
    return PUT(out, "0\r\n") && mg_http_text_fields(c->trailers, out) && PUT(out, "\r\n");
}

bool mg_http_text_response(const struct mg_call *c, struct mg_grown *out)
{
    const struct mg_head *r = c->res;
    bool whole = !c->is_streamed, is_bodiless = c->req.method == MG_M_HEAD || r->status == 204 || r->status == 304;
    struct mg_str reason = r->reason.n ? r->reason : mg_reason(r->status);
    char line[32];
    bool ok = mg_grown_put(out, line, (size_t)snprintf(line, sizeof(line), "HTTP/1.1 %d ", r->status)) && put_str(out, reason) &&
              PUT(out, "\r\n") && mg_http_text_fields(&r->headers, out);

    if (whole && !is_bodiless)
        ok = ok && (c->trailers ? PUT(out, "transfer-encoding: chunked\r\n") : put_length(out, (int64_t)c->in.n));
    ok = ok && PUT(out, "\r\n");
    if (!whole || is_bodiless)
        return ok;
    return ok && (c->trailers ? put_chunked(c, out) : mg_grown_put(out, c->in.p, c->in.n));
}

/* ---- reading ---- */

/* The next line, without its end; false: there is none. */
static bool next_line(struct mg_str *rest, struct mg_str *line)
{
    const char *nl = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;

    if (!nl)
        return false;
    *line = mg_str(rest->p, (size_t)(nl - rest->p));
    *rest = mg_str(nl + 1, rest->n - line->n - 1);
    if (line->n && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

/* Fields until an empty line, or the end where that will do. */
static int read_fields(struct mg_str *rest, bool may_end, struct mg_arena *a, struct mg_headers *h)
{
    struct mg_str line, name, value;
    struct mg_refusal no;

    while (next_line(rest, &line)) {
        if (line.n == 0)
            return 0;
        if (mg_framing_field_line(line, &name, &value, &no) != 0)
            return MG_EPROTO;
        name = mg_arena_copy(a, name.p, name.n);
        value = mg_arena_copy(a, value.p, value.n);
        if (!name.p || !value.p || mg_headers_add(h, a, name, value) != 0)
            return MG_ENOMEM;
    }
    return may_end && rest->n == 0 ? 0 : MG_EPROTO;
}

int mg_http_text_parse_fields(struct mg_str text, struct mg_arena *a, struct mg_headers *h)
{
    return read_fields(&text, true, a, h);
}

static int read_chunks(struct mg_str rest, struct mg_arena *a, struct mg_http_text_message *m, struct mg_grown *body)
{
    struct mg_refusal no;
    struct mg_str line;
    uint64_t size;

    for (;;) {
        if (!next_line(&rest, &line) || mg_framing_chunk_line(line, &size, &no) != 0)
            return MG_EPROTO;
        if (size == 0)
            break;
        if (size > rest.n || !mg_grown_put(body, rest.p, (size_t)size))
            return size > rest.n ? MG_EPROTO : MG_ENOMEM;
        rest = mg_str(rest.p + size, rest.n - (size_t)size);
        if (!next_line(&rest, &line) || line.n)
            return MG_EPROTO;
    }
    m->trailers = mg_arena_zalloc(a, sizeof(*m->trailers));
    if (!m->trailers)
        return MG_ENOMEM;
    return read_fields(&rest, true, a, m->trailers) == 0 && mg_framing_trailers(m->trailers, &no) == 0 ? 0 : MG_EPROTO;
}

static int read_body(struct mg_str rest, struct mg_arena *a, struct mg_http_text_message *m, struct mg_grown *body)
{
    m->says_length = m->head->framing != MG_BODY_CLOSE || rest.n > 0;
    switch (m->head->framing) {
    case MG_BODY_NONE:
        return 0; /* a specification may give one where none goes over the wire */
    case MG_BODY_STREAM:
        m->says_length = rest.n > 0;
        return rest.n ? read_chunks(rest, a, m, body) : 0;
    case MG_BODY_LENGTH:
        if ((uint64_t)m->head->length != rest.n)
            return MG_EPROTO;
        /* fall through */
    default:
        return mg_grown_put(body, rest.p, rest.n) ? 0 : MG_ENOMEM;
    }
}

int mg_http_text_parse(struct mg_str text, int to_method, struct mg_arena *a, struct mg_http_text_message *m, struct mg_grown *body)
{
    struct mg_refusal no;
    struct mg_str line;
    int rc;

    *m = (struct mg_http_text_message){ .head = mg_arena_zalloc(a, sizeof(*m->head)) };
    if (!m->head)
        return MG_ENOMEM;
    if (!next_line(&text, &line))
        return MG_EPROTO;
    line = mg_arena_copy(a, line.p, line.n);
    if (!line.p)
        return MG_ENOMEM;
    if (mg_framing_status_line(line, m->head, &no) != 0)
        return MG_EPROTO;
    rc = read_fields(&text, false, a, &m->head->headers);
    if (rc)
        return rc;
    if (mg_framing_response(m->head, to_method, a, &no) != 0 || m->head->status < 200)
        return MG_EPROTO;
    return read_body(text, a, m, body);
}
