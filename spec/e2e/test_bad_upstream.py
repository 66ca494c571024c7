"""Upstreams that lie, babble, break off or never end: the client gets a 502, or a cut, and never a wrong message."""
import re
import threading

import pytest

from harness import Ended, answer, wait_for


def sends(data, then_close=True):
    def handler(request, wire):
        wire.send(data)
        if then_close:
            raise Ended()
        wire.sock.recv(1)
        raise Ended()

    return handler


def head(fields, status=b"200 OK"):
    return b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"


# What stands in the head is refused before the client sees anything of it.
REFUSED = {
    "no HTTP at all": b"hello, world\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an HTTP/2 preface": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/2 in the status line": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "a status of two digits": head(b"Content-Length: 0\r\n", b"99 Odd"),
    "a status of four digits": head(b"Content-Length: 0\r\n", b"2000 OK"),
    "a status beyond 599 or below 100": head(b"Content-Length: 0\r\n", b"000 No"),
    "both lengths": head(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n",
    "differing lengths": head(b"Content-Length: 3\r\nContent-Length: 4\r\n") + b"abcd",
    "a list of differing lengths": head(b"Content-Length: 3, 4\r\n") + b"abcd",
    "a negative length": head(b"Content-Length: -3\r\n") + b"abc",
    "a length beyond 2^63": head(b"Content-Length: 9223372036854775808\r\n"),
    "a signed length": head(b"Content-Length: +3\r\n") + b"abc",
    "a length with letters": head(b"Content-Length: 3x\r\n") + b"abc",
    "chunked not last": head(b"Transfer-Encoding: chunked, gzip\r\n") + b"x",
    "chunked twice": head(b"Transfer-Encoding: chunked, chunked\r\n") + b"0\r\n\r\n",
    "a coding that nobody knows": head(b"Transfer-Encoding: zork\r\n") + b"x",
    "a folded line": head(b"X-A: b\r\n c\r\nContent-Length: 0\r\n"),
    "a fold behind the status line": b"HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": head(b"X-A : b\r\nContent-Length: 0\r\n"),
    "no colon": head(b"X-A\r\nContent-Length: 0\r\n"),
    "an empty name": head(b": b\r\nContent-Length: 0\r\n"),
    "a NUL in a value": head(b"X-A: b\x00c\r\nContent-Length: 0\r\n"),
    "a bare CR in a value": head(b"X-A: b\rc\r\nContent-Length: 0\r\n"),
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a bare LF after a field": head(b"X-A: b\nContent-Length: 0\r\n"),
    "101 that nobody asked for": head(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"101 Switching Protocols") + b"frames",
    "a huge head": head(b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(200)) + b"Content-Length: 0\r\n"),
    "one huge field": head(b"X-A: " + b"a" * 200000 + b"\r\n"),
    "too many fields": head(b"".join(b"X-%d: a\r\n" % i for i in range(2000)) + b"Content-Length: 0\r\n"),
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head without its end": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
    "an interim answer alone": head(b"", b"103 Early Hints"),
    "a second half that is missing": head(b"", b"100 Continue") + b"HTTP/1.1 200 OK\r\n",
}
TOKENS = {
    "nothing": "reset", "half a status line": "reset", "half a head": "reset", "a head without its end": "reset",
    "an interim answer alone": "reset", "a second half that is missing": "reset", "HTTP/0.9": ("reset", "bad_response"),
    "a TLS alert": ("reset", "bad_response"), "an HTTP/2 preface": ("reset", "bad_response"),
    "a huge head": "response_head_too_large", "one huge field": "response_head_too_large", "too many fields": "response_head_too_large",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_head_that_lies_is_502(proxy, name):
    bad = [True]

    def handler(request, wire):
        if not bad[0]:
            return answer(body=b"well")
        wire.send(REFUSED[name])
        raise Ended()

    g, u = proxy(handler)
    client = g.client()
    client.request("POST", "/x", body=b"abc")  # not sent twice
    res = client.response()
    assert res.status == 502 and res.headers.get("content-type") == "application/problem+json"
    expected = TOKENS.get(name, "bad_response")
    assert res.headers.get("x-moongate-error") in ((expected,) if isinstance(expected, str) else expected)
    assert u.address.encode() not in res.body
    bad[0] = False
    assert client.ask().body == b"well"  # the client's connection has done nothing wrong
    assert [r.target for r in u.requests] == ["/x", "/"]


# What shows in the body comes too late for a 502: the client must see the answer cut.
CUT = {
    "too few bytes": head(b"Content-Length: 10\r\n") + b"short",
    "no bytes at all": head(b"Content-Length: 10\r\n"),
    "a chunk size of other letters": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": head(b"Transfer-Encoding: chunked\r\n") + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk size that overflows": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\nfffffffffffffffff\r\n",
    "a bare LF after a chunk": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\n0\r\n\r\n",
    "no last chunk": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n",
    "half a last chunk": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n",
    "endless trailers": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n" + b"X-A: b\r\n" * 20000,
    "a length among trailers": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a folded trailer": head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "an endless chunk extension": head(b"Transfer-Encoding: chunked\r\n") + b"3;" + b"a" * 100000 + b"\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", CUT)
def test_a_body_that_lies_is_cut(proxy, name):
    g, u = proxy(sends(CUT[name]))
    client = g.client()
    client.request()
    try:
        res = client.response()
    except (Ended, ConnectionError, ValueError):
        res = None
    assert res is None or res.status == 502, "a broken answer passed for a whole one"
    if res:
        assert client.ask().status == 502
    assert u.requests[0].target == "/"


@pytest.mark.parametrize("data, body", [
    (answer(body=b"abc") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"abc"),
    (answer(body=b"abc") + b"garbage", b"abc"),
    (head(b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n" + answer(body=b"evil"), b"abc"),
    (head(b"", b"204 No Content") + answer(body=b"evil"), b""),
    (head(b"", b"304 Not Modified") + b"evil", b""),
], ids=["length", "garbage", "chunked", "204", "304"])
def test_bytes_behind_an_answer_are_nobodys(proxy, data, body):
    """The next request goes to another connection: what came unasked must not become its answer (9112 9.2)."""
    g, u = proxy(lambda r, w: data if r.target == "/first" else answer(body=b"second"))
    client = g.client()
    assert client.ask(target="/first").body == body
    assert client.ask(target="/second").body == b"second"
    assert u.connections == 2


def test_bytes_that_come_while_a_connection_is_idle_end_it(proxy):
    babbled = threading.Event()

    def babble(request, wire):
        wire.send(answer(body=request.target.encode()))
        if request.target == "/first":
            babbled.wait(20)
            wire.send(answer(body=b"evil"))
            assert wire.is_closed()
            closed.set()
            raise Ended()

    closed = threading.Event()
    g, u = proxy(babble)
    client = g.client()
    assert client.ask(target="/first").body == b"/first"
    babbled.set()
    assert closed.wait(20)
    assert client.ask(target="/second").body == b"/second"
    assert u.connections == 2


def test_an_answer_to_head_with_a_body_does_not_shift_the_next(proxy):
    g, u = proxy(lambda r, w: answer(body=b"body that must not be"))
    client = g.client()
    res = client.ask("HEAD")
    assert res.headers.get("content-length") == "21"
    assert client.ask().body == b"body that must not be"
    assert u.connections == 2


def test_endless_interim_answers_end(proxy):
    def endless(request, wire):
        while True:
            wire.send(head(b"", b"102 Processing") * 50)

    g, u = proxy(endless)
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "bad_response"


def test_a_head_that_never_ends_is_not_gathered_forever(proxy):
    def endless(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            wire.send(b"X-A: b\r\n" * 1000)

    g, u = proxy(endless)
    before = g.rss_kb()
    res = g.ask("POST", "/", body=b"x")
    assert res.status == 502 and res.headers.get("x-moongate-error") == "response_head_too_large"
    assert g.rss_kb() - before < 20000


WHOLE = head(b"Content-Length: 5\r\nX-A: b\r\n", b"200 OK") + b"hello"
CHUNKED = head(b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"


@pytest.mark.parametrize("whole", [WHOLE, CHUNKED], ids=["length", "chunked"])
def test_close_at_every_byte(proxy, whole):
    """Before the head is whole: 502. Within the body: a cut. Only all of it is a whole answer."""
    at = [0]

    def cut(request, wire):
        wire.send(whole[: at[0]])
        raise Ended()

    g, u = proxy(cut)
    head_end = whole.index(b"\r\n\r\n") + 4
    for n in range(len(whole) + 1):
        at[0] = n
        client = g.client()
        client.request("POST", "/", body=b"x")
        try:
            res = client.response()
        except (Ended, ConnectionError):
            res = None
        if n < head_end:
            assert res and res.status == 502, n
        elif n < len(whole):
            assert res is None or res.status == 502, n
        else:
            assert res.body == b"hello"
        client.close()
    assert len(u.requests) == len(whole) + 1


def test_the_upstream_closes_before_it_reads_the_body(proxy):
    def shy(request, wire):
        raise Ended()

    shy.reads_body = True
    g, u = proxy(shy)
    client = g.client()
    client.request("POST", "/", [("content-length", "1000000")])
    try:
        client.send(b"x" * 1000000)
    except ConnectionError:
        pass
    res = client.response()
    assert (res.status, res.headers.get("x-moongate-error")) == (502, "reset")


def test_an_error_of_the_upstream_is_the_clients_to_read(proxy):
    g, u = proxy(lambda r, w: answer(503, [("retry-after", "7"), ("x-moongate-error", "mine")], b"busy", "Busy"))
    res = g.ask()
    assert (res.status, res.body, res.headers.get("retry-after")) == (503, b"busy", "7")


def test_reasons_and_odd_statuses_pass(proxy):
    g, u = proxy(lambda r, w: head(b"Content-Length: 0\r\n", b"299 Quite Fine"))
    res = g.ask()
    assert (res.status, res.reason) == (299, "Quite Fine")
    g, u = proxy(lambda r, w: head(b"Content-Length: 0\r\n", b"200 "))
    assert g.ask().status == 200


def test_failures_are_told_in_the_log_with_what_failed(proxy):
    g, u = proxy(sends(b"nonsense\r\n\r\n"))
    assert g.ask("POST", "/", body=b"x").status == 502
    wait_for(lambda: re.search(r"upstream: .*failure=bad_response.*route=all.*target=" + re.escape(u.address), g.log()), "the log line")
