"""The chain as it ran: for who sends the debug header, and for `moongate trace`."""
import json
import subprocess

import pytest

from harness import MOONGATE, Client, answer, run, wait_for

SECRET = "correct-horse-battery"
DEBUG = f'debug = {{ secret = "{SECRET}", mask = {{ "x-internal" }} }},'
CHAIN = """
  { id = "adds", on_request = function(x)
      x.request.headers["x-added"], x.request.headers["x-internal"] = "1", "hidden-1"
      x.request.headers["authorization"] = "Bearer hidden-2"
      x.ctx.tenant = "moon"
    end, on_response = function(x) x.response.headers["set-cookie"] = "s=hidden-3" end },
  { id = "never", when = function() return false end, on_request = function() end },
  { id = "waits", on_request = function(x) require("moongate").sleep(20) end },
  { id = "upper", on_response_body = function(x) x.piece = x.piece:upper() end },
"""


@pytest.fixture
def traced(proxy):
    def start(chain=CHAIN, debug=DEBUG, handler=None, **options):
        return proxy(handler or (lambda r, n: answer(body=b"hello")), top=debug, route=f"plugins = {{ {chain} }}", **options)

    return start


def ask(g, secret=SECRET, **options):
    return g.ask(headers=[("x-moongate-debug", secret), ("cookie", "s=hidden-4")], **options)


def full(g, res):
    wait_for(lambda: g.admin("GET", f"/traces/{res.headers.get('x-moongate-trace')}").status == 200, "the trace to be kept")
    return g.admin("GET", f"/traces/{res.headers.get('x-moongate-trace')}").json()


def step(trace, entry, phase):
    found = [s for s in trace["steps"] if s["entry"] == entry and s["phase"] == phase]
    assert len(found) == 1, trace["steps"]
    return found[0]


def test_the_answer_carries_the_chain_so_far(traced):
    g, u = traced()
    res = ask(g)
    assert res.body == b"HELLO"
    short = json.loads(res.headers.get("x-moongate-trace-chain"))
    assert short["id"] == res.headers.get("x-moongate-trace")
    assert [s["entry"] for s in short["steps"]] == ["adds", "never", "waits", "adds"]
    assert "x-moongate-debug" not in u.last.headers
    assert "hidden" not in res.headers.get("x-moongate-trace-chain")


def test_the_full_trace_has_every_phase_and_no_secret(traced):
    g, u = traced()
    trace = full(g, ask(g, target="/a?token=hidden-5&b=2"))
    assert (trace["status"], trace["route"], trace["method"], trace["path"], trace["query"]) == (200, "all", "GET", "/a", "token=***&b=2")
    changes = {(c["what"], c["name"].lower()): c["is"] for c in step(trace, "adds", "on_request")["changes"]}
    assert changes == {("request.header", "x-added"): "1", ("request.header", "x-internal"): "***", ("request.header", "authorization"): "***",
                       ("ctx", "tenant"): "moon"}
    assert step(trace, "never", "on_request")["verdict"] == "skipped"
    assert step(trace, "waits", "on_request")["waited_us"] > 0
    body = step(trace, "upper", "on_response_body")
    assert body["bytes_in"] == body["bytes_out"] == 5 and body["pieces_changed"] >= 1
    assert "hidden" not in json.dumps(trace)


@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper()])
def test_without_the_secret_nothing_shows_that_there_is_a_trace(traced, secret):
    g, u = traced()
    res = ask(g, secret)
    assert res.status == 200 and not [n for n, _ in res.headers if "trace" in n.lower()]
    assert "x-moongate-debug" not in u.last.headers
    assert g.admin("GET", "/traces").json()["traces"] == []


def test_without_a_debug_the_header_is_as_any_other(traced):
    g, u = traced(debug="")
    assert "x-moongate-trace" not in ask(g).headers
    assert u.last.headers.get("x-moongate-debug") == SECRET


def test_only_clients_of_its_networks_may_ask(traced):
    g, u = traced(debug=f'debug = {{ secret = "{SECRET}", networks = "10.0.0.0/8" }}, trusted_proxies = "127.0.0.1",')
    assert "x-moongate-trace" not in ask(g).headers
    res = g.ask(headers=[("x-moongate-debug", SECRET), ("x-forwarded-for", "10.1.2.3")])
    assert "x-moongate-trace" in res.headers


def test_answers_of_the_gateway_and_of_plugins_are_traced(traced):
    g, u = traced(chain='{ "respond", status = 403, body = "no" }')
    trace = full(g, ask(g))
    assert trace["source"] == "plugin" and trace["status"] == 403
    assert step(trace, "respond", "on_request")["verdict"] == "respond"
    assert {"what": "answer", "is": "403", "bytes": 2} in step(trace, "respond", "on_request")["changes"]


