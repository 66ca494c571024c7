local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function run(fn)
  local result
  local r = test.exchange { plugins = { { on_request = function(x) result = { fn(x) } end } } }
  return result, r
end

describe("mg.cache", function()
  local calls
  local function five() calls = calls + 1 return { n = 5 } end
  test.before_each(function() calls = 0 end)

  it("computes once and then remembers, for its time to live", function()
    local c = mg.cache("ttl", { ttl = "10s" })
    for _ = 1, 3 do expect(run(function() return c:get("k", five) end)[1].n).equals(5) end
    expect(calls).equals(1)
    test.advance(10000)
    run(function() return c:get("k", five) end)
    expect(calls).equals(2)
  end)

  it("forgets what is deleted or flushed, and gives what was set", function()
    local c = mg.cache("gone")
    run(function() c:get("k", five) c:delete("k") c:get("k", five) c:flush() c:get("k", five) end)
    expect(calls).equals(3)
    local got = run(function() c:set("k", "mine") return c:get("k", five) end)
    expect(got[1]).equals("mine")
  end)

  it("keeps nil and why only for the negative time to live", function()
    local function none() calls = calls + 1 return nil, "no such user" end
    local short, never = mg.cache("short", { negative_ttl = "1s" }), mg.cache("never")
    local got = run(function() short:get("k", none) return short:get("k", none) end)
    expect(got[1]).is_nil()
    expect(got[2]).equals("no such user")
    expect(calls).equals(1)
    test.advance(1000)
    run(function() short:get("k", none) end)
    expect(calls).equals(2)
    run(function() never:get("k", none) never:get("k", none) end)
    expect(calls).equals(4)
  end)

  it("raises what was raised, and the next one may compute", function()
    local c = mg.cache("raise")
    local got = run(function()
      local ok, why = pcall(c.get, c, "k", function() error("broken", 0) end)
      return ok, why, c:get("k", function() return 1 end)
    end)
    expect(got).equals({ false, "broken", 1 })
  end)

  it("may compute by waiting", function()
    local c = mg.cache("waits")
    local got, r = run(function() return c:get("k", function() mg.sleep("1s") return "slow" end) end)
    expect(got[1]).equals("slow")
    expect(r.elapsed_ms >= 1000).is(true)
  end)
end)
