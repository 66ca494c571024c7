/* var.c - the table of variables: a name, and how its value is read. */
#include "pdk/var.h"
#include "pdk/phase.h"
#include "pdk/problem.h"
#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <time.h>

typedef int read_fn(struct mg_exchange *x, struct mg_x *h, struct mg_str arg, struct mg_str *out);

static int number(struct mg_exchange *x, int64_t v, struct mg_str *out)
{
    if (v < 0)
        return MG_ENOENT;
    *out = mg_arena_printf(&x->arena, "%lld", (long long)v);
    return out->p ? 0 : MG_ENOMEM;
}

/* Empty counts as absent. */
static int text(int rc, const struct mg_str *out)
{
    return rc ? rc : out->n ? 0 : MG_ENOENT;
}

/* Milliseconds with three digits behind the point. */
static int milliseconds(struct mg_exchange *x, int64_t us, struct mg_str *out)
{
    if (us < 0)
        return MG_ENOENT;
    *out = mg_arena_printf(&x->arena, "%lld.%03d", (long long)(us / 1000), (int)(us % 1000));
    return out->p ? 0 : MG_ENOMEM;
}

static int utc(struct mg_exchange *x, int64_t us, struct mg_str *out)
{
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    char day[32];

    if (!gmtime_r(&s, &tm) || !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm))
        return MG_ENOENT;
    *out = mg_arena_printf(&x->arena, "%s.%03dZ", day, (int)(us / 1000 % 1000));
    return out->p ? 0 : MG_ENOMEM;
}

#define VAR(name) static int name(struct mg_exchange *x, struct mg_x *h, struct mg_str arg, struct mg_str *out)
#define UNUSED (void)x, (void)h, (void)arg

