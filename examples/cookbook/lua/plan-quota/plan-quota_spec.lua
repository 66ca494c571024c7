-- Run by: moongate test examples/cookbook/lua/plan-quota (spec/e2e/test_cookbook.py runs the script on a real Redis)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

-- What the plugin's script does, played by hand.
local function play(redis, _, keys, args)
  local limit, gone, window = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  local here, before = tonumber(redis:call("GET", keys[1]) or "0"), tonumber(redis:call("GET", keys[2]) or "0")
  local used = here + before * (window - gone) / window
  if used + 1 > limit then return { 0, 0 } end
  redis:call("INCR", keys[1])
  redis:call("PEXPIRE", keys[1], window * 2)
  return { 1, math.floor(limit - used - 1) }
end

describe("plan-quota", function()
  local gw
  test.before_each(function()
    gw = test.gateway("gateway.lua", { now = "2026-03-01T12:00:00Z", redis = test.redis { eval = play }, upstreams = { ["*"] = 200 } })
  end)
  local function ask(tenant, plan) return gw:get("/", { headers = { ["x-tenant"] = tenant, ["x-plan"] = plan } }) end

  it("lets each tenant ask as often as its plan says", function()
    for left = 2, 0, -1 do
      local r = ask "acme"
      expect(r.status).equals(200)
      expect(r.headers.ratelimit).equals("limit=3, remaining=" .. left .. ", reset=60")
    end
    local r = ask "acme"
    expect(r.status).equals(429)
    expect(r.headers["retry-after"]).equals "60"
    expect(ask("globex").status).equals(200)
    expect(ask("acme", "gold").status).equals(200)
  end)

  it("slides: half a window later half of the last one still counts", function()
    for _ = 1, 3 do ask "acme" end
    test.advance "90s"
    expect(ask("acme").status).equals(200)
    expect(ask("acme").status).equals(429)
    test.advance "2m"
    expect(ask("acme").headers.ratelimit).contains "remaining=2"
  end)

  it("counts by itself when Redis is away, and goes on serving", function()
    gw.given.redis = function() return { fails = "timeout" } end
    for _ = 1, 3 do expect(ask("acme").status).equals(200) end
    expect(ask("acme").status).equals(429)
  end)

  it("refuses a default that is no plan", function()
    expect(function()
      test.exchange { plugins = { { provides = { "tenant" }, on_request = function() end }, { "plan-quota", plans = { free = 1 }, default = "fre" } } }
    end).fails "no plan"
  end)
end)
