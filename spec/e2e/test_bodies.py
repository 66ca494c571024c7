"""Bodies stream: any size, either way, without the gateway's memory growing."""
import hashlib
import threading

from harness import Ended, IS_SANITIZED, answer

MIB = 1 << 20
BIG = 16 * MIB if IS_SANITIZED else 256 * MIB


def pattern(n):
    return (b"0123456789abcdef" * 4096)[:n]


def test_a_big_upload_and_its_echo_arrive_unchanged(proxy):
    g, u = proxy(lambda r, w: answer(body=r.body))
    body = bytes(range(256)) * 8192
    res = g.ask("POST", "/", body=body)
    assert hashlib.sha256(u.wait()[0].body).digest() == hashlib.sha256(body).digest()
    assert hashlib.sha256(res.body).digest() == hashlib.sha256(body).digest()


def test_a_download_to_a_slow_client_holds_the_upstream_back(proxy):
    sent = [0]

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        piece = pattern(65536)
        while sent[0] < BIG:
            wire.send(piece)
            sent[0] += len(piece)
        raise Ended()

    g, u = proxy(pour)
    client = g.client(rcvbuf=65536)
    before = g.rss_kb()
    client.request()
    head = client.until(b"\r\n\r\n")
    assert b"200" in head
    got, peak = len(client.buffer), 0
    client.buffer = b""
    while got < BIG:
        data = client.sock.recv(1 << 18)
        assert data
        got += len(data)
        if got % (16 * MIB) < len(data):
            peak = max(peak, g.rss_kb())
    assert got == BIG
    if not IS_SANITIZED:
        assert peak - before < 2048, f"grew by {peak - before} KiB"


def test_an_upload_to_a_slow_upstream_holds_the_client_back(proxy):
    received = [0]
    go = threading.Event()

    def slow(request, wire):
        received[0] = len(wire.buffer)
        wire.buffer = b""
        go.wait(30)
        while received[0] < BIG:
            received[0] += len(wire.sock.recv(1 << 18))
        return answer(body=b"%d" % received[0])

    slow.reads_body = True
    g, u = proxy(slow)
    client = g.client()
    before = g.rss_kb()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BIG)
    piece = pattern(65536)
    sent = 0
    client.sock.settimeout(1)
    try:
        while sent < BIG:
            sent += client.sock.send(piece[: min(len(piece), BIG - sent)])
    except OSError:  # held back, as it should be
        pass
    assert sent < BIG
    held = g.rss_kb()
    go.set()
    client.sock.settimeout(60)
    while sent < BIG:
        sent += client.sock.send(piece[: min(len(piece), BIG - sent)])
    res = client.response()
    assert res.body == b"%d" % BIG
    if not IS_SANITIZED:
        assert held - before < 2048, f"grew by {held - before} KiB"


def test_chunks_pass_as_they_come(proxy):
    step = threading.Semaphore(0)

    def drip(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(3):
            wire.send(b"6\r\npart-%d\r\n" % i)
            step.acquire(timeout=20)
        return b"0\r\n\r\n"

    g, u = proxy(drip)
    client = g.client()
    client.request()
    assert b"200" in client.until(b"\r\n\r\n")
    for i in range(3):
        assert client.until(b"part-%d\r\n" % i) is not None
        step.release()
    assert client.until(b"0\r\n\r\n") == b""


def test_an_upload_is_passed_before_it_is_complete(proxy):
    first = threading.Event()

    def watch(request, wire):
        wire.until(b"one")
        first.set()
        wire.until(b"0\r\n\r\n")
        return answer(body=b"got both")

    watch.reads_body = True
    g, u = proxy(watch)
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    assert first.wait(20)
    client.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert client.response().body == b"got both"
