"""HTTP/1.1 on both sides in its finer points: what the upstream received, and what the client got."""
import re
import socket
import struct
import threading

import pytest

from harness import Client, Ended, Response, answer, wait_for

GET = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
OWN = '{ "own", path = "/own", plugins = { { "respond", status = 200, body = "own" } } },'


def get(target="/", fields=b""):
    return GET % (target.encode(), fields)


def reset(client):
    """Close with an RST."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


# One line for each on_log, in the gateway's log.
LOGGED = '{ on_log = function(x) require("moongate").log.warn("LOGGED " .. x.request.path) end }'


def log_count(g, target):
    return g.log().count(f"LOGGED {target}\n") + g.log().count(f"LOGGED {target} ")


@pytest.fixture
def mixed(gateway, upstream):
    """/own is answered by the gateway itself, the rest by the upstream."""

    def start(handler=None, top="", own_first=OWN):
        u = upstream(handler or (lambda r, w: answer(body=r.target.encode())))
        g = gateway(f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", {top}
          routes = {{ {own_first} {{ "all", path = "/*", upstream = "{u.url}" }} }} }}""")
        return g, u

    return start


# ---- pipelining -----------------------------------------------------------------------------------------


def test_pipelined_answers_keep_their_order_whoever_makes_them(mixed):
    def slow_first(request, wire):
        if request.target == "/slow":
            gate.wait(20)
        return answer(body=request.target.encode())

    gate = threading.Event()
    g, u = mixed(slow_first)
    client = g.client()
    client.send(get("/slow") + get("/own") + get("/b") + get("/none/../own") + get("/c"))
    u.wait(1)
    gate.set()
    assert [client.response().body for _ in range(5)] == [b"/slow", b"own", b"/b", b"own", b"/c"]
    assert [r.target for r in u.wait(3)] == ["/slow", "/b", "/c"]


def test_pipelined_bodies_are_told_apart(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body))
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
                b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour")
    assert [client.response().body for _ in range(4)] == [b"one", b"two", b"", b"four"]
    assert [r.body for r in u.wait(4)] == [b"one", b"two", b"", b"four"]


def test_thousands_of_pipelined_requests_are_all_answered(mixed):
    g, u = mixed()
    client = g.client()
    n = 3000
    sender = threading.Thread(target=lambda: client.send(b"".join(get("/own" if i % 3 else f"/{i}") for i in range(n))))
    sender.start()
    for i in range(n):
        assert client.response().body == (b"own" if i % 3 else b"/%d" % i)
    sender.join()


def test_a_request_behind_one_that_closes_is_not_answered(mixed):
    g, u = mixed()
    client = g.client()
    client.send(get("/own", b"Connection: close\r\n") + get("/after"))
    assert client.response().body == b"own"
    assert client.is_closed()
    assert not u.requests


def test_head_among_pipelined_requests_takes_no_body(mixed):
    g, u = mixed(lambda r, w: answer(body=b"" if r.method == "HEAD" else b"hello", headers=[("content-length", "5")]))
    client = g.client()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/x") + b"HEAD /own HTTP/1.1\r\nHost: a\r\n\r\n" + get("/y"))
    assert client.response("HEAD").headers.get("content-length") == "5"
    assert client.response().body == b"hello"
    own = client.response("HEAD")
    assert (own.status, own.headers.get("content-length")) == (200, "3")
    assert client.response().body == b"hello"


# ---- framing both ways -------------------------------------------------------------------------------------


