-- ngx_var.lua - ngx.var: variables of nginx that have a counterpart here. Others are nil; setting them is an error.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local ffi = require "ffi"
local C = ffi.C
local type, error, tonumber, tostring, setmetatable = type, error, tonumber, tostring, setmetatable
local sub, lower, format = string.sub, string.lower, string.format
local here = host.here

local get = {}
function get.request_uri(x) return x.request.target end
function get.uri(x) return x.request.path end
get.document_uri = get.uri
function get.args(x)
  local q = x.request.raw_query
  return q ~= "" and q or nil
end
get.query_string = get.args
function get.is_args(x) return x.request.raw_query ~= "" and "?" or "" end
function get.request_method(x) return x.request.method end
function get.scheme(x) return x.request.scheme end
function get.https(x) return x.request.scheme == "https" and "on" or "" end
function get.host(x) return x.request.host end
get.server_name = get.host
function get.server_port(x) return tostring(x.request.port) end
function get.server_addr() return "127.0.0.1" end
function get.server_protocol(x) return "HTTP/" .. (x.request.version or "1.1") end
function get.request(x) return x.request.method .. " " .. x.request.target .. " HTTP/" .. (x.request.version or "1.1") end
function get.remote_addr(x) return x.client.ip end
get.realip_remote_addr = function(x) return x.client.peer_ip end
function get.remote_port(x) return tostring(x.client.port) end
get.realip_remote_port = get.remote_port
function get.binary_remote_addr(x)
  local room = ffi.new("uint8_t[16]")
  if C.mg_client_addr(x, room) < 0 then return nil end
  local bytes = ffi.string(room, 16)
  if sub(bytes, 1, 12) == ("\0"):rep(10) .. "\255\255" then return sub(bytes, 13) end
  return bytes
end
function get.request_id(x) return x.id end
get.connection = function(x) return tostring(x.client.port) end
get.connection_requests = function() return "1" end
function get.content_type(x) return x.request.headers["content-type"] end
function get.content_length(x) return x.request.headers["content-length"] end
function get.remote_user(x)
  local b = (x.request.headers.authorization or ""):match("^[Bb]asic%s+(.+)$")
  local plain = b and require("moongate.crypto").unbase64(b)
  return plain and plain:match("^[^:]*")
end
function get.request_length(x) return tostring(x:count("bytes_in")) end
function get.bytes_sent(x) return tostring(x:count("bytes_out")) end
function get.body_bytes_sent(x) return tostring(x:count("body_out")) end
local function seconds(us) return us and format("%.3f", us / 1e6) or nil end
function get.request_time(x) return seconds(x:span_us("total")) end
function get.upstream_response_time(x) return seconds(x:span_us("upstream")) end
function get.upstream_connect_time(x) return seconds(x:span_us("connect")) end
function get.upstream_header_time(x) return seconds(x:span_us("first_byte")) end
function get.upstream_addr(x) return x.upstream.target end
function get.upstream_host(x) return x.request.headers.host or x.request.host end
function get.upstream_uri(x) return x.request.path end
function get.upstream_scheme(x) return (x.upstream.name or ""):match("^(https?)://") or "http" end
function get.upstream_status(x) return x.response.source == "upstream" and tostring(x.response.status) or nil end
function get.status(x) return x.response.status and tostring(x.response.status) end
function get.ssl_protocol(x) return x.client.tls and x.client.tls.version end
function get.ssl_cipher(x) return x.client.tls and x.client.tls.cipher end
function get.ssl_server_name(x) return x.client.tls and x.client.tls.sni end
function get.http_host(x) return x.request.headers.host end
function get.hostname() return require("moongate.kong.pdk").kong.node.get_hostname() end
function get.pid() return tostring(require("moongate.kong.ngx_task").pid()) end
function get.msec() return format("%.3f", tonumber(C.mg_now_ms()) / 1000) end
function get.time_local() return os.date("%d/%b/%Y:%H:%M:%S %z", math.floor(tonumber(C.mg_now_ms()) / 1000)) end
function get.time_iso8601() return os.date("!%Y-%m-%dT%H:%M:%S+00:00", math.floor(tonumber(C.mg_now_ms()) / 1000)) end
function get.request_body(x) return (x.request:body { raw = true, over = "skip" }) end

local set = {}
function set.args(x, v) x.request.raw_query = v or "" end
function set.upstream_uri(x, v)
  local path, query = v:match("^([^?]*)%??(.*)$")
  local s = state.here()
  if not s.path then s.path = x.request.path end
  x.request.path = path
  if query ~= "" then x.request.raw_query = query end
end
function set.upstream_host(x, v) x.request.headers.host = v end
-- Nginx adds these to what the upstream gets.
function set.upstream_x_forwarded_prefix(x, v) x.request.headers["x-forwarded-prefix"] = v end
function set.upstream_x_forwarded_path(x, v) x.request.headers["x-forwarded-path"] = v end
function set.request_method(x, v) x.request.method = v end

local prefixes = {
  http_ = function(x, name) return x.request.headers:join((name:gsub("_", "-"))) end,
  sent_http_ = function(x, name) return x.response.headers:join((name:gsub("_", "-"))) end,
  upstream_http_ = function(x, name)
    if x.response.source ~= "upstream" then return nil end
    return x.response.headers:join((name:gsub("_", "-")))
  end,
  arg_ = function(x, name)
    for _, key, value in x.request.query:each() do
      if lower(key) == name then return text.escape(value) end
    end
  end,
  cookie_ = function(x, name) return x.request.cookies[name] end,
}
local order = { "upstream_http_", "sent_http_", "http_", "arg_", "cookie_" }

return setmetatable({}, {
  __index = function(_, name)
    if type(name) ~= "string" then return nil end
    local s = state.there()
    if s and s.vars and s.vars[name] ~= nil then return s.vars[name] end
    local fn = get[name]
    if fn then return fn(here()) end
    for i = 1, #order do
      local prefix = order[i]
      if sub(name, 1, #prefix) == prefix then
        local rest = sub(name, #prefix + 1)
        return prefixes[prefix](here(), prefix == "cookie_" and rest or lower(rest))
      end
    end
    return nil
  end,
  __newindex = function(_, name, value)
    local fn = set[name]
    if fn then return fn(here(), value) end
    if get[name] then error("variable \"" .. name .. "\" not changeable", 2) end
    error("variable \"" .. tostring(name) .. "\" not found for writing; docs/kong.md says which there are", 2)
  end,
})
