"""Which route gets a request, and what the upstream then receives: hosts, paths, conditions, rewriting."""
import re

import pytest

import harness

ROUTE_SEEN = '{ "headers", request = { set = { ["x-route"] = "${route.id}" } } }'


def config(routes, upstream=None, listen='"127.0.0.1:0"', top=""):
    """A gateway whose upstream is told the route's id."""
    lines = []
    for r in routes:
        to = "" if "upstream =" in r or not upstream else f', upstream = "{upstream.url}"'
        lines.append("    { " + r + to + " },")
    return ("return {\n  listen = { " + listen + ' }, admin = "127.0.0.1:0", ' + top + "\n  plugins = { " + ROUTE_SEEN
            + " },\n  routes = {\n" + "\n".join(lines) + "\n  },\n}\n")


def greet(request, wire):
    out = harness.answer(body=b"hello")
    return out[:-5] if request.method == "HEAD" else out


class Routes:
    """A gateway, its upstream, and the question which route gets a request."""

    def __init__(self, gateway, upstream, routes, **options):
        self.upstream = upstream(greet)
        self.gateway = gateway(config(routes, self.upstream, **options))
        self.client = self.gateway.client()

    def ask(self, method="GET", target="/", headers=(), body=None, host="localhost"):
        res = self.client.ask(method, target, headers, body, host)
        if res.headers.get("connection", "").lower() == "close":
            self.client.close()
            self.client = self.gateway.client()
        return res

    def route(self, method="GET", target="/", headers=(), host="localhost", body=None):
        """The id of the route, or the status of the refusal."""
        before = len(self.upstream.requests)
        res = self.ask(method, target, headers, body, host)
        if res.status != 200:
            assert len(self.upstream.requests) == before, "a refused request went upstream"
            return res.status
        return self.upstream.last.headers.get("x-route")


@pytest.fixture
def routes(gateway, upstream):
    return lambda *entries, **options: Routes(gateway, upstream, list(entries), **options)


# ---- host and path ------------------------------------------------------------------------------------


def test_the_most_specific_host_wins_wherever_it_stands(routes):
    r = routes('"any"', '"wild", host = "*.example.com"', '"deep", host = "*.eu.example.com"', '"api", host = "api.example.com"',
               '"port", host = "api.example.com:8443"')
    assert r.route(host="api.example.com") == "api"
    assert r.route(host="API.Example.COM.") == "api"
    assert r.route(host="api.example.com:8443") == "port"
    assert r.route(host="api.example.com:81") == "api"
    assert r.route(host="www.example.com") == "wild"
    assert r.route(host="a.b.example.com") == "wild"
    assert r.route(host="x.eu.example.com") == "deep"
    assert r.route(host="example.com") == "any"
    assert r.route(host="badexample.com") == "any"
    assert r.route(host="[::1]:9") == "any"


def test_literal_before_regex_before_parameter_before_wildcard(routes):
    r = routes('"rest", path = "/users/*"', '"name", path = "/users/{name}"', '"number", path = "/users/{id:[0-9]+}"',
               '"me", path = "/users/me"', '"file", path = "/files/{name}.json"', '"version", path = "/v{n:[0-9]+}/x"')
    assert r.route(target="/users/me") == "me"
    assert r.route(target="/users/42") == "number"
    assert r.route(target="/users/42a") == "name"
    assert r.route(target="/users/ann/cards") == "rest"
    assert r.route(target="/users/") == "rest"
    assert r.route(target="/users") == "rest"
    assert r.route(target="/usersx") == 404
    assert r.route(target="/files/a.json") == "file"
    assert r.route(target="/files/a.xml") == 404
    assert r.route(target="/v12/x") == "version"
    assert r.route(target="/vx/x") == 404


def test_a_prefix_ends_at_a_segment(routes):
    r = routes('"old", path = "/old/*"', '"exact", path = "/exact"')
    assert r.route(target="/old") == "old"
    assert r.route(target="/old/") == "old"
    assert r.route(target="/old/a/b?c=/older") == "old"
    assert r.route(target="/older") == 404
    assert r.route(target="/exact") == "exact"
    assert r.route(target="/exact/") == 404
    assert r.route(target="/Exact") == 404


def test_a_branch_that_leads_nowhere_gives_way_to_the_next(routes):
    r = routes('"a", path = "/a/{x}/end"', '"b", path = "/a/b/other"', '"c", host = "h.test", path = "/only"', '"d", path = "/all/*"')
    assert r.route(target="/a/b/end") == "a"
    assert r.route(target="/a/b/other") == "b"
    assert r.route(host="h.test", target="/all/x") == "d"
    assert r.route(host="h.test", target="/only") == "c"
    assert r.route(target="/only") == 404


