"""What a verdict means in each phase: who sees the response afterwards, what is undone, what a late plugin costs."""
import re

import pytest

from harness import answer

CONFIG = """
local mg = require "moongate"

-- An entry that leaves its name in the response and in the log.
local function entry(name, t)
  t = t or {}
  t.id = name
  local respond = t.on_response
  t.on_response = function(x)
    x.response.headers:add("x-seen", name)
    if respond then return respond(x) end
  end
  t.on_log = function(x) mg.log.info("over " .. name .. " " .. x.request.path .. ";") end
  return t
end

local routes = {}
local function route(id, b, more)
  local r = { id, path = "/" .. id, upstream = "http://UPSTREAM", plugins = { entry "a", entry("b", b), entry "c" } }
  for k, v in pairs(more or {}) do r[k] = v end
  routes[#routes + 1] = r
end
local function boom() error("internal 10.1.2.3") end
local function forever() mg.sleep("1h") end

route("plain")
route("answer", { on_request = function(x) return x:respond(200, "from b") end })
route("error", { on_request = boom })
route("body-answer", { on_request_body = function(x) return x:respond(403, "no such body") end })
route("body-error", { on_request_body = boom })
route("response-answer", { on_response = function(x) return x:respond(418, "tea") end })
route("response-error", { on_response = boom })
route("late", { on_request = forever }, { timeouts = { plugin = "150ms" } })
route("late-response", { on_response = forever }, { timeouts = { plugin = "150ms" } })
route("late-exchange", { on_response = forever }, { timeouts = { exchange = "150ms" } })
route("late-piece", { on_request_body = forever }, { timeouts = { plugin = "150ms" } })
route("to-https", nil, { redirect_https = true })
route("small", nil, { limits = { body = 5 } })
route("undo", { on_error = "continue", on_request = function(x)
  x.request.headers["x-b"], x.request.headers["x-old"] = "1", nil
  x.request.method, x.request.path = "PUT", "/changed"
  x.request.query:set("q", "b")
  x.request:set_body("changed")
  x.upstream = "dead"
  boom()
end })
route("undo-gathered", { on_error = "continue", on_request = function(x)
  x.request:set_body("[" .. x.request:body() .. "]")
  boom()
end })
route("undo-response", { on_error = "continue", on_response = function(x)
  x.response.status, x.response.headers["x-b"] = 201, "1"
  x.response:set_body("changed")
  boom()
end })
route("undo-response-gathered", { on_error = "continue", on_response = function(x)
  x.response:set_body("[" .. x.response:body() .. "]")
  boom()
end })
route("undo-pieces", { on_error = "continue",
  on_request_body = function(x) x.piece = "changed" boom() end,
  on_response_body = function(x) x.piece = "changed" boom() end })
route("waits", {
  on_request = function(x) mg.sleep(1) x.request.headers["x-b"] = "1" end,
  on_request_body = function(x) mg.sleep(1) x.piece = x.piece:upper() end,
  on_response = function(x) mg.sleep(1) x.response.headers["x-b"] = "2" end,
  on_response_body = function(x) mg.sleep(1) x.piece = x.piece:upper() end })
local kept
route("keep", { on_request = function(x) kept = x return x:respond(200, "kept") end })
route("stale", { on_request = function(x)
  local _, read = pcall(function() return kept.request.path end)
  local _, write = pcall(function() return kept:respond(200, "late") end)
  return x:respond(200, read .. "; " .. write)
end })
route("greedy", { on_request = function(x)
  for i = 1, 100 do x.request.headers["x-" .. i] = ("y"):rep(2000) end
end }, { limits = { memory = "64k" } })
for i = 1, 30 do                          -- functions that only their place tells apart
  route("loop" .. i, { on_request = function(x) return x:respond(200, "loop " .. i) end })
end

return {
  listen = { "127.0.0.1:0" },
  upstreams = { dead = { targets = { "127.0.0.1:1" } } },
  plugins = { entry("g1", { on_rewrite = function(x)
                if x.request.path == "/rewrite-1" then return x:respond(200, "g1") end
                if x.request.path == "/rewrite-error" then boom() end
              end }),
              entry("g2", { on_rewrite = function(x)
                if x.request.path == "/rewrite-2" then mg.sleep(1) return x:respond(200, "g2") end
              end }),
              entry "g3" },
  routes = routes,
}
"""


