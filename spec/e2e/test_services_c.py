"""A C plugin that uses every service which waits: in an exchange, in tasks, in timers and at a worker's beginning."""

import pytest

from chains import compile_plugin
from harness import answer, wait_for
from redis_probe import redis  # noqa: F401

SOURCE = r"""
#include <moongate/plugin.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conf { struct mg_str http, redis; };
struct instance { struct conf conf; struct mg_redis *redis; };
struct local { int timer, ticks; struct instance *in; };
/* Of an exchange. */
struct mine { int redis, pipeline, http, stream, chunk, work, sleep, dns, left; struct mg_x *task; char text[512]; };

static const struct mg_field fields[] = {
    { .name = "http", .type = MG_STRING, .offset = offsetof(struct conf, http), .required = true, .doc = "A URL." },
    { .name = "redis", .type = MG_STRING, .offset = offsetof(struct conf, redis), .required = true, .doc = "A URL." },
    { 0 }
};

static struct mg_str str(const char *p) { return (struct mg_str){ p, strlen(p) }; }

static int create(const struct mg_entry *entry, void **self, struct mg_error *err)
{
    struct instance *in = calloc(1, sizeof *in);
    struct mg_str options[2] = { str("url") };

    in->conf = *(const struct conf *)entry->conf;
    options[1] = in->conf.redis;
    in->redis = mg_redis_open(options, 1, err->message, sizeof err->message);
    *self = in;
    if (in->redis)
        return 0;
    free(in);
    return MG_ECONF;
}

static void destroy(void *self)
{
    struct instance *in = self;

    mg_redis_close(in->redis);
    free(in);
}

static int redis(struct mg_x *x, struct instance *in, const char *verb, const char *key)
{
    struct mg_str words[3] = { str(verb), str(key) };

    return mg_redis_call(x, in->redis, words, 2, 0, 0);
}

/* ---- tasks and timers ---- */

static enum mg_verdict tick(struct mg_x *task, void *arg, int op, int status)
{
    struct local *l = arg;

    if (op == 0)
        return redis(task, l->in, "INCR", "ticks") > 0 ? MG_WAIT : MG_ERROR;
    mg_redis_release(task, op);
    if (status == 0 && ++l->ticks == 3)
        mg_timer_stop(l->timer);
    return MG_CONTINUE;
}

static enum mg_verdict begin(struct mg_x *task, void *arg, int op, int status)
{
    struct local *l = arg;

    if (op == 0)
        return redis(task, l->in, "INCR", "begun") > 0 ? MG_WAIT : MG_ERROR;
    return status == 0 ? MG_CONTINUE : MG_ERROR;
}

static int worker_create(void *self, void **local)
{
    struct local *l = calloc(1, sizeof *l);

    l->in = self;
    *local = l;
    l->timer = mg_timer_start(NULL, 20, 5, MG_TIMER_EVERY, tick, l, NULL);
    if (l->timer < 0)
        return l->timer;
    if (mg_timer_start(NULL, 10, 0, MG_TIMER_ONCE_PER_GATEWAY, begin, l, NULL) < 0)
        return MG_EBUSY;
    return mg_task_start(NULL, begin, l, NULL, 1000, NULL);
}

static void worker_destroy(void *self, void *local)
{
    (void)self;
    free(local);
}

static void released(void *arg)
{
    mg_log(MG_LOG_INFO, arg, strlen(arg));
    free(arg);
}

static enum mg_verdict outlives(struct mg_x *task, void *arg, int op, int status)
{
    (void)arg;
    if (op == 0)
        return mg_sleep(task, 50) > 0 ? MG_WAIT : MG_ERROR;
    mg_log(MG_LOG_INFO, "the task slept", 14);
    return status == 0 && mg_task_is_leaving(task) == 0 && mg_request_path(task, &(struct mg_str){ 0 }) == MG_EPHASE ? MG_CONTINUE : MG_ERROR;
}

static enum mg_verdict for_ever(struct mg_x *task, void *arg, int op, int status)
{
    (void)arg, (void)op, (void)status;
    return mg_sleep(task, 3600000) > 0 ? MG_WAIT : MG_ERROR;
}

/* ---- an exchange ---- */

static int shout(const char *in, size_t n, char **out, size_t *out_n)
{
    *out = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = in[i] >= 'a' && in[i] <= 'z' ? (char)(in[i] - 32) : in[i];
    *out_n = n;
    usleep(1000);
    return 7;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    struct instance *in = self;
    struct mine *m = mg_x_local(x, sizeof *m);
    struct mg_str words[6] = { str("SET"), str("k"), str("v"), str("LPUSH"), str("k"), str("x") };
    int counts[2] = { 3, 3 };

    (void)local;
    m->http = mg_http_new(x, "GET", 3, in->conf.http.p, in->conf.http.n);
    m->stream = mg_http_new(x, "POST", 4, in->conf.http.p, in->conf.http.n);
    if (m->http < 0 || m->stream < 0 || mg_http_header(x, m->http, "x-by", 4, "c", 1) != 0)
        return MG_ERROR;
    m->redis = redis(x, in, "INCR", "n");
    m->pipeline = mg_redis_pipeline(x, in->redis, words, counts, 2, 0, 0);
    m->work = mg_work(x, shout, "hello", 5);
    m->sleep = mg_sleep(x, 10);
    m->dns = mg_dns_resolve(x, "127.0.0.9", 9, MG_DNS_A);
    if (m->redis < 0 || m->pipeline < 0 || m->work < 0 || m->sleep < 0 || m->dns < 0 || mg_http_send(x, m->http) < 0)
        return MG_ERROR;
    if (mg_http_start(x, m->stream, 1) < 0 || mg_http_write(x, m->stream, "pie", 3) < 0 || mg_http_write(x, m->stream, "ces", 3) < 0 ||
        mg_http_end(x, m->stream) != 0)
        return MG_ERROR;
    m->left = 7;
    if (mg_task_start(x, outlives, strdup("outlived"), released, 0, NULL) != 0 ||
        mg_task_start(x, for_ever, strdup("cancelled"), released, 0, &m->task) != 0 ||
        mg_task_start(x, for_ever, strdup("timed out"), released, 30, NULL) != 0)
        return MG_ERROR;
    return MG_WAIT;
}

static enum mg_verdict respond(struct mg_x *x, struct mine *m)
{
    const struct mg_redis_node *nodes;
    struct mg_str http, work, dns, error, piece, url;
    size_t n;
    int length;

    nodes = mg_redis_nodes(x, m->pipeline, &n);
    if (!nodes || n != 3 || nodes[0].kind != MG_REDIS_ARRAY || nodes[1].kind != MG_REDIS_STATUS || nodes[2].kind != MG_REDIS_ERROR)
        return MG_ERROR;
    mg_redis_text(x, m->pipeline, 2, &error);
    nodes = mg_redis_nodes(x, m->redis, &n);
    if (mg_http_body(x, m->http, &http) != 0 || mg_work_output(x, m->work, &work) != 0 || mg_dns_addresses(x, m->dns, &dns) != 0 ||
        mg_http_body(x, m->stream, &piece) != 0 || mg_http_url(x, m->http, &url) != 0 || mg_task_cancel(m->task) != 0)
        return MG_ERROR;
    length = snprintf(m->text, sizeof m->text, "%d|%.*s|%.*s|%.*s|%.*s|%d|%.*s", (int)nodes[0].integer, 9, error.p, (int)http.n, http.p,
                      (int)work.n, work.p, (int)dns.n, dns.p, mg_http_status(x, m->http), (int)piece.n, piece.p);
    mg_http_close(x, m->http);
    mg_redis_release(x, m->redis);
    mg_work_free(x, m->work);
    mg_dns_free(x, m->dns);
    if (mg_work_output(x, m->work, &work) != MG_ENOENT || mg_http_status(x, m->http) != MG_ENOENT)
        return MG_ERROR;
    mg_respond(x, 200, m->text, (size_t)length);
    return MG_RESPOND;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    struct mine *m = mg_x_local(x, sizeof *m);

    (void)self, (void)local;
    if (status < 0 || (op == m->work && status != 7))
        return MG_ERROR;
    if (m->chunk == 0 && mg_http_status(x, m->stream) > 0) {
        m->chunk = mg_http_read(x, m->stream); /* beside the others */
        m->left++;
        if (m->chunk < 0)
            return MG_ERROR;
    }
    return --m->left > 0 ? MG_WAIT : respond(x, m);
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "services", .version = "1", .doc = "Uses every service.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf), .create = create, .destroy = destroy,
    .worker_create = worker_create, .worker_destroy = worker_destroy, .on_request = on_request, .on_wake = on_wake,
};
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("services")
    compile_plugin(folder, "services", SOURCE)
    return folder


def test_a_c_plugin_uses_every_service_and_leaves_nothing(gateway, upstream, redis, services):
    r = redis()
    u = upstream(lambda request, wire: answer(body=f"{request.method} {request.headers.get('x-by')}".encode() if request.method == "GET" else request.body))

    def config(mark):
        return f"""
return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 2, plugin_path = "{services}", drain = "5s",
  routes = {{ {{ "{mark}", path = "/*", plugins = {{ {{ "services", http = "{u.url}/path", redis = "redis://{r.address}" }} }} }} }} }}
"""

    g = gateway(config("one"), workers=0)
    for i in range(1, 11):
        assert g.ask().body.decode() == f"{i}|WRONGTYPE|GET c|HELLO|127.0.0.9|200|pieces"
    for what in ("outlived", "the task slept", "cancelled", "timed out"):
        wait_for(lambda: sum(what in line for line in g.log().splitlines() if "longer than" not in line) == 10, f"ten times “{what}”")
    wait_for(lambda: (r.ask("GET", "ticks"), r.ask("GET", "begun")) == ("6", "3"), "the timers and tasks of both workers")
    g.write(config("two"))
    assert g.reload().status == 200
    assert g.ask().body.startswith(b"11|")
    wait_for(lambda: (r.ask("GET", "ticks"), r.ask("GET", "begun")) == ("12", "6"), "those of the second configuration")
    g.stop()
