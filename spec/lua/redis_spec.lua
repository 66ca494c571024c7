-- mg.redis as scripts see it, with answers by the spec. (Against a real server: spec/e2e/test_redis.py.)

local mg = require "moongate"
local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local redis = mg.redis.new { url = "redis://127.0.0.1:1" }

-- What fn(x) returned inside of a handler, and the commands that it sent.
local function inside(fake, fn, phase)
  local got
  local r = test.exchange {
    plugins = { { [phase or "on_request"] = function(x) got = { fn(x) } end } },
    redis = fake,
  }
  local sent = {}
  for _, call in ipairs(r.calls) do sent[#sent + 1] = call.command end
  return got, sent, r
end

describe("mg.redis", function()
  it("sends any command as a method, and numbers as their digits", function()
    local got, sent = inside(test.redis(), function()
      return redis:set("k", 1e15), redis:incrby("n", -3), redis:call("GET", "k"), redis:get("absent")
    end)
    expect(got[1]).equals("OK")
    expect(got[2]).equals(-3)
    expect(got[3]).equals("1000000000000000")
    expect(got[4]).is_nil()
    expect(sent).equals { "SET k 1000000000000000", "INCRBY n -3", "GET k", "GET absent" }
  end)

  it("gives an error as nil and its text", function()
    local got = inside(test.redis { set = { k = "x" } }, function() return redis:incr("k") end)
    expect(got[1]).is_nil()
    expect(got[2]).contains("not an integer")
  end)

  it("gives a failure as nil and why", function()
    local got = inside(function() return { fails = "timeout" } end, function() return redis:get("k") end)
    expect(got[1]).is_nil()
    expect(type(got[2])).equals("string")
  end)

  it("has lists that stay lists, with false for what is missing", function()
    local got = inside(function() return { "a", false, { "b", { 7 } }, { err = "ERR x" } } end, function() return redis:foo() end)
    local list = got[1]
    expect(list[1]).equals("a")
    expect(list[2]).equals(false)
    expect(list[3][2][1]).equals(7)
    expect(tostring(list[4])).equals("ERR x")
    expect(mg.json.encode(inside(function() return {} end, function() return redis:foo() end)[1])).equals("[]")
  end)

  it("keeps integers that a Lua number cannot hold", function()
    local got = inside(function() return 9007199254740992 * 4 end, function() return redis:foo() end)
    expect(tostring(got[1])).equals("36028797018963968LL")
  end)

  it("gathers a pipeline from a function or a list", function()
    local got, sent = inside(test.redis(), function()
      local a = redis:pipeline(function(p) p:set("a", 1) p:incr("a") p:call("GET", "a") end)
      local b = redis:pipeline { { "GET", "a" }, { "GET", "none" } }
      return a, b, redis:pipeline {}
    end)
    expect(got[1]).equals { "OK", 2, "2" }
    expect(got[2]).equals { "2", false }
    expect(got[3]).equals {}
    expect(sent).equals { "SET a 1", "INCR a", "GET a", "GET a", "GET none" }
  end)

  it("sends a transaction in its brackets and gives EXEC's replies", function()
    local got, sent = inside(test.redis(), function() return redis:transaction(function(p) p:incr("n") p:incr("n") end) end)
    expect(got[1]).equals { 1, 2 }
    expect(sent).equals { "MULTI", "INCR n", "INCR n", "EXEC" }
  end)

  it("sends a script by its digest, and whole when the server does not know it", function()
    local seen = {}
    local got = inside(function(name, args)
      seen[#seen + 1] = name
      if name == "EVALSHA" then return { err = "NOSCRIPT No matching script." } end
      return args[1] .. args[2] .. args[3] .. args[4]
    end, function() return redis:eval("return 1", { "k" }, { 5 }) end)
    expect(seen).equals { "EVALSHA", "EVAL" }
    expect(got[1]).equals("return 11k5")
  end)

  it("gives a hash as a table", function()
    local got = inside(test.redis(), function() redis:hset("h", "a", 1, "b", 2) return redis:hgetall("h") end)
    expect(got[1]).equals { a = "1", b = "2" }
  end)

  it("receives what a subscription brings", function()
    local answers = { { "message", "news", "one" }, { { ok = "reconnected" } }, { "pmessage", "n*", "news", "two" }, { "lost", 3 } }
    local got = inside(function(name)
      if name == "RECEIVE" then return table.remove(answers, 1) end
      return 1
    end, function()
      local s = redis:subscribe("news")
      local a, b, c, d = s:receive(), s:receive("1s"), s:receive(10), s:receive()
      s:close()
      return a, b, c, d
    end)
    expect(got[1]).equals { channel = "news", payload = "one" }
    expect(got[3]).equals { pattern = "n*", channel = "news", payload = "two" }
    expect(got[4]).equals { event = "lost", count = 3 }
  end)

  it("asks for several at once with mg.all", function()
    local got = inside(test.redis { set = { a = "1", b = "2" } }, function()
      return mg.all { function() return redis:get("a") end, function() return redis:get("b") end }
    end)
    expect(got[1]).equals { "1", "2" }
  end)

  it("refuses what a shared connection cannot take, and what is no command", function()
    local got = inside(test.redis(), function()
      local _, select = pcall(redis.select, redis, 1)
      local _, none = pcall(redis.call, redis)
      local _, word = pcall(redis.set, redis, "k", {})
      local _, pipe = pcall(redis.pipeline, redis, { { "BLPOP", "q", 0 } })
      return tostring(select), tostring(none), tostring(word), tostring(pipe)
    end)
    expect(got[1]).contains("a shared connection cannot take")
    expect(got[2]).contains("no command")
    expect(got[3]).contains("text or a number expected, not a table")
    expect(got[4]).contains("redis:pipeline")
  end)

  it("is refused where nothing may wait", function()
    local got = inside(test.redis(), function() return pcall(redis.get, redis, "k") end, "on_log")
    expect(got[1]).equals(false)
    expect(got[2]).contains("redis:get waits, and on_log")
  end)

  it("is one for the same options, in whatever order and wherever it is made", function()
    expect(mg.redis.new { url = "redis://127.0.0.1:1" } == redis).equals(true)
    expect(mg.redis.new { db = 1, url = "redis://h" } == mg.redis.new { url = "redis://h", db = "1" }).equals(true)
    expect(mg.redis.new { url = "redis://127.0.0.1:2" } == redis).equals(false)
  end)

  it("tells wrong options when it is made", function()
    expect(function() mg.redis.new { url = "redis://h", timout = 3 } end).fails("did you mean \"timeout\"?")
    expect(function() mg.redis.new { url = "http://h" } end).fails("redis://, rediss:// or unix: expected")
    expect(function() mg.redis.new {} end).fails("one of url, host, sentinels and cluster")
    expect(function() redis:with { timout = 1 } end).fails("timeout and idempotent")
  end)
end)