VAR(request_id) { UNUSED; return mg_x_id(h, out); }
VAR(request_method) { UNUSED; return text(mg_request_method(h, out), out); }
VAR(request_scheme) { UNUSED; return mg_request_scheme(h, out); }
VAR(request_host) { UNUSED; return text(mg_request_host(h, out), out); }
VAR(request_port) { UNUSED; return number(x, x->port, out); }
VAR(request_path) { UNUSED; return text(mg_request_path(h, out), out); }
VAR(request_query) { UNUSED; return text(mg_request_query(h, out), out); }
VAR(request_target) { UNUSED; return text(mg_request_target(h, out), out); }
VAR(request_uri)
{
    UNUSED;
    if (!x->has_query)
        return mg_request_path(h, out);
    *out = mg_arena_printf(&x->arena, "%.*s?%.*s", (int)x->path.n, x->path.p, (int)x->query.n, x->query.p ? x->query.p : "");
    return out->p ? 0 : MG_ENOMEM;
}
VAR(request_version)
{
    UNUSED;
    if (!x->req)
        return MG_ENOENT;
    *out = x->req->version == 10 ? MG_STR("HTTP/1.0") : x->req->version == 20 ? MG_STR("HTTP/2.0") : MG_STR("HTTP/1.1");
    return 0;
}
VAR(request_length) { UNUSED; return number(x, mg_body_length(h, MG_REQUEST), out); }
VAR(request_time) { UNUSED; return utc(x, x->started_wall_us, out); }
VAR(request_time_unix) { UNUSED; return number(x, x->started_wall_us / 1000000, out); }
VAR(request_header) { UNUSED; return mg_header_get(h, MG_REQUEST, arg.p, arg.n, out); }
VAR(request_argument) { UNUSED; return mg_query_get(h, arg.p, arg.n, out); }
VAR(request_param) { UNUSED; return mg_request_param(h, arg.p, arg.n, out); }
VAR(request_cookie) { UNUSED; return mg_request_cookie(h, arg.p, arg.n, out); }
VAR(response_status)
{
    int status = mg_response_status(h);

    UNUSED;
    return status > 0 ? number(x, status, out) : MG_ENOENT;
}
VAR(response_header) { UNUSED; return mg_header_get(h, MG_RESPONSE, arg.p, arg.n, out); }
VAR(response_length) { UNUSED; return number(x, mg_body_length(h, MG_RESPONSE), out); }
VAR(response_source)
{
    static const struct mg_str words[] = { { "", 0 }, { "upstream", 8 }, { "plugin", 6 }, { "gateway", 7 } };
    int source = mg_response_source(h);

    UNUSED;
    *out = source >= 0 && source < 4 ? words[source] : words[0];
    return text(0, out);
}
VAR(response_failure) { UNUSED; return text(mg_x_failure(h, out), out); }
VAR(client_ip) { UNUSED; return text(mg_client_ip(h, out), out); }
VAR(client_peer_ip) { UNUSED; return text(mg_client_peer_ip(h, out), out); }
VAR(client_port) { UNUSED; return number(x, mg_client_port(h), out); }
VAR(client_tls_version) { UNUSED; return text(mg_client_tls_version(h, out), out); }
VAR(client_tls_cipher) { UNUSED; return text(mg_client_tls_cipher(h, out), out); }
VAR(client_tls_sni) { UNUSED; return text(mg_client_sni(h, out), out); }
VAR(route_id) { UNUSED; return text(mg_route_id(h, out), out); }
VAR(route_path) { UNUSED; return text(mg_route_path(h, out), out); }
VAR(upstream_name) { UNUSED; return text(mg_upstream_name(h, out), out); }
VAR(upstream_target) { UNUSED; return text(mg_upstream_target(h, out), out); }
VAR(upstream_tries) { UNUSED; return number(x, x->tries, out); }
VAR(consumer_name) { UNUSED; return mg_consumer_name(h, out); }
VAR(consumer_credential) { UNUSED; return mg_consumer_credential_id(h, out); }
VAR(consumer_metadata) { UNUSED; return mg_consumer_meta(h, arg.p, arg.n, out); }
VAR(consumer_groups)
{
    struct mg_str group, all = { 0 };
    int i;

    UNUSED;
    for (i = 0; mg_consumer_group_at(h, i, &group) == 0; i++) {
        all = i ? mg_arena_printf(&x->arena, "%.*s,%.*s", (int)all.n, all.p, (int)group.n, group.p) : group;
        if (!all.p)
            return MG_ENOMEM;
    }
    *out = all;
    return text(0, out);
}
VAR(ctx)
{
    struct mg_datum d;
    char digits[32];
    struct mg_text t;
    int rc = mg_ctx_get(h, arg.p, arg.n, &d);

    if (rc || d.kind == MG_NIL)
        return rc ? rc : MG_ENOENT;
    if (d.kind == MG_TEXT)
        *out = d.text;
    else if (d.kind == MG_BOOLEAN)
        *out = d.number != 0 ? MG_STR("true") : MG_STR("false");
    else {
        mg_text_init(&t, digits, sizeof digits);
        mg_text_number(&t, d.number);
        *out = mg_arena_copy(&x->arena, t.p, t.n);
    }
    return out->p ? 0 : MG_ENOMEM;
}
VAR(span_total) { UNUSED; return milliseconds(x, mg_x_span_us(h, MG_SPAN_TOTAL), out); }
VAR(span_upstream) { UNUSED; return milliseconds(x, mg_x_span_us(h, MG_SPAN_UPSTREAM), out); }
VAR(span_connect) { UNUSED; return milliseconds(x, mg_x_span_us(h, MG_SPAN_CONNECT), out); }
VAR(span_first_byte) { UNUSED; return milliseconds(x, mg_x_span_us(h, MG_SPAN_FIRST_BYTE), out); }
VAR(span_gateway) { UNUSED; return milliseconds(x, mg_x_span_us(h, MG_SPAN_GATEWAY), out); }
VAR(bytes_in) { UNUSED; return number(x, mg_x_count(h, MG_BYTES_IN), out); }
VAR(bytes_out) { UNUSED; return number(x, mg_x_count(h, MG_BYTES_OUT), out); }
VAR(bytes_body_in) { UNUSED; return number(x, mg_x_count(h, MG_BYTES_BODY_IN), out); }
VAR(bytes_body_out) { UNUSED; return number(x, mg_x_count(h, MG_BYTES_BODY_OUT), out); }
VAR(now) { UNUSED; return utc(x, mg_clock_wall_us(), out); }
VAR(now_unix) { UNUSED; return number(x, mg_clock_wall_us() / 1000000, out); }
VAR(uuid)
{
    struct mg_str u;
    int rc = mg_uuid(&u);

    UNUSED;
    if (rc)
        return rc;
    *out = mg_arena_copy(&x->arena, u.p, u.n);
    return out->p ? 0 : MG_ENOMEM;
}

