"""Bodies stream: any size, either way, without the gateway's memory growing."""
import hashlib
import threading
import time

import pytest

from harness import Ended, IS_SANITIZED, answer, wait_for

MIB = 1 << 20
BIG = 16 * MIB if IS_SANITIZED else 1024 * MIB
HELD_MAX = 24 * MIB  # what the kernel's socket buffers on both sides may hold, and the gateway's own


def pattern(n):
    return (b"0123456789abcdef" * 4096)[:n]


def drain(wire, n):
    """Take n bytes and forget them; their digest."""
    there = wire.buffer[:n]
    wire.buffer = wire.buffer[n:]
    seen = hashlib.sha256(there)
    n -= len(there)
    while n > 0:
        data = wire.sock.recv(min(n, 1 << 18))
        if not data:
            raise Ended()
        seen.update(data)
        n -= len(data)
    return seen.digest()


def drain_chunks(wire):
    """All pieces of a chunked body up to its last chunk; how many bytes."""
    total = 0
    while True:
        n = int(wire.until(b"\r\n"), 16)
        if n:
            drain(wire, n)
        assert wire.exactly(2) == b"\r\n"
        if not n:
            return total
        total += n


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


class Stalls:
    """Tells when a count has stopped moving: the far side is held back."""

    def __init__(self, count):
        self.count = count
        self.last = None
        self.since = 0

    def __call__(self):
        now = time.monotonic()
        if self.count() != self.last:
            self.last, self.since = self.count(), now
        return self.last and now - self.since > 0.3


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_upstream_is_held_back_until_the_client_reads(proxy, framing):
    size = BIG // 8
    sent = [0]
    head = {"length": b"Content-Length: %d\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[framing]
    piece = pattern(65536)

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\n%s\r\n" % head)
        while sent[0] < size:
            wire.send(b"10000\r\n" + piece + b"\r\n" if framing == "chunked" else piece)
            sent[0] += len(piece)
        if framing == "chunked":
            return b"0\r\n\r\n"
        raise Ended()

    g, u = proxy(pour)
    client = g.client(rcvbuf=65536)
    client.request()
    if not IS_SANITIZED:
        wait_for(Stalls(lambda: sent[0]), "the upstream to be held back")
        assert sent[0] < HELD_MAX
    assert b"HTTP/1.1 200" in client.until(b"\r\n\r\n")
    if framing == "length":
        assert drain(client, size) == hashlib.sha256(piece * (size // len(piece))).digest()
    else:
        assert drain_chunks(client) == size


def test_a_client_is_held_back_until_the_upstream_reads_its_chunks(proxy):
    size = BIG // 8
    go = threading.Event()
    sent = [0]
    seen = hashlib.sha256()
    wanted = hashlib.sha256()
    piece = pattern(65536)

    def slow(request, wire):
        go.wait(60)
        while True:
            n = int(wire.until(b"\r\n"), 16)
            seen.update(wire.exactly(n))
            assert wire.exactly(2) == b"\r\n"
            if not n:
                return answer(body=b"all")

    slow.reads_body = True
    g, u = proxy(slow)
    client = g.client()
    before = g.rss_kb()

    def pour():
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while sent[0] < size:
            client.send(b"10000\r\n" + piece + b"\r\n")
            wanted.update(piece)
            sent[0] += len(piece)
        client.send(b"0\r\n\r\n")

    sender = threading.Thread(target=pour)
    sender.start()
    if not IS_SANITIZED:
        wait_for(Stalls(lambda: sent[0]), "the client to be held back")
        assert sent[0] < HELD_MAX
        assert g.rss_kb() - before < 2048
    go.set()
    sender.join()
    assert client.response().body == b"all"
    assert seen.digest() == wanted.digest()


def test_many_slow_readers_cost_a_bounded_amount_each(proxy):
    """Memory follows the number of clients, not what their answers weigh."""
    size = 8 * MIB
    piece = pattern(65536)
    stuck = [0]

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            wire.send(piece)
            stuck[0] += 1

    g, u = proxy(pour)
    clients = [g.client(rcvbuf=4096) for _ in range(32)]
    before = g.rss_kb()
    for c in clients:
        c.request()
    wait_for(Stalls(lambda: stuck[0]), "everybody to be held back")
    if not IS_SANITIZED:
        assert g.rss_kb() - before < 32 * 512, f"{(g.rss_kb() - before) / 32} KiB a client"
    for c in clients:
        c.close()
    assert len(g.ask().body) == size  # the gateway is well


def test_a_body_of_many_tiny_pieces_arrives_unchanged(proxy):
    g, u = proxy(lambda r, w: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 + b"".join(b"1\r\n%c\r\n" % b for b in r.body) + b"0\r\n\r\n")
    client = g.client()
    body = bytes(range(256)) * 40
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + b"".join(b"1\r\n%c\r\n" % b for b in body) + b"0\r\n\r\n")
    assert client.response().body == body
    assert u.wait()[0].body == body


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 16383, 16384, 65535, 65536, 65537, 131072, 1000003])
def test_bodies_of_every_size_come_back_whole(proxy, n):
    g, u = proxy(lambda r, w: answer(body=r.body))
    client = g.client()
    body = (bytes(range(251)) * (n // 251 + 1))[:n]
    for _ in range(2):
        assert client.ask("POST", "/", body=body).body == body
        assert client.ask("POST", "/", [("transfer-encoding", "chunked")], b"%x\r\n%s\r\n0\r\n\r\n" % (n, body)).body == body


def test_a_policy_that_looks_at_each_piece_changes_nothing_of_the_pace(proxy):
    size = BIG // 16
    piece = pattern(65536)
    sent = [0]

    def pour(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            wire.send(piece)
            sent[0] += len(piece)

    g, u = proxy(pour, plugins="{ on_response_body = function(x, conf, piece) end }")
    client = g.client(rcvbuf=65536)
    client.request()
    if not IS_SANITIZED:
        wait_for(Stalls(lambda: sent[0]), "the upstream to be held back")
        assert sent[0] < HELD_MAX
    client.until(b"\r\n\r\n")
    assert drain(client, size) == hashlib.sha256(piece * (size // len(piece))).digest()
