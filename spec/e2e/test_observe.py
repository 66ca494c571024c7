"""mode = "observe": the client and the upstream see what they would without the entry, and the log, the metrics and the trace say what
it would have done."""
import json

import pytest

from chains import chain, probes  # noqa: F401  (fixtures)
from harness import answer, wait_for

SECRET = "correct-horse-battery"
TOP = f"""debug = {{ secret = "{SECRET}" }}, upstreams = {{ other = {{ targets = {{ "127.0.0.1:9" }} }} }},
  consumers = {{ alice = {{ keys = {{ "moon-1" }}, basic = {{ {{ "alice", "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g." }} }} }} }},"""
JSON = b'{"a": 1, "b": [2]}'


def echo(request, wire):
    return answer(200, headers=[("content-type", "application/json"), ("x-upstream", "1"), ("set-cookie", "u=1")], body=JSON)


def chunked(request, wire):
    return (b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nset-cookie: u=1\r\ntransfer-encoding: chunked\r\n\r\n"
            b"9\r\n{\"a\": 1, \r\n9\r\n\"b\": [2]}\r\n0\r\n\r\n")


def what_passed(g, u, asks):
    """What the client got and what the upstream did, without what changes with each request."""
    seen = []
    client = g.client()
    for a in asks:
        before = len(u.requests)
        res = client.ask(**a)
        mine = u.requests[before:]
        seen.append((res.status, sorted((n.lower(), v) for n, v in res.headers if n.lower() not in ("date",)), res.body,
                     [(r.method, r.target, sorted((n.lower(), v) for n, v in r.headers if n.lower() != "host"), r.body) for r in mine]))
    return seen


def counted(g, effect, entry):
    text = g.admin("GET", "/metrics").body.decode()
    return [line for line in text.splitlines() if line.startswith("moongate_observed_total") and f'effect="{effect}"' in line and f'entry="{entry}"' in line]


GET = dict(target="/a?x=1", headers=[("x-keep", "1"), ("origin", "http://elsewhere.test")])
POST = dict(method="POST", target="/a?x=1", headers=[("content-type", "application/json"), ("x-keep", "1")], body=JSON)
PREFLIGHT = dict(method="OPTIONS", target="/a", headers=[("origin", "http://app.test"), ("access-control-request-method", "PUT")])
CORS = dict(target="/a", headers=[("origin", "http://app.test")])

