-- store.lua - mg.store: keys and values that survive a restart, in the file that the config names.
--
--     local visits = mg.store("visits")                 -- a space of this plugin's own
--     local n, why = visits:incr(x.consumer.name)       -- waits until it is on the disk
--     if not n then x.log.warn("not counted", { why = why }) end
--
-- Values are strings, numbers and booleans. What can happen (a full disk, too many that wait) is nil (or false) and a word.

local host = require "moongate.host"
local ms = require "moongate.duration"
local ffi = require "ffi"
local C, str = ffi.C, ffi.string
local type, error, setmetatable, tostring = type, error, setmetatable, tostring
local message = host.message

local datum, other, text = ffi.new("struct mg_datum"), ffi.new("struct mg_datum"), ffi.new("struct mg_str")
local ENOENT, EEXIST = C.MG_ENOENT, C.MG_EEXIST

local function fill(d, v, what)
  local kind = type(v)
  if kind == "string" then
    d.kind, d.text.p, d.text.n = 3, v, #v
  elseif kind == "number" then
    d.kind, d.number = 2, v
  elseif kind == "boolean" then
    d.kind, d.number = 1, v and 1 or 0
  elseif v == nil then
    d.kind = 0
  else
    return error(what .. ": a string, number or boolean expected, not a " .. kind, 4)
  end
end

local function value_of(d)
  if d.kind == 3 then return (str(d.text.p, d.text.n)) end
  if d.kind == 2 then return d.number end
  if d.kind == 1 then return d.number ~= 0 end
  return nil
end

local function key_of(key, what)
  if type(key) == "number" then key = tostring(key) end
  if type(key) ~= "string" then return error(what .. ": a key is a string, not a " .. type(key), 3) end
  return key
end

-- The status that the operation ended with, and its number.
local function wait(op, what)
  if op == C.MG_ECONF then error(what .. ": the config names no store (store = \"FILE\")", 3) end
  if op < 0 then error(what .. ": " .. message(op), 3) end
  return host.wait(op), op
end

local function got(h, op)
  C.mg_store_value(h, op, datum)
  local value = value_of(datum)
  C.mg_store_forget(h, op)
  return value
end

local function forget(h, op) C.mg_store_forget(h, op) end

local object = {}
local object_mt = { __index = object, __metatable = false }

-- The value; nil when absent; nil and a word when it could not be read.
function object.get(s, key)
  key = key_of(key, "store:get")
  host.must_wait("store:get")
  local h = host.here()
  local status, op = wait(C.mg_store_get(h, s.space, #s.space, key, #key), "store:get")
  local value = got(h, op)
  if status == 0 then return value end
  if status == ENOENT then return nil end
  return nil, message(status)
end

local function put(s, when, key, value, ttl, what)
  key = key_of(key, what)
  if value == nil then return error(what .. ": a value expected; delete deletes", 3) end
  host.must_wait(what)
  fill(datum, value, what)
  local h = host.here()
  local status, op = wait(C.mg_store_set(h, s.space, #s.space, key, #key, when, datum, ms(ttl, what, 0)), what)
  forget(h, op)
  if status == 0 then return true end
  if status == EEXIST or status == ENOENT then return false end
  return nil, message(status)
end

-- true; nil and a word when it could not be written.
function object.set(s, key, value, ttl) return put(s, 0, key, value, ttl, "store:set") end
-- The same, and false when there is one already (add), or none (replace).
function object.add(s, key, value, ttl) return put(s, 1, key, value, ttl, "store:add") end
function object.replace(s, key, value, ttl) return put(s, 2, key, value, ttl, "store:replace") end

-- When the value is `expected` (nil: absent) it becomes `value` (nil: deleted): true. Else false and what it is.
function object.swap(s, key, expected, value, ttl)
  key = key_of(key, "store:swap")
  host.must_wait("store:swap")
  fill(other, expected, "store:swap")
  fill(datum, value, "store:swap")
  local h = host.here()
  local status, op = wait(C.mg_store_swap(h, s.space, #s.space, key, #key, other, datum, ms(ttl, "store:swap", 0)), "store:swap")
  local value_now = got(h, op)
  if status == 0 then return true end
  if status == EEXIST then return false, value_now end
  return nil, message(status)
end

-- Was it there? nil and a word when it could not be done.
function object.delete(s, key)
  key = key_of(key, "store:delete")
  host.must_wait("store:delete")
  local h = host.here()
  local status, op = wait(C.mg_store_delete(h, s.space, #s.space, key, #key), "store:delete")
  forget(h, op)
  if status == 0 then return true end
  if status == ENOENT then return false end
  return nil, message(status)
end

-- The sum; an absent one begins at `init` (0).
function object.incr(s, key, by, init, ttl)
  key = key_of(key, "store:incr")
  host.must_wait("store:incr")
  local h = host.here()
  local status, op = wait(C.mg_store_incr(h, s.space, #s.space, key, #key, by or 1, init or 0, ms(ttl, "store:incr", 0)), "store:incr")
  local sum = got(h, op)
  if status == 0 then return sum end
  if status == C.MG_EINVAL then return nil, "not a number" end
  return nil, message(status)
end

-- A list of { key, value } whose keys begin with `prefix`, in their order: at most `limit` (100, at most 1000) after the key `after`;
-- and the key to go on after: nil when there was none.
function object.list(s, prefix, after, limit)
  prefix, after, limit = prefix or "", after or "", limit or 100
  host.must_wait("store:list")
  local h = host.here()
  local status, op = wait(C.mg_store_list(h, s.space, #s.space, prefix, #prefix, after, #after, limit), "store:list")
  if status < 0 then
    forget(h, op)
    return nil, message(status)
  end
  local rows = {}
  for i = 0, status - 1 do
    if C.mg_store_row(h, op, i, text, datum) < 0 then break end
    rows[i + 1] = { key = str(text.p, text.n), value = value_of(datum) }
  end
  forget(h, op)
  return rows, rows[1] and rows[#rows].key or nil
end

-- A space of the plugin that runs.
return function(space)
  space = space or ""
  if type(space) ~= "string" or #space > 64 then return error("mg.store: a space is a string of at most 64 bytes", 2) end
  return setmetatable({ space = space }, object_mt)
end
