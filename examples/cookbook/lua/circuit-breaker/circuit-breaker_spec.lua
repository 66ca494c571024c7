-- Run by: moongate test examples/cookbook/lua/circuit-breaker

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("circuit-breaker", function()
  local gw, says, asked
  test.before_each(function()
    says, asked = 200, 0
    gw = test.gateway("gateway.lua", { upstreams = { ["*"] = function() asked = asked + 1; return says end } })
  end)
  local function ask(times)
    local r
    for _ = 1, times or 1 do r = gw:get "/" end
    return r
  end

  it("opens after enough failures, and asks the upstream no more", function()
    says = 500
    expect(ask(3).status).equals(500)
    local r = ask()
    expect(r.status).equals(503)
    expect(r.headers["retry-after"]).equals "5"
    expect(asked).equals(3)
  end)

  it("counts what cannot be reached, too", function()
    says = { fails = "connect_refused" }
    expect(ask(3).status).equals(502)
    expect(ask().status).equals(503)
  end)

  it("stays closed while most succeed", function()
    ask(10)
    says = 500
    ask(9)
    says = 200
    expect(ask().status).equals(200)
  end)

  it("lets one try after a while, and closes when that succeeds", function()
    says = 500
    ask(4)
    test.advance "5100ms"
    expect(ask().status).equals(500) -- the one that tries
    expect(ask().status).equals(503)
    test.advance "5100ms"
    says = 200
    expect(ask().status).equals(200)
    expect(ask(5).status).equals(200)
  end)

  it("forgets failures when their window is over", function()
    says = 500
    ask(2)
    test.advance "11s"
    ask(2)
    says = 200
    expect(ask().status).equals(200)
  end)

  it("lets another try when the one that tried has left", function()
    says = 500
    ask(3)
    test.advance "5100ms"
    says = { after = "1m" }
    gw:get("/", { leaves_after = "1s" })
    says = 200
    expect(ask().status).equals(200)
  end)
end)
