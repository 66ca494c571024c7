"""Every wait has an end, with the status and the token that tell which it was."""
import socket
import threading
import time

import pytest

from harness import Ended, IS_SANITIZED, answer, wait_for

SHORT = "300ms"
TOO_LONG = 15  # seconds: far from the short timeout, far from the defaults


def silent(request, wire):
    wire.sock.recv(1)
    raise Ended()


@pytest.fixture(autouse=True)
def in_time():
    """The defaults are a minute: what took that long did not end by the short timeout."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < TOO_LONG


def check_504(res, token):
    assert (res.status, res.headers.get("x-moongate-error")) == (504, token)
    assert res.headers.get("content-type") == "application/problem+json" and res.json()["status"] == 504


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r"])
def test_client_head(proxy, sent):
    g, u = proxy(top=f'timeouts = {{ client_head = "{SHORT}" }},')
    client = g.client()
    client.send(sent)
    res = client.response()
    assert (res.status, res.headers.get("x-moongate-error"), res.headers.get("connection")) == (408, "client_timeout", "close")
    assert client.is_closed() and not u.requests


def test_client_head_is_not_put_off_by_bytes_that_trickle(proxy):
    """A slow head is an attack: the time counts from its first byte."""
    g, u = proxy(top='timeouts = { client_head = "1s" },')
    client = g.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
    ended = threading.Event()

    def trickle():
        try:
            while not ended.wait(0.05):
                client.send(b"a")
        except OSError:
            pass

    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        assert client.response().status == 408
    finally:
        ended.set()
        sender.join()


def test_client_head_on_a_kept_connection_counts_from_the_head(proxy):
    g, u = proxy(top=f'timeouts = {{ client_head = "{SHORT}" }},')
    client = g.client()
    assert client.ask().status == 200
    client.send(b"GET / HT")
    assert client.response().status == 408


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nabc", b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_client_body(proxy, framing):
    ended = threading.Event()

    def handler(request, wire):
        try:
            wire.body(request)
        except (Ended, ConnectionError):
            ended.set()
            raise

    handler.reads_body = True
    g, u = proxy(handler, top=f'timeouts = {{ client_body = "{SHORT}" }},')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
    res = client.response()
    assert (res.status, res.headers.get("x-moongate-error")) == (408, "client_timeout")
    assert client.is_closed()
    assert ended.wait(20), "the upstream must see the request cut"


def test_client_body_counts_between_pieces(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body), top='timeouts = { client_body = "700ms" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
    for _ in range(12):
        time.sleep(0.1)
        client.send(b"x")
    assert client.response().body == b"x" * 12


def test_client_body_for_a_plugin_that_waits_for_it(proxy):
    g, u = proxy(top=f'timeouts = {{ client_body = "{SHORT}" }},', plugins="{ on_request = function(x) x.request:body() end }")
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert client.response().status == 408
    assert not u.requests


def test_client_body_of_a_route(proxy):
    g, u = proxy(route=f'timeouts = {{ client_body = "{SHORT}" }},')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert client.response().status == 408


def test_client_idle(proxy):
    g, u = proxy(top=f'timeouts = {{ client_idle = "{SHORT}" }},')
    fresh, used = g.client(), g.client()
    assert used.ask().status == 200
    assert fresh.is_closed() and used.is_closed()


def test_client_idle_does_not_count_while_an_answer_is_awaited(proxy):
    gate = threading.Event()

    def slow(request, wire):
        gate.wait(20)
        return answer(body=b"late")

    g, u = proxy(slow, top='timeouts = { client_idle = "200ms", client_head = "200ms", client_body = "200ms", client_write = "200ms" },')
    client, other = g.client(), g.client()
    client.request()
    u.wait()
    assert other.is_closed()  # by then the idle time is over
    gate.set()
    assert client.response().body == b"late"


def test_client_write(proxy):
    """A client that takes nothing any more is let go of, and the upstream with it."""
    cut = threading.Event()

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                wire.send(b"x" * 65536)
        except OSError:
            cut.set()
            raise

    g, u = proxy(pour, top=f'timeouts = {{ client_write = "{SHORT}" }},')
    client = g.client(rcvbuf=4096)
    client.request()
    assert cut.wait(20)
    with pytest.raises((Ended, ConnectionError)):
        client.exactly(1000000000)


def test_client_write_does_not_end_a_slow_reader(proxy):
    size = 4 << 20

    g, u = proxy(lambda r, w: answer(body=b"x" * size), top='timeouts = { client_write = "1s" },')
    client = g.client(rcvbuf=65536)
    client.request()
    head = client.until(b"\r\n\r\n")
    got = len(client.buffer)
    begun = time.monotonic()
    while got < size:
        data = client.sock.recv(131072)
        assert data, f"cut after {got}"
        got += len(data)
        if time.monotonic() - begun < 2:
            time.sleep(0.05)
    assert b" 200 " in head and got == size


def full_listener():
    """A listening socket whose queue is full drops what comes: a connection that hangs."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filler = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        filler.append(s)
    return full, filler


