"""Chains in the real gateway, in time: waiting, and bodies that pass in pieces."""
import re
import threading
import time

import pytest

import harness
from chains import chain, probes, tracer  # noqa: F401 (fixtures)
from harness import answer, wait_for

# ---- waiting ----------------------------------------------------------------------------------------


def together(g, n, ask):
    """n requests at once; their results, and how long all took."""
    results, threads = [None] * n, []

    def one(i):
        results[i] = ask(i)

    begun = time.monotonic()
    for i in range(n):
        threads.append(threading.Thread(target=one, args=(i,), daemon=True))
        threads[-1].start()
    for t in threads:
        t.join(harness.PATIENCE)
    return results, time.monotonic() - begun


@pytest.mark.parametrize("entries, trace", [
    ('{ "probe", name = "c", sleep = "200ms", response_sleep = "200ms" }', ["c woke"]),
    ('{ on_request = function(x) require("moongate").sleep(200) x.request.headers["x-trace"] = "c" end, '
     'on_response = function(x) require("moongate").sleep("200ms") x.response.headers["x-trace"] = "c woke" end }', ["c woke"]),
])
def test_a_waiting_plugin_holds_nobody_else_up(chain, entries, trace):
    g, u = chain(entries, workers=1)
    results, took = together(g, 20, lambda i: g.ask())
    assert all(r.status == 200 and r.headers.all("x-trace") == trace for r in results)
    assert all(r.headers.all("x-trace") == ["c"] for r in u.requests)
    assert 0.4 <= took < 20 * 0.4, "twenty waited together"


def test_lua_may_wait_in_every_phase_but_the_log(chain):
    g, u = chain('''{ on_request = function(x) require("moongate").sleep(1) x.request.headers["x-a"] = "1" end,
        on_request_body = function(x) require("moongate").sleep(1) x.piece = x.piece:upper() end,
        on_response = function(x) require("moongate").sleep(1) x.response.headers["x-b"] = "2" end,
        on_response_body = function(x) require("moongate").sleep(1) x.piece = x.piece:upper() end,
        on_log = function(x) local ok, err = pcall(require("moongate").sleep, 1) require("moongate").log.info("waiting in the log: " .. tostring(ok)) end }''',
                 handler=lambda r, w: answer(body=b"answer of " + r.body),
                 plugins='{ on_rewrite = function(x) require("moongate").sleep(1) x.request.headers["x-r"] = "0" end }')
    res = g.ask("POST", "/", body=b"question")
    assert (u.last.headers.get("x-r"), u.last.headers.get("x-a"), u.last.body) == ("0", "1", b"QUESTION")
    assert (res.headers.get("x-b"), res.body) == ("2", b"ANSWER OF QUESTION")
    g.wait_log("waiting in the log: false")


