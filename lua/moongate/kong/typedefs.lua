-- typedefs.lua - kong.db.schema.typedefs: fields that many schemas use. Each may be called with what is to differ.

local host = require "moongate.host"
local re = require "moongate.re"
local pairs, setmetatable, type, tonumber = host.pairs, setmetatable, type, tonumber

local function is_ipv4(s)
  local a, b, c, d = s:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a and tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 and tonumber(d) < 256
end
local function is_ip(s) return is_ipv4(s) or (s:find(":", 1, true) and s:find("^[%x:.]+$") ~= nil) end

local function check_ip(s)
  if is_ip(s) then return true end
  return nil, "not an ip address: " .. s
end
local function check_ip_or_cidr(s)
  local ip, bits = s:match("^(.-)/(%d+)$")
  if ip then
    if is_ip(ip) and tonumber(bits) <= (is_ipv4(ip) and 32 or 128) then return true end
  elseif is_ip(s) then
    return true
  end
  return nil, "invalid ip or cidr range: '" .. s .. "'"
end
local function check_host(s)
  local name, port = s:match("^(.-):(%d+)$")
  name = name or s
  if port and tonumber(port) > 65535 then return nil, "invalid port number" end
  if is_ip(name) or name:find("^[%w_][%w_.-]*$") then return true end
  return nil, "invalid hostname: " .. s
end
local function check_url(s)
  if s:find("^%a[%w+.-]*://[^/%s]+") then return true end
  return nil, "missing host in url"
end
local function check_header_name(s)
  if s:find("^[%w!#$%%&'*+.^_`|~-]+$") then return true end
  return nil, "bad header name '" .. s .. "'"
end
local function check_path(s)
  if s:find("//", 1, true) then return nil, "must not have empty segments" end
  if s:find("^/[%w.~!$&'()*+,;=:@%%/_-]*$") then return true end
  return nil, "should start with: / and hold characters of a path"
end
local function check_regex(s)
  local ok, err = re.compile(s)
  if ok then return true end
  return nil, err
end

local typedefs = {}
local meta = {}
meta.__call = function(t, other)
  local made = {}
  for k, v in pairs(t) do made[k] = v end
  for k, v in pairs(other or {}) do made[k] = v end
  return setmetatable(made, meta)
end
local function define(name, t) typedefs[name] = setmetatable(t, meta) end

local word = { type = "string", one_of = { "http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp", "ws", "wss" } }
define("http_method", { type = "string", match = "^%u+$" })
define("protocol", word)
define("host", { type = "string", custom_validator = check_host })
define("host_with_optional_port", { type = "string", custom_validator = check_host })
define("wildcard_host", { type = "string" })
define("ip", { type = "string", custom_validator = check_ip })
define("ip_or_cidr", { type = "string", custom_validator = check_ip_or_cidr })
define("cidr_v4", { type = "string", custom_validator = check_ip_or_cidr })
define("port", { type = "integer", between = { 0, 65535 } })
define("path", { type = "string", starts_with = "/", custom_validator = check_path })
define("url", { type = "string", custom_validator = check_url })
define("header_name", { type = "string", custom_validator = check_header_name })
define("timeout", { type = "integer", between = { 0, 2147483646 } })
define("uuid", { type = "string", uuid = true, auto = true })
define("name", { type = "string" })
define("utf8_name", { type = "string" })
define("username", { type = "string" })
define("sni", { type = "string" })
define("tag", { type = "string" })
define("regex_or_plain_pattern", { type = "string" })
define("regex", { type = "string", custom_validator = check_regex })
define("lua_code", { type = "string" })
define("certificate", { type = "string" })
define("key", { type = "string" })
define("jwk", { type = "string" })
define("semantic_version", { type = "string" })
define("unix_timestamp", { type = "number" })
define("path_mapping", { type = "string" })
define("auto_timestamp_s", { type = "integer", auto = true })
define("auto_timestamp_ms", { type = "number", auto = true })
define("duration", { type = "number" })
define("queue", {
  type = "record",
  fields = {
    { max_batch_size = { type = "integer", default = 1, between = { 1, 1000000 } } },
    { max_coalescing_delay = { type = "number", default = 1, between = { 0, 3600 } } },
    { max_entries = { type = "integer", default = 10000, between = { 1, 1000000 } } },
    { max_bytes = { type = "integer" } },
    { max_retry_time = { type = "number", default = 60 } },
    { initial_retry_delay = { type = "number", default = 0.01, between = { 0.001, 1000000 } } },
    { max_retry_delay = { type = "number", default = 60, between = { 0.001, 1000000 } } },
    { concurrency_limit = { type = "integer", default = 1, one_of = { -1, 1 } } },
  },
})
define("sources", { type = "set", elements = { type = "record", fields = { { ip = typedefs.ip_or_cidr }, { port = typedefs.port } } } })
define("protocols", { type = "set", elements = word })
define("protocols_http", { type = "set", elements = word })
define("protocols_http_and_ws", { type = "set", elements = word })
define("methods", { type = "set", elements = { type = "string", match = "^%u+$" } })
define("hosts", { type = "array", elements = { type = "string" } })
define("paths", { type = "array", elements = { type = "string" } })
define("router_paths", { type = "array", elements = { type = "string" } })
define("headers", { type = "map", keys = typedefs.header_name, values = { type = "array", elements = { type = "string" } } })
define("tags", { type = "set", elements = { type = "string" } })
define("collectionless", { type = "string" })
-- Where a plugin may stand is the chain's matter here.
for name in ("no_api no_route no_service no_consumer no_consumer_group consumer_group_scope"):gmatch("%S+") do
  define(name, { type = "foreign", eq = host.null })
end

return setmetatable(typedefs, {
  __index = function(_, name)
    if type(name) ~= "string" then return nil end
    error("kong.db.schema.typedefs." .. name .. " is not there in Moongate; docs/kong.md says what is", 2)
  end,
})
