"""Every wait has an end and every size a bound, each with its own status."""
import time

import pytest

from harness import Ended, answer


def test_a_head_that_does_not_come_whole_is_408(proxy):
    g, u = proxy(top='timeouts = { client_head = "300ms" },')
    client = g.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert client.response().status == 408
    assert client.is_closed()
    assert not u.requests


def test_an_idle_connection_is_closed_without_a_word(proxy):
    g, u = proxy(top='timeouts = { client_idle = "300ms" },')
    client = g.client()
    assert client.ask().status == 200
    assert client.is_closed()


def test_a_body_that_stops_coming_is_408(proxy):
    g, u = proxy(top='timeouts = { client_body = "300ms" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert client.response().status == 408
    assert client.is_closed()


def test_an_upstream_that_does_not_answer_is_504(proxy):
    def silent(request, wire):
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(silent, route='timeouts = { first_byte = "300ms" },')
    res = g.ask()
    assert res.status == 504
    assert res.headers.get("x-moongate-error")


def test_an_answer_that_stalls_is_cut(proxy):
    def stalls(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(stalls, route='timeouts = { upstream_idle = "300ms" },')
    client = g.client()
    client.request()
    with pytest.raises((Ended, ConnectionError)):
        client.response()


def test_the_whole_exchange_has_an_end(proxy):
    def silent(request, wire):
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(silent, route='timeouts = { exchange = "300ms" },')
    assert g.ask().status == 504


def test_a_connect_that_hangs_is_504(gateway):
    # A listening socket whose queue is full drops what comes.
    import socket

    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filler = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        filler.append(s)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{ {{ "a", path = "/*",
      upstream = "http://127.0.0.1:{full.getsockname()[1]}", timeouts = {{ connect = "300ms" }} }} }} }}""")
    begun = time.monotonic()
    res = g.ask()
    assert res.status in (502, 504)
    assert res.headers.get("x-moongate-error")
    assert time.monotonic() - begun < 10
    for s in filler:
        s.close()
    full.close()


def test_a_plugin_that_waits_for_too_long_is_504(proxy):
    g, u = proxy(top='timeouts = { plugin = "300ms" },', plugins='{ on_request = function(x) require("moongate").sleep("30s") end }')
    assert g.ask().status == 504


@pytest.mark.parametrize(
    "limits, request_, status",
    [
        ('head = "1k"', b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 2000 + b"\r\n\r\n", 431),
        ("headers = 5", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(9)) + b"\r\n", 431),
        ('target = "100"', b"GET /" + b"y" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ('body = "10"', b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n12345678901", 413),
        ('body = "10"', b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", 413),
    ],
    ids=["head", "headers", "target", "length", "chunks"],
)
def test_what_is_too_big_is_refused(proxy, limits, request_, status):
    limits = limits.replace('"100"', "100").replace('"10"', "10")
    g, u = proxy(top=f"limits = {{ {limits} }},")
    client = g.client()
    client.send(request_)
    assert client.response().status == status
    assert client.is_closed()
    assert g.ask().status == 200


def test_trailers_are_bounded(proxy):
    g, u = proxy(top='limits = { trailers = "1k" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 3000 + b"\r\n\r\n")
    try:
        assert client.response().status in (400, 431)
    except (Ended, ConnectionError):
        pass
    assert g.ask().status == 200


def test_a_route_and_a_listener_have_limits_of_their_own(gateway, upstream):
    u = upstream()
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", name = "a", limits = {{ target = 64 }} }}, {{ "127.0.0.1:0", name = "b" }} }},
      routes = {{ {{ "small", path = "/small/*", upstream = "{u.url}", limits = {{ body = 5 }} }},
                  {{ "any", path = "/*", upstream = "{u.url}" }} }} }}""")
    assert g.ask("GET", "/" + "x" * 100, name="a").status == 414
    assert g.ask("GET", "/" + "x" * 100, name="b").status == 200
    assert g.ask("POST", "/small/x", body=b"123456", name="b").status == 413
    assert g.ask("POST", "/large", body=b"123456", name="b").status == 200


def test_connections_beyond_the_limit_wait_or_are_refused(proxy):
    g, u = proxy(listen='{ "127.0.0.1:0", connections = 3 }')
    held = [g.client() for _ in range(3)]
    for c in held:
        assert c.ask().status == 200
    extra = g.client()
    try:
        extra.request()
        extra.sock.settimeout(2)
        assert extra.response().status == 503
    except (Ended, OSError):
        pass
    for c in held:
        assert c.ask().status == 200
        c.close()


def test_a_listeners_levels_hold_until_a_route_says_otherwise(gateway, upstream):
    u = upstream()
    g = gateway(f"""
local late = {{ on_request = function(x) require "moongate".sleep("1h") end }}
return {{
  listen = {{ {{ "127.0.0.1:0", name = "tight", limits = {{ body = 5 }}, timeouts = {{ plugin = "100ms", client_body = "200ms" }} }},
             {{ "127.0.0.1:0", name = "plain" }} }},
  admin = "127.0.0.1:0", limits = {{ body = 50 }},
  routes = {{
    {{ "a", path = "/a", upstream = "{u.url}" }},
    {{ "b", path = "/b", upstream = "{u.url}", limits = {{ body = 10, memory = "64k" }}, timeouts = {{ client_body = "60s" }} }},
    {{ "late", path = "/late", plugins = {{ late }} }},
  }},
}}""")
    sizes = {("plain", "/a"): (50, 51), ("tight", "/a"): (5, 6), ("plain", "/b"): (10, 11), ("tight", "/b"): (10, 11)}
    for (name, path), (most, more) in sizes.items():
        assert g.ask("POST", path, body=b"x" * most, name=name).status == 200
        assert g.ask("POST", path, body=b"x" * more, name=name).status == 413
    assert g.ask(target="/late", name="tight").status == 504
    client = g.client(name="tight")
    client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert client.response().status == 408
    g.config.write_text(g.config.read_text().replace('client_body = "60s"', 'client_head = "1s"'))
    assert b"timeouts.client_head: unknown key" in g.reload().body
