#include "columns.h"
#include "../no_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- values ------------------------------------------------------------------------------------- */

static int64_t tick(struct mg_x *x, struct log_clock *k)
{
    int64_t us = mg_x_start_us(x);
    time_t t = (time_t)(us / 1000000);
    struct tm tm;

    if (us / 1000000 != k->second || !k->iso[0]) {
        gmtime_r(&t, &tm);
        strftime(k->iso, sizeof(k->iso), "%Y-%m-%dT%H:%M:%S", &tm);
        strftime(k->clf, sizeof(k->clf), "%d/%b/%Y:%H:%M:%S +0000", &tm); /* the C locale's months */
        k->second = us / 1000000;
    }
    return us;
}

static bool write_time(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    int64_t ms = tick(x, k) / 1000 % 1000;
    char text[26];

    (void)c;
    memcpy(text, k->iso, 19);
    text[19] = '.';
    text[20] = (char)('0' + ms / 100);
    text[21] = (char)('0' + ms / 10 % 10);
    text[22] = (char)('0' + ms % 10);
    text[23] = 'Z';
    line_text(l, (struct mg_str){ text, 24 });
    return true;
}

static bool write_clf_time(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    (void)c;
    tick(x, k);
    line_text(l, (struct mg_str){ k->clf, 26 });
    return true;
}

static bool write_unix_time(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    (void)c;
    (void)k;
    line_milli(l, mg_x_start_us(x) / 1000);
    return true;
}

/* What was asked for, as received; without the query, which may hold secrets. */
static int received_path(struct mg_x *x, struct mg_str *out)
{
    const char *q;

    if (mg_request_target(x, out) < 0 || out->n == 0 || out->p[0] != '/')
        return mg_request_path(x, out);
    q = memchr(out->p, '?', out->n);
    if (q)
        out->n = (size_t)(q - out->p);
    return 0;
}

static int user_agent(struct mg_x *x, struct mg_str *out)
{
    return mg_header_get(x, MG_REQUEST, "user-agent", 10, out);
}

#define TEXT(name, call) \
    static bool name(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k) \
    { \
        struct mg_str s; \
        (void)c; \
        (void)k; \
        if (call(x, &s) < 0 || s.n == 0) \
            return false; \
        line_text(l, s); \
        return true; \
    }
TEXT(write_id, mg_x_id)
TEXT(write_client, mg_client_ip)
TEXT(write_peer, mg_client_peer_ip)
TEXT(write_consumer, mg_consumer_name)
TEXT(write_credential, mg_consumer_credential_id)
TEXT(write_method, mg_request_method)
TEXT(write_scheme, mg_request_scheme)
TEXT(write_host, mg_request_host)
TEXT(write_path, received_path)
TEXT(write_path_now, mg_request_path)
TEXT(write_target, mg_request_target)
TEXT(write_query, mg_request_query)
TEXT(write_route, mg_route_id)
TEXT(write_upstream, mg_upstream_name)
TEXT(write_upstream_target, mg_upstream_target)
TEXT(write_failure, mg_x_failure)
TEXT(write_user_agent, user_agent)
TEXT(write_tls, mg_client_tls_version)

#define NUMBER(name, value) \
    static bool name(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k) \
    { \
        int64_t v = value; \
        (void)c; \
        (void)k; \
        if (v < 0) \
            return false; \
        line_number(l, v); \
        return true; \
    }
NUMBER(write_status, mg_response_status(x)) /* 0: the client left before there was an answer */
NUMBER(write_bytes_in, mg_x_count(x, MG_BYTES_IN))
NUMBER(write_bytes_out, mg_x_count(x, MG_BYTES_OUT))
NUMBER(write_body_in, mg_x_count(x, MG_BYTES_BODY_IN))
NUMBER(write_body_out, mg_x_count(x, MG_BYTES_BODY_OUT))
NUMBER(write_tries, mg_x_count(x, MG_UPSTREAM_TRIES))
NUMBER(write_port, mg_client_port(x))

#define SPAN(name, span) \
    static bool name(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k) \
    { \
        int64_t us = mg_x_span_us(x, span); \
        (void)c; \
        (void)k; \
        if (us < 0) \
            return false; \
        line_milli(l, us); \
        return true; \
    }
SPAN(write_total, MG_SPAN_TOTAL)
SPAN(write_upstream_time, MG_SPAN_UPSTREAM)
SPAN(write_connect, MG_SPAN_CONNECT)
SPAN(write_first_byte, MG_SPAN_FIRST_BYTE)
SPAN(write_gateway, MG_SPAN_GATEWAY)

static bool write_version(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    int v = mg_request_version(x);
    char text[8] = { 'H', 'T', 'T', 'P', '/', (char)('0' + v / 10 % 10), '.', (char)('0' + v % 10) };

    (void)c;
    (void)k;
    line_text(l, (struct mg_str){ text, 8 });
    return true;
}

