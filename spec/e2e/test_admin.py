"""What an operator asks of a running gateway."""
import json

import pytest

from harness import Client, answer, run, wait_for


def test_live_ready_and_status_answer(proxy):
    g, u = proxy(workers=2)
    g.ask()
    assert g.admin("GET", "/live").status == 200
    assert g.admin("GET", "/ready").status == 200
    status = g.status()
    assert status["state"] == "serving" and status["snapshot"] == 1
    assert len(status["workers"]) == 2
    wait_for(lambda: sum(w["requests"] for w in g.status()["workers"]) == 1, "the request to be counted, after its answer")
    assert status["reload"]["last_ok"] is True
    assert any(t["target"] == u.address for t in status["upstreams"])
    assert {a["admin"] for a in status["listeners"]} == {True, False}


def test_metrics_are_prometheus_text(proxy):
    g, u = proxy(plugins='"metrics"')
    g.ask()
    wait_for(lambda: b'route="all"' in g.admin("GET", "/metrics").body, "the request to be counted, after its answer")
    res = g.admin("GET", "/metrics")
    assert res.headers.get("content-type").startswith("text/plain")
    lines = res.body.decode().splitlines()
    names = set()
    for line in lines:
        if line.startswith("#") or not line:
            continue
        name, _, value = line.rpartition(" ")
        float(value)
        assert name not in names, f"twice: {name}"
        names.add(name)
    assert any(n.startswith("moongate_worker_requests_total") for n in names)
    assert any("route=\"all\"" in n for n in names)


@pytest.mark.parametrize("method, target, status", [("GET", "/nothing", 404), ("POST", "/status", 405), ("GET", "/reload", 405), ("HEAD", "/status", 200)])
def test_other_asks_are_refused(proxy, method, target, status):
    g, u = proxy()
    client = Client(("127.0.0.1", g.admin_port))
    assert client.ask(method, target, body=b"" if method == "POST" else None).status == status


@pytest.mark.parametrize("method, target, allow", [("POST", "/status", "GET, HEAD"), ("GET", "/reload", "POST")])
def test_a_wrong_method_is_told_which_are_right(proxy, method, target, allow):
    g, u = proxy()
    res = Client(("127.0.0.1", g.admin_port)).ask(method, target, body=b"" if method == "POST" else None)
    assert res.status == 405 and res.headers.all("allow") == [allow]


def test_the_admin_listener_may_be_a_unix_socket(gateway, tmp_path):
    path = tmp_path / "admin.sock"
    config = tmp_path / "gateway.lua"
    config.write_text(f'return {{ listen = "127.0.0.1:0", admin = "unix:{path}", routes = {{}} }}')
    g = gateway(config)
    assert Client(str(path)).ask("GET", "/live").status == 200
    assert run("reload", "-c", config).returncode == 0
    wait_for(lambda: json.loads(Client(str(path)).ask("GET", "/status").body)["snapshot"] == 2, "the reload")


@pytest.mark.parametrize("address", ["0.0.0.0:9901", "[::]:9901", "192.0.2.1:9901"])
def test_it_is_refused_on_an_address_that_others_reach(gateway, address):
    g = gateway(f'return {{ listen = "127.0.0.1:0", admin = "{address}", routes = {{}} }}', wait=False)
    assert g.wait_end() == 1
    assert "admin" in g.log()


def test_admin_requests_do_not_reach_routes_nor_routes_the_admin(proxy):
    g, u = proxy(lambda r, w: answer(body=b"from the route"))
    assert g.ask("GET", "/status").body == b"from the route"
    assert g.admin("GET", "/elsewhere").status == 404
    assert len(u.requests) == 1
