"""Chains in the real gateway: order, verdicts, waiting, bodies, errors, and where plugins come from."""
import os
import re
import subprocess
import threading
import time

import pytest

import harness
from harness import ROOT, answer, wait_for

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


# ---- order ------------------------------------------------------------------------------------------


def test_requests_go_down_the_chain_and_answers_come_back_up(chain):
    g, u = chain(f'{tracer("route-lua")}, {{ "probe", name = "route-c" }}',
                 plugins=f'{{ "probe", name = "global-c" }}, {tracer("global-lua")}')
    res = g.ask()
    assert u.last.headers.all("x-trace") == ["global-c", "global-lua", "route-lua", "route-c"]
    assert res.headers.all("x-trace") == ["route-c", "route-lua", "global-lua", "global-c"]


def test_only_those_that_saw_the_request_see_an_answer_made_halfway(chain):
    g, u = chain(f'{{ "probe", name = "answers", act = "respond" }}, {tracer("below")}, {{ "probe", id = "last", name = "last" }}',
                 plugins=tracer("above"))
    res = g.ask()
    assert (res.status, res.body) == (202, b"answers")
    assert res.headers.all("x-trace") == ["answers", "above"]
    assert u.requests == []
    g.wait_log("name=last")  # on_log runs for every entry
    assert g.log().count("probe has logged") == 2


def test_answers_without_a_route_pass_the_global_chain(gateway):
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {tracer("above")} }},
      routes = {{ {{ "one", path = "/one", plugins = {{ {tracer("route")} }} }} }} }}""")
    res = g.ask(target="/other")
    assert res.status == 404 and res.headers.all("x-trace") == ["above"]
    res = g.ask(target="/one")  # no upstream, and no plugin that answers
    assert res.status == 404 and res.headers.all("x-trace") == ["route", "above"]


def test_failures_of_the_upstream_pass_the_chain_back(chain):
    g, u = chain(tracer("route"), plugins=tracer("above"))
    u.close()  # nobody listens any more
    res = g.ask()
    assert res.status in (502, 503) and res.headers.all("x-trace") == ["route", "above"]
    assert res.headers.get("x-moongate-error")


def test_on_rewrite_acts_before_the_route_is_chosen(gateway, upstream):
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {{ on_rewrite = function(x)
        if x.request.path == "/gone" then return x:respond(410, "gone") end
        x.request.path = "/new" .. x.request.path
        x.request.headers["x-rewritten"] = "yes"
        x.request.method = "PUT"
      end }} }},
      routes = {{ {{ "old", path = "/x", upstream = "{u.url}" }},
                  {{ "new", path = "/new/*", methods = {{ "PUT" }}, upstream = "{u.url}" }} }} }}""")
    assert g.ask(target="/x?q=1").status == 200
    assert (u.last.method, u.last.target, u.last.headers.get("x-rewritten")) == ("PUT", "/new/x?q=1", "yes")
    assert g.ask(target="/gone").status == 410
    assert len(u.requests) == 1


def test_on_rewrite_in_a_routes_chain_is_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = { { on_rewrite = function(x) end } } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "on_rewrite" in said.stderr and "global" in said.stderr


# ---- when, on_error ---------------------------------------------------------------------------------


def test_when_decides_once_for_all_phases(chain):
    g, u = chain(tracer("sometimes", 'when = function(x) return x.request.headers["x-on"] ~= nil end,') + ', '
                 '{ on_request = function(x) x.request.headers["x-on"] = nil end }, ' + tracer("always"))
    res = g.ask(headers=[("x-on", "1")])
    assert u.last.headers.all("x-trace") == ["sometimes", "always"]
    assert res.headers.all("x-trace") == ["always", "sometimes"], "though the header is gone by then"
    res = g.ask()
    assert u.last.headers.all("x-trace") == ["always"] and res.headers.all("x-trace") == ["always"]


