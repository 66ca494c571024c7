-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("shard-lookup", function()
  local gw, asked, says
  test.before_each(function()
    asked, says = {}, { body = "west\n" }
    gw = test.gateway("gateway.lua", { upstreams = { east = { body = "east" }, west = { body = "west" } },
      http = function(request) asked[#asked + 1] = request.url; return says end })
  end)
  local function ask(tenant) return gw:get("/", { headers = { ["x-tenant"] = tenant } }) end

  it("asks the directory once, and goes where it says", function()
    expect(ask("acme").body).equals "west"
    expect(ask("acme").body).equals "west"
    expect(asked).equals { "http://127.0.0.1:9003/tenants/acme" }
    says = { body = "east" }
    test.advance "61s"
    expect(ask("acme").body).equals "east"
  end)

  it("refuses a name that is none, and a tenant that there is not", function()
    for _, name in ipairs { "", "../admin", "A", ("a"):rep(65) } do expect(ask(name).status).equals(400) end
    expect(#asked).equals(0)
    says = 404
    expect(ask("nobody").status).equals(404)
    expect(ask("nobody").status).equals(404)
    expect(#asked).equals(1)
  end)

  it("goes by what it knew while the directory is away, and serves nobody else", function()
    ask "acme"
    test.advance "61s"
    for _, failure in ipairs { { fails = "refused" }, { status = 500 }, { body = "<html>" }, { after = "2s", body = "east" } } do
      says = failure
      expect(ask("acme").body).equals "west"
      expect(ask("other").status).equals(503)
    end
  end)

  it("answers 503 for an upstream that there is not", function()
    says = { body = "moon" }
    expect(ask("acme").status).equals(503)
  end)
end)
