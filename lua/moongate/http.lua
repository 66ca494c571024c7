-- http.lua - `mg.http`: HTTP requests to others, over the gateway's own connections.
--
--     local r, err = mg.http.request { url = "https://auth.example.com/check", method = "POST",
--                                      headers = { authorization = token }, body = { path = x.request.path }, timeout = "2s" }
--     if not r then return x:error(503, err) end
--     if r.status ~= 200 then … end
--
-- Every function here waits, so other exchanges go on meanwhile. What fails gives nil, a message that begins with a token
-- ("timeout: no answer in time") and the token alone. Misuse is an error.

local host = require "moongate.host"
local json = require "moongate.json"
local ffi = require "ffi"

local C, str, new = ffi.C, ffi.string, ffi.new
local type, error, pcall, pairs, tostring, tonumber, setmetatable =
  type, error, pcall, pairs, tostring, tonumber, setmetatable
local rawget, concat, lower = rawget, table.concat, string.lower
local out, out2 = new("struct mg_str"), new("struct mg_str")

local BUSY, CLOSED = tonumber(C.MG_EBUSY), tonumber(C.MG_ECLOSED)
local RESPONSE, TRAILERS = 1, 3

-- ---- options ------------------------------------------------------------------------------------

local durations = { ms = 1, s = 1000, m = 60000, h = 3600000 }
local sizes = { [""] = 1, k = 1024, m = 1024 * 1024, g = 1024 * 1024 * 1024 }

local function bad(name, expected, v)
  error("mg.http: " .. name .. ": " .. expected .. " expected, not " .. (type(v) == "string" and '"' .. v .. '"' or tostring(v)), 0)
end

local function scaled(v, units)
  if type(v) == "number" and v >= 0 then return v end
  if type(v) ~= "string" then return nil end
  local n, unit = v:match("^(%d+)(%a*)$")
  return n and units[unit] and tonumber(n) * units[unit]
end

local function duration(v, name) return scaled(v, durations) or bad(name, 'milliseconds or "250ms", "2s"', v) end
local function size(v, name) return scaled(v, sizes) or bad(name, 'bytes or "64k", "1m"', v) end
local function count(v, name) return type(v) == "number" and v or bad(name, "a number", v) end
local function truth(v, name)
  if type(v) ~= "boolean" then return bad(name, "true or false", v) end
  return v and 1 or 0
end

-- What mg_http_set takes, by our names.
local numbers = {
  connect_timeout = { C.MG_HTTP_CONNECT_MS, duration },
  first_byte_timeout = { C.MG_HTTP_FIRST_BYTE_MS, duration },
  idle_timeout = { C.MG_HTTP_IDLE_MS, duration },
  timeout = { C.MG_HTTP_TOTAL_MS, duration },
  limit = { C.MG_HTTP_LIMIT, size },
  redirects = { C.MG_HTTP_REDIRECTS, count },
  verify = { C.MG_HTTP_VERIFY, truth },
  length = { C.MG_HTTP_LENGTH, count },
}
local texts = { ca = C.MG_HTTP_CA, server_name = C.MG_HTTP_SERVER_NAME, cert = C.MG_HTTP_CERT, key = C.MG_HTTP_KEY }
local files = { ca = true, cert = true, key = true }
local others = { url = true, upstream = true, path = true, query = true, method = true, headers = true, body = true, stream = true }

local function check(rc, what)
  if rc < 0 then error("mg.http: " .. what .. ": " .. host.message(rc), 0) end
  return rc
end