@pytest.mark.parametrize("where", ["route", "upstream"])
def test_connect(gateway, where):
    full, filler = full_listener()
    target = f"127.0.0.1:{full.getsockname()[1]}"
    g = gateway(f"""return {{ listen = "127.0.0.1:0",
      upstreams = {{ u = {{ targets = {{ "{target}" }}, timeouts = {{ connect = "{SHORT if where == 'upstream' else '60s'}" }} }} }},
      routes = {{ {{ "a", path = "/*", upstream = "u", {f'timeouts = {{ connect = "{SHORT}" }}' if where == 'route' else ''} }} }} }}""")
    check_504(g.ask(), "connect_timeout")
    for s in filler:
        s.close()
    full.close()


@pytest.mark.parametrize("where", ["route", "upstream"])
def test_first_byte(gateway, upstream, where):
    u = upstream(silent)
    g = gateway(f"""return {{ listen = "127.0.0.1:0",
      upstreams = {{ u = {{ targets = {{ "{u.address}" }}, timeouts = {{ first_byte = "{SHORT if where == 'upstream' else '60s'}" }} }} }},
      routes = {{ {{ "a", path = "/*", upstream = "u", {f'timeouts = {{ first_byte = "{SHORT}" }}' if where == 'route' else ''} }} }} }}""")
    for method, body in (("GET", None), ("POST", b"abc")):
        check_504(g.ask(method, body=body), "timeout")
    assert [r.method for r in u.requests] == ["GET", "POST"], "a late answer is no reason to ask again"


def test_first_byte_counts_from_the_end_of_the_request(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body), route='timeouts = { first_byte = "400ms" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
    for _ in range(8):
        time.sleep(0.1)
        client.send(b"x")
    assert client.response().status == 200


def test_first_byte_is_met_by_an_interim_answer_only_for_a_while(proxy):
    def hints(request, wire):
        wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(hints, route=f'timeouts = {{ first_byte = "{SHORT}" }},')
    res = g.ask()
    check_504(res, "timeout")
    assert [i.status for i in res.interim] == [103]


