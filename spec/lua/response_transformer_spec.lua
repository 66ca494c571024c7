local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function answer(conf, upstream, given)
  given = given or {}
  conf[1] = "response-transformer"
  given.plugins, given.upstream = { conf }, upstream
  return test.exchange(given)
end

describe("response-transformer", function()
  it("changes header fields and the status", function()
    local r = answer({
      remove = { headers = { "server", "x-debug-*" } }, rename = { headers = { ["x-a"] = "x-b" } },
      set = { headers = { ["x-route"] = "${route.id}" } }, status = 202,
    }, { headers = { server = "s", ["x-debug-1"] = "1", ["x-a"] = "1" }, body = "hi" })
    expect(r.status).equals(202)
    expect(r.headers.server).is_nil()
    expect(r.headers["x-debug-1"]).is_nil()
    expect(r.headers["x-b"]).equals("1")
    expect(r.headers["x-route"]).equals("test")
    expect(r.body).equals("hi")
  end)

  it("edits JSON bodies, and forgets what spoke of the old bytes", function()
    local r = answer({ remove = { body = { "debug" } }, rename = { body = { ["items[*].uid"] = "id" } }, add = { body = { ok = true } } },
      { headers = { ["content-type"] = "application/json", etag = '"abc"', ["content-md5"] = "x" },
        body = { '{"debug":{"a":1},"items":[{"uid":1},', '{"uid":20000000000000000000}]}' } })
    expect(r.body).equals('{"items":[{"id":1},{"id":20000000000000000000}],"ok":true}')
    expect(r.headers.etag).equals('W/"abc"')
    expect(r.headers["content-md5"]).is_nil()
  end)

  it("acts only on the statuses it is told", function()
    local conf = function() return { if_status = { "2xx", "404", "500-503" }, set = { headers = { ["x-t"] = "1" } } } end
    expect(answer(conf(), { status = 200 }).headers["x-t"]).equals("1")
    expect(answer(conf(), { status = 404 }).headers["x-t"]).equals("1")
    expect(answer(conf(), { status = 502 }).headers["x-t"]).equals("1")
    expect(answer(conf(), { status = 403 }).headers["x-t"]).is_nil()
    expect(function() answer({ if_status = "2x" }, {}) end).fails("if_status")
    expect(function() answer({ if_status = "503-500" }, {}) end).fails("above")
  end)

  it("waits for no body where there is none", function()
    local conf = function() return { set = { body = { a = 1 } } } end
    expect(answer(conf(), { status = 204, headers = { ["content-type"] = "application/json" } }).status).equals(204)
    local r = answer(conf(), { headers = { ["content-type"] = "application/json" }, body = "{}" }, { method = "HEAD" })
    expect(r.body).equals("")
  end)

  it("passes or refuses what is no JSON", function()
    local upstream = { headers = { ["content-type"] = "application/json" }, body = "{oops" }
    expect(answer({ set = { body = { a = 1 } } }, upstream).body).equals("{oops")
    local r = answer({ set = { body = { a = 1 } }, malformed = "refuse" }, upstream)
    expect(r.status).equals(502)
  end)

  it("refuses or passes bodies over the limit", function()
    local upstream = { headers = { ["content-type"] = "application/json" }, body = '{"a":"' .. ("x"):rep(99) .. '"}' }
    expect(answer({ set = { body = { a = 1 } }, body_limit = 10 }, upstream).status).equals(502)
    expect(answer({ set = { body = { a = 1 } }, body_limit = 10, over = "skip" }, upstream).body).equals(upstream.body)
  end)
end)
