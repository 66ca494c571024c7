-- Run by: moongate test examples/cookbook/lua/idempotency-key

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("idempotency-key", function()
  local gw, done, says
  test.before_each(function()
    done, says = 0, nil
    gw = test.gateway("gateway.lua", { upstreams = { ["*"] = function()
      done = done + 1
      return says or { status = 201, body = { payment = done }, headers = { location = "/payments/" .. done } }
    end } })
  end)
  local function pay(key, body, given)
    given = given or {}
    given.headers, given.body = { ["idempotency-key"] = key }, body or "10 EUR"
    return gw:post("/payments", given)
  end

  it("does it once, and gives the same answer again", function()
    local first, again = pay "k1", pay "k1"
    expect(done).equals(1)
    expect(again.status).equals(201)
    expect(again.body).equals(first.body)
    expect(again.headers.location).equals "/payments/1"
    expect(again.headers["idempotency-replayed"]).equals "true"
    expect(pay("k2").json().payment).equals(2)
  end)

  it("keeps callers apart", function()
    pay("k1", nil, { client = "10.0.0.1" })
    pay("k1", nil, { client = "10.0.0.2" })
    expect(done).equals(2)
  end)

  it("refuses the same key for another request, no key, and a silly one", function()
    pay("k1", "10 EUR")
    expect(pay("k1", "9000 EUR").status).equals(422)
    expect(gw:post("/payments", { body = "x" }).status).equals(400)
    expect(pay(("k"):rep(300)).status).equals(400)
    expect(done).equals(1)
  end)

  it("lets a client try again what failed", function()
    says = { status = 503 }
    expect(pay("k1").status).equals(503)
    says = nil
    expect(pay("k1").status).equals(201)
    expect(done).equals(2)
  end)

  it("says 409 while the first is under way, until its claim is over", function()
    says = { after = "10s" }
    expect(pay("k1", nil, { leaves_after = "1s" }).status).is_nil()
    says = nil
    expect(pay("k1").status).equals(409)
    test.advance "61s"
    expect(pay("k1").status).equals(201)
  end)

  it("forgets after a while, and leaves reads alone", function()
    pay "k1"
    test.advance "25h"
    pay "k1"
    expect(done).equals(2)
    expect(gw:get("/payments").status).equals(201)
  end)
end)
