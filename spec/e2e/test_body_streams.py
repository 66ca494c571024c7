"""Bodies that policies make bit by bit: answers, requests and responses."""
import threading

from harness import Ended, IS_SANITIZED, answer, wait_for
from test_plugin_transform import entry

MIB = 1 << 20


def test_an_answer_is_made_bit_by_bit(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      return x:respond(200, function(out)
        for i = 1, 3 do out:write("data: " .. i .. "\\n\\n") require("moongate").sleep(1) end
      end, { ["content-type"] = "text/event-stream" })
    end }""")
    res = g.ask()
    assert res.status == 200 and res.headers.get("content-type") == "text/event-stream"
    assert res.headers.get("transfer-encoding") == "chunked" and res.body == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert u.requests == []


def test_a_piece_is_with_the_client_before_the_next_is_made_and_a_client_that_leaves_ends_it(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      return x:respond(200, function(out)
        out:write("first")
        while true do require("moongate").sleep(20) end
      end)
    end, on_log = function(x) x.log.warn("over: " .. x.failure) end }""")
    client = g.client()
    client.request()
    assert b"chunked" in client.until(b"\r\n\r\n")
    assert client.until(b"first") == b"5\r\n"
    client.sock.close()
    wait_for(lambda: "over: client_left" in g.log(), "the exchange to end")


def test_a_request_body_is_made_bit_by_bit(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      x.request.method = "POST"
      x.request:stream(function(out) for i = 1, 200 do out:write(("%03d"):format(i):rep(1000)) end end)
    end }""")
    assert g.ask("POST", "/", [], b"old body").status == 200
    assert u.last.body == b"".join(b"%03d" % i * 1000 for i in range(1, 201))
    assert u.last.headers.get("transfer-encoding") == "chunked"


def test_a_response_body_is_made_bit_by_bit_and_later_policies_see_it(proxy):
    g, u = entry(proxy, """
      { on_response = function(x) x.response.headers["x-got"] = x.response:body() end },
      { on_response_body = function(x) x.piece = x.piece:upper() end,
        on_response = function(x) x.response:resize_body() end },
      { on_response = function(x) x.response:stream(function(out) out:write("a") require("moongate").sleep(1) out:write("b") end) end }""",
                 lambda r, w: answer(body=b"old"))
    res = g.ask()
    assert res.body == b"AB" and res.headers.get("x-got") == "AB"


def test_an_error_in_the_middle_is_no_whole_answer(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      return x:respond(200, function(out) out:write("half") require("moongate").sleep(1) error("broken") end)
    end }""")
    client = g.client()
    client.request()
    assert b"200" in client.until(b"\r\n\r\n")
    assert b"0\r\n\r\n" not in client.rest()
    wait_for(lambda: "broken" in g.log(), "the error in the log")
    assert g.ask("HEAD", "/").status == 200


def test_a_slow_reader_holds_the_maker_back(proxy):
    total = 8 * MIB if IS_SANITIZED else 256 * MIB
    g, u = entry(proxy, f"""{{ on_request = function(x)
      local piece = ("x"):rep(65536)
      return x:respond(200, function(out) for i = 1, {total // 65536} do out:write(piece) end end)
    end }}""")
    client = g.client(rcvbuf=65536)
    before = g.rss_kb()
    client.request()
    client.until(b"\r\n\r\n")
    got = len(client.buffer)
    client.buffer = b""
    peak = 0
    while got < total:
        data = client.sock.recv(1 << 18)
        assert data
        got += len(data)
        peak = max(peak, g.rss_kb()) if got % MIB < len(data) else peak
    if not IS_SANITIZED:
        assert peak - before < 12288, f"grew by {peak - before} KiB"


def test_head_and_204_have_nothing_made(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      return x:respond(x.request.method == "HEAD" and 200 or 204, function(out) error("made") end)
    end }""")
    assert g.ask("HEAD", "/").body == b"" and g.ask("GET", "/").status == 204
    assert "made" not in g.log()


def test_an_upstream_that_answers_early_ends_the_making(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      x.request:stream(function(out) while true do out:write(("x"):rep(1000)) require("moongate").sleep(1) end end)
    end }""", early)
    assert g.ask("POST", "/", [], b"b").status == 200


def early(request, wire):
    return answer(body=b"enough")


early.reads_body = True
