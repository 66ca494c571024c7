/* http_call.c - making a call, sending it, letting go of it. */
#include "service/http_inner.h"
#include "base/alloc.h"

enum { ARENA_BYTES = 512 * 1024, LIMIT_BYTES = 1024 * 1024 };

/* ---- the calls of an exchange ---- */

static void close_all(void *arg)
{
    struct mg_calls *calls = arg;
    struct mg_list *node;

    while ((node = mg_list_first(&calls->list)) != NULL)
        mg_call_close(mg_container(node, struct mg_call, node));
}

static struct mg_calls *calls_of(struct mg_exchange *x)
{
    struct mg_calls *calls = x->calls;

    if (calls)
        return calls;
    calls = mg_arena_zalloc(&x->arena, sizeof(*calls));
    if (!calls || mg_arena_defer(&x->arena, close_all, calls) != 0)
        return NULL;
    mg_list_init(&calls->list);
    x->calls = calls;
    return calls;
}

struct mg_call *mg_call_find(const struct mg_exchange *x, int number)
{
    if (!x->calls)
        return NULL;
    mg_list_each(node, &x->calls->list) {
        struct mg_call *c = mg_container(node, struct mg_call, node);

        if (c->number == number)
            return c;
    }
    return NULL;
}

/* ---- making ---- */

static void total_late(struct mg_timer *t)
{
    struct mg_call *c = mg_container(t, struct mg_call, total_timer);

    mg_call_fail(c, MG_ETIMEOUT, "timeout", "it took longer than it may in all");
}

static void call_free(struct mg_call *c)
{
    mg_arena_deinit(&c->arena);
    mg_grown_free(&c->out);
    mg_grown_free(&c->in);
    mg_grown_free(&c->piece);
    mg_free(c);
}

static struct mg_call *blank(struct mg_exchange *x, struct mg_str method, int *rc)
{
    struct mg_calls *calls = calls_of(x);
    struct mg_call *c;

    *rc = MG_ENOMEM;
    if (!calls)
        return NULL;
    *rc = MG_EINVAL;
    if (!mg_header_name_ok(method) || mg_method_of(method) == MG_M_CONNECT)
        return NULL;
    *rc = MG_EBUSY;
    if (calls->n >= MG_CALLS_MAX)
        return NULL;
    *rc = MG_ENOMEM;
    c = mg_calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->x = x;
    mg_arena_init(&c->arena, &x->worker->loop.chunks, ARENA_BYTES);
    mg_list_init(&c->node);
    mg_list_init(&c->wait.node);
    mg_timer_init(&c->wait.timer, NULL);
    mg_timer_init(&c->io_timer, NULL);
    mg_timer_init(&c->total_timer, total_late);
    c->connect_ms = c->first_byte_ms = c->idle_ms = c->upload_bytes = -1;
    c->limit = LIMIT_BYTES;
    c->req.method = mg_method_of(method);
    c->req.method_text = mg_arena_copy(&c->arena, method.p, method.n);
    c->req.version = 11;
    *rc = 0;
    if (c->req.method_text.p)
        return c;
    *rc = MG_ENOMEM;
    call_free(c);
    return NULL;
}

static struct mg_call *enter(struct mg_call *c, int error, int *rc)
{
    struct mg_calls *calls = c->x->calls;

    *rc = error;
    if (error) {
        call_free(c);
        return NULL;
    }
    c->number = ++calls->last;
    calls->n++;
    mg_list_push(&calls->list, &c->node);
    return c;
}

struct mg_call *mg_call_new(struct mg_exchange *x, struct mg_str method, struct mg_str url, int *rc)
{
    struct mg_call *c = blank(x, method, rc);

    return c ? enter(c, mg_url_parse(url, &c->arena, &c->url), rc) : NULL;
}

/* What Host says: the first target, as for routes that do not keep the client's. */
static int name_host(struct mg_call *c)
{
    const struct mg_upstream_spec *u = c->upstream;
    const struct mg_target_spec *t = u->targets;
    bool is_usual, is_v6;

    c->url.authority = MG_STR("localhost");
    if (!u->targets_n || t->unix_path.n)
        return 0;
    is_usual = t->port == (u->is_tls ? 443 : 80);
    is_v6 = memchr(t->host.p, ':', t->host.n) != NULL;
    c->url.authority = mg_arena_printf(&c->arena, is_usual ? "%s%.*s%s" : "%s%.*s%s:%d", is_v6 ? "[" : "", (int)t->host.n, t->host.p,
                                       is_v6 ? "]" : "", t->port);
    return c->url.authority.p ? 0 : MG_ENOMEM;
}

static int name_upstream(struct mg_call *c, struct mg_str upstream, struct mg_str path)
{
    c->upstream = c->x->snapshot ? mg_snapshot_view.upstream(c->x->snapshot, upstream) : NULL;
    if (!c->upstream && c->x->outside) { /* a simulated world may know upstreams of its own */
        c->url.authority = mg_arena_copy(&c->arena, upstream.p, upstream.n);
        if (!c->url.authority.p)
            return MG_ENOMEM;
    } else if (!c->upstream) {
        return MG_ENOENT;
    } else if (name_host(c) != 0) {
        return MG_ENOMEM;
    }
    c->url.is_tls = c->upstream && c->upstream->is_tls;
    c->url.origin = mg_arena_printf(&c->arena, "upstream://%.*s", (int)upstream.n, upstream.p);
    c->upstream_name = mg_arena_copy(&c->arena, upstream.p, upstream.n);
    if (!c->url.origin.p || !c->upstream_name.p)
        return MG_ENOMEM;
    return path.n && path.p[0] == '/' ? mg_url_target(path, &c->arena, &c->url.target) : MG_EINVAL;
}

