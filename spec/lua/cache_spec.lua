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

  it("takes a value's own time to live, and refuses one that is none", function()
    local c = mg.cache("own", { ttl = "1h" })
    local function brief() calls = calls + 1 return "v", nil, "2s" end
    local function ask() return run(function() return c:get("k", brief) end)[1] end
    ask()
    test.advance "1900ms"
    expect(ask()).equals("v")
    expect(calls).equals(1)
    test.advance "200ms"
    ask()
    expect(calls).equals(2)
    local got = run(function() return pcall(c.get, c, "other", function() return 1, nil, "soon" end) end)
    expect(got[2]).contains("the third result")
  end)

  it("keeps errors as long as it is told, apart from nil", function()
    local c = mg.cache("errors", { negative_ttl = "1m", error_ttl = 0 })
    local function broken() calls = calls + 1 error("broken", 0) end
    for _ = 1, 2 do run(function() return pcall(c.get, c, "k", broken) end) end
    expect(calls).equals(2)
    local kept = mg.cache("kept-errors", { negative_ttl = "1m" })
    for _ = 1, 2 do run(function() return pcall(kept.get, kept, "k", broken) end) end
    expect(calls).equals(3)
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
