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


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer keeps freed memory")
def test_memory_after_two_hundred_reloads_is_that_after_five(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url))

    def settled():
        wait_for(lambda: len(g.status()["generations"]) == 1, "old snapshots to be freed")
        time.sleep(0.3)
        return g.rss_kb()

    for i in range(5):
        g.write(config(u.url, f"v{i}"))
        assert g.reload().status == 200
    early = settled()
    for i in range(195):
        g.write(config(u.url, f"w{i}"))
        assert g.reload().status == 200
    late = settled()
    assert late - early <= 1024, f"{early} KiB, then {late} KiB"
    assert g.ask("GET", "/fixed").body == b"w194"
