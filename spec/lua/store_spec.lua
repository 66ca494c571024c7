local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

-- Run fn in a handler: what waits needs an exchange.
local function run(fn, phase)
  local result
  local r = test.exchange { plugins = { { [phase or "on_request"] = function(x) result = { fn(x) } end } } }
  return result, r
end

describe("mg.store", function()
  local s = mg.store("spec")

  it("gives back what was set, of every kind, and nil for what was not", function()
    local got = run(function()
      assert(s:set("text", "a\0b"))
      assert(s:set("number", 1.5))
      assert(s:set("no", false))
      return s:get("text"), s:get("number"), s:get("no"), s:get("absent")
    end)
    expect(got[1]).equals("a\0b")
    expect(got[2]).equals(1.5)
    expect(got[3]).is(false)
    expect(got[4]).is_nil()
  end)

  it("keeps values from one exchange to the next", function()
    run(function() s:set("kept", "yes") end)
    expect(run(function() return s:get("kept") end)[1]).equals("yes")
  end)

  it("forgets what is past its time", function()
    run(function() s:set("short", 1, "10s") end)
    test.advance(9999)
    expect(run(function() return s:get("short") end)[1]).equals(1)
    test.advance(1)
    expect(run(function() return s:get("short") end)[1]).is_nil()
    expect(run(function() return s:add("short", 2) end)[1]).is(true)
  end)

  it("adds, replaces, deletes and swaps only what is as they want it", function()
    local got = run(function()
      return s:replace("k", 1), s:add("k", 1), s:add("k", 2), s:replace("k", 3), s:get("k"), s:delete("k"), s:delete("k")
    end)
    expect(got).equals({ false, true, false, true, 3, true, false })
    got = run(function()
      local a = s:swap("c", nil, "one")
      local b, now = s:swap("c", "two", "three")
      local c = s:swap("c", "one", nil)
      return a, b, now, c, s:get("c")
    end)
    expect(got).equals({ true, false, "one", true })
  end)

  it("counts, and refuses to count what is no number", function()
    local got = run(function()
      s:set("word", "x")
      local sum, why = s:incr("word")
      return s:incr("n"), s:incr("n", 2), s:incr("m", 1, 10), why, sum
    end)
    expect(got).equals({ 1, 3, 11, "not a number" })
  end)

  it("lists by prefix, page by page", function()
    local got = run(function()
      local list = mg.store("list")
      for i = 1, 5 do list:set("user:" .. i, i) end
      list:set("other", 1)
      local keys, after, pages = {}, nil, 0
      repeat
        local rows, last = list:list("user:", after, 2)
        for _, row in ipairs(rows) do keys[#keys + 1] = row.key .. "=" .. row.value end
        after, pages = last, pages + 1
      until not after
      return keys, pages
    end)
    expect(got[1]).equals({ "user:1=1", "user:2=2", "user:3=3", "user:4=4", "user:5=5" })
    expect(got[2]).equals(4)
  end)

  it("keeps spaces apart", function()
    local got = run(function()
      mg.store("a"):set("k", 1)
      return mg.store("b"):get("k")
    end)
    expect(got[1]).is_nil()
  end)

  it("refuses a key that is too long, a value too big, a wrong type, and on_log", function()
    local got = run(function()
      local _, a = pcall(s.get, s, ("k"):rep(1025))
      local _, b = pcall(s.set, s, "k", ("v"):rep(1048577))
      local _, c = pcall(s.set, s, "k", {})
      return a, b, c
    end)
    expect(got[1]).contains("too big")
    expect(got[2]).contains("too big")
    expect(got[3]).contains("a string, number or boolean expected")
    local _, r = run(function() s:get("k") end, "on_log")
    expect(table.concat(r.log, "\n")).contains("store:get waits")
  end)
end)
