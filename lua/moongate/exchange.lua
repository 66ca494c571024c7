-- exchange.lua - `x`: one request and its response, as handlers see them.
--
-- A handle is a number that the core checks, so x and its parts (x.request, x.request.headers, x.ctx…) are
-- one value under several opaque types, and cost nothing to make in compiled code. Nothing here makes a
-- closure or takes varargs where it is hot; results come through `out`, made once. Values are returned in parentheses: LuaJIT counts
-- tail calls as turns of a loop, and gives a trace up after 15.

local host = require "moongate.host"
local json = require "moongate.json"
local ffi = require "ffi"

ffi.cdef [[
struct mg_x_request; struct mg_x_response;
struct mg_x_request_headers; struct mg_x_response_headers; struct mg_x_request_trailers; struct mg_x_response_trailers;
struct mg_x_query; struct mg_x_params; struct mg_x_cookies;
struct mg_x_client; struct mg_x_tls; struct mg_x_route; struct mg_x_upstream;
struct mg_x_consumer; struct mg_x_groups; struct mg_x_metadata; struct mg_x_ctx;
]]

local C, cast, str, typeof = ffi.C, ffi.cast, ffi.string, ffi.typeof
local type, error, tonumber, tostring, pairs, loadstring = type, error, tonumber, tostring, pairs, loadstring
local x_t, now, fail, message = host.x_t, host.now, host.fail, host.message
local out, out2 = ffi.new("struct mg_str"), ffi.new("struct mg_str")
local datum = ffi.new("struct mg_datum")

local RESPOND = host.RESPOND
local ENDED, NOENT, TOOBIG = tonumber(C.MG_EENDED), tonumber(C.MG_ENOENT), tonumber(C.MG_ETOOBIG)

