"""mg.http: requests of plugins, over the gateway's own connections, against real servers."""
import re
import socket
import threading

import pytest

import harness

from harness import ROOT, Ended, answer, wait_for
from test_resolver import dns  # noqa: F401

CONFIG = """
local mg = require "moongate"
local function tell(x, r, err, token)
  if not r then return x:respond(502, { err = err, token = token }) end
  return x:respond(200, { status = r.status, body = r.body, url = r.url, odd = r.headers["X-ODD"], last = r.trailers and r.trailers["x-last"] })
end
return {
  listen = { "127.0.0.1:0" }, admin = "127.0.0.1:0", %(top)s
  routes = {
    { "go", path = "/go", plugins = { { on_request = function(x) return tell(x, mg.http.request { %(request)s }) end } } },
    { "plain", path = "/plain", plugins = { { on_request = function(x) return x:respond(200, "plain") end } } },
    %(routes)s
  },
}
"""


def config(request="", top="", routes=""):
    return CONFIG % {"request": request, "top": top, "routes": routes}


@pytest.fixture
def go(gateway):
    """go("url = …") starts a gateway whose /go asks that; the decoded answer of /go."""

    def ask(request, top="", **options):
        g = gateway(config(request, top), **options)
        res = g.ask(target="/go")
        return res.status, res.json()

    return ask


def test_a_url_is_asked_with_fields_query_and_body(go, upstream):
    u = upstream(lambda request, wire: answer(201, [("X-Odd", "1"), ("x-odd", "2")], b"made"))
    status, told = go(f'url = "{u.url}/a%20b?x=1", query = {{ q = "a b" }}, method = "PUT", headers = {{ ["x-a"] = {{ "1", "2" }} }}, body = {{ a = 1 }}')
    assert status == 200 and told["status"] == 201 and told["body"] == "made" and told["odd"] == "1"
    assert u.last.method == "PUT" and u.last.target == "/a%20b?x=1&q=a%20b"
    assert u.last.headers.get("host") == u.address and u.last.headers.all("x-a") == ["1", "2"]
    assert u.last.headers.get("content-type") == "application/json" and u.last.json() == {"a": 1}


def test_a_named_upstream_is_asked_by_its_own_rules(go, upstream):
    one, two = upstream(), upstream()
    status, told = go('upstream = "both", path = "/x"', f'upstreams = {{ both = {{ targets = {{ "{one.address}", "{two.address}" }} }} }},')
    assert status == 200 and told["body"] == "hello" and told["url"] == "upstream://both/x"
    assert len(one.requests) + len(two.requests) == 1


def test_connections_are_kept_and_shared_with_routes(gateway, upstream):
    u = upstream()
    g = gateway(config(f'url = "{u.url}/"', routes=f'{{ "route", path = "/*", upstream = "{u.url}" }},'))
    for _ in range(5):
        assert g.ask(target="/go").status == 200
        assert g.ask(target="/other").status == 200
    assert u.connections == 1


def test_a_dead_kept_connection_is_replaced_for_what_may_be_repeated(gateway, upstream):
    def raw(wire):
        wire.head(type("R", (), {"__init__": lambda s, f, h: None}))
        wire.send(answer(body=b"once"))
        try:
            wire.until(b"\r\n\r\n")  # the second request is read, and not answered
        except Ended:
            pass

    u = upstream(raw=raw)
    g = gateway(config(f'url = "{u.url}/"', routes=f'{{ "post", path = "/post", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.post("{u.url}/", {{ body = "x" }})) end }} }} }},'))
    assert g.ask(target="/go").json()["body"] == "once"
    assert g.ask(target="/go").json()["body"] == "once"  # a GET goes again
    assert u.connections == 2
    told = g.ask(target="/post")
    assert told.status == 502 and told.json()["token"] == "reset"  # a POST does not


