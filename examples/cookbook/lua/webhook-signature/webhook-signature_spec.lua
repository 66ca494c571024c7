-- Run by: moongate test examples/cookbook/lua/webhook-signature

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect
local SECRET, NOW = "an-example-of-a-secret", 1772366400

describe("webhook-signature", function()
  local gw, status
  test.before_each(function()
    status = 204
    gw = test.gateway("gateway.lua", { now = NOW * 1000, upstreams = { ["*"] = function() return status end } })
  end)
  local function sign(body, at, secret) return ("t=%d,v1=%s"):format(at or NOW, mg.crypto.hex(mg.crypto.hmac("sha256", secret or SECRET, (at or NOW) .. "." .. body))) end
  local function post(body, signature) return gw:post("/hooks/payment", { body = body, headers = { ["x-signature"] = signature } }) end

  it("lets a genuine one pass, byte for byte", function()
    local r = post('{"paid": 1}', sign '{"paid": 1}')
    expect(r.status).equals(204)
    expect(r.request.body).equals '{"paid": 1}'
  end)

  it("refuses another body, another secret, none, and garbage", function()
    expect(post("b", sign "a").status).equals(401)
    expect(post("a", sign("a", NOW, "some-other-secret-of-theirs")).status).equals(401)
    expect(post("a", nil).status).equals(401)
    expect(post("a", "t=1e9,v1=zz").status).equals(401)
  end)

  it("refuses an old one, and one from the future", function()
    expect(post("a", sign("a", NOW - 301)).status).equals(401)
    expect(post("a", sign("a", NOW + 301)).status).equals(401)
    expect(post("a", sign("a", NOW - 299)).status).equals(204)
  end)

  it("passes the same one on once", function()
    post("a", sign "a")
    local r = post("a", sign "a")
    expect(r.status).equals(200)
    expect(r.request).is_nil()
  end)

  it("passes it on again when the upstream had failed", function()
    status = 503
    post("a", sign "a")
    status = 204
    expect(post("a", sign "a").request).exists()
  end)

  it("refuses a body that is too large", function()
    local large = ("x"):rep(300 * 1024)
    expect(post(large, sign(large)).status).equals(413)
  end)
end)
