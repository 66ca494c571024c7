local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function ask(conf, given)
  given = given or {}
  conf[1] = "respond"
  given.plugins = { conf }
  return test.exchange(given)
end

describe("respond", function()
  it("answers 200 with nothing by default and asks no upstream", function()
    local r = ask {}
    expect(r.status).equals(200)
    expect(r.body).equals("")
    expect(r.request).is_nil()
  end)

  it("answers with templated text, fields and content type", function()
    local r = ask({ status = 201, body = "hi ${client.ip}", headers = { ["x-at"] = "${request.path}", ["x-who"] = "${consumer.name}" },
                    content_type = "text/html" }, { path = "/here" })
    expect(r.status).equals(201)
    expect(r.body).equals("hi 127.0.0.1")
    expect(r.headers["x-at"]).equals("/here")
    expect(r.headers["x-who"]).is_nil()
    expect(r.headers["content-type"]).equals("text/html")
  end)

  it("answers with JSON, fixed or with templates in it", function()
    local r = ask { json = { a = { 1, 2 }, b = "x" } }
    expect(r.body).equals('{"a":[1,2],"b":"x"}')
    expect(r.headers["content-type"]).equals("application/json")
    r = ask({ json = { path = "${request.path}", list = { "${request.method}" }, n = 1 } }, { path = '/q"' })
    expect(r.json()).equals { path = "/q%22", list = { "GET" }, n = 1 }
  end)

  it("answers in the gateway's error shape", function()
    local r = ask { status = 503, error = "Down until 10:00." }
    expect(r.status).equals(503)
    expect(r.headers["content-type"]).equals("application/problem+json")
    expect(r.body).contains("Down until 10:00.")
  end)

  it("waits before it answers", function()
    local r = ask { delay = "300ms", body = "late" }
    expect(r.body).equals("late")
    expect(r.elapsed_ms).is_within(300, 330)
  end)

  it("takes part where `when` says so", function()
    local conf = function() return { body = "mock", when = function(x) return x.request.query.mock == "1" end } end
    expect(ask(conf(), { path = "/?mock=1" }).body).equals("mock")
    expect(ask(conf()).body).equals("upstream")
  end)

  it("refuses configs that make no sense", function()
    expect(function() ask { body = "a", json = {} } end).fails("only one of")
    expect(function() ask { status = 99 } end).fails("status")
    expect(function() ask { error = "x" } end).fails("400 or above")
    expect(function() ask { statuss = 200 } end).fails("did you mean")
  end)
end)
