local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function run(conf, headers)
  conf[1] = "request-id"
  return test.exchange { plugins = { conf }, headers = headers }
end

describe("request-id", function()
  it("gives the upstream and the client the same new UUID", function()
    local r = run {}
    expect(r.headers["x-request-id"]).matches("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$")
    expect(r.request.headers["x-request-id"]).equals(r.headers["x-request-id"])
    expect(run({}).headers["x-request-id"]).is_not(r.headers["x-request-id"])
  end)

  it("makes hex ids on demand", function()
    expect(run({ format = "hex" }).headers["x-request-id"]).matches("^%x+$")
    expect(#run({ format = "hex" }).headers["x-request-id"]).equals(32)
  end)

  it("does not believe just anybody", function()
    expect(run({}, { ["x-request-id"] = "mine" }).headers["x-request-id"]).is_not("mine")
    expect(run({ accept = "never" }, { ["x-request-id"] = "mine" }).headers["x-request-id"]).is_not("mine")
  end)

  it("takes a client's id over where the config says so", function()
    local r = run({ accept = "always", header = "x-trace" }, { ["x-trace"] = "mine-1" })
    expect(r.headers["x-trace"]).equals("mine-1")
    expect(r.request.all("x-trace")).equals({ "mine-1" })
  end)

  it("replaces an id that is none", function()
    local long = ("x"):rep(129)
    expect(run({ accept = "always" }, { ["x-request-id"] = long }).headers["x-request-id"]).is_not(long)
    expect(run({ accept = "always" }, { ["x-request-id"] = "a b" }).headers["x-request-id"]).is_not("a b")
  end)

  it("keeps the id from either side on demand", function()
    local r = run({ upstream = false, echo = false }, { ["x-request-id"] = "mine" })
    expect(r.request.headers["x-request-id"]).is_nil()
    expect(r.headers["x-request-id"]).is_nil()
  end)

  it("names the id in templates and in problems", function()
    local r = test.exchange {
      plugins = { { "request-id", accept = "always" }, { "request-size-limit", body = 1 } },
      headers = { ["x-request-id"] = "mine-2" }, body = "too long",
    }
    expect(r.status).equals(413)
    expect(r.body).contains("mine-2")
    expect(r.headers["x-request-id"]).equals("mine-2")
  end)
end)
