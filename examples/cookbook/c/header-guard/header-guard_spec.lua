-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("header-guard", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 200 } }) end)
  local function ask(headers) return gw:get("/", { headers = headers }) end
  local function refused(headers, why)
    local r = ask(headers)
    expect(r.status).equals(400)
    expect(r.json().detail).equals(why)
    expect(r.request).is_nil()
  end

  it("lets pass what is as it should be", function()
    expect(ask({ ["X-Tenant"] = "acme-1", ["accept-language"] = "de" }).status).equals(200)
  end)

  it("refuses what is missing, malformed, too long, or there twice", function()
    refused({}, "The field x-tenant is missing.")
    refused({ ["x-tenant"] = "Acme" }, "The field x-tenant has not the form that is asked for.")
    refused({ ["x-tenant"] = ("a"):rep(33) }, "The field x-tenant is too long.")
    refused({ ["x-tenant"] = { "a", "b" } }, "The field x-tenant came too often.")
  end)

  it("refuses fields that are not for clients, or takes them out", function()
    refused({ ["x-tenant"] = "a", ["X-Internal-Role"] = "admin" }, "The field x-internal-role is not for clients to send.")
    local r = test.exchange {
      plugins = { { "header-guard", forbidden = { "x-internal-role" }, forbidden_action = "remove" } }, headers = { ["X-Internal-Role"] = "admin" },
    }
    expect(r.status).equals(200)
    expect(r.request.headers["x-internal-role"]).is_nil()
  end)

  it("refuses a config without rules", function()
    expect(function() test.exchange { plugins = { "header-guard" } } end).fails "nothing to guard"
  end)
end)
