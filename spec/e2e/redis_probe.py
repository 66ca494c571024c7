"""A gateway whose paths run words in Redis: what test_redis.py and test_redis_sets.py are made of."""
from urllib.parse import quote

import pytest

from redis_servers import Redis

PROBE = """
local mg = require "moongate"
local plugin = { name = "redis-probe", version = "1.0", doc = "Runs the words of the query in Redis." }
plugin.fields = {
  options = { type = "map", item = "string", doc = "Of mg.redis.new." },
}
function plugin.create(conf)
  local options = { name = "gateway" }
  for k, v in pairs(conf.options) do options[k] = v end
  return { redis = mg.redis.new(options) }
end

local run = {}
function run.call(r, words) return r:call(unpack(words)) end
function run.idempotent(r, words) return r:with({ idempotent = true }):call(unpack(words)) end
function run.patient(r, words) return r:with({ timeout = "20s" }):call(unpack(words)) end
local function split(words)
  local list = { {} }
  for _, w in ipairs(words) do
    if w == ";" then list[#list + 1] = {} else table.insert(list[#list], w) end
  end
  return list
end
local function plain(v)
  if type(v) == "table" and v.err then return "ERR " .. v.err end
  if type(v) == "table" then for i = 1, #v do v[i] = plain(v[i]) end end
  return v
end
function run.pipeline(r, words) local v, e = r:pipeline(split(words)) return plain(v), e end
function run.transaction(r, words) local v, e = r:transaction(split(words)) return plain(v), e end
function run.eval(r, words) return r:eval(words[1], { words[2] }, { words[3] }) end
function run.hgetall(r, words) return r:hgetall(words[1]) end
function run.many(r, words)
  local done = 0
  for i = 1, tonumber(words[2]) do
    if r:incr(words[1]) then done = done + 1 end
  end
  return done
end
function run.subscribe(r, words)
  local s, e = r:subscribe(words[1])
  if not s then return nil, e end
  r:publish(words[1], "hello")
  local m, why = s:receive("5s")
  s:close()
  return m, why
end

-- Says what it hears until it hears "end".
function run.listen(r, words)
  local s, e = r:psubscribe(words[1])
  if not s then return nil, e end
  local heard = {}
  while true do
    local m, why = s:receive("20s")
    if not m then return heard, why end
    heard[#heard + 1] = m.event or m.payload
    if m.payload == "end" then return heard end
  end
end
-- Does not listen while messages come.
function run.deaf(r, words)
  local s = r:subscribe(words[1])
  while not r:get("all sent") do mg.sleep(20) end
  local first = s:receive("1s")
  local second = s:receive("1s")
  return { first.event, first.count, second.payload }
end

function plugin.on_request(x, conf)
  local words, how = {}, x.request.path:sub(2)
  for _, _, value in x.request.query:each() do words[#words + 1] = value end
  local ok, value, why = pcall(run[how], conf.redis, words)
  if not ok then return x:respond(500, { misuse = value }) end
  local kind = type(value)
  if kind == "cdata" then value = tostring(value) end
  return x:respond(200, { kind = kind, value = value, why = why })
end
return plugin
"""


def config(options):
    pairs = ", ".join(f'["{k}"] = "{v}"' for k, v in options.items())
    return f"""
return {{
  listen = {{ "127.0.0.1:0" }}, admin = "127.0.0.1:0",
  routes = {{ {{ "all", path = "/*", upstream = "http://127.0.0.1:1",
    plugins = {{ {{ "redis-probe", options = {{ {pairs} }} }} }} }} }},
}}
"""


@pytest.fixture
def probe(gateway, tmp_path):
    """probe(url="redis://…", …): a gateway whose paths run words in Redis; ask(how, word, …) gives (value, why)."""

    def start(workers=1, **options):
        folder = tmp_path / f"probe{len(list(tmp_path.glob('probe*')))}"
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins" / "redis-probe.lua").write_text(PROBE)
        (folder / "gateway.lua").write_text(config(options))
        g = gateway(folder / "gateway.lua", workers=workers)

        def ask(how, *words, client=None):
            target = f"/{how}?" + "&".join("w=" + quote(str(w), safe="") for w in words)
            res = client.ask("GET", target) if client else g.ask("GET", target)
            body = res.json()
            assert "misuse" not in body, body
            return body.get("value"), body.get("why")

        g.run = ask
        return g

    return start


@pytest.fixture
def redis(tmp_path):
    started = []

    def start(*args, **options):
        r = Redis(tmp_path / f"redis{len(started)}", *args, **options)
        started.append(r)
        return r

    yield start
    for r in started:
        r.kill()
