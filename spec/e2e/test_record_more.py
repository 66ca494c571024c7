"""Record and replay of chains that ask Redis, names, threads and stores, that redirect, generate, spill, count and wait."""
import socket
import subprocess
import threading

import pytest

from harness import Ended, answer
from redis_probe import redis  # noqa: F401
from test_record import Recorder, recorded, same  # noqa: F401

SHOUT = r"""
#include <ctype.h>
#include <stdlib.h>
int shout(const char *in, size_t n, char **out, size_t *out_n);
int shout(const char *in, size_t n, char **out, size_t *out_n)
{
    *out = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (char)toupper(in[i]);
    *out_n = n;
    return 7;
}
"""

ASKS = """plugins = { { id = "asks", on_request = function(x)
  local mg, ffi = require "moongate", require "ffi"
  pcall(ffi.cdef, "int shout(const char *in, size_t n, char **out, size_t *out_n);")
  local shout = ffi.load("%s").shout
  local h, redis = x.request.headers, mg.redis.new { url = "%s", name = "r" }
  h["x-incr"] = tostring(redis:incr "n")
  h["x-pipeline"] = require("moongate.json").encode(redis:pipeline { { "SET", "k", mg.uuid() }, { "GET", "k" }, { "GET", "none" } })
  h["x-wrong"] = tostring(select(2, redis:call("INCR", "k")))
  h["x-dns"] = tostring(mg.dns.resolve("127.0.0.1")[1])
  h["x-work"] = table.concat({ mg.work(shout, "hello") }, " ")
  local store = mg.store "s"
  h["x-store"] = tostring(store:incr "visits") .. tostring(store:get "none")
  h["x-cache"] = mg.cache("c", { ttl = "1m" }):get("k", function() mg.sleep(1) return redis:incr "computed" end)
  local both = mg.all { function() return redis:incr "a" end, function() return redis:incr "b" end, function() return store:get "visits" end }
  h["x-both"] = both[1] .. both[2] .. tostring(both[3])
end } }"""


def test_redis_names_threads_caches_and_the_store_say_again_what_they_said(recorded, redis, tmp_path):
    source = tmp_path / "shout.c"
    source.write_text(SHOUT)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "shout.so", source], check=True)
    server = redis()
    top = f'store = "{tmp_path}/state.db",'

    def requests(g):
        for _ in range(3):
            res = g.ask()
            assert res.status == 200, g.log()

    g, docs, file = recorded(ASKS % (tmp_path / "shout.so", f"redis://{server.address}"), requests, top=top)
    g.stop()
    server.process.kill()
    server.process.wait()
    asked = {a["service"].split(".")[0] for d in docs for a in d["asked"]}
    assert {"redis", "work", "store", "cache"} <= asked, asked
    same(g, file, 3)


KEPT = """plugins = {
  { id = "spills", on_request = function(x) local b = x.request:body{ spill = true } x.request.headers["x-kept"] = b:length() .. tostring(b:in_file()) end },
  { id = "waits", on_response = function(x) require("moongate").sleep("50ms") x.response.headers["x-waited"] = "1" end, on_response_body = function(x) require("moongate").sleep(1) end },
  { id = "whole", on_response = function(x) local b = x.response:body() x.response.headers["x-length"] = tostring(b and #b) end } }"""


def test_kept_bodies_and_waits_of_the_response_come_again(recorded):
    def requests(g):
        g.ask("POST", "/", body=b"0123456789" * 3000)
        g.ask()

    g, docs, file = recorded(KEPT, requests)
    assert [d["answer"]["status"] for d in docs] == [200] * 2
    same(g, file, 2)


GENERATED = """plugins = {
  { id = "request", on_request = function(x) if x.request.path == "/up" then x.request:stream(function(out) for i = 1, 200 do out:write(("%03d"):format(i):rep(100)) end end) end end },
  { id = "response", on_response = function(x) if x.request.path == "/down" then
      x.response:stream(function(out) out:write("a") require("moongate").sleep(5) out:write("b") end) end end },
  { id = "own", on_request = function(x) if x.request.path == "/own" then return x:respond(201, { made = "here" }) end end } }"""


def test_generated_bodies_come_again(recorded):
    g, docs, file = recorded(GENERATED, lambda g: [g.ask(*a) for a in (("POST", "/up"), ("GET", "/down"), ("GET", "/own"))],
                             lambda r, n: answer(body=b"got %d" % len(r.body)))
    assert [d["answer"].get("body") for d in docs] == ["got 60000", "ab", '{"made":"here"}']
    same(g, file, 3)


def test_limits_of_several_kinds_count_again(recorded):
    chain = """plugins = { { id = "a", "rate-limit", limit = 5, window = "1m", by = "header:x-user" }, { id = "b", "rate-limit", limit = 2, window = "1s", by = "ip",
      when = function(x) return x.request.path == "/slow" end } }"""

    def requests(g):
        for i in range(14):
            g.ask(target="/slow" if i % 3 == 0 else "/", headers=[("x-user", "ab"[i % 2])])

    g, docs, file = recorded(chain, requests)
    assert {d["answer"]["status"] for d in docs} == {200, 429}
    same(g, file, 14)


