-- Run by: moongate test examples/cookbook/lua/maintenance

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local secret = "0123456789abcdef0123"

describe("maintenance", function()
  local gw
  test.before_each(function()
    gw = test.gateway("gateway.lua", { env = { BYPASS = secret }, upstreams = { ["*"] = { body = "shop" } } })
  end)

  it("lets requests pass before and after the window", function()
    expect(gw:request({ path = "/", now = "2026-03-01T01:59:59Z" }).status).equals(200)
    expect(gw:request({ path = "/", now = "2026-03-01T04:00:00Z" }).status).equals(200)
  end)

  it("refuses within it, and says for how long", function()
    local r = gw:request { path = "/", now = "2026-03-01T03:59:00Z" }
    expect(r.status).equals(503)
    expect(r.headers["retry-after"]).equals("60")
    expect(r.request).is_nil()
  end)

  it("lets testers in, and keeps their secret to itself", function()
    local r = gw:request { path = "/", now = "2026-03-01T03:00:00Z", headers = { ["x-maintenance-bypass"] = secret } }
    expect(r.status).equals(200)
    expect(r.request.headers["x-maintenance-bypass"]).is_nil()
    expect(gw:request({ path = "/", headers = { ["x-maintenance-bypass"] = "guess" } }).status).equals(503)
  end)

  it("refuses a window that makes no sense", function()
    local function with(conf) return function() test.exchange { plugins = { { "maintenance", from = conf[1], till = conf[2] } } } end end
    expect(with { "2026-13-01T00:00Z" }).fails("no such time")
    expect(with { "2026-03-02T00:00Z", "2026-03-01T00:00Z" }).fails("before it begins")
  end)
end)
