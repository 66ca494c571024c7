-- Run by: moongate test examples/cookbook/lua/aggregate

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("aggregate", function()
  local gw, adverts, orders
  test.before_each(function()
    orders = { body = { 1, 2 }, after = "200ms" }
    adverts = { body = { "buy!" }, after = "200ms" }
    gw = test.gateway("gateway.lua", { http = function(request)
      if request.path:find "^/users/" then return { body = { path = request.path, as = request.headers.authorization }, after = "200ms" } end
      return request.path == "/orders" and orders or adverts
    end })
  end)
  local function home() return gw:get("/home/7", { headers = { authorization = "Bearer x" } }) end

  it("asks all at once and gives one answer", function()
    local r = home()
    expect(r.status).equals(200)
    expect(r.json()).equals { user = { path = "/users/7", as = "Bearer x" }, orders = { 1, 2 }, adverts = { "buy!" }, missing = {} }
    expect(r.elapsed_ms).is_within(200, 290)
  end)

  it("does without what is optional, and says so", function()
    adverts = { fails = "refused" }
    local r = home()
    expect(r.status).equals(200)
    expect(r.json().missing).equals { "adverts" }
    adverts = { body = { "late" }, after = "3s" }
    r = home()
    expect(r.elapsed_ms).is_within(500, 600)
    expect(r.json().missing).equals { "adverts" }
  end)

  it("answers 502 without what is needed", function()
    for _, bad in ipairs { { fails = "timeout" }, { status = 500 }, { body = "no json" } } do
      orders = bad
      expect(home().status).equals(502)
    end
  end)

  it("gives up when the client leaves", function()
    local r = gw:get("/home/7", { leaves_after = "50ms" })
    expect(r.status).is_nil()
  end)
end)
