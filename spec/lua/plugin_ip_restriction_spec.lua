local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function status(conf, client)
  conf[1] = "ip-restriction"
  return test.exchange({ plugins = { conf }, client = client }).status
end

describe("ip-restriction", function()
  it("lets only the allowed call", function()
    local conf = { allow = { "10.0.0.0/8", "2001:db8::/32" } }
    expect(status(conf, "10.9.8.7")).equals(200)
    expect(status(conf, "11.0.0.1")).equals(403)
    expect(status(conf, "2001:db8::1")).equals(200)
    expect(status(conf, "2001:db9::1")).equals(403)
  end)

  it("keeps the denied out, even of an allowed network", function()
    local conf = { allow = "10.0.0.0/8", deny = { "10.0.0.13", "10.1.0.0-10.1.0.9" } }
    expect(status(conf, "10.0.0.12")).equals(200)
    expect(status(conf, "10.0.0.13")).equals(403)
    expect(status(conf, "10.1.0.9")).equals(403)
    expect(status(conf, "10.1.0.10")).equals(200)
    expect(status({ deny = "10.0.0.13" }, "192.0.2.1")).equals(200)
  end)

  it("answers as the config says", function()
    local r = test.exchange { plugins = { { "ip-restriction", allow = "10.0.0.1", status = 404, message = "nothing here" } } }
    expect(r.status).equals(404)
    expect(r.body).contains("nothing here")
  end)

  it("refuses what is no address when the config loads", function()
    expect(function() status({ allow = "10.0.0.1/8" }, "10.0.0.1") end).fails("beyond its prefix")
    expect(function() status({ allow = { "10.0.0.1", "localhost" } }, "10.0.0.1") end).fails("allow[2]")
    expect(function() status({}, "10.0.0.1") end).fails("needs allow or deny")
  end)
end)
