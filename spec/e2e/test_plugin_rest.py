"""access-log while its file is moved, metrics as a Prometheus reads them, cors, ip-restriction, request-size-limit and request-id in full."""
import json
import math
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

import harness
from harness import answer, wait_for


# ---- access-log -----------------------------------------------------------------------------------------


def test_no_line_is_lost_or_torn_while_files_are_moved_under_load(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, _ = proxy(plugins=f'{{ "access-log", path = "{log}", fields = {{ n = "${{request.query.n}}", pad = "${{request.query.pad}}" }} }}', workers=3)
    stop, sent, lock = threading.Event(), [], threading.Lock()

    def load(who):
        client, n = g.client(), 0
        while not stop.is_set():
            n += 1
            assert client.ask(target=f"/?n={who}-{n}&pad={'x' * (n % 500)}").status == 200
            with lock:
                sent.append(f"{who}-{n}")
        client.close()

    threads = [threading.Thread(target=load, args=(i,), daemon=True) for i in range(6)]
    for t in threads:
        t.start()
    moved = []
    for i in range(5):
        before = len(sent)
        wait_for(lambda: len(sent) > before + 100 and log.exists(), "load")
        moved.append(tmp_path / f"access.log.{i}")
        os.rename(log, moved[-1])
        g.signal(signal.SIGUSR1)
        wait_for(log.exists, "a new file")
    stop.set()
    for t in threads:
        t.join(harness.PATIENCE)
    g.stop()
    lines = [line for path in [*moved, log] for line in path.read_text().splitlines()]
    got = [json.loads(line)["n"] for line in lines]
    assert len(got) == len(sent) and set(got) == set(sent)


def test_lines_on_stdout_and_by_a_template(proxy):
    g, _ = proxy(plugins='{ "access-log", path = "stdout", format = "LINE ${request.method} ${request.path} ${response.status} ${request.headers.none} ${request.headers.x-q}" }')
    g.ask(target="/a%20b", headers=[("x-q", 'q"\\\t')])
    g.wait_log("LINE GET ")
    line = next(l for l in g.log().splitlines() if l.startswith("LINE"))
    assert line.startswith("LINE GET /a%20b 200 - q\\\"\\\\"), line


def test_when_chooses_lines_and_extra_fields_join_the_usual_ones(proxy, tmp_path):
    log = tmp_path / "slow.log"
    g, _ = proxy(lambda r, w: answer(500 if r.target == "/bad" else 200), top='consumers = { alice = { keys = "k" } },',
                 plugins=f'{{ "key-auth", anonymous = "alice" }}, {{ "access-log", path = "{log}", extra = {{ tenant = "${{request.headers.x-tenant}}" }}, '
                         'text_max = 20, when = function(x) return x.response.status >= 500 end }')
    for target in ("/good", "/bad", "/good"):
        g.ask(target=target, headers=[("x-tenant", "moon" * 20), ("user-agent", "u")])
    g.stop()
    line, = map(json.loads, log.read_text().splitlines())
    assert (line["path"], line["status"], line["consumer"], line["user_agent"]) == ("/bad", 500, "alice", "u")
    assert line["tenant"].startswith("moonmoon") and len(line["tenant"]) <= 24


def test_a_client_that_leaves_has_a_line_with_status_0(proxy, tmp_path):
    log = tmp_path / "access.log"
    arrived = threading.Event()

    def handler(request, wire):
        arrived.set()
        wire.sock.settimeout(harness.PATIENCE)
        wire.sock.recv(1)
        raise harness.Ended()

    g, _ = proxy(handler, plugins=f'{{ "access-log", path = "{log}" }}')
    client = g.client()
    client.request(target="/left")
    assert arrived.wait(harness.PATIENCE)
    client.close()
    wait_for(lambda: log.exists() and log.read_text(), "a line")
    line, = map(json.loads, log.read_text().splitlines())
    assert line["status"] == 0 and line["path"] == "/left" and line["failure"]


def test_a_file_that_cannot_be_opened_is_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0",\n plugins = { { "access-log", path = "/nonexistent/folder/access.log" } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "gateway.lua:2:" in said.stderr and "/nonexistent/folder" in said.stderr, said.stderr


# ---- metrics --------------------------------------------------------------------------------------------


LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SERIES = re.compile(rf'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({LABEL}(?:,{LABEL})*)?\}})? ([0-9.eE+-]+|\+Inf|NaN)')


def scrape(g):
    """The text read strictly: {name: {labels: value}}; kinds, order, histograms and duplicates are checked."""
    res = g.admin("GET", "/metrics")
    assert res.status == 200 and res.headers.get("content-type").startswith("text/plain; version=0.0.4")
    text = res.body.decode()
    assert text.endswith("\n")
    kinds, series, current, seen = {}, {}, None, set()
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            if what == "HELP":
                assert name not in seen, f"{name} comes twice"
                seen.add(name)
            else:
                assert what == "TYPE" and rest in ("counter", "gauge", "histogram") and name not in kinds, line
                kinds[name] = rest
            current = name
            continue
        m = SERIES.fullmatch(line)
        assert m, line
        name, labels, value = m.group(1), m.group(2) or "", float(m.group(3))
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        family = base if kinds.get(base) == "histogram" else name
        assert family == current and family in kinds, f"{line}: out of its family"
        assert labels not in series.setdefault(name, {}), f"{line}: comes twice"
        if kinds[family] == "counter":
            assert value >= 0 and name.endswith("_total"), line
        series[name][labels] = value
    for name, kind in kinds.items():
        if kind != "histogram":
            continue
        groups = {}
        for labels, value in series.get(name + "_bucket", {}).items():
            le = float(re.search(r'le="([^"]*)"', labels).group(1))
            groups.setdefault(re.sub(r',?le="[^"]*"', "", labels), []).append((le, value))
        for labels, buckets in groups.items():
            assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets), (name, labels)
            assert buckets[-1][0] == math.inf and buckets[-1][1] == series[name + "_count"][labels]
            assert labels in series[name + "_sum"]
    return series, text


