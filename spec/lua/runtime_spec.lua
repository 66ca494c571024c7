local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function run(handler, given)
  given = given or {}
  given.plugins = { { on_request = handler } }
  return test.exchange(given)
end

describe("the exchange in Lua", function()
  it("passes a request on and gives back what the upstream said", function()
    local r = run(function() end, { path = "/a?b=1", headers = { ["x-one"] = "1" } })
    expect(r.status).equals(200)
    expect(r.body).equals("upstream")
    expect(r.request.path).equals("/a")
    expect(r.request.query).equals("b=1")
    expect(r.request.headers["X-One"]).equals("1")
  end)

  it("reads the request's parts", function()
    local seen = {}
    run(function(x)
      local q = x.request
      seen.method, seen.path, seen.host, seen.scheme, seen.version = q.method, q.path, q.host, q.scheme, q.version
      seen.raw_query, seen.port, seen.cookie, seen.param = q.raw_query, q.port, q.cookies.session, q.params.id
      seen.page, seen.ip, seen.route, seen.upstream = q.query.page, x.client.ip, x.route.id, x.upstream.name
      seen.tls, seen.consumer, seen.phase, seen.length = x.client.tls, x.consumer, x.phase, q.body_length
    end, { method = "PUT", path = "/users/7?page=2&x=a%20b", headers = { cookie = "a=1; session=abc" }, params = { id = 7 },
           client = "10.1.2.3", route = "users" })
    expect(seen.method).equals("PUT")
    expect(seen.path).equals("/users/7")
    expect(seen.host).equals("test.example")
    expect(seen.scheme).equals("http")
    expect(seen.version).equals("1.1")
    expect(seen.raw_query).equals("page=2&x=a%20b")
    expect(seen.port).equals(80)
    expect(seen.cookie).equals("abc")
    expect(seen.param).equals("7")
    expect(seen.page).equals("2")
    expect(seen.ip).equals("10.1.2.3")
    expect(seen.route).equals("users")
    expect(seen.upstream).equals("test")
    expect(seen.tls).is_nil()
    expect(seen.consumer).is_nil()
    expect(seen.phase).equals("on_request")
    expect(seen.length).equals(0)
  end)

  it("changes header fields: set, add, remove, many, each", function()
    local listed = {}
    local r = run(function(x)
      local h = x.request.headers
      h["x-set"] = "1"
      h["x-number"] = 5
      h["x-list"] = { "a", "b" }
      h:add("x-list", "c")
      h["x-gone"] = nil
      expect(h:join("x-list")).equals("a, b, c")
      expect(h:get("x-none")).is_nil()
      for i, name, value in h:each() do listed[i] = name .. "=" .. value end
    end, { headers = { ["x-gone"] = "1" } })
    expect(r.request.headers["x-set"]).equals("1")
    expect(r.request.headers["x-number"]).equals("5")
    expect(r.request.all("x-list")).equals { "a", "b", "c" }
    expect(r.request.headers["x-gone"]).is_nil()
    expect(listed).contains("x-set=1")
  end)

  it("changes path, method and query", function()
    local r = run(function(x)
      x.request.path = "/b/../c d"
      x.request.method = "DELETE"
      x.request.query.a = "x y"
      x.request.query:add("b", "2")
      x.request.query.gone = nil
    end, { path = "/a?gone=1&a=0" })
    expect(r.request.path).equals("/c%20d")
    expect(r.request.method).equals("DELETE")
    expect(r.request.query).contains("b=2")
    expect(r.request.query).lacks("gone")
  end)

  it("refuses what the core owns, with an error that names it", function()
    local r = run(function(x) x.request.headers["content-length"] = "5" end)
    expect(r.status).equals(500)
    expect(r.log).contains("content-length")
  end)

  it("answers with text, a table, fields, nothing", function()
    local r = run(function(x) return x:respond(418, "tea", { ["x-pot"] = "1" }) end)
    expect(r.status).equals(418)
    expect(r.body).equals("tea")
    expect(r.headers["x-pot"]).equals("1")
    expect(r.headers["content-type"]).contains("text/plain")
    expect(r.request).is_nil()
    expect(r.source).equals("plugin")
    r = run(function(x) return x:respond(200, { a = 1, list = { 1, 2 } }) end)
    expect(r.body).equals('{"a":1,"list":[1,2]}')
    expect(r.headers["content-type"]).equals("application/json")
    r = run(function(x) return x:respond(204) end)
    expect(r.body).equals("")
  end)

  it("answers also when the handler forgets to return it", function()
    local r = run(function(x) x:respond(403, "no") end)
    expect(r.status).equals(403)
  end)

  it("gives problem details by x:error", function()
    local r = run(function(x) return x:error(429, "slow down") end)
    expect(r.status).equals(429)
    expect(r.headers["content-type"]).equals("application/problem+json")
    expect(r.body).contains("slow down")
  end)

  it("answers 500 and logs file, line and traceback when a handler raises", function()
    local r = run(function() error("boom") end)
    expect(r.status).equals(500)
    expect(r.body).lacks("boom")
    expect(r.log).contains("boom")
    expect(r.log).contains("runtime_spec.lua")
    expect(r.failure).equals("plugin_error")
  end)

  it("goes on after an error with on_error = continue, without what the entry had changed", function()
    local r = test.exchange { plugins = { { on_error = "continue", on_request = function(x)
      x.request.headers["x-half"] = "1"
      error("boom")
    end } } }
    expect(r.status).equals(200)
    expect(r.request.headers["x-half"]).is_nil()
  end)

  it("refuses a handler that returns something else", function()
    local r = run(function() return { status = 200 } end)
    expect(r.status).equals(500)
    expect(r.log).contains("a handler returns nothing")
  end)

  it("says which field does not exist", function()
    local r = run(function(x) return x.requst.method end)
    expect(r.log).contains("x has no field 'requst'")
  end)
end)

