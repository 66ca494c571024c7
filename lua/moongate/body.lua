-- body.lua - bodies whole, in files, as JSON, and made bit by bit. For exchange.lua.

local host = require "moongate.host"
local json = require "moongate.json"
local ffi = require "ffi"

local C, cast, str, typeof = ffi.C, ffi.cast, ffi.string, ffi.typeof
local type, error, tonumber, tostring, setmetatable = type, error, tonumber, tostring, setmetatable
local x_t, now, fail, message = host.x_t, host.now, host.fail, host.message
local out = ffi.new("struct mg_str")
local ENDED, NOENT = tonumber(C.MG_EENDED), tonumber(C.MG_ENOENT)
local text, check -- exchange.lua's

local over_words = { refuse = 0, skip = 1 }
local EPHASE, EINVAL, ESYNTAX = tonumber(C.MG_EPHASE), tonumber(C.MG_EINVAL), tonumber(C.MG_ESYNTAX)
local problem = ffi.new("char[256]")

local function reason(rc, what)
  if rc == ENDED or rc == EPHASE or rc == EINVAL then return fail(rc, what) end
  if rc == NOENT then return nil, "a content-encoding that is not known" end
  if rc == ESYNTAX then return nil, "not what its content-encoding says" end
  return nil, message(rc)
end

-- limit, over; or a table with them by name, and `raw` for the bytes as they came.
local function options(limit, over)
  if type(limit) == "table" then return limit.limit or 0, limit.over, limit.raw, limit.malformed == "pass" end
  return limit or 0, over, false, false
end

-- Have it gathered: true, or nil and why not.
local function gather(x, side, limit, over, raw, passes)
  local rc = raw and C.mg_body_get(x, side, out) or C.mg_body_plain(x, side, out)
  if rc >= 0 then return true end
  local how = over_words[over or "refuse"]
  if not how then error("body: \"refuse\" or \"skip\" expected, not \"" .. tostring(over) .. "\"", 4) end
  host.must_wait("body()")
  rc = raw and C.mg_body_read(x, side, limit, how) or C.mg_body_read_plain(x, side, limit, passes and how + 4 or how)
  if rc == 0 then rc = host.wait(0) end
  if rc < 0 then return reason(rc, "body()") end
  return true
end

-- A gathered body, in memory or in a file.
local kept_index = {}
local kept_mt = { __index = kept_index, __tostring = function() return "moongate: a gathered body" end }

local function next_part(k, at)
  local op = C.mg_body_part(k.x, k.side, at)
  if op < 0 then return fail(op, "pieces") end
  local n = host.wait(op)
  if n < 0 then error("pieces: the body's file cannot be read (" .. tonumber(n) .. ")", 0) end
  if n == 0 then return nil end
  C.mg_body_part_get(k.x, k.side, out)
  return at + n, str(out.p, out.n)
end
-- for at, piece in body:pieces() do … end
function kept_index.pieces(k) return next_part, k, 0 end
-- All of it; nil, "too big" when it lies in a file.
function kept_index.text(k)
  local rc = C.mg_body_get(k.x, k.side, out)
  if rc < 0 then return nil, message(rc) end
  return (str(out.p, out.n))
end
function kept_index.length(k) return tonumber(C.mg_body_length(k.x, k.side)) end
function kept_index.in_file(k) return C.mg_body_in_file(k.x, k.side) == 1 end

local function spilled_body(x, side, limit)
  host.must_wait("body()")
  local rc = C.mg_body_read(x, side, limit, 3)
  if rc == 0 then rc = host.wait(0) end
  if rc < 0 then return reason(rc, "body()") end
  return setmetatable({ x = x, side = side }, kept_mt)
end

local function whole_body(v, side, limit, over)
  if type(limit) == "table" and limit.spill then return spilled_body(cast(x_t, v), side, limit.limit or 0) end
  local x, raw, passes = cast(x_t, v), nil, nil
  limit, over, raw, passes = options(limit, over)
  local ok, err = gather(x, side, limit, over, raw, passes)
  if not ok then return nil, err end
  local rc = raw and C.mg_body_get(x, side, out) or C.mg_body_plain(x, side, out)
  if rc < 0 then return reason(rc, "body()") end
  return (str(out.p, out.n))
end

-- The chain shares one document; each caller gets a value of its own, so that a change stays the caller's.
local function json_body(v, side, limit, over)
  local x, _, passes = cast(x_t, v), nil, nil
  limit, over, _, passes = options(limit, over)
  local ok, err = gather(x, side, limit, over, false, passes)
  if not ok then return nil, err end
  local doc = C.mg_body_json(x, side, problem, 256)
  if doc == nil then return nil, str(problem) end
  return json.value(doc)
