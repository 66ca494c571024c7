-- The test kit itself: what a spec can say of client, upstream and world, and what it is told.

local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local function run(handlers, given)
  given = given or {}
  given.plugins = next(handlers) and { handlers } or {}
  return test.exchange(given)
end

describe("a simulated client", function()
  it("leaves while a plugin waits: on_log runs, and there is no answer", function()
    local logged
    local r = run({
      on_request = function() mg.sleep "10s" end,
      on_log = function(x) logged = x.phase end,
    }, { leaves_after = "2s" })
    expect(r.status).is_nil()
    expect(r.failure).equals("client_left")
    expect(r.elapsed_ms).is_within(2000, 2100)
    expect(r.request).is_nil()
    expect(logged).equals("on_log")
  end)

  it("leaves while the upstream thinks", function()
    local r = run({}, { leaves_after = "1s", upstream = { after = "5s" } })
    expect(r.status).is_nil()
    expect(r.request.method).equals("GET")
  end)

  it("sends its body in pieces, with pauses, and trailers", function()
    local seen = {}
    local r = run({ on_request_body = function(x) seen[#seen + 1] = x.piece .. "@" .. (mg.monotonic_us() - x.started_us > 0 and "" or "") end },
      { method = "POST", body = { "one", 3000, "two" }, trailers = { ["x-sum"] = "6" } })
    expect(r.request.body).equals("onetwo")
    expect(r.request.pieces).equals(2)
    expect(r.elapsed_ms).is_within(3000, 3100)
    expect(r.request.trailers["x-sum"]).equals("6")
  end)
end)

describe("a simulated upstream", function()
  it("fails in every way that the gateway knows", function()
    local statuses = { timeout = 504, reset = 502, connect_refused = 502, connect_timeout = 504, resolve_failed = 502,
                       upstream_busy = 503, tls_failed = 502, bad_response = 502, response_head_too_large = 502 }
    for token, status in pairs(statuses) do
      local r = run({}, { upstream = { fails = token } })
      expect(r.status).equals(status)
      expect(r.failure).equals(token)
      expect(r.headers["x-moongate-error"]).equals(token)
      expect(r.source).equals("gateway")
    end
    expect(function() run({}, { upstream = { fails = "badly" } }) end).fails('no failure "badly"')
  end)

  it("breaks off in the middle of its body", function()
    local r = run({}, { upstream = { body = { "half" }, fails = "reset" } })
    expect(r.status).equals(200)
    expect(r.body).equals("half")
    expect(r.failure).equals("reset")
  end)

  it("takes its time, and sends trailers", function()
    local r = run({}, { upstream = { after = "3s", body = "x", trailers = { ["x-t"] = "1" } } })
    expect(r.first_byte_ms).is_within(3000, 3100)
    expect(r.trailers["x-t"]).equals("1")
  end)

  it("may be a status or a text", function()
    expect(run({}, { upstream = function() return 204 end }).status).equals(204)
    expect(run({}, { upstream = function() return "text" end }).body).equals("text")
    expect(function() run({}, { upstream = { stauts = 200 } }) end).fails("stauts")
  end)
end)

describe("the world of a spec", function()
  it("has the time and the randomness that the spec wants", function()
    local ids, now = {}, nil
    for i = 1, 2 do
      run({ on_request = function() now, ids[i] = mg.now_ms(), mg.uuid() end }, { now = "2026-03-01T12:00:00Z", seed = 7 })
    end
    expect(now).equals(1772366400000)
    expect(ids[1]).equals(ids[2])
    run({ on_request = function() ids[3] = mg.uuid() end }, { seed = 8 })
    expect(ids[3]).is_not(ids[1])
  end)

  it("moves its clock only when told to", function()
    local before = mg.now_ms()
    test.advance "90s"
    expect(mg.now_ms() - before).equals(90000)
  end)

  it("gives back the log of each exchange", function()
    local r = run { on_request = function() mg.log.warn("careful", { n = 1 }) end }
    expect(r.log).contains("careful")
    expect(run({}).log).equals {}
  end)

  it("keeps lines of access logs from the disk", function()
    local r = test.exchange { plugins = { { "access-log", path = "/nowhere/access.log" } } }
    expect(#r.written).equals(1)
    expect(r.written[1].sink).equals("/nowhere/access.log")
    expect(r.written[1].line).contains("200")
  end)
end)

describe("the fake Redis", function()
  local redis
  test.before_each(function() redis = test.redis() end)
  local function call(...) return redis:call(...) end

  it("keeps strings, with conditions and counters", function()
    expect(call("SET", "a", "1")).equals { ok = "OK" }
    expect(call("SET", "a", "2", "NX")).is_nil()
    expect(call("SET", "b", "2", "XX")).is_nil()
    expect(call("GET", "a")).equals("1")
    expect(call("INCRBY", "a", 41)).equals(42)
    expect(call("DECR", "fresh")).equals(-1)
    expect(call("APPEND", "a", "x")).equals(3)
    expect(call("INCR", "a").err).contains("not an integer")
    expect(call("MGET", "a", "nothing", "fresh")).equals { "42x", nil, "-1", n = 3 }
    expect(call("DEL", "a", "fresh", "none")).equals(2)
    expect(call("EXISTS", "a")).equals(0)
  end)

  it("lets keys expire by the simulated clock", function()
    call("SET", "k", "v", "EX", 10)
    expect(call("TTL", "k")).equals(10)
    expect(call("PTTL", "k")).is_within(9990, 10000)
    test.advance "9s"
    expect(call("GET", "k")).equals("v")
    test.advance "1s"
    expect(call("GET", "k")).is_nil()
    expect(call("TTL", "k")).equals(-2)
    call("SET", "k", "v")
    expect(call("TTL", "k")).equals(-1)
    expect(call("PEXPIRE", "k", 500)).equals(1)
    expect(call("PERSIST", "k")).equals(1)
  end)

  it("has hashes, lists, sets and sorted sets", function()
    expect(call("HSET", "h", "a", 1, "b", 2)).equals(2)
    expect(call("HINCRBY", "h", "a", 5)).equals(6)
    expect(call("HGETALL", "h")).equals { "a", "6", "b", "2" }
    expect(call("RPUSH", "l", "a", "b", "c")).equals(3)
    expect(call("LRANGE", "l", 0, -2)).equals { "a", "b" }
    expect(call("LPOP", "l")).equals("a")
    expect(call("SADD", "s", "x", "y", "x")).equals(2)
    expect(call("SISMEMBER", "s", "y")).equals(1)
    expect(call("ZADD", "z", 3, "c", 1, "a", 2, "b")).equals(3)
    expect(call("ZRANGE", "z", 0, -1, "WITHSCORES")).equals { "a", "1", "b", "2", "c", "3" }
    expect(call("ZREMRANGEBYSCORE", "z", "-inf", "(3")).equals(2)
    expect(call("ZCARD", "z")).equals(1)
    expect(call("GET", "z").err).contains("WRONGTYPE")
  end)

  it("runs a transaction", function()
    call("MULTI")
    expect(call("INCR", "n")).equals { ok = "QUEUED" }
    call("INCR", "n")
    expect(call("EXEC")).equals { 1, 2, n = 2 }
  end)

  it("has scripts played by the spec", function()
    redis = test.redis { eval = function(r, script, keys, args) return r:call("SET", keys[1], args[1] .. #script) end }
    local sha = call("SCRIPT", "LOAD", "return 1")
    expect(call("EVALSHA", sha, 1, "k", "v")).equals { ok = "OK" }
    expect(call("GET", "k")).equals("v8")
    expect(call("EVALSHA", ("0"):rep(40), 0).err).contains("NOSCRIPT")
    expect(function() test.redis():call("EVAL", "return 1", 0) end).fails("eval = function")
  end)

  it("says which command it does not know", function()
    expect(function() call("XADD", "s", "*", "a", "b") end).fails("does not simulate XADD")
  end)
end)

describe("expectations", function()
  it("say what differs in tables and in long texts", function()
    local function said(fn)
      local ok, err = pcall(fn)
      expect(ok).equals(false)
      return table.concat(require("moongate.test_expect").tell(err, function() return "the line" end), "\n")
    end
    local text = said(function() expect({ a = { b = 1, c = 2 }, d = 3 }).equals { a = { b = 1, c = 4 }, e = 5 } end)
    expect(text).contains(".a.c: expected 4, got 2")
    expect(text).contains(".d: not expected, got 3")
    expect(text).contains(".e: expected 5, and it is missing")
    expect(text).contains("test_kit_spec.lua:")
    expect(text).contains("| the line")
    text = said(function() expect(("a\n"):rep(30) .. "b\nc").equals(("a\n"):rep(30) .. "B\nc") end)
    expect(text).contains("from line 31")
    text = said(function() expect(("x"):rep(90) .. "y").equals(("x"):rep(90) .. "z") end)
    expect(text).contains("from byte 91")
  end)

  it("look into tables", function()
    expect({ a = { b = 1, c = 2 }, d = 3 }).contains { a = { b = 1 } }
    expect({ "one", "two" }).contains("two")
    expect({ "one" }).lacks("two")
    expect(function() expect(1).eqals(1) end).fails("expect has no .eqals")
  end)
end)

describe("a whole config", function()
  it("may be loaded without an environment, and tells its mistakes", function()
    local gw = test.gateway("../../examples/tested-config/gateway.lua")
    expect(gw:get("/health").body).equals("fine")
    expect(gw:request("GET /nowhere").status).equals(404)
    expect(function() gw:get("/users/1", { headers = { ["x-api-key"] = "bob-key" } }) end).fails('no upstream "users"')
    gw:close()
    expect(function() gw:get("/health") end).fails("closed")
    expect(function() test.gateway("nowhere.lua") end).fails("nowhere.lua")
  end)
end)
