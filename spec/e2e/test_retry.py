"""Upstreams that cannot be reached, or die: what is sent again, what follows, and what the client is told."""
import gzip
import json
import socket
import struct
import threading

import pytest

from harness import Ended, answer, wait_for

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]


def dies_when_reused(how="close"):
    """Answers the first request of a connection, dies under the second."""

    def handler(request, wire):
        wire.count = getattr(wire, "count", 0) + 1
        if wire.count > 1:
            if how == "reset":
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how == "within the head":
                wire.send(b"HTTP/1.1 200 OK\r\nContent-")
            if how == "after an interim answer":
                wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            raise Ended()
        return answer(body=b"" if request.method == "HEAD" else b"ok")

    return handler


@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_what_is_safe_is_sent_again_once_when_a_kept_connection_dies(proxy, method, how):
    g, u = proxy(dies_when_reused(how))
    client = g.client()
    assert client.ask(target="/1").status == 200
    assert client.ask(method, "/2").status == 200
    assert [(r.method, r.target) for r in u.requests] == [("GET", "/1"), (method, "/2"), (method, "/2")]
    assert u.connections == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("body", [None, b"x"])
def test_what_may_have_had_an_effect_is_not_sent_again(proxy, method, body):
    g, u = proxy(dies_when_reused())
    client = g.client()
    assert client.ask(target="/1").status == 200
    res = client.ask(method, "/2", body=body)
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "reset")
    assert [r.target for r in u.requests] == ["/1", "/2"]


def dies_in_the_body(request, wire):
    """As dies_when_reused, when it has read the beginning of the body."""
    wire.count = getattr(wire, "count", 0) + 1
    if wire.count > 1 and request.method == "PUT":
        wire.exactly(5)
        raise Ended()
    wire.body(request)
    return answer(body=b"ok")


dies_in_the_body.reads_body = True

KEPT = {
    "gathered": "{ on_request = function(x) x.request:body() end }",
    "by one that observes": '{ mode = "observe", on_request = function(x) x.request:body() end }',
    "set": "{ on_request = function(x) x.request:set_body((x.request:body())) end }",
    "walked through and set": "{ on_request = function(x) local t = {} for p in x.request:pieces() do t[#t + 1] = p end "
                              "x.request:set_body(table.concat(t)) end }",
    "spilled": "{ on_request = function(x) x.request:body{ spill = true } end }",
    "gathered after a body step": "{ on_request_body = function(x) x.ctx.n = (x.ctx.n or 0) + 1 end }, { on_request = function(x) x.request:body() end }",
}


@pytest.mark.parametrize("handler", [dies_when_reused(), dies_in_the_body])
@pytest.mark.parametrize("kept", KEPT)
def test_a_body_that_is_kept_whole_is_sent_again(proxy, kept, handler):
    g, u = proxy(handler, plugins=KEPT[kept], top='limits = { buffered_body = "64k", body = "64m" },' if kept == "spilled" else
                 'limits = { buffered_body = "64m", body = "64m" },')
    client = g.client()
    for n, body in enumerate([b"small", bytes(range(256)) * 20000]):
        assert client.ask(target="/1").status == 200
        before = len(u.requests)
        assert client.ask("PUT", "/2", body=body).status == 200
        sent = u.requests[before:]
        assert [r.target for r in sent] == ["/2", "/2"] and sent[1].body == body
    assert g.ask("GET", "/").status == 200


def test_an_encoded_body_is_sent_again_whole(proxy):
    g, u = proxy(dies_when_reused(), plugins='{ on_request = function(x) x.request:body() x.request:encode("gzip") end }')
    client = g.client()
    assert client.ask(target="/1").status == 200
    assert client.ask("PUT", "/2", body=b"some text " * 1000).status == 200
    assert [r.target for r in u.requests] == ["/1", "/2", "/2"] and gzip.decompress(u.last.body) == b"some text " * 1000


@pytest.mark.parametrize("plugins", [
    "",  # it passed by
    "{ on_request = function(x) x.request:body() end, on_request_body = function(x) x.piece = x.piece:upper() end }",
    "{ on_request = function(x) x.request:stream(function(out) out:write('made') end) end }",
    "{ on_request = function(x) x.request:body{ limit = 1, over = 'skip' } end }",
])
def test_a_body_that_has_passed_by_is_not_sent_again(proxy, plugins):
    g, u = proxy(dies_when_reused(), plugins=plugins)
    client = g.client()
    assert client.ask(target="/1").status == 200
    assert client.ask("PUT", "/2", body=b"some").status == 502
    assert [r.target for r in u.requests] == ["/1", "/2"]


@pytest.mark.parametrize("how", ["within the head", "after an interim answer"])
def test_what_has_been_answered_in_part_is_not_sent_again(proxy, how):
    g, u = proxy(dies_when_reused(how))
    client = g.client()
    assert client.ask(target="/1").status == 200
    assert client.ask(target="/2").status == 502
    assert [r.target for r in u.requests] == ["/1", "/2"]


def test_a_fresh_connection_that_dies_is_no_reason_to_ask_again(proxy):
    def dies(request, wire):
        raise Ended()

    g, u = proxy(dies)
    res = g.ask()
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "reset")
    assert len(u.requests) == 1


def test_a_second_death_is_the_end(proxy):
    """The request that is sent again goes over a fresh connection; when that dies as well, the client is told."""
    first = [True]

    def handler(request, wire):
        if first[0]:
            first[0] = False
            return answer(body=b"ok")
        raise Ended()

    g, u = proxy(handler)
    client = g.client()
    assert client.ask(target="/1").status == 200
    res = client.ask(target="/2")
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "reset")
    assert [r.target for r in u.requests] == ["/1", "/2", "/2"]


