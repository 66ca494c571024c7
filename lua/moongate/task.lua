-- task.lua - mg.spawn and mg.timer: work outside of an exchange.
--
--     mg.spawn(function(name) mg.http.post(audit, { body = name }) end, x.consumer.name)
--     local timer = mg.timer.every("10s", refresh, { once_per_gateway = true, jitter = "1s" })
--     timer:cancel()
--
-- C knows a function by a number (core/script/task.c): a task's is forgotten when it begins, a timer's when it is over.

local host = require "moongate.host"
local ffi = require "ffi"
local C, cast = ffi.C, ffi.cast
local type, error, tonumber, tostring, setmetatable, select, unpack = type, error, tonumber, tostring, setmetatable, select, unpack

ffi.cdef [[
int mg_lua_task_start(struct mg_x *x, int32_t number, double timeout_ms, struct mg_x **task);
int mg_lua_timer_start(struct mg_x *x, int32_t number, double ms, double jitter_ms, int flags);
]]
local task_out = ffi.new("struct mg_x *[1]")
local EVERY, ONCE_PER_GATEWAY, ALIGNED = 1, 2, 4 -- enum mg_timer_flags of plugin.h

local works, last = {}, 0

local function keep(work)
  repeat last = last % 2147483647 + 1 until works[last] == nil
  works[last] = work
  return last
end

-- The host calls it in a coroutine of its own, which may wait.
function host.run_work(number)
  local work = works[number]
  if work == nil then return end
  if not work.stays then works[number] = nil end
  return work.fn(unpack(work, 1, work.n))
end

function host.forget_work(number) works[number] = nil end

-- ---- tasks ------------------------------------------------------------------------------------

-- What an object stands for, where a script cannot change it: numbers of others would be tasks and timers of others.
local inside = setmetatable({}, { __mode = "k" })

local function new(mt, of)
  local object = setmetatable({}, mt)
  inside[object] = of
  return object
end

local function behind(object, what) return inside[object] or error(what .. ": call it with a colon", 3) end

local task = {}
local task_mt = { __index = task, __metatable = false }

-- Cancel it: it is not gone on with. false when it has ended already.
function task:cancel()
  local of = behind(self, "task:cancel")
  works[of.number] = nil
  return C.mg_task_cancel(cast(host.x_t, of.handle)) == 0
end

local function callable(fn, what)
  if type(fn) ~= "function" then error(what .. ": a function expected, not " .. type(fn), 3) end
end

local function start(timeout_ms, what, fn, ...)
  local number = keep({ fn = fn, n = select("#", ...), ... })
  local rc = C.mg_lua_task_start(host.here(), number, timeout_ms, task_out)
  if rc == 0 then return new(task_mt, { handle = tonumber(cast("uintptr_t", task_out[0])), number = number }) end
  works[number] = nil
  if rc == C.MG_EPHASE then error(what .. ": not where no handler runs", 3) end
  return nil, host.message(rc)
end

local spawn = {}

-- Call fn(...) on its own, in the worker's next turn: it may wait, and outlives the exchange. The task; nil and a word when there are too many
-- (the config's tasks.max).
function spawn.spawn(fn, ...)
  callable(fn, "mg.spawn")
  return start(0, "mg.spawn", fn, ...)
end

-- In a task: is its configuration no longer in force, so that it is to come to its end?
function spawn.is_leaving() return C.mg_task_is_leaving(host.here()) == 1 end

-- ---- timers -----------------------------------------------------------------------------------

local timer = {}
local timer_mt = { __index = timer, __metatable = false }

-- It does not go off any more. false when it was over.
function timer:cancel()
  local of = behind(self, "timer:cancel")
  works[of.work] = nil
  return C.mg_timer_stop(of.number) == 0
end

local options_known = { once_per_gateway = "boolean", aligned = "boolean", jitter = "duration" }

local function set(what, flags, ms, fn, options)
  callable(fn, what)
  ms = host.milliseconds(ms, what, 4)
  if ms < 1 then error(what .. ": at least 1 ms", 3) end
  local jitter = 0
  for name, value in host.pairs(options or {}) do
    local kind = options_known[name]
    if not kind then error(what .. ": there is no option \"" .. tostring(name) .. "\"", 3) end
    if kind == "boolean" and type(value) ~= "boolean" then error(what .. ": " .. name .. " is true or false", 3) end
    if name == "jitter" then jitter = host.milliseconds(value, what .. ": jitter", 4) end
  end
  if options and options.once_per_gateway then flags = flags + ONCE_PER_GATEWAY end
  if options and options.aligned then flags = flags + ALIGNED end
  local work = keep({ fn = fn, n = 0, stays = true })
  local rc = C.mg_lua_timer_start(host.here(), work, ms, jitter, flags)
  if rc > 0 then return new(timer_mt, { number = rc, work = work }) end
  works[work] = nil
  if rc == C.MG_EPHASE then
    if flags % 4 >= ONCE_PER_GATEWAY then error(what .. ": once_per_gateway is for on_worker, which runs on each worker", 3) end
    error(what .. ": not where no handler runs", 3)
  end
  return nil, host.message(rc)
end

-- Call fn() once, after a delay in milliseconds (or "250ms", "1s").
function timer.after(delay, fn, options)
  local made, why
  made, why = set("mg.timer.after", 0, delay, function()
    works[inside[made].work] = nil
    return fn()
  end, options)
  return made, why
end

-- Call fn() again and again. Options: once_per_gateway (in on_worker: one worker alone calls it), jitter (a random delay up to that much, each time),
-- aligned (at whole multiples of the interval on the clock).
function timer.every(interval, fn, options) return set("mg.timer.every", EVERY, interval, fn, options) end

return { spawn = spawn.spawn, is_leaving = spawn.is_leaving, timer = { after = timer.after, every = timer.every } }