def test_when_of_a_c_plugin_and_of_one_that_only_sees_the_answer(chain, tmp_path):
    g, u = chain('{ "probe", name = "c", when = function(x) return x.request.path == "/on" end }, '
                 '{ id = "late", when = function(x) return x.response.status == 404 end, '
                 'on_response = function(x) x.response.headers["x-late"] = "1" end }',
                 handler=lambda r, w: answer(404 if r.target == "/missing" else 200))
    assert g.ask(target="/on").headers.all("x-trace") == ["c"] and u.last.headers.all("x-trace") == ["c"]
    assert "x-trace" not in g.ask(target="/off").headers and "x-trace" not in u.last.headers
    assert g.ask(target="/missing").headers.get("x-late") == "1"
    assert "x-late" not in g.ask(target="/on").headers


def test_a_when_that_fails_is_an_error_of_its_entry(chain):
    g, u = chain('{ "probe", when = function(x) return nil + 1 end }')
    assert g.ask().status == 500 and u.requests == []
    g.wait_log("gateway.lua:")
    g, u = chain('{ "probe", on_error = "continue", when = function(x) return nil + 1 end }')
    assert g.ask().status == 200 and "x-trace" not in u.last.headers


@pytest.mark.parametrize("entry", [
    '{ "probe", name = "half", act = "half", on_error = "continue" }',
    '{ "probe", name = "half", act = "half", sleep = "5ms", on_error = "continue" }',
    '''{ on_error = "continue", on_request = function(x)
         local r = x.request
         r.path, r.method, r.raw_query = "/changed", "DELETE", "changed=1"
         r.headers["x-keep"], r.headers["x-trace"] = nil, "half"
         error("broken")
       end }''',
    '''{ on_error = "continue", on_request = function(x)
         x.request.path, x.request.headers["x-trace"] = "/changed", "half"
         require("moongate").sleep(5)
         x.request.headers["x-keep"] = nil
         x:respond(200, "not this")
         error("broken")
       end }''',
])
def test_what_a_failed_entry_changed_is_undone_where_the_chain_goes_on(chain, entry):
    g, u = chain(entry + ", " + tracer("after"), handler=lambda r, w: answer(body=b"from the upstream"))
    for _ in range(3):
        res = g.ask("GET", "/kept?q=1", [("x-keep", "1")])
        assert (res.status, res.body) == (200, b"from the upstream")
        assert (u.last.method, u.last.target, u.last.headers.get("x-keep")) == ("GET", "/kept?q=1", "1")
        assert u.last.headers.all("x-trace") == ["after"]


def test_a_failed_response_handler_is_undone_too(chain):
    g, _ = chain('''{ on_error = "continue", on_response = function(x)
         x.response.status = 500
         x.response.headers["x-up"], x.response.headers["x-new"] = nil, "1"
         error("broken")
       end }''', handler=lambda r, w: answer(headers=[("x-up", "kept")], body=b"body"))
    res = g.ask()
    assert (res.status, res.headers.get("x-up"), res.headers.get("x-new"), res.body) == (200, "kept", None, b"body")


# ---- errors -----------------------------------------------------------------------------------------


def problem(res):
    assert res.status == 500 and res.headers.get("content-type").startswith("application/problem+json")
    return res.json()


def test_an_error_in_lua_is_500_with_an_id_and_told_in_the_log(chain):
    g, u = chain('{ id = "broken", on_request = function(x)\n local t = nil\n return t.field\n end }')
    res = g.ask(target="/x?password=secret")
    said = problem(res)
    assert "field" not in res.body.decode() and "lua" not in res.body.decode().lower() and u.requests == []
    line = next(l for l in g.wait_log("plugin failed") and g.log().splitlines() if "plugin failed" in l)
    ident = re.search(r"[0-9a-f]{32}", res.body.decode()).group()
    assert ident in line and "broken" in line and "on_request" in line and "route=all" in line
    config = g.config.read_text().splitlines()
    number = next(i for i, l in enumerate(config, 1) if "return t.field" in l)
    assert "gateway.lua" in line and re.search(rf"\bline={number}\b|gateway\.lua:{number}:", line), line
    assert said["status"] == 500
    assert [l for l in g.log().splitlines() if ident in l and " error " in l] == [line], "one line says it all"
    assert g.ask(target="/x").status == 500, "the worker lives on"


