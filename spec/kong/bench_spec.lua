-- bench_spec.lua - public Kong plugins, unchanged, in simulated exchanges. Run by spec/kong/run, beside a folder `plugins` with their sources.

local test = require "moongate.test"
local json = require "moongate.json"
local crypto = require "moongate.crypto"
local describe, it, expect = test.describe, test.it, test.expect

local function send(name, config, given)
  given = given or {}
  given.plugins = { { "kong:" .. name, config = config } }
  return test.exchange(given)
end

local function jwt(claims, secret)
  local head = crypto.base64url('{"alg":"HS256","typ":"JWT"}') .. "." .. crypto.base64url(json.encode(claims))
  return head .. "." .. crypto.base64url(crypto.hmac("sha256", secret, head))
end

-- ---- Kong's own -----------------------------------------------------------------------------------

describe("Kong's correlation-id", function()
  it("numbers a request and shows the client", function()
    local r = send("correlation-id", { header_name = "x-corr", generator = "uuid", echo_downstream = true })
    expect(r.status).equals(200)
    expect(#r.request.headers["x-corr"]).equals(36)
    expect(r.headers["x-corr"]).equals(r.request.headers["x-corr"])
  end)
  it("keeps what the client says", function()
    local r = send("correlation-id", { header_name = "x-corr" }, { headers = { ["x-corr"] = "mine" } })
    expect(r.request.headers["x-corr"]).equals("mine")
  end)
end)

describe("Kong's bot-detection", function()
  it("lets browsers through", function()
    expect(send("bot-detection", {}, { headers = { ["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64)" } }).status).equals(200)
  end)
  it("refuses robots and those of its config", function()
    expect(send("bot-detection", {}, { headers = { ["user-agent"] = "Googlebot/2.1 (+http://www.google.com/bot.html)" } }).status).equals(403)
    expect(send("bot-detection", { deny = { "curl/.*" } }, { headers = { ["user-agent"] = "curl/8.0" } }).status).equals(403)
  end)
end)

describe("Kong's request-termination", function()
  it("answers in place of the upstream", function()
    local r = send("request-termination", { status_code = 418, message = "So long" })
    expect(r.status).equals(418)
    expect(json.decode(r.body).message).equals("So long")
    expect(r.request).is_nil()
  end)
end)

describe("Kong's ip-restriction", function()
  it("refuses and lets through by network", function()
    expect(send("ip-restriction", { deny = { "127.0.0.0/8" } }).status).equals(403)
    expect(send("ip-restriction", { allow = { "127.0.0.1" } }).status).equals(200)
    expect(send("ip-restriction", { allow = { "10.0.0.0/8" } }).status).equals(403)
  end)
  it("tells what is wrong with its config", function()
    local ok, err = pcall(send, "ip-restriction", { allow = { "nonsense" } })
    expect(ok).equals(false)
    expect(tostring(err)).contains("allow[1]")
  end)
end)

describe("Kong's request-size-limiting", function()
  it("refuses by content-length", function()
    expect(send("request-size-limiting", { allowed_payload_size = 10, size_unit = "bytes" }, { method = "POST", body = ("x"):rep(20) }).status).equals(413)
    expect(send("request-size-limiting", { allowed_payload_size = 30, size_unit = "bytes" }, { method = "POST", body = ("x"):rep(20) }).status).equals(200)
  end)
end)

describe("Kong's cors", function()
  it("answers a preflight", function()
    local r = send("cors", { origins = { "http://a.example" }, methods = { "GET", "POST" }, max_age = 60 },
      { method = "OPTIONS", headers = { origin = "http://a.example", ["access-control-request-method"] = "POST" } })
    expect(r.status).equals(200)
    expect(r.headers["access-control-allow-origin"]).equals("http://a.example")
    expect(r.headers["access-control-max-age"]).equals("60")
    expect(r.request).is_nil()
  end)
  it("marks a response", function()
    local r = send("cors", { origins = { "*" } }, { headers = { origin = "http://a.example" } })
    expect(r.headers["access-control-allow-origin"]).equals("*")
  end)
end)

describe("Kong's key-auth", function()
  local consumers = { alice = { metadata = { custom_id = "c-1" }, keyauth_credentials = { { key = "k-1" } } } }
  it("recognises a consumer by a key", function()
    local r = send("key-auth", { key_names = { "apikey" }, hide_credentials = true }, { headers = { apikey = "k-1" }, consumers = consumers })
    expect(r.status).equals(200)
    expect(r.request.headers["x-consumer-username"]).equals("alice")
    expect(r.request.headers["x-consumer-custom-id"]).equals("c-1")
    expect(r.request.headers.apikey).is_nil()
  end)
  it("refuses others", function()
    local r = send("key-auth", {}, { consumers = consumers })
    expect(r.status).equals(401)
    expect(r.headers["www-authenticate"]).contains("Key")
    expect(send("key-auth", {}, { headers = { apikey = "wrong" }, consumers = consumers }).status).equals(401)
  end)
end)

describe("Kong's acl behind its key-auth", function()
  local n = 0
  local function ask(groups, config)
    n = n + 1
    local key = "k-" .. n
    return test.exchange {
      plugins = { { "kong:key-auth" }, { "kong:acl", config = config } }, headers = { apikey = key },
      consumers = { ["alice" .. n] = { groups = groups, keyauth_credentials = { { key = key } } } },
    }
  end
  it("lets groups through and refuses others", function()
    expect(ask({ "staff" }, { allow = { "staff" } }).status).equals(200)
    expect(ask({ "guests" }, { allow = { "staff" } }).status).equals(403)
    expect(ask({ "staff" }, { deny = { "staff" } }).status).equals(403)
  end)
end)

describe("Kong's jwt", function()
  local consumers = { bob = { jwt_secrets = { { key = "iss-1", secret = "s3cret" } } } }
  it("verifies HS256", function()
    local r = send("jwt", {}, { headers = { authorization = "Bearer " .. jwt({ iss = "iss-1" }, "s3cret") }, consumers = consumers })
    expect(r.status).equals(200)
    expect(r.request.headers["x-consumer-username"]).equals("bob")
    expect(send("jwt", {}, { headers = { authorization = "Bearer " .. jwt({ iss = "iss-1" }, "other") }, consumers = consumers }).status).equals(401)
    expect(send("jwt", {}, { consumers = consumers }).status).equals(401)
  end)
end)

describe("Kong's hmac-auth", function()
  it("verifies a signature", function()
    local date = "Thu, 01 Jan 2026 00:00:00 GMT"
    local signature = crypto.base64(crypto.hmac("sha1", "s3cret", "x-note: hello"))
    local consumers = { carol = { hmacauth_credentials = { { username = "carol", secret = "s3cret" } } } }
    local function ask(sig)
      return send("hmac-auth", { clock_skew = 2000000000 }, { consumers = consumers, headers = {
        date = date, ["x-note"] = "hello", authorization = 'hmac username="carol", algorithm="hmac-sha1", headers="x-note", signature="' .. sig .. '"' } })
    end
    expect(ask(signature).status).equals(200)
    expect(ask("AAAA").status).equals(401)
  end)
end)

describe("Kong's basic-auth", function()
  it("loads, and refuses who says nothing", function()
    local r = send("basic-auth", {}, { consumers = { dave = { basicauth_credentials = { { username = "dave", password = "x" } } } } })
    expect(r.status).equals(401)
    expect(r.headers["www-authenticate"]).contains("Basic")
  end)
  it("compares passwords as Kong stores them", function()
    local stored = crypto.hex(crypto.digest("sha1", "moon" .. "dave"))
    local given = { consumers = { dave = { basicauth_credentials = { { username = "dave", password = stored } } } },
                    headers = { authorization = "Basic " .. crypto.base64("dave:moon") } }
    expect(send("basic-auth", {}, given).status).equals(200)
    given.headers.authorization = "Basic " .. crypto.base64("dave:sun")
    expect(send("basic-auth", {}, given).status).equals(401)
  end)
end)

describe("Kong's request-transformer", function()
  it("changes fields, query and body", function()
    local r = send("request-transformer", {
      add = { headers = { "x-added:yes" }, querystring = { "lang:en" }, body = { "new:1" } }, remove = { headers = { "x-gone" } },
      rename = { headers = { "x-old:x-new" } }, replace = { uri = "/elsewhere" },
    }, { method = "POST", path = "/p?a=1", body = '{"old":true}', headers = { ["x-gone"] = "1", ["x-old"] = "v", ["content-type"] = "application/json" } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-added"]).equals("yes")
    expect(r.request.headers["x-gone"]).is_nil()
    expect(r.request.headers["x-new"]).equals("v")
    expect(r.request.path).equals("/elsewhere")
    expect(r.request.query).contains("lang=en")
    expect(json.decode(r.request.body)).equals { old = true, new = "1" }
  end)
  it("fills templates", function()
    local r = send("request-transformer", { add = { headers = { "x-from:$(headers['x-in'])" } } }, { headers = { ["x-in"] = "moon" } })
    expect(r.request.headers["x-from"]).equals("moon")
  end)
end)

describe("Kong's response-transformer", function()
  it("changes fields and a JSON body", function()
    local r = send("response-transformer", { add = { headers = { "x-added:yes" }, json = { "new:1" } }, remove = { headers = { "x-secret" }, json = { "hidden" } } },
      { upstream = { status = 200, headers = { ["content-type"] = "application/json", ["x-secret"] = "1" }, body = '{"hidden":1,"kept":2}' } })
    expect(r.headers["x-added"]).equals("yes")
    expect(r.headers["x-secret"]).is_nil()
    expect(json.decode(r.body)).equals { kept = 2, new = "1" }
  end)
end)

describe("Kong's rate-limiting (policy local)", function()
  it("counts and refuses", function()
    local function ask()
      return send("rate-limiting", { minute = 2, policy = "local" })
    end
    local r = ask()
    expect(r.status).equals(200)
    expect(r.headers["x-ratelimit-limit-minute"]).equals("2")
    expect(r.headers["ratelimit-remaining"]).equals("1")
    expect(ask().status).equals(200)
    local refused = ask()
    expect(refused.status).equals(429)
    expect(tonumber(refused.headers["retry-after"]) > 0).equals(true)
  end)
end)

describe("Kong's http-log", function()
  it("posts what it serializes", function()
    local asked
    local r = send("http-log", { http_endpoint = "http://log.test/in" },
      { path = "/logged", http = function(request) asked = request return { status = 200, body = "" } end })
    expect(r.status).equals(200)
    expect(asked ~= nil).equals(true)
    expect(json.decode(asked.body).request.uri).equals("/logged")
  end)
end)

describe("Kong's redirect", function()
  it("is told what is missing", function()
    local ok, err = pcall(send, "redirect", { location = "https://x.test" })
    expect(ok).equals(false)
    expect(tostring(err)).contains("resty.ada")
  end)
end)

describe("Kong's pre-function", function()
  it("runs what its config holds", function()
    local r = send("pre-function", { access = { 'kong.service.request.set_header("x-pre", "1")' } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-pre"]).equals("1")
  end)
end)

describe("Kong's response-ratelimiting (policy local)", function()
  it("shows limits", function()
    local r = send("response-ratelimiting", { limits = { video = { minute = 5 } }, policy = "local" })
    expect(r.status).equals(200)
    expect(r.headers["x-ratelimit-limit-video-minute"]).equals("5")
  end)
end)

-- ---- of third parties -----------------------------------------------------------------------------

describe("stone-payments' url-rewrite", function()
  it("fills a path from the route's parameters", function()
    local r = send("url-rewrite", { url = "/v2/<id>", query_string = { "who=<id>" } }, { route_path = "/users/{id}", params = { id = "7" }, path = "/users/7?a=1" })
    expect(r.status).equals(200)
    expect(r.request.path).equals("/v2/7")
    expect(r.request.query).contains("who=7")
  end)
  it("has its config checked", function()
    local ok, err = pcall(send, "url-rewrite", { url = "no slash" })
    expect(ok).equals(false)
    expect(tostring(err)).contains("config.url")
  end)
end)

describe("alexashley's path-prefix", function()
  it("takes a prefix off", function()
    local r = send("path-prefix", { path_prefix = "/api", forwarded_header = true }, { path = "/api/things" })
    expect(r.status).equals(200)
    expect(r.request.path).equals("/things")
    expect(r.request.headers["x-forwarded-prefix"]).equals("/api")
  end)
end)

describe("wshirey's jwt-claims-headers", function()
  it("puts claims into fields", function()
    local r = send("jwt-claims-headers", { claims_to_include = { "sub", "role" }, continue_on_error = false },
      { headers = { authorization = "Bearer " .. jwt({ sub = "luna", role = "admin", other = "no" }, "x") } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-sub"]).equals("luna")
    expect(r.request.headers["x-role"]).equals("admin")
    expect(r.request.headers["x-other"]).is_nil()
    expect(send("jwt-claims-headers", { continue_on_error = false }).status).equals(401)
  end)
end)

describe("samngms' request-firewall", function()
  local config = { debug = true, exact_match = { ["/add"] = { POST = {
    content_type = "application/json", body = { n = { type = "number", required = true, min = 1 } } } } } }
  local function ask(body)
    return send("request-firewall", config, { method = "POST", path = "/add", body = body, headers = { ["content-type"] = "application/json" } })
  end
  it("lets what fits through and refuses the rest", function()
    expect(ask('{"n":3}').status).equals(200)
    expect(ask('{"n":0}').status).equals(400)
    expect(ask('{"m":3}').status).equals(400)
    expect(send("request-firewall", config, { path = "/other" }).status).equals(404)
  end)
end)

describe("stone-payments' template-transformer", function()
  it("makes bodies by templates", function()
    local r = send("template-transformer", { request_template = '{ "name": "{{body.user}}" }', response_template = '{ "got": {{body.a}} }' }, {
      method = "POST", body = '{"user":"luna"}', headers = { ["content-type"] = "application/json" },
      upstream = { status = 200, headers = { ["content-type"] = "application/json" }, body = '{"a":5}' },
    })
    expect(r.status).equals(200)
    expect(json.decode(r.request.body)).equals { name = "luna" }
    expect(json.decode(r.body)).equals { got = 5 }
  end)
end)
