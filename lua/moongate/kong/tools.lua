-- tools.lua - kong.tools.*, kong.constants and the like: what plugins use of Kong's own helpers.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local crypto = require "moongate.crypto"
local pairs = host.pairs
local type, tostring, tonumber, ipairs, setmetatable, getmetatable, error, pcall, select, setfenv, unpack =
  type, tostring, tonumber, ipairs, setmetatable, getmetatable, error, pcall, select, setfenv, unpack
local concat, floor = table.concat, math.floor

local tools = {}

-- ---- table ----------------------------------------------------------------------------------------------

local tbl = { EMPTY = setmetatable({}, { __newindex = function() error("the empty table is read-only", 2) end }) }
tools["kong.tools.table"] = tbl

local function deep(t, seen, with_meta)
  if type(t) ~= "table" then return t end
  if seen[t] then return seen[t] end
  local c = {}
  seen[t] = c
  for k, v in pairs(t) do c[deep(k, seen, with_meta)] = deep(v, seen, with_meta) end
  if with_meta then setmetatable(c, getmetatable(t)) end
  return c
end
function tbl.deep_copy(t, copy_mt) return deep(t, {}, copy_mt ~= false) end
function tbl.cycle_aware_deep_copy(t, remove_mt) return deep(t, {}, not remove_mt) end
function tbl.shallow_copy(t)
  if type(t) ~= "table" then return t end
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end
function tbl.table_contains(t, v)
  for _, one in pairs(t or {}) do
    if one == v then return true end
  end
  return false
end
function tbl.is_array(t, mode)
  if type(t) ~= "table" then return false end
  local n = 0
  for k in pairs(t) do
    if type(k) ~= "number" then return false end
    n = n + 1
  end
  return mode == "fast" or n == #t
end
function tbl.table_merge(a, b)
  local t = {}
  for k, v in pairs(a or {}) do t[k] = v end
  for k, v in pairs(b or {}) do t[k] = v end
  return t
