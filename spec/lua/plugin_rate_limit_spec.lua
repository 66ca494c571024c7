local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local names = 0
local function entry(conf) -- counters of its own for each test
  names = names + 1
  conf[1], conf.name = "rate-limit", conf.name or "spec-" .. names
  return conf
end

local function run(conf, given)
  given = given or {}
  local chain = { conf }
  if given.auth then table.insert(chain, 1, "key-auth") end
  return test.exchange {
    plugins = chain, client = given.client, headers = given.headers,
    consumers = given.auth and { alice = { groups = { "gold" }, keys = "k-a" }, bob = { keys = { "k-b1", "k-b2" } }, carol = { groups = { "staff" }, keys = "k-c" } },
  }
end

for _, algorithm in ipairs { "token-bucket", "sliding-window" } do
  describe("rate-limit by " .. algorithm, function()
    it("lets the limit pass and answers 429 beyond it", function()
      local conf = entry { limit = 3, window = "10s", algorithm = algorithm }
      for left = 2, 0, -1 do
        local r = run(conf)
        expect(r.status).equals(200)
        expect(r.headers["ratelimit-policy"]).equals('"10s";q=3;w=10')
        expect(r.headers.ratelimit).contains('"10s";r=' .. left .. ";t=")
        expect(r.headers["retry-after"]).is_nil()
      end
      local r = run(conf)
      expect(r.status).equals(429)
      expect(r.request).is_nil()
      expect(r.headers.ratelimit).contains('"10s";r=0;t=')
      expect(tonumber(r.headers["retry-after"])).is_within(1, 10)
      expect(r.headers["content-type"]).contains("problem+json")
    end)

    it("lets a caller in again after Retry-After", function()
      local conf = entry { limit = 2, window = "4s", algorithm = algorithm }
      run(conf)
      run(conf)
      local r = run(conf)
      expect(r.status).equals(429)
      test.advance(tonumber(r.headers["retry-after"]) * 1000)
      expect(run(conf).status).equals(200)
    end)

    it("keeps callers apart", function()
      local conf = entry { limit = 1, window = "1m", algorithm = algorithm }
      expect(run(conf, { client = "192.0.2.1" }).status).equals(200)
      expect(run(conf, { client = "192.0.2.2" }).status).equals(200)
      expect(run(conf, { client = "192.0.2.1" }).status).equals(429)
    end)
  end)
end

