-- cache.lua - mg.cache: what was computed before.
--
--     local users = mg.cache("users", { ttl = "1m", negative_ttl = "5s" })
--     local user, why = users:get(id, function() return fetch(id) end)      -- may wait; one computes, the others wait for it
--     users:delete(id)                                                      -- on every worker
--
-- The function returns a string, number, boolean or a table that JSON can tell; or nil and why there is none. A third result is a time to
-- live of this value's own: `return token, nil, "90s"`. What it raises is raised by all who wait. Each worker keeps Lua values of its own (at most `max`), all share the rest.

local host = require "moongate.host"
local json = require "moongate.json"
local ms = require "moongate.duration"
local ffi = require "ffi"
local C, str = ffi.C, ffi.string
local type, error, pcall, setmetatable, tostring, tonumber, pairs = type, error, pcall, setmetatable, tostring, tonumber, pairs
local message = host.message

local cached = ffi.new("struct mg_cached")
local NONE, FAILED, COMPUTE, WAIT = C.MG_CACHE_NONE, C.MG_CACHE_FAILED, C.MG_CACHE_COMPUTE, C.MG_CACHE_WAIT
local LOCAL_BYTES = 65536 -- larger values are not kept by the worker

local function now_ms() return tonumber(C.mg_monotonic_us()) / 1000 end

-- A letter says what the rest is.
local function encode(v)
  if type(v) == "string" then return "s" .. v end
  return "j" .. json.encode(v)
end

local function decode(text)
  if text:byte() == 115 then return text:sub(2) end
  return (json.decode(text:sub(2)))
end

local object = {}
local object_mt = { __index = object, __metatable = false }

-- ---- the worker's own: two generations, so that what is not used for long goes ----------------------

local function near_get(c, key, version)
  local entry = c.young[key]
  if not entry then
    entry = c.old[key]
    if not entry then return nil end
  end
  if entry.version ~= version or entry.until_ms <= now_ms() then return nil end
  return entry
end

local function near_put(c, key, version, left_ms, value, why)
  if c.max < 1 or version < 0 or left_ms <= 0 then return end
  if c.young_n >= c.max / 2 then c.old, c.young, c.young_n = c.young, {}, 0 end
  if not c.young[key] then c.young_n = c.young_n + 1 end
  c.young[key] = { value = value, why = why, version = version, until_ms = now_ms() + left_ms }
end

-- ---- asking -----------------------------------------------------------------------------------------

-- state, text and for how long it is good; waits while another one computes.
local function ask(c, key)
  local h = host.here()
  local rc = C.mg_cache_get(h, c.at, key, #key, cached)
  if rc < 0 then return error("cache:get: " .. message(rc), 3) end
  if cached.state == WAIT then
    local op = cached.op
    local status = host.wait(op)
    if status < 0 then return error("cache:get: " .. message(status), 3) end
    rc = C.mg_cache_result(h, op, cached)
    if rc < 0 then return error("cache:get: " .. message(rc), 3) end
  end
  return cached.state, str(cached.value.p, cached.value.n), tonumber(cached.left_ms)
end

local function fail(c, key, state, why, ttl)
  why = tostring(why == nil and "" or why)
  C.mg_cache_fail(host.here(), c.at, key, #key, state, why, #why, ttl)
end

local function compute(c, key, version, fn)
  local ok, value, why, own = pcall(fn, key)
  if not ok then
    fail(c, key, FAILED, value, c.error_ttl)
    return error(value, 0)
  end
  local timed, ttl = pcall(ms, own, "cache:get: the third result", value == nil and c.negative_ttl or c.ttl)
  if timed and value == nil then
    fail(c, key, NONE, why, ttl)
    return nil, why
  end
  local fine, text = timed, ttl
  if fine then fine, text = pcall(encode, value) end
  if not fine then
    fail(c, key, FAILED, text, 0)
    return error(text, 3)
  end
  local rc = C.mg_cache_put(host.here(), c.at, key, #key, text, #text, ttl)
  if rc >= 0 and #text <= LOCAL_BYTES then near_put(c, key, version, ttl, value) end
  return value
end

-- The value; or nil and why there is none. fn(key) computes it when it is absent, once for all that ask meanwhile.
function object.get(c, key, fn)
  if type(key) == "number" then key = tostring(key) end
  if type(key) ~= "string" then return error("cache:get: a key is a string, not a " .. type(key), 2) end
  if type(fn) ~= "function" then return error("cache:get: a function that computes the value expected", 2) end
  local version = tonumber(C.mg_cache_version(c.at, key, #key))
  local entry = version >= 0 and near_get(c, key, version)
  if entry then return entry.value, entry.why end
  host.must_wait("cache:get")
  local state, text, left_ms = ask(c, key)
  if state == COMPUTE then return compute(c, key, version, fn) end
  if state == FAILED then return error(text, 0) end
  if state == NONE then
    local why = text ~= "" and text or nil
    near_put(c, key, version, left_ms, nil, why)
    return nil, why
  end
  local value = decode(text)
  if #text <= LOCAL_BYTES then near_put(c, key, version, left_ms, value) end
  return value
end

-- Set it for all workers. nil and a word when it is too big.
function object.set(c, key, value)
  if type(key) == "number" then key = tostring(key) end
  local text = encode(value)
  local rc = C.mg_cache_put(host.here(), c.at, key, #key, text, #text, c.ttl)
  if rc < 0 then return nil, message(rc) end
  return true
end

-- Forget one key, or all: every worker asks anew.
function object.delete(c, key)
  key = tostring(key)
  local rc = C.mg_cache_delete(c.at, key, #key)
  if rc < 0 then return error("cache:delete: " .. message(rc), 2) end
end
function object.flush(c) C.mg_cache_flush(c.at) end

local function open(known, name)
  if type(name) ~= "string" then return error("mg.cache: a cache's name is a string", 3) end
  local at = C.mg_cache_open(name, #name)
  if at == nil then return error("mg.cache: \"" .. name .. "\": 1 to 122 visible characters expected, and at most 256 dictionaries", 3) end
  local c = setmetatable({ at = at, ttl = 60000, negative_ttl = 0, error_ttl = 0, max = 256, young = {}, old = {}, young_n = 0 }, object_mt)
  known[name] = c
  return c
end

-- One cache for each name; options given later take the place of former ones. ttl ("1m"), negative_ttl (of `nil, why`; 0: computed again),
-- error_ttl (of errors; as negative_ttl), max (256 values of each worker's own).
local function caches()
  local known = {}
  return function(name, options)
    local c = known[name] or open(known, name)
    if options and options ~= c.options then
      for k in pairs(options) do
        if k ~= "ttl" and k ~= "negative_ttl" and k ~= "error_ttl" and k ~= "max" then error("mg.cache: unknown option '" .. tostring(k) .. "'", 2) end
      end
      c.ttl, c.negative_ttl = ms(options.ttl, "mg.cache", 60000), ms(options.negative_ttl, "mg.cache", 0)
      c.error_ttl = ms(options.error_ttl, "mg.cache", c.negative_ttl)
      c.max = tonumber(options.max) or 256
      c.options = options
    end
    return c
  end
end

host.own.cache = caches
return caches()
