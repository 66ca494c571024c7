local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function run(conf, headers, upstream)
  return test.exchange { plugins = { { "headers", request = conf.request, response = conf.response } }, headers = headers,
                         path = conf.path or "/", upstream = upstream }
end

describe("headers", function()
  it("sets, whether or not the field was there", function()
    local r = run({ request = { set = { ["x-a"] = "1", ["x-b"] = "2" } } }, { ["x-a"] = { "old", "older" } })
    expect(r.request.all("x-a")).equals({ "1" })
    expect(r.request.all("x-b")).equals({ "2" })
  end)

  it("adds beside what is there, several at once", function()
    local r = run({ request = { add = { ["x-a"] = { "2", "3" } } } }, { ["x-a"] = "1" })
    expect(r.request.all("x-a")).equals({ "1", "2", "3" })
  end)

  it("removes by name and by prefix", function()
    local r = run({ request = { remove = { "x-a", "x-internal-*" } } },
      { ["x-a"] = { "1", "2" }, ["X-Internal-User"] = "root", ["x-internal-b"] = "1", ["x-internalize"] = "stays" })
    expect(r.request.headers["x-a"]).is_nil()
    expect(r.request.headers["x-internal-user"]).is_nil()
    expect(r.request.headers["x-internal-b"]).is_nil()
    expect(r.request.headers["x-internalize"]).equals("stays")
  end)

  it("renames all values and replaces those of the new name", function()
    local r = run({ request = { rename = { ["x-old"] = "x-new" } } }, { ["x-old"] = { "1", "2" }, ["x-new"] = "0" })
    expect(r.request.all("x-new")).equals({ "1", "2" })
    expect(r.request.headers["x-old"]).is_nil()
    expect(run({ request = { rename = { ["x-old"] = "x-new" } } }, { ["x-new"] = "0" }).request.all("x-new")).equals({ "0" })
  end)

  it("replaces only what is there and defaults only what is not", function()
    local conf = { request = { replace = { ["x-a"] = "r" }, default = { ["x-b"] = "d" } } }
    local r = run(conf, { ["x-a"] = "1", ["x-b"] = "2" })
    expect(r.request.headers["x-a"]).equals("r")
    expect(r.request.headers["x-b"]).equals("2")
    r = run(conf, {})
    expect(r.request.headers["x-a"]).is_nil()
    expect(r.request.headers["x-b"]).equals("d")
  end)

  it("fills templates", function()
    local r = run({ path = "/p?n=7", request = { set = { ["x-a"] = "${request.method} ${request.query.n} $$" } },
                    response = { set = { ["x-status"] = "${response.status}" } } })
    expect(r.request.headers["x-a"]).equals("GET 7 $")
    expect(r.headers["x-status"]).equals("200")
  end)

  it("does not let a client keep a field whose value is absent", function()
    local r = run({ request = { set = { ["x-user"] = "${consumer.name}" } } }, { ["x-user"] = "admin" })
    expect(r.request.headers["x-user"]).is_nil()
  end)

  it("makes no field of a value with a line break in it", function()
    local r = run({ path = "/?a=x%0d%0ax-evil:%201", request = { set = { ["x-a"] = "${request.query.a}" } } }, { ["x-a"] = "old" })
    expect(r.status).equals(200)
    expect(r.request.headers["x-a"]).is_nil()
    expect(r.request.headers["x-evil"]).is_nil()
  end)

  it("changes the answer, the gateway's own as well", function()
    local r = run({ response = { remove = "server", rename = { ["x-up"] = "x-backend" }, add = { link = { "<a>", "<b>" } } } }, {},
      { headers = { server = "secret/1.0", ["x-up"] = "u1" } })
    expect(r.headers.server).is_nil()
    expect(r.headers["x-backend"]).equals("u1")
    expect(r.all("link")).equals({ "<a>", "<b>" })
    r = test.exchange { plugins = { { "headers", response = { set = { ["x-frame-options"] = "DENY" } } }, "key-auth" } }
    expect(r.status).equals(401)
    expect(r.headers["x-frame-options"]).equals("DENY")
  end)

  it("refuses names that are no names, and those of the connection", function()
    expect(function() run { request = { set = { ["x a"] = "1" } } } end).fails("no name of a header field")
    expect(function() run { response = { add = { ["Transfer-Encoding"] = "x" } } } end).fails("belongs to the connection")
  end)
end)