struct mg_call *mg_call_to(struct mg_exchange *x, struct mg_str upstream, struct mg_str method, struct mg_str path, int *rc)
{
    struct mg_call *c = blank(x, method, rc);

    return c ? enter(c, name_upstream(c, upstream, path), rc) : NULL;
}

/* ---- TLS settings, on the thread pool ---- */

struct mg_call_load {
    uv_work_t work;
    struct mg_call *call;           /* NULL: it does not wait any more */
    struct mg_http_trust trust;     /* its texts are in `bytes` */
    struct mg_tls *tls;
    struct mg_error err;
    char bytes[];
};

static void load_run(uv_work_t *work)
{
    struct mg_call_load *l = mg_container(work, struct mg_call_load, work);

    l->tls = mg_http_trust_get(&l->trust, &l->err);
}

static void load_over(uv_work_t *work, int status)
{
    struct mg_call_load *l = mg_container(work, struct mg_call_load, work);
    struct mg_call *c = l->call;
    int rc = status;

    if (c) {
        c->load = NULL;
        if (l->tls) {
            struct mg_http_host *h = mg_http_host_make(&c->url, &c->trust, l->tls, mg_loop_now_ms(&c->x->worker->loop), &rc);

            l->tls = NULL;
            mg_call_connect_with(c, h, rc);
        } else {
            mg_call_fail(c, status ? status : MG_ETLS, "tls_failed", l->err.message);
        }
    }
    mg_tls_unref(l->tls);
    mg_free(l);
}

void mg_call_untrust(struct mg_call *c)
{
    if (c->load)
        c->load->call = NULL;
    c->load = NULL;
}

static struct mg_str keep(char **at, struct mg_str s)
{
    char *p = *at;

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    *at = p + s.n + 1;
    return mg_str(p, s.n);
}

bool mg_call_trust(struct mg_call *c)
{
    const struct mg_http_trust *t = &c->trust;
    struct mg_call_load *l = mg_calloc(1, sizeof(*l) + t->ca.n + t->server_name.n + t->cert.n + t->key.n + t->digest.n + 5);
    char *at;

    if (!l) {
        mg_call_fail(c, MG_ENOMEM, "no_memory", "out of memory");
        return false;
    }
    at = l->bytes;
    l->trust = (struct mg_http_trust){ .no_verify = t->no_verify, .ca = keep(&at, t->ca), .server_name = keep(&at, t->server_name),
                                       .cert = keep(&at, t->cert), .key = keep(&at, t->key), .digest = keep(&at, t->digest) };
    l->call = c;
    if (uv_queue_work(&c->x->worker->loop.uv, &l->work, load_run, load_over) != 0) {
        mg_free(l);
        mg_call_fail(c, MG_ENOMEM, "no_memory", "out of memory");
        return false;
    }
    c->load = l;
    c->state = MG_CALL_TRUSTING;
    return true;
}

/* ---- sending ---- */

static void send_cancelled(struct mg_op *op)
{
    struct mg_call *c = mg_call_of(op);

    if (!c || c->op != op)
        return;
    c->op = NULL;
    mg_call_fail(c, MG_ECANCELED, "cancelled", "given up");
}

/* Framing, and the fields that every request has. */
static int prepare(struct mg_call *c)
{
    struct mg_head *req = &c->req;

    req->framing = MG_BODY_NONE;
    req->length = -1;
    if (c->is_upload) {
        req->framing = c->upload_bytes >= 0 ? MG_BODY_LENGTH : MG_BODY_STREAM;
        req->length = c->upload_bytes;
    } else if (c->out.p) {
        req->framing = MG_BODY_LENGTH;
        req->length = (int64_t)c->out.n;
    }
    c->out_ended = !c->is_upload;
    if (mg_headers_find_id(&req->headers, MG_H_USER_AGENT))
        return 0;
    return mg_headers_add_id(&req->headers, &c->arena, MG_H_USER_AGENT, MG_STR("moongate/" MG_VERSION));
}

static int launch(struct mg_call *c)
{
    struct mg_op *op;

    if (c->state != MG_CALL_NEW || (c->trust.cert.n > 0) != (c->trust.key.n > 0))
        return MG_EINVAL;
    op = prepare(c) == 0 ? mg_call_op(c, send_cancelled) : NULL;
    if (!op)
        return MG_ENOMEM;
    c->op = op;
    c->state = MG_CALL_CONNECTING;
    if (c->total_ms > 0)
        mg_loop_arm(&c->x->worker->loop, &c->total_timer, c->total_ms);
    if (mg_call_asks(c, op))
        return op->id;
    mg_call_connect(c);
    return op->id;
}

int mg_call_send(struct mg_call *c)
{
    return launch(c);
}

int mg_call_start(struct mg_call *c, bool upload)
{
    if (c->state != MG_CALL_NEW || (upload && c->out.p))
        return MG_EINVAL;
    c->is_streamed = true;
    c->is_upload = upload;
    return launch(c);
}

/* ---- letting go ---- */

static void drop(struct mg_op **at)
{
    struct mg_op *op = *at;

    *at = NULL; /* so that its cancel does nothing */
    if (op)
        mg_op_drop(op);
}

void mg_call_close(struct mg_call *c)
{
    drop(&c->op);
    drop(&c->read_op);
    drop(&c->write_op);
    mg_call_release(c);
    mg_loop_disarm(&c->x->worker->loop, &c->total_timer);
    mg_list_remove(&c->node);
    c->x->calls->n--;
    call_free(c);
}
