-- Run by: moongate test examples/cookbook/lua/ab-test

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("ab-test", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { shop = { body = "shop" }, short = { body = "short" } } }) end)
  local function ask(cookie) return gw:get("/checkout/1", { headers = { cookie = cookie } }) end

  it("gives newcomers variants by weight, and a cookie", function()
    local n = 0
    for _ = 1, 300 do
      local r = ask()
      local name = r.headers["set-cookie"]:match "^ab%-checkout=(%w+); Path=/; Max%-Age=2592000; SameSite=Lax; HttpOnly$"
      expect(r.headers["cache-control"]).equals "private"
      expect(r.upstream).equals(name == "short" and "short" or "shop")
      if name == "short" then n = n + 1 end
    end
    expect(n).is_within(30, 90)
  end)

  it("lets visitors keep theirs, and says nothing then", function()
    local r = ask "a=b; ab-checkout=short"
    expect(r.upstream).equals "short"
    expect(r.request.headers["x-variant"]).equals "checkout=short"
    expect(r.headers["set-cookie"]).is_nil()
  end)

  it("takes a variant that there is not for none", function()
    expect(ask("ab-checkout=evil").headers["set-cookie"]).exists()
  end)

  it("adds its cookie to those of the upstream", function()
    gw.upstreams = { ["*"] = { headers = { ["set-cookie"] = { "a=1", "b=2" } } } }
    expect(#ask().all "set-cookie").equals(3)
  end)

  it("refuses weights that are all 0", function()
    expect(function()
      test.exchange { plugins = { { "ab-test", name = "a", variants = { a = { weight = 0 }, b = { weight = 0 } } } } }
    end).fails "weights"
  end)
end)