def test_plugins_see_one_exchange_however_often_it_was_sent(proxy):
    g, u = proxy(dies_when_reused(), plugins="""{
      on_request = function(x) x.request.headers["x-count"] = (x.request.headers["x-count"] or "") .. "1" end,
      on_log = function(x) require("moongate").log.warn("LOGGED " .. x.request.path) end }""")
    client = g.client()
    assert client.ask(target="/1").status == 200
    assert client.ask(target="/2").status == 200
    assert [r.headers.get("x-count") for r in u.requests] == ["1", "1", "1"]
    wait_for(lambda: "LOGGED /2" in g.log(), "on_log")
    assert g.log().count("LOGGED /2") == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(proxy):
    """Once the gateway has seen the close, even a POST goes over another connection."""

    def once(request, wire):
        wire.send(answer(body=b"ok"))
        raise Ended()

    g, u = proxy(once)
    client = g.client()
    for i in range(5):
        assert client.ask("POST", f"/{i}", body=b"x").status == 200
        wait_for(lambda: "idle\":0" in json.dumps(g.status(), separators=(",", ":")), "no idle connection")
    assert len(u.requests) == 5


def two(targets, extra=""):
    listed = ", ".join(f'"{t}"' for t in targets)
    return f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0",
      upstreams = {{ u = {{ targets = {{ {listed} }}, {extra} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "u" }} }} }}"""


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_target_that_refuses_is_followed_by_the_next(gateway, upstream, free_port, method):
    """Nothing was sent yet, so any method may go on."""
    u = upstream()
    g = gateway(two([f"127.0.0.1:{free_port}", u.address]))
    for _ in range(4):
        assert g.ask(method, body=b"x" if method == "POST" else None).status == 200
    assert len(u.requests) == 4


def test_when_all_targets_refuse_the_client_is_told(gateway, free_port):
    g = gateway(two([f"127.0.0.1:{free_port}", f"127.0.0.2:{free_port}"]))
    res = g.ask()
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "connect_refused")
    assert g.ask().status == 502


def test_targets_take_turns_by_weight(gateway, upstream):
    a, b = upstream(), upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", upstreams = {{ u = {{ targets = {{ {{ "{a.address}", weight = 3 }}, "{b.address}" }} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "u" }} }} }}""")
    for _ in range(40):
        assert g.ask().status == 200
    assert (len(a.requests), len(b.requests)) == (30, 10)


def test_a_name_that_does_not_resolve(gateway):
    g = gateway(two(["no-such-host.invalid:80"], 'timeouts = { connect = "5s" }'))
    res = g.ask()
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "resolve_failed")


def test_a_unix_socket_that_is_not_there(gateway, tmp_path):
    g = gateway(two([f"unix:{tmp_path}/none.sock"]))
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error").startswith("connect")
    assert str(tmp_path).encode() not in res.body


def test_a_unix_socket_upstream(gateway, upstream, tmp_path):
    u = upstream(path=str(tmp_path / "up.sock"))
    g = gateway(two([f"unix:{tmp_path}/up.sock"]))
    client = g.client()
    for _ in range(3):
        assert client.ask().body == b"hello"
    assert u.connections == 1


def test_a_tls_upstream_that_speaks_no_tls(gateway, upstream):
    u = upstream(raw=lambda wire: wire.send(b"220 mail ready\r\n"))
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "https://{u.address}" }} }} }}""")
    res = g.ask()
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "tls_failed")


def test_connections_of_an_upstream_are_kept_and_bounded(gateway, upstream):
    gate = threading.Event()

    def slow(request, wire):
        if request.target == "/slow":
            gate.wait(20)
        return answer(body=request.target.encode())

    u = upstream(slow)
    g = gateway(two([u.address], 'keepalive = { max = 2 }'))
    clients = [g.client() for _ in range(6)]
    for c in clients:
        c.request(target="/slow")
    wait_for(lambda: len(u.requests) == 6, "six at once")
    gate.set()
    for c in clients:
        assert c.response().body == b"/slow"
    assert u.connections == 6
    for c in clients:
        assert c.ask(target="/x").body == b"/x"
    assert u.connections == 6  # two were kept, and one at a time is enough


def test_a_connection_serves_no_more_requests_than_allowed(gateway, upstream):
    u = upstream()
    g = gateway(two([u.address], "keepalive = { requests = 3 }"))
    client = g.client()
    for _ in range(9):
        assert client.ask().status == 200
    assert u.connections == 3


def test_beyond_the_upstreams_connections_requests_wait_and_then_are_503(gateway, upstream):
    gate = threading.Event()

    def slow(request, wire):
        gate.wait(20)
        return answer(body=b"done")

    u = upstream(slow)
    g = gateway(two([u.address], 'connections = 1, timeouts = { connect = "300ms" }'))
    first = g.client()
    first.request()
    u.wait()
    res = g.ask()
    assert (res.status, res.headers.get("x-moongate-error")) == (503, "upstream_busy")
    gate.set()
    assert first.response().body == b"done"
    assert g.ask().body == b"done"
    assert u.connections == 1


def test_who_waits_for_a_connection_gets_the_next_that_is_free(gateway, upstream):
    step = threading.Semaphore(0)

    def slow(request, wire):
        step.acquire(timeout=20)
        return answer(body=request.target.encode())

    u = upstream(slow)
    g = gateway(two([u.address], "connections = 1"))
    clients = [g.client() for _ in range(4)]
    for i, c in enumerate(clients):
        c.request(target=f"/{i}")
    clients[2].close()  # it waits no more
    for i in (0, 1, 3):
        step.release()
        assert clients[i].response().body == b"/%d" % i
    assert u.connections <= 2
