-- Run by: moongate test examples/cookbook/lua/server-timing

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("server-timing", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = { after = "50ms" } } }) end)

  it("tells where the time went", function()
    local field = gw:get("/", { client = "10.1.2.3" }).headers["server-timing"]
    expect(field).matches "^total;dur=%d+%.%d, upstream;dur=%d+%.%d, .*gateway;dur=%d+%.%d$"
    expect(tonumber(field:match "upstream;dur=([%d.]+)")).is_within(50, 60)
  end)

  it("tells nobody else", function()
    expect(gw:get("/", { client = "10.2.0.1" }).headers["server-timing"]).is_nil()
  end)

  it("leaves what the upstream says", function()
    gw.upstreams = { ["*"] = { headers = { ["server-timing"] = "db;dur=3" } } }
    local all = gw:get("/").all "server-timing"
    expect(#all).equals(2)
    expect(all[1]).equals "db;dur=3"
  end)

  it("has nothing to say of an upstream that was not asked", function()
    local r = test.exchange { plugins = { "server-timing", { "respond", body = "here" } } }
    expect(r.headers["server-timing"]).lacks "upstream"
  end)
end)
