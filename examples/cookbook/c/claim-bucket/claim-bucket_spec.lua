-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect
local SECRET = "an example of a secret that is long enough"

local function token(claims)
  local text = mg.crypto.base64url '{"alg":"HS256"}' .. "." .. mg.crypto.base64url(mg.json.encode(claims))
  return "Bearer " .. text .. "." .. mg.crypto.base64url(mg.crypto.hmac("sha256", SECRET, text))
end

describe("claim-bucket", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { now = "2026-03-01T12:00:00Z", upstreams = { ["*"] = 200 } }) end)
  local function ask(sub, plan) return gw:get("/", { headers = { authorization = token { sub = sub, plan = plan, exp = 1800000000 } } }) end

  it("gives each caller a bucket, and says what is left", function()
    expect(ask("alice").headers["x-ratelimit-remaining"]).equals "1"
    expect(ask("alice").headers["x-ratelimit-remaining"]).equals "0"
    local r = ask "alice"
    expect(r.status).equals(429)
    expect(r.headers["retry-after"]).equals "30"
    expect(r.headers["x-ratelimit-limit"]).equals "2"
    expect(ask("bob").status).equals(200)
  end)

  it("fills it as time goes by", function()
    for _ = 1, 3 do ask "alice" end
    test.advance "30s"
    expect(ask("alice").status).equals(200)
    expect(ask("alice").status).equals(429)
  end)

  it("gives more to who has paid for more", function()
    for _ = 1, 50 do expect(ask("carol", "gold").status).equals(200) end
    expect(ask("dave", "brass").headers["x-ratelimit-limit"]).equals "2"
  end)

  it("refuses a token without a name", function()
    expect(ask(nil).status).equals(401)
  end)
end)
