"""A request goes through and an answer comes back, in every form that HTTP/1 has for them."""
import threading

import pytest

from harness import Ended, Response, answer


def test_a_get_reaches_the_upstream_and_its_answer_the_client(proxy):
    g, u = proxy(lambda r, w: answer(201, [("x-up", "1")], b"made", "Created"))
    res = g.ask("GET", "/a/b?c=d", [("x-mine", "yes")], host="api.example.com")
    assert (res.status, res.body, res.headers.get("x-up")) == (201, b"made", "1")
    req = u.wait()[0]
    assert (req.method, req.target, req.version) == ("GET", "/a/b?c=d", "HTTP/1.1")
    assert req.headers.get("host") == "api.example.com"
    assert req.headers.get("x-mine") == "yes"
    assert res.headers.get("date")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_a_method_and_its_body_pass(proxy, method):
    g, u = proxy()
    assert g.ask(method, "/x", body=b"some body").status == 200
    req = u.wait()[0]
    assert (req.method, req.body) == (method, b"some body")


def test_a_connection_is_kept_for_many_requests_on_both_sides(proxy):
    g, u = proxy()
    client = g.client()
    for i in range(10):
        assert client.ask("GET", f"/{i}").body == b"hello"
    assert [r.target for r in u.wait(10)] == [f"/{i}" for i in range(10)]
    assert u.connections == 1


def test_pipelined_requests_are_answered_in_order(proxy):
    g, u = proxy(lambda r, w: answer(body=r.target.encode()))
    client = g.client()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(20)))
    assert [client.response().body for _ in range(20)] == [b"/%d" % i for i in range(20)]


def test_a_request_in_single_bytes_is_one_request(proxy):
    g, u = proxy()
    client = g.client()
    for byte in b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello":
        client.send(bytes([byte]))
    assert client.response().status == 200
    assert u.wait()[0].body == b"hello"


def test_a_chunked_request_arrives_with_its_trailers(proxy):
    g, u = proxy()
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n")
    assert client.response().status == 200
    req = u.wait()[0]
    assert req.body == b"hello world"
    assert req.headers.get("transfer-encoding") == "chunked"
    assert req.trailers.get("x-sum") == "42"


def test_a_chunked_answer_arrives_with_its_trailers(proxy):
    def chunked(request, wire):
        return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n")

    g, u = proxy(chunked)
    client = g.client()
    res = client.ask("GET", "/", [("te", "trailers")])
    assert res.body == b"hello world"
    assert res.trailers.get("x-sum") == "42"
    assert client.ask("GET", "/again").body == b"hello world"


