"""Clients and upstreams that mean harm, or are merely broken: the gateway answers everybody else, and its memory stays."""
import signal
import socket
import struct
import threading
import time

import pytest

from harness import IS_SANITIZED, Client, Ended, answer, wait_for

LUA = """{ "lua", path = "/lua", plugins = { { on_request = function(x) return x:respond(200, { a = 1 }) end } } },
{ "own", path = "/own", plugins = { { "respond", status = 200, body = "own" } } },"""


def own(upstream_url, top="", routes=""):
    return f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", {top}
      routes = {{ {LUA} {routes} {{ "up", path = "/*", upstream = "{upstream_url}" }} }} }}"""


def is_well(g):
    assert g.ask("GET", "/own").body == b"own"
    assert g.ask("GET", "/lua").status == 200
    assert g.ask("GET", "/up").status == 200


def grown(g, before):
    return g.rss_kb() - before


@pytest.mark.parametrize("target", ["/own", "/lua", "/nowhere", "/up"])
def test_ten_thousand_pipelined_requests_are_answered_in_bounded_memory(gateway, upstream, target):
    u = upstream()
    g = gateway(own(u.url, routes='{ "nowhere", path = "/nowhere" },'))
    is_well(g)
    before = g.rss_kb()
    n = 2000 if target == "/up" else 10000
    client = g.client()
    one = f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()

    def flood():
        try:
            client.sock.sendall(one * n)
        except OSError:
            pass

    t = threading.Thread(target=flood)
    t.start()
    for i in range(n):
        res = client.response()
        assert res.status == (404 if target == "/nowhere" else 200), i
    t.join()
    client.close()
    if not IS_SANITIZED:
        assert grown(g, before) < 4096
    is_well(g)


def test_a_flood_whose_answers_nobody_reads_stops_being_read(gateway, upstream):
    u = upstream()
    g = gateway(own(u.url))
    is_well(g)
    before = g.rss_kb()
    client = g.client(rcvbuf=4096)
    client.sock.settimeout(1)
    one = b"GET /own HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100
    sent = 0
    with pytest.raises(socket.timeout):
        while sent < 64 << 20:
            sent += client.sock.send(one)
    if not IS_SANITIZED:
        assert grown(g, before) < 4096
    is_well(g)
    client.close()


def test_five_thousand_partial_heads_cost_little_and_go_when_their_time_is_up(gateway, upstream):
    u = upstream()
    n = 1000 if IS_SANITIZED else 5000
    g = gateway(own(u.url, top='timeouts = { client_head = "5s", client_idle = "5s" },'), fds=None)
    is_well(g)
    before = g.rss_kb()
    held = []
    for i in range(n):
        s = socket.create_connection(("127.0.0.1", g.port))
        s.send(b"GET /own HTTP/1.1\r\nhost: localhost\r\nx-part: " + b"a" * 100)
        held.append(s)
    is_well(g)
    if not IS_SANITIZED:
        assert grown(g, before) < n * 8 + 4096  # a chunk of the arena each
    wait_for(lambda: g.status()["workers"][0]["connections_open"] <= 1, "the slow ones to be closed")
    held[0].settimeout(5)
    assert b" 408 " in held[0].recv(4096)
    for s in held:
        s.close()
    is_well(g)


@pytest.mark.parametrize("fields", [101, 1000, 50000])
def test_huge_numbers_of_fields_are_refused(gateway, upstream, fields):
    u = upstream()
    g = gateway(own(u.url))
    client = g.client()
    try:
        client.send(b"GET /own HTTP/1.1\r\nhost: localhost\r\n" + b"a: b\r\n" * fields + b"\r\n")
    except ConnectionError:
        pass
    try:
        assert client.response().status == 431
    except (Ended, ConnectionError):
        assert fields > 1000  # the answer was lost in the reset
    is_well(g)


def test_at_the_descriptor_limit_those_who_are_in_are_served(gateway, upstream):
    u = upstream()
    g = gateway(own(u.url), fds=64)
    first = g.client()
    assert first.ask("GET", "/own").status == 200
    held = []
    for i in range(100):
        s = socket.create_connection(("127.0.0.1", g.port))
        held.append(s)
    time.sleep(0.5)
    assert first.ask("GET", "/own").status == 200
    res = first.ask("GET", "/up")
    assert res.status in (200, 502, 503)
    cpu = cpu_ticks(g)
    time.sleep(1)
    assert cpu_ticks(g) - cpu < 30  # no busy loop around accept()
    for s in held:
        s.close()
    wait_for(lambda: g.ask("GET", "/up").status == 200, "service again")
    is_well(g)


def cpu_ticks(g):
    parts = open(f"/proc/{g.child_pid()}/stat").read().rsplit(")", 1)[1].split()
    return int(parts[11]) + int(parts[12])


# ---- upstreams -------------------------------------------------------------------------------------


def endless(wire):
    wire.until(b"\r\n\r\n")
    wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        wire.send(b"x" * 65536)


def endless_head(wire):
    wire.until(b"\r\n\r\n")
    wire.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        wire.send(b"a: " + b"x" * 1000 + b"\r\n")


def endless_interim(wire):
    wire.until(b"\r\n\r\n")
    while True:
        wire.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100)


def endless_chunk_line(wire):
    wire.until(b"\r\n\r\n")
    wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        wire.send(b"0" * 65536)


def endless_trailers(wire):
    wire.until(b"\r\n\r\n")
    wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    while True:
        wire.send(b"a: " + b"x" * 1000 + b"\r\n")


def never_reads(wire):
    time.sleep(30)


@pytest.mark.parametrize("raw", [endless_head, endless_interim, endless_chunk_line, endless_trailers])
def test_an_upstream_that_goes_on_forever_is_given_up(gateway, upstream, raw):
    u, good = upstream(raw=raw), upstream()
    g = gateway(own(good.url, routes=f'{{ "bad", path = "/bad", upstream = "{u.url}" }},'))
    is_well(g)
    before = g.rss_kb()
    client = g.client()
    client.request("GET", "/bad")
    try:
        res = client.response()
        assert res.status in (502, 504)
    except (Ended, ConnectionError):
        assert raw in (endless_chunk_line, endless_trailers, endless_interim)
    client.close()
    if not IS_SANITIZED:
        assert grown(g, before) < 4096
    is_well(g)


def test_an_endless_answer_ends_with_its_client(gateway, upstream):
    u, good = upstream(raw=endless), upstream()
    g = gateway(own(good.url, routes=f'{{ "bad", path = "/bad", upstream = "{u.url}" }},'))
    is_well(g)
    before = g.rss_kb()
    client = g.client()
    client.request("GET", "/bad")
    client.exactly(4 << 20)
    client.close()
    wait_for(lambda: g.status()["workers"][0]["exchanges_open"] == 0, "the exchange to end")
    if not IS_SANITIZED:
        assert grown(g, before) < 4096
    is_well(g)


def test_an_upstream_that_never_reads_slows_its_sender(gateway, upstream):
    u, good = upstream(raw=never_reads), upstream()
    g = gateway(own(good.url, routes=f'{{ "bad", path = "/bad", upstream = "{u.url}", timeouts = {{ upstream_idle = "2s", first_byte = "3s" }} }},'))
    is_well(g)
    before = g.rss_kb()
    client = g.client()
    client.send(b"POST /bad HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n")
    client.sock.settimeout(0.5)
    sent = 0
    try:
        while sent < 1 << 30:
            sent += client.sock.send(b"x" * 65536)
    except socket.timeout:
        pass
    assert sent < 64 << 20
    if not IS_SANITIZED:
        assert grown(g, before) < 4096
    client.sock.settimeout(20)
    try:
        assert client.response().status in (502, 504)
    except ConnectionError:
        pass
    is_well(g)


def reset(wire):
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


SCRIPT = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: a\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("hard", [False, True])
def test_an_upstream_that_closes_after_any_byte_hurts_nobody_else(gateway, upstream, hard, method):
    at = [0]

    def raw(wire):
        cut, at[0] = at[0], at[0] + 1
        if cut % 2:
            wire.until(b"\r\n\r\n")
        wire.send(SCRIPT[:cut // 2])
        if hard:
            reset(wire)

    u, good = upstream(raw=raw), upstream()
    g = gateway(own(good.url, routes=f'{{ "bad", path = "/bad", upstream = "{u.url}" }},'))
    for _ in range(2 * len(SCRIPT)):
        client = g.client()
        client.request(method, "/bad", body=b"x" * 1000 if method == "POST" else None)
        try:
            assert client.response().status in (200, 502)
        except (Ended, ConnectionError):
            pass
        client.close()
    is_well(g)
    wait_for(lambda: g.status()["workers"][0]["exchanges_open"] == 0, "all exchanges to end")


# ---- clients that leave ---------------------------------------------------------------------------------

REQUEST = b"POST /%s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n"
POLICIES = """
{ "bodies", path = "/bodies", upstream = "%(up)s", plugins = { { on_request_body = function(x) x.piece = x.piece:upper() end,
    on_response_body = function(x) x.piece = x.piece:upper() end } } },
{ "whole", path = "/whole", upstream = "%(up)s", plugins = { { on_request = function(x) local b = x.request:body() end,
    on_response = function(x) local b = x.response:body() end } } },
{ "wait", path = "/wait", upstream = "%(up)s", plugins = { { on_request = function(x) require("moongate").sleep(0.01) end,
    on_response = function(x) require("moongate").sleep(0.01) end, on_log = function(x) local s = x.response.status end } } },
