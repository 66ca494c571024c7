-- Run by: moongate test examples/cookbook/lua/canary

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("canary", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { stable = { body = "stable" }, next = { body = "next" } } }) end)
  local function ask(i, wish) return gw:get("/", { client = ("10.1.%d.%d"):format(i / 250, i % 250), headers = { ["x-canary"] = wish } }) end

  it("gives the new version to its share of the callers", function()
    local n = 0
    for i = 1, 500 do
      if ask(i).upstream == "next" then n = n + 1 end
    end
    expect(n).is_within(30, 70)
  end)

  it("gives a caller the same version each time", function()
    for i = 1, 20 do expect(ask(i).body).equals(ask(i).body) end
  end)

  it("lets testers choose, and does not tell the upstream", function()
    for i = 1, 5 do
      expect(ask(i, "always").body).equals "next"
      local r = ask(i, "never")
      expect(r.body).equals "stable"
      expect(r.headers["x-version"]).equals "stable"
      expect(r.request.headers["x-canary"]).is_nil()
    end
  end)

  it("keeps those who have it when the share grows", function()
    local function versions(percent)
      local v = {}
      for i = 1, 100 do
        local r = test.exchange { client = "10.0.0." .. i, plugins = { { "canary", upstream = "test", percent = percent } } }
        v[i] = r.ctx.version
      end
      return v
    end
    local few, many = versions(10), versions(50)
    for i = 1, 100 do
      if few[i] == "canary" then expect(many[i]).equals "canary" end
    end
  end)
end)
