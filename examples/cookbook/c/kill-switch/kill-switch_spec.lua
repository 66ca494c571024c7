-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("kill-switch", function()
  local gw, says
  test.before_each(function()
    says = { body = "# all is well\nexports\n" }
    gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 200 }, http = function() return says end })
    test.advance "1s"
  end)
  local function status() return gw:get("/export/a").status end

  it("serves while no line names the switch", function()
    expect(status()).equals(200)
  end)

  it("is off soon after it was thrown, and on again when it is not", function()
    says = { body = "other\r\nexport # the database suffers\r\n" }
    test.advance "6s"
    local r = gw:get "/export/a"
    expect(r.status).equals(503)
    expect(r.headers["retry-after"]).equals "60"
    says = { body = "" }
    test.advance "6s"
    expect(status()).equals(200)
  end)

  it("keeps what it knows while nobody can be asked, but not for ever", function()
    says = { body = "export" }
    test.advance "6s"
    says = { fails = "refused" }
    test.advance "1m"
    expect(status()).equals(503)
    test.advance "5m"
    expect(status()).equals(200)
  end)
end)