host.chunks[#host.chunks + 1] = debug.getinfo(1, "f").func
local function chunk(source)
  local f = loadstring(source, "=moongate/exchange.lua")
  host.chunks[#host.chunks + 1] = f
  return f
end

-- ---- building types ---------------------------------------------------------------------------

local function no_field(what, k) error(what .. " has no field '" .. tostring(k) .. "'", 3) end

-- Text from `out`, or nil: absent is nothing, use after the end is an error.
local function text_of(rc, what)
  if rc >= 0 then return (str(out.p, out.n)) end
  if rc == ENDED then return fail(rc, what) end
  return nil
end

local function check(rc, what)
  if rc < 0 then return fail(rc, what) end
end

-- Text from what a script gives as a value.
local function text(v, what)
  if type(v) == "string" then return v end
  if type(v) == "number" then return tostring(v) end
  if type(v) == "boolean" then return v and "true" or "false" end
  return error(what .. ": text or a number expected, not a " .. type(v), 3)
end

-- Each type has functions with prototypes of their own, so that the compiler sees constants.
local index_source = [[
local get, methods, what, no_field = ...
return function(v, k)
  local g = get[k]
  if g then return (g(v)) end
  local m = methods[k]
  if m then return m end
  return no_field(what, k)
end]]
local newindex_source = [[
local set, what, no_field = ...
return function(v, k, value)
  local s = set[k]
  if s then s(v, value) return end
  no_field(what .. " (to set)", k)
end]]

host.described = {} -- for editors' annotations and for specs

local function define(ctype, what, get, set, methods)
  host.described[what] = { get = get, set = set or {}, methods = methods or {} }
  ffi.metatype(ctype, {
    __index = chunk(index_source)(get, methods or {}, what, no_field),
    __newindex = chunk(newindex_source)(set or {}, what, no_field),
    __tostring = function() return "moongate: " .. what end,
  })
end

-- A getter from C function `name`(x, out), and one that gives a part of x.
local getter_source = [[
local C, cast, x_t, out, text_of, str, what = ...
return function(v)
  local rc = C.%s(cast(x_t, v), out)
  if rc >= 0 then return (str(out.p, out.n)) end
  return (text_of(rc, what))
end]]
local part_source = "local cast, t = ... return function(v) return (cast(t, v)) end"

local function getter(name, what)
  return chunk(getter_source:format(name))(C, cast, x_t, out, text_of, str, what)
end
local function part(ctype)
  return chunk(part_source)(cast, typeof(ctype .. " *"))
end

-- ---- header fields ----------------------------------------------------------------------------

local headers_source = [[
local C, cast, str, x_t, out, out2, side, what, lib, ENDED = ...
local type, fail, text = type, lib.fail, lib.text
local methods = {}

local function get(h, name)
  local rc = C.mg_header_get(cast(x_t, h), side, name, #name, out)
  if rc >= 0 then return (str(out.p, out.n)) end
  if rc == ENDED then return fail(rc, what) end
  return nil
end

local function remove(h, name)
  local rc = C.mg_header_remove(cast(x_t, h), side, name, #name)
  if rc < 0 then return fail(rc, what .. "." .. name) end
  return rc
end

local function add(h, name, value)
  if type(value) ~= "string" then value = text(value, what .. "." .. name) end
  local rc = C.mg_header_add(cast(x_t, h), side, name, #name, value, #value)
  if rc < 0 then return fail(rc, what .. "." .. name) end
end

local function set_many(h, name, values)
  remove(h, name)
  for i = 1, #values do add(h, name, values[i]) end
end

local function set(h, name, value)
  if type(value) == "string" then
    local rc = C.mg_header_set(cast(x_t, h), side, name, #name, value, #value)
    if rc < 0 then return fail(rc, what .. "." .. name) end
  elseif value == nil then
    remove(h, name)
  elseif type(value) == "table" then
    set_many(h, name, value)
  else
    return set(h, name, text(value, what .. "." .. name))
  end
end

local function next_field(h, i)
  if C.mg_header_at(cast(x_t, h), side, i, out, out2) < 0 then return nil end
  return i + 1, str(out.p, out.n), str(out2.p, out2.n)
end

-- for i, name, value in x.request.headers:each() do … end
function methods.each(h) return next_field, h, 0 end
-- All values of a name in one text, ", " between.
function methods.join(h, name)
  if C.mg_header_join(cast(x_t, h), side, name, #name, out) < 0 then return nil end
  return (str(out.p, out.n))
end
methods.get, methods.set, methods.add, methods.remove = get, set, add, remove

return function(h, name)
  local m = methods[name]
  if m then return m end
  local rc = C.mg_header_get(cast(x_t, h), side, name, #name, out)
  if rc >= 0 then return (str(out.p, out.n)) end
  if rc == ENDED then return fail(rc, what) end
  return nil
end, set]]

local lib = { fail = fail, text = text }

local function define_headers(ctype, side, what)
  local index, newindex =
    chunk(headers_source)(C, cast, str, x_t, out, out2, side, what, lib, ENDED)
  ffi.metatype(ctype, { __index = index, __newindex = newindex, __tostring = function() return "moongate: " .. what end })
end

define_headers("struct mg_x_request_headers", 0, "x.request.headers")
define_headers("struct mg_x_response_headers", 1, "x.response.headers")
define_headers("struct mg_x_request_trailers", 2, "x.request.trailers")
define_headers("struct mg_x_response_trailers", 3, "x.response.trailers")

-- ---- query, params, cookies -------------------------------------------------------------------

local query = {}

function query.get(q, name)
  local rc = C.mg_query_get(cast(x_t, q), name, #name, out)
  if rc >= 0 then return (str(out.p, out.n)) end
  return (text_of(rc, "x.request.query"))
end
function query.remove(q, name)
  local rc = C.mg_query_remove(cast(x_t, q), name, #name)
  check(rc, "x.request.query")
  return rc
end
function query.add(q, name, value)
  value = text(value, "x.request.query")
  check(C.mg_query_add(cast(x_t, q), name, #name, value, #value), "x.request.query")
end
function query.set(q, name, value)
  if value == nil then return query.remove(q, name) end
  if type(value) == "table" then
    query.remove(q, name)
    for i = 1, #value do query.add(q, name, value[i]) end
    return
  end
  value = text(value, "x.request.query")
  check(C.mg_query_set(cast(x_t, q), name, #name, value, #value), "x.request.query")
end

local function next_argument(q, i)
  if C.mg_query_at(cast(x_t, q), i, out, out2) < 0 then return nil end
  return i + 1, str(out.p, out.n), str(out2.p, out2.n)
end
function query.each(q) return next_argument, q, 0 end

ffi.metatype("struct mg_x_query", {
  __index = function(q, name)
    local m = query[name]
    if m then return m end
    return (query.get(q, name))
  end,
  __newindex = query.set,
})

ffi.metatype("struct mg_x_params", {
  __index = function(p, name)
    if type(name) ~= "string" then return nil end
    return (text_of(C.mg_request_param(cast(x_t, p), name, #name, out), "x.request.params"))
  end,
})

ffi.metatype("struct mg_x_cookies", {
  __index = function(c, name)
    return (text_of(C.mg_request_cookie(cast(x_t, c), name, #name, out), "x.request.cookies"))
  end,
})

-- ---- bodies -------------------------------------------------------------------------------------

local bodies = require "moongate.body" (text, check)
local whole_body, json_body, set_body = bodies.whole, bodies.json, bodies.set
local set_raw_body, stream_body = bodies.set_raw, bodies.stream

-- ---- request ------------------------------------------------------------------------------------

local versions = { [10] = "1.0", [11] = "1.1", [20] = "2" }

local request_get = {
  method = getter("mg_request_method", "x.request.method"),
  scheme = getter("mg_request_scheme", "x.request.scheme"),
  host = getter("mg_request_host", "x.request.host"),
  path = getter("mg_request_path", "x.request.path"),
  raw_query = getter("mg_request_query", "x.request.raw_query"),
  target = getter("mg_request_target", "x.request.target"),
  headers = part("struct mg_x_request_headers"),
  trailers = part("struct mg_x_request_trailers"),
  query = part("struct mg_x_query"),
  params = part("struct mg_x_params"),
  cookies = part("struct mg_x_cookies"),
}
function request_get.port(r) return C.mg_request_port(cast(x_t, r)) end
function request_get.version(r) return versions[C.mg_request_version(cast(x_t, r))] end
function request_get.body_length(r)
  local n = tonumber(C.mg_body_length(cast(x_t, r), 0))
  if n < 0 then return nil end
  return n
end

local request_set = {}
function request_set.method(r, v) check(C.mg_request_set_method(cast(x_t, r), v, #v), "x.request.method") end
function request_set.path(r, v) check(C.mg_request_set_path(cast(x_t, r), v, #v), "x.request.path") end
function request_set.raw_query(r, v) check(C.mg_request_set_query(cast(x_t, r), v, #v), "x.request.raw_query") end

local request = {}
function request.body(r, limit, over) return whole_body(r, 0, limit, over) end
function request.json(r, limit, over) return json_body(r, 0, limit, over) end
function request.set_body(r, body) return set_body(r, 0, body) end
function request.stream(r, fn) return stream_body(r, 0, fn, "x.request:stream") end
function request.pieces(r) return bodies.pieces(r, 0) end
function request.decode(r, limit) return bodies.decode(r, 0, limit) end
function request.encode(r, codings) return bodies.encode(r, 0, codings) end
function request.set_raw_body(r, body) return set_raw_body(r, 0, body) end
function request.resize_body(r) check(C.mg_body_resize(cast(x_t, r), 0), "resize_body") end

define("struct mg_x_request", "x.request", request_get, request_set, request)

-- ---- response -----------------------------------------------------------------------------------

local sources = { [0] = nil, "upstream", "plugin", "gateway" }

local response_get = {
  headers = part("struct mg_x_response_headers"),
  trailers = part("struct mg_x_response_trailers"),
}
-- nil before there is a response.
function response_get.status(r)
  local status = C.mg_response_status(cast(x_t, r))
  if status > 0 then return status end
  if status == ENDED then return fail(status, "x.response.status") end
  return nil
end
function response_get.source(r) return sources[C.mg_response_source(cast(x_t, r))] end
function response_get.body_length(r)
  local n = tonumber(C.mg_body_length(cast(x_t, r), 1))
  if n < 0 then return nil end
  return n
end

local response_set = {}
function response_set.status(r, v) check(C.mg_response_set_status(cast(x_t, r), v), "x.response.status") end

local response = {}
function response.body(r, limit, over) return whole_body(r, 1, limit, over) end
function response.json(r, limit, over) return json_body(r, 1, limit, over) end
function response.set_body(r, body) return set_body(r, 1, body) end
function response.stream(r, fn) return stream_body(r, 1, fn, "x.response:stream") end
function response.pieces(r) return bodies.pieces(r, 1) end
function response.decode(r, limit) return bodies.decode(r, 1, limit) end
function response.encode(r, codings) return bodies.encode(r, 1, codings) end
function response.set_raw_body(r, body) return set_raw_body(r, 1, body) end
function response.resize_body(r) check(C.mg_body_resize(cast(x_t, r), 1), "resize_body") end

define("struct mg_x_response", "x.response", response_get, response_set, response)

-- ---- client, route, upstream --------------------------------------------------------------------

local client_get = {
  ip = getter("mg_client_ip", "x.client.ip"),
  peer_ip = getter("mg_client_peer_ip", "x.client.peer_ip"),
}
local tls_part = part("struct mg_x_tls")
function client_get.peer_is_trusted(c) return C.mg_client_peer_is_trusted(cast(x_t, c)) == 1 end
function client_get.port(c) return C.mg_client_port(cast(x_t, c)) end
-- nil on a plain connection.
function client_get.tls(c)
  if C.mg_client_tls_version(cast(x_t, c), out) < 0 or out.n == 0 then return nil end
  return (tls_part(c))
end
define("struct mg_x_client", "x.client", client_get)
define("struct mg_x_tls", "x.client.tls", {
  version = getter("mg_client_tls_version", "x.client.tls.version"),
  cipher = getter("mg_client_tls_cipher", "x.client.tls.cipher"),
  sni = getter("mg_client_sni", "x.client.tls.sni"),
})
define("struct mg_x_route", "x.route", {
  id = getter("mg_route_id", "x.route.id"),
  path = getter("mg_route_path", "x.route.path"),
})
define("struct mg_x_upstream", "x.upstream", {
  name = getter("mg_upstream_name", "x.upstream.name"),
  target = getter("mg_upstream_target", "x.upstream.target"),
})

-- ---- consumer -----------------------------------------------------------------------------------

local consumer_get = {
  name = getter("mg_consumer_name", "x.consumer.name"),
  credential_id = getter("mg_consumer_credential_id", "x.consumer.credential_id"),
  metadata = part("struct mg_x_metadata"),
}
-- A list, made at each call; in_group is the cheap question.
function consumer_get.groups(c)
  local list, i = {}, 0
  while C.mg_consumer_group_at(cast(x_t, c), i, out) >= 0 do
    i = i + 1
    list[i] = str(out.p, out.n)
  end
  return list
end
local consumer = {}
function consumer.in_group(c, group) return C.mg_consumer_in_group(cast(x_t, c), group, #group) == 1 end
define("struct mg_x_consumer", "x.consumer", consumer_get, nil, consumer)
ffi.metatype("struct mg_x_metadata", {
  __index = function(m, name)
    return (text_of(C.mg_consumer_meta(cast(x_t, m), name, #name, out), "x.consumer.metadata"))
  end,
})

-- ---- ctx ----------------------------------------------------------------------------------------

-- Values that C can hold live in C. What only Lua can hold (tables, functions, cdata) lives here, by
-- handle and name, until the host says that the exchange has ended.
local beside, beside_n = {}, 0

function host.forget(handle)
  bodies.forget(handle)
  if beside[handle] then
    beside[handle] = nil
    beside_n = beside_n - 1
  end
end

local uintptr_t = typeof("uintptr_t")
local function handle_of(c) return tonumber(cast(uintptr_t, cast(x_t, c))) end

-- What an entry that only observes has set is under a name that nobody else asks for.
local gone = {}
local function own(name) return now.observes .. "\0" .. name end

local function beside_get(c, name)
  local mine = beside[handle_of(c)]
  if not mine then return nil end
  if now.observes ~= 0 then
    local value = mine[own(name)]
    if value ~= nil then
      if value == gone then return nil end
      return value
    end
  end
  return mine[name]
end

local function beside_set(c, name, value)
  local handle = handle_of(c)
  local mine = beside[handle]
  if not mine then
    if value == nil then return end
    mine = {}
    beside[handle] = mine
    beside_n = beside_n + 1
    now.has_beside = 1
  end
  if now.observes ~= 0 then
    name = own(name)
    if value == nil then value = gone end
  end
  mine[name] = value
end

ffi.metatype("struct mg_x_ctx", {
  __index = function(c, name)
    local rc = C.mg_ctx_get(cast(x_t, c), name, #name, datum)
    if rc < 0 then return fail(rc, "x.ctx") end
    local kind = datum.kind
    if kind == 3 then return (str(datum.text.p, datum.text.n)) end
    if kind == 2 then return datum.number end
    if kind == 1 then return datum.number ~= 0 end
    if beside_n > 0 and now.confined == 0 then return (beside_get(c, name)) end
    return nil
  end,
  __newindex = function(c, name, value)
    local rc
    if type(value) == "string" then
      rc = C.mg_ctx_set_text(cast(x_t, c), name, #name, value, #value)
    elseif type(value) == "number" then
      rc = C.mg_ctx_set_number(cast(x_t, c), name, #name, value)
    elseif type(value) == "boolean" then
      rc = C.mg_ctx_set_boolean(cast(x_t, c), name, #name, value and 1 or 0)
    else
      if now.confined ~= 0 and value ~= nil then
        return error("x.ctx." .. name .. ": a sandboxed script keeps text, numbers and booleans there", 2)
      end
      rc = C.mg_ctx_set_nil(cast(x_t, c), name, #name)
      if rc >= 0 then beside_set(c, name, value) end
      if rc < 0 then return fail(rc, "x.ctx") end
      return
    end
    if rc < 0 then return fail(rc, "x.ctx." .. name) end
    if beside_n > 0 then beside_set(c, name, nil) end
  end,
})

-- ---- x ------------------------------------------------------------------------------------------

local consumer_part, route_part = part("struct mg_x_consumer"), part("struct mg_x_route")

local x_get = {
  request = part("struct mg_x_request"),
  response = part("struct mg_x_response"),
  client = part("struct mg_x_client"),
  upstream = part("struct mg_x_upstream"),
  ctx = part("struct mg_x_ctx"),
  id = getter("mg_x_id", "x.id"),
  failure = getter("mg_x_failure", "x.failure"),
}
local log = require "moongate.log"
local shared_log = host.proxy and host.proxy(log) or log
function x_get.log()
  if now.confined ~= 0 then return shared_log end
  return log
end
function x_get.route(x)
  if C.mg_route_id(x, out) < 0 then return nil end
  return (route_part(x))
end
-- nil when nobody was recognised.
function x_get.consumer(x)
  if C.mg_consumer_name(x, out) < 0 then return nil end
  return (consumer_part(x))
end
-- The piece in hand, in on_request_body and on_response_body.
function x_get.piece(x)
  check(C.mg_piece_get(x, out), "x.piece")
  return (str(out.p, out.n))
end
function x_get.is_last(x)
  local rc = C.mg_piece_last(x)
  check(rc, "x.is_last")
  return rc == 1
end
function x_get.started_us(x) return tonumber(C.mg_x_start_us(x)) end
local phases = { [0] = "on_rewrite", "on_request", "on_request_body", "on_response", "on_response_body", "on_log" }
function x_get.phase(x) return phases[C.mg_x_phase(x)] end

local x_set = {}
function x_set.id(x, v) check(C.mg_x_set_id(x, v, #v), "x.id") end
function x_set.piece(x, v) check(C.mg_piece_set(x, v, #v), "x.piece") end
function x_set.upstream(x, v) check(C.mg_upstream_set(x, v, #v), "x.upstream = \"" .. tostring(v) .. "\"") end
function x_set.consumer(x, v) check(C.mg_consumer_set(x, v, #v), "x.consumer = \"" .. tostring(v) .. "\"") end

local methods = {}
local response_headers = x_get.response

local function set_fields(x, headers)
  local h = response_get.headers(response_headers(x))
  for name, value in pairs(headers) do h[name] = value end
end

-- Record an answer; return what this returns. A table is sent as JSON.
function methods.respond(x, status, body, headers)
  local kind, stream
  if type(body) == "function" then
    body, stream = "", body
  elseif type(body) == "table" then
    body, kind = json.encode(body), "application/json"
  elseif body == nil then
    body = ""
  else
    body, kind = text(body, "x:respond"), "text/plain; charset=utf-8"
    if body == "" then kind = nil end
  end
  local rc = C.mg_respond(x, status, body, #body)
  if rc < 0 then return fail(rc, "x:respond") end
  if stream then stream_body(x, 1, stream, "x:respond") end
  if kind then check(C.mg_header_set(x, 1, "content-type", 12, kind, #kind), "x:respond") end
  if headers then set_fields(x, headers) end
  return RESPOND
end

-- The gateway's own error body: problem details, or the shape that the config sets.
function methods.error(x, status, detail, headers)
  detail = detail == nil and "" or text(detail, "x:error")
  local rc = C.mg_respond_error(x, status, detail, #detail)
  if rc < 0 then return fail(rc, "x:error") end
  if headers then set_fields(x, headers) end
  return RESPOND
end

-- A variable, as in templates; nil when it has no value now.
function methods.var(x, name)
  local rc = C.mg_var(x, name, #name, out)
  if rc >= 0 then return (str(out.p, out.n)) end
  if rc == NOENT then return nil end
  return fail(rc, "x:var(\"" .. tostring(name) .. "\")")
end

-- A credential's number, or nil.
function methods.find_credential(x, kind, key)
  local n = C.mg_credential_find(x, kind, #kind, key, #key)
  if n >= 0 then return n end
  if n == NOENT then return nil end
  return fail(n, "x:find_credential")
end
function methods.credential_field(x, credential, field)
  return (text_of(C.mg_credential_get(x, credential, field, #field, out), "x:credential_field"))
end
-- Its id, and the name of the consumer that it belongs to.
function methods.credential_id(x, credential) return (text_of(C.mg_credential_id(x, credential, out), "x:credential_id")) end
function methods.credential_consumer(x, credential)
  return (text_of(C.mg_credential_consumer(x, credential, out), "x:credential_consumer"))
end
-- Is there a consumer of that name? With `meta`: that piece of its metadata. nil when not.
function methods.find_consumer(x, name, meta)
  meta = meta or ""
  return (text_of(C.mg_consumer_find(x, name, #name, meta, #meta, out), "x:find_consumer"))
end
-- This exchange belongs to that credential's consumer from now on.
function methods.authenticate(x, credential) check(C.mg_consumer_set_credential(x, credential), "x:authenticate") end

-- What was noted under that name when this exchange was recorded: a number (1 and 0 for true and false); nil: find out, then x:note(what, value).
-- For what a plugin decides from a secret, or remembers of earlier requests (docs/record.md).
local recalled = ffi.new "int64_t[1]"
function methods.recall(x, what)
  local rc = C.mg_recall(x, what, #what, recalled)
  if rc == NOENT then return nil end
  if rc < 0 then return fail(rc, "x:recall") end
  return tonumber(recalled[0])
end
function methods.note(x, what, value)
  if value == true then value = 1 elseif not value then value = 0 end
  check(C.mg_note(x, what, #what, value), "x:note")
end

local spans = { total = 0, upstream = 1, connect = 2, first_byte = 3, gateway = 4 }
local counts = { bytes_in = 0, bytes_out = 1, body_in = 2, body_out = 3, upstream_in = 4, upstream_out = 5, tries = 6 }
-- Microseconds; nil when that has not begun.
function methods.span_us(x, which)
  local us = tonumber(C.mg_x_span_us(x, spans[which] or no_field("x:span_us", which)))
  if us < 0 then return nil end
  return us
end
function methods.count(x, which) return tonumber(C.mg_x_count(x, counts[which] or no_field("x:count", which))) end

-- for i, name, value in x:each_ctx(): what C holds of ctx.
local function next_ctx(x, i)
  if C.mg_ctx_at(x, i, out) < 0 then return nil end
  local name = str(out.p, out.n)
  return i + 1, name, x.ctx[name]
end
function methods.each_ctx(x) return next_ctx, x, 0 end

define("struct mg_x", "x", x_get, x_set, methods)

return { text = text, too_big = message(TOOBIG) }