CASES = [
    # plugin and its fields, asks, effects, what the log has
    ('"key-auth"', [GET], ["answer"], "it would have answered 401"),
    ('"key-auth"', [dict(target="/", headers=[("x-api-key", "moon-1")])], ["consumer"], "set consumer alice"),
    ('"basic-auth"', [GET], ["answer"], "it would have answered 401"),
    ('"basic-auth"', [dict(target="/", headers=[("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=")])], ["consumer"], "set consumer alice"),
    ('"jwt"', [GET], ["answer"], "it would have answered 401"),
    ('"rate-limit", limit = 1, window = "1h"', [GET, GET, GET], ["answer", "response"], "it would have answered 429"),
    ('"ip-restriction", deny = { "127.0.0.0/8" }', [GET], ["answer"], "it would have answered 403"),
    ('"respond", status = 418, body = "tea"', [GET, POST], ["answer"], "it would have answered 418"),
    ('"cors", origins = { "http://app.test" }', [PREFLIGHT], ["answer"], "it would have answered 20"),
    ('"cors", origins = { "http://app.test" }', [CORS], ["response"], "set response header access-control-allow-origin"),
    ('"headers", request = { set = { ["x-new"] = "1" }, remove = { "x-keep" } }, response = { remove = { "set-cookie" } }', [GET, POST],
     ["request", "response"], "set request header x-new"),
    ('"request-size-limit", body = 5', [POST], ["answer"], "it would have answered 413"),
    ('"request-transformer", set = { body = { c = 3 } }', [POST], ["request_body"], "set the request body"),
    ('"response-transformer", set = { body = { c = 3 } }', [GET, POST], ["response_body"], "set the response body"),
    # what the bundled ones do not do
    ('id = "own", on_request = function(x) x.upstream = "other" end', [GET], ["upstream"], "set upstream other"),
    ('id = "own", on_request = function(x) x.request:set_body("[" .. x.request:body() .. "]") end', [POST], ["request_body"], "set the request body (20 bytes)"),
    ('id = "own", on_response = function(x) x.response:set_body("[" .. x.response:body() .. "]") end', [GET], ["response_body"], "set the response body"),
    ('id = "own", on_response = function(x) x.response:stream(function(out) out:write("1") require("moongate").sleep("1h") end) end', [GET],
     ["response_body"], "set the response body"),
    ('id = "own", on_request = function(x) return x:respond(203, function(out) out:write("1") error("late") end) end', [GET, POST], ["answer"],
     "it would have answered 203"),
    ('id = "own", on_request_body = function(x) require("moongate").sleep(1) x.piece = x.piece:upper() end', [POST], ["request_body"], "changed the request body"),
    ('id = "own", on_response_body = function(x) x.piece = "" end', [GET, POST], ["response_body"], "changed the response body"),
    ('id = "own", on_request_body = function(x) return x:respond(403, "no such body") end', [POST], ["answer"], "it would have answered 403"),
    ('id = "own", on_response = function(x) require("moongate").sleep(1) return x:respond(500, "no") end', [GET], ["answer"], "it would have answered 500"),
    ('id = "own", on_response = function(x) x.response.status = 599 error("late") end', [GET], ["error"], "it would have failed the request with 500"),
    ('id = "own", on_response_body = function() error("in a piece") end', [GET, POST], ["error"], "it would have failed the request with 500"),
    ('id = "own", on_request = function(x) require("moongate").sleep("1h") end', [GET], ["error"], "it would have failed the request with 504"),
    ('id = "own", on_request_body = function(x) require("moongate").sleep("1h") end', [POST], ["error"], "it would have failed the request with 504"),
    ('id = "own", when = function(x) return nil + 1 end, on_request = function() end', [GET], [], "attempt to perform arithmetic"),
    ('id = "own", on_request = function(x) x.request:body(5) end', [POST], ["answer"], "it would have answered 413"),
    ('id = "own", when = function(x) x.request.headers["x-when"] = "1" x.ctx.when = "1" return true end, on_request = function(x) return x:respond(403, "no") end',
     [GET, POST], ["answer"], "it would have answered 403"),
    ('id = "own", on_request = function(x) for i = 1, 1e5 do x.request.headers["x-" .. i] = ("v"):rep(1000) end end', [GET, POST], ["error"],
     "it would have failed the request with 500"),
    ('id = "own", on_response = function(x) x.response:body(5) end', [GET], ["answer"], "it would have answered 502"),
]


@pytest.mark.parametrize("handler", [echo, chunked], ids=["length", "chunked"])
@pytest.mark.parametrize("entry, asks, effects, line", CASES, ids=lambda v: v[:45] if isinstance(v, str) else "")
def test_what_it_would_do_is_told_and_not_done(proxy, entry, asks, effects, line, handler):
    plain, u = proxy(handler, top=TOP, route='timeouts = { plugin = "150ms" }')
    expected = what_passed(plain, u, asks)
    g, _ = proxy(up=u, top=TOP, route=f'timeouts = {{ plugin = "150ms" }}, plugins = {{ {{ {entry}, mode = "observe" }} }}')
    assert what_passed(g, u, asks) == expected
    g.wait_log(line)
    assert "only observed" in g.log() or not effects
    name = "own" if "own" in entry else entry.split('"')[1]
    for effect in effects:
        wait_for(lambda: counted(g, effect, name), f"{effect} to be counted")


def test_the_trace_marks_what_was_only_observed(proxy):
    g, u = proxy(echo, top=TOP, route='plugins = { { "key-auth", mode = "observe" }, { id = "after", on_request = function(x) x.request.headers["x-a"] = "1" end } }')
    res = g.ask(headers=[("x-moongate-debug", SECRET)])
    short = json.loads(res.headers.get("x-moongate-trace-chain"))
    first = short["steps"][0]
    assert (first["entry"], first["mode"], first["verdict"]) == ("key-auth", "observe", "respond")
    assert first["changes"][0] == {"what": "answer", "is": "401", "bytes": first["changes"][0]["bytes"]}
    assert "mode" not in short["steps"][1]


