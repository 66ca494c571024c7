"""Work outside of exchanges: tasks and timers, from Lua, in the real gateway."""
import signal
import time

from harness import wait_for


def config(body, workers=1, top="", route=""):
    return f"""
local mg = require "moongate"
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = {workers}, {top}
  plugin_path = "plugins",
  routes = {{ {{ "r", path = "/*", plugins = {{ {body} }} }} }},
}}
"""


def plugin(g_folder, name, text):
    folder = g_folder / "plugins"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.lua").write_text(text)


def lines(g, text):
    return [line for line in g.log().splitlines() if text in line]


def test_a_spawned_function_outlives_its_exchange_and_the_client(gateway):
    g = gateway(config("""{ on_request = function(x)
      mg.spawn(function(name) mg.sleep(200) mg.log.info("spawned for " .. name) end, x.request.path)
      return x:respond(202, "later")
    end }"""))
    client = g.client()
    client.request("GET", "/one")
    assert client.response().status == 202
    client.close()
    wait_for(lambda: lines(g, "spawned for /one"), "the task's line")


def test_a_task_of_on_log_runs(gateway):
    g = gateway(config("""{ on_request = function(x) return x:respond(200, "ok") end,
      on_log = function(x) local id = x.id; mg.spawn(function() mg.sleep(1) mg.log.info("logged later") end) end }"""))
    assert g.ask().status == 200
    wait_for(lambda: lines(g, "logged later"), "the task's line")


def test_an_error_in_a_task_is_logged_with_its_plugin_and_line(gateway):
    g = gateway(config("""{ on_request = function(x)
      mg.spawn(function() mg.sleep(1) error("broken on purpose") end)
      return x:respond(200, "ok")
    end }"""))
    assert g.ask().status == 200
    wait_for(lambda: lines(g, "broken on purpose"), "the error")
    assert "task" in lines(g, "broken on purpose")[0]
    assert "gateway.lua" in lines(g, "broken on purpose")[0]
    assert g.ask().status == 200


def test_a_worker_has_no_more_tasks_than_it_may(gateway):
    g = gateway(config("""{ on_request = function(x)
      local made, why = mg.spawn(function() mg.sleep("1h") end)
      return x:respond(made and 200 or 429, why or "ok")
    end }""", top='tasks = { max = 3 }, drain = "100ms",'))
    assert [g.ask().status for _ in range(5)] == [200, 200, 200, 429, 429]
    g.signal(signal.SIGTERM)
    g.stop()
    assert lines(g, "cut") or lines(g, "stopped")
