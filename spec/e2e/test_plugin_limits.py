"""rate-limit over workers and reloads, request-size-limit on the wire, ip-restriction, cors, headers, request-id."""
import threading

from harness import answer


def test_a_rate_limit_is_exact_over_all_workers(proxy):
    g, u = proxy(plugins='{ "rate-limit", limit = 50, window = "1h" }', workers=2)
    statuses = []

    def some():
        for _ in range(20):
            statuses.append(g.ask().status)

    threads = [threading.Thread(target=some) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == 50
    assert len(u.requests) == 50


def test_a_rate_limit_outlives_a_reload(proxy):
    g, u = proxy(plugins='{ "rate-limit", limit = 2, window = "1h" }')
    assert g.ask().status == 200
    g.write(g.config.read_text() + "\n")
    assert g.reload().status == 200
    second = g.ask()
    assert second.status == 200 and '"3600s";r=0;' in second.headers.get("ratelimit")
    third = g.ask()
    assert third.status == 429 and int(third.headers.get("retry-after")) in range(1, 3601)
    assert len(u.requests) == 2


def test_a_chunked_body_is_cut_off_at_the_limit(proxy):
    g, u = proxy(plugins='{ "request-size-limit", body = 10 }')
    client = g.client()
    client.request("POST", "/", [("transfer-encoding", "chunked")])
    client.send(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
    assert client.response().status == 200
    assert u.wait(1)[0].body == b"helloworld"
    client.request("POST", "/", [("transfer-encoding", "chunked")])
    client.send(b"b\r\nhello world\r\n0\r\n\r\n")
    assert client.response().status == 413
    client.close()


def test_a_body_that_is_announced_too_large_is_never_asked_for(proxy):
    g, u = proxy(plugins='{ "request-size-limit", "1k" }')
    client = g.client()
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\nexpect: 100-continue\r\n\r\n")
    response = client.response()
    assert response.status == 413 and not response.interim
    client.close()
    assert not u.requests


def test_a_length_is_asked_for(proxy):
    g, u = proxy(plugins='{ "request-size-limit", require_length = true }')
    client = g.client()
    client.request("POST", "/", [("transfer-encoding", "chunked")])
    client.send(b"0\r\n\r\n")
    assert client.response().status == 411
    client.close()
    assert g.ask("POST", "/", body=b"x").status == 200


def test_addresses_are_told_apart(proxy):
    g, u = proxy(top='trusted_proxies = { "127.0.0.0/8" },', plugins='{ "ip-restriction", deny = { "192.0.2.0/24", "2001:db8::/32" } }')
    assert g.ask().status == 200
    assert g.ask(headers=[("x-forwarded-for", "192.0.2.77")]).status == 403
    assert g.ask(headers=[("x-forwarded-for", "2001:db8::1")]).status == 403
    assert g.ask(headers=[("x-forwarded-for", "192.0.3.77")]).status == 200
    assert len(u.requests) == 2


def test_a_preflight_stays_here_and_an_answer_is_decorated(proxy):
    g, u = proxy(plugins='{ "cors", origins = "https://a.example", credentials = true }, "key-auth"')
    preflight = g.ask("OPTIONS", "/x", [("origin", "https://a.example"), ("access-control-request-method", "PUT")])
    assert preflight.status == 204
    assert preflight.headers.get("access-control-allow-origin") == "https://a.example"
    refused = g.ask(headers=[("origin", "https://a.example")])
    assert refused.status == 401 and refused.headers.get("access-control-allow-origin") == "https://a.example"
    assert not u.requests


def test_headers_and_ids_on_the_wire(proxy):
    g, u = proxy(lambda request, wire: answer(headers=[("server", "secret"), ("x-a", "1")]),
                 plugins='{ "request-id", accept = "always" }, { "headers", request = { set = { ["x-route"] = "${route.id}" }, '
                         'remove = "x-internal-*" }, response = { remove = "server", rename = { ["x-a"] = "x-b" } } }')
    response = g.ask(headers=[("x-request-id", "abc-1"), ("x-internal-a", "1")])
    assert u.last.headers.all("x-request-id") == ["abc-1"]
    assert u.last.headers.get("x-route") == "all" and "x-internal-a" not in u.last.headers
    assert response.headers.get("x-request-id") == "abc-1"
    assert response.headers.get("x-b") == "1" and "server" not in response.headers and "x-a" not in response.headers
    assert g.ask(headers=[("x-request-id", "abc-2")], target="/").headers.get("x-request-id") == "abc-2"


def test_an_id_is_taken_over_from_a_trusted_proxy_alone(proxy):
    g, u = proxy(top='trusted_proxies = { "127.0.0.0/8" },', plugins='"request-id"')
    assert g.ask(headers=[("x-request-id", "abc-1")]).headers.get("x-request-id") == "abc-1"  # its own request, nobody else's
    assert g.ask(headers=[("x-request-id", "abc-2"), ("x-forwarded-for", "192.0.2.1")]).headers.get("x-request-id") == "abc-2"
    assert [r.headers.get("x-request-id") for r in u.requests] == ["abc-1", "abc-2"]
    g, u = proxy(top='trusted_proxies = { "192.0.2.0/24" },', plugins='"request-id"')
    assert g.ask(headers=[("x-request-id", "abc-1")]).headers.get("x-request-id") != "abc-1"
    assert u.last.headers.get("x-request-id") != "abc-1"


def test_a_preflight_may_be_the_upstreams_to_answer(proxy):
    g, u = proxy(lambda request, wire: answer(status=200, headers=[("allow", "PUT"), ("access-control-allow-origin", "*")]),
                 plugins='{ "cors", origins = "https://a.example", forward_preflight = true }')
    preflight = g.ask("OPTIONS", "/x", [("origin", "https://a.example"), ("access-control-request-method", "PUT")])
    assert preflight.status == 200 and preflight.headers.get("allow") == "PUT"
    assert preflight.headers.all("access-control-allow-origin") == ["https://a.example"]  # ours, in place of the upstream's
    assert u.last.method == "OPTIONS" and u.last.headers.get("origin") == "https://a.example"


def test_functions_say_who_is_counted_and_what_it_costs(proxy):
    g, u = proxy(plugins="""{ "rate-limit", limit = 5, window = "1h",
      by = function(x) return x.request.headers["x-tenant"] end,
      cost = function(x) return tonumber(x.request.headers["x-cost"]) end }""")

    def status(tenant, cost):
        return g.ask(headers=([("x-tenant", tenant)] if tenant else []) + [("x-cost", cost)]).status

    assert [status("a", "2"), status("a", "2"), status("a", "2"), status("a", "1")] == [200, 200, 429, 200]
    assert [status("b", "5"), status("b", "1"), status("b", "0")] == [200, 429, 200]
    assert [status(None, "5") for _ in range(4)] == [200] * 4  # nil: not counted
    assert len(u.requests) == 9