end
tbl.table_pack = function(...) return { n = select("#", ...), ... } end
tbl.pack = tbl.table_pack
function tbl.unpack(t, i, j) return unpack(t, i or 1, j or t.n or #t) end
function tbl.concat(...)
  local out = {}
  for _, list in ipairs { ... } do
    for _, v in ipairs(list) do out[#out + 1] = v end
  end
  return out
end
function tbl.table_path(t, path)
  for part in tostring(path):gmatch("[^.]+") do
    if type(t) ~= "table" then return nil end
    t = t[part]
  end
  return t
end
tbl.deep_merge = function(a, b)
  local t = deep(a, {})
  for k, v in pairs(b or {}) do
    if type(v) == "table" and type(t[k]) == "table" then t[k] = tbl.deep_merge(t[k], v) else t[k] = v end
  end
  return t
end
function tbl.add_error(errors, k, v)
  errors = errors or {}
  errors[k] = v
  return errors
end

-- ---- string ---------------------------------------------------------------------------------------------

local str = {}
tools["kong.tools.string"] = str
function str.strip(s)
  if s == nil then return "" end
  return (tostring(s):gsub("^%s+", ""):gsub("%s+$", ""))
end
-- At a Lua pattern (default: comma), n parts at most.
function str.split(s, pattern, n)
  local out, at = {}, 1
  pattern = pattern or ","
  while not n or n < 1 or #out < n - 1 do
    local from, to = s:find(pattern, at)
    if not from or to < from then break end
    out[#out + 1] = s:sub(at, from - 1)
    at = to + 1
  end
  out[#out + 1] = s:sub(at)
  return out
end
function str.splitn(s, pattern, n) return str.split(s, (pattern:gsub("%p", "%%%0")), n) end
function str.isplitn(s, pattern, n)
  local list, i = str.splitn(s, pattern, n), 0
  return function()
    i = i + 1
    return list[i], list[i] and i or nil
  end
end
function str.isplit(s, pattern) return str.isplitn(s, pattern or ",") end
function str.replace_dashes(s) return (s:gsub("-", "_")) end
function str.replace_dashes_lower(s) return (s:gsub("-", "_"):lower()) end
function str.bytes_to_str(bytes, unit, scale)
  local by = { ["b/B"] = 1, ["k/K"] = 1024, ["m/M"] = 1048576, ["g/G"] = 1073741824 }
  for word, n in pairs(by) do
    if unit and word:find(unit, 1, true) then
      return n == 1 and floor(bytes) .. " B" or ("%." .. (scale or 2) .. "f %siB"):format(bytes / n, word:sub(3))
    end
  end
  return tostring(bytes)
end
function str.try_decode_base64(v)
  local d = crypto.unbase64(v)
  return d or v
end
function str.validate_utf8(v)
  local s, i = tostring(v), 1
  while i <= #s do
    local c = s:byte(i)
    local n = c < 0x80 and 0 or (c >= 0xC2 and c < 0xE0) and 1 or (c >= 0xE0 and c < 0xF0) and 2 or (c >= 0xF0 and c < 0xF5) and 3
    if not n then return false, i end
    for k = 1, n do
      local b = s:byte(i + k)
      if not b or b < 0x80 or b > 0xBF then return false, i end
    end
    i = i + n + 1
  end
  return true
end
function str.ends_with(s, e) return e == "" or s:sub(-#e) == e end
str.parse_directive_header = function(v)
  local t = {}
  if type(v) == "table" then v = concat(v, ", ") end
  for part in (v or ""):gmatch("[^,]+") do
    local name, value = part:match('^%s*([%w_-]+)%s*=?%s*"?([^"]*)"?%s*$')
    if name then t[name:lower()] = value == "" and true or tonumber(value) or value end
  end
  return t
end

-- ---- uuid, random, time ---------------------------------------------------------------------------------

local function uuid()
  return require("moongate").uuid()
end
local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"
tools["kong.tools.uuid"] = { uuid = uuid, is_valid_uuid = function(s) return type(s) == "string" and s:find(UUID) ~= nil end,
                             generate_v4 = uuid }

local rand = {}
tools["kong.tools.rand"] = rand
function rand.get_rand_bytes(n) return crypto.random_bytes(n) end
function rand.random_string()
  return (crypto.base64url(crypto.random_bytes(24)):gsub("[_-]", "x"))
end

local function now_ms() return tonumber(require("ffi").C.mg_now_ms()) end
tools["kong.tools.time"] = {
  get_now_ms = now_ms, time_ns = function() return now_ms() * 1e6 end, get_updated_now_ms = now_ms, get_updated_now = function() return now_ms() / 1000 end,
  get_updated_monotonic_ms = function() return tonumber(require("ffi").C.mg_monotonic_us()) / 1000 end, get_start_time_ms = now_ms,
}

local timestamp = {}
tools["kong.tools.timestamp"] = timestamp
function timestamp.get_utc() return now_ms() end
timestamp.get_utc_ms = timestamp.get_utc
-- The begin of each period around a time in milliseconds, in milliseconds.
function timestamp.get_timestamps(ms)
  ms = ms or now_ms()
  local sec = floor(ms / 1000)
  local d = os.date("!*t", sec)
  local day = sec - sec % 86400
  local month = day - (d.day - 1) * 86400
  local year = day - (d.yday - 1) * 86400
  return { second = sec * 1000, minute = (sec - sec % 60) * 1000, hour = (sec - sec % 3600) * 1000, day = day * 1000, month = month * 1000,
           year = year * 1000 }
end
function timestamp.get_timetable(ms) return os.date("!*t", floor((ms or now_ms()) / 1000)) end

-- ---- http, ip, mime -------------------------------------------------------------------------------------

local http = {}
tools["kong.tools.http"] = http
function http.encode_args(args) return text.encode_args(args) end
http.decode_args = text.decode_args
function http.validate_header_name(name)
  if name == nil or name == "" then return nil, "no header name provided" end
  if name:find("^[%w!#$%%&'*+.^_`|~-]+$") then return name end
  return nil, "bad header name '" .. name .. "', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
end
http.validate_cookie_name = http.validate_header_name
http.get_header = function(name) return host.here().request.headers:get(name) end
function http.parse_directive_header(v) return str.parse_directive_header(v) end
function http.get_mime_type(kind)
  return ({ ["application/json"] = "application/json; charset=utf-8", ["text/html"] = "text/html; charset=utf-8",
            ["text/plain"] = "text/plain; charset=utf-8", ["application/xml"] = "application/xml; charset=utf-8" })[kind or "application/json"]
end
function http.get_error_template() return '{\n  "message":"%s",\n  "request_id":"%s"\n}' end
function http.normalize_ip(s) return { type = s:find(":", 1, true) and s:find("%.") == nil and "ipv6" or "ipv4", host = s } end
http.check_https = function() return host.here().request.scheme == "https" end

local ip = {}
tools["kong.tools.ip"] = ip
function ip.is_valid_ipv4(s)
  local a, b, c, d = s:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a ~= nil and tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 and tonumber(d) < 256
end
function ip.is_valid_ip(s) return ip.is_valid_ipv4(s) or (s:find(":", 1, true) ~= nil and s:find("^[%x:.]+$") ~= nil) end
function ip.is_valid_ip_or_cidr(s) return ip.is_valid_ip(s:match("^[^/]*")) end
function ip.hostname_type(s)
  if ip.is_valid_ipv4(s:match("^[^:]*")) then return "ipv4" end
  if select(2, s:gsub(":", "")) > 1 then return "ipv6" end
  return "name"
end

local mime = {}
tools["kong.tools.mime_type"] = mime
function mime.parse_mime_type(s)
  local kind, sub, rest = (s or ""):match("^%s*([^/;%s]+)/([^;%s]+)%s*(.*)$")
  if not kind then return nil end
  local params = {}
  for name, value in rest:gmatch(";%s*([^=%s]+)=\"?([^;\"]*)\"?") do params[name:lower()] = value end
  return kind:lower(), sub:lower(), params
end
function mime.includes(a, b)
  return (a.type == "*" or a.type == b.type) and (a.subtype == "*" or a.subtype == b.subtype)
end

tools["kong.tools.sha256"] = {
  sha256_hex = function(s) return crypto.hex(crypto.digest("sha256", s)) end,
  sha256_bin = function(s) return crypto.digest("sha256", s) end,
  sha256_base64 = function(s) return crypto.base64(crypto.digest("sha256", s)) end,
}
tools["kong.tools.yield"] = { yield = function() end }

-- Code that a config gives: with globals of its own.
local function sandbox(source, options)
  local env = setmetatable({}, { __index = function(_, k)
    local given = options and options.env and options.env[k]
    if given ~= nil then return given end
    return state.env[k]
  end })
  local fn, why = load(source, "=sandbox", "t")
  if not fn then error(why, 0) end
  return setfenv(fn, env)
end
tools["kong.tools.sandbox"] = {
  sandbox = sandbox, configuration = { enabled = true, sandbox_enabled = false },
  validate = function(source)
    local ok, fn = pcall(sandbox, source)
    return ok and fn or nil, not ok and "Error parsing function: " .. tostring(fn) or nil
  end,
  validate_function = function(source)
    local ok, fn = pcall(sandbox, source)
    return ok and fn or false, not ok and "Error parsing function: " .. tostring(fn) or nil
  end,
  validate_safe = function(source)
    local ok, fn = pcall(sandbox, source)
    return ok, not ok and "Error parsing function: " .. tostring(fn) or nil
  end,
  sandbox_schema = {},
}

-- ---- all of them, as kong.tools.utils has them ----------------------------------------------------------

local utils = {}
tools["kong.tools.utils"] = utils
for _, name in ipairs { "kong.tools.table", "kong.tools.string", "kong.tools.uuid", "kong.tools.http", "kong.tools.ip", "kong.tools.rand", "kong.tools.time" } do
  for k, v in pairs(tools[name]) do utils[k] = v end
end
function utils.get_hostname() return require("moongate.kong.pdk").kong.node.get_hostname() end
function utils.load_module_if_exists(name)
  local ok, module = pcall(require, name)
  if ok then return true, module end
  return false, module
end
utils.sha256_hex = tools["kong.tools.sha256"].sha256_hex
utils.yield = function() end
tools["kong.tools.public"] = {
  get_body_args = function() return require("moongate.kong.request").get_body() or {} end,
  get_body_info = function()
    local request = require "moongate.kong.request"
    return request.get_body() or {}, nil, request.get_raw_body()
  end,
  req_get_uri_args = function() return require("moongate.kong.request").get_query() end,
}

-- ---- constants and the rest -----------------------------------------------------------------------------

tools["kong.constants"] = {
  HEADERS = {
    HOST_OVERRIDE = "X-Host-Override", PROXY_LATENCY = "X-Kong-Proxy-Latency", RESPONSE_LATENCY = "X-Kong-Response-Latency",
    ADMIN_LATENCY = "X-Kong-Admin-Latency", UPSTREAM_LATENCY = "X-Kong-Upstream-Latency", UPSTREAM_STATUS = "X-Kong-Upstream-Status",
    CONSUMER_ID = "X-Consumer-ID", CONSUMER_CUSTOM_ID = "X-Consumer-Custom-ID", CONSUMER_USERNAME = "X-Consumer-Username",
    CREDENTIAL_USERNAME = "X-Credential-Username", CREDENTIAL_IDENTIFIER = "X-Credential-Identifier",
    RATELIMIT_LIMIT = "X-RateLimit-Limit", RATELIMIT_REMAINING = "X-RateLimit-Remaining", CONSUMER_GROUPS = "X-Consumer-Groups",
    AUTHENTICATED_GROUPS = "X-Authenticated-Groups", FORWARDED_HOST = "X-Forwarded-Host", FORWARDED_PATH = "X-Forwarded-Path",
    FORWARDED_PREFIX = "X-Forwarded-Prefix", ANONYMOUS = "X-Anonymous-Consumer", VIA = "Via", SERVER = "Server", REQUEST_ID = "X-Kong-Request-Id",
    FORWARDED_FOR = "X-Forwarded-For", FORWARDED_PROTO = "X-Forwarded-Proto", FORWARDED_PORT = "X-Forwarded-Port", REAL_IP = "X-Real-IP",
  },
  PLUGIN_NAME_HEADER = "X-Kong-Plugin", RATELIMIT = { PERIODS = { "second", "minute", "hour", "day", "month", "year" } },
  REPORTS = { ADDRESS = "", STATS_PORT = 0 }, BUNDLED_PLUGINS = {}, DEPRECATED_PLUGINS = {}, PROTOCOLS = {}, DICTS = {},
}
tools["kong.meta"] = { _NAME = "kong", _VERSION = "3.9.1", version = "3.9.1", version_num = 3009001, core_version = "3.9.1" }
tools["kong.reports"] = setmetatable({}, { __index = function() return function() return true end end })
tools["kong.globalpatches"] = function() end
tools["kong.singletons"] = require("moongate.kong.pdk").kong
tools["kong.api.endpoints"] = setmetatable({}, { __index = function() return function() return {} end end })
tools["kong.concurrency"] = { with_worker_mutex = function(_, fn) return fn(0) end, with_coroutine_mutex = function(_, fn) return fn() end }
tools["kong.plugins.log-serializers.basic"] = { serialize = function() return require("moongate.kong.pdk").kong.log.serialize() end }
tools["kong.db.schema"] = {
  validators = {
    is_regex = function(v)
      local ok, why = require("moongate.re").compile(v)
      return ok ~= nil or nil, why
    end,
    uuid = tools["kong.tools.uuid"].is_valid_uuid,
  },
  define = function(t) return t end, new = state.absent("kong.db.schema.new"), new_subschema = state.absent("kong.db.schema.new_subschema") }
tools["kong.pdk.private.phases"] = { phases = setmetatable({}, { __index = function() return 1 end }), check = function() end, new = function(v) return v end,
                                     get = function() return state.phase() end }
-- Fields of rate limits, set when the last plugin of the request that counts has spoken.
tools["kong.pdk.private.rate_limiting"] = {
  store_response_header = function(ctx, name, value)
    ctx["moongate.limits"] = ctx["moongate.limits"] or {}
    ctx["moongate.limits"][name] = value
  end,
  get_stored_response_header = function(ctx, name) return (ctx["moongate.limits"] or {})[name] end,
  apply_response_headers = function(ctx)
    local answer = require "moongate.kong.answer"
    for name, value in pairs(ctx["moongate.limits"] or {}) do answer.field("set", name, value) end
  end,
}

return tools