static const struct { const char *name; read_fn *read; } table[] = {
    { "request.id", request_id }, { "request.method", request_method }, { "request.scheme", request_scheme },
    { "request.host", request_host }, { "request.port", request_port }, { "request.path", request_path },
    { "request.query", request_query }, { "request.uri", request_uri }, { "request.target", request_target },
    { "request.version", request_version }, { "request.length", request_length }, { "request.time", request_time },
    { "request.time_unix", request_time_unix }, { "request.headers.NAME", request_header },
    { "request.query.NAME", request_argument }, { "request.params.NAME", request_param },
    { "request.cookies.NAME", request_cookie }, { "response.status", response_status },
    { "response.headers.NAME", response_header }, { "response.length", response_length },
    { "response.source", response_source }, { "response.failure", response_failure }, { "client.ip", client_ip },
    { "client.peer_ip", client_peer_ip }, { "client.port", client_port }, { "client.tls.version", client_tls_version },
    { "client.tls.cipher", client_tls_cipher }, { "client.tls.sni", client_tls_sni }, { "route.id", route_id },
    { "route.path", route_path }, { "upstream.name", upstream_name }, { "upstream.target", upstream_target },
    { "upstream.tries", upstream_tries }, { "consumer.name", consumer_name }, { "consumer.credential", consumer_credential },
    { "consumer.groups", consumer_groups }, { "consumer.metadata.NAME", consumer_metadata }, { "ctx.NAME", ctx },
    { "span.total", span_total }, { "span.upstream", span_upstream }, { "span.connect", span_connect },
    { "span.first_byte", span_first_byte }, { "span.gateway", span_gateway }, { "bytes.in", bytes_in },
    { "bytes.out", bytes_out }, { "bytes.body_in", bytes_body_in }, { "bytes.body_out", bytes_body_out }, { "now", now },
    { "now_unix", now_unix }, { "uuid", uuid },
    /* of the gateway's own error answers; read from struct mg_problem_facts */
    { "error.status", NULL }, { "error.title", NULL }, { "error.detail", NULL }, { "error.id", NULL },
};
enum { VARS = sizeof table / sizeof table[0], ERROR_STATUS = VARS - 4, ERROR_TITLE, ERROR_DETAIL, ERROR_ID };

const char *mg_var_name_at(int i)
{
    return i >= 0 && i < VARS ? table[i].name : NULL;
}

/* "request.headers.NAME": the part up to and with the last dot when it takes an argument, else 0. */
static size_t argument_at(const char *name, size_t n)
{
    return n > 5 && !memcmp(name + n - 5, ".NAME", 5) ? n - 4 : 0;
}

int mg_var_parse(struct mg_str name, struct mg_var_ref *out)
{
    for (int i = 0; i < VARS; i++) {
        size_t n = strlen(table[i].name), at = argument_at(table[i].name, n);

        if (at ? name.n > at && !memcmp(name.p, table[i].name, at) : mg_str_eq(name, mg_str(table[i].name, n))) {
            out->id = i;
            out->arg = at ? mg_str(name.p + at, name.n - at) : mg_str(NULL, 0);
            return 0;
        }
    }
    return MG_EINVAL;
}

static int read_error(const struct mg_problem_facts *f, int id, struct mg_str *out)
{
    if (!f)
        return MG_ENOENT;
    *out = id == ERROR_STATUS ? mg_str_c(f->status) : id == ERROR_TITLE ? f->title : id == ERROR_DETAIL ? f->detail : f->id;
    return text(0, out);
}

int mg_var_read(struct mg_exchange *x, const struct mg_var_ref *ref, const struct mg_problem_facts *error, struct mg_str *out)
{
    *out = mg_str(NULL, 0);
    if (!table[ref->id].read)
        return read_error(error, ref->id, out);
    return table[ref->id].read(x, mg_handle_of(x), ref->arg, out);
}

int mg_var(struct mg_x *h, const char *name, size_t n, struct mg_str *out)
{
    struct mg_exchange *x = mg_with_request(h);
    struct mg_var_ref ref;

    *out = mg_str(NULL, 0);
    if (!x)
        return mg_why_not(h);
    if (mg_var_parse(mg_str(name, n), &ref))
        return MG_EINVAL;
    return mg_var_read(x, &ref, NULL, out);
}
