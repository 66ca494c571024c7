"""rate-limit: exact over workers, by whatever it counts, and what it tells clients."""
import threading

import pytest

import harness
from harness import wait_for

KEYS = """consumers = { alice = { groups = { "gold" }, keys = { "k-a1", "k-a2" } }, bob = { keys = "k-b" }, carol = { groups = { "staff" }, keys = "k-c" } },"""


def key(k):
    return [("x-api-key", k)]


def many(g, n, threads=8, **options):
    """n requests by several clients at once, on connections of their own; the statuses."""
    statuses, left, lock = [], [n], threading.Lock()

    def one():
        client = g.client()
        while True:
            with lock:
                if not left[0]:
                    break
                left[0] -= 1
            statuses.append(client.ask(**options).status)
        client.close()

    workers = [threading.Thread(target=one, daemon=True) for _ in range(threads)]
    for t in workers:
        t.start()
    for t in workers:
        t.join(harness.PATIENCE)
    assert len(statuses) == n
    return statuses


@pytest.mark.parametrize("algorithm", ["token-bucket", "sliding-window"])
def test_exactly_the_limit_passes_on_three_workers(proxy, algorithm):
    g, u = proxy(top=KEYS, plugins=f'"key-auth", {{ "rate-limit", limit = 100, window = "1h", by = "consumer", algorithm = "{algorithm}" }}', workers=3)
    statuses = many(g, 300, headers=key("k-a1"))
    assert statuses.count(200) == 100 and statuses.count(429) == 200
    assert len(u.requests) == 100
    assert g.ask(headers=key("k-a2")).status == 429, "another key of the same consumer"
    assert many(g, 120, headers=key("k-b")).count(200) == 100


def test_tokens_come_back(proxy):
    g, u = proxy(plugins='{ "rate-limit", limit = 4, window = "400ms" }')
    client = g.client()
    assert [client.ask().status for _ in range(5)] == [200] * 4 + [429]
    wait_for(lambda: client.ask().status == 200, "a token")
    refused = g.ask()
    assert refused.status in (200, 429)


def test_several_limits_at_once_and_what_is_given_back(proxy):
    g, u = proxy(plugins='{ "rate-limit", limits = { { 5, "1h", name = "hourly" }, { 3, "30m", name = "half" } } }')
    client = g.client()
    first = client.ask()
    assert first.headers.get("ratelimit-policy") == '"hourly";q=5;w=3600, "half";q=3;w=1800'
    assert first.headers.get("ratelimit").startswith('"half";r=2;t=')
    assert [client.ask().status for _ in range(4)] == [200, 200, 429, 429]
    refused = client.ask()
    assert refused.status == 429 and '"half";r=0;' in refused.headers.get("ratelimit")
    assert 1 <= int(refused.headers.get("retry-after")) <= 1800
    assert refused.headers.get("content-type").startswith("application/problem+json")
    assert len(u.requests) == 3


@pytest.mark.parametrize("by, one, other", [
    ('"header:x-tenant"', {"headers": [("x-tenant", "a")]}, {"headers": [("x-tenant", "b")]}),
    ('"header:x-tenant"', {}, {"headers": [("x-tenant", "b")]}),
    ('"${request.headers.x-tenant} ${request.method}"', {"method": "GET"}, {"method": "PUT", "body": b"1"}),
    ('function(x) return x.request.query.k end', {"target": "/?k=1"}, {"target": "/?k=2"}),
])
def test_whom_it_counts(proxy, by, one, other):
    g, _ = proxy(plugins=f'{{ "rate-limit", limit = 2, window = "1h", by = {by} }}')
    assert [g.ask(**one).status for _ in range(3)] == [200, 200, 429]
    assert [g.ask(**other).status for _ in range(3)] == [200, 200, 429]


