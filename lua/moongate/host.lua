-- host.lua - the Lua half of core/script: runs first in every VM, and gives the host what it calls.
--
-- Arguments: pdk.h as the FFI reads it, the address of struct mg_script_now (core/script/host.h), the config's folder (or nil), and a
-- function: is the C stack low (core/script/stack.h)?
-- The other files of this folder find what they share in the table that this one returns.

local cdef, now_address, folder, stack_is_low = ...
local ffi = require "ffi"

ffi.cdef(cdef)
ffi.cdef [[
struct mg_script_now { double handle; int32_t can_wait; int32_t has_beside; int32_t observes; int32_t confined; int32_t entry; };
]]

local C, cast = ffi.C, ffi.cast
local type, pairs, setmetatable, error, tonumber, tostring = type, pairs, setmetatable, error, tonumber, tostring
local yield, resume, create = coroutine.yield, coroutine.resume, coroutine.create
local loadstring = loadstring

-- A symbol is looked up at its first use, and a trace that is being recorded gives up there: have them all looked up now.
for name in cdef:gmatch("(mg_[%w_]+)%s*%(") do local _ = C[name] end

local host = {}
local now = cast("struct mg_script_now *", now_address)
local x_t = ffi.typeof("struct mg_x *")

-- What a handler's coroutine yields to say that it waits, and what x:respond gives.
host.WAIT = setmetatable({}, { __tostring = function() return "moongate: wait" end })
host.RESPOND = setmetatable({}, {
  __tostring = function() return "moongate: answered" end,
  __newindex = function() error("what x:respond() gives holds nothing", 2) end,
})
-- What it yields to be left from within: as if it had returned, through every pcall and coroutine.
host.EXIT = setmetatable({}, { __tostring = function() return "moongate: left" end })
host.now = now
host.folder = folder
host.own = {} -- what makes parts of the PDK that hold objects, for a sandbox to have some of its own
host.x_t = x_t

-- Chunks of the runtime whose functions are part of handlers' traces. LuaJIT gives up for good on a function that often fails to
-- start a trace of its own, as getters called through metamethods do, and then handlers that use it are not compiled either;
-- so the host has them taken up again from time to time.
local chunks = {}
host.chunks = chunks

function host.refresh()
  for i = 1, #chunks do host.jit.on(chunks[i], true) end
end

-- ---- errors ---------------------------------------------------------------------------------

local messages = {
  [C.MG_EENDED] = "this exchange has ended",
  [C.MG_EPHASE] = "not allowed in this phase",
  [C.MG_ENOENT] = "no such thing",
  [C.MG_ENOMEM] = "the exchange is over its memory budget",
  [C.MG_EINVAL] = "an argument that makes no sense here",
  [C.MG_ETOOBIG] = "too big",
  [C.MG_EBUSY] = "too many of these at once",
  [C.MG_ETIMEOUT] = "timed out",
  [C.MG_ESYNTAX] = "malformed",
  [C.MG_EPROTO] = "the peer broke the protocol",
  [C.MG_ECLOSED] = "closed",
  [C.MG_ECANCELED] = "cancelled",
  [C.MG_EEXIST] = "there is one already",
  [C.MG_EIO] = "a file or disk failed",
}

function host.message(code) return messages[code] or ("error " .. tonumber(code)) end

-- Misuse: an error at the place in the script that called.
function host.fail(code, what) error(what .. ": " .. host.message(code), 3) end

-- A span of time as milliseconds: a number of them, or "250ms", "1s", "5m", "1h".
local units = { ms = 1, s = 1000, m = 60000, h = 3600000 }

function host.milliseconds(v, what, level)
  if type(v) == "number" and v >= 0 and v < 1e15 then return v end
  if type(v) == "string" then
    local n, unit = v:match("^(%d+)(%a+)$")
    if n and units[unit] then return n * units[unit] end
  end
  error(what .. ": milliseconds or \"250ms\", \"1s\" expected, not " .. tostring(v), level or 3)
end

-- ---- waiting --------------------------------------------------------------------------------

local WAIT, EXIT = host.WAIT, host.EXIT

-- Leave the handler that runs; does not return.
function host.exit() return yield(EXIT) end

-- A coroutine that would leave too little of the C stack is not gone on with.
local function go_on(co, ...)
  if stack_is_low() then return false, "C stack overflow" end
  return resume(co, ...)
end

-- As they are, before a plugin's own coroutines are wrapped (below).
host.resume, host.yield = go_on, yield

-- To be called before an operation is started.
function host.must_wait(what)
  if now.can_wait == 0 then
    error(what .. " waits, and on_log, `when` and the functions of a config cannot", 3)
  end
end

-- Wait for operation `op` (0: whichever of this entry ends first); its status.
function host.wait(op)
  local got, status
  repeat got, status = yield(WAIT, op) until op == 0 or got == op
  return status
end

-- The exchange that runs.
function host.here() return cast(x_t, now.handle) end

-- A plugin's own coroutines pass our yields on to the handler's coroutine, and what comes back to where it was
-- waited for.
local pass
local function passed(co, ok, mark, ...)
  if ok and mark == WAIT then return pass(co, yield(WAIT, ...)) end
  if ok and mark == EXIT then yield(EXIT) end
  return ok, mark, ...
end
pass = function(co, ...) return passed(co, go_on(co, ...)) end

