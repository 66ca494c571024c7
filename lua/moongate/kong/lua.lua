-- lua.lua - small modules of LuaJIT, OpenResty and LuaSocket that plugins require.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local crypto = require "moongate.crypto"
local ffi = require "ffi"
local pairs, next = host.pairs, host.next
local type, tostring, tonumber, setmetatable, ipairs, select = type, tostring, tonumber, setmetatable, ipairs, select
local concat = table.concat

local lua = {}

lua["table.new"] = function() return {} end
lua["table.clear"] = function(t)
  for k in pairs(t) do t[k] = nil end
end
lua["table.nkeys"] = function(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end
lua["table.isempty"] = function(t) return next(t) == nil end
lua["table.isarray"] = function(t)
  for k in pairs(t) do
    if type(k) ~= "number" then return false end
  end
  return true
end
lua["table.clone"] = function(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

-- LuaJIT's string buffer, as far as text goes.
local buffer = {}
buffer.__index = buffer
function buffer:put(...)
  for i = 1, select("#", ...) do self[#self + 1] = tostring((select(i, ...))) end
  return self
end
function buffer:putf(...) return self:put(string.format(...)) end
function buffer:set(s) return self:reset():put(s) end
function buffer:tostring() return concat(self) end
buffer.__tostring = buffer.tostring
function buffer:__len() return #concat(self) end
function buffer:get(n)
  local s = concat(self)
  self:reset()
  if n and n < #s then
    self:put(s:sub(n + 1))
    return s:sub(1, n)
  end
  return s
end
function buffer:skip(n)
  self:get(n)
  return self
end
function buffer:reset()
  for i = #self, 1, -1 do self[i] = nil end
  return self
end
buffer.free = buffer.reset
lua["string.buffer"] = { new = function() return setmetatable({}, buffer) end, encode = state.absent("string.buffer.encode"),
                         decode = state.absent("string.buffer.decode") }

lua["ngx.base64"] = {
  encode_base64url = function(s) return crypto.base64url(s) end,
  decode_base64url = function(s) return crypto.unbase64url((s:gsub("=+$", ""))) end,
}
lua["ngx.null"] = host.null
lua["ngx.errlog"] = { get_sys_filter_level = function() return 6 end, raw_log = function() end, set_filter_level = function() return true end }
lua["ngx.process"] = { type = function() return "worker" end, enable_privileged_agent = function() return true end }
for _, name in ipairs { "ngx.semaphore", "ngx.ssl", "ngx.balancer", "ngx.pipe", "lua_system_constants", "lyaml", "lfs" } do
  lua[name] = setmetatable({}, { __index = function(_, k) return state.absent(name .. "." .. tostring(k)) end })
end

-- ---- LuaSocket --------------------------------------------------------------------------------------------

lua.socket = {
  gettime = function() return tonumber(ffi.C.mg_now_us()) / 1e6 end,
  dns = { toip = state.absent("socket.dns.toip"), gethostname = function() return require("moongate.kong.pdk").kong.node.get_hostname() end },
  tcp = state.absent("socket.tcp"), udp = state.absent("socket.udp"), sleep = state.absent("socket.sleep"),
}

local url = {}
lua["socket.url"] = url
url.escape, url.unescape = text.escape, function(s) return (s:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end)) end
function url.parse(s, default)
  if not s or s == "" then return nil, "invalid url" end
  local t = {}
  for k, v in pairs(default or {}) do t[k] = v end
  s = s:gsub("#(.*)$", function(f) t.fragment = f return "" end)
  s = s:gsub("^([%w][%w%+%-%.]*)%:", function(v) t.scheme = v return "" end)
  s = s:gsub("^//([^/?]*)", function(v) t.authority = v return "" end)
  s = s:gsub("%?(.*)", function(v) t.query = v return "" end)
  s = s:gsub("%;(.*)", function(v) t.params = v return "" end)
  if s ~= "" then t.path = s end
  local a = t.authority
  if not a then return t end
  a = a:gsub("^([^@]*)@", function(v) t.userinfo = v return "" end)
  a = a:gsub(":([^:%]]*)$", function(v) t.port = v return "" end)
  if a ~= "" then t.host = a:match("^%[(.+)%]$") or a end
  if t.userinfo then
    t.user = t.userinfo:match("^[^:]*")
    t.password = t.userinfo:match(":(.*)$")
  end
  return t
end
function url.build(t)
  local s = t.path or ""
  if t.params then s = s .. ";" .. t.params end
  if t.query then s = s .. "?" .. t.query end
  local a = t.authority
  if t.host then
    a = t.host:find(":", 1, true) and "[" .. t.host .. "]" or t.host
    if t.port then a = a .. ":" .. t.port end
    if t.userinfo then a = t.userinfo .. "@" .. a end
  end
  if a then s = "//" .. a .. s end
  if t.scheme then s = t.scheme .. ":" .. s end
  if t.fragment then s = s .. "#" .. t.fragment end
  return s
end
function url.absolute(base, relative)
  local b = type(base) == "table" and base or url.parse(base)
  local r = url.parse(relative)
  if not r then return type(base) == "table" and url.build(base) or base end
  if r.scheme then return relative end
  r.scheme = b.scheme
  if not r.authority then
    r.authority, r.host, r.port, r.userinfo = b.authority, b.host, b.port, b.userinfo
    if not r.path then r.path = b.path
    elseif r.path:sub(1, 1) ~= "/" then r.path = ((b.path or "/"):match("^.*/") or "/") .. r.path end
  end
  return url.build(r)
end

-- ---- multipart --------------------------------------------------------------------------------------------

local form = {}
form.__index = form
function form:get(name)
  for _, part in ipairs(self.parts) do
    if part.name == name then return part end
  end
end
function form:get_all()
  local t = {}
  for _, part in ipairs(self.parts) do t[part.name] = part.value end
  return t
end
function form:set_simple(name, value)
  local part = self:get(name)
  if part then
    part.value = value
    return
  end
  self.parts[#self.parts + 1] = { name = name, value = value, head = 'Content-Disposition: form-data; name="' .. name .. '"' }
end
function form:delete(name)
  for i = #self.parts, 1, -1 do
    if self.parts[i].name == name then table.remove(self.parts, i) end
  end
end
function form:tostring()
  local out = {}
  for _, part in ipairs(self.parts) do out[#out + 1] = "--" .. self.boundary .. "\r\n" .. part.head .. "\r\n\r\n" .. part.value .. "\r\n" end
  return concat(out) .. "--" .. self.boundary .. "--\r\n"
end
lua.multipart = setmetatable({}, { __call = function(_, body, kind)
  return setmetatable({ parts = text.multipart_parts(body or "", kind or "") or {}, boundary = (kind or ""):match('boundary="?([^";%s]+)') or "moongate" }, form)
end })

return lua