static bool write_source(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    static const struct mg_str words[] = { { NULL, 0 }, { "upstream", 8 }, { "plugin", 6 }, { "gateway", 7 } };
    int v = mg_response_source(x);

    (void)c;
    (void)k;
    if (v < 1 || v > 3)
        return false;
    line_text(l, words[v]);
    return true;
}

static bool write_request_header(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    struct mg_str s;

    (void)k;
    if (mg_header_get(x, MG_REQUEST, c->name, c->name_n, &s) < 0)
        return false;
    line_text(l, s);
    return true;
}

static bool write_response_header(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    struct mg_str s;

    (void)k;
    if (mg_header_get(x, MG_RESPONSE, c->name, c->name_n, &s) < 0)
        return false;
    line_text(l, s);
    return true;
}

static bool write_template(struct mg_x *x, struct line *l, const struct column *c, struct log_clock *k)
{
    struct mg_str s;
    int absent = mg_template_render(x, c->template, &s);

    (void)k;
    if (absent < 0 || (absent > 0 && s.n == 0))
        return false;
    line_text(l, s);
    return true;
}

static const struct {
    const char *name;
    column_fn *write;
} known[] = { /* docs/templates.md, and request.path_received, request.time_clf and request.time_ms besides */
    { "request.id", write_id }, { "request.time", write_time }, { "request.time_clf", write_clf_time },
    { "request.time_ms", write_unix_time }, { "request.method", write_method }, { "request.scheme", write_scheme },
    { "request.host", write_host }, { "request.path", write_path_now }, { "request.path_received", write_path },
    { "request.target", write_target }, { "request.query", write_query }, { "request.version", write_version },
    { "client.ip", write_client }, { "client.peer_ip", write_peer }, { "client.port", write_port },
    { "client.tls.version", write_tls }, { "consumer.name", write_consumer }, { "consumer.credential", write_credential },
    { "route.id", write_route }, { "upstream.name", write_upstream }, { "upstream.target", write_upstream_target },
    { "upstream.tries", write_tries }, { "response.status", write_status }, { "response.source", write_source },
    { "response.failure", write_failure }, { "bytes.in", write_bytes_in }, { "bytes.out", write_bytes_out },
    { "bytes.body_in", write_body_in }, { "bytes.body_out", write_body_out }, { "span.total", write_total },
    { "span.upstream", write_upstream_time }, { "span.connect", write_connect }, { "span.first_byte", write_first_byte },
    { "span.gateway", write_gateway },
};

static column_fn *find_known(const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i].name) == n && !memcmp(known[i].name, p, n))
            return known[i].write;
    return NULL;
}

/* ---- compiling ---------------------------------------------------------------------------------- */

static char *copy(const char *p, size_t n)
{
    char *out = malloc(n + 1);

    if (!out)
        return NULL;
    memcpy(out, p, n);
    out[n] = 0;
    return out;
}

static struct column *add_column(struct format *f)
{
    if (f->n == f->room) {
        size_t room = f->room ? f->room * 2 : 32;
        struct column *grown = realloc(f->columns, room * sizeof(*grown));

        if (!grown)
            return NULL;
        f->columns = grown;
        f->room = room;
    }
    memset(&f->columns[f->n], 0, sizeof(struct column));
    return &f->columns[f->n++];
}

static int set_header(struct column *c, column_fn *write, const char *p, size_t n, struct mg_error *err)
{
    c->write = write;
    c->name = copy(p, n);
    c->name_n = n;
    return c->name ? 0 : no_memory(err);
}

static int set_template(struct column *c, const char *p, size_t n, struct mg_error *err)
{
    char text[160];

    c->write = write_template;
    c->template = mg_template_new(p, n, text, sizeof(text));
    if (c->template)
        return 0;
    snprintf(err->message, sizeof(err->message), "\"%.*s\": %s", (int)(n < 60 ? n : 60), p, text);
    return err->code = MG_ECONF;
}

/* The variable `p`, which stands in the config as ${…} with `whole` around it. */
static int set_variable(struct column *c, const char *p, size_t n, struct mg_str whole, struct mg_error *err)
{
    const char *bar = memchr(p, '|', n);
    size_t name_n = bar ? (size_t)(bar - p) : n;

    c->write = find_known(p, name_n);
    if (c->write && (!bar || (c->absent = copy(bar + 1, n - name_n - 1)))) {
        c->absent_n = bar ? n - name_n - 1 : 0;
        return 0;
    }
    if (c->write)
        return no_memory(err);
    if (!bar && n > 16 && !memcmp(p, "request.headers.", 16))
        return set_header(c, write_request_header, p + 16, n - 16, err);
    if (!bar && n > 17 && !memcmp(p, "response.headers.", 17))
        return set_header(c, write_response_header, p + 17, n - 17, err);
    return set_template(c, whole.p, whole.n, err);
}

/* A JSON field's value: a variable alone keeps its type, all else is a template. */
static int set_value(struct column *c, struct mg_str value, struct mg_error *err)
{
    const char *close = value.n > 3 ? memchr(value.p, '}', value.n) : NULL;

    if (close && value.p[0] == '$' && value.p[1] == '{' && close == value.p + value.n - 1)
        return set_variable(c, value.p + 2, value.n - 3, value, err);
    return set_template(c, value.p, value.n, err);
}

