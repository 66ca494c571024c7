"""Which route a request takes, and what is sent upstream."""
import pytest

from harness import answer


@pytest.fixture
def routes(gateway, upstream):
    def start(routes, top="", **options):
        u = upstream(lambda r, w: answer(body=r.target.encode()))
        return gateway(f'return {{ listen = "127.0.0.1:0", {top} routes = {{ {routes.replace("UP", u.url)} }} }}', **options), u

    return start


def says(name):
    return f'plugins = {{ {{ "respond", status = 200, body = "{name}" }} }}'


def test_the_most_specific_route_wins_whatever_the_order(routes):
    g, u = routes(f"""
      {{ "any", path = "/*", {says("any")} }}, {{ "param", path = "/users/{{id}}", {says("param")} }},
      {{ "digits", path = "/users/{{id:[0-9]+}}", {says("digits")} }}, {{ "exact", path = "/users/me", {says("exact")} }},
      {{ "host", host = "api.test", path = "/*", {says("host")} }}, {{ "wild", host = "*.test", path = "/*", {says("wild")} }}""")
    assert g.ask("GET", "/users/me").body == b"exact"
    assert g.ask("GET", "/users/42").body == b"digits"
    assert g.ask("GET", "/users/x").body == b"param"
    assert g.ask("GET", "/else").body == b"any"
    assert g.ask("GET", "/users/me", host="api.test").body == b"host"
    assert g.ask("GET", "/x", host="API.TEST:8080").body == b"host"
    assert g.ask("GET", "/x", host="b.test").body == b"wild"


def test_404_is_apart_from_405_with_allow(routes):
    g, u = routes(f'{{ "r", path = "/r", methods = {{ "GET", "POST" }}, {says("r")} }}')
    assert g.ask("GET", "/nowhere").status == 404
    res = g.ask("DELETE", "/r")
    assert res.status == 405
    assert {m.strip() for m in res.headers.get("allow").split(",")} == {"GET", "HEAD", "POST"}
    assert g.ask("HEAD", "/r").status == 200


def test_a_prefix_ends_at_a_segment(routes):
    g, u = routes(f'{{ "r", path = "/old/*", {says("r")} }}')
    assert [g.ask("GET", t).status for t in ("/old", "/old/", "/old/x/y", "/older")] == [200, 200, 200, 404]


def test_headers_query_and_cookies_decide(routes):
    g, u = routes(f"""{{ "h", path = "/x", headers = {{ ["x-v"] = "2" }}, {says("header")} }},
      {{ "q", path = "/x", query = {{ v = {{ regex = "^[0-9]+$" }} }}, {says("query")} }},
      {{ "plain", path = "/x", {says("plain")} }}""")
    assert g.ask("GET", "/x", [("X-V", "2")]).body == b"header"
    assert g.ask("GET", "/x?v=12").body == b"query"
    assert g.ask("GET", "/x?v=ab").body == b"plain"


@pytest.mark.parametrize(
    "route, asked, sent",
    [
        ('path = "/api/*", strip_prefix = true', "/api/v1/x?q=1", "/v1/x?q=1"),
        ('path = "/api/*", strip_prefix = true', "/api", "/"),
        ('path = "/old/*", rewrite = "/v1/{*}"', "/old/a/b", "/v1/a/b"),
        ('path = "/u/{id}/x", rewrite = "/users/{id}"', "/u/a%20b/x?k=v", "/users/a%20b?k=v"),
        ('path = "/*"', "/a/./b/../c", "/a/c"),
        ('path = "/*"', "/a%2Fb/%7Ec", "/a%2Fb/~c"),
    ],
)
def test_the_path_that_is_sent(routes, route, asked, sent):
    g, u = routes(f'{{ "r", {route}, upstream = "UP" }}')
    assert g.ask("GET", asked).body == sent.encode()


def test_an_inline_urls_path_comes_first(routes):
    g, u = routes('{ "r", path = "/*", upstream = "UP/base" }')
    assert g.ask("GET", "/x").body == b"/base/x"


@pytest.mark.parametrize("mode, want", [("preserve", "shop.test"), ("fixed.test", "fixed.test"), ("upstream", None)])
def test_the_host_that_is_sent(routes, mode, want):
    g, u = routes(f'{{ "r", path = "/*", upstream = "UP", host_header = "{mode}" }}')
    g.ask("GET", "/", host="shop.test")
    assert u.wait()[0].headers.get("host") == (want or u.address)


def test_forwarding_fields_tell_the_upstream_who_asked(routes):
    g, u = routes('{ "r", path = "/*", upstream = "UP" }')
    g.ask("GET", "/", [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")], host="shop.test")
    h = u.wait()[0].headers
    assert h.get("x-forwarded-for") == "127.0.0.1"  # a stranger's word does not count
    assert h.get("x-forwarded-proto") == "http"
    assert h.get("x-forwarded-host") == "shop.test"
    assert "1.1 moongate" in h.get("via")


def test_a_trusted_proxy_is_believed(routes):
    g, u = routes('{ "r", path = "/*", upstream = "UP" }', top='trusted_proxies = { "127.0.0.0/8" },')
    g.ask("GET", "/", [("x-forwarded-for", "203.0.113.9, 127.0.0.5"), ("x-forwarded-proto", "https")])
    h = u.wait()[0].headers
    assert h.get("x-forwarded-for") == "203.0.113.9, 127.0.0.5, 127.0.0.1"
    assert h.get("x-forwarded-proto") == "https"


def test_forwarded_may_be_in_the_standard_form_or_absent(routes):
    g, u = routes('{ "r", path = "/*", upstream = "UP" }', top='forwarded = "rfc7239", via = "",')
    g.ask("GET", "/", host="shop.test")
    h = u.wait()[0].headers
    assert "for=127.0.0.1" in h.get("forwarded").replace('"', "")
    assert "x-forwarded-for" not in h and "via" not in h


def test_plain_requests_are_redirected_where_https_is_asked_for(gateway):
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", name = "r", redirect_https = true, redirect_port = 8443 }}, {{ "127.0.0.1:0", name = "p" }} }},
      routes = {{ {{ "s", path = "/s", redirect_https = 301, {says("s")} }}, {{ "o", path = "/o", {says("o")} }} }} }}""")
    res = g.ask("GET", "/a?b=c", host="shop.test:8080", name="r")
    assert (res.status, res.headers.get("location")) == (308, "https://shop.test:8443/a?b=c")
    res = g.ask("GET", "/s", host="shop.test", name="p")
    assert (res.status, res.headers.get("location")) == (301, "https://shop.test/s")
    assert g.ask("GET", "/o", name="p").status == 200


def test_a_weighted_group_shares_by_weight(gateway, upstream):
    ups = [upstream(), upstream()]
    g = gateway(f"""return {{ listen = "127.0.0.1:0", upstreams = {{ both = {{ targets = {{ "{ups[0].address}", {{ "{ups[1].address}", weight = 3 }} }} }} }},
      routes = {{ {{ "r", path = "/*", upstream = "both" }} }} }}""")
    client = g.client()
    for _ in range(40):
        assert client.ask().status == 200
    assert [len(u.requests) for u in ups] == [10, 30]


def test_a_dead_target_is_passed_over(gateway, upstream, free_port):
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", upstreams = {{ both = {{ targets = {{ "127.0.0.1:{free_port}", "{u.address}" }} }} }},
      routes = {{ {{ "r", path = "/*", upstream = "both" }} }} }}""")
    for _ in range(6):
        assert g.ask().status == 200
