-- Run by: moongate test examples/cookbook/lua/token-introspection

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("token-introspection", function()
  local gw, asked, says
  test.before_each(function()
    asked = {}
    says = { body = { active = true, sub = "alice", scope = "orders:read other", client_id = "app" } }
    gw = test.gateway("gateway.lua", {
      env = { CLIENT_SECRET = "s3cret" }, now = "2026-03-01T12:00:00Z", upstreams = { ["*"] = { body = "orders" } },
      http = { ["https://idp.example.com/introspect"] = function(request)
        asked[#asked + 1] = request
        return says
      end },
    })
  end)
  local function ask(authorization) return gw:get("/orders/7", { headers = { authorization = authorization } }) end

  it("asks the issuer as RFC 7662 has it, and tells the upstream who came", function()
    local r = ask "Bearer abc.def"
    expect(r.status).equals(200)
    expect(asked[1].body).equals "token=abc.def&token_type_hint=access_token"
    expect(asked[1].headers.authorization).equals "Basic Z2F0ZXdheTpzM2NyZXQ="
    expect(r.request.headers["x-subject"]).equals "alice"
    expect(r.request.headers.authorization).is_nil()
  end)

  it("challenges who brings none, a malformed one, or an inactive one", function()
    expect(ask(nil).headers["www-authenticate"]).equals "Bearer"
    expect(ask("Bearer a b").status).equals(401)
    expect(#asked).equals(0)
    says = { body = { active = false } }
    local r = ask "Bearer dead"
    expect(r.status).equals(401)
    expect(r.headers["www-authenticate"]).contains "invalid_token"
    ask "Bearer dead"
    expect(#asked).equals(1)
  end)

  it("refuses a token without the scope", function()
    says.body.scope = "orders:readonly"
    local r = ask "Bearer abc"
    expect(r.status).equals(403)
    expect(r.headers["www-authenticate"]).contains 'scope="orders:read"'
  end)

  it("remembers a token, but not beyond its end", function()
    says.body.exp = 1772366400 + 30 -- half a minute from now
    ask "Bearer abc"
    expect(ask("Bearer abc").status).equals(200)
    expect(#asked).equals(1)
    test.advance "31s"
    expect(ask("Bearer abc").status).equals(401)
  end)

  it("lets nobody in while the issuer is away", function()
    says = { fails = "timeout" }
    expect(ask("Bearer abc").status).equals(503)
    says = { status = 500 }
    expect(ask("Bearer abc").status).equals(503)
  end)
end)
