-- service.lua - kong.service: what goes to the upstream, and what came from it.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local answer = require "moongate.kong.answer"
local text = require "moongate.kong.text"
local cjson = require "moongate.kong.cjson"
local type, error, tostring, pcall = type, error, tostring, pcall
local pairs, lower, sub = host.pairs, string.lower, string.sub
local here = host.here
local framing = answer.framing

-- ---- kong.service -------------------------------------------------------------------------------------

local service = {}

-- An upstream that the config names.
function service.set_upstream(name)
  if type(name) ~= "string" then error("host must be a string", 2) end
  local ok = pcall(function() here().upstream = name end)
  if ok then return true end
  return nil, "could not find an Upstream named '" .. name .. "'"
end

-- The config says where requests may go: there is to be an upstream named "HOST:PORT" or "HOST".
function service.set_target(name, port)
  if type(name) ~= "string" then error("host must be a string", 2) end
  if type(port) ~= "number" then error("port must be an integer", 2) end
  if service.set_upstream(name .. ":" .. port) or service.set_upstream(name) then return true end
  error("kong.service.set_target: the config has no upstream named \"" .. name .. ":" .. port .. "\" or \"" .. name .. "\" (docs/kong.md)", 2)
end

state.absent_all(service, "kong.service.", "set_retries set_target_retry_callback set_timeouts set_tls_cert_key set_tls_verify set_tls_verify_depth set_tls_verify_store")

-- ---- kong.service.request -----------------------------------------------------------------------------

local to = {}
service.request = to

function to.set_scheme(scheme)
  if scheme ~= "http" and scheme ~= "https" then error("invalid scheme: " .. tostring(scheme), 2) end
  if scheme == "http" or scheme == "https" then
    error("kong.service.request.set_scheme: the config says how an upstream is reached (docs/kong.md)", 2)
  end
end

-- kong.request.get_path keeps what the client asked for.
local function keep_path(x)
  local s = state.here()
  if not s.path then s.path = x.request.path end
end

function to.set_path(path)
  if type(path) ~= "string" then error("path must be a string", 2) end
  if sub(path, 1, 1) ~= "/" then error("path must start with /", 2) end
  local x = here()
  keep_path(x)
  x.request.path = path
end
function to.set_raw_query(query)
  if type(query) ~= "string" then error("query must be a string", 2) end
  here().request.raw_query = query
end
function to.set_method(method)
  if type(method) ~= "string" then error("method must be a string", 2) end
  here().request.method = method
end
function to.set_query(args)
  if type(args) ~= "table" then error("args must be a table", 2) end
  here().request.raw_query = text.encode_args(args)
end
function to.clear_query_arg(name)
  if type(name) ~= "string" then error("query argument name must be a string", 2) end
  local args = text.decode_args(here().request.raw_query or "", 0)
  if args[name] == nil then return end
  args[name] = nil
  here().request.raw_query = text.encode_args(args)
end

local function value_text(v, level)
  local kind = type(v)
  if kind == "string" then return v end
  if kind == "number" or kind == "boolean" then return tostring(v) end
  error("invalid header value: got " .. kind .. ", expected string, number or boolean", level or 3)
end

local function name_of(name)
  if type(name) ~= "string" then error("header must be a string", 3) end
  return lower(name)
end

function to.set_header(name, value)
  name = name_of(name)
  if framing[name] then return end
  local h = here().request.headers
  if type(value) == "table" then
    h:remove(name)
    for i = 1, #value do h:add(name, value_text(value[i])) end
    return
  end
  h:set(name, value_text(value))
end
function to.add_header(name, value)
  name = name_of(name)
  if framing[name] then return end
  local h = here().request.headers
  if type(value) == "table" then
    for i = 1, #value do h:add(name, value_text(value[i])) end
    return
  end
  h:add(name, value_text(value))
end
function to.clear_header(name)
  name = name_of(name)
  if not framing[name] then here().request.headers:remove(name) end
end
function to.set_headers(headers)
  if type(headers) ~= "table" then error("headers must be a table", 2) end
  for name, value in pairs(headers) do to.set_header(name, value) end
end

function to.set_raw_body(body)
  if type(body) ~= "string" then error("body must be a string", 2) end
  here().request:set_raw_body(body)
end

-- A table as what the content type says.
function to.set_body(args, mimetype)
  if type(args) ~= "table" then error("args must be a table", 2) end
  local x = here()
  local kind = mimetype or x.request.headers["content-type"]
  if not kind then return nil, "content type was neither explicitly given as an argument or received as a header" end
  local plain = lower(kind):match("^%s*([^;%s]*)")
  local body
  if plain == "application/x-www-form-urlencoded" then
    body, kind = text.encode_args(args), plain
  elseif plain == "application/json" then
    local why
    body, why = cjson.safe.encode(args)
    if not body then return nil, why end
    kind = "application/json"
  elseif plain == "multipart/form-data" then
    local boundary = kind:match("boundary=([^;%s]+)") or tostring(math.random()):sub(3) .. "9a8f3c"
    body, kind = text.encode_multipart(args, boundary), "multipart/form-data; boundary=" .. boundary
  else
    error("unsupported content type " .. plain, 2)
  end
  x.request:set_raw_body(body)
  x.request.headers:set("content-type", kind)
  return true
end

-- The whole response will be there in header_filter.
function to.enable_buffering() state.here().buffering = true end
state.absent_all(to, "kong.service.request.", "disable_tls get_body get_headers")

-- ---- kong.service.response ----------------------------------------------------------------------------

local from = {}
service.response = from

-- What the upstream sent, as the plugins that ran before left it; nil when there is no answer of it.
local function upstream_response()
  local x = here()
  if x.response.source == "upstream" then return x.response end
  return nil
end

function from.get_status()
  local r = upstream_response()
  return r and r.status
end
function from.get_header(name)
  if type(name) ~= "string" then error("header name must be a string", 2) end
  local r = upstream_response()
  return r and r.headers:get((name:gsub("_", "-")))
end
function from.get_headers(max)
  local r = upstream_response()
  return r and text.fields(r.headers, max or 100) or {}
end
function from.get_raw_body()
  local body, why = here().response:body { raw = true, over = "skip" }
  return body or "", why
end
function from.get_body(mimetype, max_args)
  local kind = mimetype or from.get_header("content-type")
  if not kind then return nil, "missing content type" end
  local plain = lower(kind):match("^%s*([^;%s]*)")
  local body = from.get_raw_body()
  if plain == "application/json" then
    local v = cjson.safe.decode(body)
    if v == nil then return nil, "invalid json body", plain end
    return v, nil, plain
  elseif plain == "application/x-www-form-urlencoded" then
    return text.decode_args(body, max_args), nil, plain
  elseif plain == "multipart/form-data" then
    local v, why = text.decode_multipart(body, kind)
    return v, why, plain
  end
  return nil, "unsupported content type '" .. plain .. "'", plain
end

return service
