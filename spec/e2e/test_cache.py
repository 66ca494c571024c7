"""mg.cache: one computes, the others wait for it."""
import threading

from harness import wait_for

CONFIG = """
local mg = require "moongate"
local options = {{ ttl = "1m", negative_ttl = "{negative}" }}
local function compute(key)
  local n = mg.shared.calls:incr(key, 1, 0)
  while not mg.shared.calls:get("go" .. key) do mg.sleep(10) end
  {body}
  return {{ name = key, n = n }}
end
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0",
  routes = {{
    {{ "go", path = "/go/{{k}}", plugins = {{ {{ on_request = function(x)
      mg.shared.calls:set("go" .. x.request.params.k, true)
      return x:respond(200, tostring(mg.shared.calls:get(x.request.params.k) or 0))
    end }} }} }},
    {{ "count", path = "/count/{{k}}", plugins = {{ {{ on_request = function(x)
      return x:respond(200, tostring(mg.shared.calls:get(x.request.params.k) or 0))
    end }} }} }},
    {{ "delete", path = "/delete/{{k}}", plugins = {{ {{ on_request = function(x)
      mg.cache("users", options):delete(x.request.params.k)
      return x:respond(200, "")
    end }} }} }},
    {{ "get", path = "/{{k}}", plugins = {{ {{ on_request = function(x)
      mg.shared.calls:incr("asked", 1, 0)
      local v, why = mg.cache("users", options):get(x.request.params.k, compute)
      return x:respond(v and 200 or 404, v or why)
    end }} }} }},
  }},
}}
"""


def config(body="", negative="0ms"):
    return CONFIG.format(body=body, negative=negative)


def asking(g, path, n):
    """n requests under way, all of which have asked; a function that gives their answers."""
    before = int(g.ask(target="/count/asked").body)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(g.ask(target=path))) for _ in range(n)]
    for t in threads:
        t.start()
    wait_for(lambda: int(g.ask(target="/count/asked").body) == before + n, "all to have asked")

    def finish():
        for t in threads:
            t.join()
        return answers

    return finish


def test_two_hundred_that_ask_at_once_are_served_by_one_computation(gateway):
    g = gateway(config(), workers=3)
    finish = asking(g, "/a", 200)
    g.reload()  # the old snapshot computes on
    g.ask(target="/go/a")
    answers = finish()
    assert [a.status for a in answers] == [200] * 200
    assert {a.json()["n"] for a in answers} == {1}
    assert g.ask(target="/a").json()["n"] == 1, "a reload forgets nothing"


def test_when_the_client_of_the_computing_one_leaves_the_next_takes_over(gateway):
    g = gateway(config(), workers=3)
    first = g.client()
    first.request(target="/b")
    wait_for(lambda: g.ask(target="/count/b").body == b"1", "the first to compute")
    finish = asking(g, "/b", 20)
    first.close()
    wait_for(lambda: g.ask(target="/count/b").body == b"2", "the next to compute")
    g.ask(target="/go/b")
    answers = finish()
    assert [a.status for a in answers] == [200] * 20
    assert {a.json()["n"] for a in answers} == {2}


def test_those_that_leave_while_they_wait_hold_nobody_up(gateway):
    g = gateway(config(), workers=2)
    clients = [g.client() for _ in range(10)]
    for c in clients:
        c.request(target="/c")
    wait_for(lambda: int(g.ask(target="/count/asked").body) == 10, "all to have asked")
    for c in clients[::2]:
        c.close()
    g.ask(target="/go/c")
    assert {c.response().status for c in clients[1::2]} == {200}
    assert g.ask(target="/c").status == 200


def test_a_failure_is_told_to_all_that_wait_and_kept_only_when_it_is_to_be(gateway):
    for negative, calls in (("0ms", b"2"), ("1m", b"1")):
        g = gateway(config('if true then return nil, "none" end', negative), workers=2)
        finish = asking(g, "/d", 10)
        g.ask(target="/go/d")
        assert {(a.status, a.body) for a in finish()} == {(404, b"none")}
        assert g.ask(target="/d").body == b"none"
        assert g.ask(target="/count/d").body == calls


def test_a_delete_reaches_every_worker(gateway):
    g = gateway(config(), workers=3)
    g.ask(target="/go/e")
    for _ in range(10):
        assert g.ask(target="/e").json()["n"] == 1
    g.ask(target="/delete/e")
    assert {g.ask(target="/e").json()["n"] for _ in range(10)} == {2}
