"""on_worker handlers that wait: before a worker serves, without holding up what it serves already."""

import threading

from harness import Ended, answer, wait_for
from redis_probe import redis  # noqa: F401
from test_tasks import lines, plugin


def reload_in_vain(g):
    try:
        g.reload()
    except (OSError, Ended):
        pass


def config(entries, workers=1, top="", more="", text="one"):
    return f"""
local mg = require "moongate"
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = {workers}, {top}
  plugin_path = "plugins",
  routes = {{ {{ "r", path = "/*", plugins = {{ {entries}, {{ on_request = function(x) return x:respond(200, "{text}") end }} }} }} }},
  {more}
}}
"""


def lua(body, head=""):
    return f"""local mg = require "moongate"
{head}
return {{ name = "waits", doc = "Waits on each worker.", version = "1.0",
  fields = {{ url = {{ type = "string", doc = "To ask." }} }},
  on_worker = function(conf) {body} end,
  on_request = function(x) if x.request.path == "/got" then return x:respond(200, GOT or "nothing") end end }}
""".replace("GOT", "got")


def test_a_worker_serves_when_its_on_worker_has_heard_from_others(gateway, upstream, redis, tmp_path):
    r, u = redis(), upstream(lambda request, wire: answer(body=b"of http"))
    r.ask("SET", "k", "of redis")
    plugin(tmp_path / "gateway0", "waits", lua("""
      local all, wrong = mg.all { function() return assert(mg.http.get(conf.url)).body end, function() return redis:get("k") end,
                                  function() return mg.dns.resolve("127.0.0.9")[1] end,
                                  function() return assert(mg.http.request { upstream = "local" }).body end }
      if wrong then error(mg.json.encode(wrong)) end
      mg.sleep(20)
      mg.spawn(function() mg.log.info("spawned " .. got) end)
      got = table.concat(all, ", ")""", f'local redis, got = mg.redis.new {{ url = "redis://{r.address}" }}, nil'))
    g = gateway(config(f'{{ "waits", url = "{u.url}" }}', workers=2, more=f'upstreams = {{ ["local"] = {{ targets = {{ "127.0.0.1:{u.port}" }} }} }},'), workers=0)
    for _ in range(8):
        assert g.ask("GET", "/got").body == b"of http, of redis, 127.0.0.9, of http"
    wait_for(lambda: len(lines(g, "spawned of http")) == 2, "what they spawned, on each")


def test_a_reload_waits_for_on_worker_and_requests_do_not(gateway, upstream, tmp_path):
    go = threading.Event()
    u = upstream(lambda request, wire: go.wait(20) and answer(body=b"at last"))
    plugin(tmp_path / "gateway0", "waits", lua("got = mg.http.get(conf.url).body", "local got"))
    g = gateway(config('{ on_log = function() end }'))
    g.write(config(f'{{ "waits", url = "{u.url}" }}', text="two"))
    told = []
    t = threading.Thread(target=lambda: told.append(g.reload()))
    t.start()
    wait_for(lambda: len(u.requests) >= 1, "on_worker to ask")
    for _ in range(5):
        assert g.ask().body == b"one"
    assert not told
    go.set()
    t.join()
    assert told[0].status == 200
    assert g.ask().body == b"two" and g.ask("GET", "/got").body == b"at last"


def test_an_error_after_a_wait_refuses_the_reload(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "waits", lua('mg.sleep(10) error("no luck after all")'))
    g = gateway(config('{ on_log = function() end }'))
    g.write(config('"waits"', text="two"))
    res = g.reload()
    assert res.status == 422 and b"on_worker" in res.body
    assert "no luck after all" in g.log()
    assert g.ask().body == b"one"


def test_one_that_waits_for_too_long_is_cancelled_and_the_worker_serves(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "waits", lua('got = "half" mg.sleep("1h") got = "whole"', "local got"))
    plugin(tmp_path / "gateway0", "after", """local mg = require "moongate"
      return { name = "after", doc = "Comes later.", version = "1.0", on_worker = function() mg.log.info("the other one ran") end }""")
    g = gateway(config('"waits", "after"', top='tasks = { on_worker = "150ms" },'))
    assert g.ask("GET", "/got").body == b"half"
    assert "on_worker waits for longer than" in g.log() and "the other one ran" in g.log()


def test_a_stop_does_not_wait_for_on_worker(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "waits", lua('mg.log.info("begins to wait") mg.sleep("1h")'))
    g = gateway(config('{ on_log = function() end }', top='tasks = { on_worker = "1h" },'))
    g.write(config('"waits"', top='tasks = { on_worker = "1h" },'))
    threading.Thread(target=reload_in_vain, args=(g,), daemon=True).start()
    wait_for(lambda: lines(g, "begins to wait"), "on_worker to begin")
    assert g.ask().body == b"one"
    g.stop()
