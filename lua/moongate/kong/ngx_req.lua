-- ngx_req.lua - ngx.req: the request, as it goes to the upstream.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local ffi = require "ffi"
local C = ffi.C
local type, error, tonumber, tostring = type, error, tonumber, tostring
local pairs = host.pairs
local here = host.here

return function(method_codes)
  local to = require("moongate.kong.service").request
  local request = require "moongate.kong.request"
  local req = {}
  local names = {}
  for name, code in pairs(method_codes) do names[code] = name end

  function req.get_method() return here().request.method end
  function req.set_method(code)
    local name = names[code]
    if not name then error("unsupported HTTP method: " .. tostring(code), 2) end
    here().request.method = name
  end
  function req.http_version() return tonumber(here().request.version) end
  function req.is_internal() return false end
  function req.start_time() return tonumber(C.mg_x_start_us(here())) / 1e6 end

  function req.get_headers(max) return text.fields(here().request.headers, max or 100) end
  function req.set_header(name, value)
    if value == nil then return to.clear_header(name) end
    return to.set_header(name, value)
  end
  req.add_header = to.add_header
  function req.clear_header(name) return to.clear_header(name) end
  function req.raw_header(without_line)
    local x = here()
    local out = {}
    if not without_line then out[1] = x.request.method .. " " .. x.request.target .. " HTTP/" .. x.request.version .. "\r\n" end
    for _, name, value in x.request.headers:each() do out[#out + 1] = name .. ": " .. value .. "\r\n" end
    return table.concat(out) .. "\r\n"
  end

  function req.get_uri_args(max) return text.decode_args(here().request.raw_query or "", max) end
  req.get_query_args = req.get_uri_args
  function req.set_uri_args(args)
    here().request.raw_query = type(args) == "table" and text.encode_args(args) or tostring(args)
  end
  function req.set_uri(uri, jump)
    if jump then error("ngx.req.set_uri: jump is not there in Moongate (docs/kong.md)", 2) end
    to.set_path(uri)
  end

  -- The body, whole, within limits.buffered_body: what is larger is refused with 413.
  function req.read_body()
    here().request:body { raw = true }
  end
  function req.get_body_data()
    local out = ffi.new("struct mg_str")
    if C.mg_body_get(here(), 0, out) < 0 or out.n == 0 then return nil end
    return ffi.string(out.p, out.n)
  end
  function req.get_body_file() return nil end
  function req.discard_body() end
  function req.set_body_data(body) here().request:set_raw_body(body) end
  function req.get_post_args(max)
    local body = req.get_body_data() or request.get_raw_body()
    if not body then return nil, "no request body" end
    return text.decode_args(body, max)
  end
  return state.absent_all(req, "ngx.req.", "socket set_body_file init_body append_body finish_body")
end
