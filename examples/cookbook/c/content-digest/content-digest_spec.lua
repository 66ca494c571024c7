-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function field(body, name)
  return ("%s=:%s:"):format(name or "sha-256", mg.crypto.base64(mg.crypto.digest((name or "sha-256"):gsub("-", ""), body)))
end

describe("content-digest", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 201 } }) end)
  local function put(body, digest) return gw:put("/a", { body = body, headers = { ["content-digest"] = digest } }) end

  it("lets a body pass that is what it says, small or large, in pieces", function()
    local large = ("0123456789"):rep(20000)
    for _, body in ipairs { "hello", large } do
      for _, name in ipairs { "sha-256", "sha-512" } do
        local r = put({ body:sub(1, 3), body:sub(4) }, "unknown=:aa:, " .. field(body, name))
        expect(r.status).equals(201)
        expect(r.request.body).equals(body)
      end
    end
  end)

  it("refuses another body, small or large", function()
    for _, body in ipairs { "hello", ("0123456789"):rep(20000) } do
      local r = put(body .. "!", field(body))
      expect(r.status).equals(400)
      expect(r.request).is_nil()
    end
  end)

  it("refuses a missing field, one that it does not know, and a body over the limit", function()
    expect(put("x", nil).status).equals(400)
    expect(put("x", "md5=:aa:").status).equals(400)
    expect(put("x", "sha-256=:aa").status).equals(400)
    local huge = ("x"):rep(600 * 1024)
    expect(put(huge, field(huge)).status).equals(413)
  end)

  it("asks no field of requests without a body", function()
    expect(gw:get("/").status).equals(201)
  end)
end)