describe("rate-limit", function()
  it("counts an IPv6 network of 64 bits as one client", function()
    local conf = entry { limit = 1, window = "1m" }
    expect(run(conf, { client = "2001:db8:0:1::1" }).status).equals(200)
    expect(run(conf, { client = "2001:db8:0:1:ffff::2" }).status).equals(429)
    expect(run(conf, { client = "2001:db8:0:2::1" }).status).equals(200)
  end)

  it("counts by consumer, whatever key is used", function()
    local conf = entry { limit = 1, window = "1m", by = "consumer" }
    expect(run(conf, { auth = true, headers = { ["x-api-key"] = "k-b1" } }).status).equals(200)
    expect(run(conf, { auth = true, headers = { ["x-api-key"] = "k-b2" } }).status).equals(429)
    expect(run(conf, { auth = true, headers = { ["x-api-key"] = "k-a" } }).status).equals(200)
  end)

  it("gives groups their own limits, and none to an empty tier", function()
    local conf = entry { limit = 1, window = "1m", by = "consumer", tiers = { gold = { limit = 2, window = "1m" }, staff = {} } }
    local function status(key) return run(conf, { auth = true, headers = { ["x-api-key"] = key } }).status end
    expect({ status "k-a", status "k-a", status "k-a" }).equals({ 200, 200, 429 })
    expect({ status "k-b1", status "k-b1" }).equals({ 200, 429 })
    for _ = 1, 5 do expect(status "k-c").equals(200) end
  end)

  it("counts by a header, and all without it together", function()
    local conf = entry { limit = 1, window = "1m", by = "header:x-tenant" }
    expect(run(conf, { headers = { ["x-tenant"] = "a" } }).status).equals(200)
    expect(run(conf, { headers = { ["x-tenant"] = "b" } }).status).equals(200)
    expect(run(conf, { headers = { ["x-tenant"] = "a" } }).status).equals(429)
    expect(run(conf, { client = "192.0.2.1" }).status).equals(200)
    expect(run(conf, { client = "192.0.2.2" }).status).equals(429)
  end)

  it("counts by a template, and by very long keys", function()
    local conf = entry { limit = 1, window = "1m", by = "${request.headers.x-a}/${request.method}" }
    local long = ("x"):rep(3000)
    expect(run(conf, { headers = { ["x-a"] = long } }).status).equals(200)
    expect(run(conf, { headers = { ["x-a"] = long .. "y" } }).status).equals(200)
    expect(run(conf, { headers = { ["x-a"] = long } }).status).equals(429)
  end)

  it("holds several limits at once and reports the tightest", function()
    local conf = entry { limits = { { 2, "1s", name = "burst" }, { 3, "1h", name = "hourly" } } }
    local r = run(conf)
    expect(r.headers["ratelimit-policy"]).equals('"burst";q=2;w=1, "hourly";q=3;w=3600')
    expect(r.headers.ratelimit).contains('"burst";r=1')
    expect(run(conf).status).equals(200)
    r = run(conf)
    expect(r.status).equals(429)
    expect(r.headers.ratelimit).contains('"burst";r=0')
    test.advance(2000)
    r = run(conf)
    expect(r.status).equals(200)
    expect(r.headers.ratelimit).contains('"hourly";r=0')
    r = run(conf) -- the hour refuses; what the burst gave is given back
    expect(r.status).equals(429)
    expect(r.headers.ratelimit).contains('"hourly";r=0')
    expect(tonumber(r.headers["retry-after"])).is_within(600, 3600)
  end)

  it("gives back what earlier limits took when a later one refuses", function()
    local name = entry({}).name
    local both = { "rate-limit", limits = { { 3, "1h", name = "a" }, { 1, "2h", name = "b" } }, name = name }
    expect(run(both).status).equals(200)
    for _ = 1, 5 do expect(run(both).status).equals(429) end
    local a = run { "rate-limit", limits = { { 3, "1h", name = "a" } }, name = name }
    expect(a.status).equals(200)
    expect(a.headers.ratelimit).contains('"a";r=1;')
  end)

  it("charges a cost", function()
    local conf = entry { limit = 5, window = "1m", cost = 2 }
    expect({ run(conf).status, run(conf).status, run(conf).status }).equals({ 200, 200, 429 })
  end)

  it("says it in the older fields too, or not at all", function()
    local r = run(entry { limit = 5, window = "1m", x_headers = true, headers = false })
    expect(r.headers["x-ratelimit-limit"]).equals("5")
    expect(r.headers["x-ratelimit-remaining"]).equals("4")
    expect(tonumber(r.headers["x-ratelimit-reset"])).is_within(1, 60)
    expect(r.headers.ratelimit).is_nil()
  end)

  it("refuses a config that makes no sense", function()
    expect(function() run { "rate-limit" } end).fails("needs limit and window")
    expect(function() run { "rate-limit", limit = 1 } end).fails("window")
    expect(function() run { "rate-limit", limit = 1, window = "1s", limits = { { 1, "1s" } } } end).fails("not both")
    expect(function() run { "rate-limit", limit = 1, window = "1s", by = "consumers" } end).fails("by:")
    expect(function() run { "rate-limit", limit = 1, window = "1s", by = "consumer" } end).fails("consumer")
    expect(function() run { "rate-limit", limits = { { 1, "1s" }, { 2, "1s" } } } end).fails("same name")
  end)
end)
