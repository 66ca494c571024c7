-- ngx_shared.lua - ngx.shared.NAME over mg.shared: the dictionary of that name, which the config may give a size. Flags are not kept.

local mg_shared = require "moongate.shared"
local setmetatable, type, error = setmetatable, type, error
local floor = math.floor

local dict = {}
dict.__index = dict

local function ms(seconds)
  if not seconds or seconds == 0 then return 0 end
  if seconds < 0 then error("bad \"exptime\" argument", 3) end
  local n = floor(seconds * 1000 + 0.5)
  return n > 0 and n or 1
end

function dict:get(key) return (self.d:get(key)) end
function dict:get_stale(key)
  local v, is_stale = self.d:get_stale(key)
  if v == nil then return nil end
  return v, nil, is_stale
end

local function stored(ok, evicted)
  if ok then return true, nil, type(evicted) == "number" and evicted > 0 end
  return false, "no memory", false
end
function dict:set(key, value, exptime) return stored(self.d:set(key, value, ms(exptime))) end
dict.safe_set = dict.set
function dict:add(key, value, exptime)
  local ok, n = self.d:add(key, value, ms(exptime))
  if ok == false then return false, "exists", false end
  return stored(ok, n)
end
dict.safe_add = dict.add
function dict:replace(key, value, exptime)
  local ok, n = self.d:replace(key, value, ms(exptime))
  if ok == false then return false, "not found", false end
  return stored(ok, n)
end
function dict:delete(key) self.d:delete(key) return true end
function dict:incr(key, by, init, init_ttl)
  local n, why = self.d:incr(key, by, init, ms(init_ttl))
  if n then return n, nil, false end
  return nil, why == "not a number" and why or "not found"
end
function dict:expire(key, exptime)
  if self.d:expire(key, ms(exptime)) then return true end
  return nil, "not found"
end
function dict:ttl(key)
  local left = self.d:ttl(key)
  if not left then return nil, "not found" end
  return left / 1000
end
function dict:lpush(key, value) return self.d:push_front(key, value) end
function dict:rpush(key, value) return self.d:push_back(key, value) end
function dict:lpop(key) return self.d:pop_front(key) end
function dict:rpop(key) return self.d:pop_back(key) end
function dict:llen(key) return self.d:length(key) end
function dict:get_keys(max) return self.d:keys(max) end
function dict:flush_all() self.d:flush() end
function dict:flush_expired() return 0 end
function dict:capacity() return self.d:stats().capacity end
function dict:free_space() return self.d:stats().free end

local known = {}
return setmetatable({}, {
  __index = function(_, name)
    local d = known[name]
    if not d then
      d = setmetatable({ d = mg_shared[name] }, dict)
      known[name] = d
    end
    return d
  end,
})