local function set_options(x, req, o)
  for name, v in pairs(o) do
    local number, text = numbers[name], texts[name]
    if number then
      check(C.mg_http_set(x, req, number[1], number[2](v, name)), name)
    elseif text then
      if type(v) ~= "string" then bad(name, "text", v) end
      if host.now.confined ~= 0 and files[name] then error("mg.http: " .. name .. ": a sandboxed script names no files", 0) end
      check(C.mg_http_set_text(x, req, text, v, #v), name)
    elseif not others[name] then
      error("mg.http: there is no option '" .. tostring(name) .. "'", 0)
    end
  end
end

local function text(v, what)
  if type(v) == "string" then return v end
  if type(v) == "number" then return tostring(v) end
  return bad(what, "text", v)
end

local function add_header(x, req, name, v)
  v = text(v, "headers." .. tostring(name))
  check(C.mg_http_header(x, req, name, #name, v, #v), "headers." .. name)
end

local function set_headers(x, req, headers)
  local has_type = false
  for name, v in pairs(headers) do
    if lower(name) == "content-type" then has_type = true end
    if type(v) == "table" then
      for i = 1, #v do add_header(x, req, name, v[i]) end
    else
      add_header(x, req, name, v)
    end
  end
  return has_type
end

local function encode(v)
  v = text(v, "query")
  check(C.mg_url_encode(v, #v, out), "query")
  return str(out.p, out.n)
end

-- The target with `query` (text, or a table) behind it.
local function with_query(target, query)
  if query == nil then return target end
  if type(query) == "table" then
    local parts = {}
    for name, v in pairs(query) do
      if type(v) ~= "table" then v = { v } end
      for i = 1, #v do parts[#parts + 1] = encode(name) .. "=" .. encode(v[i]) end
    end
    table.sort(parts)
    query = concat(parts, "&")
  end
  query = text(query, "query")
  if query == "" then return target end
  local fragment = target:find("#", 1, true)
  if fragment then target = target:sub(1, fragment - 1) end
  return target .. (target:find("?", 1, true) and "&" or "?") .. query
end

-- ---- the answer ---------------------------------------------------------------------------------

-- Fields of an answer: names in lower case with their first values, whatever the case that is asked for.
local lists = setmetatable({}, { __mode = "k" })
local field_methods = {}

-- All values of a name in one text, ", " between.
function field_methods.join(t, name)
  local values, list = {}, lists[t]
  for i = 1, #list do
    if lower(list[i][1]) == lower(name) then values[#values + 1] = list[i][2] end
  end
  return values[1] and concat(values, ", ")
end
-- for i, name, value in r.headers:each() do … end
local function next_field(list, i)
  local f = list[i + 1]
  if f then return i + 1, f[1], f[2] end
end
function field_methods.each(t) return next_field, lists[t], 0 end
function field_methods.get(t, name) return rawget(t, lower(name)) end

local fields_mt = {
  __index = function(t, k)
    if field_methods[k] then return field_methods[k] end
    return type(k) == "string" and rawget(t, lower(k)) or nil
  end,
}

local function fields(x, req, side)
  local t, list, i = {}, {}, 0
  while C.mg_http_field_at(x, req, side, i, out, out2) >= 0 do
    local name, value = str(out.p, out.n), str(out2.p, out2.n)
    local key = lower(name)
    if not t[key] then t[key] = value end
    i = i + 1
    list[i] = { name, value }
  end
  lists[t] = list
  return setmetatable(t, fields_mt)
end

-- nil, "token: words", "token"
local function failure(x, req, rc)
  if C.mg_http_error(x, req, out, out2) >= 0 then
    local token, words = str(out.p, out.n), str(out2.p, out2.n)
    return nil, words ~= "" and token .. ": " .. words or token, token
  end
  return nil, host.message(rc), nil
end

local response = {}
local response_mt = { __index = response, __metatable = false }

function response.json(r)
  if r.body == nil then error("mg.http: r:json() needs the whole body; r:read() reads pieces", 2) end
  return json.decode(r.body)
end

-- The next piece of a streamed body; nil at its end; nil and a message when it was cut.
function response.read(r)
  if not r.streams then error("mg.http: r:read() needs stream = true", 2) end
  if r.closed then return nil, "closed", "closed" end
  host.must_wait("r:read()")
  local op = C.mg_http_read(r.x, r.req)
  if op < 0 then return host.fail(op, "r:read()") end
  local n = host.wait(op)
  if n > 0 then
    C.mg_http_body(r.x, r.req, out)
    return str(out.p, out.n)
  end
  if n < 0 then
    local none, err, token = failure(r.x, r.req, n)
    r:close()
    return none, err, token
  end
  r.trailers = fields(r.x, r.req, TRAILERS)
  r:close()
  return nil
end

-- for piece in r:each() do … end; a cut body is an error there.
function response.each(r)
  return function()
    local piece, err = r:read()
    if err then error(err, 2) end
    return piece
  end
end

-- Let go of it; what was not read is not waited for. Harmless when it is over.
function response.close(r)
  if r.closed then return end
  r.closed = true
  C.mg_http_close(r.x, r.req)
end

local function answer(x, req, streams)
  local r = setmetatable({ status = C.mg_http_status(x, req), headers = fields(x, req, RESPONSE) }, response_mt)
  C.mg_http_url(x, req, out)
  r.url = str(out.p, out.n)
  if streams then
    r.x, r.req, r.streams = x, req, true
    return r
  end
  C.mg_http_body(x, req, out)
  r.body = str(out.p, out.n)
  r.trailers = fields(x, req, TRAILERS)
  return r
end

-- ---- sending ------------------------------------------------------------------------------------

-- What a body's function gets: stream:write(piece) waits for room; false when nobody takes it any more.
local stream = {}
local stream_mt = { __index = stream, __metatable = false }

function stream.write(s, piece)
  piece = text(piece, "stream:write")
  host.must_wait("stream:write()")
  local op = C.mg_http_write(s.x, s.req, piece, #piece)
  if op > 0 then op = host.wait(op) end
  if op == CLOSED then return false end
  if op < 0 then return host.fail(op, "stream:write()") end
  return true
end

local function begin(o)
  local x = host.here()
  local method = o.method or (o.body ~= nil and "POST" or "GET")
  if type(method) ~= "string" then bad("method", "text", method) end
  if (o.url == nil) == (o.upstream == nil) then error("mg.http: either url or upstream is needed", 0) end
  local req
  if o.url ~= nil then
    local url = with_query(text(o.url, "url"), o.query)
    req = C.mg_http_new(x, method, #method, url, #url)
  else
    local name, path = text(o.upstream, "upstream"), with_query(o.path or "/", o.query)
    req = C.mg_http_to(x, name, #name, method, #method, path, #path)
  end
  if req == BUSY then error("mg.http: too many requests are open in this exchange", 0) end
  return x, check(req, o.url ~= nil and "url \"" .. tostring(o.url) .. "\"" or "upstream \"" .. tostring(o.upstream) .. "\"")
end

local function set_body(x, req, body, has_type)
  if type(body) == "table" then
    body = json.encode(body)
    if not has_type then add_header(x, req, "content-type", "application/json") end
  end
  body = text(body, "body")
  check(C.mg_http_set_body(x, req, body, #body), "body")
end

local function fill(x, req, o)
  set_options(x, req, o)
  local has_type = o.headers and set_headers(x, req, o.headers)
  if o.body ~= nil and type(o.body) ~= "function" then set_body(x, req, o.body, has_type) end
end

-- The head's op may end while a write is waited for; then it is not waited for again.
local function head_of(x, req, op)
  if C.mg_http_status(x, req) > 0 or C.mg_http_error(x, req, out, out2) >= 0 then
    C.mg_op_cancel(x, op)
    return
  end
  host.wait(op)
end

local function upload(x, req, o)
  local op = check(C.mg_http_start(x, req, 1), "body")
  o.body(setmetatable({ x = x, req = req }, stream_mt))
  C.mg_http_end(x, req)
  head_of(x, req, op)
end

-- All of a streamed answer, for a request whose body alone is streamed.
local function gather(r, limit)
  local pieces, n = {}, 0
  while true do
    local piece, err, token = r:read()
    if err then return nil, err, token end
    if not piece then break end
    n = n + #piece
    if n > limit then
      r:close()
      return nil, "response_too_large: the answer's body is over the limit", "response_too_large"
    end
    pieces[#pieces + 1] = piece
  end
  r.body, r.streams = concat(pieces), nil
  return r
end

local function run(x, req, o)
  fill(x, req, o)
  if type(o.body) == "function" then
    upload(x, req, o)
  else
    local op
    if o.stream then op = C.mg_http_start(x, req, 0) else op = C.mg_http_send(x, req) end
    host.wait(check(op, "request"))
  end
  if C.mg_http_error(x, req, out, out2) >= 0 then return failure(x, req, 0) end
  return answer(x, req, o.stream or type(o.body) == "function")
end

local function finish(x, req, o, r, err, token)
  if not r or not r.streams then C.mg_http_close(x, req) end
  if not r then return nil, err, token end
  if r.streams and not o.stream then return gather(r, size(o.limit or "1m", "limit")) end
  return r
end

local http = {}

-- Send a request and wait for its answer: an object with status, headers, body, url, r:json(). With stream = true the body is
-- read by r:read(), r:each(); close it by r:close() when you stop before its end.
function http.request(o)
  if type(o) ~= "table" then error("mg.http.request: a table expected, not " .. tostring(o), 2) end
  host.must_wait("mg.http.request")
  local ok, x, req = pcall(begin, o)
  if not ok then error(x, 2) end
  local done, r, err, token = pcall(run, x, req, o)
  if not done then
    C.mg_http_close(x, req)
    error(r, type(r) == "string" and r:sub(1, 8) == "mg.http:" and 2 or 0)
  end
  return finish(x, req, o, r, err, token)
end

local function shorthand(method)
  return function(url, o)
    local all = { method = method, url = url }
    if o ~= nil and type(o) ~= "table" then error("mg.http: a table of options expected, not " .. tostring(o), 2) end
    for k, v in pairs(o or {}) do all[k] = v end
    return http.request(all)
  end
end

-- mg.http.get(url, { … }), with the options of mg.http.request.
http.get, http.head, http.delete = shorthand("GET"), shorthand("HEAD"), shorthand("DELETE")
http.post, http.put, http.patch = shorthand("POST"), shorthand("PUT"), shorthand("PATCH")

return http
