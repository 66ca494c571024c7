-- shared.lua - mg.shared: dictionaries that all workers share and that survive a reload.
--
--     local tokens = mg.shared.tokens                   -- or mg.shared("tokens")
--     tokens:set("alice", "t-1", "5m")
--     local token = tokens:get("alice")                 -- nil when absent or past its time
--     local n = tokens:incr("calls", 1, 0, "1m")        -- begins at 0 and lives a minute
--
-- Values are strings, numbers, booleans and lists of these. A full dictionary lets the least recently used go.

local host = require "moongate.host"
local ms = require "moongate.duration"
local ffi = require "ffi"
local C, str = ffi.C, ffi.string
local tonumber, tostring, type, error, setmetatable = tonumber, tostring, type, error, setmetatable
local fail, message = host.fail, host.message

local datum = ffi.new("struct mg_datum")
local sum = ffi.new("double[1]")
local stat = ffi.new("struct mg_shared_stat")
local list = ffi.new("const struct mg_str *[1]")
local EEXIST, ENOENT, ETOOBIG, ENOMEM = C.MG_EEXIST, C.MG_ENOENT, C.MG_ETOOBIG, C.MG_ENOMEM

local function key_of(key, what)
  if type(key) == "number" then key = tostring(key) end
  if type(key) ~= "string" then return error(what .. ": a key is a string, not a " .. type(key), 3) end
  return key
end

local function value_of()
  local kind = datum.kind
  if kind == 3 then return (str(datum.text.p, datum.text.n)) end
  if kind == 2 then return datum.number end
  if kind == 1 then return datum.number ~= 0 end
  return nil
end

local object = {}
local object_mt = { __index = object, __metatable = false }

