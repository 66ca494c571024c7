"""A reload is noticed by nobody, and a bad one changes nothing."""
import signal
import threading
import time

import pytest

from harness import Client, IS_SANITIZED, answer, run, wait_for


def config(url, body="one", top="", listen='"127.0.0.1:0"', more=""):
    return f"""return {{ listen = {{ {listen} }}, admin = "127.0.0.1:0", {top}
  routes = {{
    {{ "fixed", path = "/fixed", plugins = {{ {{ "respond", status = 200, body = "{body}" }} }} }},
    {{ "lua", path = "/lua", plugins = {{ {{ on_request = function(x) return x:respond(200, {{ message = "{body}" }}) end }} }} }},
    {{ "up", path = "/*", upstream = "{url}" }}, {more}
  }} }}"""


def test_a_reload_by_the_admin_listener_comes_into_force(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    assert g.ask("GET", "/fixed").body == b"one"
    g.write(config(u.url, "two"))
    res = g.reload()
    assert (res.status, b"snapshot 2" in res.body) == (200, True)
    assert g.ask("GET", "/fixed").body == b"two"
    assert b"two" in g.ask("GET", "/lua").body


def test_a_reload_by_signal_comes_into_force(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    g.write(config(u.url, "two"))
    g.signal(signal.SIGHUP)
    wait_for(lambda: g.ask("GET", "/fixed").body == b"two", "the new config")


def test_a_bad_config_changes_nothing_and_says_why(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    g.write(config(u.url, "two", top='tmeouts = {}, workers = "many",'))
    res = g.reload()
    assert res.status == 422
    assert b"tmeouts" in res.body and b"workers" in res.body
    assert b"gateway.lua:1" in res.body
    assert g.ask("GET", "/fixed").body == b"one"
    status = g.status()
    assert status["snapshot"] == 1 and status["reload"]["last_ok"] is False
    assert "tmeouts" in status["reload"]["last_text"]
    done = run("reload", "--admin", f"127.0.0.1:{g.admin_port}")
    assert done.returncode == 1 and "tmeouts" in done.stderr
    g.write(config(u.url, "three"))
    assert run("reload", "--admin", f"127.0.0.1:{g.admin_port}").returncode == 0
    assert g.ask("GET", "/fixed").body == b"three"


def test_a_file_that_is_no_lua_changes_nothing(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    g.write("return {")
    assert g.reload().status == 422
    g.config.unlink()
    assert g.reload().status == 422
    assert g.ask("GET", "/fixed").body == b"one"


def test_a_request_under_way_ends_on_the_config_it_began_with(gateway, upstream):
    release = threading.Event()

    def slow(request, wire):
        release.wait(20)
        return answer(body=b"late")

    u = upstream(slow)
    g = gateway(config(u.url, more=f'{{ "x", path = "/x", upstream = "{u.url}", plugins = {{ {{ on_response = function(x) x.response.headers["x-config"] = "old" end }} }} }},'))
    client = g.client()
    client.request("GET", "/x")
    u.wait()
    g.write(config(u.url, "two"))
    for _ in range(3):
        assert g.reload().status == 200
    release.set()
    res = client.response()
    assert (res.body, res.headers.get("x-config")) == (b"late", "old")
    wait_for(lambda: len(g.status()["generations"]) == 1, "the old snapshots to be freed")
    assert "x-config" not in client.ask("GET", "/x").headers


def test_reloads_beyond_the_live_generations_wait_for_one_to_go(gateway, upstream):
    release = threading.Event()

    def slow(request, wire):
        release.wait(30)
        return answer(body=b"late")

    u = upstream(slow)
    g = gateway(config(u.url))
    held = []
    for i in range(3):
        client = g.client()
        client.request("GET", "/x")
        held.append(client)
        wait_for(lambda: len(u.requests) == i + 1, "the request upstream")
        g.write(config(u.url, f"v{i}"))
        assert g.reload().status == 200
    g.write(config(u.url, "last"))
    g.signal(signal.SIGHUP)
    time.sleep(0.3)
    assert g.ask("GET", "/fixed").body == b"v2"
    release.set()
    for client in held:
        assert client.response().body == b"late"
    wait_for(lambda: g.ask("GET", "/fixed").body == b"last", "the waiting reload")


def test_twenty_reloads_under_load_lose_nothing(gateway, upstream):
    u = upstream(lambda r, w: answer(body=r.target.encode()))
    g = gateway(config(u.url), workers=2)
    stop, errors, count = threading.Event(), [], [0]

    def load(k):
        client, i = g.client(), 0
        try:
            while not stop.is_set():
                i += 1
                target = f"/{k}/{i}"
                res = client.ask("GET", target)
                assert (res.status, res.body) == (200, target.encode())
                assert "connection" not in res.headers
                count[0] += 1
        except Exception as e:
            errors.append(repr(e))
        client.close()

    threads = [threading.Thread(target=load, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for i in range(20):
        g.write(config(u.url, f"v{i}"))
        assert g.reload().status == 200
    stop.set()
    for t in threads:
        t.join()
    assert not errors
    assert count[0] > 20
    assert g.status()["snapshot"] == 21


def test_listeners_come_and_go_with_reloads(gateway, upstream, free_port):
    u = upstream()
    g = gateway(config(u.url))
    g.write(config(u.url, listen=f'"127.0.0.1:0", "127.0.0.1:{free_port}"'))
    assert g.reload().status == 200
    assert Client(("127.0.0.1", free_port)).ask("GET", "/fixed").status == 200
    g.write(config(u.url))
    assert g.reload().status == 200
    with pytest.raises(ConnectionRefusedError):
        Client(("127.0.0.1", free_port))
    assert g.ask("GET", "/fixed").status == 200


def test_an_address_in_use_refuses_the_reload(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    g.write(config(u.url, "two", listen=f'"127.0.0.1:0", "127.0.0.1:{u.port}"'))
    res = g.reload()
    assert res.status == 422 and str(u.port).encode() in res.body
    assert g.ask("GET", "/fixed").body == b"one"


def test_an_on_worker_that_fails_refuses_the_reload(gateway, upstream, tmp_path):
    u = upstream()
    g = gateway(config(u.url))
    (g.folder / "plugins").mkdir()
    (g.folder / "plugins" / "fails.lua").write_text("""
local plugin = { name = "fails", doc = "Fails on each worker.", version = "1.0" }
function plugin.on_worker() error("no luck here") end
function plugin.on_request() end
return plugin
""")
    g.write(config(u.url, "two", top='plugins = { "fails" },'))
    assert g.reload().status == 422
    assert g.ask("GET", "/fixed").body == b"one"
    g.write(config(u.url, "three"))
    assert g.reload().status == 200


def everything(u, cert, n):
    """C plugins, Lua plugins, a TLS listener, named upstreams, consumers, functions."""
    return f"""
local mg = require "moongate"
return {{
  listen = {{ {{ "127.0.0.1:0", name = "plain" }}, {{ "127.0.0.1:0", name = "tls", tls = {{ cert = "{cert[0]}", key = "{cert[1]}" }} }} }},
  admin = "127.0.0.1:0", workers = 2,
  upstreams = {{ main = {{ targets = {{ "127.0.0.1:{u.port}", {{ "localhost:{u.port}", weight = 2 }} }} }},
                 changing = {{ targets = {{ "127.0.0.1:{u.port}" }}, timeouts = {{ idle = "{10 + n % 7}s" }} }} }},
  consumers = {{ alice = {{ keys = {{ "k-1" }}, groups = {{ "gold" }} }} }},
  plugins = {{ "request-id", {{ "access-log", path = "access.log" }}, "metrics", {{ "headers", response = {{ set = {{ ["x-n"] = "{n}" }} }} }} }},
  routes = {{
    {{ "fixed", path = "/fixed", plugins = {{ {{ "respond", status = 200, body = "v{n}" }} }} }},
    {{ "key", path = "/key/{{id:[a-z]+}}", upstream = "main", plugins = {{ "key-auth", {{ "rate-limit", limit = 100000, window = "1m", by = "consumer" }},
        {{ "request-transformer", set = {{ headers = {{ ["x-who"] = "${{consumer.name}}" }} }} }} }} }},
    {{ "lua", path = "/lua", plugins = {{ {{ on_request = function(x) mg.sleep(0.001) return x:respond(200, {{ n = {n} }}) end }} }} }},
    {{ "up", path = "/*", upstream = "changing", plugins = {{ {{ "cors", origins = {{ "*" }} }} }} }},
  }} }}"""


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer keeps freed memory")
def test_memory_after_two_hundred_reloads_is_that_after_five(gateway, upstream, certs):
    u = upstream(lambda r, w: answer(body=b"x" * 1000))
    cert = certs.pem("localhost")
    g = gateway(everything(u, cert, 0), workers=0)

    def reload(n):
        g.write(everything(u, cert, n))
        res = g.reload()
        assert res.status == 200, res.body
        for _ in range(2):
            plain, tls = g.client("plain"), g.client("tls", tls=certs.client())
            for client in (plain, tls):
                assert client.ask("GET", "/key/abc", [("x-api-key", "k-1")]).status == 200
                assert client.ask("GET", "/lua").status == 200
                assert client.ask("POST", "/up", body=b"y" * 2000).status == 200
                client.close()

    def settled():
        wait_for(lambda: len(g.status()["generations"]) == 1, "old snapshots to be freed")
        time.sleep(0.3)
        return g.rss_kb()

    for i in range(5):
        reload(i)
    early = settled()
    for i in range(195):
        reload(i)
    late = settled()
    assert late - early <= 1024, f"{early} KiB, then {late} KiB"
    assert g.ask("GET", "/fixed", name="plain").body == b"v194"


class Load:
    """Clients that keep their connections and come back when an answer says that it is the last one."""

    def __init__(self, g, n=6):
        self.g, self.stop, self.errors, self.count = g, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.client, args=(k,)) for k in range(n)]
        for t in self.threads:
            t.start()

    def client(self, k):
        try:
            client, i = self.g.client(), 0
            while not self.stop.is_set():
                i += 1
                target = f"/{k}/{i}"
                res = client.ask("GET", target)
                assert (res.status, res.body) == (200, target.encode())
                self.count += 1
                if res.headers.get("connection") == "close" or i % 50 == 0:
                    client.close()
                    client = self.g.client()
            client.close()
        except Exception as e:
            self.errors.append(repr(e))

    def more(self, n=60):
        want = self.count + n
        wait_for(lambda: self.count >= want or self.errors, "more requests")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.errors, self.errors


def states(g):
    return [w["state"] for w in g.status()["workers"]]


def test_the_number_of_workers_follows_the_config_under_load(gateway, upstream, tmp_path):
    u = upstream(lambda r, w: answer(body=r.target.encode()))
    worker_plugin = """
local mg = require "moongate"
return { name = "counts", version = "1", doc = "Says on which workers it has begun.",
         on_worker = function() mg.log.info("a worker begins") end, on_request = function(x) x.ctx.seen = true end }
"""
    text = lambda n: config(u.url, f"v{n}", top=f'workers = {n}, drain = "1s", plugin_path = {{ "{tmp_path}/plugins" }}, plugins = {{ "counts" }},')
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "counts.lua").write_text(worker_plugin)
    g = gateway(text(1), workers=0)
    load = Load(g)
    before = 0
    for n in (3, 2, 1, 3, 1, 2, 1):
        load.more()
        g.write(text(n))
        assert g.reload().status == 200
        load.more()
        wait_for(lambda: states(g).count("serving") == n, f"{n} workers")
        if n == 3:
            wait_for(lambda: all(w["requests"] > 0 for w in g.status()["workers"]), "each worker to serve")
        requests = sum(w["requests"] for w in g.status()["workers"])
        assert requests >= before
        before = requests
    load.end()
    wait_for(lambda: states(g) == ["serving", "ended", "ended"], "the others to end")
    assert sum(w["requests"] for w in g.status()["workers"]) == load.count
    scrape = g.admin("GET", "/metrics").body.decode()
    assert 'moongate_worker_requests_total{worker="2"}' in scrape
    assert g.ask("GET", "/fixed").body == b"v1"


def test_a_worker_that_leaves_finishes_what_is_under_way_and_closes_idle_connections(gateway, upstream):
    release = threading.Event()

    def slow(request, wire):
        if request.target == "/slow":
            release.wait(20)
        return answer(body=b"late")

    u = upstream(slow)
    text = lambda n: config(u.url, top=f'workers = {n}, drain = "300ms",')
    g = gateway(text(3), workers=0)
    busy, idle = [g.client() for _ in range(12)], [g.client() for _ in range(12)]
    for client in idle:
        assert client.ask("GET", "/fixed").status == 200
    for client in busy:
        client.request("GET", "/slow")
    wait_for(lambda: len(u.requests) == 12, "12 requests")
    assert all(w["exchanges_open"] for w in g.status()["workers"])
    g.write(text(1))
    assert g.reload().status == 200
    kept = g.status()["workers"][0]["connections_open"]
    wait_for(lambda: sum(w["connections_open"] for w in g.status()["workers"][1:]) ==
             sum(w["exchanges_open"] for w in g.status()["workers"][1:]), "idle connections to close")
    assert states(g) == ["serving", "leaving", "leaving"]
    g.write(config(u.url, "two", top='workers = 1, drain = "300ms",'))
    assert g.reload().status == 200
    release.set()
    closes = [client.response().headers.get("connection") for client in busy]
    assert closes.count("close") > 0
    wait_for(lambda: states(g) == ["serving", "ended", "ended"], "the others to end")
    assert g.status()["workers"][0]["connections_open"] == kept
    assert g.ask("GET", "/fixed").body == b"two"


def test_a_refused_reload_leaves_the_number_of_workers_alone(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url, top="workers = 1,"), workers=0)
    (g.folder / "plugins").mkdir()
    (g.folder / "plugins" / "fails.lua").write_text("""
return { name = "fails", doc = "Fails on each worker.", version = "1.0",
         on_worker = function() error("no luck here") end, on_request = function() end }
""")
    g.write(config(u.url, "two", top='workers = 3, plugins = { "fails" },'))
    for _ in range(3):
        assert g.reload().status == 422
    wait_for(lambda: states(g) == ["serving", "ended", "ended"], "the new ones to end")
    for _ in range(20):
        assert g.ask("GET", "/fixed").body == b"one"
    g.write(config(u.url, "three", top="workers = 2,"))
    assert g.reload().status == 200
    assert states(g) == ["serving", "serving", "ended"]
    wait_for(lambda: g.ask("GET", "/fixed").body == b"three" and g.status()["workers"][1]["requests"] > 0, "the second worker to serve")


def test_another_user_takes_a_restart_and_the_reload_says_so(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))
    g.write(config(u.url, top='group = "nogroup",'))
    done = run("reload", "--admin", f"127.0.0.1:{g.admin_port}")
    assert done.returncode == 0 and "takes a restart" in done.stdout
    assert "takes a restart" in g.log()
