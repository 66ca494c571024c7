local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function send(conf, given)
  given = given or {}
  conf[1] = "request-transformer"
  given.plugins = { conf }
  return test.exchange(given)
end

describe("request-transformer", function()
  it("removes, renames, replaces, sets, adds and appends header fields, in that order", function()
    local r = send({
      remove = { headers = { "x-gone", "x-internal-*" } },
      rename = { headers = { ["x-old"] = "x-new" } },
      replace = { headers = { ["x-there"] = "new", ["x-absent"] = "no" } },
      set = { headers = { ["x-client"] = "${client.ip}", ["x-path"] = "${request.path}" } },
      add = { headers = { ["x-there"] = "no", ["x-added"] = "yes" } },
      append = { headers = { ["x-list"] = "b" } },
    }, { path = "/p", headers = { ["x-gone"] = "1", ["x-internal-a"] = "1", ["X-Internal-B"] = "1", ["x-old"] = { "1", "2" },
                                  ["x-there"] = "old", ["x-list"] = "a" } })
    local h = r.request.headers
    expect(h["x-gone"]).is_nil()
    expect(h["x-internal-a"]).is_nil()
    expect(h["x-internal-b"]).is_nil()
    expect(h["x-old"]).is_nil()
    expect(r.request.all("x-new")).equals { "1", "2" }
    expect(h["x-there"]).equals("new")
    expect(h["x-absent"]).is_nil()
    expect(h["x-client"]).equals("127.0.0.1")
    expect(h["x-path"]).equals("/p")
    expect(h["x-added"]).equals("yes")
    expect(r.request.all("x-list")).equals { "a", "b" }
  end)

  it("sets no field whose variables have no value", function()
    local r = send({ set = { headers = { ["x-who"] = "${consumer.name}" } } }, { headers = { ["x-who"] = "i say so" } })
    expect(r.status).equals(200)
    expect(r.request.headers["x-who"]).is_nil()
  end)

  it("sets no field from bytes that a field cannot hold", function()
    local r = send({ set = { headers = { ["x-q"] = "${request.query.q}" } } }, { path = "/?q=a%0d%0ax-evil:%201" })
    expect(r.status).equals(200)
    expect(r.request.headers["x-q"]).is_nil()
    expect(r.request.headers["x-evil"]).is_nil()
  end)

  it("changes the query", function()
    local r = send({
      remove = { query = "debug" }, rename = { query = { q = "search" } }, set = { query = { lang = "en" } },
      add = { query = { page = "1" } }, append = { query = { tag = "b" } },
    }, { path = "/?debug=1&q=moon&page=3&tag=a" })
    expect(r.request.query).lacks("debug")
    expect(r.request.query).contains("search=moon")
    expect(r.request.query).contains("lang=en")
    expect(r.request.query).contains("page=3")
    expect(r.request.query).contains("tag=a")
    expect(r.request.query).contains("tag=b")
  end)

  it("changes method and path", function()
    local r = send({ method = "PUT", path = "/v2${request.path}" }, { path = "/users" })
    expect(r.request.method).equals("PUT")
    expect(r.request.path).equals("/v2/users")
  end)

  it("edits JSON bodies and leaves untouched bytes as they are", function()
    local r = send({
      remove = { body = { "user.password" } }, rename = { body = { ["user.mail"] = "email" } },
      set = { body = { ["meta.hops"] = 1, ["meta.ip"] = "${client.ip}", ["meta.list"] = { 1, 2 }, flag = true } },
    }, { headers = { ["content-type"] = "application/json" },
         body = '{"id": 12345678901234567890, "user": {"name":"ann", "password":"x", "mail":"a@b"}}' })
    expect(r.request.body).equals('{"id": 12345678901234567890, "user": {"name":"ann", "email":"a@b"}'
      .. ',"flag":true,"meta":{"hops":1,"ip":"127.0.0.1","list":[1,2]}}')
  end)

  it("leaves other content types, compressed bodies and broken JSON alone", function()
    local conf = function() return { set = { body = { a = 1 } } } end
    local r = send(conf(), { headers = { ["content-type"] = "text/plain" }, body = "{}" })
    expect(r.request.body).equals("{}")
    r = send(conf(), { headers = { ["content-type"] = "application/json", ["content-encoding"] = "gzip" }, body = "{}" })
    expect(r.request.body).equals("{}")
    expect(r.log).contains("content-encoding")
    r = send(conf(), { headers = { ["content-type"] = "application/json" }, body = "{oops" })
    expect(r.request.body).equals("{oops")
    expect(r.status).equals(200)
  end)

  it("refuses broken JSON where it is told to", function()
    local r = send({ set = { body = { a = 1 } }, malformed = "refuse" }, { headers = { ["content-type"] = "application/json" }, body = "{oops" })
    expect(r.status).equals(400)
    expect(r.request).is_nil()
  end)

  it("refuses or passes bodies over the limit", function()
    local body = '{"a":"' .. ("x"):rep(100) .. '"}'
    local r = send({ set = { body = { a = 1 } }, body_limit = 10 }, { headers = { ["content-type"] = "application/json" }, body = body })
    expect(r.status).equals(413)
    r = send({ set = { body = { a = 1 } }, body_limit = 10, over = "skip" },
      { headers = { ["content-type"] = "application/json" }, body = body })
    expect(r.status).equals(200)
    expect(r.request.body).equals(body)
  end)

  it("refuses configs that make no sense", function()
    expect(function() send { set = { body = { ["a..b"] = 1 } } } end).fails("set.body: a name expected")
    expect(function() send { rename = { body = { ["a[0]"] = "b" } } } end).fails("only a member has a name")
    expect(function() send { set = { headers = { a = "${nope" } } } end).fails("request-transformer")
    expect(function() send { sets = {} } end).fails("set")
  end)
end)