def test_an_error_in_c_is_500_and_told_in_the_log(chain):
    g, u = chain('{ "probe", act = "fail" }')
    res = g.ask()
    problem(res)
    ident = re.search(r"[0-9a-f]{32}", res.body.decode()).group()
    g.wait_log(ident)
    line = next(l for l in g.log().splitlines() if ident in l)
    assert "probe" in line and "on_request" in line and "all" in line
    assert u.requests == []


def test_answering_without_an_answer_is_an_error(chain):
    g, _ = chain('{ "probe", act = "no-answer" }')
    problem(g.ask())


@pytest.mark.parametrize("phase", ["on_request", "on_request_body", "on_response"])
def test_an_error_before_the_answer_has_begun_is_500(chain, phase):
    g, _ = chain(f'{{ {phase} = function(x) error("broken here") end }}')
    problem(g.ask("POST", "/", body=b"12345"))
    g.wait_log("broken here")
    assert phase in g.log()


def test_an_error_while_the_body_passes_cuts_the_connection(chain):
    seen = threading.Event()

    def handler(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert seen.wait(harness.PATIENCE)
        return b"0\r\n\r\n"

    g, _ = chain('{ on_response_body = function(x) if x.is_last then error("broken late") end end }', handler=handler)
    client = g.client()
    client.request()
    assert client.until(b"hello").startswith(b"HTTP/1.1 200")
    seen.set()
    assert not client.rest().endswith(b"0\r\n\r\n")
    g.wait_log("broken late")


def test_an_error_in_on_log_is_only_logged(chain):
    g, _ = chain('{ on_log = function(x) error("broken at the end") end }')
    client = g.client()
    for _ in range(3):
        assert client.ask().status == 200
    g.wait_log("broken at the end")


def test_a_script_that_eats_memory_fails_and_the_worker_lives_on(chain):
    g, _ = chain('{ on_request = function(x) if x.request.path == "/eat" then local t = {} for i = 1, 1e9 do t[i] = "x" .. i end end end }',
                 top='lua = { memory = "16m" },')
    assert g.ask(target="/eat").status == 500
    assert g.ask(target="/").status == 200
    assert g.ask(target="/eat").status == 500
    assert g.ask(target="/").status == 200


def test_a_kept_handle_is_a_clean_error(chain):
    g, u = chain('''(function() local kept; return { on_request = function(x)
       if not kept then kept = x return end
       local ok, err = pcall(function() return kept.request.path end)
       x.request.headers["x-kept"] = ok and "readable" or tostring(err):match("[^:]*$")
     end } end)()''')
    for _ in range(3):
        assert g.ask().status == 200
    assert "ended" in u.last.headers.get("x-kept")


# ---- waiting ----------------------------------------------------------------------------------------


def together(g, n, ask):
    """n requests at once; their results, and how long all took."""
    results, threads = [None] * n, []

    def one(i):
        results[i] = ask(i)

    begun = time.monotonic()
    for i in range(n):
        threads.append(threading.Thread(target=one, args=(i,), daemon=True))
        threads[-1].start()
    for t in threads:
        t.join(harness.PATIENCE)
    return results, time.monotonic() - begun


@pytest.mark.parametrize("entries, trace", [
    ('{ "probe", name = "c", sleep = "200ms", response_sleep = "200ms" }', ["c woke"]),
    ('{ on_request = function(x) require("moongate").sleep(200) x.request.headers["x-trace"] = "c" end, '
     'on_response = function(x) require("moongate").sleep("200ms") x.response.headers["x-trace"] = "c woke" end }', ["c woke"]),
])
def test_a_waiting_plugin_holds_nobody_else_up(chain, entries, trace):
    g, u = chain(entries, workers=1)
    results, took = together(g, 20, lambda i: g.ask())
    assert all(r.status == 200 and r.headers.all("x-trace") == trace for r in results)
    assert all(r.headers.all("x-trace") == ["c"] for r in u.requests)
    assert 0.4 <= took < 20 * 0.4, "twenty waited together"


def test_lua_may_wait_in_every_phase_but_the_log(chain):
    g, u = chain('''{ on_request = function(x) require("moongate").sleep(1) x.request.headers["x-a"] = "1" end,
        on_request_body = function(x) require("moongate").sleep(1) x.piece = x.piece:upper() end,
        on_response = function(x) require("moongate").sleep(1) x.response.headers["x-b"] = "2" end,
        on_response_body = function(x) require("moongate").sleep(1) x.piece = x.piece:upper() end,
        on_log = function(x) local ok, err = pcall(require("moongate").sleep, 1) require("moongate").log.info("waiting in the log: " .. tostring(ok)) end }''',
                 handler=lambda r, w: answer(body=b"answer of " + r.body),
                 plugins='{ on_rewrite = function(x) require("moongate").sleep(1) x.request.headers["x-r"] = "0" end }')
    res = g.ask("POST", "/", body=b"question")
    assert (u.last.headers.get("x-r"), u.last.headers.get("x-a"), u.last.body) == ("0", "1", b"QUESTION")
    assert (res.headers.get("x-b"), res.body) == ("2", b"ANSWER OF QUESTION")
    g.wait_log("waiting in the log: false")


@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_the_last_bytes_are_the_last_piece_and_the_client_waits_for_them(chain, coding):
    """A step that waits on the last piece keeps the answer open: a client that has it all cannot leave too early."""
    g, u = chain('''{ on_request_body = function(x) x.ctx.ins = (x.ctx.ins or "") .. #x.piece .. tostring(x.is_last) .. " " end,
        on_response_body = function(x) x.ctx.outs = (x.ctx.outs or "") .. #x.piece .. tostring(x.is_last) .. " "
            if x.is_last then require("moongate").sleep("100ms") end end,
        on_log = function(x) require("moongate").log.info("pieces " .. x.ctx.ins .. "/ " .. x.ctx.outs
            .. "failure " .. tostring(x.failure ~= "" and x.failure)) end }''',
                 handler=lambda r, w: answer(body=b"hello") if coding == "length" else
                 b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    client = g.client()
    started = time.monotonic()
    assert client.ask("POST", "/", body=b"question").body == b"hello"
    client.close()
    assert time.monotonic() - started > 0.09
    g.wait_log("pieces 8true / 5true failure false")


def test_a_plugins_own_coroutines_and_pcall_pass_waiting_on(chain):
    g, u = chain('''{ on_request = function(x)
        local mg = require "moongate"
        local co = coroutine.wrap(function() for i = 1, 3 do mg.sleep(1) coroutine.yield(i) end end)
        local sum = 0
        for _ = 1, 3 do sum = sum + co() end
        local ok, err = pcall(function() mg.sleep(1) error("inner", 0) end)
        x.request.headers["x-sum"] = sum .. " " .. tostring(ok) .. " " .. err
      end }''')
    assert g.ask().status == 200 and u.last.headers.get("x-sum") == "6 false inner"


def test_two_hundred_sleepers_keep_their_own_state(chain):
    g, u = chain('''{ on_request = function(x)
        local mine = x.request.query.n
        for _ = 1, 3 do require("moongate").sleep(tonumber(mine) % 7) end
        x.request.headers["x-mine"] = mine
      end }''', handler=lambda r, w: answer(body=r.headers.get("x-mine").encode()), workers=2)
    results, _ = together(g, 50, lambda i: [c.ask(target=f"/?n={i * 10 + k}").body for c in [g.client()] for k in range(4)])
    assert results == [[str(i * 10 + k).encode() for k in range(4)] for i in range(50)]


def test_a_sleeper_outlives_a_reload_on_its_own_config(chain):
    g, u = chain('{ on_request = function(x) if x.request.path == "/slow" then require("moongate").sleep(400) end '
                 'x.request.headers["x-config"] = "old" end }')
    sleeper = g.client()
    sleeper.request(target="/slow")
    wait_for(lambda: "exchanges_open" in g.admin("GET", "/metrics").body.decode() and
             re.search(r'exchanges_open\{worker="\d"\} 1', g.admin("GET", "/metrics").body.decode()), "the sleeper to sleep")
    g.write(g.config.read_text().replace('"old"', '"new"'))
    assert g.reload().status == 200
    assert g.ask().status == 200 and u.last.headers.get("x-config") == "new"
    assert sleeper.response().status == 200 and u.last.headers.get("x-config") == "old"
    assert sleeper.ask().status == 200 and u.last.headers.get("x-config") == "new"


@pytest.mark.parametrize("entry", ['{ "probe", name = "gone", sleep = "10s" }', '''{ on_request = function(x) require("moongate").sleep("10s") end,
      on_log = function(x) require("moongate").log.info("name=gone status=" .. tostring(x.response.status or 0) .. " probe has logged") end }'''])
def test_a_client_that_leaves_ends_the_wait(chain, entry):
    g, u = chain(entry)
    client = g.client()
    client.request()
    open_now = lambda: re.search(r'exchanges_open\{worker="0"\} (\d+)', g.admin("GET", "/metrics").body.decode()).group(1)
    wait_for(lambda: open_now() == "1", "the exchange")
    begun = time.monotonic()
    client.close()
    g.wait_log("probe has logged")
    wait_for(lambda: open_now() == "0", "the exchange to end")
    assert time.monotonic() - begun < 8, "it did not wait for the sleep"
    line = next(l for l in g.log().splitlines() if "probe has logged" in l)
    assert "gone" in line and "status=0" in line
    assert g.log().count("probe has logged") == 1 and u.requests == []


@pytest.mark.parametrize("entry, sent", [
    ('{ on_request = function(x) x.request:body() end, LOG }', b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"),
    ('{ on_response = function(x) require("moongate").sleep("10s") end, LOG }', b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ('{ on_response = function(x) x.response:body() end, LOG }', b"GET /half HTTP/1.1\r\nHost: h\r\n\r\n"),
    ('{ on_response_body = function(x) require("moongate").sleep("10s") end, LOG }', b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
])
def test_a_client_that_leaves_ends_every_wait(chain, entry, sent):
    def handler(request, wire):
        if request.target != "/half":
            return answer(body=b"hello")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        wire.rest()
        raise harness.Ended()

    g, u = chain(entry.replace("LOG", 'on_log = function(x) require("moongate").log.info("the end of it") end'), handler)
    client = g.client()
    client.send(sent)
    open_now = lambda: re.search(r'exchanges_open\{worker="0"\} (\d+)', g.admin("GET", "/metrics").body.decode()).group(1)
    wait_for(lambda: open_now() == "1" and (sent[:1] == b"P" or u.requests), "the exchange")
    begun = time.monotonic()
    client.close()
    g.wait_log("the end of it")
    wait_for(lambda: open_now() == "0", "the exchange to end")
    assert time.monotonic() - begun < 8 and g.log().count("the end of it") == 1


def test_an_upstream_that_dies_while_a_plugin_reads_its_answer(chain):
    def handler(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        raise harness.Ended()

    g, _ = chain('''{ on_response = function(x)
        local body, err = x.response:body()
        x.response.headers["x-body"] = body and "whole" or "cut"
      end }''', handler)
    client = g.client()
    client.request()
    try:
        res = client.response()
        assert res.status == 502, (res.status, res.body)
    except harness.Ended:
        pass  # cut off: the client sees that it is not whole either


def test_a_plugin_that_waits_too_long_is_answered_for(chain):
    g, u = chain('{ "probe", sleep = "30s" }', route='timeouts = { plugin = "200ms" },')
    res = g.ask()
    assert res.status in (500, 503, 504) and u.requests == []
    assert res.headers.get("content-type").startswith("application/problem+json")


# ---- bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_body_is_read_whole_and_replaced(chain, chunked):
    g, u = chain('''{ on_request = function(x)
        local body = x.request:body()
        x.request.headers["x-length"] = #body
        if body:find("double") then x.request:set_body(body .. body) end
      end }''')
    client = g.client()
    for body, sent in [(b"plain", b"plain"), (b"double it.", b"double it.double it."), (b"", b"")]:
        if chunked:
            client.request("POST", "/", [("transfer-encoding", "chunked")])
            for i in range(0, len(body), 3):
                client.send(b"%x\r\n%s\r\n" % (len(body[i:i + 3]), body[i:i + 3]))
            client.send(b"0\r\n\r\n")
        else:
            client.request("POST", "/", body=body)
        assert client.response().status == 200
        assert (u.last.headers.get("x-length"), u.last.body) == (str(len(body)), sent)


def test_a_c_plugin_reads_a_body_that_comes_slowly(chain):
    g, u = chain('{ "probe", body = true }')
    client = g.client()
    client.request("POST", "/", [("content-length", "10")])
    client.send(b"hello")
    other = g.client()
    assert other.ask().status == 200
    client.send(b"world")
    assert client.response().status == 200
    assert (u.last.headers.get("x-body"), u.last.body) == ("helloworld", b"helloworld")


def test_100_continue_is_sent_when_a_plugin_wants_the_body(chain):
    g, u = chain('{ on_request = function(x) if x.request.path == "/no" then return x:respond(403) end x.request:body() end }')
    client = g.client()
    client.request("POST", "/yes", [("content-length", "5"), ("expect", "100-continue")])
    assert client.head(harness.Response).status == 100
    client.send(b"12345")
    assert client.response().status == 200 and u.last.body == b"12345"
    client = g.client()
    client.request("POST", "/no", [("content-length", "5"), ("expect", "100-continue")])
    res = client.response()
    assert res.status == 403 and not res.interim


def test_a_body_over_the_limit_is_refused_or_passed_by(chain):
    g, u = chain('''{ on_request = function(x)
        local body, err = x.request:body(10, x.request.path == "/skip" and "skip" or nil)
        x.request.headers["x-got"] = body or err
      end }''')
    assert g.ask("POST", "/", body=b"0123456789").status == 200 and u.last.headers.get("x-got") == "0123456789"
    assert g.ask("POST", "/", body=b"0123456789x").status == 413
    big = b"0123456789x" * 30000
    assert g.ask("POST", "/skip", body=big).status == 200
    assert u.last.body == big and "big" in u.last.headers.get("x-got")
    assert len(u.requests) == 2


def test_a_response_body_is_read_whole_and_replaced(chain):
    def handler(request, wire):
        if request.target == "/chunked":
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Up: 1\r\n\r\n3\r\none\r\n")
            wire.send(b"3\r\ntwo\r\n0\r\n\r\n")
            return None
        if request.target == "/close":
            wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo")
            raise harness.Ended()
        if request.target == "/none":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        out = answer(body=b"onetwo")
        return out[:-6] if request.method == "HEAD" else out

    g, u = chain('''{ on_response = function(x)
        local body = x.response:body()
        x.response.headers["x-length"] = #body
        if #body > 0 then x.response:set_body({ was = body }) end
      end }''', handler=handler)
    client = g.client()
    for target in ("/", "/chunked", "/close"):
        res = client.ask(target=target)
        assert (res.status, res.headers.get("x-length"), res.json()) == (200, "6", {"was": "onetwo"}), target
        assert int(res.headers.get("content-length")) == len(res.body)
    assert client.ask(target="/none").status == 204
    res = client.ask("HEAD", "/")
    assert res.status == 200
    assert client.ask(target="/").json() == {"was": "onetwo"}, "the connection is in step"


def test_a_response_over_the_limit_is_502(chain):
    g, _ = chain('{ on_response = function(x) x.response:body(100) end }', handler=lambda r, w: answer(body=b"x" * 101))
    assert g.ask().status == 502


def test_pieces_are_changed_dropped_and_appended_as_they_pass(chain):
    g, u = chain('''{ on_request = function(x) x.request:resize_body() end,
        on_response = function(x) x.response:resize_body() end,
        on_request_body = function(x) x.piece = x.piece:gsub("secret", "") if x.is_last then x.piece = x.piece .. "[end]" end end,
        on_response_body = function(x) if x.piece ~= "" then x.piece = "<" .. x.piece .. ">" end if x.is_last then x.piece = x.piece .. "!" end end }''',
                 handler=lambda r, w: answer(body=b"answer"))
    client = g.client()
    res = client.ask("POST", "/", body=b"a secret thing")
    assert u.last.body == b"a  thing[end]"
    assert res.body.replace(b"><", b"") == b"<answer>!"
    assert client.ask("POST", "/", body=b"").status == 200 and u.last.body == b"[end]"
    u.handler = lambda r, w: answer(body=b"x" * 1_000_000)
    res = client.ask("POST", "/", body=b"y" * 1_000_000)
    assert u.last.body == b"y" * 1_000_000 + b"[end]"
    assert res.body.strip(b"!").replace(b"<", b"").replace(b">", b"") == b"x" * 1_000_000


def test_answering_in_on_response_takes_the_upstreams_answer_back(chain):
    g, _ = chain('''{ on_response = function(x) if x.response.status >= 500 then
         return x:respond(503, { message = "later" }, { ["retry-after"] = "7" }) end end }, ''',
                 handler=lambda r, w: answer(500 if r.target == "/bad" else 200, body=b"z" * 200_000), plugins=tracer("above"))
    client = g.client()
    res = client.ask(target="/bad")
    assert (res.status, res.json(), res.headers.get("retry-after")) == (503, {"message": "later"}, "7")
    assert res.headers.all("x-trace") == ["above"]
    assert client.ask(target="/good").body == b"z" * 200_000


# ---- what plugins share -----------------------------------------------------------------------------


def test_ctx_is_shared_by_c_and_lua(chain):
    g, u = chain('''{ on_request = function(x) x.ctx.list = { 1, 2 } x.ctx.text = "t" end }, { "probe", name = "from-c" },
        { on_request = function(x)
            x.request.headers["x-ctx"] = table.concat({ x.ctx.probe, tostring(x.ctx.number), #x.ctx.list, x.ctx.text }, " ")
          end }''')
    g.ask()
    assert u.last.headers.get("x-ctx") == "from-c 7.5 2 t"


def test_a_plugin_chooses_the_upstream(gateway, upstream):
    a, b = upstream(), upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0",
      upstreams = {{ a = {{ targets = {{ "{a.address}" }} }}, b = {{ targets = {{ "{b.address}" }} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "a", plugins = {{ {{ on_request = function(x)
        local to = x.request.headers["x-to"] if to then x.upstream = to end end }} }} }} }} }}""")
    assert g.ask().status == 200 and (len(a.requests), len(b.requests)) == (1, 0)
    assert g.ask(headers=[("x-to", "b")]).status == 200 and (len(a.requests), len(b.requests)) == (1, 1)
    assert g.ask(headers=[("x-to", "c")]).status == 500


# ---- a chain that makes no sense ---------------------------------------------------------------------


@pytest.mark.parametrize("entries, words", [
    ('{ "rate-limit", limit = 1, window = "1s", by = "consumer" }', ["rate-limit", '"consumer"', "no entry of this chain provides it"]),
    ('{ "rate-limit", limit = 1, window = "1s", by = "consumer" }, "key-auth"', ['"consumer"', "key-auth", "stands after it"]),
    ('{ "key-auth", when = function(x) return true end }, { "rate-limit", limit = 1, window = "1s", by = "consumer" }', ['"consumer"', "when"]),
    ('{ "key-auth", on_error = "continue" }, { "rate-limit", limit = 1, window = "1s", by = "consumer" }', ['"consumer"', "on_error"]),
    ('{ "key-auth", anonymous = "a" }, { "rate-limit", limit = 1, window = "1s", by = "credential" }', ['"credential"']),
])
def test_an_entry_that_needs_what_nobody_provides_is_refused(tmp_path, entries, words):
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0", consumers = {{ a = {{ keys = "k" }} }},\nroutes = {{ {{ "r", upstream = "http://h:1",\n'
                    f'plugins = {{ {entries} }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1
    assert all(w in said.stderr for w in words) and "gateway.lua:3:" in said.stderr, said.stderr


def test_the_global_chain_provides_for_routes(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", consumers = { a = { keys = "k" } }, plugins = { "key-auth" }, routes = { { "r", '
                    'upstream = "http://h:1", plugins = { { "rate-limit", limit = 1, window = "1s", by = "consumer" } } } } }')
    assert harness.run("check", "-c", path).returncode == 0


# ---- where plugins come from --------------------------------------------------------------------------


def lua_plugin(name, value):
    return f"""local plugin = {{ name = "{name}", doc = "For tests." }}
plugin.fields = {{ value = {{ type = "string", preset = "{value}" }} }}
function plugin.on_request(x, conf) x.request.headers:add("x-{name}", conf.value) end
return plugin
"""


def test_plugins_beside_the_config_and_in_plugin_path(gateway, upstream, tmp_path):
    u = upstream()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    (folder / "mine").mkdir()
    (folder / "plugins/beside.lua").write_text(lua_plugin("beside", "plugins"))
    (folder / "mine/beside.lua").write_text(lua_plugin("beside", "mine"))
    (folder / "plugins/only.lua").write_text(lua_plugin("only", "1"))
    compile_plugin(folder / "plugins", "probe", PROBE)

    def config(path=""):
        return (f'return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", {path} routes = {{ {{ "all", path = "/*", upstream = "{u.url}", plugins = {{ "beside", '
                '{ "only", value = "2" }, { "probe", name = "near" } } } } }')

    g = gateway(config())
    assert g.ask().status == 200
    assert [u.last.headers.get(h) for h in ("x-beside", "x-only", "x-trace")] == ["plugins", "2", "near"]
    g.write(config('plugin_path = { "mine" },'))
    assert g.reload().status == 200
    assert g.ask().status == 200 and u.last.headers.get("x-beside") == "mine"
    (folder / "mine/beside.lua").write_text(lua_plugin("beside", "changed"))
    assert g.reload().status == 200, "a plugin's new source is taken by a reload"
    assert g.ask().status == 200 and u.last.headers.get("x-beside") == "changed"


def test_a_replaced_shared_object_is_taken_by_a_reload(gateway, upstream, tmp_path):
    u = upstream()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    compile_plugin(folder / "plugins", "probe", PROBE)
    g = gateway(f'return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "{u.url}", plugins = {{ "probe" }} }} }} }}')
    assert g.ask().headers.all("x-trace") == ["probe"]
    compile_plugin(folder / "plugins", "probe", PROBE.replace('"x-trace"', '"x-newer"'))
    assert g.ask().headers.all("x-trace") == ["probe"]
    assert g.reload().status == 200
    res = g.ask()
    assert res.headers.all("x-newer") == ["probe"] and "x-trace" not in res.headers


@pytest.mark.parametrize("name, source, words", [
    ("key-auth", lua_plugin("key-auth", "1"), ["key-auth", "bundled"]),
    ("other", lua_plugin("another", "1"), ["other", "another"]),
    ("broken", "return {", ["broken.lua"]),
    ("fails", "error('at load')", ["at load", "fails.lua:1"]),
    ("nothing", "return 1", ["nothing"]),
    ("odd", 'return { name = "odd", on_requst = function() end }', ["on_requst", "on_request"]),
])
def test_a_plugin_that_does_not_hold_is_a_mistake(tmp_path, name, source, words):
    (tmp_path / "plugins").mkdir()
    (tmp_path / f"plugins/{name}.lua").write_text(source)
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0",\n routes = {{ {{ "a", plugins = {{ "{name}" }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and all(w in said.stderr for w in words), said.stderr
    assert "gateway.lua:2:" in said.stderr


def test_an_unknown_plugin_and_an_unknown_field_name_the_nearest(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = {\n "key-auht",\n { "rate-limit", limt = 1, window = "1s" } } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1
    assert "gateway.lua:2:" in said.stderr and '"key-auth"' in said.stderr
    assert "gateway.lua:3:" in said.stderr and '"limit"' in said.stderr


def test_a_c_plugin_of_another_abi_is_refused_with_both_numbers(tmp_path):
    (tmp_path / "plugins").mkdir()
    compile_plugin(tmp_path / "plugins", "probe", PROBE.replace(".abi = MG_PLUGIN_ABI", ".abi = 9u << 16"))
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = { "probe" } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "9" in said.stderr and "1" in said.stderr and "probe" in said.stderr
