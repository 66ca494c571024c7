-- Run by: moongate test examples/cookbook/lua/redis-api-key

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function name_of(key) return "apikey:" .. mg.crypto.hex(mg.crypto.digest("sha256", key)) end

describe("redis-api-key", function()
  local gw, redis
  test.before_each(function()
    redis = test.redis()
    redis:call("HSET", name_of "good", "owner", "alice", "plan", "gold")
    gw = test.gateway("gateway.lua", { redis = redis, upstreams = { ["*"] = { body = "hello" } } })
  end)
  local function ask(key) return gw:get("/", { headers = key and { ["x-api-key"] = key } or {} }) end

  it("lets a known key in, names its owner upstream, and keeps the key to itself", function()
    local r = ask "good"
    expect(r.status).equals(200)
    expect(r.request.headers["x-tenant"]).equals("alice")
    expect(r.request.headers["x-api-key"]).is_nil()
    expect(r.ctx.plan).equals("gold")
  end)

  it("refuses no key and an unknown one, and remembers the latter for a while", function()
    expect(ask().status).equals(401)
    expect(ask("bad").status).equals(401)
    local asked = #redis.calls
    expect(ask("bad").status).equals(401)
    expect(#redis.calls).equals(asked)
    redis:call("HSET", name_of "bad", "owner", "bob")
    test.advance "6s"
    expect(ask("bad").status).equals(200)
  end)

  it("asks once for a key that comes often", function()
    ask "good"
    local asked = #redis.calls
    for _ = 1, 5 do ask "good" end
    expect(#redis.calls).equals(asked)
  end)

  it("lets cached keys work without Redis, and nobody else", function()
    ask "good"
    gw.given.redis = function() return { fails = "timeout" } end
    expect(ask("good").status).equals(200)
    expect(ask("other").status).equals(503)
    test.advance "1m"
    expect(ask("good").status).equals(503)
    expect(ask("good").request).is_nil()
  end)
end)
