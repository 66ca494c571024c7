"""mg.redis with more than one server: sentinels and their failover, a cluster whose slots move, subscriptions over a break."""
import threading

import pytest

from harness import PATIENCE, wait_for
from redis_probe import probe, redis  # noqa: F401
from redis_servers import cluster, finish_move, move_slot, sentinel_set, slot_owner, stop_all


@pytest.fixture
def watched(tmp_path):
    servers = []
    master, replica, watchers = sentinel_set(tmp_path / "set")
    servers += [master, replica, *watchers]
    yield master, replica, watchers
    stop_all(servers)


@pytest.fixture
def nodes(tmp_path):
    started = cluster(tmp_path / "cluster")
    yield started
    stop_all(started)


def listen(g, *words):
    got = []
    t = threading.Thread(target=lambda: got.append(g.run(*words)))
    t.start()
    return t, got


def test_a_failover_is_followed(probe, watched):
    master, replica, watchers = watched
    g = probe(sentinels=",".join(s.address for s in watchers), master="mymaster")
    assert g.run("call", "SET", "k", "1") == ("OK", None)
    assert master.ask("GET", "k") == "1"
    wait_for(lambda: replica.ask("GET", "k") == "1", "the replica to have it")
    master.kill()
    value, why = g.run("call", "SET", "k", "2")
    assert value is None and why
    wait_for(lambda: g.run("call", "SET", "k", "2")[0] == "OK", "the new master to be used", PATIENCE * 2)
    assert replica.ask("GET", "k") == "2"


def test_a_master_that_was_demoted_is_left(probe, watched):
    master, replica, watchers = watched
    g = probe(sentinels=",".join(s.address for s in watchers), master="mymaster")
    assert g.run("call", "SET", "k", "1") == ("OK", None)
    watchers[0].ask("SENTINEL", "FAILOVER", "mymaster")

    def is_there():
        try: # a demoted master takes writes until it is told, and both cut their clients off then
            return g.run("call", "SET", "k", "2")[0] == "OK" and replica.ask("GET", "k") == "2" and replica.ask("ROLE")[0] == "master"
        except ConnectionError:
            return False

    wait_for(is_there, "the new master to be used", PATIENCE * 2)


def test_one_sentinel_is_enough_and_none_is_told(probe, watched):
    _, _, watchers = watched
    watchers[0].kill()
    g = probe(sentinels=",".join(s.address for s in watchers), master="mymaster")
    assert g.run("call", "SET", "k", "1") == ("OK", None)
    g = probe(sentinels=watchers[1].address, master="other")
    assert "No such master" in g.run("call", "GET", "k")[1] or "no set named other" in g.run("call", "GET", "k")[1]
    g = probe(sentinels=watchers[0].address, master="mymaster")
    assert "refused" in g.run("call", "GET", "k")[1]


def test_keys_of_a_cluster_go_to_their_owners(probe, nodes):
    g = probe(cluster=nodes[0].address)
    for i in range(60):
        assert g.run("call", "SET", f"key{i}", str(i)) == ("OK", None)
    assert sum(n.ask("DBSIZE") for n in nodes) == 60
    assert all(n.ask("DBSIZE") > 0 for n in nodes)
    words = " ; ".join(f"GET key{i}" for i in range(60)).split()
    assert g.run("pipeline", *words) == ([str(i) for i in range(60)], None)
    assert all("cmdstat_get" in n.ask("INFO", "commandstats") for n in nodes)
    assert g.run("transaction", "SET", "{tag}a", "1", ";", "INCR", "{tag}a") == (["OK", 2], None)
    assert g.run("eval", "return redis.call('GET', KEYS[1])", "{tag}a", "") == ("2", None)
    assert "CROSSSLOT" in g.run("call", "MSET", "key1", "a", "key2", "b")[1]


def test_a_slot_that_has_moved_is_followed(probe, nodes):
    g = probe(cluster=",".join(n.address for n in nodes))
    slot = nodes[0].ask("CLUSTER", "KEYSLOT", "moving")
    assert g.run("call", "SET", "moving", "1") == ("OK", None)
    source = slot_owner(nodes, slot)
    target = next(n for n in nodes if n is not source)
    move_slot(nodes, slot, target)
    assert g.run("call", "INCR", "moving") == (2, None)
    assert g.run("transaction", "INCR", "moving", ";", "GET", "moving") == ([3, "3"], None)
    assert target.ask("GET", "moving") == "3"


def test_a_slot_on_its_way_is_asked_for_where_the_key_is(probe, nodes):
    g = probe(cluster=nodes[0].address)
    assert g.run("call", "SET", "{half}a", "1") == ("OK", None)
    slot = nodes[0].ask("CLUSTER", "KEYSLOT", "{half}a")
    source = slot_owner(nodes, slot)
    target = next(n for n in nodes if n is not source)
    move_slot(nodes, slot, target, keys=False)
    assert g.run("call", "GET", "{half}a") == ("1", None) # still there
    assert g.run("call", "SET", "{half}b", "new") == ("OK", None) # ASK: at the target
    assert g.run("call", "GET", "{half}b") == ("new", None)
    assert "TRYAGAIN" in g.run("call", "MGET", "{half}a", "{half}b")[1] # a bound on trying
    source.ask("MIGRATE", "127.0.0.1", target.port, "{half}a", 0, 5000)
    finish_move(nodes, slot, target)
    assert g.run("call", "MGET", "{half}a", "{half}b") == (["1", "new"], None)


