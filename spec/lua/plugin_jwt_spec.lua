local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local secret = "a secret of thirty-two bytes, yes"
local url = mg.crypto.base64url

local function token(claims, header, key)
  header = header or {}
  header.alg = header.alg or "HS256"
  local text = url(mg.json.encode(header)) .. "." .. url(mg.json.encode(claims))
  return text .. "." .. url(mg.crypto.hmac("sha256", key or secret, text))
end
local function soon() return math.floor(mg.now_ms() / 1000) + 60 end

local consumers = { shop = { jwt = { { "shop-key", algorithm = "HS256", secret = secret } } }, alice = {}, guest = {} }
local own = { { kid = "k1", algorithm = "HS256", secret = secret } }

local function run(text, conf, given)
  conf = conf or {}
  conf[1] = "jwt"
  given = given or {}
  return test.exchange {
    plugins = { conf, { "headers", request = { set = { ["x-consumer"] = "${consumer.name}", ["x-ctx"] = "${ctx.who}" } } } },
    consumers = consumers, path = given.path,
    headers = given.headers or { authorization = text and "Bearer " .. text or nil, ["x-user"] = "forged" },
  }
end

describe("jwt", function()
  it("recognises a consumer by its key, named by iss or kid", function()
    expect(run(token { iss = "shop-key", exp = soon() }).request.headers["x-consumer"]).equals("shop")
    expect(run(token({ exp = soon() }, { kid = "shop-key" })).request.headers["x-consumer"]).equals("shop")
  end)

  it("challenges without a token and says what is wrong with a bad one", function()
    local r = run(nil)
    expect(r.status).equals(401)
    expect(r.headers["www-authenticate"]).equals('Bearer realm="moongate"')
    r = run(token({ iss = "shop-key", exp = soon() }, nil, "another secret of thirty-two bytes"))
    expect(r.status).equals(401)
    expect(r.headers["www-authenticate"]).contains('error="invalid_token"')
    expect(r.headers["www-authenticate"]).contains("signature")
    expect(run(token { iss = "shop-key", exp = 1000 }).headers["www-authenticate"]).contains("expired")
    expect(run(token { iss = "nobody", exp = soon() }).status).equals(401)
    expect(run("not.a.token").status).equals(401)
  end)

  it("never takes the algorithm from the token", function()
    local claims = { iss = "shop-key", exp = soon() }
    expect(run(token(claims, { alg = "none" })).status).equals(401)
    expect(run(token(claims, { alg = "HS512" })).status).equals(401)
    expect(run(token(claims, { alg = "hs256" })).status).equals(401)
    local text = url(mg.json.encode { alg = "none" }) .. "." .. url(mg.json.encode(claims)) .. "."
    expect(run(text).status).equals(401)
  end)

  it("hands claims on and drops what a client sends in their place", function()
    local conf = { keys = own, consumer_claim = "sub", claims_to_headers = { sub = "x-user", ["org.id"] = "x-org" },
                   claims_to_ctx = { sub = "who" } }
    local r = run(token({ sub = "alice", exp = soon(), org = { id = 7 } }, { kid = "k1" }), conf)
    expect(r.request.headers["x-user"]).equals("alice")
    expect(r.request.headers["x-org"]).equals("7")
    expect(r.request.headers["x-consumer"]).equals("alice")
    expect(r.request.headers["x-ctx"]).equals("alice")
    r = run(token({ exp = soon() }, { kid = "k1" }), { keys = own, claims_to_headers = { sub = "x-user" } })
    expect(r.request.headers["x-user"]).is_nil()
    r = run(token({ sub = "stranger", exp = soon() }, { kid = "k1" }), conf)
    expect(r.status).equals(401)
  end)

  it("asks for scopes with 403", function()
    local conf = { keys = own, scopes = { "a", "b" } }
    expect(run(token({ exp = soon(), scope = "b a" }, { kid = "k1" }), conf).status).equals(200)
    local r = run(token({ exp = soon(), scope = "a" }, { kid = "k1" }), conf)
    expect(r.status).equals(403)
    expect(r.headers["www-authenticate"]).contains('error="insufficient_scope"')
    expect(r.headers["www-authenticate"]).contains('scope="a b"')
  end)

  it("finds tokens in the places that are named, and hides them", function()
    local text = token { iss = "shop-key", exp = soon() }
    local r = run(nil, { query = "t", hide_credentials = true }, { path = "/?a=1&t=" .. text })
    expect(r.status).equals(200)
    expect(r.request.query).equals("a=1")
    r = run(nil, { cookie = "t", hide_credentials = true }, { headers = { cookie = "x=1; t=" .. text } })
    expect(r.request.headers.cookie).equals("x=1")
    r = run(nil, { header = "x-token" }, { headers = { ["x-token"] = text } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-token"]).equals(text)
    expect(run(nil, nil, { headers = { authorization = text } }).status).equals(401)
  end)

  it("refuses tokens that are too long, and lets callers without one in as anonymous", function()
    expect(run(token { iss = "shop-key", exp = soon() }, { max_bytes = 64 }).status).equals(401)
    expect(run(nil, { anonymous = "guest" }).request.headers["x-consumer"]).equals("guest")
    expect(run("x.y.z", { anonymous = "guest" }).status).equals(401)
  end)

  it("verifies EdDSA with the key of a JWK set that the token's kid names", function()
    local head = { first = "eyJhbGciOiJFZERTQSIsImtpZCI6ImZpcnN0In0.", second = "eyJhbGciOiJFZERTQSIsImtpZCI6InNlY29uZCJ9." }
    local claims = "eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0."
    local by_first = "8-lAKMpfcjvbGAxTracGZv4SRtnUE4MxKFLuWJOyueLbxtwqkn2xCg0NlfNBkvWL6nuf54AMRHsSrtpt3zkHCw"
    local by_second = "irA2YwLUMq-8q50mMbmvEW_-8zF7Xp58zlrDex-PnKo4phRwPIdBS41FTFMp8maLPJNRLBniz4JhImdCXPNZAA"
    local second_by_first = "pBRw4SQxnkB8nzPAQjU-pvi2Ipk6W35R3UeCwoSXF1eJ2aleM24crYZRY28RBAIJcIjLDVNCJJW0BXtD-ImKDw"
    local conf = { jwks = "jwks.json", consumer_claim = "sub" }
    expect(run(head.first .. claims .. by_first, conf).request.headers["x-consumer"]).equals("alice")
    expect(run(head.second .. claims .. by_second, conf).request.headers["x-consumer"]).equals("alice")
    expect(run(head.second .. claims .. second_by_first, conf).status).equals(401) -- the other key of the set
    expect(run(head.second .. claims .. by_first, conf).status).equals(401)
    local third = url(mg.json.encode { alg = "EdDSA", kid = "third" })
    expect(run(third .. "." .. claims .. by_first, conf).status).equals(401)
    expect(function() run(nil, { jwks = "nowhere.json" }) end).fails("jwks")
    expect(function() run(nil, { jwks = "plugin_jwt_spec.lua" }) end).fails("jwks")
  end)

  it("refuses weak or unfit keys when the config loads", function()
    expect(function() run(nil, { keys = { { algorithm = "HS256", secret = "short" } } }) end).fails("shorter")
    expect(function() run(nil, { keys = { { algorithm = "RS256", secret = secret } } }) end).fails("public key")
    expect(function() run(nil, { keys = { { algorithm = "RS256", public_key = "nowhere.pem" } } }) end).fails("public_key")
    expect(function() run(nil, { keys = { own[1], own[1] } }) end).fails("k1")
  end)
end)