def test_parameters_reach_plugins_decoded(routes):
    r = routes('"p", path = "/u/{id}/f/*", plugins = { { "headers", request = { set = { ["x-id"] = "${request.params.id}", '
               '["x-rest"] = "${request.params.*}" } } } }')
    assert r.route(target="/u/a%20b%2Fc/f/x/y%2Fz") == "p"
    assert r.upstream.last.headers.get("x-id") == "a b/c"
    assert r.upstream.last.headers.get("x-rest") == "x/y%2Fz"
    assert r.upstream.last.target == "/u/a%20b%2Fc/f/x/y%2Fz"


# ---- methods -----------------------------------------------------------------------------------------


def test_methods_and_405_with_allow(routes):
    r = routes('"read", path = "/x", methods = { "GET" }', '"write", path = "/x", methods = { "PUT", "PATCH" }',
               '"any", path = "/any"')
    assert r.route("GET", "/x") == "read"
    assert r.route("PUT", "/x", body=b"1") == "write"
    res = r.ask("DELETE", "/x")
    assert res.status == 405
    assert sorted(re.split(r",\s*", res.headers.get("allow"))) == ["GET", "HEAD", "PATCH", "PUT"]
    assert res.headers.get("content-type").startswith("application/problem+json") and res.json()["status"] == 405
    res = r.ask("GET", "/y")
    assert res.status == 404 and "allow" not in res.headers and res.json()["status"] == 404
    assert r.route("PURGE", "/any") == "any"
    assert r.upstream.last.method == "PURGE"
    assert r.route("BREW", "/any") == 501


def test_head_goes_where_get_goes_unless_a_route_names_it(routes):
    r = routes('"read", path = "/x", methods = { "GET" }', '"heads", path = "/y", methods = { "HEAD" }',
               '"gets", path = "/y", methods = { "GET" }')
    res = r.ask("HEAD", "/x")
    assert res.status == 200 and res.headers.get("content-length") == "5" and res.body == b""
    assert r.upstream.last.method == "HEAD" and r.upstream.last.headers.get("x-route") == "read"
    assert r.route("HEAD", "/y") == "heads"
    assert r.route("GET", "/y") == "gets"


def test_a_preflight_goes_where_the_request_that_it_asks_about_would_go(routes):
    r = routes('"gets", path = "/x", methods = { "GET" }', '"puts", path = "/x", methods = { "PUT" }')
    ask = lambda method: [("origin", "https://a.test"), ("access-control-request-method", method)]
    assert r.route("OPTIONS", "/x", ask("PUT")) == "puts"
    assert r.route("OPTIONS", "/x", ask("GET")) == "gets"
    assert r.route("OPTIONS", "/x", ask("DELETE")) == 405
    assert r.route("OPTIONS", "/x", [("origin", "https://a.test")]) == 405
    assert r.upstream.last.method == "OPTIONS"


# ---- other conditions -----------------------------------------------------------------------------------


def test_headers_query_and_cookies_as_conditions(routes):
    r = routes('"plain", path = "/x"',
               '"beta", path = "/x", headers = { ["X-Beta"] = true }',
               '"gold", path = "/x", headers = { ["x-beta"] = true, ["x-plan"] = { regex = "^gold" } }',
               '"v2", path = "/x", query = { v = "2" }',
               '"session", path = "/x", cookies = { sid = true }',
               '"anonymous", path = "/y", headers = { authorization = false }')
    assert r.route(target="/x") == "plain"
    assert r.route(target="/x", headers=[("x-beta", "")]) == "beta"
    assert r.route(target="/x", headers=[("X-BETA", "1"), ("x-plan", "golden")]) == "gold"
    assert r.route(target="/x", headers=[("x-beta", "1"), ("x-plan", "old gold")]) == "beta"
    assert r.route(target="/x?v=2") == "v2"
    assert r.route(target="/x?v=1&v=2") == "v2"
    assert r.route(target="/x?%76=%32") == "v2"
    assert r.route(target="/x?v=22") == "plain"
    assert r.route(target="/x", headers=[("cookie", "a=b; sid=7")]) == "session"
    assert r.route(target="/x", headers=[("cookie", "xsid=7")]) == "plain"
    assert r.route(target="/y") == "anonymous"
    assert r.route(target="/y", headers=[("authorization", "Basic eDp5")]) == 404