def test_a_function_that_gives_nothing_is_not_counted(proxy):
    g, _ = proxy(plugins='{ "rate-limit", limit = 1, window = "1h", by = function(x) return x.request.headers["x-k"] end }')
    assert [g.ask().status for _ in range(3)] == [200] * 3
    res = g.ask()
    assert "ratelimit" not in res.headers


def test_addresses_count_and_ipv6_by_network(proxy):
    g, _ = proxy(top='trusted_proxies = { "127.0.0.1" },', plugins='{ "rate-limit", limit = 1, window = "1h", by = "ip" }')
    ask = lambda ip: g.ask(headers=[("x-forwarded-for", ip)]).status
    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [200, 429, 200]
    assert [ask("2001:db8:0:1::1"), ask("2001:db8:0:1:ffff::2"), ask("2001:db8:0:2::1")] == [200, 429, 200]


def test_credentials_and_tiers(proxy):
    g, _ = proxy(top=KEYS, plugins='"key-auth", { "rate-limit", by = "credential", limit = 1, window = "1h", '
                 'tiers = { gold = { limit = 3, window = "1h" }, staff = {} } }')
    assert [g.ask(headers=key("k-a1")).status for _ in range(4)] == [200, 200, 200, 429]
    assert [g.ask(headers=key("k-a2")).status for _ in range(4)] == [200, 200, 200, 429]
    assert [g.ask(headers=key("k-b")).status for _ in range(2)] == [200, 429]
    assert [g.ask(headers=key("k-c")).status for _ in range(9)] == [200] * 9


def test_costs(proxy):
    g, _ = proxy(plugins='{ "rate-limit", limit = 10, window = "1h", cost = function(x) return tonumber(x.request.headers["x-cost"]) end }')
    ask = lambda n: g.ask(headers=[("x-cost", str(n))])
    assert [ask(n).status for n in (4, 4, 4, 2, 1)] == [200, 200, 429, 200, 429]
    look = ask(0)
    assert look.status == 200 and ";r=0;" in look.headers.get("ratelimit")


def test_names_join_routes(gateway, upstream):
    u = upstream()
    limit = '{ "rate-limit", limit = 2, window = "1h" MORE }'
    routes = ", ".join(f'{{ "{n}", path = "/{n}", upstream = "{u.url}", plugins = {{ {limit.replace("MORE", more)} }} }}'
                       for n, more in [("a", ""), ("b", ""), ("c", ', name = "joined"'), ("d", ', name = "joined"')])
    g = gateway(f'return {{ listen = "127.0.0.1:0", routes = {{ {routes} }} }}')
    ask = lambda path: g.ask(target=path).status
    assert [ask("/a"), ask("/a"), ask("/a"), ask("/b"), ask("/b"), ask("/b")] == [200, 200, 429, 200, 200, 429]
    assert [ask("/c"), ask("/d"), ask("/c"), ask("/d")] == [200, 200, 429, 429]


def test_what_the_client_is_told(proxy):
    g, _ = proxy(plugins='{ "rate-limit", limit = 1, window = "1h", x_headers = true, status = 503, message = "later, please" }')
    res = g.ask()
    assert (res.headers.get("x-ratelimit-limit"), res.headers.get("x-ratelimit-remaining")) == ("1", "0")
    res = g.ask()
    assert res.status == 503 and res.json()["detail"] == "later, please" and int(res.headers.get("x-ratelimit-reset")) <= 3600
    g, _ = proxy(plugins='{ "rate-limit", limit = 1, window = "1h", headers = false }')
    res = g.ask()
    assert "ratelimit" not in res.headers and "ratelimit-policy" not in res.headers
    assert "retry-after" in g.ask().headers


def test_a_reload_with_another_limit_and_back_keeps_what_was_counted(proxy):
    g, _ = proxy(plugins='{ "rate-limit", limit = 3, window = "1h" }')
    assert [g.ask().status for _ in range(2)] == [200, 200]
    for _ in range(3):
        assert g.reload().status == 200
    assert [g.ask().status for _ in range(2)] == [200, 429]