def test_an_answer_until_close_becomes_one_with_an_end(proxy):
    def until_close(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        raise Ended()

    g, u = proxy(until_close)
    client = g.client()
    assert client.ask("GET", "/").body == b"all of it"
    assert client.ask("GET", "/").body == b"all of it"  # our side stays open


def test_head_gets_the_length_and_no_body(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    client = g.client()
    res = client.ask("HEAD", "/")
    assert res.headers.get("content-length") == "1234"
    assert client.ask("HEAD", "/").status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_body_has_none(proxy, status):
    g, u = proxy(lambda r, w: f"HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n")
    client = g.client()
    for _ in range(2):
        res = client.ask("GET", "/")
        assert (res.status, res.headers.get("etag")) == (status, '"a"')
        assert "transfer-encoding" not in res.headers


def test_interim_answers_pass(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + answer(body=b"done"))
    res = g.ask()
    assert [i.status for i in res.interim] == [103]
    assert res.interim[0].headers.get("link") == "</a.css>; rel=preload"
    assert res.body == b"done"


def test_a_client_that_expects_continue_gets_it_before_it_sends(proxy):
    g, u = proxy()
    client = g.client()
    client.request("POST", "/", [("expect", "100-continue"), ("content-length", "5")])
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
    client.send(b"hello")
    assert client.response().status == 200
    assert u.wait()[0].body == b"hello"


def test_a_refused_expectation_gets_the_final_answer_at_once(proxy):
    g, u = proxy(plugins='{ "respond", status = 403, body = "no" }')
    client = g.client()
    client.request("POST", "/", [("expect", "100-continue"), ("content-length", "5")])
    assert client.response().status == 403
    assert not u.requests


def test_http_1_0_is_answered_and_closed(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    client = g.client()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    text = client.rest()
    assert text.startswith(b"HTTP/1.1 200") or text.startswith(b"HTTP/1.0 200")
    assert b"chunked" not in text.lower()
    assert text.endswith(b"\r\n\r\nhello")


def test_connection_close_is_honoured(proxy):
    g, u = proxy()
    client = g.client()
    res = client.ask("GET", "/", [("connection", "close")])
    assert res.headers.get("connection") == "close"
    assert client.is_closed()


def test_hop_by_hop_fields_stay_here(proxy):
    g, u = proxy(lambda r, w: answer(200, [("connection", "x-secret"), ("x-secret", "1"), ("keep-alive", "timeout=5"), ("x-kept", "1")]))
    res = g.ask("GET", "/", [("connection", "x-private, keep-alive"), ("x-private", "1"), ("te", "gzip"), ("proxy-connection", "close"),
                             ("x-public", "1")])
    req = u.wait()[0]
    for name in ("x-private", "te", "proxy-connection", "keep-alive"):
        assert name not in req.headers
    assert req.headers.get("x-public") == "1"
    for name in ("x-secret", "keep-alive"):
        assert name not in res.headers
    assert res.headers.get("x-kept") == "1"


def test_a_dead_kept_connection_is_tried_again(proxy):
    g, u = proxy()
    client = g.client()
    assert client.ask("GET", "/1").status == 200
    u.drop_connections()
    assert client.ask("GET", "/2").status == 200
    assert [r.target for r in u.wait(2)] == ["/1", "/2"]


def test_a_kept_connection_that_dies_under_the_request_is_tried_again_when_that_is_safe(proxy, upstream):
    seen = []

    def dies_once(request, wire):
        seen.append(request.target)
        if len(seen) == 2:
            raise Ended()
        return answer(body=b"ok")

    g, u = proxy(dies_once)
    client = g.client()
    assert client.ask("GET", "/1").status == 200
    assert client.ask("GET", "/2").status == 200
    assert seen == ["/1", "/2", "/2"]


def test_a_post_is_not_sent_twice(proxy):
    seen = []

    def dies_once(request, wire):
        seen.append(request.target)
        if len(seen) == 2:
            raise Ended()
        return answer(body=b"ok")

    g, u = proxy(dies_once)
    client = g.client()
    assert client.ask("POST", "/1", body=b"x").status == 200
    assert client.ask("POST", "/2", body=b"x").status == 502
    assert seen == ["/1", "/2"]


def test_a_refused_connection_is_502_and_says_so(proxy, free_port):
    class Nobody:
        url = f"http://127.0.0.1:{free_port}"

    g, _ = proxy(up=Nobody())
    res = g.ask()
    assert res.status == 502
    assert res.headers.get("x-moongate-error") == "connect_refused"
    assert res.headers.get("content-type") == "application/problem+json"
    assert str(free_port).encode() not in res.body


@pytest.mark.parametrize("garbage", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", b"HTTP/1.1 99 Odd\r\n\r\n"])
def test_a_bad_answer_is_502(proxy, garbage):
    def bad(request, wire):
        wire.send(garbage)
        raise Ended()

    g, u = proxy(bad)
    assert g.ask("POST", "/", body=b"x").status == 502
    assert g.process.poll() is None


def test_a_cut_answer_is_not_passed_as_a_whole_one(proxy):
    def cut(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        raise Ended()

    g, u = proxy(cut)
    client = g.client()
    client.request()
    with pytest.raises((Ended, ConnectionError)):
        client.response()


def test_a_client_that_leaves_ends_the_upstreams_exchange(proxy):
    gone = threading.Event()

    def never(request, wire):
        if wire.is_closed():
            gone.set()
        raise Ended()

    g, u = proxy(never)
    client = g.client()
    client.request()
    u.wait()
    client.close()
    assert gone.wait(20)


def test_a_slow_request_does_not_hold_others(proxy):
    release = threading.Event()

    def handler(request, wire):
        if request.target == "/slow":
            release.wait(20)
        return answer(body=request.target.encode())

    g, u = proxy(handler)
    slow = g.client()
    slow.request("GET", "/slow")
    u.wait()
    for _ in range(20):
        assert g.ask("GET", "/fast").body == b"/fast"
    release.set()
    assert slow.response().body == b"/slow"


def test_an_answer_that_comes_before_the_body_is_passed(proxy):
    def early(request, wire):
        wire.send(answer(413, [("connection", "close")], b"too much", "Too Large"))
        raise Ended()

    early.reads_body = True
    g, u = proxy(early)
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
    assert client.head(Response).status == 413


def test_many_clients_at_once_are_all_served(proxy):
    g, u = proxy(lambda r, w: answer(body=r.target.encode()), workers=2)
    errors = []

    def one(k):
        try:
            client = g.client()
            for i in range(20):
                target = f"/{k}/{i}"
                assert client.ask("GET", target).body == target.encode()
            client.close()
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert len(u.requests) == 600