"""


@pytest.mark.parametrize("route", ["own", "up", "bodies", "whole", "wait"])
@pytest.mark.parametrize("hard", [False, True], ids=["closes", "resets"])
def test_a_client_that_leaves_after_any_byte_leaves_nothing_behind(gateway, upstream, hard, route):
    def slow(request, wire):
        time.sleep(0.001)
        return answer(body=b"y" * 20000)

    u = upstream(slow)
    g = gateway(own(u.url, routes=POLICIES % {"up": u.url}))
    full = REQUEST % route.encode()
    for cut in range(len(full) + 1):
        for pause in (0, 0.003):
            client = g.client()
            client.send(full[:cut])
            if hard:
                reset(client)
            if pause and cut > len(full) - 25:
                time.sleep(pause)
            client.close()
    for pause in range(0, 30):  # …and in the middle of the answer
        client = g.client()
        client.send(full)
        time.sleep(pause / 1000)
        if hard:
            reset(client)
        client.close()
    wait_for(lambda: g.status()["workers"][0]["exchanges_open"] == 0, "all exchanges to end")
    assert g.ask("POST", "/" + route, body=b"x").status == 200
    is_well(g)


@pytest.mark.parametrize("half_close", ["true", "false"])
def test_half_closed_clients_end(gateway, upstream, half_close):
    u = upstream()
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", half_close = {half_close} }} }}, admin = "127.0.0.1:0",
        routes = {{ {LUA} {{ "up", path = "/*", upstream = "{u.url}" }} }} }}""")
    full = REQUEST % b"up"
    for cut in range(len(full) + 1):
        client = g.client()
        client.send(full[:cut])
        client.sock.shutdown(socket.SHUT_WR)
        got = client.rest()
        if cut == len(full) and half_close == "true":
            assert got.startswith(b"HTTP/1.1 200 ")
        elif got:
            assert got.startswith(b"HTTP/1.1 4") or cut == len(full)
        client.close()
    wait_for(lambda: g.status()["workers"][0]["connections_open"] == 0, "all connections to end")
    is_well(g)


