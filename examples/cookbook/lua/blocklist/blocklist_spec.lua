-- Run by: moongate test examples/cookbook/lua/blocklist

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("blocklist", function()
  local gw, says, asked
  test.before_each(function()
    asked = {}
    says = { body = "# bad ones\n10.0.0.1\n192.0.2.0/24 # a network\n2001:db8::1\n", headers = { etag = '"1"' } }
    gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 200 }, http = function(request) asked[#asked + 1] = request; return says end })
  end)
  local function from(ip) return gw:get("/", { client = ip }).status end

  it("refuses whom the list names, and nobody else", function()
    test.advance "1s"
    for ip, status in pairs { ["10.0.0.1"] = 403, ["10.0.0.2"] = 200, ["192.0.2.77"] = 403, ["192.0.3.1"] = 200, ["2001:db8::1"] = 403,
                              ["2001:db8::2"] = 200 } do
      expect(from(ip)).equals(status)
    end
  end)

  it("fetches it again and again, and takes up what changed", function()
    test.advance "1s"
    says = { body = "10.0.0.2" }
    test.advance "6m"
    expect(asked[2].headers["if-none-match"]).equals '"1"'
    expect(from "10.0.0.1").equals(200)
    expect(from "10.0.0.2").equals(403)
  end)

  it("keeps the last list when the next is broken, empty or away", function()
    test.advance "1s"
    for _, bad in ipairs { { body = "<html>login</html>" }, { body = "" }, { status = 500 }, { fails = "timeout" }, { status = 304 } } do
      says = bad
      test.advance "6m"
      expect(from "10.0.0.1").equals(403)
    end
  end)

  it("lets all pass before there is a list, or nobody, as the entry says", function()
    local open = test.exchange { plugins = { { "blocklist", url = "http://l.example/none" } }, http = { ["http://l.example/*"] = 500 } }
    expect(open.status).equals(200)
    local r = test.exchange { plugins = { { "blocklist", url = "http://l.example/none", fail = "closed" } }, http = { ["http://l.example/*"] = 500 } }
    expect(r.status).equals(503)
  end)
end)
