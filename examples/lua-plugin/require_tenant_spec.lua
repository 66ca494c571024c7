-- Run by: moongate test examples/lua-plugin

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function send(headers, conf)
  conf = conf or { known = { "acme" } }
  conf[1] = "require-tenant"
  return test.exchange { plugins = { conf }, headers = headers, upstream = { body = "hello" } }
end

describe("require-tenant", function()
  it("lets a known tenant pass and tells the upstream", function()
    local r = send { ["x-tenant"] = "acme" }
    expect(r.status).equals(200)
    expect(r.body).equals("hello")
    expect(r.request.headers["x-internal-tenant"]).equals("acme")
    expect(r.headers["x-served-for"]).equals("acme")
    expect(r.ctx.tenant).equals("acme")
  end)

  it("refuses a request without a tenant", function()
    local r = send {}
    expect(r.status).equals(400)
    expect(r.json()).equals { message = "no tenant" }
    expect(r.request).is_nil()
  end)

  it("refuses an unknown one, after a while if it is told so", function()
    expect(send({ ["x-tenant"] = "evil" }).status).equals(403)
    local r = send({ ["x-tenant"] = "evil" }, { known = { "acme" }, delay = "2s" })
    expect(r.elapsed_ms).is_within(2000, 2100)
  end)

  it("takes another field's name", function()
    expect(send({ ["x-org"] = "acme" }, { known = { "acme" }, header = "x-org" }).status).equals(200)
  end)

  it("refuses a config that names a tenant twice, or none", function()
    expect(function() send({}, { known = { "a", "a" } }) end).fails("stands there twice")
    expect(function() send({}, { known = {} }) end).fails("known")
    expect(function() send({}, {}) end).fails("known")
  end)
end)
