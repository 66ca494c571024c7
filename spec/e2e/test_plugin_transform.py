"""The Lua plugins in the real gateway: request-transformer, response-transformer, respond; headers beside them."""
import json

import pytest

import harness
from harness import answer

JSON = [("content-type", "application/json")]


def entry(proxy, text, handler=None, **options):
    return proxy(handler, route=f"plugins = {{ {text} }},", **options)


# ---- request-transformer ------------------------------------------------------------------------------


DOCS = """{ "request-transformer",
  remove  = { headers = { "x-internal-*" }, query = { "debug" }, body = { "user.password" } },
  rename  = { headers = { ["x-old"] = "x-new" }, body = { ["items[*].uid"] = "id" } },
  set     = { headers = { ["x-client"] = "${client.ip}" },
              body = { ["meta.via"] = "gateway", ["meta.hops"] = 1, ["meta.tags"] = { "a", "b" } } },
  add     = { query = { page = "1" } },
  append  = { body = { ["user.roles"] = "guest" } } }"""


def test_the_pages_example_changes_what_the_upstream_gets(proxy):
    g, u = entry(proxy, DOCS)
    body = {"user": {"name": "é", "password": "p", "roles": ["r"]}, "items": [{"uid": 12345678901234567890}, {"uid": 2}]}
    res = g.ask("POST", "/p?debug=1&x=%2F", JSON + [("x-internal-a", "1"), ("X-Internal-B", "2"), ("x-old", "v"), ("x-client", "forged")],
                json.dumps(body).encode())
    assert res.status == 200
    h = u.last.headers
    assert "x-internal-a" not in h and "x-internal-b" not in h and "x-old" not in h
    assert h.get("x-new") == "v" and h.all("x-client") == ["127.0.0.1"]
    assert u.last.target == "/p?x=%2F&page=1"
    assert int(h.get("content-length")) == len(u.last.body)
    assert u.last.json() == {"user": {"name": "é", "roles": ["r", "guest"]}, "items": [{"id": 12345678901234567890}, {"id": 2}],
                             "meta": {"hops": 1, "tags": ["a", "b"], "via": "gateway"}}
    assert b"12345678901234567890" in u.last.body, "digits are kept"


def test_bodies_that_are_no_json_pass_or_are_refused(proxy):
    step = 'set = { body = { a = 1 } }'
    g, u = entry(proxy, f'{{ "request-transformer", {step} }}')
    for headers, body in [(JSON, b"{not json"), ([("content-type", "text/plain")], b'{"a":0}'), (JSON + [("content-encoding", "gzip")], b'{"a":0}'),
                          (JSON, b"")]:
        assert g.ask("POST", "/", headers, body).status == 200
        assert u.last.body == body
    assert g.ask("POST", "/", [("content-type", "application/vnd.x+json; charset=utf-8")], b' {"b" : 2}').status == 200
    assert u.last.body == b' {"b" : 2,"a":1}'
    g, u = entry(proxy, f'{{ "request-transformer", malformed = "refuse", {step} }}')
    assert g.ask("POST", "/", JSON, b"{not json").status == 400 and u.requests == []


def test_large_bodies_are_refused_or_pass(proxy):
    g, u = entry(proxy, '{ "request-transformer", body_limit = 50, set = { body = { a = 1 } } }')
    body = json.dumps({"b": "x" * 50}).encode()
    assert g.ask("POST", "/", JSON, body).status == 413 and u.requests == []
    g, u = entry(proxy, '{ "request-transformer", body_limit = 50, over = "skip", set = { body = { a = 1 } } }')
    assert g.ask("POST", "/", JSON, body).status == 200 and u.last.body == body


def test_a_body_in_chunks_is_changed(proxy):
    g, u = entry(proxy, '{ "request-transformer", set = { body = { a = "${request.headers.x-a}" } } }')
    client = g.client()
    client.request("PUT", "/", JSON + [("transfer-encoding", "chunked"), ("x-a", 'quote " and \\')])
    for piece in (b'{"b"', b":[1,", b"2]}"):
        client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    client.send(b"0\r\n\r\n")
    assert client.response().status == 200
    assert u.last.json() == {"b": [1, 2], "a": 'quote " and \\'}


def test_method_and_path_are_set(proxy):
    g, u = entry(proxy, '{ "request-transformer", method = "POST", path = "/v2${request.path}", set = { query = { q = "${request.query.q} b&c" } } }')
    assert g.ask(target="/x?q=a").status == 200
    assert u.last.method == "POST" and u.last.target.startswith("/v2/x?q=a") and "b%26c" in u.last.target