describe("ctx", function()
  it("holds text, numbers and booleans that C plugins see", function()
    local back = {}
    local r = test.exchange { plugins = {
      { on_request = function(x) x.ctx.a, x.ctx.b, x.ctx.c, x.ctx.gone = "t", 1.5, false, 1; x.ctx.gone = nil end },
      { on_response = function(x) back = { x.ctx.a, x.ctx.b, x.ctx.c, x.ctx.gone == nil } end },
    } }
    expect(back).equals { "t", 1.5, false, true }
    expect(r.ctx).equals { a = "t", b = 1.5, c = false }
  end)

  it("keeps tables and functions beside it until the exchange ends", function()
    local got, later
    test.exchange { plugins = {
      { on_request = function(x) x.ctx.user = { name = "ann" } end,
        on_response = function(x) got = x.ctx.user.name; x.ctx.user = "text now" end,
        on_log = function(x) later = x.ctx.user end },
    } }
    expect(got).equals("ann")
    expect(later).equals("text now")
    local other
    test.exchange { plugins = { { on_request = function(x) other = x.ctx.user end } } }
    expect(other).is_nil()
  end)

  it("is out of reach once the exchange has ended", function()
    local kept
    run(function(x) kept = x end)
    expect(function() return kept.ctx.a end).fails("this exchange has ended")
    expect(function() return kept.request.method end).fails("this exchange has ended")
  end)
end)

describe("waiting", function()
  it("sleeps on the simulated clock", function()
    local r = run(function(x)
      mg.sleep(1500)
      x.request.headers["x-slept"] = "1"
      mg.sleep("1s")
    end)
    expect(r.request.headers["x-slept"]).equals("1")
    expect(r.elapsed_ms).is_within(2500, 2600)
  end)

  it("waits within pcall and within coroutines of its own", function()
    local r = run(function(x)
      local ok = pcall(function() mg.sleep(10) end)
      local gen = coroutine.wrap(function()
        mg.sleep(20)
        coroutine.yield("first")
        mg.sleep(20)
        return "second"
      end)
      local co = coroutine.create(function(a)
        mg.sleep(5)
        local b = coroutine.yield(a + 1)
        return a + b
      end)
      local _, one = coroutine.resume(co, 1)
      local _, two = coroutine.resume(co, 10)
      x.request.headers["x-got"] = tostring(ok) .. gen() .. gen() .. one .. two
    end)
    expect(r.request.headers["x-got"]).equals("truefirstsecond211")
  end)

  it("cannot in on_log, and says so", function()
    local r = test.exchange { plugins = { { on_log = function() mg.sleep(1) end } } }
    expect(r.status).equals(200)
    expect(r.log).contains("mg.sleep waits")
  end)

  it("cannot in when", function()
    local r = test.exchange { plugins = { { when = function() mg.sleep(1) end, on_request = function() end } } }
    expect(r.status).equals(500)
  end)

  it("refuses a bare yield", function()
    local r = run(function() coroutine.yield(1) end)
    expect(r.status).equals(500)
    expect(r.log).contains("coroutine.yield")
  end)
end)

