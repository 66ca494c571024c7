/* echo.c - `moongate echo`: an upstream to try things with. It answers each request with what it was asked, as JSON.
 *
 *   ?status=503     that status
 *   ?delay=250      that many milliseconds later
 *   ?bytes=65536    that many bytes of text instead of the JSON */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "http/h1.h"
#include "http/uri.h"
#include "net/resolver.h"

enum { BODY_MAX = 1 << 20, PIECE_BYTES = 16384, IDLE_MS = 75000, DELAY_MAX = 600000 };

static const struct mg_option options[] = {
    { "listen", 'l', "ADDR", "address to serve (127.0.0.1:9000; port 0: any)", false },
    { "name", 'n', "NAME", "a name to answer with, to tell several apart", false },
    { 0 }
};
static const struct mg_command about = {
    .name = "echo", .usage = "echo [--listen ADDR] [--name NAME]",
    .doc = "Serves HTTP and answers every request with its method, target, headers and body, as JSON.\n"
           "?status=N sets the status, ?delay=MS waits first, ?bytes=N answers with so much text instead.",
    .options = options,
};

struct echo {
    struct mg_loop loop;
    union { uv_tcp_t tcp; uv_stream_t uv; uv_handle_t handle; } listener;
    uv_signal_t term, interrupt;
    struct mg_h1_limits limits;
    struct mg_list conns;
    const char *name;
    bool is_ending;
};

struct conn {
    struct mg_list node;
    struct echo *echo;
    struct mg_stream stream;
    struct mg_h1 h1;
    struct mg_timer timer;       /* idle, or the answer's delay */
    /* the exchange under way */
    struct mg_arena arena;
    struct mg_leg *leg;          /* NULL: none */
    struct mg_head *head;
    char *body;
    size_t body_n;
    uint64_t body_bytes;
    int64_t status, delay, bytes_left; /* bytes_left -1: answer with JSON */
    bool is_answering;
};

/* ---- what was asked ---- */

static int64_t argument(const struct conn *c, const char *name, int64_t max, int64_t preset)
{
    const char *question = memchr(c->head->target.p, '?', c->head->target.n);
    struct mg_str rest, key, value;
    uint64_t n;
    bool has;

    if (!question)
        return preset;
    rest = mg_str(question + 1, (size_t)(c->head->target.p + c->head->target.n - question - 1));
    while (mg_query_next(&rest, &key, &value, &has))
        if (has && mg_str_eq(key, mg_str_c(name)) && mg_str_u64(value, (uint64_t)max, &n))
            return (int64_t)n;
    return preset;
}

static void add_text(cJSON *o, const char *key, struct mg_str s)
{
    char *copy = strndup(s.p ? s.p : "", s.n);

    cJSON_AddStringToObject(o, key, copy ? copy : "");
    free(copy);
}

/* Fields that came more than once are lists. */
static void add_header(cJSON *headers, const struct mg_header *h)
{
    char name[128], *value = strndup(h->value ? h->value : "", h->value_n);
    cJSON *old;
    size_t n = h->name_n < sizeof name - 1 ? h->name_n : sizeof name - 1;

    for (size_t i = 0; i < n; i++)
        name[i] = mg_lower(h->name[i]);
    name[n] = '\0';
    old = cJSON_GetObjectItemCaseSensitive(headers, name);
    if (!old) {
        cJSON_AddStringToObject(headers, name, value ? value : "");
    } else if (cJSON_IsArray(old)) {
        cJSON_AddItemToArray(old, cJSON_CreateString(value ? value : ""));
    } else {
        cJSON *list = cJSON_CreateArray();

        cJSON_AddItemToArray(list, cJSON_Duplicate(old, 1));
        cJSON_AddItemToArray(list, cJSON_CreateString(value ? value : ""));
        cJSON_ReplaceItemInObjectCaseSensitive(headers, name, list);
    }
    free(value);
}

static char *describe(const struct conn *c)
{
    cJSON *o = cJSON_CreateObject(), *headers = cJSON_AddObjectToObject(o, "headers");
    char *text;

    if (c->echo->name)
        cJSON_AddStringToObject(o, "name", c->echo->name);
    add_text(o, "method", c->head->method_text);
    add_text(o, "target", c->head->target);
    cJSON_AddNumberToObject(o, "version", c->head->version / 10.0);
    for (uint32_t i = 0; i < c->head->headers.n; i++)
        if (c->head->headers.at[i].name)
            add_header(headers, &c->head->headers.at[i]);
    add_text(o, "body", mg_str(c->body, c->body_n));
    cJSON_AddNumberToObject(o, "body_bytes", (double)c->body_bytes);
    text = cJSON_Print(o);
    cJSON_Delete(o);
    return text;
}

/* ---- the answer ---- */

static void end_exchange(struct conn *c)
{
    struct mg_leg *leg = c->leg;

    c->leg = NULL;
    c->is_answering = false;
    free(c->body);
    c->body = NULL;
    c->body_n = 0;
    c->body_bytes = 0;
    if (leg)
        leg->ops->release(leg);
    mg_arena_deinit(&c->arena);
}