def test_chunk_extensions_stay_on_their_hop(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;up=1\r\nabc\r\n0;last\r\n\r\n")
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;down=1\r\nxyz\r\n0;z\r\n\r\n")
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert client.until(b"0\r\n\r\n") == b"3\r\nabc\r\n"
    assert u.wait()[0].chunks == [b"xyz"]


def test_trailers_reach_only_clients_that_take_them(proxy):
    """RFC 9110 6.5.1: trailers may be dropped where te: trailers was not said; they never become fields of the head."""
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")
    client = g.client()
    with_te = client.ask(headers=[("te", "trailers"), ("connection", "te")])
    without = client.ask()
    assert with_te.trailers == [("X-Sum", "1")]
    assert without.trailers == [] and without.body == b"ab"
    assert u.wait(2)[0].headers.get("te") == "trailers"
    assert "te" not in u.requests[1].headers


def test_request_trailers_arrive_as_trailers(proxy):
    g, u = proxy()
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
    assert client.response().status == 200
    (seen,) = u.wait()
    assert seen.trailers == [("X-A", "1"), ("X-B", "2")]
    assert "x-a" not in seen.headers


def test_a_body_by_length_stays_one_by_length(proxy):
    g, u = proxy(lambda r, w: answer(body=b"12345"))
    res = g.ask("PUT", "/", body=b"abc")
    assert res.headers.get("content-length") == "5" and "transfer-encoding" not in res.headers
    (seen,) = u.wait()
    assert seen.headers.get("content-length") == "3" and "transfer-encoding" not in seen.headers


@pytest.mark.parametrize("method, length", [("POST", "0"), ("PUT", "0"), ("PATCH", "0"), ("GET", None), ("DELETE", None)])
def test_a_request_without_body_says_so_where_one_is_expected(proxy, method, length):
    g, u = proxy()
    assert g.ask(method).status == 200
    (seen,) = u.wait()
    assert seen.headers.get("content-length") == length and "transfer-encoding" not in seen.headers


def test_an_answer_until_close_is_chunked_for_1_1_and_until_close_for_1_0(proxy):
    def until_close(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        raise Ended()

    g, u = proxy(until_close)
    res = g.ask()
    assert res.headers.get("transfer-encoding") == "chunked" and res.body == b"all of it"
    old = g.client()
    old.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    text = old.rest()
    assert text.endswith(b"\r\n\r\nall of it") and b"chunked" not in text and b"connection: close" in text.lower()


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("field", [b"", b"Content-Length: 5\r\n"])
def test_no_body_with_204_and_304(proxy, status, field):
    """304 may tell the length that a 200 would have (RFC 9110 8.6); 204 must not."""
    g, u = proxy(lambda r, w: b"HTTP/1.1 %d X\r\n%s\r\n" % (status, field if status == 304 else b""))
    client = g.client()
    for _ in range(2):
        res = client.ask()
        assert res.status == status and "transfer-encoding" not in res.headers
        assert res.headers.get("content-length") == ("5" if field and status == 304 else None)


def test_head_of_a_chunked_resource_has_no_body_and_keeps_the_connection(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    client = g.client()
    for _ in range(3):
        assert client.ask("HEAD").status == 200
    assert u.connections == 1


def test_an_empty_chunked_answer_is_whole(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    client = g.client()
    for _ in range(2):
        assert client.ask().body == b""


def test_an_old_upstream_is_understood(proxy):
    def old(request, wire):
        wire.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        raise Ended()

    g, u = proxy(old)
    client = g.client()
    for _ in range(2):
        res = client.ask()
        assert (res.version, res.body) == ("HTTP/1.1", b"old")
        assert res.headers.get("via") == "1.0 moongate"
    assert u.connections == 2


def test_an_answer_comes_bit_by_bit(proxy):
    whole = (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")

    def bits(request, wire):
        for byte in whole:
            wire.send(bytes([byte]))

    g, u = proxy(bits)
    res = g.ask(headers=[("te", "trailers")])
    assert (res.status, res.body, res.trailers, [i.status for i in res.interim]) == (200, b"hello", [("X-T", "1")], [103])


# ---- interim answers and expectations ------------------------------------------------------------------------


def test_many_interim_answers_pass_in_order(proxy):
    g, u = proxy(lambda r, w: b"".join(b"HTTP/1.1 103 Early Hints\r\nLink: <%d>\r\n\r\n" % i for i in range(3))
                 + b"HTTP/1.1 102 Processing\r\n\r\n" + answer(body=b"end"))
    res = g.ask()
    assert [(i.status, i.headers.get("link")) for i in res.interim] == [(103, "<0>"), (103, "<1>"), (103, "<2>"), (102, None)]
    assert res.body == b"end"


def test_interim_answers_are_not_for_1_0(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(body=b"end"))
    client = g.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    text = client.rest()
    assert text.startswith(b"HTTP/1.1 200") and text.endswith(b"end")


def test_a_100_of_the_upstream_that_nobody_asked_for_goes_nowhere(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 100 Continue\r\n\r\n" + answer(body=b"end"))
    res = g.ask()
    assert not res.interim and res.body == b"end"


def test_100_is_sent_once_and_only_when_the_body_is_wanted(proxy):
    """The upstream is connected first; what it then says is its own matter, since we ask for the body ourselves."""
    g, u = proxy(lambda r, w: answer(body=r.body))
    client = g.client()
    for _ in range(2):
        client.request("POST", "/", [("expect", "100-continue"), ("content-length", "5")])
        interim = client.head(Response)
        assert interim.status == 100 and interim.headers == []
        client.send(b"hello")
        res = client.response()
        assert (res.body, res.interim) == (b"hello", [])
    assert all("expect" not in r.headers for r in u.wait(2))


def test_no_100_when_the_body_came_along(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body))
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    res = client.response()
    assert res.status == 200 and res.body == b"hello"
    assert len(res.interim) <= 1


@pytest.mark.parametrize("how", ["own", "limit", "missing", "dead"])
def test_a_final_answer_without_100_leaves_the_body_unasked_for(gateway, free_port, how):
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{ {OWN}
      {{ "small", path = "/limit", upstream = "http://127.0.0.1:{free_port}", limits = {{ body = 10 }} }},
      {{ "dead", path = "/dead", upstream = "http://127.0.0.1:{free_port}" }} }} }}""")
    client = g.client()
    client.request("POST", f"/{how}", [("expect", "100-continue"), ("content-length", "100")])
    res = client.response()
    assert not res.interim
    assert res.status == {"own": 200, "limit": 413, "missing": 404, "dead": 502}[how]
    # The client may or may not send the body now, so the connection is of no further use (RFC 9110 10.1.1).
    assert res.headers.get("connection") == "close"
    assert client.is_closed()


def test_a_1_0_client_gets_no_100(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body))
    client = g.client()
    client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    client.send(b"hello")
    text = client.rest()
    assert text.startswith(b"HTTP/1.1 200") and text.endswith(b"hello")


# ---- HTTP/1.0 and the life of a connection -------------------------------------------------------------------


def test_1_0_with_keep_alive_is_kept_and_told_so(proxy):
    g, u = proxy()
    client = g.client()
    for _ in range(3):
        client.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        res = client.response()
        assert res.body == b"hello" and res.headers.get("connection").lower() == "keep-alive"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().headers.get("connection") == "close"
    assert client.is_closed()
    assert all(r.version == "HTTP/1.1" for r in u.wait(4))


def test_a_1_0_request_gets_a_host_upstream(proxy):
    g, u = proxy()
    client = g.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().status == 200
    assert u.wait()[0].headers.get("host")


def test_connection_close_of_the_upstream_is_its_own(proxy):
    def closes(request, wire):
        wire.send(answer(200, [("connection", "close")], b"bye"))
        raise Ended()

    g, u = proxy(closes)
    client = g.client()
    for _ in range(3):
        res = client.ask()
        assert res.body == b"bye" and "connection" not in res.headers
    assert u.connections == 3


@pytest.mark.parametrize("half_close", [True, False])
def test_a_client_that_ends_its_half(proxy, half_close):
    gate = threading.Event()
    gone = threading.Event()

    def slow(request, wire):
        if half_close:
            gate.wait(20)
            return answer(body=b"late")
        if wire.is_closed():
            gone.set()
        raise Ended()

    g, u = proxy(slow, listen=f'{{ "127.0.0.1:0", half_close = {str(half_close).lower()} }}')
    client = g.client()
    client.request()
    u.wait()
    client.sock.shutdown(socket.SHUT_WR)
    if half_close:
        gate.set()
        assert client.response().body == b"late"
        assert client.is_closed()
    else:
        assert client.is_closed()
        assert gone.wait(20), "the upstream must learn that nobody waits"


def test_half_close_answers_all_that_was_pipelined(gateway, upstream):
    u = upstream(lambda r, w: answer(body=r.target.encode()))
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", half_close = true }} }}, routes = {{ {OWN}
      {{ "all", path = "/*", upstream = "{u.url}" }} }} }}""")
    client = g.client()
    client.send(get("/a") + get("/own") + b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy")
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.response().body for _ in range(3)] == [b"/a", b"own", b"/b"]
    assert client.is_closed()


# ---- fields ------------------------------------------------------------------------------------------------


def test_hop_by_hop_fields_of_the_answer_stay_here(proxy):
    g, u = proxy(lambda r, w: answer(200, [("connection", "x-gone, keep-alive"), ("x-gone", "1"), ("keep-alive", "timeout=1"),
                                           ("proxy-connection", "x"), ("upgrade", "h2c"), ("x-kept", "1")], b"x"))
    res = g.ask()
    for name in ("x-gone", "keep-alive", "proxy-connection", "upgrade", "connection"):
        assert name not in res.headers
    assert res.headers.get("x-kept") == "1"


def test_proxy_authentication_fields_stay_on_their_hop_or_pass_unchanged(proxy):
    g, u = proxy(lambda r, w: answer(401, [("www-authenticate", "Basic"), ("authentication-info", "x")]))
    res = g.ask(headers=[("authorization", "Basic eDp5")])
    assert u.wait()[0].headers.get("authorization") == "Basic eDp5"
    assert (res.headers.get("www-authenticate"), res.headers.get("authentication-info")) == ("Basic", "x")


def test_repeated_fields_keep_their_order_and_case_of_values(proxy):
    g, u = proxy(lambda r, w: answer(200, [("Set-Cookie", "A=1"), ("Set-Cookie", "b=2"), ("X-Mixed", "VaLue")], b"x"))
    res = g.ask(headers=[("accept", "a"), ("cookie", "x=1"), ("accept", "b"), ("x-empty", "")])
    assert res.headers.all("set-cookie") == ["A=1", "b=2"] and res.headers.get("x-mixed") == "VaLue"
    (seen,) = u.wait()
    assert seen.headers.all("accept") == ["a", "b"] and seen.headers.get("x-empty") == ""


def test_via_is_added_on_both_ways(proxy):
    g, u = proxy(lambda r, w: answer(200, [("via", "1.1 inner")], b"x"))
    res = g.ask(headers=[("via", "1.0 outer")])
    assert u.wait()[0].headers.get("via") == "1.0 outer, 1.1 moongate"
    assert res.headers.get("via") == "1.1 inner, 1.1 moongate"
    assert len(res.headers.all("via")) == 1


@pytest.mark.parametrize("name, sent", [("gate-7", "1.1 gate-7"), ("", None)])
def test_via_carries_the_name_in_the_config(proxy, name, sent):
    g, u = proxy(top=f'via = "{name}",')
    res = g.ask()
    assert u.wait()[0].headers.get("via") == sent and res.headers.get("via") == sent


def test_date_is_the_upstreams_or_made(mixed):
    date = "Tue, 15 Nov 1994 08:12:31 GMT"
    g, u = mixed(lambda r, w: answer(200, [("date", date)] if r.target == "/dated" else [], b"x"))
    assert g.ask(target="/dated").headers.all("date") == [date]
    for target in ("/undated", "/own"):
        dates = g.ask(target=target).headers.all("date")
        assert len(dates) == 1 and re.fullmatch(r"\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT", dates[0])


def test_server_is_the_upstreams_or_the_configs(proxy):
    g, u = proxy(lambda r, w: answer(200, [("server", "inner")], b"x"))
    assert g.ask().headers.get("server") == "inner"
    g, u = proxy(lambda r, w: answer(200, [("server", "inner")], b"x"), top='server = "outer",')
    assert g.ask().headers.all("server") == ["outer"]


CLAIMS = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.test"),
          ("x-forwarded-port", "4443"), ("forwarded", "for=1.2.3.4;proto=https"), ("x-real-ip", "1.2.3.4")]


