"""Raw requests, and what the gateway must do with each: the smuggling and bad-input suite as data.

A case is (name, pieces, statuses, must_close, note):

  name        a sentence's worth of words
  pieces      list of bytes, sent one after the other (each in its own packet, as far as the sender can see to it)
  statuses    what the client must get, in order: a list with one entry for each answer, each a set of acceptable statuses.
              An empty list: the connection closes without a word
  must_close  True: the gateway closes the connection after the last of these answers. False: it stays open
  note        what the rule is, with the section of the RFC

Where the upstream is asked at all it must have seen one well-formed request for each 2xx among the answers, and
nothing else: no refused request may reach it, in whole or in part of its head. The upstream of the suite answers
every request with 200 and a short body. `/` is a route that takes every method. UPSTREAM_SEES names cases with more to assert.
"""

HOST = b"Host: gateway.test\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"

OK, BAD, NOT_IMPL, VERSION = {200}, {400}, {501}, {505}

CASES = []


def case(name, request, statuses, must_close, note):
    pieces = request if isinstance(request, list) else [request]
    if not isinstance(statuses, list):
        statuses = [statuses]
    CASES.append((name, pieces, statuses, must_close, note))


def get(fields=b"", line=b"GET / HTTP/1.1", host=HOST):
    return line + b"\r\n" + host + fields + b"\r\n"


def post(fields, body=b""):
    return b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


# ---- what must work, so that refusing everything does not pass ------------------------------------------------

