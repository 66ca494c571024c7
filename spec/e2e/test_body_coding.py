"""Bodies with a content-encoding: policies see plain text, and what nobody changes passes as it came."""
import ctypes
import ctypes.util
import gzip
import json
import subprocess
import zlib

import pytest

from harness import answer
from test_plugin_transform import entry

JSON = [("content-type", "application/json")]

def brotli(data):
    lib = ctypes.CDLL(ctypes.util.find_library("brotlienc") or "libbrotlienc.so.1")
    out = ctypes.create_string_buffer(len(data) + 1024)
    n = ctypes.c_size_t(len(out))
    assert lib.BrotliEncoderCompress(5, 22, 0, ctypes.c_size_t(len(data)), data, ctypes.byref(n), out)
    return out.raw[: n.value]

def zstd(data):
    return subprocess.run(["zstd", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout

CODINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli, "zstd": zstd, "gzip, br": lambda d: brotli(gzip.compress(d))}

def coded(coding):
    return JSON + [("content-encoding", coding)]

@pytest.mark.parametrize("coding", CODINGS)
def test_the_request_transformer_changes_a_compressed_body(proxy, coding):
    g, u = entry(proxy, '{ "request-transformer", set = { body = { a = 1 } } }')
    body = json.dumps({"b": "x" * 5000}).encode()
    headers = coded(coding) + [("content-digest", "sha-256=:AAAA:")]
    assert g.ask("POST", "/", headers, CODINGS[coding](body)).status == 200
    assert u.last.json() == {"a": 1, "b": "x" * 5000}
    assert "content-encoding" not in u.last.headers and "content-digest" not in u.last.headers

@pytest.mark.parametrize("coding", CODINGS)
def test_the_response_transformer_changes_a_compressed_body(proxy, coding):
    body = CODINGS[coding](b'{"secret":1,"b":2}')
    g, u = entry(proxy, '{ "response-transformer", remove = { body = { "secret" } } }',
                 lambda r, w: answer(headers=coded(coding) + [("etag", '"1"')], body=body))
    res = g.ask()
    assert res.json() == {"b": 2} and "content-encoding" not in res.headers and res.headers.get("etag") == 'W/"1"'

def test_a_body_that_is_only_looked_at_passes_as_it_came(proxy):
    g, u = entry(proxy, '{ on_request = function(x) x.request.headers["x-saw"] = x.request:json().a .. #x.request:body{ raw = true } end }')
    body = gzip.compress(b'{"a":"yes"}')
    assert g.ask("POST", "/", coded("gzip"), body).status == 200
    assert u.last.body == body and u.last.headers.get("content-encoding") == "gzip"
    assert u.last.headers.get("x-saw") == f"yes{len(body)}"

def test_a_bomb_is_refused_by_what_comes_out(proxy):
    bomb = gzip.compress(b"0" * 30_000_000)
    g, u = entry(proxy, "{ on_request = function(x) x.request:body() end }")
    before = g.rss_kb()
    assert g.ask("POST", "/", coded("gzip"), bomb).status == 413 and u.requests == []
    assert g.rss_kb() - before < 8192
    g, u = entry(proxy, '{ on_response = function(x) x.response:body() end }',
                 lambda r, w: answer(headers=coded("gzip"), body=bomb))
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "response_too_large"

def test_a_malformed_body_is_refused_skipped_or_passed(proxy):
    g, u = entry(proxy, "{ on_request = function(x) x.request:body() end }")
    assert g.ask("POST", "/", coded("gzip"), b"no gzip").status == 400 and u.requests == []
    g, u = entry(proxy, '{ on_request = function(x) local b, why = x.request:body(0, "skip") x.request.headers["x-why"] = tostring(b) .. why end }')
    assert g.ask("POST", "/", coded("gzip"), b"no gzip").status == 200
    assert u.last.body == b"no gzip" and u.last.headers.get("x-why") == "nilnot what its content-encoding says"
    g, u = entry(proxy, '{ on_response = function(x) x.response:body() end }',
                 lambda r, w: answer(headers=coded("br"), body=b"no brotli"))
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "bad_encoding"

def test_an_unknown_coding_is_told_and_passes(proxy):
    g, u = entry(proxy, '{ on_request = function(x) local b, why = x.request:body() x.request.headers["x-why"] = why end }')
    assert g.ask("POST", "/", coded("sdch"), b"abc").status == 200
    assert u.last.body == b"abc" and u.last.headers.get("x-why") == "a content-encoding that is not known"

def test_the_chain_shares_a_document_and_nobody_s_changes_leak(proxy):
    look = '{ on_request = function(x) local j = x.request:json() j.a = j.a + 1 x.request.headers["x-a" .. j.a] = tostring(j.a) end }'
    g, u = entry(proxy, f'{look}, {look}, {{ on_request = function(x) x.request:set_body{{ a = 10 }} end }}, {look}')
    assert g.ask("POST", "/", coded("gzip"), gzip.compress(b'{"a":1}')).status == 200
    assert u.last.headers.get("x-a2") == "2" and "x-a3" not in u.last.headers and u.last.headers.get("x-a11") == "11"
    assert u.last.json() == {"a": 10} and "content-encoding" not in u.last.headers