def test_what_a_stranger_claims_is_replaced(proxy):
    g, u = proxy()
    assert g.ask(headers=CLAIMS, host="real.test:81").status == 200
    seen = u.wait()[0].headers
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-forwarded-host") == ["real.test:81"]
    assert seen.all("x-forwarded-port") == ["81"]
    assert "forwarded" not in seen and "x-real-ip" not in seen


def test_what_a_trusted_proxy_says_is_kept_and_continued(proxy):
    g, u = proxy(top='trusted_proxies = { "127.0.0.0/8" },')
    assert g.ask(headers=CLAIMS, host="real.test").status == 200
    seen = u.wait()[0].headers
    assert seen.all("x-forwarded-for") == ["1.2.3.4, 127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["https"]
    assert seen.all("x-forwarded-host") == ["evil.test"]
    assert seen.all("x-forwarded-port") == ["4443"]


def test_a_chain_of_trusted_proxies_ends_at_the_first_stranger(gateway, upstream):
    """5.6.7.8 claims to have been sent by 10.9.9.9; only our own 10.0.0.1 is believed."""
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", trusted_proxies = {{ "127.0.0.1", "10.0.0.0/16" }}, routes = {{
      {{ "seen", path = "/*", upstream = "{u.url}", plugins = {{ {{ on_request = function(x) x.request.headers["x-client"] = x.client.ip end }} }} }} }} }}""")
    for claim, client in [("10.9.9.9, 5.6.7.8, 10.0.0.1", "5.6.7.8"), ("9.9.9.9", "9.9.9.9"), ("10.0.0.7", "10.0.0.7"),
                          ("junk, 10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::1"), ("[2001:db8::2]:99", "2001:db8::2")]:
        assert g.ask(headers=[("x-forwarded-for", claim)]).status == 200
        assert u.last.headers.get("x-client") == client, claim


def test_a_stranger_cannot_say_who_it_is(gateway, upstream):
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{
      {{ "seen", path = "/*", upstream = "{u.url}", plugins = {{ {{ on_request = function(x) x.request.headers["x-client"] = x.client.ip end }} }} }} }} }}""")
    assert g.ask(headers=CLAIMS).status == 200
    assert u.wait()[0].headers.get("x-client") == "127.0.0.1"


