-- Run by: moongate test examples/cookbook/lua/batch-log

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

describe("batch-log", function()
  local gw, posted, says
  test.before_each(function()
    posted, says = {}, 204
    gw = test.gateway("gateway.lua", { http = function(request)
      posted[#posted + 1] = request
      return says
    end })
  end)
  local function lines(i)
    local list = {}
    for line in posted[i].body:gmatch "[^\n]+" do list[#list + 1] = mg.json.decode(line) end
    return list
  end

  it("sends what has gathered from time to time", function()
    gw:get "/a"
    gw:get("/b", { client = "10.0.0.1" })
    expect(#posted).equals(0)
    test.advance "2s"
    expect(#posted).equals(1)
    expect(posted[1].headers["content-type"]).equals "application/x-ndjson"
    local sent = lines(1)
    expect(#sent).equals(2)
    expect(sent[2]).contains { path = "/b", ip = "10.0.0.1", status = 200, route = "all" }
  end)

  it("sends sooner when a batch is there", function()
    for i = 1, 3 do gw:get("/" .. i) end
    test.advance "100ms"
    expect(#posted).equals(1)
    expect(#lines(1)).equals(3)
  end)

  it("tries again what the collector did not take, and loses nothing that came meanwhile", function()
    says = 503
    gw:get "/a"
    test.advance "1200ms"
    says = 204
    gw:get "/b"
    test.advance "10s"
    local paths = {}
    for i = 2, #posted do
      for _, line in ipairs(lines(i)) do paths[#paths + 1] = line.path end
    end
    expect(paths).equals { "/a", "/b" }
  end)

  it("gives up what will never be taken", function()
    says = 400
    gw:get "/a"
    test.advance "1m"
    expect(#posted).equals(1)
  end)
end)