describe("when", function()
  it("lets an entry take part or not", function()
    local function tag(x) x.request.headers["x-tag"] = "1" end
    local r = test.exchange { plugins = { { when = function(x) return x.request.method == "POST" end, on_request = tag } } }
    expect(r.request.headers["x-tag"]).is_nil()
    r = test.exchange { method = "POST", plugins = { { when = function(x) return x.request.method == "POST" end, on_request = tag } } }
    expect(r.request.headers["x-tag"]).equals("1")
  end)
end)

describe("bodies", function()
  it("gives the whole request body, in pieces or not", function()
    local got
    local r = run(function(x) got = x.request:body() end, { body = { "ab", "cd", "ef" } })
    expect(got).equals("abcdef")
    expect(r.request.body).equals("abcdef")
  end)

  it("gives an empty text where there is none", function()
    local got
    run(function(x) got = x.request:body() end)
    expect(got).equals("")
  end)

  it("replaces it", function()
    local r = run(function(x) x.request:set_body { a = 1 } end, { body = { "old", "old" } })
    expect(r.request.body).equals('{"a":1}')
  end)

  it("refuses one over the limit with 413", function()
    local after
    local r = run(function(x) x.request:body(4); after = true end, { body = { "abc", "def" } })
    expect(r.status).equals(413)
    expect(after).is_nil()
  end)

  it("or lets it pass and tells the handler", function()
    local got, err
    local r = run(function(x) got, err = x.request:body(4, "skip") end, { body = { "abc", "def" } })
    expect(got).is_nil()
    expect(err).equals("too big")
    expect(r.status).equals(200)
    expect(r.request.body).equals("abcdef")
  end)

  it("decodes JSON", function()
    local got
    run(function(x) got = x.request:json() end, { body = { user = { name = "ann" } } })
    expect(got.user.name).equals("ann")
  end)

  it("reads and replaces the response's", function()
    local r = test.exchange { plugins = { { on_response = function(x)
      local body = x.response:body()
      x.response:set_body(body:upper())
      x.response.status = 201
      x.response.headers["x-by"] = "lua"
    end } }, upstream = { body = { "he", "llo" } } }
    expect(r.status).equals(201)
    expect(r.body).equals("HELLO")
    expect(r.headers["x-by"]).equals("lua")
  end)

  it("shows pieces as they pass", function()
    local pieces = {}
    local r = test.exchange {
      plugins = { {
        on_request = function(x) x.request:resize_body() end,
        on_request_body = function(x)
          pieces[#pieces + 1] = x.piece .. (x.is_last and "|" or "")
          x.piece = x.piece:upper()
        end,
        on_response = function(x) x.response:resize_body() end,
        on_response_body = function(x) if x.is_last then x.piece = x.piece .. "!" end end,
      } },
      body = { "ab", "cd" }, upstream = { body = { "x", "y" } },
    }
    expect(table.concat(pieces)).equals("abcd|")
    expect(r.request.body).equals("ABCD")
    expect(r.body).equals("xy!")
  end)

  it("lets a body handler wait", function()
    local r = test.exchange { plugins = { { on_response_body = function() mg.sleep(10) end } }, upstream = { body = { "x", "y" } } }
    expect(r.body).equals("xy")
    expect(r.elapsed_ms).is_within(20, 80)
  end)
end)

describe("consumers", function()
  it("are nil when nobody was recognised, else name, groups and metadata", function()
    local seen = {}
    local r = test.exchange {
      consumers = { alice = { groups = { "gold", "eu" }, metadata = { plan = "pro", seats = 5 } } },
      plugins = { { on_request = function(x)
        seen.before = x.consumer
        x.consumer = "alice"
        local c = x.consumer
        seen.name, seen.groups, seen.plan, seen.seats = c.name, c.groups, c.metadata.plan, c.metadata.seats
        seen.gold, seen.tin = c:in_group("gold"), c:in_group("tin")
      end } },
    }
    expect(seen.before).is_nil()
    expect(seen.name).equals("alice")
    expect(seen.groups).equals { "gold", "eu" }
    expect(seen.plan).equals("pro")
    expect(seen.seats).equals("5")
    expect(seen.gold).is(true)
    expect(seen.tin).is(false)
    expect(r.consumer).equals("alice")
  end)
end)

describe("compiled code", function()
  -- A handler's traces begin in its wrapper ("handler:1") or in itself. (Getters that get hot before it cannot be traced by
  -- themselves, and are given up; that is of no consequence once the handler is compiled, as they are part of it.)
  local function hot(name)
    local aborted, made = test.aborted_traces(function()
      for _ = 1, 400 do
        test.exchange { plugins = { name }, path = "/p?q=1", headers = { ["x-a"] = "1", ["x-b"] = "2" },
                        consumers = { alice = { metadata = { plan = "pro" } } } }
      end
    end)
    local begun = 0
    for _, place in ipairs(made) do
      if place:find("handler:", 1, true) or place:find(name, 1, true) then begun = begun + 1 end
    end
    expect(begun).is_within(1, 20)
    for _, trace in ipairs(aborted) do
      if trace.start:find("handler:", 1, true) or trace.start:find(name, 1, true) then expect(trace).is_nil() end
    end
  end

  it("has no aborted trace in a handler that reads two fields, sets ctx and a field", function() hot "hot-fields" end)
  it("nor in one that asks for this and that", function() hot "hot-more" end)
end)

