-- klog.lua - kong.log: levels, inspect, and the table that log plugins write.

local host = require "moongate.host"
local log = require "moongate.log"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local ffi = require "ffi"
local C = ffi.C
local type, tostring, select, setmetatable, ipairs, error, tonumber = type, tostring, select, setmetatable, ipairs, error, tonumber
local pairs, concat, sort = host.pairs, table.concat, table.sort
local here = host.here

local klog = {}

local function joined(...)
  local n = select("#", ...)
  if n == 1 then return tostring((...)) end
  local parts = { ... }
  for i = 1, n do parts[i] = tostring(parts[i]) end
  return concat(parts, "", 1, n)
end
klog.joined = joined

-- Nginx has more levels than we do.
local levels = { debug = "debug", info = "info", notice = "info", warn = "warn", err = "error", crit = "error", alert = "error", emerg = "error" }

local function value_text(v, depth, seen)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) ~= "table" then return tostring(v) end
  if seen[v] or depth > 8 then return "{…}" end
  seen[v] = true
  local names, parts = {}, {}
  for k in pairs(v) do names[#names + 1] = k end
  sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(names) do parts[#parts + 1] = tostring(k) .. " = " .. value_text(v[k], depth + 1, seen) end
  seen[v] = nil
  return "{ " .. concat(parts, ", ") .. " }"
end

local function make(prefix)
  local one = {}
  for name, ours in pairs(levels) do
    local put, enabled = log[ours], log.enabled
    one[name] = function(...)
      if not enabled(ours) then return end
      put(prefix .. joined(...))
    end
  end
  local silent = false
  local inspect = setmetatable({
    on = function() silent = false end,
    off = function() silent = true end,
  }, {
    __call = function(_, ...)
      if silent or not log.enabled("debug") then return end
      local parts = {}
      for i = 1, select("#", ...) do parts[i] = value_text((select(i, ...)), 0, {}) end
      log.debug(prefix .. concat(parts, " "))
    end,
  })
  one.inspect = inspect
  function one.new(namespace) return make("[" .. tostring(namespace) .. "] ") end
  function one.set_format() end
  function one.deprecation(message) log.warn(prefix .. tostring(message)) end
  return setmetatable(one, { __call = function(_, ...) return one.notice(...) end })
end

klog.log = make("")

-- ---- serialize ----------------------------------------------------------------------------------------

-- mode: "set" (default), "add" (when absent), "replace" (when present). Names with dots go into tables.
function klog.log.set_serialize_value(name, value, options)
  if type(name) ~= "string" then error("key must be a string", 2) end
  local mode = options and options.mode or "set"
  if mode ~= "set" and mode ~= "add" and mode ~= "replace" then error("mode must be 'set', 'add' or 'replace'", 2) end
  local s = state.here()
  s.serialize = s.serialize or {}
  s.serialize[#s.serialize + 1] = { name, value, mode }
end

local function set_values(t, list)
  for _, change in ipairs(list or {}) do
    local into, last = t, nil
    for part in change[1]:gmatch("[^.]+") do
      if last then
        if type(into[last]) ~= "table" then
          if change[3] == "replace" then into = nil break end
          into[last] = {}
        end
        into = into[last]
      end
      last = part
    end
    if into and last and (change[3] == "set" or (change[3] == "add") == (into[last] == nil)) then into[last] = change[2] end
  end
end

local function milliseconds(us) return us and us / 1000 or -1 end

local masked = { authorization = true, ["proxy-authorization"] = true }

-- What Kong's own log plugins write of an exchange.
function klog.log.serialize()
  local x = here()
  local request, response = x.request, x.response
  local headers = text.fields(request.headers, 0)
  setmetatable(headers, nil)
  for name in pairs(masked) do
    if headers[name] then headers[name] = "REDACTED" end
  end
  local response_headers = response.status and text.fields(response.headers, 0) or {}
  setmetatable(response_headers, nil)
  local uri, query = request.target, request.raw_query or ""
  local kong = require("moongate.kong.pdk").kong
  local t = {
    request = {
      id = x.id, uri = uri, method = request.method, headers = headers, size = x:count("bytes_in"),
      url = request.scheme .. "://" .. (request.host or "") .. ":" .. request.port .. (uri:match("^[^?]*") or ""), querystring = text.decode_args(query, 0),
      tls = x.client.tls and { version = x.client.tls.version, cipher = x.client.tls.cipher } or nil,
    },
    response = { status = response.status, headers = response_headers, size = x:count("bytes_out") },
    upstream_uri = request.path .. (query ~= "" and "?" .. query or ""),
    upstream_status = response.source == "upstream" and tostring(response.status) or nil,
    tries = x.upstream.target and { { ip = x.upstream.target:match("^(.*):%d+$"), port = tonumber(x.upstream.target:match(":(%d+)$")) } } or {},
    latencies = {
      request = milliseconds(x:span_us("total")), kong = milliseconds(x:span_us("gateway")), proxy = milliseconds(x:span_us("upstream")),
    },
    client_ip = x.client.ip, started_at = tonumber(C.mg_x_start_us(x)) / 1000,
    route = kong.router.get_route(), service = kong.router.get_service(),
    consumer = kong.client.get_consumer(), source = "upstream",
  }
  t.source = response.source == "upstream" and "upstream" or "kong"
  local credential = kong.client.get_credential()
  if credential then t.authenticated_entity = { id = credential.id } end
  local s = state.there()
  set_values(t, s and s.serialize)
  return t
end

return klog