static void pour(struct conn *c)
{
    static const char text[] = "the moon is a gate and the gate is round, ";
    char piece[PIECE_BYTES];

    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = text[i % (sizeof text - 1)];
    while (c->leg && c->bytes_left > 0) {
        size_t n = c->bytes_left < PIECE_BYTES ? (size_t)c->bytes_left : PIECE_BYTES;
        int rc = c->leg->ops->send_data(c->leg, mg_str(piece, n), 0);

        c->bytes_left -= (int64_t)n;
        if (rc != 0)
            return; /* on_drain goes on; on_reset ends it */
    }
    if (c->leg) {
        c->leg->ops->send_end(c->leg, NULL);
        end_exchange(c);
    }
}

static void send_answer(struct conn *c)
{
    bool is_text = c->bytes_left >= 0;
    char *json = is_text ? NULL : describe(c);
    struct mg_str body = mg_str_c(json);
    struct mg_head *res = mg_arena_zalloc(&c->arena, sizeof *res);
    bool is_bare = c->status == 204 || c->status == 304 || c->status < 200;
    int rc = -1;

    c->is_answering = true;
    if (res && (json || is_text)) {
        res->status = (int)c->status;
        res->version = 11;
        res->framing = is_bare ? MG_BODY_NONE : MG_BODY_LENGTH;
        res->length = is_text ? c->bytes_left : (int64_t)body.n;
        if (!is_bare)
            mg_headers_add_id(&res->headers, &c->arena, MG_H_CONTENT_TYPE, is_text ? MG_STR("text/plain") : MG_STR("application/json"));
        mg_headers_add_id(&res->headers, &c->arena, MG_H_SERVER, MG_STR("moongate-echo"));
        rc = c->leg->ops->send_head(c->leg, res, MG_MORE);
    }
    if (rc < 0 || c->head->method == MG_M_HEAD || is_bare) {
        if (rc >= 0)
            c->leg->ops->send_end(c->leg, NULL);
        end_exchange(c);
    } else if (is_text) {
        pour(c);
    } else {
        c->leg->ops->send_data(c->leg, body, MG_MORE);
        c->leg->ops->send_end(c->leg, NULL);
        end_exchange(c);
    }
    free(json);
}

/* ---- the codec's events ---- */

static void on_head(struct mg_leg *leg, struct mg_head *head)
{
    struct conn *c = leg->owner;
    struct mg_head go_on = { .status = 100, .version = 11 };

    c->head = head;
    c->status = argument(c, "status", 599, 200);
    if (c->status < 200)
        c->status = 200;
    c->delay = argument(c, "delay", DELAY_MAX, 0);
    c->bytes_left = argument(c, "bytes", INT64_C(1) << 40, -1);
    if (head->expects_continue)
        leg->ops->send_interim(leg, &go_on);
}

static void on_data(struct mg_leg *leg, struct mg_str bytes)
{
    struct conn *c = leg->owner;
    size_t n = bytes.n < BODY_MAX - c->body_n ? bytes.n : BODY_MAX - c->body_n;
    char *p = n ? realloc(c->body, c->body_n + n) : NULL;

    c->body_bytes += bytes.n;
    if (!p)
        return;
    memcpy(p + c->body_n, bytes.p, n);
    c->body = p;
    c->body_n += n;
}

static void on_end(struct mg_leg *leg, struct mg_headers *trailers)
{
    struct conn *c = leg->owner;

    (void)trailers;
    if (c->delay > 0)
        mg_loop_arm(&c->echo->loop, &c->timer, c->delay);
    else
        send_answer(c);
}

/* Broken off, or against the rules: say so where nothing was said, and close. */
static void on_reset(struct mg_leg *leg, int error, int status, const char *why)
{
    struct conn *c = leg->owner;
    struct mg_head refusal = { .status = status, .version = 11, .framing = MG_BODY_LENGTH, .closes = true };

    (void)error;
    (void)why;
    mg_loop_disarm(&c->echo->loop, &c->timer);
    if (status && leg->ops->send_head(leg, &refusal, MG_MORE) >= 0)
        leg->ops->send_end(leg, NULL);
    end_exchange(c);
}

static void on_drain(struct mg_leg *leg)
{
    struct conn *c = leg->owner;

    if (c->is_answering)
        pour(c);
}

static const struct mg_leg_events leg_events = { on_head, NULL, on_data, on_end, on_reset, on_drain };

static bool h1_begin(struct mg_h1 *h, struct mg_leg *leg)
{
    struct conn *c = h->owner;

    mg_loop_disarm(&c->echo->loop, &c->timer);
    mg_arena_init(&c->arena, &c->echo->loop.chunks, 1 << 20);
    c->leg = leg;
    leg->owner = c;
    leg->arena = &c->arena;
    leg->events = &leg_events;
    return true;
}

static void h1_idle(struct mg_h1 *h)
{
    struct conn *c = h->owner;

    mg_loop_arm(&c->echo->loop, &c->timer, IDLE_MS);
}

static void h1_done(struct mg_h1 *h)
{
    mg_stream_close(&((struct conn *)h->owner)->stream);
}