describe("mg", function()
  it("tells simulated time", function()
    local t = mg.now_ms()
    test.advance(1000)
    expect(mg.now_ms() - t).equals(1000)
    expect(os.time()).is_within(1767225600, 1767225700)
  end)

  it("matches, finds and replaces with regular expressions", function()
    expect(mg.re.test("abc123", [[\d+]])).is(true)
    expect(mg.re.match("k=v", [[(\w)=(\w)(x)?]])).equals { [0] = "k=v", "k", "v", false }
    expect({ mg.re.find("xxabc", "abc") }).equals { 3, 5 }
    expect(mg.re.gsub("a1b22", [[\d+]], "<$0>")).equals("a<1>b<22>")
    expect(mg.re.gsub("john smith", [[(\w+) (\w+)]], "$2 $1")).equals("smith john")
    expect(mg.re.gsub("aaa", "a", function(m) return m[0]:upper() end, "", 2)).equals("AAa")
    local n = 0
    for m in mg.re.gmatch("a,b,c", "[a-z]") do n = n + #m[0] end
    expect(n).equals(3)
    expect(mg.re.test("ABC", "abc", "i")).is(true)
    expect(function() mg.re.test("a", "(") end).fails("re:")
    local one = mg.re.compile([[^/v(\d+)]])
    expect(one:match("/v12/x")[1]).equals("12")
  end)

  it("digests and encodes", function()
    local c = mg.crypto
    expect(c.hex(c.digest("sha256", "abc"))).equals("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    expect(c.unbase64(c.base64("hi\0there"))).equals("hi\0there")
    expect(c.unbase64("!")).is_nil()
    expect(c.base64url("\255\254")).equals("__4")
    expect(c.unhex("6869")).equals("hi")
    expect(c.equal("a", "a")).is(true)
    expect(c.equal("a", "b")).is(false)
    expect(#c.random_bytes(16)).equals(16)
    expect(c.hex(c.hmac("sha256", "key", "data"))).equals("5031fe3d989c6d1537a013fa6e739da23463fdaec3b70137d828e36ace221bd0")
    expect(mg.url_decode(mg.url_encode("a b/ü"))).equals("a b/ü")
    expect(#mg.uuid()).equals(36)
  end)

  it("renders templates", function()
    local text, absent
    run(function(x) text, absent = assert(mg.template("${request.method} ${client.ip} ${consumer.name|nobody}")):render(x) end)
    expect(text).equals("GET 127.0.0.1 nobody")
    expect(absent).is_within(0, 1)
    local bad, err = mg.template("${request.method")
    expect(bad).is_nil()
    expect(err).exists()
  end)
end)
