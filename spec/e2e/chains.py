"""A C plugin with each way of waiting and failing, and gateways with chains of it."""
import os
import subprocess

import pytest

from harness import ROOT

# A C plugin with each way of waiting and failing; what it does stands in its config.
PROBE = r"""
#include <moongate/plugin.h>
#include <string.h>

struct conf { struct mg_str name; int64_t sleep_ms, response_sleep_ms; int act; bool body; };
enum { PASS, RESPOND, FAIL, HALF, NO_ANSWER, BAD_WAIT };
static const char *const acts[] = { "pass", "respond", "fail", "half", "no-answer", NULL };
static const struct mg_field fields[] = {
    { .name = "name", .type = MG_STRING, .offset = offsetof(struct conf, name), .preset = "probe" },
    { .name = "sleep", .type = MG_DURATION, .offset = offsetof(struct conf, sleep_ms), .preset = "0s" },
    { .name = "response_sleep", .type = MG_DURATION, .offset = offsetof(struct conf, response_sleep_ms), .preset = "0s" },
    { .name = "act", .type = MG_ENUM, .offset = offsetof(struct conf, act), .values = acts, .preset = "pass" },
    { .name = "body", .type = MG_BOOL, .offset = offsetof(struct conf, body), .preset = "false" },
    { 0 }
};

static void trace(struct mg_x *x, const struct conf *c, int side, const char *what)
{
    char text[64];
    size_t n = c->name.n < 30 ? c->name.n : 30;

    memcpy(text, c->name.p, n);
    strcpy(text + n, what);
    mg_header_add(x, side, "x-trace", 7, text, strlen(text));
}

static enum mg_verdict act(struct mg_x *x, const struct conf *c)
{
    struct mg_str body = { NULL, 0 };

    trace(x, c, MG_REQUEST, "");
    mg_ctx_set_text(x, "probe", 5, c->name.p, c->name.n);
    mg_ctx_set_number(x, "number", 6, 7.5);
    if (c->body && mg_body_get(x, MG_REQUEST, &body) == 0 && mg_header_set(x, MG_REQUEST, "x-body", 6, body.p, body.n) < 0)
        return MG_ERROR;
    switch (c->act) {
    case RESPOND: return mg_respond(x, 202, c->name.p, c->name.n) < 0 ? MG_ERROR : MG_RESPOND;
    case HALF: /* many changes, then a failure */
        mg_request_set_path(x, "/changed", 8);
        mg_request_set_method(x, "DELETE", 6);
        mg_header_remove(x, MG_REQUEST, "x-keep", 6);
        mg_request_set_query(x, "changed=1", 9);
        return MG_ERROR;
    case FAIL: return MG_ERROR;
    case NO_ANSWER: return MG_RESPOND;
    }
    return MG_CONTINUE;
}

static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;

    (void)local;
    if (c->sleep_ms)
        return mg_sleep(x, c->sleep_ms) > 0 ? MG_WAIT : MG_ERROR;
    if (c->body) {
        int rc = mg_body_read(x, MG_REQUEST, 0, MG_OVER_REFUSE);

        return rc == 0 ? MG_WAIT : rc == 1 ? act(x, c) : MG_ERROR;
    }
    return act(x, c);
}

static enum mg_verdict on_response(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;

    (void)local;
    if (c->response_sleep_ms)
        return mg_sleep(x, c->response_sleep_ms) > 0 ? MG_WAIT : MG_ERROR;
    trace(x, c, MG_RESPONSE, "");
    return MG_CONTINUE;
}

static enum mg_verdict on_wake(struct mg_x *x, void *self, void *local, int op, int status)
{
    const struct conf *c = self;

    (void)local;
    (void)op;
    if (status < 0)
        return MG_ERROR;
    if (mg_x_phase(x) == MG_ON_REQUEST)
        return act(x, c);
    trace(x, c, MG_RESPONSE, " woke");
    return MG_CONTINUE;
}

static enum mg_verdict on_log(struct mg_x *x, void *self, void *local)
{
    const struct conf *c = self;

    (void)x;
    (void)local;
    mg_log_text("name", 4, c->name.p, c->name.n);
    mg_log_number("status", 6, mg_response_status(x));
    mg_log(MG_LOG_INFO, "probe has logged", 16);
    return MG_CONTINUE;
}

MG_PLUGIN_EXPORT = {
    .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "probe", .version = "1", .doc = "For tests.",
    .fields = fields, .field_bytes = sizeof(struct mg_field), .conf_bytes = sizeof(struct conf),
    .on_request = on_request, .on_response = on_response, .on_log = on_log, .on_wake = on_wake,
};
"""


def compile_plugin(folder, name, source):
    (folder / f"{name}.c").write_text(source)
    subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu11", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-I", ROOT / "include",
                    "-o", folder / f"{name}.so", folder / f"{name}.c"], check=True)


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """The folder of the C plugin, for plugin_path."""
    folder = tmp_path_factory.mktemp("probe")
    compile_plugin(folder, "probe", PROBE)
    return folder


@pytest.fixture
def chain(proxy, probes):
    """chain(entries of the route, handler=…, top=…): a gateway that forwards everything through them."""

    def start(entries, handler=None, top="", route="", **options):
        return proxy(handler, top=f'plugin_path = {{ "{probes}" }}, {top}', route=f"plugins = {{ {entries} }}, {route}", **options)

    return start


def tracer(name, more=""):
    return f"""{{ id = "{name}", {more}
      on_request = function(x) x.request.headers:add("x-trace", "{name}") end,
      on_response = function(x) x.response.headers:add("x-trace", "{name}") end }}"""
