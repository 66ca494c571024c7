-- mg.http with the world outside faked: what a plugin asks, and what it gets.
local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function run(http, fn)
  return test.exchange {
    plugins = { { on_request = function(x)
      local out = fn(x)
      return x:respond(200, out)
    end } },
    path = "/", http = http,
  }
end

describe("mg.http", function()
  it("a request is asked as it would go out, and its answer given", function()
    local seen
    local r = run(function(request)
      seen = request
      return { status = 201, headers = { ["X-Odd"] = "1" }, body = { made = true } }
    end, function()
      local r = mg.http.post("https://api.example/things", { query = { b = "2", a = "1 2" }, headers = { ["x-a"] = "y" }, body = { n = 1 } })
      return { status = r.status, odd = r.headers["x-odd"], made = r:json().made, url = r.url }
    end)
    expect(seen.method).equals("POST")
    expect(seen.url).equals("https://api.example:443/things?a=1%202&b=2")
    expect(seen.headers["content-type"]).equals("application/json")
    expect(seen.headers["host"]).equals("api.example")
    expect(seen.body).equals('{"n":1}')
    expect(mg.json.decode(r.body)).equals({ status = 201, odd = "1", made = true, url = "https://api.example:443/things?a=1%202&b=2" })
  end)

  it("a failure is nil, a message and a token", function()
    for word, token in pairs { refused = "connect_refused", timeout = "timeout", tls = "tls_failed", unresolved = "resolve_failed",
                               reset = "reset", protocol = "bad_response", busy = "upstream_busy" } do
      local r = run(function() return { fails = word } end, function()
        local got, err, why = mg.http.get("http://api.example/")
        return { got = got == nil, err = err, token = why }
      end)
      expect(mg.json.decode(r.body)).equals({ got = true, err = token, token = token })
    end
  end)

  it("the whole takes no longer than it may", function()
    local r = run(function() return { status = 200, after = "5s" } end, function()
      local _, _, token = mg.http.get("http://api.example/", { timeout = "1s" })
      return token
    end)
    expect(r.body).equals("timeout")
  end)

  it("a body over the limit is an error", function()
    local r = run(function() return { body = ("x"):rep(100) } end, function()
      local _, _, token = mg.http.get("http://api.example/", { limit = 99 })
      return token
    end)
    expect(r.body).equals("response_too_large")
  end)

  it("streams: pieces are read and written", function()
    local seen
    local r = run(function(request)
      seen = request
      return { body = "answer" }
    end, function()
      local r = mg.http.post("http://api.example/", { stream = true, body = function(s)
        assert(s:write("one") and s:write("two"))
      end })
      local all = {}
      for piece in r:each() do all[#all + 1] = piece end
      return table.concat(all)
    end)
    expect(r.body).equals("answer")
    expect(seen.body).equals("onetwo")
  end)

  it("a HEAD has no body, and neither has a 204", function()
    local r = run(function(request) return { status = request.method == "HEAD" and 200 or 204 } end, function()
      return { head = mg.http.head("http://api.example/").body, none = mg.http.get("http://api.example/").body }
    end)
    expect(mg.json.decode(r.body)).equals({ head = "", none = "" })
  end)

  it("mistakes name what was wrong", function()
    for _, case in ipairs {
      { { url = "ftp://x/" }, "url \"ftp://x/\"" }, { { url = "http://user@x/" }, "url" }, { { url = "http://x:0/" }, "url" },
      { { url = "http://x/", timeout = "soon" }, "timeout: milliseconds or" }, { { url = "http://x/", ca = "relative.pem" }, "ca" },
      { { url = "http://x/", headers = { ["content-length"] = "3" } }, "headers.content%-length" },
      { { url = "http://x/", headers = { a = "b\r\nc: d" } }, "headers.a" }, { { url = "http://x/", method = "GE T" }, "url" },
      { { url = "http://x/", wrong = 1 }, "no option 'wrong'" }, { {}, "either url or upstream" },
    } do
      local r = run(function() return 200 end, function()
        local ok, err = pcall(mg.http.request, case[1])
        return { ok = ok, err = err }
      end)
      local got = mg.json.decode(r.body)
      expect(got.ok).equals(false)
      if not got.err:find(case[2]) then error(got.err .. " does not say " .. case[2]) end
    end
  end)
end)
