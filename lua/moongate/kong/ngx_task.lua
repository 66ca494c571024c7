-- ngx_task.lua - ngx.timer over mg.spawn and mg.timer, ngx.thread over mg.all.
--
-- A timer that is under way when its configuration goes out of force is cancelled: it is not called with premature = true.

local state = require "moongate.kong.state"
local task = require "moongate.task"
local parallel = require "moongate.parallel"
local log = require "moongate.log"
local ffi = require "ffi"
local type, error, select, unpack, pcall, tostring, setmetatable, ipairs = type, error, select, unpack, pcall, tostring, setmetatable, ipairs
local floor = math.floor

ffi.cdef "int getpid(void);"

local tasks = { timer = {}, thread = {} }

function tasks.pid() return ffi.C.getpid() end

-- ---- timers ---------------------------------------------------------------------------------------------

local function bound(fn, ...)
  local n, args = select("#", ...), { ... }
  return function() return fn(false, unpack(args, 1, n)) end
end

local function check(delay, fn)
  if type(delay) ~= "number" or delay < 0 then error("invalid delay", 3) end
  if type(fn) ~= "function" then error("bad argument #2 (function expected)", 3) end
end

function tasks.timer.at(delay, fn, ...)
  check(delay, fn)
  local made, why
  if delay == 0 then
    made, why = task.spawn(bound(fn, ...))
  else
    made, why = task.timer.after(math.max(1, floor(delay * 1000 + 0.5)), bound(fn, ...))
  end
  if made then return 1 end
  return nil, why
end
function tasks.timer.every(delay, fn, ...)
  check(delay, fn)
  if delay == 0 then error("delay cannot be zero", 2) end
  local made, why = task.timer.every(math.max(1, floor(delay * 1000 + 0.5)), bound(fn, ...))
  if made then return 1 end
  return nil, why
end
function tasks.timer.running_count() return 0 end
function tasks.timer.pending_count() return 0 end

-- kong.timer, with names that nobody asks for.
tasks.named = {
  at = function(_, delay, fn, ...) return tasks.timer.at(delay, fn, ...) end,
  every = function(_, delay, fn, ...) return tasks.timer.every(delay, fn, ...) end,
  named_at = function(_, _, delay, fn, ...) return tasks.timer.at(delay, fn, ...) end,
  named_every = function(_, _, delay, fn, ...) return tasks.timer.every(delay, fn, ...) end,
}

-- ---- threads --------------------------------------------------------------------------------------------
-- They begin together when the first of them is waited for (or when the handler ends), and run at the same time.

local function run_all(s)
  local list = s.threads
  s.threads = nil
  local functions = {}
  for i, t in ipairs(list) do
    functions[i] = function()
      local function keep(ok, ...)
        t.ok, t.n, t.results = ok, select("#", ...), { ... }
      end
      keep(pcall(t.fn, unpack(t.args, 1, t.args_n)))
      t.is_over = true
      if not t.ok then log.error("thread: " .. tostring(t.results[1])) end
      return true
    end
  end
  parallel.all(functions)
end

function tasks.thread.spawn(fn, ...)
  if type(fn) ~= "function" then error("bad argument #1 to 'spawn' (function expected)", 2) end
  local s = state.own()
  s.threads, s.run_threads = s.threads or {}, run_all
  local t = setmetatable({ fn = fn, args = { ... }, args_n = select("#", ...) }, { __tostring = function() return "moongate: thread" end })
  s.threads[#s.threads + 1] = t
  return t
end

-- Of the first that is over: true and what it gave, or false and its error.
function tasks.thread.wait(...)
  local s = state.own()
  if s.threads then run_all(s) end
  for i = 1, select("#", ...) do
    local t = select(i, ...)
    if t.is_over and not t.waited then
      t.waited = true
      return t.ok, unpack(t.results, 1, t.n)
    end
  end
  return nil, "already waited or killed"
end

function tasks.thread.kill(t)
  local s = state.own()
  for i, one in ipairs(s.threads or {}) do
    if one == t then
      table.remove(s.threads, i)
      t.waited = true
      return true
    end
  end
  return nil, "already waited or killed"
end

return tasks
