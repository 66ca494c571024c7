"""Everybody misbehaves at once: clients and upstreams that break off at any point, pipelines, waits, early answers.

The order is drawn from a seed that a failure names. What must hold at the end: no whole answer was wrong, each exchange was logged
once, nothing is open any more, the gateway serves, and (in the sanitized builds) no report.
"""
import json
import os
import random
import socket
import struct
import threading
import time

import pytest

from harness import Ended, IS_SANITIZED, answer, wait_for

SEED = int(os.environ.get("MOONGATE_SEED", "0")) or random.randrange(1, 1 << 31)
SECONDS = 3
CLIENTS = 8 if IS_SANITIZED else 16


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def body_of(n):
    return (b"0123456789" * (n // 10 + 1))[:n]


class Rascal:
    """An upstream whose behaviour the target names: /KIND/SIZE."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def __call__(self, request, wire):
        _, kind, size = request.target.split("/")[:3]
        n = int(size)
        body = body_of(n)
        if kind == "early":
            wire.send(answer(body=body, headers=[("connection", "close")]))
            raise Ended()
        wire.body(request)
        if kind == "echo":
            return answer(body=request.body)
        if kind == "chunked":
            pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 777]), body[i : i + 777]) for i in range(0, n, 777))
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\nX-T: 1\r\n\r\n"
        if kind == "close":
            wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            raise Ended()
        if kind == "cut":
            whole = answer(body=body)
            wire.send(whole[: self.random.randrange(len(whole))])
            if self.random.random() < 0.5:
                reset(wire.sock)
            raise Ended()
        if kind == "bad":
            return b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"
        if kind == "hints":
            return b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + answer(body=body)
        if kind == "none":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return answer(body=body)

    reads_body = True


KINDS = ["plain", "echo", "chunked", "close", "cut", "bad", "hints", "none", "early", "own", "wait", "gather", "whole", "missing", "pieces"]


def config(u):
    def route(name, functions):
        return f'{{ "{name}", path = "/{name}/*", upstream = "{u.url}", plugins = {{ {{ {functions} }} }} }},'

    return f"""
local mg = require "moongate"
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0",
  timeouts = {{ client_head = "2s", client_body = "2s", client_write = "2s", plugin = "5s" }},
  plugins = {{ {{ on_log = function(x) mg.log.warn("LOGGED " .. (x.request.headers["x-id"] or "-") .. ".") end }} }},
  routes = {{
    {{ "own", path = "/own/*", plugins = {{ {{ "respond", status = 200, body = "own" }} }} }},
    {route("wait", 'on_request = function(x) mg.sleep("5ms") end, on_response = function(x) mg.sleep("5ms") end')}
    {route("gather", 'on_request = function(x) x.request:body() end')}
    {route("whole", 'on_response = function(x) x.response:body() end')}
    {route("pieces", 'on_request_body = function(x) mg.sleep("1ms") end, on_response_body = function(x) mg.sleep("1ms") end')}
    {{ "rest", path = {{ {", ".join(f'"/{k}/*"' for k in KINDS[:9])} }}, upstream = "{u.url}" }},
  }} }}"""


class Person(threading.Thread):
    def __init__(self, g, seed, name):
        super().__init__(daemon=True)
        self.g, self.random, self.tag = g, random.Random(seed), name
        self.wrong, self.whole, self.answered = [], 0, []
        self.until = time.monotonic() + SECONDS

    def run(self):
        n = 0
        try:
            while time.monotonic() < self.until:
                client = self.g.client()
                try:
                    for _ in range(self.random.randrange(1, 6)):
                        n += 1
                        self.one(client, f"{self.tag}-{n}")
                except (Ended, ConnectionError, BrokenPipeError, ValueError):
                    pass
                finally:
                    client.close()
        except Exception as e:
            self.wrong.append(repr(e))

    def request(self, kind, id, size, sent):
        head = f"{'POST' if sent is not None else 'GET'} /{kind}/{size} HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\n".encode()
        if sent is None:
            return head + b"\r\n"
        if self.random.random() < 0.5:
            return head + b"Content-Length: %d\r\n\r\n" % len(sent) + sent
        at = self.random.randrange(len(sent) + 1)
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (sent[:at], sent[at:]) if p)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"

    def one(self, client, id):
        r = self.random
        kind, size = r.choice(KINDS), r.choice([0, 1, 100, 5000, 70000, 300000])
        sent = body_of(r.choice([0, 1, 100, 5000, 70000])) if kind == "echo" or r.random() < 0.5 else None
        data = self.request(kind, id, size, sent)
        way = r.random()
        if way < 0.15:  # leaves within the request
            client.send(data[: r.randrange(len(data))])
            reset(client.sock) if r.random() < 0.5 else client.close()
            raise Ended()
        client.send(data)
        if way < 0.3:  # leaves within the answer
            client.sock.recv(r.choice([1, 20, 200, 100000]))
            reset(client.sock) if r.random() < 0.5 else client.close()
            raise Ended()
        res = client.response()
        self.answered.append(id)
        self.check(kind, size, sent, res)
        if res.headers.get("connection") == "close":
            raise Ended()

    def check(self, kind, size, sent, res):
        self.whole += 1
        wanted = {"own": b"own", "none": b"", "echo": sent or b""}.get(kind, body_of(size))
        status = {"bad": (502,), "missing": (404,), "none": (204,), "cut": (200, 502), "early": (200, 502)}.get(kind, (200,))
        if res.status not in status and not (res.status == 502 and res.headers.get("x-moongate-error") == "reset"):
            self.wrong.append((kind, size, res.status, res.body[:200]))
        if res.status == 200 and res.body != wanted:
            self.wrong.append((kind, size, len(sent or b""), res.status, len(res.body)))


def open_upstream_connections(u):
    return [w for w in u.wires if w.sock.fileno() >= 0]


@pytest.mark.parametrize("workers", [1, 3])
def test_chaos(gateway, upstream, workers):
    u = upstream(Rascal(SEED))
    g = gateway(config(u), workers=workers)
    people = [Person(g, SEED + i, f"p{i}") for i in range(CLIENTS)]
    for p in people:
        p.start()
    for p in people:
        p.join(SECONDS + 60)
        assert not p.is_alive(), f"seed {SEED}: stuck"
    wrong = [w for p in people for w in p.wrong]
    assert not wrong, f"seed {SEED}: {wrong[:10]}"
    assert sum(p.whole for p in people) > 20 * CLIENTS or IS_SANITIZED
    assert g.ask(target="/own/0").body == b"own"

    def is_quiet():
        status = json.dumps(g.status(), separators=(",", ":"))
        return '"active":0' in status and not any(f'"active":{n}' in status for n in range(1, 10))

    wait_for(is_quiet, f"no request under way; seed {SEED}")
    g.stop()
    log = g.log()
    for p in people:
        for id in p.answered:
            assert log.count(f"LOGGED {id}.") == 1, f"seed {SEED}: {id}"
    u.errors.clear()  # a client that broke off leaves half a message here