def test_client_addresses_as_conditions_believe_trusted_proxies_alone(routes, gateway, upstream):
    entries = ('"inside", path = "/x", client = { "10.0.0.0/8", "fd00::/8" }', '"here", path = "/x", client = "127.0.0.1"',
               '"rest", path = "/x"')
    r = routes(*entries)
    assert r.route(target="/x") == "here"
    assert r.route(target="/x", headers=[("x-forwarded-for", "10.1.2.3")]) == "here"
    r = Routes(gateway, upstream, list(entries), top='trusted_proxies = { "127.0.0.1" },')
    assert r.route(target="/x", headers=[("x-forwarded-for", "10.1.2.3")]) == "inside"
    assert r.route(target="/x", headers=[("x-forwarded-for", "fd12::1")]) == "inside"
    assert r.route(target="/x", headers=[("x-forwarded-for", "203.0.113.1")]) == "rest"


def test_scheme_and_listener_as_conditions(gateway, upstream, certs):
    u = upstream()
    cert, key = certs.pem("localhost")
    g = gateway(config(['"tls", path = "/x", scheme = "https"', '"plain", path = "/x", scheme = "http"',
                        '"second", path = "/y", listener = "b"', '"rest", path = "/y"'], u,
                       listen=f'{{ "127.0.0.1:0", name = "a" }}, {{ "127.0.0.1:0", name = "b" }}, '
                              f'{{ "127.0.0.1:0", name = "s", tls = {{ cert = "{cert}", key = "{key}" }} }}'))
    assert g.ask(target="/x", name="a").status == 200 and u.last.headers.get("x-route") == "plain"
    assert g.ask(target="/x", name="s", tls=certs.client()).status == 200 and u.last.headers.get("x-route") == "tls"
    assert u.last.headers.get("x-forwarded-proto") == "https"
    assert g.ask(target="/y", name="b").status == 200 and u.last.headers.get("x-route") == "second"
    assert g.ask(target="/y", name="a").status == 200 and u.last.headers.get("x-route") == "rest"


# ---- URIs ---------------------------------------------------------------------------------------------


def test_what_is_matched_is_what_is_sent(routes):
    r = routes('"admin", path = "/admin/*"', '"user", path = "/~user"', '"one", path = "/one/{seg}"', '"caf", path = "/café"',
               '"rest", path = "/pub/*"')
    for target, route, sent in [
        ("/pub/a%2Fb", "rest", "/pub/a%2Fb"),
        ("/pub/a%2fb", "rest", "/pub/a%2Fb"),
        ("/one/a%2Fb", "one", "/one/a%2Fb"),
        ("/%7Euser", "user", "/~user"),
        ("/caf%c3%a9", "caf", "/caf%C3%A9"),
        ("/pub/../admin/x", "admin", "/admin/x"),
        ("/pub/%2e%2e/admin/x", "admin", "/admin/x"),
        ("/pub/%2E./admin", "admin", "/admin"),
        ("/./admin/./y/.", "admin", "/admin/y/"),
        ("/%61dmin/x", "admin", "/admin/x"),
        ("/pub/a%20b?q=%2e%2e/%7E", "rest", "/pub/a%20b?q=%2e%2e/%7E"),
        ("http://localhost/pub/x?y", "rest", "/pub/x?y"),
        ("/pub/x?", "rest", "/pub/x?"),
        ("/pub//x", "rest", "/pub//x"),
    ]:
        assert (r.route(target=target), r.upstream.last.target if r.upstream.requests else None) == (route, sent), target


def test_targets_that_make_no_sense_are_refused(routes):
    r = routes('"all", path = "/*"')
    for target in ["/%00", "/a%00b", "/%zz", "/%2", "/../admin/x", "/pub/%2e%2e/%2e%2e/admin", "/a#b", "x", "/a\x7fb"]:
        assert r.route(target=target) == 400, target
    assert r.upstream.requests == []


# ---- what is sent ---------------------------------------------------------------------------------------