@pytest.mark.parametrize("mode", ["rfc7239", "both", "none"])
def test_the_forwarded_field_is_as_configured(proxy, mode):
    g, u = proxy(top=f'forwarded = "{mode}",')
    assert g.ask(headers=CLAIMS, host="real.test").status == 200
    seen = u.wait()[0].headers
    assert seen.get("forwarded") == ('for=127.0.0.1;proto=http;host="real.test"' if mode != "none" else None)
    assert seen.get("x-forwarded-for") == ("127.0.0.1" if mode == "both" else None)


def test_forwarded_of_a_trusted_proxy_is_continued(proxy):
    g, u = proxy(top='forwarded = "rfc7239", trusted_proxies = { "127.0.0.1" },')
    assert g.ask(headers=[("forwarded", 'for="[2001:db8::1]:4711"')], host="a").status == 200
    assert u.wait()[0].headers.all("forwarded") == ['for="[2001:db8::1]:4711", for=127.0.0.1;proto=http;host="a"']


def test_an_absolute_target_is_sent_in_origin_form(proxy):
    g, u = proxy()
    client = g.client()
    client.send(b"GET http://some.test:8000/a?b=c HTTP/1.1\r\nHost: some.test:8000\r\n\r\n")
    assert client.response().status == 200
    (seen,) = u.wait()
    assert (seen.target, seen.headers.get("host")) == ("/a?b=c", "some.test:8000")


