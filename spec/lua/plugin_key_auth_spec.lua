local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local consumers = { alice = { keys = { "k-alice", { "k-laptop", id = "laptop" } } }, bob = { keys = "k-bob" }, guest = {} }

local function run(conf, given)
  conf[1] = "key-auth"
  given = given or {}
  return test.exchange {
    plugins = { conf, { "headers", request = { set = { ["x-user"] = "${consumer.name}", ["x-cred"] = "${consumer.credential}" } } } },
    consumers = consumers, headers = given.headers, path = given.path,
  }
end

describe("key-auth", function()
  it("recognises a consumer by a key", function()
    local r = run({}, { headers = { ["x-api-key"] = "k-laptop" } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-user"]).equals("alice")
    expect(r.request.headers["x-cred"]).equals("laptop")
    expect(run({}, { headers = { ["x-api-key"] = "k-bob" } }).request.headers["x-user"]).equals("bob")
  end)

  it("refuses without a key, with an empty and with a wrong one", function()
    for _, key in ipairs { false, "", "k-alic", "k-alicee" } do
      local r = run({}, { headers = key and { ["x-api-key"] = key } or {} })
      expect(r.status).equals(401)
      expect(r.headers["www-authenticate"]).equals('Key realm="moongate"')
      expect(r.request).is_nil()
    end
  end)

  it("hides the key from the upstream unless told otherwise", function()
    expect(run({}, { headers = { ["x-api-key"] = "k-bob" } }).request.headers["x-api-key"]).is_nil()
    expect(run({ hide_credentials = false }, { headers = { ["x-api-key"] = "k-bob" } }).request.headers["x-api-key"]).equals("k-bob")
  end)

  it("looks in the places that are named, and only there", function()
    local r = run({ query = "key" }, { path = "/a?x=1&key=k-bob&y=2" })
    expect(r.status).equals(200)
    expect(r.request.query).equals("x=1&y=2")
    expect(run({ query = "key" }, { headers = { ["x-api-key"] = "k-bob" } }).status).equals(401)
    expect(run({ header = { "x-one", "x-two" } }, { headers = { ["x-two"] = "k-bob" } }).status).equals(200)
  end)

  it("takes a cookie out and leaves the others", function()
    local r = run({ cookie = "key" }, { headers = { cookie = "a=1; key=k-bob;b=2" } })
    expect(r.status).equals(200)
    expect(r.request.headers.cookie).equals("a=1; b=2")
    r = run({ cookie = "key" }, { headers = { cookie = "key=k-bob" } })
    expect(r.request.headers.cookie).is_nil()
  end)

  it("reads a scheme before the key", function()
    local conf = { header = "authorization", scheme = "Bearer" }
    expect(run(conf, { headers = { authorization = "bearer  k-bob" } }).status).equals(200)
    expect(run(conf, { headers = { authorization = "Basic k-bob" } }).status).equals(401)
    expect(run(conf, { headers = { authorization = "k-bob" } }).status).equals(401)
  end)

  it("lets callers without a key in as anonymous, and still refuses wrong keys", function()
    local r = run { anonymous = "guest" }
    expect(r.status).equals(200)
    expect(r.request.headers["x-user"]).equals("guest")
    expect(run({ anonymous = "guest" }, { headers = { ["x-api-key"] = "wrong" } }).status).equals(401)
  end)

  it("leaves a caller alone whom an earlier entry recognised", function()
    local r = test.exchange {
      plugins = { { "key-auth", id = "a", anonymous = "guest" }, { "key-auth", id = "b", header = "x-other", anonymous = "guest" },
                  { "headers", request = { set = { ["x-user"] = "${consumer.name}" } } } },
      consumers = consumers, headers = { ["x-api-key"] = "k-bob" },
    }
    expect(r.request.headers["x-user"]).equals("bob")
  end)
end)
