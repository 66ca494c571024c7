"""The recipes of examples/cookbook: their specs and configs, and several of them in a real gateway with real servers."""
import base64
import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from harness import MOONGATE, ROOT, Response, answer, run, wait_for
from redis_probe import redis  # noqa: F401

RECIPES = ROOT / "examples/cookbook"
TREE = Path(MOONGATE).resolve().parents[1]
IS_BUILD_TREE = (TREE / "CMakeCache.txt").exists()
LUA = sorted(p.parent.name for p in RECIPES.glob("lua/*/gateway.lua"))
C = sorted(p.parent.name for p in RECIPES.glob("c/*/gateway.lua"))
needs_build_tree = pytest.mark.skipif(not IS_BUILD_TREE, reason="needs a build tree, not an installed gateway")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The C recipes, built out of tree in a copy of their folder, as a stranger's project."""
    folder = tmp_path_factory.mktemp("cookbook") / "c"
    shutil.copytree(RECIPES / "c", folder, ignore=shutil.ignore_patterns("build"))
    environment = dict(os.environ, CC=os.environ.get("CC", "gcc"))
    for command in (["cmake", "-G", "Ninja", "-S", folder, "-B", folder / "build", f"-Dmoongate_DIR={TREE}"], ["cmake", "--build", folder / "build"]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        assert done.returncode == 0 and "warning" not in done.stdout, done.stdout
    return folder


def sentences(folder):
    """How many tests the specs of a folder have."""
    return sum(len(re.findall(r'^\s*it\("', p.read_text(), re.M)) for p in folder.rglob("*_spec.lua"))


def passed(folder):
    done = run("test", folder)
    found = re.search(r"(\d+) passed, 0 failed", done.stdout)
    assert done.returncode == 0 and found, done.stdout + done.stderr
    return int(found.group(1))


def test_there_are_enough_recipes_and_each_is_whole():
    assert len(LUA) >= 15 and len(C) >= 5
    for name in LUA:
        assert (RECIPES / f"lua/{name}/plugins/{name}.lua").exists() and sentences(RECIPES / f"lua/{name}") >= 3, name
    for name in C:
        assert (RECIPES / f"c/{name}/{name.replace('-', '_')}.c").exists() and sentences(RECIPES / f"c/{name}") >= 3, name
    for path in RECIPES.glob("*/*/plugins/*.lua"):
        assert "Limits:" in path.read_text()[:2000], path
    for path in RECIPES.glob("c/*/*.c"):
        assert "Limits:" in path.read_text()[:2000], path


def test_the_pages_are_what_the_recipes_say():
    done = subprocess.run([ROOT / "spec/cookbook-pages", "--check"], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout


def test_the_specs_of_the_lua_recipes_pass():
    assert passed(RECIPES / "lua") == sentences(RECIPES / "lua") > 60


@needs_build_tree
def test_the_c_recipes_are_built_out_of_tree_and_their_specs_pass(built):
    assert passed(built) == sentences(RECIPES / "c") > 20


@pytest.mark.parametrize("name", LUA)
def test_a_lua_recipes_config_holds(name):
    done = run("check", "-c", RECIPES / f"lua/{name}/gateway.lua")
    assert done.returncode == 0, done.stderr


@needs_build_tree
@pytest.mark.parametrize("name", C)
def test_a_c_recipes_config_holds(built, name):
    done = run("check", "-c", built / name / "gateway.lua")
    assert done.returncode == 0, done.stderr


# ---- in a real gateway -----------------------------------------------------------------------------------


@pytest.fixture
def recipe(gateway):
    """recipe("lua/NAME", NAME="value"…): its own config, with addresses by its environment variables."""

    def start(path, folder=RECIPES, workers=1, **environment):
        return gateway(folder / path / "gateway.lua", workers=workers, env=dict({"LISTEN": "127.0.0.1:0"}, **environment))

    return start


def json_answer(text):
    return answer(headers=[("content-type", "application/json")], body=text.encode())


def test_keys_are_looked_up_in_a_real_redis_and_work_on_without_it(recipe, upstream, redis):
    u, r = upstream(), redis()
    r.ask("HSET", "apikey:" + hashlib.sha256(b"my-key").hexdigest(), "owner", "alice", "plan", "gold")
    g = recipe("lua/redis-api-key", UPSTREAM=u.url, REDIS=f"redis://{r.address}", workers=2)
    assert g.ask().status == 401 and g.ask(headers=[("x-api-key", "other")]).status == 401
    assert [g.ask(headers=[("x-api-key", "my-key")]).status for _ in range(5)] == [200] * 5
    assert u.last.headers.get("x-tenant") == "alice" and "x-api-key" not in u.last.headers
    r.kill()
    assert g.ask(headers=[("x-api-key", "my-key")]).status == 200
    assert g.ask(headers=[("x-api-key", "third")]).status == 503
    assert len(u.requests) == 6


def test_a_quota_holds_over_two_gateways_by_the_script_in_redis(recipe, upstream, redis):
    u, r = upstream(), redis()
    one, two = (recipe("lua/plan-quota", UPSTREAM=u.url, REDIS=f"redis://{r.address}") for _ in range(2))
    said = [g.ask(headers=[("x-tenant", "acme")]) for g in (one, two, one, two)]
    # A minute may begin between two requests; half the limit of the last one then still counts.
    assert [a.status for a in said[:3]] == [200] * 3 and (said[3].status == 429 or u.requests[3:])
    assert said[0].headers.get("ratelimit").startswith("limit=3, remaining=2, ")
    assert one.ask(headers=[("x-tenant", "acme"), ("x-plan", "gold")]).status == 200
    assert r.ask("KEYS", "quota:{acme}:*")
    r.kill()
    assert [one.ask(headers=[("x-tenant", "globex")]).status for _ in range(3)] == [200] * 3
    one.wait_log("quotas are this gateway's own for now")


def test_what_is_published_reaches_a_browser_as_it_comes(recipe, redis):
    r = redis()
    g = recipe("lua/event-stream", REDIS=f"redis://{r.address}")
    client = g.client()
    client.request(target="/events/prices")
    head = client.until(b"\r\n\r\n")
    assert b"text/event-stream" in head and b"chunked" in head
    client.until(b"retry: 3000")
    wait_for(lambda: r.ask("PUBSUB", "NUMSUB", "prices") == ["prices", 1], "the subscription")
    r.ask("PUBLISH", "prices", '{"eur": 7}')
    client.until(b'data: {"eur": 7}\n\n')
    client.close()
    wait_for(lambda: r.ask("PUBSUB", "NUMSUB", "prices") == ["prices", 0], "the subscription's end")
    assert g.ask(target="/events/secrets").status == 404


def test_three_services_are_one_answer_and_an_optional_one_may_be_away(recipe, upstream):
    users = upstream(lambda request, wire: json_answer('{"name": "alice", "at": "%s"}' % request.target))
    orders = upstream(lambda request, wire: json_answer("[1, 2]"))
    adverts = upstream(lambda request, wire: json_answer('["buy!"]'))
    g = recipe("lua/aggregate", USERS=users.address, ORDERS=orders.address, ADVERTS=adverts.address)
    whole = g.ask(target="/home/7").json()
    assert whole == {"user": {"name": "alice", "at": "/users/7"}, "orders": [1, 2], "adverts": ["buy!"], "missing": []}
    adverts.close()
    whole = g.ask(target="/home/7").json()
    assert whole["adverts"] is None and whole["missing"] == ["adverts"]
    orders.close()
    assert g.ask(target="/home/7").status == 502


def test_many_callers_at_once_are_one_request_upstream(recipe, upstream):
    gate = threading.Event()

    def slow(request, wire):
        gate.wait()
        return answer(body=b"things")

    u = upstream(slow)
    g = recipe("lua/shared-cache", UPSTREAM=u.address, workers=2)
    clients = [g.client() for _ in range(20)]
    for client in clients:
        client.request(target="/catalogue/a?page=1")
    u.wait()
    gate.set()
    said = [client.response() for client in clients]
    assert all(a.status == 200 and a.body == b"things" for a in said)
    # Those whose requests came while it was asked waited for it; nobody asked a second time.
    assert len(u.requests) == 1
    assert sorted(a.headers.get("x-cache") for a in said) == ["hit"] * 19 + ["miss"]


def test_a_payment_is_made_once_over_a_restart(recipe, upstream, tmp_path):
    made = []

    def pay(request, wire):
        made.append(request)
        return answer(201, [("content-type", "application/json")], b'{"payment": %d}' % len(made))

    u = upstream(pay)
    for _ in range(2):
        g = recipe("lua/idempotency-key", UPSTREAM=u.url, STORE=str(tmp_path / "state.db"))
        said = g.ask("POST", "/payments", [("idempotency-key", "k-1")], b"10 EUR")
        assert said.status == 201 and said.json() == {"payment": 1}
        g.stop()
    assert said.headers.get("idempotency-replayed") == "true" and len(made) == 1


def test_copies_go_to_another_service_that_may_be_away(recipe, upstream):
    u, copy = upstream(), upstream()
    g = recipe("lua/mirror", UPSTREAM=u.url, MIRROR=copy.url, SHARE="1")
    assert g.ask(target="/a?b=1", headers=[("cookie", "s=1"), ("x-a", "1")]).status == 200
    copy.wait()
    assert copy.last.target == "/a?b=1" and copy.last.headers.get("x-a") == "1" and "cookie" not in copy.last.headers
    copy.close()
    assert g.ask(target="/b").status == 200


def test_a_list_is_fetched_and_obeyed_by_all_workers(recipe, upstream):
    u = upstream()
    bad = upstream(lambda request, wire: answer(body=b"127.0.0.0/8\n"))
    g = recipe("lua/blocklist", UPSTREAM=u.url, LIST=f"{bad.url}/bad.txt", workers=2)
    wait_for(lambda: g.ask().status == 403, "the list to be in force")
    assert {g.ask().status for _ in range(10)} == {403}
    assert len(bad.requests) == 1  # one of the workers


def test_a_collector_gets_the_log_in_batches_and_its_rest_when_the_gateway_stops(recipe, upstream):
    collector = upstream(lambda request, wire: answer(204))
    g = recipe("lua/batch-log", COLLECTOR=f"{collector.url}/logs")
    for i in range(3):
        g.ask(target=f"/{i}")
    collector.wait()
    g.ask(target="/last")
    g.stop()
    lines = b"".join(r.body for r in collector.requests).splitlines()
    assert len(lines) == 4 and b'"path":"/last"' in lines[-1]


@needs_build_tree
def test_an_upload_is_scanned_while_it_passes(recipe, upstream, built):
    u = upstream()
    g = recipe("body-scan", built, UPSTREAM=u.url)
    assert g.ask("PUT", "/uploads/a", body=b"harmless" * 10000).status == 200
    assert u.last.body == b"harmless" * 10000
    client = g.client()
    client.send(b"PUT /uploads/a HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 50000 + b"COMPANY CON")
    client.send(b"FIDENTIAL" + b"x" * 1000)
    assert client.response().status == 403
    client.close()
    g.wait_log("rule=internal")


@needs_build_tree
def test_a_tenant_goes_where_the_directory_says(recipe, upstream, built):
    east, west = upstream(lambda r, w: answer(body=b"east")), upstream(lambda r, w: answer(body=b"west"))
    directory = upstream(lambda request, wire: answer(body=b"west\n") if request.target == "/tenants/acme" else answer(404))
    g = recipe("shard-lookup", built, EAST=east.address, WEST=west.address, DIRECTORY=f"{directory.url}/tenants", workers=2)
    assert {g.ask(headers=[("x-tenant", "acme")]).body for _ in range(5)} == {b"west"}
    assert g.ask(headers=[("x-tenant", "nobody")]).status == 404
    assert [r.target for r in directory.requests] == ["/tenants/acme", "/tenants/nobody"]


@needs_build_tree
def test_a_digest_is_checked_on_another_thread(recipe, upstream, built):
    u = upstream()
    g = recipe("content-digest", built, UPSTREAM=u.url)
    body = b"0123456789" * 40000
    field = "sha-256=:%s:" % base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert g.ask("PUT", "/a", [("content-digest", field)], body).status == 200 and u.last.body == body
    assert g.ask("PUT", "/a", [("content-digest", field)], body[1:] + b"x").status == 400
    assert len(u.requests) == 1


@needs_build_tree
def test_pages_become_one_stream_as_fast_as_it_is_read(recipe, upstream, built):
    pages = 40

    def page(request, wire):
        n = int(request.target.rsplit("=", 1)[1])
        more = [("x-next", f"/orders?page={n + 1}")] if n < pages else []
        return answer(headers=more, body=b'{"page":%d,"text":"%s"}\n' % (n, b"x" * 200000))

    u = upstream(page)
    g = recipe("paged-export", built, ORDERS=u.address)
    client = g.client(rcvbuf=65536)
    client.request(target="/export/orders.ndjson")
    said = client.head(Response)
    wait_for(lambda: len(u.requests) >= 2, "pages")
    assert len(u.requests) < pages  # nobody has read yet: the fetching waits
    client.body(said)
    assert said.body.count(b"\n") == pages and len(u.requests) == pages


@needs_build_tree
def test_a_switch_turns_a_route_off_on_all_workers(recipe, upstream, built):
    u = upstream()
    switches = upstream(lambda request, wire: answer(body=b"export # now\n"))
    g = recipe("kill-switch", built, UPSTREAM=u.url, SWITCHES=f"{switches.url}/switches", workers=2)
    wait_for(lambda: g.ask(target="/export/a").status == 503, "the switch to be thrown")
    assert {g.ask(target="/export/a").status for _ in range(10)} == {503}
    g.wait_log("a switch was turned")
