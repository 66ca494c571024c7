-- parallel.lua - mg.all, mg.any, mg.timeout: several waits of one handler at once.
--
--     local results, errors = mg.all { function() return mg.http.get(a) end, function() return mg.http.get(b) end }
--     local answer, which = mg.any { from_cache, from_origin }
--     local answer, why = mg.timeout("200ms", function() return mg.http.get(a) end)
--
-- Each function runs in a coroutine of its own, which yields as a handler does: to say which operation it waits for (0: any of the
-- handler's). A group waits for whatever ends next and hands it to the member that it is for. Groups nest: a group that waits tells with
-- its yield how to ask whether an operation is its own, and how to give its waits up.

local host = require "moongate.host"
local ffi = require "ffi"
local C = ffi.C
local create, resume, status_of, yield = coroutine.create, host.resume, coroutine.status, host.yield
local type, error, setmetatable, select, unpack = type, error, setmetatable, select, unpack
local WAIT = host.WAIT

local group = {}
local group_mt = { __index = group, __metatable = false }

-- What a member's coroutine has come to: it waits, or it is over.
local function take(member, ok, a, b, c)
  if status_of(member.co) == "suspended" then
    if a == WAIT then
      member.op, member.inner = b, c
      return
    end
    if a == host.EXIT then yield(a) end
    if ok then a = "a function may not call coroutine.yield outside a coroutine of its own" end
    ok, b = false, nil
  end
  member.is_over, member.op, member.inner = true, nil, nil
  if not ok then
    member.error = a == nil and "failed" or a
  else
    member.value, member.error = a, nil
    if a == nil and b ~= nil then member.error = b end
  end
end

local function new_group(functions, what)
  local g = setmetatable({ members = {}, n = #functions, left = #functions }, group_mt)
  for i = 1, g.n do
    if type(functions[i]) ~= "function" then error(what .. ": a list of functions expected", 3) end
    g.members[i] = { co = create(functions[i]) }
  end
  return g
end

function group:go_on(member, ...)
  take(member, resume(member.co, ...))
  if member.is_over then self.left = self.left - 1 end
  return member
end

-- Who waits for that operation: the one that names it, a group that has it, or one that takes any.
function group:owner(op)
  local any
  for i = 1, self.n do
    local member = self.members[i]
    if not member.is_over then
      if member.op == op then return member end
      if member.inner then
        if member.inner:owner(op) then return member end
      elseif member.op == 0 then
        any = any or member
      end
    end
  end
  return any
end

-- Hand on what has ended; the member that it was for. What nobody waits for any more is dropped.
function group:wait()
  local op, status = yield(WAIT, 0, self)
  local member = self:owner(op)
  return member and self:go_on(member, op, status)
end

-- Give up what is still under way.
function group:cancel()
  for i = 1, self.n do
    local member = self.members[i]
    if not member.is_over then
      if member.inner then member.inner:cancel()
      elseif member.op and member.op > 0 then C.mg_op_cancel(host.here(), member.op) end
      member.is_over = true
    end
  end
  self.left = 0
end

local function list_of(functions, what)
  if type(functions) ~= "table" then error(what .. ": a list of functions expected", 3) end
  return new_group(functions, what)
end

local parallel = {}

-- Run all of them; their first results, in order. One that raises, or gives nil and a word, has nil there and its word in the second
-- table, under the same number; where all went well there is no second table.
function parallel.all(functions)
  local g = list_of(functions, "mg.all")
  local results, errors = {}, nil
  for i = 1, g.n do g:go_on(g.members[i]) end
  while g.left > 0 do g:wait() end
  for i = 1, g.n do
    results[i] = g.members[i].value
    if g.members[i].error ~= nil then
      errors = errors or {}
      errors[i] = g.members[i].error
    end
  end
  return results, errors
end

-- The result of the first that has one, and its number; what the others wait for is given up. nil and all their words when none has.
function parallel.any(functions)
  local g = list_of(functions, "mg.any")
  local errors = {}
  local function won(i)
    local member = g.members[i]
    if not member.is_over then return false end
    errors[i] = member.error
    return member.error == nil
  end
  for i = 1, g.n do
    g:go_on(g.members[i])
    if won(i) then
      g:cancel()
      return g.members[i].value, i
    end
  end
  while g.left > 0 do
    g:wait()
    for i = 1, g.n do
      if won(i) then
        g:cancel()
        return g.members[i].value, i
      end
    end
  end
  return nil, errors
end

-- fn(...), but not for longer than that (milliseconds, or "200ms"): nil and "timeout" then, and what it waits for is given up. An error
-- in it is raised here.
function parallel.timeout(span, fn, ...)
  local ms = host.milliseconds(span, "mg.timeout")
  if type(fn) ~= "function" then error("mg.timeout: a function expected", 2) end
  host.must_wait("mg.timeout")
  local n, args, results = select("#", ...), { ... }, nil
  local results_n
  local function keep(...)
    results_n, results = select("#", ...), { ... }
  end
  local g = new_group({ function() keep(fn(unpack(args, 1, n))) return true end }, "mg.timeout")
  local member = g.members[1]
  g:go_on(member)
  if not member.is_over then
    local op = C.mg_sleep(host.here(), ms)
    if op < 0 then
      g:cancel()
      host.fail(op, "mg.timeout")
    end
    g.members[2], g.n = { op = op, co = create(function() yield(WAIT, op) end) }, 2
    resume(g.members[2].co)
    repeat g:wait() until member.is_over or g.members[2].is_over
    if not member.is_over then
      g:cancel()
      return nil, "timeout"
    end
    g:cancel()
  end
  if results then return unpack(results, 1, results_n) end
  return error(member.error, 0)
end

return parallel