LIES = {
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "bad_response"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad_response"),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "bad_response"),
    "an endless head": (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 70000, "bad_response"),
    "a protocol that nobody asked for": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "bad_response"),
    "a body cut short": (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "reset"),
    "chunks cut short": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "reset"),
    "nothing": (b"", "reset"),
    "too much": (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2000000, "response_too_large"),
    "too much without a length": (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000000, "response_too_large"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_upstream_that_lies_gives_an_error_and_never_half_a_body(go, upstream, lie):
    bytes_, token = LIES[lie]

    def raw(wire):
        wire.until(b"\r\n\r\n")
        wire.send(bytes_)

    u = upstream(raw=raw)
    status, told = go(f'url = "{u.url}/"')
    assert status == 502 and told["token"] in (token, "response_head_too_large"), told


@pytest.mark.parametrize("method,bytes_,body", [
    ("GET", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ""),
    ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", ""),
    ("GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-last: yes\r\n\r\n", "hi"),
    ("GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
])
def test_answers_of_every_framing_are_whole(go, upstream, method, bytes_, body):
    def raw(wire):
        wire.until(b"\r\n\r\n")
        wire.send(bytes_)

    status, told = go(f'url = "{upstream(raw=raw).url}/", method = "{method}"')
    assert status == 200 and told["body"] == body
    assert told.get("last") == ("yes" if b"x-last" in bytes_ else None)


@pytest.mark.parametrize("option", ["timeout", "first_byte_timeout"])
def test_a_server_that_never_answers_is_given_up(go, upstream, option):
    silent = threading.Event()
    u = upstream(lambda request, wire: silent.wait(30) and None)
    status, told = go(f'url = "{u.url}/", {option} = "200ms"')
    silent.set()
    assert status == 502 and told["token"] == "timeout"


def test_a_server_that_stops_in_the_middle_is_given_up(go, upstream):
    def handler(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        wire.rest()

    status, told = go(f'url = "{upstream(handler).url}/", idle_timeout = "200ms"')
    assert status == 502 and told["token"] == "timeout"


def test_what_cannot_be_reached_says_so(go, free_port):
    status, told = go(f'url = "http://127.0.0.1:{free_port}/"')
    assert status == 502 and told["token"] == "connect_refused"


def test_names_are_resolved_and_a_wrong_one_says_so(gateway, upstream, dns):  # noqa: F811
    u = upstream()
    d = dns({"api.example.test": "127.0.0.1"})
    top = f'resolver = {{ servers = "{d.address}" }},'
    routes = f'''{{ "no", path = "/no", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("http://no.example.test:{u.port}/")) end }} }} }},'''
    g = gateway(config(f'url = "http://api.example.test:{u.port}/"', top, routes))
    res = g.ask(target="/go")
    assert res.status == 200, res.body
    assert u.last.headers.get("host") == f"api.example.test:{u.port}"
    res = g.ask(target="/no")
    assert res.status == 502 and res.json()["token"] == "resolve_failed"


def test_unix_sockets_and_ipv6(gateway, upstream, tmp_path):
    path = str(tmp_path / "s")
    local, six = upstream(path=path), upstream(family=socket.AF_INET6)
    g = gateway(config(f'url = "http://unix:{path}:/over?here"', routes=f'{{ "six", path = "/six", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("http://[::1]:{six.port}/")) end }} }} }},'))
    assert g.ask(target="/go").status == 200
    assert local.last.target == "/over?here" and local.last.headers.get("host") == "localhost"
    assert g.ask(target="/six").status == 200
    assert six.last.headers.get("host") == f"[::1]:{six.port}"


# ---- TLS -----------------------------------------------------------------------------------------


def test_a_certificate_is_checked_against_the_system_s_cas(go, upstream, certs):
    u = upstream(tls=certs.server("127.0.0.1"))
    status, told = go(f'url = "{u.url}/"')
    assert status == 502 and told["token"] == "tls_failed" and not u.requests


def test_a_certificate_of_an_own_ca_is_trusted_when_told(go, upstream, certs):
    u = upstream(tls=certs.server("127.0.0.1"))
    status, told = go(f'url = "{u.url}/", ca = "{certs.ca}"')
    assert status == 200 and told["body"] == "hello"


def test_the_name_is_checked_and_may_be_given(gateway, upstream, certs):
    u = upstream(tls=certs.server("api.example.test"))
    g = gateway(config(f'url = "{u.url}/", ca = "{certs.ca}"', routes=f'''
      {{ "named", path = "/named", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("{u.url}/", {{ ca = "{certs.ca}", server_name = "api.example.test" }})) end }} }} }},
      {{ "any", path = "/any", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("{u.url}/", {{ verify = false }})) end }} }} }},'''))
    assert g.ask(target="/any").status == 200
    assert g.ask(target="/go").json()["token"] == "tls_failed"
    assert g.ask(target="/named").status == 200
    assert g.ask(target="/go").json()["token"] == "tls_failed"  # a trusted or unchecked connection is not its


def test_a_connection_is_good_for_the_name_that_was_checked_alone(gateway, upstream, certs, dns):  # noqa: F811
    u = upstream(tls=certs.server("a.example.test"))
    d = dns({"a.example.test": "127.0.0.1", "b.example.test": "127.0.0.1"})
    g = gateway(config(f'url = "https://a.example.test:{u.port}/", ca = "{certs.ca}"', f'resolver = {{ servers = "{d.address}" }},', f'''
      {{ "b", path = "/b", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("https://b.example.test:{u.port}/", {{ ca = "{certs.ca}" }})) end }} }} }},'''))
    assert g.ask(target="/go").status == 200
    assert g.ask(target="/b").json()["token"] == "tls_failed"


def test_a_client_certificate_is_shown(go, upstream, certs):
    cert, key = certs.pem("client.example.test")
    u = upstream(tls=certs.server("127.0.0.1", client_ca=True))
    status, told = go(f'url = "{u.url}/", ca = "{certs.ca}", cert = "{cert}", key = "{key}"')
    assert status == 200, told


# ---- redirects -----------------------------------------------------------------------------------


def test_redirects_are_given_as_they_are_unless_asked_for(gateway, upstream):
    def handler(request, wire):
        if request.target == "/a/b":
            return answer(302, [("location", "../c?d")], b"see there")
        return answer(body=request.method.encode() + b" " + request.target.encode())

    u = upstream(handler)
    g = gateway(config(f'url = "{u.url}/a/b"', routes=f'{{ "follow", path = "/follow", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.post("{u.url}/a/b", {{ body = "x", redirects = 2 }})) end }} }} }},'))
    assert g.ask(target="/go").json()["status"] == 302
    assert g.ask(target="/follow").json() | {"odd": None} == {"status": 200, "body": "GET /c?d", "url": f"{u.url}/c?d", "odd": None}
    assert [r.method for r in u.requests] == ["GET", "POST", "GET"] and u.last.body == b""


def test_credentials_stay_with_their_host(go, upstream):
    there = upstream()
    here = upstream(lambda request, wire: answer(307, [("location", f"{there.url}/x")]))
    status, _ = go(f'url = "{here.url}/", method = "POST", body = "kept", redirects = 1, headers = {{ authorization = "secret", cookie = "a=b", ["x-a"] = "1" }}')
    assert status == 200 and here.last.headers.get("authorization") == "secret"
    assert there.last.method == "POST" and there.last.body == b"kept" and there.last.headers.get("x-a") == "1"
    assert "authorization" not in there.last.headers and "cookie" not in there.last.headers


@pytest.mark.parametrize("location,token", [("/again", "too_many_redirects"), ("ftp://x/", "bad_redirect"), ("http://unix:/run/x:/", "bad_redirect")])
def test_redirects_that_lead_nowhere(go, upstream, location, token):
    u = upstream(lambda request, wire: answer(302, [("location", location)]))
    status, told = go(f'url = "{u.url}/", redirects = 3')
    assert status == 502 and told["token"] == token


# ---- streams ---------------------------------------------------------------------------------------


STREAM = """
{ "count", path = "/count", plugins = { { on_request = function(x)
    local r, err = mg.http.get("%(url)s/", { stream = true })
    if not r then return x:respond(502, err) end
    local n = 0
    for piece in r:each() do n = n + #piece end
    return x:respond(200, tostring(n))
  end } } },
{ "first", path = "/first", plugins = { { on_request = function(x)
    local r = mg.http.get("%(url)s/", { stream = true })
    local piece = r:read()
    r:close()
    return x:respond(200, piece:sub(1, 5))
  end } } },
{ "cut", path = "/cut", plugins = { { on_request = function(x)
    local r = mg.http.get("%(url)s/cut", { stream = true })
    local got = r:read()
    local none, err = r:read()
    return x:respond(200, { got = got, none = none == nil, err = err })
  end } } },
{ "up", path = "/up", plugins = { { on_request = function(x)
    local r, err = mg.http.post("%(url)s/up", { body = function(s) for i = 1, 200 do if not s:write(("%%8d"):format(i):rep(8192)) then return end end end })
    return x:respond(r and 200 or 502, r and r.body or err)
  end } } },
"""


def test_an_answer_is_read_as_a_stream_with_backpressure(gateway, upstream):
    size = 64 * 1024 * 1024
    sent = []

    def handler(request, wire):
        if request.target == "/cut":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            raise Ended
        if request.target == "/up":
            return answer(body=b"%d" % len(request.body))
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            wire.send(b"x" * 65536)
            sent.append(1)

    u = upstream(handler)
    g = gateway(config(routes=STREAM % {"url": u.url}))
    assert g.ask(target="/count").body == b"%d" % size
    peak = g.rss_kb()
    assert peak < (600 if harness.IS_SANITIZED else 60) * 1024
    del sent[:]
    assert g.ask(target="/first").body == b"xxxxx"
    assert len(sent) < size // 65536  # the rest was not taken
    assert g.ask(target="/cut").json() == {"got": "half", "none": True, "err": "reset: closed within an answer"}
    assert g.ask(target="/up").body == b"%d" % (200 * 8 * 8192)


# ---- giving up, and much at once ----------------------------------------------------------------------


def test_a_client_that_leaves_takes_its_request_with_it(gateway, upstream):
    gone = threading.Event()

    def handler(request, wire):
        wire.rest()  # until the gateway closes
        gone.set()
        raise Ended

    u = upstream(handler)
    g = gateway(config(f'url = "{u.url}/"'))
    client = g.client()
    client.request(target="/go")
    u.wait(1)
    client.close()
    assert gone.wait(20)
    assert g.ask(target="/plain").status == 200


def test_an_exchange_that_takes_too_long_takes_its_request_with_it(gateway, upstream):
    gone = threading.Event()

    def handler(request, wire):
        wire.rest()
        gone.set()
        raise Ended

    u = upstream(handler)
    g = gateway(config(f'url = "{u.url}/"', 'timeouts = { exchange = "300ms" },'))
    assert g.ask(target="/go").status == 504
    assert gone.wait(20)


def test_a_reload_lets_a_request_finish_on_what_it_began_with(gateway, upstream):
    hold = threading.Event()

    def handler(request, wire):
        hold.wait(20)
        return answer(body=b"late")

    u = upstream(handler)
    named = f'upstreams = {{ u = {{ targets = {{ "{u.address}" }} }} }},'
    g = gateway(config('upstream = "u"', named))
    client = g.client()
    client.request(target="/go")
    u.wait(1)
    g.write(config('url = "http://127.0.0.1:1/"'))
    assert g.reload().status == 200
    hold.set()
    assert client.response().json()["body"] == "late"
    assert g.ask(target="/go").json()["token"] == "connect_refused"


def test_fifty_at_once_each_get_their_own(gateway, upstream):
    together = threading.Barrier(50)

    def handler(request, wire):
        together.wait(20)
        return answer(body=request.target.encode())

    u = upstream(handler)
    g = gateway(config(routes=f'{{ "n", path = "/n/{{n}}", plugins = {{ {{ on_request = function(x) return tell(x, mg.http.get("{u.url}/" .. x.request.params.n)) end }} }} }},'))
    clients = [g.client() for _ in range(50)]
    for i, client in enumerate(clients):
        client.request(target=f"/n/{i}")
    assert [c.response().json()["body"] for c in clients] == [f"/{i}" for i in range(50)]


def test_memory_stays_flat_over_thousands_of_requests(gateway, upstream):
    u = upstream(lambda request, wire: answer(body=b"x" * 20000))
    g = gateway(config(f'url = "{u.url}/"'))
    client = g.client()

    def many(n):
        for _ in range(n):
            assert client.ask(target="/go").status == 200

    many(1500)
    before = g.rss_kb()
    many(3000)
    assert harness.IS_SANITIZED or g.rss_kb() - before < 4096  # a sanitizer keeps what was freed for a while
    assert u.connections == 1


def test_misuse_is_an_error_that_names_the_place(gateway):
    g = gateway(config('url = "http://127.0.0.1:1/", tiemout = 3', routes='''
      { "log", path = "/log", plugins = { { on_request = function(x) return x:respond(200, "") end, on_log = function(x) mg.http.get("http://127.0.0.1:1/") end } } },'''))
    assert g.ask(target="/go").status == 500
    wait_for(lambda: "there is no option 'tiemout'" in g.log() and "gateway.lua:" in g.log())
    assert g.ask(target="/log").status == 200
    wait_for(lambda: "mg.http.request waits, and on_log" in g.log())


def test_the_plugin_of_the_page_asks_another_service(gateway, upstream, tmp_path):
    page = (ROOT / "docs/http-client.md").read_text()
    plugin = next(b for b in re.findall(r"```lua\n(.*?)```", page, re.S) if b.rstrip().endswith("return plugin"))
    folder = tmp_path / "gateway0" / "plugins"
    folder.mkdir(parents=True)
    (folder / "ext-auth.lua").write_text(plugin)
    auth = upstream(lambda request, wire: answer(200, body=b'{"user":"alice"}') if request.headers.get("authorization") == "yes" else answer(401))
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{
      {{ "r", path = "/*", upstream = "{u.url}", plugins = {{ {{ "ext-auth", url = "{auth.url}/check" }} }} }} }} }}""")
    assert g.ask(headers=[("authorization", "no")]).status == 403 and not u.requests
    assert g.ask(target="/a", headers=[("authorization", "yes")]).status == 200
    assert u.last.headers.get("x-user") == "alice" and auth.last.json() == {"method": "GET", "path": "/a"}
    auth.close()
    assert g.ask(headers=[("authorization", "yes")]).status == 503
