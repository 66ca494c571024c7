-- Run by: moongate test examples/cookbook/lua/event-stream (spec/e2e/test_cookbook.py hears a real Redis)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("event-stream", function()
  local function hear(replies, given)
    local i = 0
    local gw = test.gateway("gateway.lua", { redis = function(command)
      if command ~= "RECEIVE" then return { ok = "OK" } end
      i = i + 1
      return replies[i] or { fails = "closed" }
    end })
    return gw:get("/events/prices", given)
  end

  it("sends what is published, a line a field", function()
    local r = hear { { "message", "prices", "one" }, { "message", "prices", "two\nlines\r\nthree" } }
    expect(r.status).equals(200)
    expect(r.headers["content-type"]).equals "text/event-stream"
    expect(r.body).matches "^retry: 3000\n\nid: %d+%-1\ndata: one\n\nid: %d+%-2\ndata: two\ndata: lines\ndata: three\n\n$"
  end)

  it("tells of a gap", function()
    expect(hear({ { "lost", 7 } }).body).contains "event: gap\ndata: lost"
  end)

  it("says that it is still here when nothing comes", function()
    expect(hear({ { fails = "timeout" }, { "message", "prices", "x" } }).body).contains ": still here\n\nid: "
  end)

  it("knows its channels", function()
    local gw = test.gateway "gateway.lua"
    expect(gw:get("/events/secrets").status).equals(404)
  end)

  it("says that Redis is away, for the browser to come again", function()
    local gw = test.gateway("gateway.lua", { redis = function() return { fails = "refused" } end })
    local r = gw:get "/events/news"
    expect(r.body).contains "event: unavailable"
    expect(r.body).contains "retry: 3000"
  end)
end)