static const struct mg_h1_events h1_events = { h1_begin, h1_idle, h1_done };

/* ---- connections ---- */

static void on_timer(struct mg_timer *t)
{
    struct conn *c = mg_container(t, struct conn, timer);

    if (c->leg)
        send_answer(c);
    else
        mg_stream_close(&c->stream);
}

static void stream_open(struct mg_stream *s, int status, const char *why)
{
    (void)why;
    if (status != 0)
        mg_stream_close(s);
}

static void stream_data(struct mg_stream *s, const char *p, size_t n) { mg_h1_feed(&((struct conn *)s->owner)->h1, p, n); }
static void stream_end(struct mg_stream *s, int status) { mg_h1_ended(&((struct conn *)s->owner)->h1, status); }
static void stream_drain(struct mg_stream *s) { mg_h1_drained(&((struct conn *)s->owner)->h1); }

static void stream_closed(struct mg_stream *s)
{
    struct conn *c = s->owner;

    mg_loop_disarm(&c->echo->loop, &c->timer);
    if (c->leg)
        end_exchange(c);
    mg_h1_deinit(&c->h1);
    mg_list_remove(&c->node);
    free(c);
}

static const struct mg_stream_events stream_events = { stream_open, stream_data, stream_end, stream_drain, stream_closed };

static void on_connection(uv_stream_t *listener, int status)
{
    struct echo *e = listener->data;
    struct conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;

    if (!c)
        return;
    c->echo = e;
    mg_timer_init(&c->timer, on_timer);
    mg_list_push(&e->conns, &c->node);
    mg_stream_init(&c->stream, &e->loop, &stream_events, c);
    mg_h1_init(&c->h1, &c->stream, true, &e->limits, &h1_events, c);
    if (mg_stream_accept(&c->stream, listener, NULL) != 0)
        mg_stream_close(&c->stream);
    else
        mg_loop_arm(&e->loop, &c->timer, IDLE_MS);
}

/* ---- the server ---- */

static void on_signal(uv_signal_t *signal, int number)
{
    struct echo *e = signal->data;

    (void)number;
    if (e->is_ending)
        return;
    e->is_ending = true;
    uv_stop(&e->loop.uv);
}

static int listen_on(struct echo *e, const char *text)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_storage bound;
    struct mg_address a;
    int n = sizeof bound, rc;
    uint64_t port;

    if (!colon || !mg_str_u64(mg_str_c(colon + 1), 65535, &port) ||
        mg_address_parse(mg_str(text, (size_t)(colon - text)), (int)port, &a) != 0)
        return mg_cli_fail(&about, "--listen: \"%s\" is no address (127.0.0.1:9000, [::1]:9000)", text);
    uv_tcp_init(&e->loop.uv, &e->listener.tcp);
    e->listener.handle.data = e;
    rc = uv_tcp_bind(&e->listener.tcp, (struct sockaddr *)&a.sa, 0);
    if (rc == 0)
        rc = uv_listen(&e->listener.uv, 4096, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&e->listener.tcp, (struct sockaddr *)&bound, &n);
    if (rc != 0) {
        uv_close(&e->listener.handle, NULL);
        return mg_cli_fail(&about, "%s: %s", text, uv_strerror(rc));
    }
    a.sa = bound;
    mg_address_format(&a);
    printf("listening on http://%s\n", a.text);
    fflush(stdout);
    return MG_EXIT_OK;
}

static void serve(struct echo *e)
{
    uv_signal_init(&e->loop.uv, &e->term);
    uv_signal_init(&e->loop.uv, &e->interrupt);
    e->term.data = e->interrupt.data = e;
    uv_signal_start(&e->term, on_signal, SIGTERM);
    uv_signal_start(&e->interrupt, on_signal, SIGINT);
    uv_run(&e->loop.uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&e->term, NULL);
    uv_close((uv_handle_t *)&e->interrupt, NULL);
    uv_close(&e->listener.handle, NULL);
    mg_list_each(n, &e->conns)
        mg_stream_close(&mg_container(n, struct conn, node)->stream);
    while (!mg_list_empty(&e->conns))
        uv_run(&e->loop.uv, UV_RUN_ONCE);
}

int mg_cmd_echo(int argc, char **argv)
{
    static struct echo e;
    struct mg_cli cli;
    const char *address;
    int code;

    if (mg_cli_parse(&cli, &about, argc, argv))
        return cli.exit_code;
    address = mg_cli_text(&cli, "listen");
    e.name = mg_cli_text(&cli, "name");
    e.limits = (struct mg_h1_limits){ .head_bytes = 65536, .target_bytes = 32768, .headers_max = 500, .trailer_bytes = 16384 };
    mg_list_init(&e.conns);
    signal(SIGPIPE, SIG_IGN);
    if (mg_loop_init(&e.loop) != 0)
        return mg_cli_fail(&about, "out of memory");
    code = listen_on(&e, address ? address : "127.0.0.1:9000");
    if (code == MG_EXIT_OK)
        serve(&e);
    mg_loop_deinit(&e.loop);
    mg_h1_thread_deinit();
    return code;
}
