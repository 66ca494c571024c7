-- Run by: moongate test examples/cookbook/lua/validate-json

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("validate-json", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 201 } }) end)
  local function post(body, given)
    given = given or { ["content-type"] = "application/json" }
    return gw:post("/orders", { body = body, headers = given })
  end

  it("lets what fits pass, byte for byte", function()
    local body = '{"customer": "DE1234", "items": [{"sku": "a", "n": 12345678901234567890}], "payment": "card"}'
    local r = post(body)
    expect(r.status).equals(201)
    expect(r.request.body).equals(body)
  end)

  it("tells all that is wrong, and where", function()
    local r = post '{"customer": "de", "items": [{"sku": 5, "n": 1.5}, {"n": 0}], "payment": "coins", "more": 1}'
    expect(r.status).equals(400)
    expect(r.request).is_nil()
    expect(r.json().mistakes).equals {
      "/customer: does not have the form that is asked for", "/items/0/n: integer expected, not number", "/items/0/sku: string expected, not number",
      "/items/1/n: is to be at least 1", "/items/1/sku: is missing", "/more: is not known", "/payment: is none of the values that are allowed",
    }
  end)

  it("refuses what is no JSON, another type, and too much of it", function()
    expect(post("{").status).equals(400)
    expect(post("a=b", { ["content-type"] = "application/x-www-form-urlencoded" }).status).equals(415)
    expect(post('"' .. ("x"):rep(300000) .. '"').status).equals(413)
    expect(post("[]").json().mistakes[1]).equals ": object expected, not array"
  end)

  it("tells no more than 20 mistakes", function()
    local items = {}
    for i = 1, 50 do items[i] = "{}" end
    local r = post('{"customer": "DE1234", "items": [' .. table.concat(items, ",") .. "]}")
    expect(#r.json().mistakes).is_within(20, 21)
  end)

  it("leaves reads alone", function()
    expect(gw:get("/orders").status).equals(201)
  end)

  it("takes a misspelt schema for a mistake of the config", function()
    local function with(schema) return function() test.exchange { plugins = { { "validate-json", schema = schema } } } end end
    expect(with { tpye = "object" }).fails "unknown key tpye"
    expect(with { type = "object", properties = { a = { type = "text" } } }).fails "schema.a.type"
  end)
end)
