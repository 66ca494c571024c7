local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function run(conf, given)
  conf[1] = "cors"
  return test.exchange { plugins = { conf, given.after }, method = given.method, headers = given.headers, upstream = given.upstream }
end
local function preflight(conf, origin, more)
  local headers = { origin = origin, ["access-control-request-method"] = "PUT", ["access-control-request-headers"] = "x-a, x-b" }
  for k, v in pairs(more or {}) do headers[k] = v end
  return run(conf, { method = "OPTIONS", headers = headers, after = "key-auth" })
end

describe("cors", function()
  it("answers a preflight before anything asks for a key", function()
    local r = preflight({ origins = "https://a.example", max_age = "10m", credentials = true }, "https://a.example")
    expect(r.status).equals(204)
    expect(r.request).is_nil()
    expect(r.headers["access-control-allow-origin"]).equals("https://a.example")
    expect(r.headers["access-control-allow-credentials"]).equals("true")
    expect(r.headers["access-control-allow-methods"]).equals("GET, HEAD, POST, PUT, PATCH, DELETE")
    expect(r.headers["access-control-allow-headers"]).equals("x-a, x-b")
    expect(r.headers["access-control-max-age"]).equals("600")
    expect(table.concat(r.all("vary"), ", ")).contains("Origin")
  end)

  it("tells a page of another origin nothing", function()
    local r = preflight({ origins = "https://a.example" }, "https://b.example")
    expect(r.status).equals(204)
    expect(r.headers["access-control-allow-origin"]).is_nil()
    expect(r.headers["access-control-allow-methods"]).is_nil()
    expect(table.concat(r.all("vary"), ", ")).contains("Origin")
  end)

  it("names its own methods and fields", function()
    local r = preflight({ origins = "*", methods = { "GET", "PUT" }, allow_headers = "x-a" }, "https://b.example")
    expect(r.headers["access-control-allow-origin"]).equals("*")
    expect(r.headers["access-control-allow-methods"]).equals("GET, PUT")
    expect(r.headers["access-control-allow-headers"]).equals("x-a")
  end)

  it("opens a private network only where told to", function()
    local asks = { ["access-control-request-private-network"] = "true" }
    expect(preflight({ origins = "*" }, "https://b.example", asks).headers["access-control-allow-private-network"]).is_nil()
    expect(preflight({ origins = "*", private_network = true }, "https://b.example", asks).headers["access-control-allow-private-network"])
      .equals("true")
  end)

  it("decorates answers and replaces what the upstream says", function()
    local r = run({ origins = { "https://*.example.com" }, expose_headers = { "x-a", "x-b" } }, {
      headers = { origin = "https://app.example.com" },
      upstream = { headers = { ["access-control-allow-origin"] = "*", ["access-control-allow-credentials"] = "true", vary = "Accept" } },
    })
    expect(r.all("access-control-allow-origin")).equals({ "https://app.example.com" })
    expect(r.headers["access-control-allow-credentials"]).is_nil()
    expect(r.headers["access-control-expose-headers"]).equals("x-a, x-b")
    expect(r.all("vary")).equals({ "Accept", "Origin" })
  end)

  it("varies by origin even for requests without one", function()
    local r = run({ origins = "https://a.example" }, { headers = {} })
    expect(r.headers.vary).equals("Origin")
    expect(r.headers["access-control-allow-origin"]).is_nil()
    expect(run({ origins = "*" }, { headers = {} }).headers.vary).is_nil()
  end)

  it("decorates refusals of later entries", function()
    local r = run({ origins = "https://a.example" }, { headers = { origin = "https://a.example" }, after = "key-auth" })
    expect(r.status).equals(401)
    expect(r.headers["access-control-allow-origin"]).equals("https://a.example")
  end)

  it("passes an OPTIONS that is no preflight", function()
    expect(run({ origins = "*" }, { method = "OPTIONS", headers = { origin = "https://a.example" } }).request).exists()
  end)

  it("allows origins by a pattern that matches them whole", function()
    local function allowed(origin)
      return run({ origin_patterns = "https://[a-z]+%.example" and "https://[a-z]+[.]example" }, { headers = { origin = origin } })
        .headers["access-control-allow-origin"]
    end
    expect(allowed "https://abc.example").equals("https://abc.example")
    expect(allowed "https://abc.example.evil.org").is_nil()
  end)

  it("refuses a star together with credentials", function()
    expect(function() run({ origins = "*", credentials = true }, { headers = {} }) end).fails("credentials")
    expect(function() run({}, { headers = {} }) end).fails("needs origins")
  end)
end)
