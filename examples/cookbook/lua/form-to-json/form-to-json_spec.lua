-- Run by: moongate test examples/cookbook/lua/form-to-json

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

describe("form-to-json", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 204 } }) end)
  local function post(body, kind)
    return gw:post("/contact", { body = body, headers = { ["content-type"] = kind or "application/x-www-form-urlencoded; charset=utf-8" } })
  end

  it("makes an object of a form", function()
    local r = post "name=Zo%C3%AB+K&n=1&n=2&empty=&topic=help"
    expect(r.status).equals(204)
    expect(r.request.headers["content-type"]).equals "application/json"
    expect(mg.json.decode(r.request.body)).equals { name = "Zoë K", n = { "1", "2" }, empty = "", topic = { "help" } }
  end)

  it("refuses what is no form", function()
    for _, body in ipairs { "a=%", "a=%4", "a=%zz", "a=%ff", ("a=1&"):rep(201) } do
      local r = post(body)
      expect(r.status).equals(400)
      expect(r.request).is_nil()
    end
    expect(post("a=" .. ("x"):rep(70000)).status).equals(413)
  end)

  it("leaves other bodies alone", function()
    local r = post('{"a":1}', "application/json")
    expect(r.request.body).equals '{"a":1}'
  end)
end)
