-- Run by: moongate test examples/cookbook/lua/signed-url

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect
local NOW = 1772366400

describe("signed-url", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { now = NOW * 1000, upstreams = { ["*"] = { body = "file" } } }) end)
  local function sign(path, args, expires)
    local text = ("GET\n%s\n%d\n%s"):format(path, expires or NOW + 60, args or "")
    local signature = mg.crypto.base64url(mg.crypto.hmac("sha256", "an-example-of-a-secret", text))
    return ("%s?%sexpires=%d&signature=%s"):format(path, args and args .. "&" or "", expires or NOW + 60, signature)
  end

  it("lets a good link pass, and keeps its signature", function()
    local r = gw:get(sign("/files/a.pdf", "page=2"))
    expect(r.body).equals "file"
    expect(r.request.path).equals "/files/a.pdf"
    expect(r.request.query).equals "page=2"
    expect(gw:head(sign "/files/a.pdf").status).equals(200)
  end)

  it("refuses a link that was changed", function()
    local link = sign "/files/a.pdf"
    for _, changed in ipairs { link:gsub("a.pdf", "b.pdf"), (link:gsub("%d%d&sig", "99&sig")), link .. "A", link .. "&more=1", "/files/a.pdf" } do
      expect(gw:get(changed).status).equals(403)
    end
  end)

  it("refuses one that is too old, or good for too long", function()
    local link = sign "/files/a.pdf"
    test.advance "61s"
    expect(gw:get(link).status).equals(403)
    expect(gw:get(sign("/files/a.pdf", nil, NOW + 8 * 86400)).status).equals(403)
    expect(gw:get(sign("/files/a.pdf", nil, NOW + 6 * 86400)).status).equals(200)
  end)
end)