def test_options_of_the_whole_server(proxy):
    g, u = proxy()
    client = g.client()
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.response().status in (200, 204, 404)
    assert g.ask().status == 200


@pytest.mark.parametrize("sent, seen", [("/a/./b/../c", "/a/c"), ("/a%2Fb", "/a%2Fb"), ("/%61%7e", "/a~"), ("/a%c3%a4", "/a%C3%A4"),
                                        ("/a?x=/../%2e", "/a?x=/../%2e"), ("/a?", "/a?"), ("/a//b", "/a//b"), ("/%2e/x", "/x")])
def test_what_is_matched_is_what_is_sent(proxy, sent, seen):
    g, u = proxy()
    assert g.ask(target=sent).status == 200
    assert u.wait()[0].target == seen


# ---- answers before the request has ended ------------------------------------------------------------------------


def test_an_early_answer_of_the_gateway_keeps_the_connection_when_little_is_missing(mixed):
    g, u = mixed()
    client = g.client()
    client.send(b"POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    assert client.response().body == b"own"
    client.send(b"llo" + get("/next"))
    assert client.response().body == b"/next"


def test_an_early_answer_to_a_huge_upload_reaches_a_client_that_goes_on_sending(mixed):
    g, u = mixed()
    client = g.client()
    client.send(b"POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 200000)
    res = client.response()
    assert res.body == b"own" and res.headers.get("connection") == "close"
    client.send(b"x" * 200000)  # what is on its way does not turn the answer into a reset
    assert client.is_closed()
    client.close()
    assert g.ask(target="/next").body == b"/next"


def test_an_early_answer_of_the_upstream_is_passed_while_the_client_uploads(proxy):
    def early(request, wire):
        wire.send(answer(403, [("connection", "close")], b"stop", "Forbidden"))
        raise Ended()

    early.reads_body = True
    g, u = proxy(early)
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    res = client.response()
    assert (res.status, res.body) == (403, b"stop")
    assert g.ask(target="/after", headers=[]).status == 403


def test_both_ways_at_once(proxy):
    """An answer may begin before the request has ended, and both go on."""

    def echo(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            size = int(wire.until(b"\r\n"), 16)
            data = wire.exactly(size)
            wire.exactly(2)
            wire.send(b"%x\r\n%s\r\n" % (size, data))
            if not size:
                break

    echo.reads_body = True
    g, u = proxy(echo)
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b" 200 " in client.until(b"\r\n\r\n")
    for i in range(20):
        client.send(b"3\r\n%03d\r\n" % i)
        assert client.until(b"%03d\r\n" % i).endswith(b"3\r\n")
    client.send(b"0\r\n\r\n")
    assert client.until(b"0\r\n\r\n") == b""
    assert client.ask("POST", "/", [("transfer-encoding", "chunked")], b"0\r\n\r\n").status == 200


# ---- who leaves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [Client.close, reset], ids=["close", "reset"])
def test_a_client_that_leaves_within_its_upload(proxy, leave):
    ended = threading.Event()

    def reads(request, wire):
        try:
            wire.body(request)
        except (Ended, ConnectionError):
            ended.set()
            raise

    reads.reads_body = True
    g, u = proxy(reads, plugins=LOGGED)
    client = g.client()
    client.send(b"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    wait_for(lambda: u.requests, "the head upstream")
    leave(client)
    assert ended.wait(20), "the upstream must see the upload cut"
    assert not u.requests[0].complete
    wait_for(lambda: log_count(g, "/left"), "on_log")
    g.stop()
    assert log_count(g, "/left") == 1


@pytest.mark.parametrize("leave", [Client.close, reset], ids=["close", "reset"])
def test_a_client_that_leaves_within_its_download(proxy, leave):
    ended = threading.Event()

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                wire.send(b"x" * 65536)
        except OSError:
            ended.set()
            raise

    g, u = proxy(pour, plugins=LOGGED)
    client = g.client()
    client.request(target="/left")
    client.exactly(100000)
    leave(client)
    assert ended.wait(20), "the upstream must not send to nobody"
    wait_for(lambda: log_count(g, "/left"), "on_log")
    g.stop()
    assert log_count(g, "/left") == 1


def test_on_log_runs_once_for_each_kind_of_end(gateway, upstream, free_port):
    def handler(request, wire):
        if request.target == "/cut":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            raise Ended()
        if request.target == "/none":
            raise Ended()
        return answer(body=b"x")

    u = upstream(handler)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {LOGGED} }}, routes = {{
      {{ "dead", path = "/dead", upstream = "http://127.0.0.1:{free_port}" }},
      {{ "small", path = "/big", upstream = "{u.url}", limits = {{ body = 3 }} }},
      {{ "own", path = "/own", plugins = {{ {{ "respond", status = 200 }} }} }},
      {{ "all", path = {{ "/good", "/cut", "/none" }}, upstream = "{u.url}" }} }} }}""")
    for target in ("/good", "/own", "/dead", "/missing", "/cut", "/none"):
        client = g.client()
        client.request(target=target)
        client.sock.settimeout(20)
        try:
            client.response()
        except (Ended, ConnectionError):
            assert target == "/cut"
    assert g.ask("POST", "/big", body=b"1234").status == 413
    g.stop()
    for target in ("/good", "/own", "/dead", "/missing", "/cut", "/none", "/big"):
        assert log_count(g, target) == 1, target


CUTS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello",
]


@pytest.mark.parametrize("sent", CUTS, ids=["length", "chunks", "last chunk", "in a chunk"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_that_breaks_off_is_never_whole(proxy, sent, version):
    """A 1.1 client sees too few bytes or no last chunk; a 1.0 client, for whom the end is the end, sees a reset."""

    def cut(request, wire):
        wire.send(sent)
        raise Ended()

    g, u = proxy(cut)
    client = g.client()
    client.send(b"GET / HTTP/%s\r\nHost: a\r\n\r\n" % version)
    if version == b"1.1":
        with pytest.raises((Ended, ConnectionError)):
            client.response()
        return
    with pytest.raises(ConnectionError):
        while True:
            if not client.sock.recv(65536):
                assert b"Content-Length: 100" in sent, "an end without a reset looks like a whole answer"
                raise ConnectionError


def test_an_until_close_answer_that_ends_with_a_reset_is_cut(proxy):
    def cut(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
        step.wait(20)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Ended()

    step = threading.Event()
    g, u = proxy(cut)
    client = g.client()
    client.request()
    client.until(b"some of it")
    step.set()
    with pytest.raises((Ended, ConnectionError)):
        client.until(b"0\r\n\r\n")