static int add_field(struct format *f, const char *name, size_t name_n, struct mg_error *err)
{
    struct column *c = add_column(f);
    struct mg_str quoted;

    if (!c || mg_json_quote(name, name_n, &quoted) < 0 || !(c->before = malloc(quoted.n + 2)))
        return no_memory(err);
    c->before[0] = ',';
    memcpy(c->before + 1, quoted.p, quoted.n);
    c->before[quoted.n + 1] = ':';
    c->before_n = quoted.n + 2;
    return 0;
}

int format_json(struct format *f, const struct pair *pairs, size_t n, bool replace, struct mg_error *err)
{
    static const struct {
        const char *name;
        column_fn *write;
    } usual[] = {
        { "time", write_time }, { "id", write_id }, { "client", write_client }, { "consumer", write_consumer },
        { "method", write_method }, { "host", write_host }, { "path", write_path }, { "route", write_route },
        { "status", write_status }, { "bytes_in", write_bytes_in }, { "bytes_out", write_bytes_out },
        { "duration_ms", write_total }, { "upstream_ms", write_upstream_time }, { "upstream", write_upstream_target },
        { "user_agent", write_user_agent }, { "failure", write_failure },
    };

    for (size_t i = 0; !replace && i < sizeof(usual) / sizeof(usual[0]); i++) {
        if (add_field(f, usual[i].name, strlen(usual[i].name), err) < 0)
            return err->code;
        f->columns[f->n - 1].write = usual[i].write;
    }
    for (size_t i = 0; i < n; i++)
        if (add_field(f, pairs[i].name.p, pairs[i].name.n, err) < 0
            || set_value(&f->columns[f->n - 1], pairs[i].value, err) < 0)
            return err->code;
    return 0;
}

/* Text up to the next variable, with $$ as $, becomes what stands before column c. Returns where it ends. */
static size_t take_text(struct column *c, struct mg_str text, size_t i)
{
    c->before = malloc(text.n - i + 1);
    if (!c->before)
        return i;
    while (i < text.n && !(text.p[i] == '$' && i + 1 < text.n && text.p[i + 1] == '{')) {
        if (text.p[i] == '$' && i + 1 < text.n && text.p[i + 1] == '$')
            i++;
        c->before[c->before_n++] = text.p[i++];
    }
    return i;
}

int format_plain(struct format *f, struct mg_str text, struct mg_error *err)
{
    size_t i = 0;

    while (i < text.n) {
        struct column *c = add_column(f);
        const char *close;
        size_t end;

        if (!c)
            return no_memory(err);
        i = take_text(c, text, i);
        if (!c->before)
            return no_memory(err);
        if (i >= text.n)
            break;
        close = memchr(text.p + i, '}', text.n - i);
        if (!close) {
            snprintf(err->message, sizeof(err->message), "format: \"${\" without \"}\" at byte %zu", i + 1);
            return err->code = MG_ECONF;
        }
        end = (size_t)(close - text.p) + 1;
        if (set_variable(c, text.p + i + 2, end - i - 3, (struct mg_str){ text.p + i, end - i }, err) < 0)
            return err->code;
        i = end;
    }
    return 0;
}

void format_free(struct format *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct column *c = &f->columns[i];

        if (c->template)
            mg_template_free(c->template);
        free(c->before);
        free(c->name);
        free(c->absent);
    }
    free(f->columns);
    memset(f, 0, sizeof(*f));
}

/* ---- a line ------------------------------------------------------------------------------------- */

static void write_json(const struct format *f, struct mg_x *x, struct line *l, struct log_clock *k)
{
    char *start = l->p;

    for (size_t i = 0; i < f->n; i++) {
        const struct column *c = &f->columns[i];
        char *mark = l->p;

        if ((size_t)(l->end - l->p) < c->before_n + 32) /* full: leave whole fields out */
            break;
        line_raw(l, c->before, c->before_n);
        if (c->write(x, l, c, k))
            continue;
        l->p = mark;
        if (c->absent) {
            line_raw(l, c->before, c->before_n);
            line_text(l, (struct mg_str){ c->absent, c->absent_n });
        }
    }
    if (l->p == start)
        *l->p++ = '{';
    else
        *start = '{'; /* in place of the first comma */
    *l->p++ = '}'; /* within the slack */
}

static void write_plain(const struct format *f, struct mg_x *x, struct line *l, struct log_clock *k)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct column *c = &f->columns[i];

        line_raw(l, c->before, c->before_n);
        if (!c->write || c->write(x, l, c, k))
            continue;
        if (c->absent)
            line_raw(l, c->absent, c->absent_n);
        else
            line_raw(l, "-", 1);
    }
}

void format_write(const struct format *f, struct mg_x *x, struct line *l, struct log_clock *k)
{
    if (l->is_json)
        write_json(f, x, l, k);
    else
        write_plain(f, x, l, k);
}