def test_rewriting_stripping_and_base_paths(routes, upstream):
    base = upstream()
    r = routes('"rewrite", path = "/users/{id}/*", rewrite = "/v1/{id}/{*}"',
               '"wild", path = "/old/*", rewrite = "/v1/{*}"',
               '"strip", path = "/api/*", strip_prefix = true',
               f'"base", path = "/base/*", upstream = "{base.url}/root/"',
               f'"both", path = "/both/*", strip_prefix = true, upstream = "{base.url}/root"',
               '"fixed", path = "/fixed", rewrite = "/other/place"')
    for target, sent in [("/users/7/cards/a%2Fb?x=1", "/v1/7/cards/a%2Fb?x=1"), ("/old/a/b", "/v1/a/b"), ("/old", "/v1/"),
                         ("/api/things?x=1", "/things?x=1"), ("/api", "/"), ("/api/", "/"), ("/fixed?q", "/other/place?q"),
                         ("/users/a%2F..%2Fb/x", "/v1/a%2F..%2Fb/x"), ("/users/a%3Fb/x", "/v1/a%3Fb/x")]:
        assert r.ask(target=target).status == 200
        assert r.upstream.last.target == sent, target
    for target, sent in [("/base/x", "/root/base/x"), ("/both/x?y", "/root/x?y"), ("/both", "/root/")]:
        assert r.ask(target=target).status == 200
        assert base.last.target == sent, target


def test_the_host_that_the_upstream_gets(gateway, upstream):
    u = upstream()
    g = gateway(f"""
return {{ listen = "127.0.0.1:0",
  upstreams = {{ named = {{ targets = {{ "localhost:{u.port}" }} }} }},
  routes = {{
    {{ "keep", path = "/keep", upstream = "named" }},
    {{ "up", path = "/up", upstream = "named", host_header = "upstream" }},
    {{ "fixed", path = "/fixed", upstream = "named", host_header = "inner.test:81" }},
    {{ "url", path = "/url", upstream = "{u.url}", host_header = "upstream" }},
  }} }}""")
    for target, host in [("/keep", "Pub.Test:8080"), ("/up", f"localhost:{u.port}"), ("/fixed", "inner.test:81"), ("/url", u.address)]:
        assert g.ask(target=target, host="Pub.Test:8080").status == 200
        assert [h.lower() for h in u.last.headers.all("host")] == [host.lower()], target
        assert u.last.headers.get("x-forwarded-host").lower() == "pub.test:8080"


# ---- redirects ---------------------------------------------------------------------------------------


def test_plain_requests_are_redirected_to_https(gateway, upstream, certs):
    u = upstream()
    cert, key = certs.pem("localhost")
    g = gateway(config(['"all", path = "/*"'], u, listen=f'''
      {{ "127.0.0.1:0", name = "default", redirect_https = true }},
      {{ "127.0.0.1:0", name = "chosen", redirect_https = 301, redirect_port = 8443 }},
      {{ "127.0.0.1:0", name = "s", tls = {{ cert = "{cert}", key = "{key}" }} }}'''))
    res = g.ask(target="/a/../b%2Fc?x=1", host="Example.com:8080", name="default")
    assert res.status == 308 and res.headers.get("location") == "https://example.com/b%2Fc?x=1"
    res = g.ask("POST", "/", body=b"12345", host="example.com", name="chosen")
    assert res.status == 301 and res.headers.get("location") == "https://example.com:8443/"
    res = g.ask(target="/", host="[::1]:80", name="chosen")
    assert res.headers.get("location") == "https://[::1]:8443/"
    assert u.requests == []
    assert g.ask(target="/", name="s", tls=certs.client()).status == 200


def test_a_route_redirects_plain_requests_alone(gateway, upstream, certs):
    u = upstream()
    cert, key = certs.pem("localhost")
    g = gateway(config(['"secure", path = "/secure/*", redirect_https = 307', '"open", path = "/*"'], u, listen=f'''
      {{ "127.0.0.1:0", name = "plain" }}, {{ "127.0.0.1:0", name = "s", tls = {{ cert = "{cert}", key = "{key}" }} }}''',
                       top='trusted_proxies = { "127.0.0.1" },'))
    res = g.ask(target="/secure/x", host="h.test", name="plain")
    assert res.status == 307 and res.headers.get("location") == "https://h.test/secure/x"
    assert g.ask(target="/open", name="plain").status == 200
    assert g.ask(target="/secure/x", name="s", tls=certs.client()).status == 200
    # a proxy before us that has ended TLS says so
    assert g.ask(target="/secure/x", name="plain", headers=[("x-forwarded-proto", "https")]).status == 200


# ---- the command line says the same ----------------------------------------------------------------------