local function unwrap(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

local function wrap_coroutines()
  coroutine.resume = pass
  coroutine.wrap = function(fn)
    local co = create(fn)
    return function(...) return unwrap(pass(co, ...)) end
  end
end

-- Its frame is the one that is larger than what LuaJIT's own bound allows for.
local function wrap_gsub()
  local gsub = string.gsub
  string.gsub = function(s, pattern, by, most)
    if type(by) ~= "string" and stack_is_low() then error("C stack overflow", 2) end
    return gsub(s, pattern, by, most)
  end
end

-- ---- handlers -------------------------------------------------------------------------------

-- The function that the host calls, with the handle as a number. Each handler gets a prototype of its
-- own, and so its own traces: one prototype for all would end in a chain of side exits.
local wrapper = "local fn, cast, x_t = ... return function(h, conf) return (fn(cast(x_t, h), conf)) end"

function host.handler(fn) return loadstring(wrapper, "=moongate/handler")(fn, ffi.cast, x_t) end

-- Values that need more than plain data become objects: templates and regular expressions.
local prepare_fields

local function prepare(field, value)
  local kind = field.type
  if value == nil or type(value) == "function" then return value end
  if kind == "template" then
    if type(value) == "string" then return host.template(value) end
  elseif kind == "regex" then
    if type(value) == "string" then return host.regex(value) end
  elseif kind == "table" then
    if type(value) == "table" and field.fields then prepare_fields(field.fields, value) end
  elseif (kind == "list" or kind == "map") and type(value) == "table" then
    local item = field.item
    if type(item) == "string" then item = { type = item } end
    if item then
      for k, v in pairs(value) do value[k] = prepare(item, v) end
    end
  end
  return value
end

prepare_fields = function(fields, conf)
  for name, field in pairs(fields) do
    if type(field) == "table" then conf[name] = prepare(field, conf[name]) end
  end
end

-- The conf that an instance's handlers get: the checked one, or what the plugin's `create` makes of it.
function host.instance(plugin, conf, id, route)
  if plugin.fields then prepare_fields(plugin.fields, conf) end
  if not plugin.create then return conf end
  local made, message = plugin.create(conf, { id = id, route = route })
  if made == nil and message then error(message, 0) end
  if made == nil then return conf end
  return made
end

function host.enter(plugin, conf)
  if plugin.on_worker then plugin.on_worker(conf) end
end

-- ---- the environment ------------------------------------------------------------------------

-- While the config runs, time stands still, randomness is seeded and pairs goes in sorted order, so that every
-- VM gets the same functions at the same places. Once live, a script sees the real ones, also through
-- locals that it made at the top of a file.
local live, closed = false, false

local function live_date(frozen, format, time)
  if time == nil then time = tonumber(C.mg_now_ms()) / 1000 end
  return frozen(format or "%c", time)
end

local function live_random(low, high)
  local r = C.mg_random()
  if low == nil then return r end
  if high == nil then low, high = 1, low end
  if low > high then error("bad argument to 'random' (interval is empty)", 2) end
  return math.floor(low + r * (high - low + 1))
end

function host.wrap()
  local sorted_pairs, frozen_time, frozen_clock, frozen_random = pairs, os.time, os.clock, math.random
  local real_pairs, real_date, real_time, frozen_date = host.pairs, host.date, host.time, os.date
  local seed, known = math.randomseed, require

  _G.pairs = function(t)
    if live then return real_pairs(t) end
    return sorted_pairs(t)
  end
  os.time = function(t)
    if not live then return frozen_time(t) end
    if t then return real_time(t) end
    return math.floor(tonumber(C.mg_now_ms()) / 1000)
  end
  os.clock = function()
    if not live and frozen_clock then return frozen_clock() end
    return tonumber(C.mg_monotonic_us()) / 1e6
  end
  os.date = function(format, time)
    if not live and frozen_date then return frozen_date(format, time) end
    return live_date(real_date, format, time)
  end
  math.random = function(low, high)
    if live then return live_random(low, high) end
    if low == nil then return frozen_random() end
    if high == nil then return frozen_random(low) end
    return frozen_random(low, high)
  end
  math.randomseed = function(n)
    if not live and seed then seed(n) end
  end
  -- A file that nothing required while the config was loaded is not part of it.
  _G.require = function(name)
    local module = package.loaded[name]
    if module ~= nil then return module end
    if closed and not package.preload[name] then
      error("module '" .. tostring(name) .. "' is required only now; require it at the top of the file", 2)
    end
    return known(name)
  end
  wrap_coroutines()
  wrap_gsub()
  -- Plugins are the operator's own code: those that want FFI itself may have it.
  package.preload.ffi = function() return ffi end
end

-- From now on; `open`: more files may still be loaded (specs).
function host.go_live(open)
  live, closed, host.stays_open = true, not open, open
  host.close_sandboxes(host.pairs, host.next, open)
  setmetatable(_G, {
    __newindex = function(_, name)
      error("a global variable is shared by all exchanges; make '" .. tostring(name) .. "' local", 2)
    end,
  })
end

host.pairs, host.next, host.date, host.time, host.jit = pairs, next, os.date, os.time, require "jit"
host.funcinfo = require("jit.util").funcinfo

package.loaded["moongate.host"] = host
require "moongate.sandbox"
require "moongate"
for name, module in pairs(package.loaded) do
  if name == "moongate" or name:find("^moongate%.") then
    package.preload[name] = function() return module end
  end
end

return host
