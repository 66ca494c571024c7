-- resty.lua - names of lua-resty libraries that plugins require, over mg.crypto and our own.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local crypto = require "moongate.crypto"
local ffi = require "ffi"
local pairs = host.pairs
local type, tostring, tonumber, setmetatable, ipairs, pcall = type, tostring, tonumber, setmetatable, ipairs, pcall
local concat, floor = table.concat, math.floor

local resty = {}

-- ---- digests ------------------------------------------------------------------------------------------------

local function hasher(name)
  local h = {}
  h.__index = h
  function h.new() return setmetatable({}, h) end
  function h:update(s)
    self[#self + 1] = tostring(s)
    return true
  end
  function h:final() return crypto.digest(name, concat(self)) end
  h.digest = h.final
  function h:reset()
    for i = #self, 1, -1 do self[i] = nil end
    return true
  end
  return h
end
for _, name in ipairs { "md5", "sha1", "sha224", "sha256", "sha384", "sha512" } do resty["resty." .. name] = hasher(name) end

local function keyed(class_name)
  local m = {}
  m.__index = m
  -- resty.openssl.hmac.new(key, digest); resty.openssl.mac.new(key, "HMAC", nil, digest)
  function m.new(key, kind, _, digest)
    if class_name == "mac" then
      if kind ~= "HMAC" then return nil, "resty.openssl.mac: only HMAC is there in Moongate" end
    else
      digest = kind
    end
    return setmetatable({ key = key, name = digest or "sha1" }, m)
  end
  function m:update(...)
    for _, s in ipairs { ... } do self[#self + 1] = s end
    return true
  end
  function m:final(s)
    if s then self[#self + 1] = s end
    local ok, out = pcall(crypto.hmac, self.name, self.key, concat(self))
    if ok then return out end
    return nil, out
  end
  function m:reset()
    for i = #self, 1, -1 do self[i] = nil end
    return true
  end
  return m
end
resty["resty.openssl.mac"], resty["resty.openssl.hmac"] = keyed("mac"), keyed("hmac")

local digest = {}
digest.__index = digest
function digest.new(name) return setmetatable({ name = name or "sha1" }, digest) end
function digest:update(...)
  for _, s in ipairs { ... } do self[#self + 1] = s end
  return true
end
function digest:final(s)
  if s then self[#self + 1] = s end
  return crypto.digest(self.name, concat(self))
end
resty["resty.openssl.digest"] = digest
resty["resty.openssl.rand"] = { bytes = function(n) return crypto.random_bytes(n) end }
for _, name in ipairs { "resty.openssl.pkey", "resty.openssl.x509" } do
  resty[name] = setmetatable({ new = function() return nil, name .. ".new: public keys are not there in Moongate for Kong plugins (docs/kong.md)" end },
                             { __index = function(_, k) return state.absent(name .. "." .. tostring(k)) end })
end

local hmac = { ALGOS = { MD5 = "md5", SHA1 = "sha1", SHA256 = "sha256", SHA512 = "sha512" } }
hmac.__index = hmac
function hmac.new(_, key, name) return setmetatable({ key = key, name = name or "sha1" }, hmac) end
function hmac:update(s)
  self[#self + 1] = s
  return true
end
function hmac:final(s, as_hex)
  if s then self[#self + 1] = s end
  local out = crypto.hmac(self.name, self.key, concat(self))
  return as_hex and crypto.hex(out) or out
end
function hmac:reset()
  for i = #self, 1, -1 do self[i] = nil end
  return true
end
resty["resty.hmac"] = hmac

resty["resty.string"] = {
  to_hex = function(s) return crypto.hex(s) end, tostring = tostring,
  atoi = function(s) return tonumber(s:match("^%d*")) or 0 end,
}
resty["resty.random"] = {
  bytes = function(n) return crypto.random_bytes(n) end,
  number = function(low, high) return math.random(low, high) end,
}
resty["resty.jit-uuid"] = setmetatable({
  seed = function() end, generate_v4 = function() return require("moongate").uuid() end,
  is_valid = function(s) return type(s) == "string" and s:find("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$") ~= nil end,
}, { __call = function() return require("moongate").uuid() end })
resty["resty.core"] = { version = "0.1.28" }

-- ---- resty.lrucache -----------------------------------------------------------------------------------------
-- Two generations, so that what is not used for long goes: between `size` and half of it stays.

local lru = {}
lru.__index = lru
local function seconds() return tonumber(ffi.C.mg_monotonic_us()) / 1e6 end

function lru.new(size)
  if type(size) ~= "number" or size < 1 then return nil, "size too small" end
  return setmetatable({ young = {}, old = {}, n = 0, size = size }, lru)
end
local function put(c, key, entry)
  if c.n >= c.size / 2 and c.young[key] == nil then c.old, c.young, c.n = c.young, {}, 0 end
  if c.young[key] == nil then c.n = c.n + 1 end
  c.young[key] = entry
end
function lru:get(key)
  local entry = self.young[key]
  if not entry then
    entry = self.old[key]
    if not entry then return nil end
    put(self, key, entry)
  end
  if entry.till and entry.till <= seconds() then return nil, entry.value end
  return entry.value, nil, entry.flags or 0
end
function lru:set(key, value, ttl, flags)
  self.old[key] = nil
  put(self, key, { value = value, till = ttl and ttl > 0 and seconds() + ttl or nil, flags = flags })
end
function lru:delete(key)
  if self.young[key] ~= nil then self.n = self.n - 1 end
  self.young[key], self.old[key] = nil, nil
end
function lru:flush_all() self.young, self.old, self.n = {}, {}, 0 end
function lru:count()
  local n = self.n
  for key in pairs(self.old) do
    if self.young[key] == nil then n = n + 1 end
  end
  return n
end
function lru:capacity() return self.size end
function lru:get_keys(max)
  local keys = {}
  for _, t in ipairs { self.young, self.old } do
    for key in pairs(t) do
      if max and max > 0 and #keys >= max then return keys end
      keys[#keys + 1] = key
    end
  end
  return keys
end
resty["resty.lrucache"] = lru

-- ---- resty.lock: over a shared dictionary -----------------------------------------------------------------------

local lock = {}
lock.__index = lock
function lock.new(_, dict, options)
  options = options or {}
  return setmetatable({ d = require("moongate.kong.ngx_shared")[dict], timeout = options.timeout or 5, exptime = options.exptime or 30,
                        step = options.step or 0.01, max_step = options.max_step or 0.5, ratio = options.ratio or 2 }, lock)
end
function lock:lock(key)
  if self.key then return nil, "locked" end
  local waited, step, mine = 0, self.step, require("moongate").uuid()
  while true do
    if self.d:add(key, mine, self.exptime) then
      self.key, self.mine = key, mine
      return waited
    end
    if waited >= self.timeout then return nil, "timeout" end
    step = math.min(step, self.timeout - waited, self.max_step)
    require("moongate").sleep(math.max(1, floor(step * 1000)))
    waited, step = waited + math.max(step, 0.001), step * self.ratio
  end
end
function lock:unlock()
  if not self.key then return nil, "unlocked" end
  local key = self.key
  self.key = nil
  if self.d:get(key) ~= self.mine then return nil, "unlocked" end
  self.d:delete(key)
  return 1
end
function lock:expire(exptime)
  if not self.key then return nil, "unlocked" end
  return self.d:expire(self.key, exptime or self.exptime)
end
resty["resty.lock"] = lock

-- ---- resty.mlcache: kong.cache under a name ------------------------------------------------------------------------

local ml = {}
ml.__index = ml
function ml.new(name, _, options) return setmetatable({ name = name, options = options or {} }, ml) end
function ml:get(key, options, fn, ...)
  local opts = options or self.options
  return require("moongate.kong.cache"):get("mlcache:" .. self.name .. ":" .. key, opts, fn, ...)
end
function ml:delete(key) return require("moongate.kong.cache"):invalidate("mlcache:" .. self.name .. ":" .. key) end
function ml:update() return true end
resty["resty.mlcache"], resty["kong.resty.mlcache"] = ml, ml

-- ---- resty.ipmatcher ----------------------------------------------------------------------------------------------

local bit = require "bit"

-- 16 numbers; IPv4 as ::ffff:a.b.c.d. nil when it is no address.
local function bytes_of(s)
  local a, b, c, d = s:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then
    local t = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, tonumber(a), tonumber(b), tonumber(c), tonumber(d) }
    for i = 13, 16 do
      if t[i] > 255 then return nil end
    end
    return t
  end
  if not s:find("^[%x:.]+$") or not s:find(":", 1, true) then return nil end
  local tail = s:match(":(%d+%.%d+%.%d+%.%d+)$")
  if tail then
    local v4 = bytes_of(tail)
    if not v4 then return nil end
    s = s:sub(1, -#tail - 1) .. ("%x:%x"):format(v4[13] * 256 + v4[14], v4[15] * 256 + v4[16])
  end
  local head, rest = s, nil
  local from, to = s:find("::", 1, true)
  if from then head, rest = s:sub(1, from - 1), s:sub(to + 1) end
  local function words(part)
    local list = {}
    for w in part:gmatch("[^:]+") do list[#list + 1] = tonumber(w, 16) end
    return list
  end
  local left, right = words(head), rest and words(rest) or {}
  if (rest and #left + #right > 7) or (not rest and #left ~= 8) then return nil end
  local t = {}
  local function add(list)
    for _, w in ipairs(list) do
      if w > 65535 then return end
      t[#t + 1], t[#t + 2] = floor(w / 256), w % 256
    end
  end
  add(left)
  for _ = 1, 16 - 2 * (#left + #right) do t[#t + 1] = 0 end
  add(right)
  return #t == 16 and t or nil
end

local matcher = {}
matcher.__index = matcher
local function rule_of(s)
  local address, bits = s:match("^(.-)/(%d+)$")
  local bytes = bytes_of(address or s)
  if not bytes then return nil, "invalid ip address: " .. s end
  local is_v4 = not (address or s):find(":", 1, true)
  bits = bits and tonumber(bits) or (is_v4 and 32 or 128)
  if bits > (is_v4 and 32 or 128) then return nil, "invalid ip address: " .. s end
  return { bytes = bytes, bits = is_v4 and bits + 96 or bits }
end
local function holds(rule, bytes)
  local whole = floor(rule.bits / 8)
  for i = 1, whole do
    if rule.bytes[i] ~= bytes[i] then return false end
  end
  local rest = rule.bits % 8
  if rest == 0 then return true end
  return bit.rshift(bit.bxor(rule.bytes[whole + 1], bytes[whole + 1]), 8 - rest) == 0
end
function matcher.new(list)
  local rules = {}
  for _, s in ipairs(list) do
    local rule, why = rule_of(s)
    if not rule then return nil, why end
    rules[#rules + 1] = rule
  end
  return setmetatable(rules, matcher)
end
local function match(rules, bytes)
  for _, rule in ipairs(rules) do
    if holds(rule, bytes) then return true end
  end
  return false
end
function matcher:match(s)
  local bytes = bytes_of(s)
  if not bytes then return false, "invalid ip address, not ipv4 and ipv6" end
  return match(self, bytes)
end
function matcher:match_bin(s)
  if #s == 4 then s = ("\0"):rep(10) .. "\255\255" .. s end
  if #s ~= 16 then return nil, "invalid ip address, not ipv4 and ipv6" end
  return match(self, { s:byte(1, 16) })
end
function matcher.parse_ipv4(s) return not s:find(":", 1, true) and bytes_of(s) ~= nil end
function matcher.parse_ipv6(s) return s:find(":", 1, true) ~= nil and bytes_of(s) ~= nil end
resty["resty.ipmatcher"] = matcher

-- ---- resty.cookie ---------------------------------------------------------------------------------------------------

local cookie = {}
cookie.__index = cookie
function cookie.new() return setmetatable({}, cookie) end
function cookie.get(_, name)
  local v = host.here().request.cookies[name]
  if v then return v end
  return nil, "no cookie found"
end
function cookie.get_all()
  local t = {}
  for name, value in (host.here().request.headers:join("cookie") or ""):gmatch("([^=;%s]+)=([^;]*)") do t[name] = value end
  return t
end
function cookie.set(_, c)
  local v = c.key .. "=" .. c.value
  local names = { { "expires", "Expires" }, { "max_age", "Max-Age" }, { "domain", "Domain" }, { "path", "Path" } }
  for _, n in ipairs(names) do
    if c[n[1]] then v = v .. "; " .. n[2] .. "=" .. c[n[1]] end
  end
  if c.secure then v = v .. "; Secure" end
  if c.httponly then v = v .. "; HttpOnly" end
  if c.samesite then v = v .. "; SameSite=" .. c.samesite end
  require("moongate.kong.answer").field("add", "set-cookie", v)
  return true
end
resty["resty.cookie"] = cookie

return resty
