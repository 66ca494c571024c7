-- state.lua - what Kong plugins keep for one exchange or task: kong.ctx, ngx.ctx, who was recognised, fields set before the answer.
--
-- By the exchange's handle, until the host says that it has ended.

local host = require "moongate.host"
local now = host.now
local setmetatable = setmetatable

local states = {}
local outside = {} -- of a worker: init_worker, and while files are loaded
local state = { env = nil } -- env: the globals of Kong plugins (init.lua)

local forget = host.forget
function host.forget(handle)
  states[handle] = nil
  return forget(handle)
end

-- Of the exchange that runs; made when there is none yet.
function state.here()
  local h = now.handle
  local s = states[h]
  if s then return s end
  if h == 0 then return outside end
  s = {}
  states[h] = s
  now.has_beside = 1
  return s
end

-- The same, or nil.
function state.there() return states[now.handle] end

-- Metatables of shared tables, by name.
state.presets = {}

-- A table of that name: shared by all entries, but that what an entry that only observes puts there is its own.
function state.shared(name)
  local s = state.here()
  local t = s[name]
  if not t then
    t = setmetatable({}, state.presets[name])
    s[name] = t
  end
  if now.observes == 0 then return t end
  local own = name .. now.observes
  if not s[own] then s[own] = setmetatable({}, { __index = t }) end
  return s[own]
end

-- This entry's own.
function state.own()
  local s = state.here()
  local entry = now.entry
  local t = s[entry]
  if not t then
    t = {}
    s[entry] = t
  end
  return t
end

-- The name that Kong has for the phase that runs.
local ffi = require "ffi"
local C = ffi.C
local words = { [0] = "rewrite", "access", "access", "header_filter", "body_filter", "log" }
words[14], words[15] = "init_worker", "timer"

function state.phase()
  if now.handle == 0 then return "init_worker" end
  return words[C.mg_x_phase(host.here())] or "timer"
end

-- An error for what is not here, at the place that calls.
function state.absent(name)
  return function()
    error(name .. " is not there in Moongate; docs/kong.md says what is", 2)
  end
end

-- Put such functions into a table.
function state.absent_all(t, prefix, names)
  for name in names:gmatch("%S+") do
    if t[name] == nil then t[name] = state.absent(prefix .. name) end
  end
  return t
end

return state
