local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local mg = require "moongate"

describe("a body that a policy makes", function()
  it("is an answer's, with time in between", function()
    local r = test.exchange {
      plugins = { { on_request = function(x)
        return x:respond(200, function(out) out:write("a") mg.sleep(5000) out:write("b") end)
      end } },
    }
    expect(r.status).equals(200)
    expect(r.body).equals("ab")
    expect(r.elapsed_ms >= 5000).equals(true)
  end)

  it("takes the place of a response's, and others may have it whole", function()
    local r = test.exchange {
      upstream = function() return { status = 200, body = "old" } end,
      plugins = {
        { on_response = function(x) x.response.headers["x-whole"] = x.response:body() end },
        { on_response = function(x) x.response:stream(function(out) out:write("new") mg.sleep(1) out:write("er") end) end },
      },
    }
    expect(r.body).equals("newer")
    expect(r.headers["x-whole"]).equals("newer")
  end)

  it("takes the place of a request's", function()
    local seen
    test.exchange {
      method = "POST", body = "old",
      upstream = function(request) seen = request.body return { status = 200 } end,
      plugins = { { on_request = function(x) x.request:stream(function(out) for i = 1, 3 do out:write(i) mg.sleep(1) end end) end } },
    }
    expect(seen).equals("123")
  end)

  it("is cut by an error", function()
    local r = test.exchange {
      plugins = { { on_request = function(x) return x:respond(200, function(out) out:write("a") mg.sleep(1) error("oops") end) end } },
    }
    expect(r.log).contains("oops")
  end)
end)