def test_a_seed_that_is_down_does_not_matter_and_a_lost_owner_is_told(probe, nodes):
    g = probe(cluster=f"127.0.0.1:1,{nodes[1].address}")
    assert g.run("call", "SET", "k", "v") == ("OK", None)
    owner = slot_owner(nodes, nodes[1].ask("CLUSTER", "KEYSLOT", "k"))
    owner.kill()
    value, why = g.run("call", "GET", "k")
    assert value is None and why
    owner.start()
    wait_for(lambda: g.run("call", "SET", "k", "w")[0] == "OK", "the owner's return", PATIENCE)


def test_a_subscription_is_made_again_after_a_break_and_says_so(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    t, got = listen(g, "listen", "news.*")
    wait_for(lambda: r.ask("PUBSUB", "NUMPAT") == 1, "the subscription")
    r.ask("PUBLISH", "news.a", "one")
    r.restart()
    wait_for(lambda: r.ask("PUBSUB", "NUMPAT") == 1, "the subscription once more")
    r.ask("PUBLISH", "news.b", "two")
    r.ask("PUBLISH", "news.b", "end")
    t.join()
    told, failed = got[0]
    if told[0] == "one":  # what a server had not sent when it was killed is lost
        told = told[1:]
    assert told == ["reconnected", "two", "end"] and failed is None and len(got) == 1


def test_a_subscriber_that_leaves_is_unsubscribed(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}")
    c = g.client()
    c.request("GET", "/listen?w=news")
    wait_for(lambda: r.ask("PUBSUB", "NUMPAT") == 1, "the subscription")
    c.close()
    wait_for(lambda: r.ask("PUBSUB", "NUMPAT") == 0, "the subscription's end")


def test_messages_that_nobody_receives_are_bounded_and_the_loss_is_told(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}", messages="10")
    t, got = listen(g, "deaf", "news")
    wait_for(lambda: r.ask("PUBSUB", "NUMSUB", "news")[1] == 1, "the subscription")
    c = r.connect()
    for i in range(500):
        c.ask("PUBLISH", "news", f"m{i}")
    c.ask("SET", "all sent", "1")
    c.close()
    t.join()
    event, count, payload = got[0][0]
    assert event == "lost" and payload == f"m{count}" and count >= 1


def test_no_subscription_without_a_server(probe):
    g = probe(url="redis://127.0.0.1:1")
    value, why = g.run("listen", "news.*")
    assert value is None and "refused" in why


def test_too_many_commands_at_once_are_refused(probe, redis):
    r = redis()
    g = probe(url=f"redis://{r.address}", queue="20")
    words = ["INCR", "n", ";"] * 30 + ["INCR", "n"]
    value, why = g.run("pipeline", *words)
    assert value is None and "queue" in why
    assert g.run("call", "INCR", "n") == (1, None)


LISTENER = """
local mg = require "moongate"
local redis = mg.redis.new { url = "redis://REDIS", name = "gateway" }
local plugin = { name = "listener", version = "1.0", doc = "Counts what a channel says, in a task of each worker." }
function plugin.on_worker()
  mg.spawn(function()
    local s = redis:subscribe("news")
    while s do
      local m = s:receive("200ms")
      if m and m.payload then
        mg.shared.heard:incr("n", 1, 0)
        for _ = 1, 20 do redis:incr("echo") end
      end
    end
  end)
end
function plugin.on_request(x) return x:respond(200, { heard = mg.shared.heard:get("n") or 0 }) end
return plugin
"""


def test_a_task_listens_for_as_long_as_its_worker_and_ends_with_its_config(gateway, redis, tmp_path):
    r = redis()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "listener.lua").write_text(LISTENER.replace("REDIS", r.address))
    config = """return { listen = "127.0.0.1:0", admin = "127.0.0.1:0",
      routes = { { "all", path = "/*", upstream = "http://127.0.0.1:1", plugins = { "listener" } } } }"""
    g = gateway(config, workers=2)

    def listeners():
        return r.ask("PUBSUB", "NUMSUB", "news")[1]

    wait_for(lambda: listeners() == 2, "a subscription of each worker")
    for _ in range(100):
        r.ask("PUBLISH", "news", "x")
    wait_for(lambda: g.ask().json()["heard"] == 200, "all messages in both workers")
    wait_for(lambda: r.ask("GET", "echo") == "4000", "the tasks' own commands")
    g.write(config + " -- another")
    assert g.reload().status == 200
    wait_for(lambda: listeners() == 2, "the old tasks' end and the new ones' beginning")
    before = g.ask().json()["heard"]
    r.ask("PUBLISH", "news", "x")
    wait_for(lambda: g.ask().json()["heard"] == before + 2, "both new tasks")