@pytest.fixture
def gate(gateway, upstream):
    up = upstream(lambda r, w: answer(headers=[("content-type", "text/plain")], body=b"upstream " + r.body))
    g = gateway(CONFIG.replace("UPSTREAM", up.address))
    g.up = up
    return g


def seen(response):
    return " ".join(response.headers.all("x-seen"))


def logged(gate, path):
    return " ".join(re.findall(rf"over (\w+) {path};", gate.log()))


ALL = "c b a g3 g2 g1"


WHO = [
    ("GET", "/plain", 200, ALL),
    ("GET", "/answer", 200, "b a g3 g2 g1"),
    ("GET", "/error", 500, "b a g3 g2 g1"),
    ("GET", "/rewrite-1", 200, "g1"),
    ("GET", "/rewrite-2", 200, "g2 g1"),
    ("GET", "/rewrite-error", 500, "g1"),
    ("GET", "/nowhere", 404, "g3 g2 g1"),
    ("GET", "/to-https", 308, "g3 g2 g1"),
    ("POST", "/small", 413, "g3 g2 g1"),
    ("POST", "/body-answer", 403, ALL),
    ("POST", "/body-error", 500, ALL),
    ("GET", "/response-answer", 418, "a g3 g2 g1"),
    ("GET", "/response-error", 500, "a g3 g2 g1"),
    ("GET", "/late", 504, "b a g3 g2 g1"),
    ("GET", "/late-response", 504, "a g3 g2 g1"),
    ("GET", "/late-exchange", 504, "a g3 g2 g1"),
    ("POST", "/late-piece", 504, ALL),
]


def test_those_who_saw_the_request_see_the_response_and_all_log(gate):
    for method, path, status, who in WHO:
        r = gate.ask(method, path, body=b"123456789" if method == "POST" else None)
        assert (path, r.status, seen(r)) == (path, status, who)
        assert b"10.1.2.3" not in r.body and b"gateway.lua" not in r.body
        gate.wait_log(f"over g1 {path};")
        is_routed = f'route("{path[1:]}"' in CONFIG
        assert (path, logged(gate, path)) == (path, ALL if is_routed else "g3 g2 g1")


def test_a_late_plugin_is_named_in_the_log(gate):
    gate.ask("POST", "/late-piece", body=b"x")
    assert re.search(r"a plugin waited too long.* plugin=b .*route=late-piece", gate.log())


def test_what_a_failed_entry_changed_of_a_request_is_undone(gate):
    for path in ["/undo", "/undo-gathered", "/undo-pieces"]:
        r = gate.ask("POST", path + "?q=a", headers=[("x-old", "1")], body=b"body")
        assert (r.status, r.body) == (200, b"upstream body")
        request = gate.up.last
        assert (request.method, request.target, request.body) == ("POST", path + "?q=a", b"body")
        assert request.headers.get("x-old") == "1" and "x-b" not in request.headers


def test_what_a_failed_entry_changed_of_a_response_is_undone(gate):
    for path in ["/undo-response", "/undo-response-gathered"]:
        r = gate.ask("POST", path, body=b"body")
        assert (r.status, r.body, seen(r)) == (200, b"upstream body", "c a g3 g2 g1")
        assert "x-b" not in r.headers


def test_every_phase_may_wait(gate):
    r = gate.ask("POST", "/waits", body=b"body")
    assert (r.status, r.body, r.headers.get("x-b")) == (200, b"UPSTREAM BODY", "2")
    assert (gate.up.last.body, gate.up.last.headers.get("x-b")) == (b"BODY", "1")


def test_a_kept_handle_says_that_its_exchange_has_ended(gate):
    gate.ask("GET", "/keep")
    r = gate.ask("GET", "/stale")
    assert r.body.count(b"this exchange has ended") == 2


def test_an_exchange_that_used_up_its_memory_is_still_answered(gate):
    r = gate.ask("GET", "/greedy")
    assert (r.status, seen(r), r.headers.get("x-moongate-error")) == (500, "b a g3 g2 g1", "plugin_error")
    assert "over its memory budget" in gate.log()


def test_functions_made_in_a_loop_stay_with_their_route(gate):
    assert [gate.ask("GET", f"/loop{i}").body for i in range(1, 31)] == [f"loop {i}".encode() for i in range(1, 31)]
