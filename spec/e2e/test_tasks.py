"""Work outside of exchanges: tasks and timers, from Lua, in the real gateway."""

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
    g.stop()
    assert lines(g, "cut") or lines(g, "stopped")


TICKER = """
local mg = require "moongate"
return { name = "ticker", doc = "Counts.", version = "1.0",
  fields = { name = { type = "string", required = true, doc = "Its name." } },
  on_worker = function(conf)
    mg.timer.every(50, function() mg.log.info("each " .. conf.name) end)
    mg.timer.every(50, function() mg.log.info("once " .. conf.name) end, { once_per_gateway = true })
    mg.spawn(function() while true do mg.sleep(20) end end)
    mg.spawn(function() mg.log.info("worker began " .. conf.name) end)
  end,
  on_request = function(x) return x:respond(200, "ok") end,
}
"""


def ticking(n, workers=1):
    return config(f'{{ "ticker", name = "v{n}." }}', workers=workers)


def count(g, text):
    return len(lines(g, text))


def test_twenty_reloads_leave_one_configuration_ticking(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "ticker", TICKER)
    g = gateway(ticking(0))
    for n in range(1, 21):
        g.write(ticking(n))
        assert g.reload().status == 200
    wait_for(lambda: count(g, "each v20.") >= 3, "the newest to tick")
    wait_for(lambda: count(g, "worker began v20."), "its task")
    before = {n: count(g, f"each v{n}.") for n in range(20)}
    seen = count(g, "each v20.")
    wait_for(lambda: count(g, "each v20.") >= seen + 5, "more ticks")
    assert {n: count(g, f"each v{n}.") for n in range(20)} == before
    g.stop()


def test_once_per_gateway_is_one_worker_whatever_their_number(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "ticker", TICKER)
    g = gateway(ticking(0, workers=3), workers=0)
    wait_for(lambda: count(g, "once v0.") >= 10, "ten beats")
    each, once = count(g, "each v0."), count(g, "once v0.")
    assert each > once * 2, (each, once)  # each of three workers has its own
    g.write(ticking(1, workers=1))
    assert g.reload().status == 200
    wait_for(lambda: count(g, "once v1.") >= 10, "ten beats on one worker")
    each, once = count(g, "each v1."), count(g, "once v1.")
    g.write(ticking(2, workers=3))
    assert g.reload().status == 200
    wait_for(lambda: count(g, "once v2.") >= 10, "ten beats on three workers again")
    assert count(g, "each v2.") > count(g, "once v2.") * 2


def test_a_reload_that_is_refused_begins_nothing(gateway, tmp_path):
    plugin(tmp_path / "gateway0", "ticker", TICKER)
    g = gateway(ticking(0))
    plugin(tmp_path / "gateway0", "breaker", """return { name = "breaker", doc = "Breaks.", version = "1.0",
      on_worker = function() error("not here") end, on_request = function() end }""")
    g.write(config('{ "ticker", name = "v1." }, "breaker"'))
    assert g.reload().status == 422
    seen = count(g, "each v0.")
    wait_for(lambda: count(g, "each v0.") >= seen + 5, "the old one to go on")
    assert count(g, "v1.") == 0


def test_a_stop_waits_for_a_task_and_cancels_it_when_the_drain_is_over(gateway):
    body = """{ on_request = function(x)
      mg.spawn(function() mg.sleep(300) mg.log.info("came to its end") end)
      return x:respond(200, "ok")
    end }"""
    g = gateway(config(body, top='drain = "10s",'))
    assert g.ask().status == 200
    g.stop()
    assert lines(g, "came to its end")
    g = gateway(config(body.replace("300", "60000"), top='drain = "100ms",'))
    assert g.ask().status == 200
    g.stop()
    assert not lines(g, "came to its end")


def test_names_are_resolved_on_the_control_thread(gateway):
    g = gateway(config("""{ on_request = function(x)
      local list, why = mg.dns.resolve("127.0.0.9")
      local localhost = mg.dns.resolve("localhost", { type = "A" })
      return x:respond(200, { list = list or why, localhost = localhost })
    end }""", workers=2), workers=0)
    for _ in range(5):
        assert g.ask().json() == {"list": ["127.0.0.9"], "localhost": ["127.0.0.1"]}