end

-- Pieces as they arrive, for the walker; where an entry before has gathered the body (or this one only observes): where it lies.
local EBUSY = tonumber(C.MG_EBUSY)

local function next_piece(w)
  local op = C.mg_body_next(w.x, w.side)
  if op < 0 then return fail(op, "pieces") end
  local n = host.wait(op)
  if n < 0 then error("pieces: the sender broke off", 0) end
  if n == 0 then return nil end
  C.mg_body_next_get(w.x, w.side, out)
  return (str(out.p, out.n))
end

local function next_lying(w)
  local at, piece = next_part(w.body, w.at)
  w.at = at
  return piece
end

local walker_mt = { __call = function(w) return w.next(w) end, __tostring = function() return "moongate: a body's pieces" end }

local function pieces(v, side)
  local x = cast(x_t, v)
  host.must_wait("pieces()")
  local rc = C.mg_body_pull(x, side)
  if rc == EBUSY then
    local body, err = spilled_body(x, side, 0)
    if not body then error("pieces: " .. err, 0) end
    return setmetatable({ next = next_lying, body = body, at = 0 }, walker_mt)
  end
  if rc < 0 then return fail(rc, "pieces") end
  return setmetatable({ next = next_piece, x = x, side = side }, walker_mt)
end

local EBUSY_WORDS = "gathered, made or decoded already, or only observed"

-- true: its pieces are plain text from here on; false: they are anyway; nil and why not.
local function decode_body(v, side, limit)
  if type(limit) == "table" then limit = limit.limit end
  local rc = C.mg_body_decode(cast(x_t, v), side, limit or 0)
  if rc >= 0 then return rc == 1 end
  if rc == EBUSY then return nil, EBUSY_WORDS end
  return reason(rc, "decode()")
end

local function encode_body(v, side, codings)
  codings = text(codings, "encode")
  local rc = C.mg_body_encode(cast(x_t, v), side, codings, #codings)
  if rc == NOENT then error("encode: none of \"" .. codings .. "\" is known; gzip, deflate, br and zstd are", 3) end
  if rc < 0 then return fail(rc, "encode") end
  return rc == 1
end

local function set_body(v, side, body)
  if type(body) == "table" then body = json.encode(body) end
  body = text(body, "set_body")
  check(C.mg_body_set_plain(cast(x_t, v), side, body, #body), "set_body")
end

-- Functions that make a body bit by bit, by handle and operation, until the body is wanted.
local streams = {}
local uintptr = typeof("uintptr_t")
local out_index = {}
local out_mt = { __index = out_index, __tostring = function() return "moongate: a body in the making" end }

-- Give bytes to the receiver; waits while it is slower. The bytes are on their way when the function waits or ends.
function out_index.write(o, bytes)
  bytes = text(bytes, "write")
  local rc = C.mg_body_write(o.x, o.side, bytes, #bytes)
  if rc < 0 then return fail(rc, "write") end
  if rc == 1 then
    local op = C.mg_body_room(o.x, o.side)
    if op < 0 then return fail(op, "write") end
    host.wait(op)
  end
end

local function stream_body(v, side, fn, what)
  if type(fn) ~= "function" then error(what .. ": a function expected, not a " .. type(fn), 3) end
  local x = cast(x_t, v)
  local op = C.mg_body_stream(x, side)
  if op < 0 then return fail(op, what) end
  local handle = tonumber(cast(uintptr, x))
  local mine = streams[handle]
  if not mine then
    mine = {}
    streams[handle] = mine
    now.has_beside = 1
  end
  mine[op] = { fn = fn, out = setmetatable({ x = x, side = side }, out_mt) }
end

-- Called by the host, in a coroutine of its own.
function host.run_stream(handle, op)
  local mine = streams[handle]
  local s = mine and mine[op]
  if not s then error("a body in the making whose function is gone", 0) end
  mine[op] = nil
  s.fn(s.out)
  check(C.mg_body_finish(s.out.x, s.out.side, 0), "stream")
end

-- The bytes as they go out; content-encoding is the caller's to set.
local function set_raw_body(v, side, body)
  body = text(body, "set_raw_body")
  check(C.mg_body_set(cast(x_t, v), side, body, #body), "set_raw_body")
end

local function forget(handle) streams[handle] = nil end

return function(text_of_value, checker)
  text, check = text_of_value, checker
  return { whole = whole_body, json = json_body, set = set_body, set_raw = set_raw_body, stream = stream_body, forget = forget,
           pieces = pieces, decode = decode_body, encode = encode_body }
end