def test_a_value_that_a_field_cannot_hold_takes_the_clients_own_off(proxy):
    g, u = entry(proxy, '{ "request-transformer", set = { headers = { ["x-user"] = "${request.query.u}" } } }')
    for target in ("/?u=a%0d%0ax-admin:1", "/"):
        assert g.ask(target=target, headers=[("x-user", "root")]).status == 200
        assert "x-admin" not in u.last.headers and "x-user" not in u.last.headers, target


# ---- response-transformer -----------------------------------------------------------------------------


def test_an_answer_is_changed_for_the_statuses_that_are_named(proxy):
    def handler(request, wire):
        return answer(404 if request.target == "/missing" else 200, JSON + [("server", "x"), ("etag", '"1"'), ("x-powered-by", "y")],
                      b'{"debug":1,"items":[{"uid":7},{"uid":8}]}')

    g, _ = entry(proxy, """{ "response-transformer", if_status = "2xx",
      remove = { headers = { "server", "x-powered-by" }, body = { "debug" } },
      rename = { body = { ["items[*].uid"] = "id" } },
      set    = { headers = { ["x-route"] = "${route.id}" } } }""", handler)
    client = g.client()
    res = client.ask()
    assert res.json() == {"items": [{"id": 7}, {"id": 8}]} and int(res.headers.get("content-length")) == len(res.body)
    assert "server" not in res.headers and "x-powered-by" not in res.headers
    assert res.headers.get("x-route") == "all" and res.headers.get("etag") == 'W/"1"'
    res = client.ask(target="/missing")
    assert res.json()["debug"] == 1 and res.headers.get("server") == "x" and "x-route" not in res.headers
    assert client.ask().status == 200


def test_answers_without_a_body_and_chunked_ones(proxy):
    def handler(request, wire):
        if request.method == "HEAD":
            return answer(headers=JSON + [("content-length", "9")])
        if request.target == "/none":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n")
        wire.send(b"3\r\n:1}\r\n0\r\n\r\n")

    g, _ = entry(proxy, '{ "response-transformer", status = 203, add = { body = { b = 2 } }, set = { headers = { ["x-t"] = "1" } } }', handler)
    client = g.client()
    res = client.ask()
    assert res.status == 203 and res.json() == {"a": 1, "b": 2}
    res = client.ask("HEAD")
    assert res.headers.get("x-t") == "1"
    assert client.ask().json() == {"a": 1, "b": 2}


def test_the_gateways_own_answers_pass_it_too(proxy):
    g, u = entry(proxy, '{ "response-transformer", if_status = "500-599", set = { headers = { ["x-sorry"] = "1" }, body = { detail = "sorry" } } }')
    u.close()
    res = g.ask()
    assert res.status >= 502 and res.headers.get("x-sorry") == "1" and res.json()["detail"] == "sorry"


def test_an_answer_that_says_json_and_is_none(proxy):
    handler = lambda r, w: answer(headers=JSON, body=b"<html>")
    g, _ = entry(proxy, '{ "response-transformer", set = { body = { a = 1 } } }', handler)
    assert g.ask().body == b"<html>"
    g.wait_log("is not")
    g, _ = entry(proxy, '{ "response-transformer", malformed = "refuse", set = { body = { a = 1 } } }', handler)
    assert g.ask().status == 502


# ---- respond --------------------------------------------------------------------------------------------


def test_answers_without_an_upstream(gateway):
    g = gateway("""return { listen = "127.0.0.1:0", consumers = { a = { keys = "k" } }, routes = {
      { "json", path = "/json/{id}", plugins = { { "key-auth", anonymous = "a", when = function(x) return true end },
          { "respond", json = { hello = "${consumer.name|stranger}", path = "${request.path}", id = "${request.params.id}", n = 1, list = { true, "x" } } } } },
      { "text", path = "/text", plugins = { { "respond", status = 201, body = "hi ${request.query.n|you}", headers = { ["x-a"] = "${request.id}", ["x-b"] = "${request.query.none}" } } } },
      { "down", path = "/down", plugins = { { "respond", status = 503, error = "Down until ${request.query.t}.", headers = { ["retry-after"] = "600" } } } },
      { "empty", path = "/empty", plugins = { { "respond", status = 204 } } },
      { "slow", path = "/slow", plugins = { { "respond", body = "late", delay = "100ms" } } } } }""")
    client = g.client()
    res = client.ask(target="/json/a%22b")
    assert res.headers.get("content-type") == "application/json"
    assert res.json() == {"hello": "a", "path": "/json/a%22b", "id": 'a"b', "n": 1, "list": [True, "x"]}
    res = client.ask("POST", "/text?n=moon", body=b"ignored")
    assert (res.status, res.body) == (201, b"hi moon") and len(res.headers.get("x-a")) == 32 and "x-b" not in res.headers
    assert res.headers.get("content-type").startswith("text/plain")
    res = client.ask(target="/down?t=noon")
    assert res.status == 503 and res.json()["detail"] == "Down until noon." and res.headers.get("retry-after") == "600"
    assert res.headers.get("content-type") == "application/problem+json"
    assert client.ask(target="/empty").status == 204
    assert client.ask("HEAD", "/text").headers.get("content-length") == "6"
    assert client.ask(target="/slow").body == b"late"


