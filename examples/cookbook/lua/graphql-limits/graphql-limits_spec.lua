-- Run by: moongate test examples/cookbook/lua/graphql-limits

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("graphql-limits", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = { body = { data = {} } } } }) end)
  local function ask(query) return gw:post("/graphql", { body = { query = query } }) end
  local function refused(query, why)
    local r = ask(query)
    expect(r.status).equals(400)
    expect(r.json().errors[1].message).contains(why)
    expect(r.request).is_nil()
  end

  it("lets a query pass that is small enough", function()
    expect(ask([[query Q($id: ID = "}{{{{{") { user(id: $id, where: { a: { b: { c: { d: 1 } } } }) { name friends { name } } } # {{{{{{]]).status).equals(200)
    expect(gw:get("/graphql?query=%7Bme%7Bname%7D%7D").status).equals(200)
  end)

  it("refuses one that is too deep, also by fragments", function()
    refused("{ a { b { c { d { e } } } } }", "5 deep")
    refused("{ a { b { ...F } } } fragment F on T { c { d { e } } }", "5 deep")
    refused("{ a { ... on T { b { ... @include(if: true) { c } } } } }", "5 deep")
  end)

  it("refuses one that selects too much, also when fragments multiply", function()
    refused("{ " .. ("a "):rep(21) .. "}", "21 fields")
    refused("{ ...A ...A } fragment A on T { ...B ...B ...B } fragment B on T { a b c d }", "24 fields")
    refused("{ " .. ("x: a "):rep(21) .. "}", "21 fields")
  end)

  it("refuses what is malformed, circular, or no query at all", function()
    for _, query in ipairs { "", "{", "{ a }}", "query {", '{ a(b: "x) }', "fragment F on T { a }" } do refused(query, "malformed") end
    refused("{ ...F } fragment F on T { ...F }", "circular")
    expect(gw:post("/graphql", { body = "[1" }).status).equals(400)
    expect(gw:post("/graphql", { body = { { query = "{ a }" }, { id = 7 } } }).status).equals(400)
  end)

  it("refuses introspection", function()
    refused("{ __schema { types { name } } }", "Introspection")
    expect(ask("{ a { __typename } }").status).equals(200)
  end)

  it("looks at every query of a batch", function()
    expect(gw:post("/graphql", { body = { { query = "{ a }" }, { query = "{ b }" } } }).status).equals(200)
    expect(gw:post("/graphql", { body = { { query = "{ a }" }, { query = "{ a { b { c { d { e } } } } }" } } }).status).equals(400)
  end)
end)