def load_for_metrics(proxy):
    g, u = proxy(lambda r, w: answer(404 if r.target.startswith("/no") else 200, body=b"x" * 100), workers=2, route="",
                 top='consumers = { ["al\\"ice\\\\"] = { keys = "k" } },',
                 plugins='{ "metrics", consumers = true }, { "key-auth", anonymous = "al\\"ice\\\\" }')
    for i in range(20):
        assert g.ask("POST" if i % 2 else "GET", "/no" if i % 4 == 0 else "/x", body=b"12345" if i % 2 else None).status in (200, 404)
    return g, u


def test_the_scrape_is_what_prometheus_reads(proxy):
    g, u = load_for_metrics(proxy)
    series, text = scrape(g)
    total = series["moongate_requests_total"]
    assert sum(total.values()) == 20
    assert sum(v for k, v in total.items() if 'status="404"' in k and 'method="GET"' in k) == 5
    assert sum(v for k, v in total.items() if 'method="POST"' in k) == 10
    assert sum(v for k, v in series["moongate_bytes_total"].items() if 'direction="out"' in k) > 2000
    assert sum(series["moongate_request_duration_seconds_count"].values()) == 20
    assert sum(series["moongate_upstream_duration_seconds_count"].values()) == 20
    assert any('consumer="al\\"ice\\\\"' in k for k in series["moongate_consumer_requests_total"])
    again, _ = scrape(g)
    for name, values in series.items():
        if name.endswith("_total"):
            assert all(again[name][k] >= v for k, v in values.items()), name
    assert g.reload().status == 200
    assert sum(scrape(g)[0]["moongate_requests_total"].values()) == 20


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian package prometheus)")
def test_promtool_finds_nothing_to_say(proxy):
    g, u = load_for_metrics(proxy)
    done = subprocess.run(["promtool", "check", "metrics"], input=scrape(g)[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_clients_cannot_make_series(proxy):
    g, _ = proxy(plugins='{ "metrics", status = "class" }')
    for i in range(30):
        g.ask("GET", f"/{i}?x={i}", [("host", f"h{i}")], host=None)
    g.ask("PROPFIND", "/")
    series, _ = scrape(g)
    assert len(series["moongate_requests_total"]) == 2
    assert all('status="2xx"' in k for k in series["moongate_requests_total"])


# ---- cors -------------------------------------------------------------------------------------------------


def test_origins_that_may_and_those_that_may_not(proxy):
    g, u = proxy(lambda r, w: answer(headers=[("access-control-allow-origin", "*"), ("vary", "accept")]), plugins="""{ "cors",
      origins = { "https://app.example.com", "https://*.example.org" }, credentials = true, max_age = "1h", expose_headers = { "x-a" },
      allow_headers = { "x-token" }, methods = { "GET", "PUT" } }""")

    def allowed(origin):
        res = g.ask(headers=[("origin", origin)])
        assert res.status == 200 and {"origin", "accept"} <= {v.lower() for v in res.headers.all("vary")}
        assert len(res.headers.all("access-control-allow-origin")) <= 1
        return res.headers.get("access-control-allow-origin")

    for origin in ("https://app.example.com", "https://a.example.org", "https://a.b.example.org"):
        assert allowed(origin) == origin
    for origin in ("http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.test", "https://example.org",
                   "https://evilexample.org", "https://evil.test#.example.org", "https://evil.test/.example.org", "null", ""):
        assert allowed(origin) is None, origin
    preflight = lambda **h: g.ask("OPTIONS", "/x", [(k.replace("_", "-"), v) for k, v in h.items()])
    n = len(u.requests)
    res = preflight(origin="https://a.example.org", access_control_request_method="PUT", access_control_request_headers="x-token")
    h = res.headers
    assert res.status == 204 and h.get("access-control-allow-origin") == "https://a.example.org"
    assert h.get("access-control-allow-credentials") == "true" and h.get("access-control-max-age") == "3600"
    assert "PUT" in h.get("access-control-allow-methods") and h.get("access-control-allow-headers").lower() == "x-token"
    res = preflight(origin="https://evil.test", access_control_request_method="PUT")
    assert "access-control-allow-origin" not in res.headers
    assert len(u.requests) == n, "preflights stay here"
    assert g.ask("OPTIONS", "/x").status == 200 and len(u.requests) == n + 1, "a plain OPTIONS goes on"
    assert g.ask(headers=[("origin", "https://a.example.org")]).headers.get("access-control-expose-headers") == "x-a"
    assert "access-control-allow-origin" not in g.ask().headers


def test_everybody_may(proxy):
    g, _ = proxy(plugins='{ "cors", "*" }')
    res = g.ask(headers=[("origin", "https://x.test")])
    assert res.headers.get("access-control-allow-origin") == "*" and "access-control-allow-credentials" not in res.headers


def test_errors_of_the_gateway_can_be_read_by_the_page(proxy):
    g, u = proxy(plugins='{ "cors", "https://a.test" }')
    u.close()
    res = g.ask(headers=[("origin", "https://a.test")])
    assert res.status >= 502 and res.headers.get("access-control-allow-origin") == "https://a.test"


def test_everybody_with_credentials_is_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0",\n plugins = { { "cors", "*", credentials = true } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "credentials" in said.stderr and "gateway.lua:2:" in said.stderr


# ---- ip-restriction ---------------------------------------------------------------------------------------


def test_lists_of_addresses(proxy):
    g, u = proxy(top='trusted_proxies = { "127.0.0.1" },', plugins="""{ "ip-restriction", status = 404, message = "not here",
      allow = { "10.0.0.0/8", "2001:db8::/32", "192.0.2.5-192.0.2.7", "198.51.100.1" }, deny = { "10.0.0.13", "2001:db8:bad::/48" } }""")
    status = lambda ip: g.ask(headers=[("x-forwarded-for", ip)]).status
    for ip in ("10.0.0.0", "10.255.255.255", "10.0.0.12", "2001:db8::1", "192.0.2.5", "192.0.2.6", "192.0.2.7", "198.51.100.1", "::ffff:10.0.0.1"):
        assert status(ip) == 200, ip
    n = len(u.requests)
    for ip in ("10.0.0.13", "11.0.0.0", "9.255.255.255", "2001:db9::", "2001:db8:bad::1", "192.0.2.4", "192.0.2.8", "::1", "::ffff:10.0.0.13"):
        assert status(ip) == 404, ip
    assert status("10.0.0.1, 203.0.113.1") == 404, "the last before us counts"
    assert g.ask().status == 404
    assert g.ask(headers=[("x-forwarded-for", "11.0.0.0")]).json()["detail"] == "not here"
    assert len(u.requests) == n


@pytest.mark.parametrize("entry", ['allow = "10.0.0.1/8"', 'allow = "10.0.0.256"', 'deny = "10.0.0.9-10.0.0.1"', 'status = 403', 'deny = "10.0.0.0/33"'])
def test_lists_that_do_not_hold_are_mistakes(tmp_path, entry):
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0",\n plugins = {{ {{ "ip-restriction", {entry} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "gateway.lua:2:" in said.stderr


# ---- request-size-limit, request-id ---------------------------------------------------------------------------


def test_headers_and_bodies_at_their_limits(proxy):
    g, u = proxy(plugins='{ "request-size-limit", body = 10, headers = 300 }')
    assert g.ask("POST", "/", body=b"0123456789").status == 200
    assert g.ask("POST", "/", body=b"0123456789x").status == 413
    assert g.ask(headers=[("x-pad", "x" * 200)]).status == 200
    assert g.ask(headers=[("x-pad", "x" * 300)]).status == 431
    assert len(u.requests) == 2


@pytest.mark.parametrize("accept, top, taken", [("never", 'trusted_proxies = { "127.0.0.1" },', False), ("trusted", "", False),
                                                ("trusted", 'trusted_proxies = { "127.0.0.1" },', True), ("always", "", True)])
def test_whose_ids_are_taken_over(proxy, accept, top, taken):
    g, u = proxy(top=top, plugins=f'{{ "request-id", accept = "{accept}" }}')
    res = g.ask(headers=[("x-request-id", "theirs-1"), ("x-forwarded-for", "203.0.113.1")])
    assert (res.headers.get("x-request-id") == "theirs-1") == taken
    assert u.last.headers.all("x-request-id") == res.headers.all("x-request-id") and len(res.headers.all("x-request-id")) == 1
    if not taken:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", res.headers.get("x-request-id"))
    for bad in ("x" * 129, "a b", "a\xe9", ""):
        res = g.ask(headers=[("x-request-id", bad), ("x-forwarded-for", "203.0.113.1")])
        assert res.headers.get("x-request-id") != bad and len(res.headers.get("x-request-id")) == 36


def test_one_id_for_the_upstream_the_client_the_problem_and_the_log(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, u = proxy(plugins=f'{{ "request-id", header = "x-trace", format = "hex", upstream = false }}, {{ "access-log", path = "{log}" }}, {{ "key-auth", when = function(x) return x.request.path == "/locked" end }}',
                 top='consumers = { a = { keys = "k" } },')
    res = g.ask(target="/locked")
    ident = res.headers.get("x-trace")
    assert res.status == 401 and re.fullmatch("[0-9a-f]{32}", ident) and ident in res.body.decode()
    wait_for(lambda: log.exists() and log.read_text(), "a line")
    assert json.loads(log.read_text())["id"] == ident
    assert g.ask(headers=[("x-trace", "mine")]).status == 200 and "x-trace" not in u.last.headers
