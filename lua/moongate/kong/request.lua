-- request.lua - kong.request: what the client asks.

local host = require "moongate.host"
local text = require "moongate.kong.text"
local cjson = require "moongate.kong.cjson"
local ffi = require "ffi"
local C = ffi.C
local type, error, tonumber = type, error, tonumber
local lower = string.lower
local here = host.here

local request = {}

function request.get_scheme() return here().request.scheme end
function request.get_host() return here().request.host end
function request.get_port() return here().request.port end

-- The address by which the client reached the first trusted proxy, where one says so: core has read those fields already.
request.get_forwarded_scheme, request.get_forwarded_host, request.get_forwarded_port = request.get_scheme, request.get_host, request.get_port

function request.get_http_version() return tonumber(here().request.version) end
function request.get_method() return here().request.method end

local function target(x)
  local t = x.request.target
  local rest = t:match("^%a[%w+.-]*://[^/?]*(.*)$")
  if rest then t = rest == "" and "/" or rest end
  return t
end

-- Of the request as it came; the upstream's is kong.service.request's.
function request.get_raw_path() return target(here()):match("^[^?]*") end
-- What the path was before any plugin changed it: routes match it in its normal form.
function request.get_path()
  local x = here()
  local s = require("moongate.kong.state").there()
  return s and s.path or x.request.path
end
request.get_forwarded_path = request.get_path
function request.get_forwarded_prefix() return here().request.headers["x-forwarded-prefix"] end
function request.get_raw_query() return here().request.raw_query or "" end
function request.get_path_with_query()
  local q = request.get_raw_query()
  return q ~= "" and request.get_path() .. "?" .. q or request.get_path()
end

local function limited(n, what)
  if n == nil then return 100 end
  if type(n) ~= "number" or n < 1 or n > 1000 then error("bad argument to '" .. what .. "': a number from 1 to 1000 expected", 3) end
  return n
end

function request.get_query(max) return text.decode_args(request.get_raw_query(), limited(max, "get_query")) end
function request.get_query_arg(name)
  if type(name) ~= "string" then error("query argument name must be a string", 2) end
  local v = text.decode_args(request.get_raw_query(), 0)[name]
  if type(v) == "table" then return v[1] end
  return v
end

function request.get_header(name)
  if type(name) ~= "string" then error("header name must be a string", 2) end
  return here().request.headers:get(name)
end
function request.get_headers(max) return text.fields(here().request.headers, limited(max, "get_headers")) end

-- The bytes as they came, within the route's limits.buffered_body.
function request.get_raw_body()
  local body, why = here().request:body { raw = true, over = "skip" }
  if body then return body end
  return nil, why == "too big" and "request body did not fit into the buffer (limits.buffered_body)" or why
end

-- The body as a table, nil when it is none; why; its kind.
function request.get_body(mimetype, max_args)
  local kind = mimetype or here().request.headers["content-type"]
  if not kind then return nil, "missing content type" end
  local plain = lower(kind):match("^%s*([^;%s]*)")
  if plain == "application/x-www-form-urlencoded" then
    local body, why = request.get_raw_body()
    if not body then return nil, why, plain end
    local args, truncated = text.decode_args(body, max_args)
    return args, truncated, plain
  end
  if plain == "application/json" or plain:find("^application/[%w.-]+%+json$") then
    local body, why = request.get_raw_body()
    if not body then return nil, why, plain end
    local json = cjson.safe.decode(body)
    if type(json) ~= "table" then return nil, "invalid json body", plain end
    return json, nil, "application/json"
  end
  if plain == "multipart/form-data" then
    local body, why = request.get_raw_body()
    if not body then return nil, why, plain end
    local form
    form, why = text.decode_multipart(body, here().request.headers["content-type"] or kind)
    return form, why, plain
  end
  return nil, "unsupported content type '" .. plain .. "'", plain
end

-- Milliseconds since 1970.
function request.get_start_time() return tonumber(C.mg_x_start_us(here())) / 1000 end

-- The {params} of the matched path; `unnamed` has what the wildcard took.
function request.get_uri_captures()
  local x = here()
  local params = x.request.params
  local named, unnamed = {}, {}
  for name in (x.route and x.route.path or ""):gmatch("{([^}:]+)") do named[name] = params[name] end
  local rest = params["*"]
  if rest then unnamed[1] = rest end
  unnamed[0] = request.get_path()
  return { named = named, unnamed = unnamed }
end

return request
