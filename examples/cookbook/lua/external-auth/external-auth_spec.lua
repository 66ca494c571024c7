-- Run by: moongate test examples/cookbook/lua/external-auth

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local URL = "http://127.0.0.1:9002/decide"

describe("external-auth", function()
  local gw, asked, says
  test.before_each(function()
    asked = {}
    gw = test.gateway("gateway.lua", {
      upstreams = { ["*"] = { body = "hello" } },
      http = { [URL] = function(request)
        asked[#asked + 1] = request.json()
        return says
      end },
    })
  end)
  local function ask(path, token) return gw:get(path or "/", { headers = { authorization = token, ["x-user"] = "forged" } }) end

  it("tells who asks for what, and the upstream who it is", function()
    says = { body = { user = "alice" } }
    local r = ask("/orders", "Bearer 1")
    expect(r.status).equals(200)
    expect(r.request.headers["x-user"]).equals("alice")
    expect(asked[1]).equals { method = "GET", path = "/orders", authorization = "Bearer 1" }
  end)

  it("refuses whom the service refuses, and remembers both for a while", function()
    says = { status = 403 }
    expect(ask().status).equals(403)
    expect(ask().status).equals(403)
    expect(#asked).equals(1)
    says = { body = { user = "alice" } }
    test.advance "11s"
    expect(ask().status).equals(200)
  end)

  it("asks again when the service gave a shorter time", function()
    says = { body = { user = "alice", ttl = 2 } }
    ask()
    test.advance "3s"
    says = { status = 403 }
    expect(ask().status).equals(403)
  end)

  it("lets nobody in when the service is late, broken or talks nonsense", function()
    for i, what in ipairs { { fails = "timeout" }, { status = 500 }, { body = "yes" }, { status = 200, after = "1s", body = { user = "a" } } } do
      says = what
      local r = ask("/" .. i)
      expect(r.status).equals(503)
      expect(r.request).is_nil()
    end
  end)

  it("lets all in then, without a name, where the entry says so", function()
    local r = test.exchange {
      plugins = { { "external-auth", url = URL, fail = "open" } }, headers = { ["x-user"] = "forged" }, http = { [URL] = { fails = "refused" } },
    }
    expect(r.status).equals(200)
    expect(r.request.headers["x-user"]).is_nil()
  end)
end)
