-- Run by: moongate test examples/cookbook/lua/mirror

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("mirror", function()
  local sent, says
  test.before_each(function() sent, says = {}, 200 end)
  local function send(conf, given)
    conf[1], conf.to = "mirror", "http://new.example"
    given.plugins, given.http = { conf }, function(request) sent[#sent + 1] = request; return says end
    local r = test.exchange(given)
    test.advance "10s"
    return r
  end

  it("sends a copy without credentials, and the client waits for nothing", function()
    says = { after = "3s" }
    local r = send({}, { path = "/a?b=1", headers = { ["x-a"] = { "1", "2" }, cookie = "s=1" } })
    expect(r.status).equals(200)
    expect(r.elapsed_ms).equals(0)
    expect(sent[1].path).equals "/a"
    expect(sent[1].query).equals "b=1"
    expect(sent[1].headers["x-a"]).equals "1"
    expect(sent[1].headers.cookie).is_nil()
    expect(sent[1].headers["x-mirrored"]).equals "1"
  end)

  it("takes a share of them", function()
    for _ = 1, 100 do send({ share = 0.3 }, {}) end
    expect(#sent).is_within(15, 45)
  end)

  it("leaves writes alone unless it is told otherwise", function()
    send({}, { body = "x" })
    expect(#sent).equals(0)
    local r = send({ methods = { "POST" } }, { body = "x" })
    expect(sent[1].body).equals "x"
    expect(r.request.body).equals "x"
    send({ methods = { "POST" }, limit = 10 }, { body = ("x"):rep(11) })
    expect(#sent).equals(1)
  end)

  it("does not care what becomes of the copy", function()
    says = { fails = "refused" }
    expect(send({}, {}).status).equals(200)
    expect(#sent).equals(1)
  end)

  it("leaves copies out when too many are under way", function()
    local gw = test.gateway("gateway.lua", { env = { SHARE = "1", MOST = "2" }, upstreams = { ["*"] = 200 },
      http = function(request) sent[#sent + 1] = request; return { after = "3s" } end })
    local function quiet() gw:get "/" end
    for _ = 1, 5 do quiet() end
    test.advance "10s"
    expect(#sent).equals(2)
    quiet()
    test.advance "10s"
    expect(#sent).equals(3)
  end)
end)
