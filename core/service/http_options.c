/* http_options.c - what is said of a call before it is sent. */
#include "service/http_inner.h"
#include "http/framing.h"

enum { REDIRECTS_MAX = 20 };

#define ID(id) (UINT64_C(1) << (id))
/* The codec writes these. */
static const uint64_t core_fields = ID(MG_H_CONNECTION) | ID(MG_H_CONTENT_LENGTH) | ID(MG_H_EXPECT) | ID(MG_H_KEEP_ALIVE) |
                                    ID(MG_H_PROXY_CONNECTION) | ID(MG_H_TRAILER) | ID(MG_H_TRANSFER_ENCODING) | ID(MG_H_UPGRADE);

int mg_call_header(struct mg_call *c, struct mg_str name, struct mg_str value)
{
    int id = mg_header_id_of(name);

    if (!mg_header_name_ok(name) || !mg_header_value_ok(value) || core_fields & ID(id))
        return MG_EINVAL;
    if (id == MG_H_TE) {
        c->req.accepts_trailers = mg_str_ieq(value, MG_STR("trailers"));
        return c->req.accepts_trailers ? 0 : MG_EINVAL;
    }
    if (id == MG_H_HOST && !mg_authority_ok(value, NULL, NULL, NULL))
        return MG_EINVAL;
    return mg_headers_put(&c->req.headers, &c->arena, id, name, value, id == MG_H_HOST);
}

int mg_call_set_body(struct mg_call *c, struct mg_str bytes)
{
    c->out.n = 0;
    return mg_grown_put(&c->out, bytes.p, bytes.n) ? 0 : MG_ENOMEM;
}

/* The config says these of a named upstream. */
static bool is_of_tls(int option) { return option == MG_HTTP_VERIFY || option >= MG_HTTP_CA; }

int mg_call_set(struct mg_call *c, int option, int64_t value)
{
    static const int64_t most[] = { [MG_HTTP_CONNECT_MS] = INT32_MAX, [MG_HTTP_FIRST_BYTE_MS] = INT32_MAX,
        [MG_HTTP_IDLE_MS] = INT32_MAX, [MG_HTTP_TOTAL_MS] = INT32_MAX, [MG_HTTP_LIMIT] = INT32_MAX,
        [MG_HTTP_REDIRECTS] = REDIRECTS_MAX, [MG_HTTP_VERIFY] = 1, [MG_HTTP_LENGTH] = INT64_MAX };

    if (option < 0 || option > MG_HTTP_LENGTH || value < (option == MG_HTTP_LENGTH ? -1 : 0) || value > most[option] ||
        (c->upstream_name.p && is_of_tls(option)))
        return MG_EINVAL;
    switch (option) {
    case MG_HTTP_CONNECT_MS: c->connect_ms = value; break;
    case MG_HTTP_FIRST_BYTE_MS: c->first_byte_ms = value; break;
    case MG_HTTP_IDLE_MS: c->idle_ms = value; break;
    case MG_HTTP_TOTAL_MS: c->total_ms = value; break;
    case MG_HTTP_LIMIT: c->limit = value; break;
    case MG_HTTP_REDIRECTS: c->redirects = c->redirects_max = (int)value; break;
    case MG_HTTP_VERIFY: c->trust.no_verify = !value; break;
    default: c->upload_bytes = value; break;
    }
    return 0;
}

int mg_call_set_text(struct mg_call *c, int option, struct mg_str text)
{
    struct mg_str *at = option == MG_HTTP_CA ? &c->trust.ca : option == MG_HTTP_SERVER_NAME ? &c->trust.server_name
                      : option == MG_HTTP_CERT ? &c->trust.cert : option == MG_HTTP_KEY ? &c->trust.key : NULL;
    bool is_file = option != MG_HTTP_SERVER_NAME;

    if (!at || c->upstream_name.p || text.n == 0 || text.n > (is_file ? 4096 : 253) || memchr(text.p, 0, text.n) ||
        (is_file && text.p[0] != '/') || (!is_file && !mg_authority_ok(text, NULL, NULL, NULL)))
        return MG_EINVAL;
    *at = mg_arena_copy(&c->arena, text.p, text.n);
    return at->p ? 0 : MG_ENOMEM;
}
