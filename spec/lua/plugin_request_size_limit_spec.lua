local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function run(conf, given)
  conf[1] = "request-size-limit"
  given.plugins = { conf }
  return test.exchange(given)
end

describe("request-size-limit", function()
  it("refuses a body above the limit and passes one at it", function()
    expect(run({ body = 5 }, { body = "12345", headers = { ["content-length"] = 5 } }).status).equals(200)
    local r = run({ body = 5 }, { body = "123456", headers = { ["content-length"] = 6 } })
    expect(r.status).equals(413)
    expect(r.request).is_nil()
  end)

  it("bounds the header fields", function()
    expect(run({ headers = 200 }, { headers = { ["x-a"] = ("x"):rep(300) } }).status).equals(431)
    expect(run({ headers = 400 }, { headers = { ["x-a"] = ("x"):rep(300) } }).status).equals(200)
  end)

  it("refuses a config that limits nothing", function()
    expect(function() run({}, {}) end).fails("limits nothing")
  end)
end)
