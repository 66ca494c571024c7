-- Work outside of exchanges, and several waits at once.
local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

-- Run fn in a handler; what it returns.
local function handled(fn, options)
  local results
  options = options or {}
  options.plugins = { { on_request = function(x)
    results = { fn(x) }
    return x:respond(200, "ok")
  end } }
  local r = test.exchange(options)
  expect(r.status).equals(200)
  return results, r
end

describe("mg.spawn", function()
  it("runs a function after its exchange, with its arguments, and may wait", function()
    local seen = {}
    handled(function() mg.spawn(function(a, b) seen[1] = a; mg.sleep(500); seen[2] = b end, "one", "two") end)
    expect(seen).equals { "one", "two" }
  end)
  it("gives a task that may be cancelled before it began and while it waits", function()
    local seen = {}
    local results = handled(function()
      local early = mg.spawn(function() seen[#seen + 1] = "early" end)
      local late = mg.spawn(function() seen[#seen + 1] = "begun"; mg.sleep(1000); seen[#seen + 1] = "never" end)
      local first, again = early:cancel(), early:cancel()
      mg.sleep(100)
      return first, late:cancel(), again
    end)
    expect(results[1]).is(true)
    expect(results[2]).is(true)
    expect(seen).equals { "begun" }
  end)
  it("logs an error with phase and line, and nothing else suffers", function()
    local after
    local _, r = handled(function()
      mg.spawn(function() mg.sleep(1) error("on purpose") end)
      mg.spawn(function() mg.sleep(5) after = true end)
    end)
    expect(after).is(true)
    expect(table.concat(r.log, "\n")).contains("on purpose")
  end)
  it("spawns from a task, and from on_log", function()
    local seen = 0
    test.exchange { plugins = { { on_log = function() mg.spawn(function() mg.spawn(function() seen = seen + 1 end) end) end } } }
    expect(seen).equals(1)
  end)
  it("refuses what is no function", function()
    handled(function() expect(function() mg.spawn(7) end).fails("a function expected") end)
  end)
  it("has no request: an exchange that was kept has ended", function()
    local message
    handled(function(x) mg.spawn(function() mg.sleep(10) message = select(2, pcall(function() return x.request.path end)) end) end)
    expect(tostring(message)).contains("ended")
  end)
end)

describe("mg.timer", function()
  it("goes off again and again, never twice at once, until it is cancelled", function()
    local n, at_once, most = 0, 0, 0
    handled(function()
      local timer
      timer = mg.timer.every("1s", function()
        n, at_once = n + 1, at_once + 1
        if at_once > most then most = at_once end
        mg.sleep(1500)
        at_once = at_once - 1
        if n == 3 then timer:cancel() end
      end)
    end, { after_ms = 20000 })
    expect(n).equals(3)
    expect(most).equals(1)
  end)
  it("goes off once", function()
    local n = 0
    handled(function() mg.timer.after("2s", function() n = n + 1 end) end, { after_ms = 10000 })
    expect(n).equals(1)
  end)
  it("stops with its chain", function()
    local n = 0
    handled(function() mg.timer.every(1000, function() n = n + 1 end) end, { after_ms = 2500 })
    test.exchange { plugins = {}, after_ms = 10000 }
    expect(n).equals(2)
  end)
  it("may be aligned to the clock", function()
    local at
    handled(function() mg.timer.every("1m", function() at = mg.now_ms() end, { aligned = true }) end, { after_ms = 61000 })
    expect(at % 60000).is_within(0, 50)
  end)
  it("refuses options that do not exist, and once_per_gateway outside of on_worker", function()
    handled(function()
      expect(function() mg.timer.every(10, print, { often = true }) end).fails("no option")
      expect(function() mg.timer.every(10, print, { once_per_gateway = true }) end).fails("on_worker")
      expect(function() mg.timer.every(0, print) end).fails("at least 1 ms")
    end)
  end)
end)

describe("mg.all", function()
  it("waits for all at once and keeps their order", function()
    local results, r = handled(function()
      return mg.all { function() mg.sleep(300) return "a" end, function() mg.sleep(100) return "b" end, function() return "c" end }
    end)
    expect(results[1]).equals { "a", "b", "c" }
    expect(results[2]).is_nil()
    expect(r.elapsed_ms).is_within(300, 340)
  end)
  it("tells what failed, by number", function()
    local results = handled(function()
      return mg.all { function() mg.sleep(10) return 1 end, function() mg.sleep(5) error("two broke", 0) end,
        function() return nil, "three said no" end }
    end)
    expect(results[1]).equals { 1 }
    expect(results[2]).equals { [2] = "two broke", [3] = "three said no" }
  end)
  it("nests", function()
    local results, r = handled(function()
      return mg.all {
        function() return mg.all { function() mg.sleep(200) return "a" end, function() mg.sleep(50) mg.sleep(50) return "b" end } end,
        function() return mg.all { function() mg.sleep(20) return "c" end, function() mg.sleep(220) return "d" end } end,
      }
    end)
    expect(results[1]).equals { { "a", "b" }, { "c", "d" } }
    expect(r.elapsed_ms).is_within(220, 260)
  end)
  it("runs within a plugin's own coroutine", function()
    local results = handled(function()
      return coroutine.wrap(function() return mg.all { function() mg.sleep(5) return 1 end, function() mg.sleep(1) return 2 end } end)()
    end)
    expect(results[1]).equals { 1, 2 }
  end)
  it("is given up when the client leaves", function()
    local went_on = false
    test.exchange { leaves_after = 50, plugins = { { on_request = function(x)
      mg.all { function() mg.sleep(200) went_on = true end, function() mg.sleep(300) went_on = true end }
    end } } }
    test.advance(1000)
    expect(went_on).is(false)
  end)
end)

describe("mg.any", function()
  it("gives the first result and gives the rest up", function()
    local went_on = false
    local results, r = handled(function()
      local value, which = mg.any { function() mg.sleep(500) went_on = true end, function() mg.sleep(100) return "b" end,
        function() error("c") end }
      mg.sleep(1000)
      return value, which
    end)
    expect(results).equals { "b", 2 }
    expect(went_on).is(false)
    expect(r.elapsed_ms).is_within(1100, 1140)
  end)
  it("gives all the words when there is no result", function()
    local results = handled(function() return mg.any { function() return nil, "one" end, function() mg.sleep(1) return nil, "two" end } end)
    expect(results[1]).is_nil()
    expect(results[2]).equals { "one", "two" }
  end)
end)

describe("mg.timeout", function()
  it("gives what the function gives in time", function()
    local results = handled(function() return mg.timeout("1s", function(a) mg.sleep(10) return a, "second" end, "first") end)
    expect(results).equals { "first", "second" }
  end)
  it("gives nil and timeout, and the function is not gone on with", function()
    local went_on = false
    local results, r = handled(function()
      local value, why = mg.timeout(100, function() mg.sleep(1000) went_on = true end)
      mg.sleep(2000)
      return value, why
    end)
    expect(results[2]).equals("timeout")
    expect(went_on).is(false)
    expect(r.elapsed_ms).is_within(2100, 2140)
  end)
  it("raises what the function raises", function()
    handled(function() expect(function() mg.timeout(100, function() mg.sleep(1) error("broke") end) end).fails("broke") end)
  end)
end)

describe("mg.work", function()
  local ffi = require "ffi"
  -- Functions of the gateway's own that have the shape: none block for long, all run on another thread.
  it("refuses what is no C function", function()
    handled(function() expect(function() mg.work(print, "x") end).fails("a C function expected") end)
  end)
end)

describe("mg.dns", function()
  it("gives a list of addresses, or says that there is no such name", function()
    local results = handled(function()
      local list = mg.dns.resolve("api.test")
      return list, select(2, mg.dns.resolve("gone.test"))
    end, { dns = { ["api.test"] = { "10.0.0.1", "10.0.0.2" } } })
    expect(results[1]).equals { "10.0.0.1", "10.0.0.2" }
    expect(results[2]).equals("no such name")
  end)
  it("refuses another type", function()
    handled(function() expect(function() mg.dns.resolve("a", { type = "HINFO" }) end).fails("type is") end)
  end)
end)
