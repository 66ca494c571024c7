"""Every wait has an end and every size a bound, each with its own status."""
import time

import pytest

from harness import Ended, answer, wait_for


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


def send_all(client, data):
    """The gateway may answer and close before it has all."""
    try:
        client.send(data)
    except ConnectionError:
        pass


@pytest.mark.parametrize("n, status", [(1024, 200), (1025, 413)])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(proxy, n, status, framing):
    g, u = proxy(lambda r, w: answer(body=r.body), route="limits = { body = 1024 },")
    client = g.client()
    if framing == "length":
        send_all(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)
    else:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (b"x" * 500, b"x" * (n - 500)))
        send_all(client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
    res = client.response()
    assert res.status == status
    if status == 200:
        assert res.body == b"x" * n
        return
    assert client.is_closed()
    assert not any(r.complete for r in u.requests), "the upstream must not take the part for the whole"


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(proxy):
    g, u = proxy(top="limits = { body = 10 },")
    client = g.client()
    client.request("POST", "/", [("content-length", "11")])
    assert client.response().status == 413
    assert not u.requests


def test_an_endless_upload_ends_at_the_limit(proxy):
    g, u = proxy(top='limits = { body = "1m" },')
    client = g.client()
    send_all(client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(64):
        send_all(client, b"8000\r\n" + b"x" * 32768 + b"\r\n")
    assert client.response().status == 413
    wait_for(lambda: u.requests and not u.requests[0].complete, "the upstream's part")


def test_a_gathered_body_is_bounded(proxy):
    """The limit is for what a plugin gathers; what streams through is not bounded by it."""
    top = "limits = { buffered_body = 1000 },"
    g, u = proxy(top=top, plugins="{ on_request = function(x) x.request:body() end }")
    assert g.ask("POST", body=b"x" * 1000).status == 200
    client = g.client()
    client.request("POST", "/", body=b"x" * 1001)
    assert client.response().status == 413
    assert g.ask("POST", body=b"y").status == 200
    g, u = proxy(top=top)
    assert g.ask("POST", body=b"x" * 100000).status == 200
    assert u.wait()[0].body == b"x" * 100000


def test_the_memory_of_an_exchange_is_bounded(proxy):
    """A head within its own limit, but not within the exchange's memory: this exchange is refused, the gateway lives on."""
    g, u = proxy(top='limits = { head = "512k", memory = "64k", headers = 5000 },')
    for _ in range(5):
        client = g.client()
        send_all(client, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 90) for i in range(3000)) + b"\r\n")
        try:
            assert client.response().status in (431, 503)
        except (Ended, ConnectionError):
            pass
        client.close()
    assert not u.requests
    assert g.ask().status == 200


@pytest.mark.parametrize("n, status", [(100, 200), (101, 431)])
def test_fields_are_counted(proxy, n, status):
    g, u = proxy()
    client = g.client()
    send_all(client, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(n - 1)) + b"\r\n")
    assert client.response().status == status
    if status == 200:
        assert len([k for k, _ in u.wait()[0].headers if k[:2] == "X-" and k[2:].isdigit()]) == n - 1


@pytest.mark.parametrize("n, status", [(8192, 200), (8193, 414)])
def test_a_target_may_be_as_long_as_the_limit_and_no_longer(proxy, n, status):
    g, u = proxy()
    res = g.ask(target="/" + "a" * (n - 1))
    assert res.status == status and len(u.requests) == (status == 200)


def test_the_connections_limit_frees_places_as_clients_leave(proxy):
    g, u = proxy(listen='{ "127.0.0.1:0", connections = 2 }')
    first, second = g.client(), g.client()
    assert first.ask().status == second.ask().status == 200
    over = g.client()
    assert over.is_closed()
    first.close()

    def served():
        client = g.client()
        try:
            return client.ask().status == 200
        except (Ended, ConnectionError):
            return False
        finally:
            client.close()

    wait_for(served, "a free place")
    assert second.ask().status == 200


def test_a_refusal_is_told_in_the_shape_of_the_config(proxy):
    g, u = proxy(top='limits = { target = 64 }, errors = { content_type = "text/plain", body = "${error.status} ${error.title}" },')
    res = g.ask(target="/" + "a" * 100)
    assert (res.status, res.headers.get("content-type")) == (414, "text/plain")
    assert res.body.startswith(b"414 ")
