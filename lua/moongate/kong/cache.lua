-- cache.lua - kong.cache: values that are computed once, over mg.cache. Entries are a configuration's own: what a plugin read of the config must
-- not outlive it.

local host = require "moongate.host"
local mg_cache = require "moongate.cache"
local json = require "moongate.json"
local state = require "moongate.kong.state"
local ffi = require "ffi"
local C = ffi.C
local type, error, pcall, tonumber, tostring, select, unpack = type, error, pcall, tonumber, tostring, select, unpack
local now = host.now

local LONGEST = 3600 * 1000
local store
local generation = host.generation or "0"
local private, private_n = {}, 0 -- what JSON cannot tell: this worker's own

local function ms() return tonumber(C.mg_monotonic_us()) / 1000 end

local cache = {}

local function seconds(v, otherwise)
  if v == nil then return otherwise end
  return tonumber(v) * 1000
end

local FAILED = {}

-- What is kept: { v = value, e = when it is past its time }, { p = true } for a value of the worker's own.
local function compute(key, opts, fn, ...)
  local value, why, ttl = fn(...)
  if value == nil and why ~= nil then return error({ FAILED, why }, 0) end
  local kept = { v = value }
  local span = value == nil and seconds(opts and opts.neg_ttl, 0) or seconds(ttl, seconds(opts and opts.ttl, 0))
  if span and span > 0 then kept.e = ms() + span end
  if value ~= nil and not pcall(json.encode, value) then
    if private_n > 1000 then private, private_n = {}, 0 end
    private_n = private_n + 1
    private[key] = value
    return { p = true, e = kept.e }
  end
  return kept
end

local function ask(key, opts, fn, ...)
  local n, args, failure = select("#", ...), { ... }, nil
  local ok, kept, why = pcall(store.get, store, key, function()
    local done, made = pcall(compute, key, opts, fn, unpack(args, 1, n))
    if done then return made end
    failure = made
    return error(type(made) == "table" and tostring(made[2]) or made, 0)
  end)
  if ok and kept then return kept end
  if type(failure) == "table" and failure[1] == FAILED then return nil, failure[2] end
  if failure then error(failure, 0) end
  return nil, kept or why or "cache"
end

-- The value (nil when there is none), an error, and Kong's hit level.
function cache:get(key, opts, fn, ...)
  if type(key) ~= "string" then error("key must be a string", 2) end
  if type(fn) ~= "function" then
    opts, fn = nil, fn
    if fn == nil then error("a function that loads the value expected", 2) end
  end
  if now.handle == 0 or now.can_wait == 0 or key:sub(1, 7) == "config:" then return fn(...) end
  store = store or mg_cache("kong", { ttl = LONGEST })
  key = generation .. ":" .. key
  for _ = 1, 2 do
    local kept, why = ask(key, opts, fn, ...)
    if not kept then return nil, why end
    local is_past = kept.e and kept.e <= ms()
    if not is_past and not kept.p then return kept.v, nil, 1 end
    if not is_past and private[key] ~= nil then return private[key], nil, 1 end
    store:delete(key)
  end
  return fn(...)
end

function cache:invalidate(key)
  store = store or mg_cache("kong", { ttl = LONGEST })
  private[generation .. ":" .. key] = nil
  store:delete(generation .. ":" .. key)
end
cache.invalidate_local = cache.invalidate
function cache:purge()
  private, private_n = {}, 0
  if store then store:flush() end
end
state.absent_all(cache, "kong.cache:", "probe safe_set get_bulk renew")

return cache