ROUTES = ['"health", path = "/health", methods = { "GET" }', '"users", host = "api.test", path = "/users/{id:[0-9]+}", methods = { "GET" }',
          '"profile", host = "api.test", path = "/users/{name}"', '"beta", host = "api.test", path = "/users/{name}", headers = { ["x-beta"] = true }',
          '"tenants", host = "*.api.test", path = "/t/*"', '"old", path = "/old/*", rewrite = "/v1/{*}"']


def test_explain_and_routes_agree_with_the_gateway(routes):
    r = routes(*ROUTES)
    path = r.gateway.config
    listed = harness.run("routes", "-c", path)
    assert listed.returncode == 0, listed.stderr
    for name in ("health", "users", "profile", "beta", "tenants", "old"):
        assert re.search(rf"^\W*{name}\b", listed.stdout, re.M), listed.stdout
    for method, host, target, headers in [
        ("GET", "api.test", "/users/7", []), ("PUT", "api.test", "/users/7", []), ("GET", "api.test", "/users/ann", []),
        ("GET", "api.test", "/users/ann", [("x-beta", "1")]), ("GET", "x.api.test", "/t/../t/y", []), ("HEAD", "x", "/health", []),
        ("GET", "www.test", "/old", []), ("GET", "www.test", "/older", []), ("POST", "x", "/health", []),
        ("GET", "api.test", "/users/%37", []),
    ]:
        got = r.route(method, target, headers, host)
        words = [w for k, v in headers for w in ("-H", f"{k}: {v}")]
        said = harness.run("explain", "-c", path, method, f"http://{host}{target}", *words)
        text = said.stdout + said.stderr
        if isinstance(got, str):
            assert said.returncode == 0, text
            assert re.search(rf"\broute:?\s+\W*{got}\b", text), (got, text)
        else:
            assert str(got) in text, (got, text)


def test_two_routes_that_cannot_be_told_apart_are_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text(config(['"one", path = "/a/{x}", methods = { "GET", "PUT" }, upstream = "http://h:1"',
                            '"two", path = "/a/{y}", methods = { "PUT", "GET" }, upstream = "http://h:2"']))
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "one" in said.stderr and "two" in said.stderr and ":6:" in said.stderr, said.stderr


def test_options_star_reaches_a_route_without_a_path(routes):
    r = routes('"all"')
    r.client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert r.client.response().status == 200
    assert (r.upstream.last.method, r.upstream.last.target) == ("OPTIONS", "*")


def test_routing_costs_no_more_with_many_routes(routes):
    """10,000 routes are served, found and told apart; the bench counts what it costs."""
    many = [f'"r{i}", path = "/s{i % 100}/t{i}/{{id}}"' for i in range(10000)]
    r = routes(*many)
    for i in (0, 1, 4711, 9999):
        assert r.route(target=f"/s{i % 100}/t{i}/x") == f"r{i}"
    assert r.route(target="/s1/t0/x") == 404


# ---- forwarding fields, groups of targets --------------------------------------------------------------


@pytest.fixture
def forwards(gateway, upstream):
    """One route that takes all; `top` goes to the top of the config."""
    def start(top=""):
        u = upstream()
        return gateway(f'return {{ listen = "127.0.0.1:0", {top} routes = {{ {{ "r", path = "/*", upstream = "{u.url}" }} }} }}'), u

    return start


def test_forwarding_fields_tell_the_upstream_who_asked(forwards):
    g, u = forwards()
    g.ask("GET", "/", [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")], host="shop.test")
    h = u.wait()[0].headers
    assert h.get("x-forwarded-for") == "127.0.0.1"  # a stranger's word does not count
    assert h.get("x-forwarded-proto") == "http"
    assert h.get("x-forwarded-host") == "shop.test"
    assert "1.1 moongate" in h.get("via")


def test_a_trusted_proxy_is_believed(forwards):
    g, u = forwards(top='trusted_proxies = { "127.0.0.0/8" },')
    g.ask("GET", "/", [("x-forwarded-for", "203.0.113.9, 127.0.0.5"), ("x-forwarded-proto", "https")])
    h = u.wait()[0].headers
    assert h.get("x-forwarded-for") == "203.0.113.9, 127.0.0.5, 127.0.0.1"
    assert h.get("x-forwarded-proto") == "https"


def test_forwarded_may_be_in_the_standard_form_or_absent(forwards):
    g, u = forwards(top='forwarded = "rfc7239", via = "",')
    g.ask("GET", "/", host="shop.test")
    h = u.wait()[0].headers
    assert "for=127.0.0.1" in h.get("forwarded").replace('"', "")
    assert "x-forwarded-for" not in h and "via" not in h


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