def test_an_observed_entry_that_would_have_answered_sees_no_response_but_logs(proxy):
    g, u = proxy(route="""plugins = {
      { mode = "observe", id = "watch", on_request = function(x) x.ctx.mine = "kept" return x:respond(403) end,
        on_response = function(x) x.response.headers["x-wrong"] = "1" end,
        on_log = function(x) require("moongate").log.info("logged " .. tostring(x.ctx.mine) .. " " .. x.response.status) end },
      { id = "other", on_response = function(x) x.response.headers["x-other"] = tostring(x.ctx.mine) end } }""")
    res = g.ask()
    assert res.status == 200 and "x-wrong" not in res.headers and res.headers.get("x-other") == "nil"
    g.wait_log("logged kept 200")


def test_ctx_of_an_observed_entry_is_its_own_tables_too(proxy):
    g, u = proxy(route="""plugins = {
      { id = "real", on_request = function(x) x.ctx.t, x.ctx.n = { 1 }, 1 end, on_response = function(x)
          x.response.headers["x-real"] = tostring(x.ctx.t[1]) .. tostring(x.ctx.n) .. tostring(x.ctx.new) end },
      { mode = "observe", id = "watch", on_request = function(x) x.ctx.t, x.ctx.n, x.ctx.new = { 2 }, { 3 }, { 4 } end, on_log = function(x)
          require("moongate").log.info("mine " .. x.ctx.t[1] .. x.ctx.n[1] .. x.ctx.new[1]) end } }""")
    assert g.ask().headers.get("x-real") == "11nil"
    g.wait_log("mine 234")


def test_one_of_the_global_chain_may_observe_before_a_route_is_known(proxy):
    plain, u = proxy(echo)
    expected = what_passed(plain, u, [GET])
    g, _ = proxy(up=u, plugins="""{ "request-id", mode = "observe" },
      { id = "own", mode = "observe", on_rewrite = function(x) x.request.path = "/changed" x.request.headers.host = "changed.test" end }""")
    assert what_passed(g, u, [GET]) == expected
    g.wait_log("set the path, set the host")
    wait_for(lambda: counted(g, "request", "request-id"), "the field to be counted")
    assert counted(g, "response", "request-id")


def test_a_c_plugin_that_waits_is_observed_like_any_other(chain):  # noqa: F811
    g, u = chain('{ "probe", act = "half", sleep = "5ms", mode = "observe" }, { "probe", id = "p2", name = "b" }')
    res = g.ask(target="/kept?a=1", headers=[("x-keep", "1")])
    assert res.status == 200 and u.last.target == "/kept?a=1" and u.last.method == "GET"
    assert u.last.headers.get("x-keep") == "1" and u.last.headers.all("x-trace") == ["b"]


@pytest.mark.parametrize("second", ['mode = "observe",', ""], ids=["observed", "enforced"])
def test_a_body_past_an_observed_limit_is_there_for_the_next_entry(proxy, second):
    g, u = proxy(route=f"""plugins = {{
      {{ id = "small", mode = "observe", on_request = function(x) x.request:body(5) end }},
      {{ id = "whole", {second} on_request = function(x) local b = x.request:body() require("moongate").log.info("whole " .. #b) end }} }}""")
    body = b"x" * 100000
    client = g.client()
    assert client.ask("POST", "/", body=body).status == 200
    assert u.last.body == body
    g.wait_log("whole 100000")
    g.wait_log("it would have answered 413")


