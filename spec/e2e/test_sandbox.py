"""Scripts of lesser trust: what a sandboxed plugin can do, and forty ways out of it that lead nowhere."""
import re

import pytest

from harness import run, wait_for

GUEST = """
local mg = require "moongate"
local helper = require "helper"
local kept
return { name = "guest", on_request = function(x, conf)
  local f, why = load(x.request.headers["x-code"] or "return 1", "=code")
  if not f then return x:respond(200, "load: " .. tostring(why)) end
  if x.request.headers["x-keep"] then kept = x end
  local ok, r = pcall(f, x, mg, conf, kept)
  return x:respond(200, (ok and "" or "error: ") .. tostring(r))
end }
"""
# Each returns true when it got out (the same code, in a plugin that is trusted, may).
ESCAPES = {
    "io": "return io ~= nil",
    "os.execute": "return os.execute ~= nil",
    "os.remove": "return os.remove ~= nil",
    "os.rename": "return os.rename ~= nil",
    "os.exit": "return os.exit ~= nil",
    "os.tmpname": "return os.tmpname ~= nil",
    "os.getenv": "return os.getenv ~= nil",
    "debug": "return debug ~= nil",
    "jit": "return jit ~= nil",
    "ffi by its name": "return ffi ~= nil",
    "ffi by require": "return require 'ffi' ~= nil",
    "the host by require": "return require 'moongate.host' ~= nil",
    "the test kit by require": "return require 'moongate.test' ~= nil",
    "jit.util by require": "return require 'jit.util' ~= nil",
    "package": "return package ~= nil",
    "package.loadlib": "return package.loadlib ~= nil",
    "the libraries of others by require": "return require 'string' ~= string or require('string').dump ~= nil",
    "a module of the operator": "return require 'conf.keys' ~= nil",
    "a module by a path": "return require '/etc/passwd' ~= nil",
    "a module by a path upwards": "return require '..conf.keys' ~= nil",
    "a module by an upward slash": "return require '../conf/keys' ~= nil",
    "getfenv of a level": "return getfenv(0) ~= nil",
    "getfenv of a function of the PDK": "return getfenv(select(2, ...).log.info) ~= nil",
    "setfenv": "return setfenv(1, {}) ~= nil",
    "dofile": "return dofile('/etc/passwd') ~= nil",
    "loadfile": "return loadfile('/etc/passwd') ~= nil",
    "newproxy": "return newproxy(true) ~= nil",
    "collectgarbage": "return collectgarbage('count') > 0",
    "bytecode": "return load(string.dump(function() return true end))()",
    "bytecode of a string's own method": "return load((''):dump(function() return true end))() == true",
    "bytecode by loadstring": "return loadstring('\\27LJ\\2\\2') ~= nil",
    "bytecode in pieces": "local t = { '\\27', 'LJ', '' } local i = 0 return load(function() i = i + 1 return t[i] end) ~= nil",
    "globals of loaded code": "return load('return io or debug or package')() ~= nil",
    "globals of loaded code with an environment": "return load('return _G', 'n', 't', {})() ~= nil",
    "the metatable of strings": "return getmetatable('') ~= nil",
    "the methods of all strings": "getmetatable('').__index.upper = function() return 'mine' end return ('x'):upper() == 'mine'",
    "the metatable of x": "return getmetatable((...)) ~= nil",
    "a metatable for x": "return setmetatable((...), {}) ~= nil",
    "the memory behind x": "return (...)[0] ~= nil",
    "the memory beside x": "return ((...) + 1)[0] ~= nil",
    "the memory behind a part of x": "return (...).request[0] ~= nil",
    "writing behind x": "(...)[0] = 1 return true",
    "the address of x": "return tonumber((...)) ~= nil or tostring((...)):find('0x') ~= nil",
    "arithmetic on x": "return (...) - (...) ~= nil",
    "another exchange by its number": "local x = ... local status = x.request.headers local get = status.get or status.all return get(12345, 'host') ~= nil",
    "a handle made of a 64-bit integer": "local x = ... x.respond(5LL, 200, 'forged') return true",
    "the methods of regular expressions": "local _, mg = ... local o = mg.re.compile('a') o.__index.match = 1 return true",
    "the metatable of regular expressions": "local _, mg = ... return getmetatable(mg.re.compile('a')) ~= nil",
    "the methods of templates": "local _, mg = ... return mg.template('a').__index ~= nil",
    "the null of JSON": "local _, mg = ... mg.json.null.x = 1 return true",
    "the null of JSON, raw": "local _, mg = ... rawset(mg.json.null, 'x', 1) return true",
    "a metatable for the null of JSON": "local _, mg = ... setmetatable(mg.json.null, {}) return true",
    "what x:respond gives": "local x = ... local r = x:respond(200, 'a') r.x = 1 return true",
    "the log that x has": "local x = ... x.log.info = 1 return true",
    "the log that x has, raw": "local x = ... rawset(x.log, 'info', 1) return true",
    "a table in ctx": "local x = ... return x.ctx.secret ~= nil",
    "a function into ctx": "local x = ... x.ctx.mine = function() end return true",
    "a new global": "leaked = 1 return true",
    "a global through a metatable": "setmetatable(_G, nil) leaked = 1 return true",
    "yielding to the host": "coroutine.yield('wait', 1) return true",
    "no pointer where a regular expression was": "local _, mg = ... local o = mg.re.compile('a') o.re = nil return o:match('a') ~= nil",
    "a number where a regular expression was": "local _, mg = ... local o = mg.re.compile('a') o.re = 4096LL return o:match('a') ~= nil",
    "a string where a regular expression was": "local _, mg = ... local o = mg.re.compile('a') o.re = ('x'):rep(99) return o:match('a') ~= nil",
    "a counter that nobody made": "local _, mg = ... local o = mg.metric.counter('sandbox_x', 'x') o.number = 2 ^ 30 o:add(1) return true",
    "a dictionary that nobody made": "local _, mg = ... local d = mg.shared.mine d.at = 2 ^ 30 d:set('a', 1) return true",
    "the methods of all stores": "local _, mg = ... mg.store('a').__index.get = function() return 'forged' end return true",
    "the methods of all caches": "local _, mg = ... mg.cache('a').__index.get = function() return 'forged' end return true",
    "the methods of all timers": "local _, mg = ... mg.timer.after(1e6, function() end).__index.cancel = nil return true",
    "the methods of all tasks": "local _, mg = ... mg.spawn(function() end).__index.cancel = nil return true",
    "no pointer where a cache was": "local _, mg = ... local c = mg.cache('mine') c.at = nil return c:get('a', function() return nil end) ~= nil",
    "a file to write lines to": "local _, mg = ... return mg.sink('evil.log') ~= nil",
    "a file as a key": "local _, mg = ... return mg.http.get('https://127.0.0.1:1/', { key = '/etc/hostname' }) ~= nil",
    "a file as Redis' key": "local _, mg = ... return mg.redis.new { url = 'rediss://127.0.0.1:1', ca = '/etc/hostname' } ~= nil",
    "the stack by an error's handler": "return select(2, xpcall(error, function() return debug or getfenv end)) ~= nil",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    from harness import Gateway, Upstream

    folder = tmp_path_factory.mktemp("sandbox")
    own = folder / "own"
    own.mkdir()
    (own / "guest.lua").write_text(GUEST)
    (own / "helper.lua").write_text("local mg = require 'moongate' return { io = io, name = 'helper', now = mg.now_ms }")
    (folder / "helper.lua").write_text("return { name = 'of the config' }")
    (folder / "conf").mkdir()
    (folder / "conf" / "keys.lua").write_text("return { 'secret' }")
    u = Upstream()
    g = Gateway(folder, f"""
local keys = require "conf.keys"
local function keeps(x) x.ctx.secret = keys x.ctx.word = "plain" end
local check = {{ on_request = function(x)
  local mg = require "moongate"
  return x:respond(200, {{ upper = ("x"):upper(), null = mg.json.encode({{ a = mg.json.null }}), leaked = rawget(_G, "leaked"),
                           match = mg.re.compile("a"):match("a") and true, info = type(mg.log.info), get = type(mg.store("a").get) }})
end }}
return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = {{ "own" }}, plugins = {{}},
  routes = {{
    {{ "guest", path = "/guest", upstream = "{u.url}", plugins = {{ {{ on_request = keeps }}, {{ "guest", sandbox = true }} }} }},
    {{ "trusted", path = "/trusted", upstream = "{u.url}", plugins = {{ {{ on_request = keeps }}, "guest" }} }},
    {{ "check", path = "/check", plugins = {{ check }} }},
  }} }}""")
    yield g
    g.stop()
    u.close()


def tried(g, code, target="/guest", headers=()):
    return g.ask("GET", target, [("x-code", code), *headers]).body.decode()


@pytest.mark.parametrize("name", ESCAPES)
def test_there_is_no_way_out_by(house, name):
    said = tried(house, ESCAPES[name])
    assert said in ("nil", "false") or said.startswith(("error: ", "load: ")) or '"status":500' in said, said
    assert house.ask("GET", "/check").json() == {"upper": "X", "null": '{"a":null}', "match": True, "info": "function", "get": "function"}


def test_many_of_them_lead_out_of_a_plugin_that_is_trusted(house):
    for name in ("io", "ffi by require", "the host by require", "a table in ctx", "package", "os.getenv"):
        assert tried(house, ESCAPES[name], "/trusted") == "true", name


def test_pure_lua_and_the_pdk_work_in_a_sandbox(house):
    works = {
        "return ('%d'):format(7) .. table.concat({ 'a', 'b' }, '-') .. math.floor(2.5) .. bit.bor(1, 2)": "7a-b23",
        "local t = setmetatable({}, { __index = function(_, k) return k end }) return t.self": "self",
        "local t = setmetatable({}, { a = 1 }) return getmetatable(t).a": "1",
        "local co = coroutine.wrap(function() coroutine.yield(1) end) return co()": "1",
        "return load('return 1 + 1')()": "2",
        "local x = ... x.request.headers['x-set'] = 'yes' return x.request.headers['x-set']": "yes",
        "local x = ... return x.ctx.word": "plain",
        "local x = ... x.ctx.mine = 'text' return x.ctx.mine": "text",
        "local _, mg = ... mg.sleep(1) return mg.json.encode({ a = mg.json.null })": '{"a":null}',
        "local _, mg = ... return mg.re.compile('b+'):match('abbc') and 'found'": "found",
        "local x = ... x.log.info('hello') return 'logged'": "logged",
        "return require('helper').name": "helper",
        "return tostring(require('helper').io)": "nil",
        "return type(os.time())": "number",
        "local n = 0 for k in pairs({ a = 1, b = 2 }) do n = n + 1 end return n": "2",
    }
    for code, said in works.items():
        assert tried(house, code) == said, code


def test_what_a_sandboxed_script_changes_of_the_pdk_is_its_own(house):
    assert tried(house, "local _, mg = ... mg.json.encode = function() return 'mine' end string.upper = nil return mg.json.encode({})") == "mine"
    assert tried(house, "local _, mg = ... return mg.json.encode({ 1 })", "/trusted") == "[1]"
    assert tried(house, "return string.upper('a')", "/trusted") == "A"


def test_objects_that_are_known_by_a_name_are_each_sandboxs_own(house):
    forge = "local _, mg = ... %s.get = function() return 'forged' end return 'did'"
    for code, use in {
        "mg.shared.a": "local _, mg = ... mg.shared.a:set('k', 'true one') return mg.shared.a:get('k')",
        "mg.cache('a')": "local _, mg = ... return mg.cache('a'):get('k', function() return 'true one' end)",
        "mg.redis.new('redis://127.0.0.1:1')": "local _, mg = ... return mg.redis.new('redis://127.0.0.1:1'):get('k') or 'true one'",
    }.items():
        assert tried(house, forge % code) == "did"
        assert tried(house, use, "/trusted") == "true one", code


def test_a_timer_is_cancelled_by_who_has_it_whatever_number_a_script_writes_into_another(house):
    made = "local _, mg = ... mg.timer.after(300, function() mg.shared.rung:incr('n', 1, 0) end) return 'set'"
    assert tried(house, made, "/trusted") == "set"
    forged = ("local _, mg = ... local t = mg.timer.after(1e6, function() end) local n = 0 "
              "for i = 1, 500 do t.number, t.work = i, i if t:cancel() then n = n + 1 end end return n")
    assert tried(house, forged) == "1"
    wait_for(lambda: tried(house, "local _, mg = ... return mg.shared.rung:get('n')", "/trusted") == "1", "the timer")


@pytest.mark.parametrize("target, said", [("/guest", "has ended"), ("/trusted", "/trusted")])
def test_a_kept_exchange_of_another_request_is_out_of_reach_while_it_lives(house, target, said):
    first = house.client()
    first.request("GET", target, [("x-keep", "1"), ("x-code", "local _, mg = ... mg.sleep(1500) return 'slept'")])
    while "has ended" not in (got := tried(house, "return select(4, ...).request.path", target)) and target not in got:
        pass  # it has not been kept yet
    assert said in got
    assert first.response().body == b"slept"
    first.close()


def test_folders_and_names_may_be_distrusted_as_a_whole(gateway, upstream, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "guest.lua").write_text('return { name = "guest", on_request = function(x) return x:respond(200, tostring(io)) end }')
    u = upstream()
    text = """return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = {{ "{own}" }}, {top}
      routes = {{ {{ "a", path = "/*", upstream = "{url}", plugins = {{ "guest" }} }} }} }}"""
    g = gateway(text.format(own=own, url=u.url, top=""))
    assert g.ask().body != b"nil"
    for top in (f'sandbox = {{ "{own}/" }},', 'sandbox = { "guest" },'):
        g.write(text.format(own=own, url=u.url, top=top))
        assert g.reload().status == 200
        assert g.ask().body == b"nil"


@pytest.mark.parametrize("entry, words", [('{ "request-id", sandbox = true }', "is written in C: there is no sandbox for that"),
                                          ("{ on_request = function() end, sandbox = true }", "cannot be sandboxed: put them into a plugin's file")])
def test_what_cannot_be_sandboxed_is_a_mistake(tmp_path, entry, words):
    config = tmp_path / "gateway.lua"
    config.write_text(f'return {{ listen = "127.0.0.1:0", plugins = {{ {entry} }}, routes = {{}} }}')
    res = run("check", "-c", config)
    assert res.returncode == 1 and words in res.stdout + res.stderr
    assert re.search(r"gateway.lua:1", res.stdout + res.stderr)