def test_redirects_of_the_gateway_and_what_no_route_takes_come_again(gateway, upstream, tmp_path):
    u = upstream()
    g = gateway(f"""return {{ listen = {{ "127.0.0.1:0" }}, admin = "127.0.0.1:0", routes = {{
      {{ "safe", path = "/safe/*", redirect_https = true, upstream = "{u.url}" }},
      {{ "get", path = "/get", methods = {{ "GET" }}, upstream = "{u.url}" }} }} }}""")
    r = Recorder(g, tmp_path / "recording")
    assert [g.ask(*a).status for a in (("GET", "/safe/1?a=b"), ("POST", "/get"), ("GET", "/none"), ("GET", "/get"))] == [308, 405, 404, 200]
    assert [d["answer"]["status"] for d in r.end()] == [308, 405, 404, 200]
    same(g, r.file, 4)


def test_early_answers_and_answers_that_broke_off_come_again(proxy, tmp_path):
    def handler(r, wire):
        if r.target == "/early":
            wire.send(answer(413, body=b"too much", headers=[("connection", "close")]))
            raise Ended()
        if r.target == "/half":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            raise Ended()
        wire.body(r)
        return answer()

    handler.reads_body = True
    g, u = proxy(handler)
    r = Recorder(g, tmp_path / "recording")
    c = g.client()
    c.send(b"POST /early HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1000)
    assert c.response().status == 413
    c.close()
    c = g.client()
    try:
        c.ask(target="/half")
    except Exception:
        pass
    c.close()
    g.ask()
    docs = r.end()
    assert len(docs) == 3
    same(g, r.file, 3)


def test_several_workers_record_into_one_file(recorded):
    def requests(g):
        def some():
            c = g.client()
            for i in range(20):
                assert c.ask(target=f"/{i}").status == 200
            c.close()

        all_ = [threading.Thread(target=some) for _ in range(6)]
        for t in all_:
            t.start()
        for t in all_:
            t.join()

    chain = """plugins = { { id = "counts", on_request = function(x) x.request.headers["x-n"] = tostring(require("moongate").shared.n:incr("n", 1, 0)) end } }"""
    g, docs, file = recorded(chain, requests, workers=3)
    assert len(docs) == 120
    same(g, file, 120)


def test_clients_of_a_unix_socket_come_again(gateway, upstream, tmp_path):
    u = upstream()
    path = tmp_path / "gateway.sock"
    g = gateway(f'return {{ listen = {{ "127.0.0.1:0", "unix:{path}" }}, admin = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "{u.url}" }} }} }}')
    r = Recorder(g, tmp_path / "recording")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        while s.recv(1000):
            pass
    docs = r.end()
    assert [d["client"]["ip"] for d in docs] == ["unix:"]
    same(g, r.file, 1)


# ---- secrets ---------------------------------------------------------------------------------------------------------

MULTIPART = b"\r\n".join([
    b"--b0undary", b'Content-Disposition: form-data; name="user"', b"", b"alice",
    b"--b0undary", b'Content-Disposition: form-data; name="password"', b"", b"hidden-multipart-1",
    b"--b0undary", b"Content-Type: text/plain", b"content-disposition: form-data; name=token", b"", b"hidden-multipart-2", b"--b0undary--", b""])
LONG = "hidden-" + "long0123456789" * 100
QUOTED = 'hidden-"quoted\\-secret'

LEAKS = {
    "a cookie without a name": dict(headers=[("cookie", "hidden-nameless-cookie; a=hidden-second==")]),
    "a name of an argument in percent": dict(target="/?%74oken=hidden-percent-name&a=1"),
    "user and password in a Referer": dict(headers=[("referer", "https://alice:hidden-userinfo@example.com/a?token=hidden-of-referer#access_token=hidden-of-fragment")]),
    "a JWT in the query": dict(target="/?access_token=eyJhbGciOiJub25lIn0.eyJhIjoxfQ.hidden-signature-of-a-token"),
    "a list of tokens": dict(body=b'{"token":["hidden-list-first", {"a":"hidden-list-second"}], "b": 1}', type="application/json"),
    "a form of parts": dict(body=MULTIPART, type="multipart/form-data; boundary=b0undary"),
    "a secret that is longer than a trace's value": dict(headers=[("x-api-key", LONG)]),
    "a secret with quotes": dict(headers=[("x-api-key", QUOTED)]),
    "a signature": dict(headers=[("authorization", "AWS4-HMAC-SHA256 Credential=hidden-credential-1, Signature=hidden-signature-2")]),
    "a secret that begins with another": dict(headers=[("x-api-key", "hidden-short-one"), ("x-auth-token", "hidden-short-one-with-hidden-tail")]),
    "a secret that is known later": dict(headers=[("x-other", "hidden-known-later")], body=b'{"secret":"hidden-known-later"}', type="application/json"),
}


@pytest.mark.parametrize("what", LEAKS)
def test_no_secret_is_in_the_file_when_it_is(recorded, what):
    ask = LEAKS[what]
    chain = """plugins = { { id = "copies", on_request = function(x) local h = x.request.headers
      h["x-copy"] = h["x-api-key"] h["x-second"] = h["x-auth-token"] h["x-third"] = h["x-other"] end } }"""
    head = list(ask.get("headers", [])) + ([("content-type", ask["type"])] if "type" in ask else [])

    def requests(g):
        res = g.ask("POST" if "body" in ask else "GET", ask.get("target", "/"), headers=head, body=ask.get("body", b""))
        assert res.status == 200

    g, docs, file = recorded(chain, requests)
    text = file.read_text()
    assert "hidden-" not in text, text[max(0, text.find("hidden-") - 200): text.find("hidden-") + 100]
    same(g, file, 1)