# ---- plugins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["on_rewrite", "on_request", "on_request_body", "on_response", "on_response_body", "on_log"])
@pytest.mark.parametrize("fault", ['error("oops")', "error({})", "error(nil)", "local t; return t.x", "return 7", "return x, x",
                                   "require('moongate').sleep(-1)", "return x:respond(99)", 'x.response.headers["a\\nb"] = "c\\r\\n"',
                                   'local s = "x"; while true do s = s .. s end', "local function f() return f() + 1 end f()"])
def test_a_plugin_that_fails_in_any_phase_fails_its_own_exchange(gateway, upstream, phase, fault):
    u = upstream()
    chain = f"{{ {{ {phase} = function(x) {fault} end }} }}"
    top = f"lua = {{ memory = '64m' }}, log = {{ level = 'error' }}," + (f"plugins = {{ {{ {phase} = function(x) if x.request.path == '/bad' then {fault} end end }} }}," if phase == "on_rewrite" else "")
    g = gateway(own(u.url, top=top, routes="" if phase == "on_rewrite" else f'{{ "bad", path = "/bad", upstream = "{u.url}", plugins = {chain} }},'))
    for _ in range(3):
        client = g.client()
        client.request("POST", "/bad", body=b"x" * 100)
        try:
            res = client.response()
            assert res.status in (200, 500)
        except (Ended, ConnectionError):
            assert phase == "on_response_body"
        client.close()
    is_well(g)


def test_a_lua_plugin_over_its_memory_fails_alone_and_the_next_request_works(gateway, upstream):
    u = upstream()
    g = gateway(own(u.url, top='lua = { memory = "32m" }, log = { level = "error" },', routes=f"""
      {{ "hog", path = "/hog", plugins = {{ {{ on_request = function(x)
            local t = {{}}
            for i = 1, 1e9 do t[i] = {{ i }} end
         end }} }} }},
      {{ "keeps", path = "/keeps", upstream = "{u.url}", plugins = {{ {{ on_request = function(x)
            local t = {{}}
            for i = 1, 1e5 do t[i] = ("x"):rep(100) .. i end
            x.ctx.kept = #t
            require("moongate").sleep(0.001)
         end }} }} }},"""))
    is_well(g)
    for _ in range(5):
        assert g.ask("GET", "/hog").status == 500
        is_well(g)
    for _ in range(5):
        assert g.ask("GET", "/keeps").status in (200, 500)
    is_well(g)


def test_sigkill_of_the_gateway_process_under_load_is_survived(gateway, upstream):
    import os
    u = upstream()
    g = gateway(own(u.url))
    is_well(g)
    child = g.child_pid()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: g.child_pid() and g.child_pid() != child, "a new gateway process")

    def again():
        try:
            return g.ask("GET", "/own").status == 200
        except (Ended, OSError):
            return False

    wait_for(again, "service again")