-- The value, or nil.
function object.get(d, key)
  key = key_of(key, "shared:get")
  local rc = C.mg_shared_get(d.at, key, #key, datum)
  if rc < 0 then return fail(rc, "shared:get") end
  return value_of()
end

-- What is past its time too, while it is still there: the value, and whether it is past it.
function object.get_stale(d, key)
  key = key_of(key, "shared:get_stale")
  local rc = C.mg_shared_get_stale(d.at, key, #key, datum)
  if rc < 0 then return fail(rc, "shared:get_stale") end
  return value_of(), rc == 1
end

local function put(d, when, key, value, ttl, what)
  key, ttl = key_of(key, what), ms(ttl, what, 0)
  local rc
  if type(value) == "string" then
    rc = C.mg_shared_set_text(d.at, when, key, #key, value, #value, ttl)
  elseif type(value) == "number" then
    rc = C.mg_shared_set_number(d.at, when, key, #key, value, ttl)
  elseif type(value) == "boolean" then
    rc = C.mg_shared_set_boolean(d.at, when, key, #key, value and 1 or 0, ttl)
  else
    return error(what .. ": a string, number or boolean expected, not a " .. type(value), 3)
  end
  return rc
end

-- How many entries that were still good had to give way; or nil and what is wrong (too big, no memory).
local function stored(rc, what)
  if rc >= 0 then return true, rc end
  if rc == ETOOBIG or rc == ENOMEM then return nil, message(rc) end
  return fail(rc, what)
end

-- true and how many entries that were still good gave way; nil and a word when it is too big. A nil value deletes.
function object.set(d, key, value, ttl)
  if value == nil then
    d:delete(key)
    return true, 0
  end
  return stored(put(d, 0, key, value, ttl, "shared:set"), "shared:set")
end
-- Only when absent: false when there is one.
function object.add(d, key, value, ttl)
  local rc = put(d, 1, key, value, ttl, "shared:add")
  if rc == EEXIST then return false end
  return stored(rc, "shared:add")
end
-- Only when present: false when there is none.
function object.replace(d, key, value, ttl)
  local rc = put(d, 2, key, value, ttl, "shared:replace")
  if rc == ENOENT then return false end
  return stored(rc, "shared:replace")
end

-- The sum. An absent one begins at `init` (and lives for ttl), or without init: nil and a word.
function object.incr(d, key, by, init, ttl)
  key = key_of(key, "shared:incr")
  local rc = C.mg_shared_incr(d.at, key, #key, by or 1, init and 1 or 0, init or 0, ms(ttl, "shared:incr", 0), sum)
  if rc >= 0 then return tonumber(sum[0]) end
  if rc == ENOENT or rc == ETOOBIG or rc == ENOMEM then return nil, message(rc) end
  if rc == C.MG_EINVAL then return nil, "not a number" end
  return fail(rc, "shared:incr")
end

-- Was it there?
function object.delete(d, key)
  key = key_of(key, "shared:delete")
  local rc = C.mg_shared_delete(d.at, key, #key)
  if rc < 0 then return fail(rc, "shared:delete") end
  return rc == 1
end

-- Give it that long from now (0: for ever); false when it is absent.
function object.expire(d, key, ttl)
  key = key_of(key, "shared:expire")
  local rc = C.mg_shared_expire(d.at, key, #key, ms(ttl, "shared:expire", 0))
  if rc == ENOENT then return false end
  if rc < 0 then return fail(rc, "shared:expire") end
  return true
end

-- Milliseconds that are left; 0: for ever; nil: absent.
function object.ttl(d, key)
  key = key_of(key, "shared:ttl")
  local left = tonumber(C.mg_shared_ttl(d.at, key, #key))
  if left == ENOENT then return nil end
  if left < 0 then return fail(left, "shared:ttl") end
  return left
end

local function push(d, at, key, value, what)
  key = key_of(key, what)
  local n
  if type(value) == "string" then
    n = C.mg_shared_push_text(d.at, at, key, #key, value, #value)
  elseif type(value) == "number" then
    n = C.mg_shared_push_number(d.at, at, key, #key, value)
  elseif type(value) == "boolean" then
    n = C.mg_shared_push_boolean(d.at, at, key, #key, value and 1 or 0)
  else
    return error(what .. ": a string, number or boolean expected, not a " .. type(value), 3)
  end
  n = tonumber(n)
  if n >= 0 then return n end
  if n == C.MG_EINVAL then return nil, "not a list" end
  return nil, message(n)
end

local function pop(d, at, key, what)
  key = key_of(key, what)
  local rc = C.mg_shared_pop(d.at, at, key, #key, datum)
  if rc == C.MG_EINVAL then return nil, "not a list" end
  if rc < 0 then return fail(rc, what) end
  return value_of()
end

-- Lists: their length after a push; the item, or nil when there is none.
function object.push_front(d, key, value) return push(d, 0, key, value, "shared:push_front") end
function object.push_back(d, key, value) return push(d, 1, key, value, "shared:push_back") end
function object.pop_front(d, key) return pop(d, 0, key, "shared:pop_front") end
function object.pop_back(d, key) return pop(d, 1, key, "shared:pop_back") end
function object.length(d, key)
  key = key_of(key, "shared:length")
  local n = tonumber(C.mg_shared_length(d.at, key, #key))
  if n == C.MG_EINVAL then return nil, "not a list" end
  if n < 0 then return fail(n, "shared:length") end
  return n
end

-- At most `limit` keys (1024 without one; 0: all), in no order. For inspection: it is slow.
function object.keys(d, limit)
  local n = C.mg_shared_keys(d.at, limit or 1024, list)
  if n < 0 then return fail(n, "shared:keys") end
  local keys = {}
  for i = 0, n - 1 do keys[i + 1] = str(list[0][i].p, list[0][i].n) end
  return keys
end

function object.flush(d)
  local rc = C.mg_shared_flush(d.at)
  if rc < 0 then return fail(rc, "shared:flush") end
end

-- { capacity, bytes, free, items, evictions }
function object.stats(d)
  C.mg_shared_stats(d.at, stat)
  local capacity, bytes = tonumber(stat.capacity), tonumber(stat.bytes)
  return { capacity = capacity, bytes = bytes, free = capacity > bytes and capacity - bytes or 0, items = tonumber(stat.items),
           evictions = tonumber(stat.evictions) }
end

local function open(known, name)
  local d = known[name]
  if d then return d end
  if type(name) ~= "string" then return error("mg.shared: a dictionary's name is a string", 3) end
  local at = C.mg_shared_open(name, #name)
  if at == nil then
    return error("mg.shared: \"" .. name .. "\": 1 to 128 visible characters expected, and at most 256 dictionaries", 3)
  end
  d = setmetatable({ at = at, name = name }, object_mt)
  known[name] = d
  return d
end

local function dictionaries()
  local known = {}
  return setmetatable({}, { __call = function(_, name) return open(known, name) end,
                            __index = function(_, name) return open(known, name) end })
end

host.own.shared = dictionaries
return dictionaries()