def test_two_observed_entries_do_not_see_each_other(proxy):
    g, u = proxy(route="""plugins = {
      { id = "a", mode = "observe", on_request = function(x) x.request.headers["x-a"] = "1" x.ctx.a = 1 x.request:set_body("from a") end },
      { id = "b", mode = "observe", on_request = function(x)
          require("moongate").log.info("b sees " .. tostring(x.request.headers["x-a"]) .. tostring(x.ctx.a) .. x.request:body()) end } }""")
    assert g.ask("POST", "/", body=b"real").status == 200
    assert u.last.body == b"real"
    g.wait_log("b sees nilnilreal")


def test_what_it_provides_does_not_count(tmp_path, gateway, upstream):
    from harness import run
    config = tmp_path / "gateway.lua"
    config.write_text("""return { listen = "127.0.0.1:0", routes = { { "a", path = "/*", upstream = "http://127.0.0.1:9", plugins = {
      { "key-auth", mode = "observe" }, { "rate-limit", limit = 1, window = "1s", by = "consumer" } } } } }""")
    said = run("check", "-c", config)
    assert said.returncode == 1 and "only observes" in said.stderr


def test_a_client_that_leaves_while_an_observed_entry_waits_is_logged_unchanged(proxy):
    g, u = proxy(route="""plugins = {
      { id = "log", on_log = function(x) require("moongate").log.info("gone " .. x.request.path .. tostring(x.consumer and x.consumer.name)) end },
      { id = "watch", mode = "observe", on_request = function(x) x.request.path = "/changed" require("moongate").sleep("1h") end } }""")
    client = g.client()
    client.send(b"GET /mine HTTP/1.1\r\nhost: a\r\n\r\n")
    wait_for(lambda: sum(w["exchanges_open"] if "exchanges_open" in w else 1 for w in g.status()["workers"]) >= 1, "the request to be there")
    client.close()
    g.wait_log("gone /mine")


# ---- on_error, in every phase --------------------------------------------------------------------------------

PHASES = {
    "on_request": 'on_request = function(x) x.request.headers["x-new"] = "1" BROKEN end',
    "on_request_body": 'on_request_body = function(x) x.piece = "changed" BROKEN end',
    "on_response": 'on_response = function(x) x.response.status = 201 x.response.headers["x-new"] = "1" BROKEN end',
    "on_response_body": 'on_response_body = function(x) x.piece = "changed" BROKEN end',
}
BROKEN = {"at once": 'error("boom")', "after a wait": 'require("moongate").sleep(1) error("boom")', "too late": 'require("moongate").sleep("1h")'}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("phase", PHASES)
def test_on_error_continue_goes_on_as_if_the_entry_were_not_there(proxy, phase, broken):
    plain, u = proxy(echo, top=TOP)
    expected = what_passed(plain, u, [POST])
    entry = PHASES[phase].replace("BROKEN", BROKEN[broken])
    g, _ = proxy(up=u, top=TOP, route=f'timeouts = {{ plugin = "150ms" }}, plugins = {{ {{ id = "own", on_error = "continue", {entry} }} }}')
    assert what_passed(g, u, [POST]) == expected
    assert "only observed" not in g.log()
    wait_for(lambda: b'moongate_plugin_errors_total{plugin="inline",entry="own",route="all"} 1' in g.admin("GET", "/metrics").body, "the error to be counted")
    res = g.ask(**{**POST, "headers": [("x-moongate-debug", SECRET)]})
    wait_for(lambda: g.admin("GET", "/traces/" + res.headers.get("x-moongate-trace")).status == 200, "the trace")
    step, = g.admin("GET", "/traces/" + res.headers.get("x-moongate-trace")).json()["steps"]
    assert step["verdict"] == "error" and ("boom" in step["error"] or "too long" in step["error"])


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("phase", PHASES)
def test_on_error_fail_fails_the_request(proxy, phase, broken):
    entry = PHASES[phase].replace("BROKEN", BROKEN[broken])
    g, u = proxy(echo, top=TOP, route=f'timeouts = {{ plugin = "150ms" }}, plugins = {{ {{ id = "own", {entry} }} }}')
    client = g.client()
    client.request(**POST)
    if phase == "on_response_body":
        assert client.is_closed() or client.rest() is not None
        return
    assert client.response().status == (504 if broken == "too late" else 500)
