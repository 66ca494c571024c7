-- resty_http.lua - resty.http over mg.http: connections are the gateway's own, so that connect and set_keepalive only remember.

local host = require "moongate.host"
local mg_http = require "moongate.http"
local text = require "moongate.kong.text"
local answer = require "moongate.kong.answer"
local state = require "moongate.kong.state"
local pairs = host.pairs
local type, tostring, tonumber, setmetatable, rawget, error, ipairs = type, tostring, tonumber, setmetatable, rawget, error, ipairs
local lower, concat = string.lower, table.concat

local client = { _VERSION = "0.17.2", _USER_AGENT = "moongate" }
client.__index = client

function client.new() return setmetatable({}, client) end

function client:set_timeout(ms)
  self.connect_ms, self.send_ms, self.read_ms = ms, ms, ms
  return true
end
function client:set_timeouts(connect, send, read)
  self.connect_ms, self.send_ms, self.read_ms = connect, send, read
  return true
end

-- ---- the answer -------------------------------------------------------------------------------------------

local fields_mt = {
  __index = function(t, name)
    local want = lower(tostring(name)):gsub("_", "-")
    for k, v in pairs(t) do
      if type(k) == "string" and lower(k) == want then return v end
    end
  end,
}
local function fields(headers)
  local t = {}
  for _, name, value in headers:each() do
    local old = rawget(t, name)
    if old == nil then t[name] = value
    elseif type(old) == "table" then old[#old + 1] = value
    else t[name] = { old, value } end
  end
  return setmetatable(t, fields_mt)
end

local reasons = { [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content", [301] = "Moved Permanently", [302] = "Found", [304] = "Not Modified",
                  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [429] = "Too Many Requests",
                  [500] = "Internal Server Error", [502] = "Bad Gateway", [503] = "Service Unavailable", [504] = "Gateway Timeout" }

-- What lua-resty-http calls these.
local words = { timeout = "timeout", connect_refused = "connection refused", closed = "closed" }

local function made(r)
  local res = { status = r.status, reason = reasons[r.status] or "", headers = fields(r.headers), has_body = r.body ~= nil and r.body ~= "", body = r.body }
  local body = r.body or ""
  function res.read_body() return body end
  function res.read_trailers() return r.trailers and fields(r.trailers) or {} end
  local at = 1
  function res.body_reader(max)
    if at > #body then return nil end
    local piece = body:sub(at, max and at + max - 1 or -1)
    at = at + #piece
    return piece
  end
  return res
end

-- ---- sending ----------------------------------------------------------------------------------------------

local function body_of(body)
  if type(body) == "function" then
    local parts = {}
    for part in body do parts[#parts + 1] = part end
    return concat(parts)
  end
  if type(body) == "table" then
    local parts = {}
    for _, part in ipairs(body) do parts[#parts + 1] = tostring(part) end
    return concat(parts)
  end
  return body
end

local function send(self, url, p)
  local headers = {}
  for name, value in pairs(p.headers or {}) do
    if not answer.framing[lower(name)] then headers[name] = type(value) == "table" and value or tostring(value) end
  end
  if p.query then
    local query = type(p.query) == "table" and text.encode_args(p.query) or tostring(p.query):gsub("^%?", "")
    if query ~= "" then url = url .. (url:find("?", 1, true) and "&" or "?") .. query end
  end
  local o = { url = url, method = p.method or "GET", headers = headers, body = body_of(p.body), limit = p.limit or "16m" }
  o.connect_timeout, o.idle_timeout, o.first_byte_timeout = self.connect_ms, self.read_ms, self.read_ms
  if p.ssl_verify ~= nil and url:find("^https:") then o.verify = p.ssl_verify end
  if p.ssl_server_name and url:find("^https:") then o.server_name = p.ssl_server_name end
  local r, why, token = mg_http.request(o)
  if not r then return nil, words[token] or why end
  return made(r)
end

-- One request to a URL, and its answer with the whole body.
function client:request_uri(uri, p)
  p = p or {}
  local url = uri
  if p.path then url = uri:match("^(%a+://[^/?]+)") .. p.path end
  return send(self, url, p)
end

-- connect(host, port[, options]), connect { scheme, host, port, ssl_verify }.
function client:connect(first, port)
  local o = type(first) == "table" and first or { host = first, port = type(port) == "number" and port or nil }
  if not o.host then return nil, "connect: no host" end
  if o.host:find("^unix:") then
    self.base = "http://" .. o.host .. ":"
  else
    local scheme = o.scheme or "http"
    self.base = scheme .. "://" .. (o.host:find(":", 1, true) and "[" .. o.host .. "]" or o.host) .. (o.port and ":" .. o.port or "")
  end
  self.connected = o
  return true
end
function client:ssl_handshake(_, server_name, verify)
  if not self.base then return nil, "not connected" end
  self.base = self.base:gsub("^http:", "https:")
  self.server_name, self.verify = server_name, verify
  return true
end
function client:request(p)
  if not self.base then return nil, "not connected" end
  local q = { ssl_verify = self.connected.ssl_verify, ssl_server_name = self.connected.ssl_server_name or self.server_name }
  if q.ssl_verify == nil then q.ssl_verify = self.verify end
  for k, v in pairs(p) do q[k] = v end
  return send(self, self.base .. (p.path or "/"), q)
end
function client:set_keepalive() return 1 end
function client:close() return 1 end
function client:get_reused_times() return 0 end
function client:set_proxy_options() error("resty.http: set_proxy_options is not there in Moongate; docs/kong.md says what is", 2) end
function client:parse_uri(uri)
  local scheme, name, port, path = uri:match("^(%a+)://([^:/?]+):?(%d*)(.*)$")
  if not scheme then return nil, "bad uri: " .. tostring(uri) end
  local query = path:match("%?(.*)$") or ""
  path = path:match("^[^?]*")
  return { scheme, name, tonumber(port) or (scheme == "https" and 443 or 80), path == "" and "/" or path, query }
end
function client:get_client_body_reader()
  local body = require("moongate.kong.request").get_raw_body()
  return function()
    local piece = body
    body = nil
    return piece
  end
end
state.absent_all(client, "resty.http:", "request_pipeline proxy_request proxy_response tcp_only_connect connect_proxy")

return client
