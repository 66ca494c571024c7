-- Run by: moongate test examples/cookbook/lua/mask-fields

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local CUSTOMER = '{"id":12345678901234567890,"iban":"DE89370400440532013000","number":"7","none":null,' ..
  '"cards":[{"card":{"number":"4111111111111111","cvc":123}}],"password_hash":"x","tags":[]}'

describe("mask-fields", function()
  local gw, answer
  test.before_each(function()
    answer = { body = CUSTOMER, headers = { ["content-type"] = "application/json; charset=utf-8" } }
    gw = test.gateway("gateway.lua", { upstreams = { ["*"] = function() return answer end } })
  end)
  local function get(key) return gw:get("/customers/1", { headers = { ["x-api-key"] = key or "app-key" } }) end

  it("masks what it is told, wherever it stands, and nothing else", function()
    local r = get()
    local c = r.json()
    expect(c.iban).equals "****3000"
    expect(c.cards[1].card.number).equals "****1111"
    expect(c.number).equals "7"
    expect(c.password_hash).is_nil()
    expect(r.body).contains "12345678901234567890"
    expect(r.body).contains '"tags":[]'
    expect(r.body).contains '"none":null'
  end)

  it("shows all to the staff, byte for byte", function()
    expect(get("sue-key").body).equals(CUSTOMER)
  end)

  it("lets nothing pass that it cannot read", function()
    for _, body in ipairs { '{"iban": "DE8', ("x"):rep(300 * 1024) } do
      answer.body = body
      local r = get()
      expect(r.status).equals(502)
      expect(r.body).lacks "DE8"
    end
  end)

  it("leaves other types and empty answers alone", function()
    answer = { body = "iban,DE89", headers = { ["content-type"] = "text/csv" } }
    expect(get().body).equals "iban,DE89"
    answer = { status = 204, headers = { ["content-type"] = "application/json" } }
    expect(get().status).equals(204)
  end)
end)
