-- Run by: moongate test examples/cookbook/lua/shared-cache

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("shared-cache", function()
  local gw, asked, passed, says
  test.before_each(function()
    asked, passed = {}, 0
    says = { body = "things", headers = { ["content-type"] = "text/plain", etag = '"1"' } }
    gw = test.gateway("gateway.lua", {
      upstreams = { catalogue = function() passed = passed + 1; return { body = "from the proxy" } end },
      http = function(request) asked[#asked + 1] = request; return says end,
    })
  end)
  local function get(path, headers) return gw:get(path or "/catalogue/a", { headers = headers }) end

  it("asks once for many, and again when the time is over", function()
    local first = get()
    expect(first.body).equals "things"
    expect(first.headers["x-cache"]).equals "miss"
    expect(get().headers["x-cache"]).equals "hit"
    expect(#asked).equals(1)
    test.advance "2100ms"
    expect(get().headers["x-cache"]).equals "miss"
    expect(passed).equals(0)
  end)

  it("tells pages apart by the arguments that matter", function()
    get "/catalogue/a?page=1&utm=x"
    get "/catalogue/a?utm=y&page=1"
    expect(#asked).equals(1)
    get "/catalogue/a?page=2"
    expect(#asked).equals(2)
    expect(asked[2].query).equals "page=2"
  end)

  it("never caches for somebody, nor what is not a GET", function()
    get(nil, { authorization = "Bearer x" })
    get(nil, { cookie = "session=1" })
    gw:post("/catalogue/a", { body = "x" })
    expect(#asked).equals(0)
    expect(passed).equals(3)
  end)

  it("keeps nothing that is private, failed or too large, and lets the proxy fetch it", function()
    for i, answer in ipairs { { headers = { ["cache-control"] = "private" } }, { status = 500 }, { headers = { ["set-cookie"] = "a=b" } },
                              { body = ("x"):rep(70000) } } do
      says = answer
      expect(get("/catalogue/" .. i).body).equals "from the proxy"
    end
  end)

  it("obeys a shorter max-age, and says 304 to who has it", function()
    says.headers["cache-control"] = "max-age=1"
    get()
    test.advance "1100ms"
    get()
    expect(#asked).equals(2)
    local r = get(nil, { ["if-none-match"] = '"1"' })
    expect(r.status).equals(304)
    expect(r.body).equals ""
  end)

  it("says 502 when the upstream is away, and remembers no failure", function()
    says = { fails = "refused" }
    expect(get().status).equals(502)
    says = { body = "back" }
    expect(get().body).equals "back"
  end)
end)