def test_an_error_is_told_with_its_text_where_the_client_sees_none(traced):
    g, u = traced(chain='{ id = "broken", on_request = function(x) error("internal 10.1.2.3") end }')
    res = ask(g)
    assert res.status == 500 and b"internal" not in res.body
    assert "internal 10.1.2.3" in step(full(g, res), "broken", "on_request")["error"]


def test_the_oldest_trace_goes_first(traced):
    g, u = traced(debug=f'debug = {{ secret = "{SECRET}", keep = 2 }},')
    first, *rest = [ask(g) for _ in range(3)]
    for res in rest:
        full(g, res)
    assert g.admin("GET", f"/traces/{first.headers.get('x-moongate-trace')}").status == 404
    assert len(g.admin("GET", "/traces").json()["traces"]) == 2


def test_a_chain_that_is_too_long_for_a_field_is_cut(traced):
    entry = '{ id = "%s", on_request = function(x) for i = 1, 9 do x.request.headers["x-a-rather-long-name-" .. i] = %d end end },'
    g, u = traced(chain="".join(entry % (f"entry-{i}-" + "n" * 40, i) for i in range(40)))
    res = ask(g)
    short = json.loads(res.headers.get("x-moongate-trace-chain"))
    assert short["cut"] and len(res.headers.get("x-moongate-trace-chain")) <= 8192
    assert len(full(g, res)["steps"]) == 40


@pytest.mark.parametrize("top, complaint", [
    ("debug = {}", "secret"), ('debug = { secret = "short" }', "secret"),
    (f'debug = {{ secret = "{SECRET}", networks = "nowhere" }}', "nowhere"), (f'debug = {{ secret = "{SECRET}", header = "no good" }}', "header")])
def test_mistakes_in_debug_are_told(tmp_path, top, complaint):
    config = tmp_path / "gateway.lua"
    config.write_text(f'return {{ listen = "127.0.0.1:0", {top}, routes = {{}} }}')
    said = run("check", "-c", config)
    assert said.returncode == 1 and complaint in said.stderr and SECRET not in said.stderr


# ---- the command ------------------------------------------------------------------------------------------


def trace(g, *args):
    return run("trace", "--admin", f"127.0.0.1:{g.admin_port}", *args, env={"MOONGATE_DEBUG_SECRET": SECRET, "PATH": "/usr/bin:/bin"})


def test_trace_sends_a_request_and_prints_its_chain(traced):
    g, u = traced()
    said = trace(g, "-H", "x-mine: 1", "-d", "body", f"http://127.0.0.1:{g.port}/some/path?a=1")
    assert said.returncode == 0, said.stderr
    assert "POST" in said.stdout and "/some/path?a=1  ->  200 from the upstream" in said.stdout
    assert "on_request       adds (inline)  continue" in said.stdout and "request header x-added: 1" in said.stdout
    assert "hidden" not in said.stdout
    assert u.last.headers.get("x-mine") == "1" and u.last.body == b"body"


def test_trace_shows_one_that_is_kept(traced):
    g, u = traced()
    res = ask(g)
    full(g, res)
    said = trace(g, "--json", res.headers.get("x-moongate-trace"))
    assert json.loads(said.stdout)["id"] == res.headers.get("x-moongate-trace")
    assert trace(g, "0" * 32).returncode == 1
    assert trace(g).returncode == 2


def test_trace_says_when_the_gateway_gives_none(traced):
    g, u = traced(debug='debug = { secret = "another-secret-0123" },')
    said = trace(g, f"http://127.0.0.1:{g.port}/")
    assert said.returncode == 1 and "without a trace" in said.stderr


def test_follow_shows_what_passes_and_fits(traced):
    g, u = traced(handler=lambda r, n: answer(404 if "missing" in r.target else 200), debug="")
    command = [MOONGATE, "trace", "--admin", f"127.0.0.1:{g.admin_port}", "--follow", "--status", "4xx", "--route", "all", "--count", "1", "--json"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "following" in follower.stderr.readline()
    for target in ("/fine", "/missing", "/fine"):
        g.ask(target=target)
    out, err = follower.communicate(timeout=30)
    shown = json.loads(out)
    assert follower.returncode == 0 and shown["path"] == "/missing" and shown["status"] == 404


@pytest.mark.parametrize("target", ["/traces?status=abc", "/traces?sample=2", "/traces?after=x", "/traces?route=" + "r" * 200])
def test_what_cannot_be_filtered_by_is_refused(traced, target):
    g, u = traced()
    assert g.admin("GET", target).status == 400