case("a plain request", get(), OK, False, "9112 3")
case("two requests in one packet", get() + NEXT, [OK, OK], False, "9112 9.3.2: pipelining, answers in order")
case("one byte at a time", [bytes([b]) for b in get(b"X-A: b\r\n")], OK, False, "9112 2.2")
case("cut between CR and LF", [b"GET / HTTP/1.1\r", b"\n" + HOST + b"\r", b"\n"], OK, False, "9112 2.2")
case("one empty line before the request", b"\r\n" + get(), OK, False, "9112 2.2: SHOULD ignore at least one")
case("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", OK, True, "9112 3.2: Host is asked of 1.1 only")
case("HTTP/1.0 with keep-alive", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK, False, "9112 C.2.2")
case("connection: close", get(b"Connection: close\r\n"), OK, True, "9112 9.6")
case("a body by length", post(b"Content-Length: 5\r\n", b"hello"), OK, False, "9112 6.2")
case("a body by length and the next request", post(b"Content-Length: 5\r\n", b"hello") + NEXT, [OK, OK], False, "9112 6.3")
case("a chunked body", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", OK, False, "9112 7.1")
case("a chunked body in pieces", [CHUNKED, b"5", b"\r", b"\nhel", b"lo\r", b"\n0\r\n", b"\r\n"], OK, False, "9112 7.1")
case("a chunked body and the next request", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + NEXT, [OK, OK], False, "9112 7.1")
case("chunk extensions", CHUNKED + b"5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", OK, False, "9112 7.1.1: parsed, not forwarded")
case("trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", OK, False, "9112 7.1.2")
case("chunked in another case, with blanks", post(b"Transfer-Encoding: \t Chunked \t\r\n", b"0\r\n\r\n"), OK, False, "9112 7: case-insensitive")
case("an absolute target that agrees with Host", get(line=b"GET http://GATEWAY.test:80/ HTTP/1.1", host=b"Host: gateway.test\r\n"), OK, False, "9112 3.2.2")
case("8-bit bytes in a value", get(b"X-A: \xc3\xa4\r\n"), OK, False, "9110 5.5: obs-text is opaque")

# ---- the request line -------------------------------------------------------------------------------------------

case("two empty lines before the request", b"\r\n\r\n" + get(), BAD, True, "9112 2.2: one is enough")
case("a bare LF before the request", b"\n" + get(), BAD, True, "9112 2.2")
case("HTTP/0.9", b"GET /\r\n", BAD, True, "9112 3: a version is required")
case("HTTP/1.2", get(line=b"GET / HTTP/1.2"), VERSION, True, "9110 15.6.6: a version that is not served")
case("HTTP/2.0 in the request line", get(line=b"GET / HTTP/2.0"), VERSION, True, "9110 15.6.6")
case("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}, True, "9113 3.4: not on a plain HTTP/1 port")
case("RTSP", get(line=b"GET / RTSP/1.0"), BAD, True, "9112 2.3: HTTP-name")
case("the version in lower case", get(line=b"GET / http/1.1"), BAD, True, "9112 2.3: case-sensitive")
case("a version of three digits", get(line=b"GET / HTTP/1.10"), BAD, True, "9112 2.3")
case("several spaces before the target", get(line=b"GET  / HTTP/1.1"), BAD, True, "9112 3: a single SP")
case("several spaces before the version", get(line=b"GET /  HTTP/1.1"), BAD, True, "9112 3: a single SP")
case("a space after the version", get(line=b"GET / HTTP/1.1 "), BAD, True, "9112 3")
case("a space before the method", b" " + get(), BAD, True, "9112 3")
case("tabs between the parts", get(line=b"GET\t/\tHTTP/1.1"), BAD, True, "9112 3")
case("a method that is no token", get(line=b"GE(T / HTTP/1.1"), BAD, True, "9110 9.1")
case("a method that nobody knows", get(line=b"BREW / HTTP/1.1"), NOT_IMPL, True, "9110 9.1: 501")
case("a method in lower case", get(line=b"get / HTTP/1.1"), NOT_IMPL, True, "9110 9.1: case-sensitive")
case("CONNECT", b"CONNECT gateway.test:443 HTTP/1.1\r\nHost: gateway.test:443\r\n\r\n", {405, 501}, True, "9110 9.3.6: no tunnels")
case("a NUL in the target", get(line=b"GET /\x00 HTTP/1.1"), BAD, True, "9112 3.2")
case("a raw 8-bit byte in the target", get(line=b"GET /\xff HTTP/1.1"), BAD, True, "3986 2: must be percent-encoded")
case("a fragment in the target", get(line=b"GET /a#b HTTP/1.1"), BAD, True, "9112 3.2: no fragment")
case("a relative target", get(line=b"GET index.html HTTP/1.1"), BAD, True, "9112 3.2")
case("GET *", get(line=b"GET * HTTP/1.1"), BAD, True, "9112 3.2.4: OPTIONS only")
case("a target of another scheme", get(line=b"GET ftp://gateway.test/ HTTP/1.1"), BAD, True, "9112 3.2.2")
case("userinfo in the target", get(line=b"GET http://u:p@gateway.test/ HTTP/1.1"), BAD, True, "9110 4.2.4")
case("a percent-encoded NUL in the path", get(line=b"GET /a%00b HTTP/1.1"), BAD, None, "3986 7.3")
case("a broken percent-encoding in the path", get(line=b"GET /a%zz HTTP/1.1"), BAD, None, "3986 2.1")
case("a path above the root", get(line=b"GET /../etc/passwd HTTP/1.1"), BAD, None, "3986 5.2.4: refused rather than guessed")
case("an encoded path above the root", get(line=b"GET /%2e%2e/etc HTTP/1.1"), BAD, None, "3986 6.2.2")
case("a client hello of TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD, True, "9112 3")
case("a target beyond the limit", b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", {414}, True, "9110 15.5.15")

# ---- Host ---------------------------------------------------------------------------------------------------------

case("no Host", get(host=b""), BAD, True, "9112 3.2")
case("two Hosts that differ", get(b"Host: other.test\r\n"), BAD, True, "9112 3.2")
case("two Hosts alike", get(HOST), BAD, True, "9112 3.2")
case("an empty Host", get(host=b"Host: \r\n"), BAD, True, "9110 7.2: http needs an authority")
case("Host with a path", get(host=b"Host: gateway.test/x\r\n"), BAD, True, "9110 7.2")
case("Host with userinfo", get(host=b"Host: u@gateway.test\r\n"), BAD, True, "9110 7.2")
case("Host with a space", get(host=b"Host: gateway.test evil.test\r\n"), BAD, True, "9110 7.2")
case("a list of Hosts", get(host=b"Host: gateway.test, evil.test\r\n"), BAD, True, "9110 7.2")
case("Host with a port beyond 65535", get(host=b"Host: gateway.test:65536\r\n"), BAD, True, "9110 7.2")
case("Host with letters for a port", get(host=b"Host: gateway.test:http\r\n"), BAD, True, "9110 7.2")
case("Host at odds with an absolute target", get(line=b"GET http://evil.test/ HTTP/1.1"), BAD, True, "9112 3.2.2: refused rather than chosen")
case("Host's port at odds with an absolute target", get(line=b"GET http://gateway.test:81/ HTTP/1.1"), BAD, True, "9112 3.2.2")

# ---- field lines ----------------------------------------------------------------------------------------------------

case("a bare LF after the request line", b"GET / HTTP/1.1\n" + HOST + b"\r\n", BAD, True, "9112 2.2: MAY accept; we do not")
case("a bare LF after a field", get(b"X-A: b\n"), BAD, True, "9112 2.2")
case("a bare LF that ends the head", b"GET / HTTP/1.1\r\n" + HOST + b"\n", BAD, True, "9112 2.2")
case("bare LFs throughout", b"GET / HTTP/1.1\nHost: gateway.test\n\n", BAD, True, "9112 2.2")
case("a bare CR in a value", get(b"X-A: b\rX-B: c\r\n"), BAD, True, "9112 2.2")
case("CR CR LF", get(b"X-A: b\r\r\n"), BAD, True, "9112 2.2")
case("a NUL in a value", get(b"X-A: b\x00c\r\n"), BAD, True, "9110 5.5")
case("a control in a value", get(b"X-A: b\x0bc\r\n"), BAD, True, "9110 5.5")
case("DEL in a value", get(b"X-A: \x7f\r\n"), BAD, True, "9110 5.5")
case("a NUL in a name", get(b"X\x00A: b\r\n"), BAD, True, "9110 5.1")
case("an 8-bit byte in a name", get(b"X\xc3: b\r\n"), BAD, True, "9110 5.1")
case("a space before the colon", get(b"X-A : b\r\n"), BAD, True, "9112 5.1")
case("a tab before the colon of a length", post(b"Content-Length\t: 5\r\n", b"hello"), BAD, True, "9112 5.1")
case("a space in a name", get(b"X A: b\r\n"), BAD, True, "9110 5.1")
case("an empty name", get(b": b\r\n"), BAD, True, "9110 5.1")
case("no colon", get(b"X-A\r\n"), BAD, True, "9112 5")
case("a folded line", get(b"X-A: b\r\n c\r\n"), BAD, True, "9112 5.2")
case("a folded line with a tab", get(b"X-A: b\r\n\tc\r\n"), BAD, True, "9112 5.2")
case("a fold before the first field", b"GET / HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", BAD, True, "9112 2.2")
case("a fold cut at the line's end", [b"GET / HTTP/1.1\r\n" + HOST + b"X-A: b\r\n", b" c\r\n\r\n"], BAD, True, "9112 5.2")
case("a head beyond the limit", get(b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(70))), {431}, True, "6585 5")
case("one field beyond the limit", get(b"X-A: " + b"a" * 70000 + b"\r\n"), {431}, True, "6585 5")
case("too many fields", get(b"".join(b"X-%d: a\r\n" % i for i in range(300))), {431}, True, "6585 5")
case("connection names Host", get(b"Connection: close, Host\r\n"), BAD, True, "9110 7.6.1: stripping what routes is an attack")
case("connection names Authorization", get(b"Connection: Authorization\r\nAuthorization: Basic eDp5\r\n"), BAD, True, "9110 7.6.1")
case("connection names X-Forwarded-For", get(b"Connection: X-Forwarded-For\r\n"), BAD, True, "9110 7.6.1")
case("connection is no list of tokens", get(b"Connection: a b\r\n"), BAD, True, "9110 7.6.1")
case("another expectation", post(b"Expect: 200-ok\r\nContent-Length: 1\r\n", b"a"), {417}, True, "9110 10.1.1")

# ---- lengths --------------------------------------------------------------------------------------------------------

case("both lengths, CL.TE", post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"), BAD, True, "9112 6.1, 6.3, 11.2")
case("both lengths, TE.CL", post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"5c\r\nGET /x HTTP/1.1\r\n\r\n0\r\n\r\n"), BAD, True, "9112 6.3, 11.2")
case("a smuggled request behind both lengths", post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + NEXT), BAD, True, "9112 11.2")
case("differing lengths", post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), BAD, True, "9112 6.3")
case("equal lengths", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), BAD, True, "9112 6.3: MAY be refused")
case("a list of lengths", post(b"Content-Length: 5, 5\r\n", b"hello"), BAD, True, "9112 6.3: MAY be refused")
case("a signed length", post(b"Content-Length: +5\r\n", b"hello"), BAD, True, "9110 8.6: digits")
case("a negative length", post(b"Content-Length: -1\r\n"), BAD, True, "9110 8.6")
case("a length in hex", post(b"Content-Length: 0x5\r\n", b"hello"), BAD, True, "9110 8.6")
case("an empty length", post(b"Content-Length: \r\n"), BAD, True, "9110 8.6")
case("a length with a space inside", post(b"Content-Length: 1 0\r\n", b"hello"), BAD, True, "9110 8.6")
case("a length beyond 2^63", post(b"Content-Length: 9223372036854775808\r\n"), {400, 413}, True, "9110 8.6: no overflow")
case("a length that wraps to 5", post(b"Content-Length: 18446744073709551621\r\n", b"hello"), {400, 413}, True, "9110 8.6: no overflow")
case("identity", post(b"Transfer-Encoding: identity\r\n"), BAD, True, "9112 7: gone since 7230")
case("gzip alone", post(b"Transfer-Encoding: gzip\r\n", b"x"), BAD, True, "9112 6.3: chunked must be last")
case("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), NOT_IMPL, True, "9112 6.1: a coding not understood")
case("chunked, identity", post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.3")
case("chunked twice", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1: MUST NOT")
case("chunked in two fields", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1")
case("chunked and identity in two fields", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1")
case("xchunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1")
case("chunked behind a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), BAD, True, "9110 5.5")
case("chunked in quotes", post(b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1")
case("chunked on a folded line", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), BAD, True, "9112 5.2")
case("a space before transfer-encoding's colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), BAD, True, "9112 5.1")
case("an empty coding", post(b"Transfer-Encoding: \r\n", b"0\r\n\r\n"), BAD, True, "9112 6.1")
case("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD, True, "9112 6.1: framing is faulty")
case("chunked in HTTP/1.0 with keep-alive", b"POST / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, BAD, True, "9112 6.1: MUST close")
case("TRACE with a body", b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na", BAD, True, "9110 9.3.8")

# ---- chunks -----------------------------------------------------------------------------------------------------------
# The head may have gone upstream by then; the body must not be seen as complete there (see UPSTREAM_SEES).

case("no chunk size", CHUNKED + b"\r\n", BAD, True, "9112 7.1")
case("a chunk size of other letters", CHUNKED + b"xyz\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a chunk size with 0x", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a signed chunk size", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a space after the chunk size", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a space before the chunk size", CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a chunk size beyond 2^63", CHUNKED + b"8000000000000000\r\nhello\r\n", {400, 413}, True, "9112 7.1: no overflow")
case("a chunk size that wraps to 5", CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", {400, 413}, True, "9112 7.1: no overflow")
case("a bare LF after a chunk size", CHUNKED + b"5\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a bare LF after chunk data", CHUNKED + b"5\r\nhello\n0\r\n\r\n", BAD, True, "9112 7.1")
case("no CRLF after chunk data", CHUNKED + b"5\r\nhello0\r\n\r\n", BAD, True, "9112 7.1")
case("a bare LF in a chunk extension", CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1.1")
case("a bare CR in a chunk extension", CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1.1")
case("a NUL in a chunk extension", CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1.1")
case("a NUL in a quoted chunk extension", CHUNKED + b"5;a=\"\x00\"\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1.1")
case("an endless chunk extension", CHUNKED + b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1.1: SHOULD limit")
case("a chunk longer than its size", CHUNKED + b"4\r\nhello\r\n0\r\n\r\n", BAD, True, "9112 7.1")
case("a bare LF after the last chunk", CHUNKED + b"0\r\n\n", BAD, True, "9112 7.1")
case("content-length among trailers", CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", BAD, True, "9110 6.5.1")
case("transfer-encoding among trailers", CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD, True, "9110 6.5.1")
case("Host among trailers", CHUNKED + b"0\r\nHost: evil.test\r\n\r\n", BAD, True, "9110 6.5.1")
case("a folded trailer", CHUNKED + b"0\r\nX-A: b\r\n c\r\n\r\n", BAD, True, "9112 5.2")
case("a control in a trailer", CHUNKED + b"0\r\nX-A: b\x01\r\n\r\n", BAD, True, "9110 5.5")
case("trailers beyond the limit", CHUNKED + b"0\r\nX-A: " + b"b" * 20000 + b"\r\n\r\n", {400, 431}, True, "9112 7.1.2")
case("a bad chunk size cut in two", [CHUNKED, b"5\r\nhello\r\n", b"g\r\n"], BAD, True, "9112 7.1")

# ---- what stands behind a request that closes ---------------------------------------------------------------------------

case("a request behind connection: close", get(b"Connection: close\r\n") + NEXT, OK, True, "9112 9.6: is not answered")
case("a request behind a refused one", get(host=b"") + NEXT, BAD, True, "9112 9.6: is not answered")
case("a request behind a bad chunk", CHUNKED + b"zz\r\n" + NEXT, BAD, True, "9112 9.6: is not answered")

# Name of a case -> what the upstream must, or must not, have seen.
#   "no-field": names that must not be among the fields it got; "field": name and value that must.
UPSTREAM_SEES = {
    "trailers": {"no-field": ["connection"]},
}
# Requests that the gateway passes on, and the fields that the upstream must not see in them (hop by hop; 9110 7.6.1).
REMOVED = [
    (get(b"Connection: close, X-Foo\r\nX-Foo: 1\r\n"), ["x-foo", "connection: close, x-foo"]),
    (get(b"Connection: x-a, x-b\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\n"), ["x-a", "x-b"]),
    (get(b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n"),
     ["keep-alive", "proxy-connection", "te", "upgrade"]),
]
# Uploads that break off: the upstream must not take them for complete (9112 8).
CUT = [
    ("a length cut short", post(b"Content-Length: 10\r\n", b"hello")),
    ("chunks cut short", CHUNKED + b"5\r\nhello\r\n"),
    ("the last chunk cut short", CHUNKED + b"5\r\nhello\r\n0\r\n"),
    ("a head cut short", b"GET / HTTP/1.1\r\nHost: gate"),
]

assert len({c[0] for c in CASES}) == len(CASES), "names are unique"