def test_a_mock_for_some_requests(proxy):
    g, u = entry(proxy, '{ "respond", body = "mock", when = function(x) return x.request.headers["x-mock"] == "1" end }')
    assert g.ask(headers=[("x-mock", "1")]).body == b"mock" and u.requests == []
    assert g.ask().body == b"hello"


# ---- headers ----------------------------------------------------------------------------------------------


def test_the_headers_plugin_in_the_order_of_its_page(proxy):
    g, u = proxy(lambda r, w: answer(headers=[("server", "up"), ("x-frame-options", "ALLOW"), ("x-old", "1"), ("x-old", "2")]),
                 top='consumers = { alice = { keys = "k" } },', plugins="""{ "key-auth", anonymous = "alice" }, { "headers",
      request = {
        remove  = { "cookie", "x-internal-*" },
        rename  = { ["x-was"] = "x-is" },
        replace = { ["x-there"] = "replaced", ["x-not-there"] = "never" },
        set     = { ["x-user"] = "${consumer.name}", ["x-forwarded-route"] = "${route.id}", ["x-nobody"] = "${request.headers.nobody}" },
        default = { ["x-there"] = "default", ["x-new"] = "default" },
        add     = { ["x-more"] = { "a", "b" } },
      },
      response = {
        set     = { ["x-frame-options"] = "DENY", ["cache-control"] = "no-store" },
        rename  = { server = "x-backend", ["x-old"] = "x-now" },
        add     = { link = { "</a.css>; rel=preload", "</b.js>; rel=preload" } },
      } }""")
    res = g.ask(headers=[("cookie", "a=1"), ("x-internal-id", "1"), ("x-was", "1"), ("x-was", "2"), ("x-is", "0"), ("x-there", "old"),
                         ("x-user", "root"), ("x-user", "admin"), ("x-nobody", "me"), ("x-more", "z")])
    h = u.last.headers
    assert "cookie" not in h and "x-internal-id" not in h and "x-was" not in h and "x-not-there" not in h and "x-nobody" not in h
    assert h.all("x-is") == ["1", "2"] and h.all("x-there") == ["replaced"] and h.all("x-user") == ["alice"]
    assert h.get("x-forwarded-route") == "all" and h.get("x-new") == "default" and h.all("x-more") == ["z", "a", "b"]
    assert res.headers.all("x-frame-options") == ["DENY"] and res.headers.get("cache-control") == "no-store"
    assert res.headers.get("x-backend") == "up" and "server" not in res.headers and res.headers.all("x-now") == ["1", "2"]
    assert res.headers.all("link") == ["</a.css>; rel=preload", "</b.js>; rel=preload"]


@pytest.mark.parametrize("name", ["connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive"])
def test_fields_of_the_connection_are_the_gateways_own(tmp_path, name):
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0",\n plugins = {{ {{ "headers", request = {{ set = {{ ["{name}"] = "1" }} }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and name in said.stderr and "gateway.lua:2:" in said.stderr, said.stderr


def test_an_answer_without_its_body_does_not_tell_the_length_of_the_old_one(gateway, upstream):
    """RFC 9110, 8.6: a length in an answer to HEAD, or with 304, is the one that GET would have got."""

    def handler(request, wire):
        status = "304 Not Modified" if request.target == "/old" else "200 OK"
        return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 77\r\n\r\n".encode()

    u = upstream(handler)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", routes = {{
      {{ "changed", path = {{ "/new", "/old" }}, upstream = "{u.url}", plugins = {{
        {{ "response-transformer", add = {{ body = {{ a = "1" }} }} }} }} }},
      {{ "set", path = "/set/*", strip_prefix = true, upstream = "{u.url}", plugins = {{
        {{ on_response = function(x) x.response:set_body("abc") end }} }} }},
      {{ "plain", path = "/plain", upstream = "{u.url}" }} }} }}""")
    assert g.ask("HEAD", "/new").headers.get("content-length") is None
    assert g.ask("GET", "/old").headers.get("content-length") is None
    assert g.ask("GET", "/set/old").headers.get("content-length") is None
    assert g.ask("HEAD", "/set/x").headers.get("content-length") is None
    assert g.ask("HEAD", "/plain").headers.get("content-length") == "77"
