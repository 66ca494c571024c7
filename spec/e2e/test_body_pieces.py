"""Bodies decoded and encoded on their way, and walked through as they arrive."""
import ctypes
import ctypes.util
import gzip
import json
import random
import subprocess
import zlib

import pytest

from chains import compile_plugin
from harness import IS_SANITIZED, ROOT, answer
from test_body_coding import CODINGS, brotli, coded, zstd
from test_plugin_transform import entry

MIB = 1 << 20
UPPER = """on_response_body = function(x) x.piece = x.piece:upper() end"""


def text(n, seed=1):
    words = [b"alpha ", b"beta\n", b"gamma: ", b"delta "]
    r = random.Random(seed)
    return b"".join(r.choice(words) for _ in range(n // 6))


def undo(coding, data):
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "deflate":
        return zlib.decompress(data)
    if coding == "zstd":
        return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    lib = ctypes.CDLL(ctypes.util.find_library("brotlidec") or "libbrotlidec.so.1")
    out = ctypes.create_string_buffer(8 * MIB)
    n = ctypes.c_size_t(len(out))
    assert lib.BrotliDecoderDecompress(ctypes.c_size_t(len(data)), data, ctypes.byref(n), out) == 1
    return out.raw[: n.value]


# ---- decoding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_of_an_answer_are_plain_text(proxy, coding):
    body = text(300_000)
    g, u = entry(proxy, '{ on_response = function(x) assert(x.response:decode()) end, %s }' % UPPER,
                 lambda r, w: answer(headers=coded(coding) + [("etag", '"1"'), ("content-md5", "x")], body=CODINGS[coding](body)))
    res = g.ask()
    assert res.status == 200 and res.body == body.upper()
    assert "content-encoding" not in res.headers and res.headers.get("etag") == 'W/"1"' and "content-md5" not in res.headers
    assert "content-length" not in res.headers


@pytest.mark.parametrize("coding", CODINGS)
def test_pieces_of_a_request_are_plain_text(proxy, coding):
    body = text(300_000)
    g, u = entry(proxy, """{ on_request = function(x) assert(x.request:decode()) end,
      on_request_body = function(x) x.piece = x.piece:upper() end }""")
    assert g.ask("POST", "/", coded(coding), CODINGS[coding](body)).status == 200
    assert u.last.body == body.upper() and "content-encoding" not in u.last.headers


def test_who_stands_before_the_decoder_sees_the_bytes_as_they_came(proxy):
    g, u = entry(proxy, """{ on_request_body = function(x) x.ctx.first = x.ctx.first or x.piece:byte(1) end },
      { on_request = function(x) x.request:decode() end,
        on_request_body = function(x) x.piece = x.piece:gsub("a", x.ctx.first == 0x1f and "b" or "c") end }""")
    assert g.ask("POST", "/", coded("gzip"), gzip.compress(b"aaa")).status == 200
    assert u.last.body == b"bbb"


def test_a_body_that_is_decoded_may_be_gathered_behind_it(proxy):
    g, u = entry(proxy, """{ on_request = function(x) x.request:decode() end },
      { on_request = function(x) x.request.headers["x-n"] = tostring(x.request:json().n) end }""")
    assert g.ask("POST", "/", coded("gzip"), gzip.compress(b'{"n":7}')).status == 200
    assert u.last.headers.get("x-n") == "7" and u.last.body == b'{"n":7}'
    g, u = entry(proxy, """{ on_request = function(x)
      x.request.headers["x-n"] = #x.request:body{ raw = true } .. "," .. tostring(x.request:decode())
      x.request.headers["x-body"] = x.request:body() end }""")
    sent = gzip.compress(b"some text")
    assert g.ask("POST", "/", coded("gzip"), sent).status == 200
    assert u.last.headers.get("x-n") == f"{len(sent)},true" and u.last.headers.get("x-body") == "some text"
    assert u.last.body == b"some text" and u.last.headers.get("content-length") == "9"


def test_what_was_skipped_as_too_large_is_decoded_all_the_same(proxy):
    body = text(400_000)
    g, u = entry(proxy, """{ on_request = function(x) assert(not x.request:body{ limit = 1000, over = "skip", raw = true })
      assert(x.request:decode()) end, on_request_body = function(x) x.piece = x.piece:upper() end }""")
    client = g.client()
    sent = gzip.compress(body)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(0, len(sent), 7000):
        client.send(b"%x\r\n" % len(sent[i:i + 7000]) + sent[i:i + 7000] + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert client.response().status == 200 and u.last.body == body.upper()


def test_a_bomb_streams_by_in_little_memory_and_stops_at_the_limit(proxy):
    big = 20 * MIB if IS_SANITIZED else 24 * MIB
    bomb = gzip.compress(b"0" * big, 9)
    g, u = entry(proxy, "{ on_request = function(x) x.request:decode() end }", top='limits = { body = "%d" },' % (big + 1))
    before = g.rss_kb()
    client = g.client()
    client.request("POST", "/", coded("gzip"), bomb)
    assert client.response().status == 200 and len(u.last.body) == big
    assert g.rss_kb() - before < (60000 if IS_SANITIZED else 8192)
    g, u = entry(proxy, "{ on_request = function(x) x.request:decode() end }", top='limits = { body = "1m" },')
    assert g.ask("POST", "/", coded("gzip"), bomb).status == 413
    g, u = entry(proxy, "{ on_response = function(x) x.response:decode(1000000) end }",
                 lambda r, w: answer(headers=coded("gzip"), body=bomb))
    client = g.client()
    client.request()
    got = client.rest()
    assert got.startswith(b"HTTP/1.1 200") and not got.endswith(b"0\r\n\r\n") and len(got) < 1_100_000


def test_a_malformed_body_is_refused_or_cut(proxy):
    g, u = entry(proxy, "{ on_request = function(x) x.request:decode() end }")
    assert g.ask("POST", "/", coded("gzip"), b"no gzip at all").status == 400
    assert g.ask("POST", "/", coded("gzip"), gzip.compress(b"whole")[:-3]).status == 400
    g, u = entry(proxy, "{ on_response = function(x) x.response:decode() end }",
                 lambda r, w: answer(headers=coded("br"), body=b"no brotli"))
    client = g.client()
    client.request()
    assert not client.rest().endswith(b"0\r\n\r\n")
    g, u = entry(proxy, "{ on_response = function(x) x.response:decode() x.response:body() end }",
                 lambda r, w: answer(headers=coded("br"), body=b"no brotli"))
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "bad_encoding"


def test_what_cannot_be_decoded_passes_as_it_came(proxy):
    g, u = entry(proxy, '{ on_request = function(x) local ok, why = x.request:decode() x.request.headers["x-why"] = tostring(ok) .. tostring(why) end }')
    assert g.ask("POST", "/", coded("sdch"), b"abc").status == 200
    assert u.last.body == b"abc" and u.last.headers.get("x-why") == "nila content-encoding that is not known"
    assert g.ask("POST", "/", [], b"abc").status == 200
    assert u.last.body == b"abc" and u.last.headers.get("x-why") == "falsenil"
    part = gzip.compress(text(1000))[5:20]
    g, u = entry(proxy, "{ on_response = function(x) assert(not x.response:decode()) end }",
                 lambda r, w: answer(206, coded("gzip") + [("content-range", "bytes 5-19/900")], part))
    res = g.ask()
    assert res.status == 206 and res.body == part and res.headers.get("content-encoding") == "gzip"


def test_an_entry_that_only_observes_changes_nothing(proxy):
    g, u = entry(proxy, """{ on_request = function(x) x.request:decode() x.request:encode("br") for p in x.request:pieces() do end end, mode = "observe" }""")
    body = gzip.compress(text(5000))
    assert g.ask("POST", "/", coded("gzip"), body).status == 200
    assert u.last.body == body and u.last.headers.get("content-encoding") == "gzip"


def test_an_entry_that_failed_and_is_passed_over_decodes_nothing(proxy):
    g, u = entry(proxy, """{ on_request = function(x) x.request:decode() x.request:encode("br") error("no") end, on_error = "continue" }""")
    body = gzip.compress(text(5000))
    assert g.ask("POST", "/", coded("gzip"), body).status == 200
    assert u.last.body == body and u.last.headers.get("content-encoding") == "gzip"


def test_a_head_request_is_told_what_get_would_get(proxy):
    g, u = entry(proxy, "{ on_response = function(x) x.response:decode() end }",
                 lambda r, w: b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n")
    res = g.ask("HEAD", "/")
    assert res.status == 200 and "content-encoding" not in res.headers and "content-length" not in res.headers


# ---- encoding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_an_answer_is_changed_and_encoded_again(proxy, coding):
    body = text(500_000)
    g, u = entry(proxy, '{ on_response = function(x) assert(x.response:decode()) assert(x.response:encode("%s")) end, %s }' % (coding, UPPER),
                 lambda r, w: answer(headers=coded(coding), body=CODINGS[coding](body)))
    res = g.ask(headers=[("accept-encoding", "identity, " + coding)])
    assert res.headers.get("content-encoding") == coding and res.headers.get("vary") == "accept-encoding"
    assert len(res.body) < len(body) // 2 and undo(coding, res.body) == body.upper()
    res = g.ask(headers=[("accept-encoding", coding + ";q=0, *")])
    assert res.status == 500


def test_the_client_says_which_coding_it_takes(proxy):
    body = text(5000)
    g, u = entry(proxy, '{ on_request = function(x) x.response:encode("br, gzip") x.request.headers["accept-encoding"] = nil end }',
                 lambda r, w: answer(body=body))
    for accept, coding in [("gzip, br", "br"), ("gzip;q=1.0, br;q=0.0", "gzip"), ("*", "br"), ("", None), ("identity", None), ("x-gzip", "gzip")]:
        res = g.ask(headers=[("accept-encoding", accept)])
        assert res.headers.get("content-encoding") == coding and res.headers.get("vary") == "accept-encoding", accept
        assert (undo(coding, res.body) if coding else res.body) == body
    assert "content-encoding" not in g.ask().headers
    assert "accept-encoding" not in u.last.headers


@pytest.mark.parametrize("head, body", [([("cache-control", "max-age=1, no-transform")], text(5000)), ([("content-encoding", "zstd")], zstd(text(5000))),
                                        ([], b"short")])
def test_what_is_not_to_be_encoded_is_not(proxy, head, body):
    g, u = entry(proxy, '{ on_response = function(x) x.response:encode("gzip") end }', lambda r, w: answer(headers=head, body=body))
    res = g.ask(headers=[("accept-encoding", "gzip")])
    assert res.body == body and res.headers.get("content-encoding") != "gzip"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_events_are_not_held_back_by_the_encoder(proxy, coding):
    g, u = entry(proxy, """{ on_request = function(x)
      x.response:encode("%s")
      return x:respond(200, function(out)
        out:write("data: 1\\n\\n")
        while true do require("moongate").sleep(20) end
      end, { ["content-type"] = "text/event-stream" })
    end }""" % coding)
    client = g.client()
    client.request(headers=[("accept-encoding", coding)])
    assert b"content-encoding: " + coding.encode() in client.until(b"\r\n\r\n").lower()
    n = int(client.until(b"\r\n"), 16)
    data = client.exactly(n)
    if coding == "gzip":
        assert zlib.decompressobj(31).decompress(data) == b"data: 1\n\n"
    client.sock.close()


def test_a_request_is_encoded_for_the_upstream(proxy):
    body = text(100_000)
    g, u = entry(proxy, '{ on_request = function(x) x.request:encode("gzip") end }')
    assert g.ask("POST", "/", [], body).status == 200
    assert u.last.headers.get("content-encoding") == "gzip" and gzip.decompress(u.last.body) == body


def test_the_transformers_keep_the_coding_when_told(proxy):
    body = json.dumps({"secret": 1, "b": "x" * 5000}).encode()
    g, u = entry(proxy, '{ "response-transformer", encoding = "keep", remove = { body = { "secret" } } }',
                 lambda r, w: answer(headers=coded("gzip"), body=gzip.compress(body)))
    res = g.ask(headers=[("accept-encoding", "gzip")])
    assert res.headers.get("content-encoding") == "gzip" and json.loads(gzip.decompress(res.body)) == {"b": "x" * 5000}
    res = g.ask()
    assert "content-encoding" not in res.headers and res.json() == {"b": "x" * 5000}
    g, u = entry(proxy, '{ "request-transformer", encoding = "keep", remove = { body = { "secret" } } }')
    assert g.ask("POST", "/", coded("br"), brotli(body)).status == 200
    assert u.last.headers.get("content-encoding") == "br" and json.loads(undo("br", u.last.body)) == {"b": "x" * 5000}


# ---- walking through -----------------------------------------------------------------------------------


def test_an_entry_walks_through_a_request_as_it_arrives(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      local n, pieces = 0, 0
      for piece in x.request:pieces() do
        n, pieces = n + #piece, pieces + 1
        if pieces == 1 then x.log.warn("first: " .. piece) end
      end
      x.request:set_body(("%d"):format(n))
    end }""")
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"100 Continue" in client.until(b"\r\n\r\n")
    client.send(b"5\r\nhello\r\n")
    g.wait_log("first: hello")
    client.send(b"6\r\n world\r\n0\r\n\r\n")
    assert client.response().status == 200 and u.last.body == b"11" and u.last.headers.get("content-length") == "2"


def test_what_is_walked_through_is_spent(proxy):
    g, u = entry(proxy, "{ on_request = function(x) for piece in x.request:pieces() do end end }")
    assert g.ask("POST", "/", [], b"x" * 100_000).status == 200 and u.last.body == b""
    g, u = entry(proxy, "{ on_request = function(x) x.request:pieces()() end }")
    assert g.ask("POST", "/", [], b"x" * 3_000_000).status == 200 and u.last.body == b""
    for body in (None, b""):
        g, u = entry(proxy, "{ on_request = function(x) assert(x.request:pieces()() == nil) end }")
        assert g.ask("POST", "/", [], body).status == 200 and u.last.body == b""


STREAMED = """{ %s = function(x)
  local message = %s
  message:decode()
  local pieces = message:pieces()
  message:stream(function(out)
    for piece in pieces do
      require("moongate").sleep(0.001)
      out:write(piece:upper())
    end
  end)
end }"""


def test_a_request_is_made_anew_of_the_pieces_that_arrive(proxy):
    body = text(3 * MIB)
    g, u = entry(proxy, STREAMED % ("on_request", "x.request"))
    assert g.ask("POST", "/", [], body).status == 200 and u.last.body == body.upper()
    assert g.ask("POST", "/", coded("gzip"), gzip.compress(body)).status == 200 and u.last.body == body.upper()
    assert g.ask("GET", "/").status == 200


def test_an_answer_is_made_anew_of_the_pieces_that_arrive(proxy):
    body = text(3 * MIB)
    g, u = entry(proxy, STREAMED % ("on_response", "x.response"), lambda r, w: answer(body=body))
    assert g.ask().body == body.upper()
    g, u = entry(proxy, STREAMED % ("on_response", "x.response"), lambda r, w: answer(headers=coded("zstd"), body=zstd(body)))
    assert g.ask().body == body.upper()
    g, u = entry(proxy, STREAMED % ("on_response", "x.response") + ', { on_request = function(x) return x:respond(200, "an answer") end }')
    assert g.ask().body == b"AN ANSWER"


def test_a_slow_walker_holds_the_sender_back(proxy):
    total = 64 * MIB
    g, u = entry(proxy, """{ on_response = function(x)
      local pieces = x.response:pieces()
      x.response:stream(function(out) for piece in pieces do out:write(piece) end end)
    end }""", lambda r, w: answer(body=b"x" * total))
    client = g.client(rcvbuf=65536)
    before = g.rss_kb()
    client.request()
    client.until(b"\r\n\r\n")
    assert g.rss_kb() - before < (60000 if IS_SANITIZED else 8192)
    n = 0
    while True:
        size = int(client.until(b"\r\n"), 16)
        client.exactly(size + 2)
        n += size
        if not size:
            break
    assert n == total


def half(request, wire):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    wire.close()


def test_a_sender_that_breaks_off_is_told_and_nothing_looks_whole(proxy):
    g, u = entry(proxy, STREAMED % ("on_response", "x.response"),
                 half)
    u_close = g.client()
    u_close.request()
    got = u_close.rest()
    assert b"0\r\n\r\n" not in got
    g, u = entry(proxy, "{ on_response = function(x) for p in x.response:pieces() do end end }",
                 half)
    assert g.ask().status == 502


def test_a_client_that_leaves_ends_the_walk(proxy):
    g, u = entry(proxy, """{ on_request = function(x) for p in x.request:pieces() do x.log.warn("got") end end,
      on_log = function(x) x.log.warn("over: " .. x.failure) end }""")
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    g.wait_log("got")
    client.sock.close()
    g.wait_log("over: client_left")


def test_the_limit_of_the_body_and_the_clients_timeout_hold_for_a_walker(proxy):
    walk = "{ on_request = function(x) for p in x.request:pieces() do end end }"
    g, u = entry(proxy, walk, top='limits = { body = "1k" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + b"x" * 2048 + b"\r\n")
    assert client.response().status == 413
    g, u = entry(proxy, walk, top='timeouts = { client_body = "100ms", plugin = "20ms" },')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    assert client.response().status == 408


def test_a_walker_that_fails_midway_is_not_passed_over(proxy):
    g, u = entry(proxy, """{ on_request = function(x) x.request:pieces()() error("no") end, on_error = "continue" }""")
    assert g.ask("POST", "/", [], b"some bytes").status == 500 and u.requests == []
    g, u = entry(proxy, """{ on_request = function(x) x.request:pieces() error("no") end, on_error = "continue" }""")
    assert g.ask("POST", "/", [], b"some bytes").status == 200 and u.last.body == b"some bytes"


def test_a_body_that_was_gathered_before_is_walked_through_where_it_lies(proxy):
    g, u = entry(proxy, """{ on_request = function(x) x.request:body() end }, { on_request = function(x)
      local n = 0
      for piece in x.request:pieces() do n = n + #piece end
      x.request.headers["x-n"] = tostring(n) end }""")
    assert g.ask("POST", "/", [], b"x" * 200_000).status == 200
    assert u.last.headers.get("x-n") == "200000" and u.last.body == b"x" * 200_000


# ---- from C --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upper(tmp_path_factory):
    """The example that docs/plugins-c.md shows."""
    folder = tmp_path_factory.mktemp("upper")
    compile_plugin(folder, "upper", (ROOT / "examples/plugin-c/upper.c").read_text())
    return folder


def test_the_pages_c_example_translates_what_it_pulls(proxy, upper):
    g, u = entry(proxy, '"upper"', top=f'plugin_path = {{ "{upper}" }},')
    for body in (b"", b"x", text(4 * MIB)):
        assert g.ask("POST", "/", [], body).status == 200 and u.last.body == body.upper()
        assert g.ask("POST", "/", coded("gzip"), gzip.compress(body)).status == 200 and u.last.body == body.upper()
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    client.sock.close()
    assert g.ask("GET", "/").status == 200