@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_the_last_bytes_are_the_last_piece_and_the_client_waits_for_them(chain, coding):
    """A step that waits on the last piece keeps the answer open: a client that has it all cannot leave too early."""
    g, u = chain('''{ on_request_body = function(x) x.ctx.ins = (x.ctx.ins or "") .. #x.piece .. tostring(x.is_last) .. " " end,
        on_response_body = function(x) x.ctx.outs = (x.ctx.outs or "") .. #x.piece .. tostring(x.is_last) .. " "
            if x.is_last then require("moongate").sleep("100ms") end end,
        on_log = function(x) require("moongate").log.info("pieces " .. x.ctx.ins .. "/ " .. x.ctx.outs
            .. "failure " .. tostring(x.failure ~= "" and x.failure)) end }''',
                 handler=lambda r, w: answer(body=b"hello") if coding == "length" else
                 b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    client = g.client()
    started = time.monotonic()
    assert client.ask("POST", "/", body=b"question").body == b"hello"
    client.close()
    assert time.monotonic() - started > 0.09
    g.wait_log("pieces 8true / 5true failure false")


def test_a_plugins_own_coroutines_and_pcall_pass_waiting_on(chain):
    g, u = chain('''{ on_request = function(x)
        local mg = require "moongate"
        local co = coroutine.wrap(function() for i = 1, 3 do mg.sleep(1) coroutine.yield(i) end end)
        local sum = 0
        for _ = 1, 3 do sum = sum + co() end
        local ok, err = pcall(function() mg.sleep(1) error("inner", 0) end)
        x.request.headers["x-sum"] = sum .. " " .. tostring(ok) .. " " .. err
      end }''')
    assert g.ask().status == 200 and u.last.headers.get("x-sum") == "6 false inner"


def test_two_hundred_sleepers_keep_their_own_state(chain):
    g, u = chain('''{ on_request = function(x)
        local mine = x.request.query.n
        for _ = 1, 3 do require("moongate").sleep(tonumber(mine) % 7) end
        x.request.headers["x-mine"] = mine
      end }''', handler=lambda r, w: answer(body=r.headers.get("x-mine").encode()), workers=2)
    results, _ = together(g, 50, lambda i: [c.ask(target=f"/?n={i * 10 + k}").body for c in [g.client()] for k in range(4)])
    assert results == [[str(i * 10 + k).encode() for k in range(4)] for i in range(50)]


def test_a_sleeper_outlives_a_reload_on_its_own_config(chain):
    g, u = chain('{ on_request = function(x) if x.request.path == "/slow" then require("moongate").sleep(400) end '
                 'x.request.headers["x-config"] = "old" end }')
    sleeper = g.client()
    sleeper.request(target="/slow")
    wait_for(lambda: "exchanges_open" in g.admin("GET", "/metrics").body.decode() and
             re.search(r'exchanges_open\{worker="\d"\} 1', g.admin("GET", "/metrics").body.decode()), "the sleeper to sleep")
    g.write(g.config.read_text().replace('"old"', '"new"'))
    assert g.reload().status == 200
    assert g.ask().status == 200 and u.last.headers.get("x-config") == "new"
    assert sleeper.response().status == 200 and u.last.headers.get("x-config") == "old"
    assert sleeper.ask().status == 200 and u.last.headers.get("x-config") == "new"


@pytest.mark.parametrize("entry", ['{ "probe", name = "gone", sleep = "10s" }', '''{ on_request = function(x) require("moongate").sleep("10s") end,
      on_log = function(x) require("moongate").log.info("name=gone status=" .. tostring(x.response.status or 0) .. " probe has logged") end }'''])
def test_a_client_that_leaves_ends_the_wait(chain, entry):
    g, u = chain(entry)
    client = g.client()
    client.request()
    open_now = lambda: re.search(r'exchanges_open\{worker="0"\} (\d+)', g.admin("GET", "/metrics").body.decode()).group(1)
    wait_for(lambda: open_now() == "1", "the exchange")
    begun = time.monotonic()
    client.close()
    g.wait_log("probe has logged")
    wait_for(lambda: open_now() == "0", "the exchange to end")
    assert time.monotonic() - begun < 8, "it did not wait for the sleep"
    line = next(l for l in g.log().splitlines() if "probe has logged" in l)
    assert "gone" in line and "status=0" in line
    assert g.log().count("probe has logged") == 1 and u.requests == []


@pytest.mark.parametrize("entry, sent", [
    ('{ on_request = function(x) x.request:body() end, LOG }', b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"),
    ('{ on_response = function(x) require("moongate").sleep("10s") end, LOG }', b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ('{ on_response = function(x) x.response:body() end, LOG }', b"GET /half HTTP/1.1\r\nHost: h\r\n\r\n"),
    ('{ on_response_body = function(x) require("moongate").sleep("10s") end, LOG }', b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
])
def test_a_client_that_leaves_ends_every_wait(chain, entry, sent):
    def handler(request, wire):
        if request.target != "/half":
            return answer(body=b"hello")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        wire.rest()
        raise harness.Ended()

    g, u = chain(entry.replace("LOG", 'on_log = function(x) require("moongate").log.info("the end of it") end'), handler)
    client = g.client()
    client.send(sent)
    open_now = lambda: re.search(r'exchanges_open\{worker="0"\} (\d+)', g.admin("GET", "/metrics").body.decode()).group(1)
    wait_for(lambda: open_now() == "1" and (sent[:1] == b"P" or u.requests), "the exchange")
    begun = time.monotonic()
    client.close()
    g.wait_log("the end of it")
    wait_for(lambda: open_now() == "0", "the exchange to end")
    assert time.monotonic() - begun < 8 and g.log().count("the end of it") == 1


def test_an_upstream_that_dies_while_a_plugin_reads_its_answer(chain):
    def handler(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        raise harness.Ended()

    g, _ = chain('''{ on_response = function(x)
        local body, err = x.response:body()
        x.response.headers["x-body"] = body and "whole" or "cut"
      end }''', handler)
    client = g.client()
    client.request()
    try:
        res = client.response()
        assert res.status == 502, (res.status, res.body)
    except harness.Ended:
        pass  # cut off: the client sees that it is not whole either


def test_a_plugin_that_waits_too_long_is_answered_for(chain):
    g, u = chain('{ "probe", sleep = "30s" }', route='timeouts = { plugin = "200ms" },')
    res = g.ask()
    assert res.status in (500, 503, 504) and u.requests == []
    assert res.headers.get("content-type").startswith("application/problem+json")


# ---- bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_body_is_read_whole_and_replaced(chain, chunked):
    g, u = chain('''{ on_request = function(x)
        local body = x.request:body()
        x.request.headers["x-length"] = #body
        if body:find("double") then x.request:set_body(body .. body) end
      end }''')
    client = g.client()
    for body, sent in [(b"plain", b"plain"), (b"double it.", b"double it.double it."), (b"", b"")]:
        if chunked:
            client.request("POST", "/", [("transfer-encoding", "chunked")])
            for i in range(0, len(body), 3):
                client.send(b"%x\r\n%s\r\n" % (len(body[i:i + 3]), body[i:i + 3]))
            client.send(b"0\r\n\r\n")
        else:
            client.request("POST", "/", body=body)
        assert client.response().status == 200
        assert (u.last.headers.get("x-length"), u.last.body) == (str(len(body)), sent)


def test_a_c_plugin_reads_a_body_that_comes_slowly(chain):
    g, u = chain('{ "probe", body = true }')
    client = g.client()
    client.request("POST", "/", [("content-length", "10")])
    client.send(b"hello")
    other = g.client()
    assert other.ask().status == 200
    client.send(b"world")
    assert client.response().status == 200
    assert (u.last.headers.get("x-body"), u.last.body) == ("helloworld", b"helloworld")


def test_100_continue_is_sent_when_a_plugin_wants_the_body(chain):
    g, u = chain('{ on_request = function(x) if x.request.path == "/no" then return x:respond(403) end x.request:body() end }')
    client = g.client()
    client.request("POST", "/yes", [("content-length", "5"), ("expect", "100-continue")])
    assert client.head(harness.Response).status == 100
    client.send(b"12345")
    assert client.response().status == 200 and u.last.body == b"12345"
    client = g.client()
    client.request("POST", "/no", [("content-length", "5"), ("expect", "100-continue")])
    res = client.response()
    assert res.status == 403 and not res.interim


def test_a_body_over_the_limit_is_refused_or_passed_by(chain):
    g, u = chain('''{ on_request = function(x)
        local body, err = x.request:body(10, x.request.path == "/skip" and "skip" or nil)
        x.request.headers["x-got"] = body or err
      end }''')
    assert g.ask("POST", "/", body=b"0123456789").status == 200 and u.last.headers.get("x-got") == "0123456789"
    assert g.ask("POST", "/", body=b"0123456789x").status == 413
    big = b"0123456789x" * 30000
    assert g.ask("POST", "/skip", body=big).status == 200
    assert u.last.body == big and "big" in u.last.headers.get("x-got")
    assert len(u.requests) == 2


def test_a_response_body_is_read_whole_and_replaced(chain):
    def handler(request, wire):
        if request.target == "/chunked":
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Up: 1\r\n\r\n3\r\none\r\n")
            wire.send(b"3\r\ntwo\r\n0\r\n\r\n")
            return None
        if request.target == "/close":
            wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo")
            raise harness.Ended()
        if request.target == "/none":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        out = answer(body=b"onetwo")
        return out[:-6] if request.method == "HEAD" else out

    g, u = chain('''{ on_response = function(x)
        local body = x.response:body()
        x.response.headers["x-length"] = #body
        if #body > 0 then x.response:set_body({ was = body }) end
      end }''', handler=handler)
    client = g.client()
    for target in ("/", "/chunked", "/close"):
        res = client.ask(target=target)
        assert (res.status, res.headers.get("x-length"), res.json()) == (200, "6", {"was": "onetwo"}), target
        assert int(res.headers.get("content-length")) == len(res.body)
    assert client.ask(target="/none").status == 204
    res = client.ask("HEAD", "/")
    assert res.status == 200
    assert client.ask(target="/").json() == {"was": "onetwo"}, "the connection is in step"


def test_a_response_over_the_limit_is_502(chain):
    g, _ = chain('{ on_response = function(x) x.response:body(100) end }', handler=lambda r, w: answer(body=b"x" * 101))
    assert g.ask().status == 502


def test_pieces_are_changed_dropped_and_appended_as_they_pass(chain):
    g, u = chain('''{ on_request = function(x) x.request:resize_body() end,
        on_response = function(x) x.response:resize_body() end,
        on_request_body = function(x) x.piece = x.piece:gsub("secret", "") if x.is_last then x.piece = x.piece .. "[end]" end end,
        on_response_body = function(x) if x.piece ~= "" then x.piece = "<" .. x.piece .. ">" end if x.is_last then x.piece = x.piece .. "!" end end }''',
                 handler=lambda r, w: answer(body=b"answer"))
    client = g.client()
    res = client.ask("POST", "/", body=b"a secret thing")
    assert u.last.body == b"a  thing[end]"
    assert res.body.replace(b"><", b"") == b"<answer>!"
    assert client.ask("POST", "/", body=b"").status == 200 and u.last.body == b"[end]"
    u.handler = lambda r, w: answer(body=b"x" * 1_000_000)
    res = client.ask("POST", "/", body=b"y" * 1_000_000)
    assert u.last.body == b"y" * 1_000_000 + b"[end]"
    assert res.body.strip(b"!").replace(b"<", b"").replace(b">", b"") == b"x" * 1_000_000


def test_answering_in_on_response_takes_the_upstreams_answer_back(chain):
    g, _ = chain('''{ on_response = function(x) if x.response.status >= 500 then
         return x:respond(503, { message = "later" }, { ["retry-after"] = "7" }) end end }, ''',
                 handler=lambda r, w: answer(500 if r.target == "/bad" else 200, body=b"z" * 200_000), plugins=tracer("above"))
    client = g.client()
    res = client.ask(target="/bad")
    assert (res.status, res.json(), res.headers.get("retry-after")) == (503, {"message": "later"}, "7")
    assert res.headers.all("x-trace") == ["above"]
    assert client.ask(target="/good").body == b"z" * 200_000