def test_upstream_idle_between_pieces(proxy):
    def stalls(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(stalls, route=f'timeouts = {{ upstream_idle = "{SHORT}" }},')
    client = g.client()
    client.request()
    with pytest.raises((Ended, ConnectionError)):
        client.response()


def test_upstream_idle_counts_anew_with_each_piece(proxy):
    def drips(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            time.sleep(0.1)
            wire.send(b"x")

    g, u = proxy(drips, route='timeouts = { upstream_idle = "600ms" },')
    assert g.ask().body == b"x" * 10


def test_upstream_idle_does_not_count_while_the_client_is_slow(proxy):
    """The one who does not read is the client: its own timeout counts."""
    size = 8 << 20
    sent = threading.Event()

    def pour(request, wire):
        wire.send(answer(body=b"x" * size))
        sent.set()

    g, u = proxy(pour, route='timeouts = { upstream_idle = "200ms", client_write = "60s" },')
    client = g.client(rcvbuf=4096)
    client.request()
    assert not sent.wait(1), "the upstream is held back for longer than its timeout"
    assert len(client.response().body) == size


def test_an_upstream_that_takes_no_bytes(proxy):
    def stuck(request, wire):
        gate.wait(20)
        raise Ended()

    stuck.reads_body = True
    gate = threading.Event()
    g, u = proxy(stuck, route=f'timeouts = {{ upstream_idle = "{SHORT}", first_byte = "{SHORT}" }},')
    client = g.client()

    def pour():
        try:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                client.send(b"x" * 65536)
        except OSError:
            pass

    sender = threading.Thread(target=pour, daemon=True)
    sender.start()
    check_504(client.response(), "timeout")
    gate.set()
    client.sock.shutdown(socket.SHUT_RDWR)
    sender.join(20)


@pytest.mark.parametrize("stage", ["upstream", "plugin", "body"])
def test_exchange(proxy, stage):
    plugin = '{ on_request = function(x) require("moongate").sleep("30s") end }' if stage == "plugin" else ""
    g, u = proxy(silent, route=f'timeouts = {{ exchange = "{SHORT}" }},', plugins="")
    if stage == "plugin":
        g, u = proxy(silent, route=f'timeouts = {{ exchange = "{SHORT}" }}, plugins = {{ {plugin} }},')
    client = g.client()
    client.request("POST" if stage == "body" else "GET", "/", [("content-length", "10")] if stage == "body" else [])
    check_504(client.response(), "exchange_timeout")


def test_exchange_within_an_answer_cuts_it(proxy):
    def drips(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            wire.send(b"1\r\nx\r\n")
            time.sleep(0.02)

    g, u = proxy(drips, route=f'timeouts = {{ exchange = "{SHORT}" }},')
    client = g.client()
    client.request()
    with pytest.raises((Ended, ConnectionError)):
        client.response()


@pytest.mark.parametrize("phase", ["on_rewrite", "on_request", "on_response"])
def test_plugin(proxy, phase):
    g, u = proxy(top=f'timeouts = {{ plugin = "{SHORT}" }},',
                 plugins=f'{{ {phase} = function(x) require("moongate").sleep("30s") end }}')
    check_504(g.ask(), "plugin_timeout")
    wait_for(lambda: "a plugin waited too long" in g.log(), "the log line")
    assert len(u.requests) == (1 if phase == "on_response" else 0)


def test_a_plugin_that_waits_and_wakes_in_time(proxy):
    g, u = proxy(top='timeouts = { plugin = "5s" },', plugins='{ on_request = function(x) require("moongate").sleep("50ms") end }')
    client = g.client()
    for _ in range(3):
        assert client.ask().status == 200


def test_an_idle_upstream_connection_is_let_go(gateway, upstream):
    closed = threading.Event()

    def once(wire):
        wire.until(b"\r\n\r\n")
        wire.send(answer(body=b"x"))
        if wire.is_closed():
            closed.set()

    u = upstream(raw=once)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", upstreams = {{ u = {{ targets = {{ "{u.address}" }}, keepalive = {{ idle = "{SHORT}" }} }} }},
      routes = {{ {{ "a", path = "/*", upstream = "u" }} }} }}""")
    assert g.ask().status == 200
    assert closed.wait(20)
    assert not IS_SANITIZED or not g.faults()


def test_a_plugin_that_waits_for_a_slow_body_is_not_late(proxy):
    """The client is slow, not the plugin: client_body watches over each piece."""
    g, u = proxy(top=f'timeouts = {{ plugin = "{SHORT}", client_body = "10s" }},',
                 plugins="{ on_request = function(x) x.request.headers['x-body'] = x.request:body() end }")
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
    for byte in (b"a", b"b", b"c", b"d"):
        time.sleep(0.25)
        client.send(byte)
    assert client.response().status == 200
    assert u.last.headers.get("x-body") == "abcd" and u.last.body == b"abcd"
