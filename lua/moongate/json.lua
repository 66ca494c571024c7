-- json.lua - mg.json: JSON text to Lua values and back, losing nothing.
--
-- Objects and arrays become tables; arrays (also empty ones) remember that they are arrays. null is mg.json.null, so that
-- a member that is null differs from one that is absent. A number that a Lua number cannot hold (an integer beyond 2^53, 1e400)
-- becomes an mg.json number object: it keeps its digits, encodes as they were, and tostring() gives them.

local host = require "moongate.host"
local ffi = require "ffi"

local C, str = ffi.C, ffi.string
local type, error, tostring, tonumber, setmetatable, getmetatable, pairs = type, error, tostring, tonumber, setmetatable, getmetatable, pairs
local concat, sort, floor, format, find = table.concat, table.sort, math.floor, string.format, string.find

local json = {}

json.null = setmetatable({}, { __tostring = function() return "null" end })

local array_mt = { __name = "json array" }
local number_mt = { __name = "json number" }
number_mt.__tostring = function(n) return n.digits end
number_mt.__eq = function(a, b) return a.digits == b.digits end

-- Mark a table as an array, so that it stays one when empty.
function json.array(t) return setmetatable(t or {}, array_mt) end
function json.is_array(t) return getmetatable(t) == array_mt end
-- A number by its digits.
function json.number(digits)
  digits = tostring(digits)
  if not find(digits, "^%-?%d+%.?%d*[eE]?[+-]?%d*$") then error("json.number: not a number: " .. digits, 2) end
  return setmetatable({ digits = digits }, number_mt)
end

-- ---- decoding -----------------------------------------------------------------------------------

local out = ffi.new("struct mg_str")
local count = ffi.new("size_t[1]")
local message = ffi.new("char[256]")
local null = json.null

local function text_of(doc, i)
  if C.mg_json_text(doc, i, out) < 0 then error("json: out of memory", 0) end
  return str(out.p, out.n)
end

local function number_of(digits)
  local n = tonumber(digits)
  if n and n > -9007199254740992 and n < 9007199254740992 then return n end
  if n and n ~= 1 / 0 and n ~= -1 / 0 and find(digits, "[.eE]") then return n end
  return setmetatable({ digits = digits }, number_mt)
end

-- Value of node i.
local function value_of(doc, nodes, i)
  local node = nodes[i]
  local kind = node.kind
  if kind == 4 then return text_of(doc, i) end
  if kind == 3 then return number_of(text_of(doc, i)) end
  if kind == 2 then return true end
  if kind == 1 then return false end
  if kind == 0 then return null end
  local past, at, t = node.next, i + 1, {}
  if kind == 5 then
    local n = 0
    while at < past do
      n = n + 1
      t[n] = value_of(doc, nodes, at)
      at = nodes[at].next
    end
    return setmetatable(t, array_mt)
  end
  while at < past do
    local key = nodes[at].key
    if key < 0 then
      at = nodes[at].next -- a key's own node stands before its value
    else
      t[text_of(doc, key)] = value_of(doc, nodes, at)
      at = nodes[at].next
    end
  end
  return t
end

-- The value, or nil and what is wrong ("line 3, column 7: …"). Of members with the same name the last counts.
function json.decode(text)
  if type(text) ~= "string" then error("json.decode: text expected, not a " .. type(text), 2) end
  local doc = C.mg_json_parse(text, #text, message, 256)
  if doc == nil then return nil, str(message) end
  doc = ffi.gc(doc, C.mg_json_free)
  local value = value_of(doc, C.mg_json_nodes(doc, count), 0)
  C.mg_json_free(ffi.gc(doc, nil))
  return value
end

-- A document that somebody else owns, as a value of the caller's own.
function json.value(doc) return value_of(doc, C.mg_json_nodes(doc, count), 0) end

-- ---- encoding -----------------------------------------------------------------------------------

local DEPTH_MAX = 128

local function quote(s)
  if not find(s, "[%c\"\\\127-\255]") then return '"' .. s .. '"' end
  if C.mg_json_quote(s, #s, out) < 0 then error("json.encode: out of memory", 0) end
  return str(out.p, out.n)
end
json.quote = quote

local function number_text(n)
  if n ~= n or n == 1 / 0 or n == -1 / 0 then error("json.encode: JSON has no " .. tostring(n), 0) end
  if n == floor(n) and n > -1e15 and n < 1e15 then return format("%d", n) end
  local text = format("%.15g", n)
  if tonumber(text) == n then return text end
  return format("%.17g", n)
end

local put

local function put_array(parts, t, depth)
  local n = #t
  parts[#parts + 1] = "["
  for i = 1, n do
    if i > 1 then parts[#parts + 1] = "," end
    put(parts, t[i], depth + 1)
  end
  parts[#parts + 1] = "]"
end

-- Members in the order of their names: the same value always gives the same text.
local function put_object(parts, t, depth)
  local keys, n = {}, 0
  for k in pairs(t) do
    if type(k) ~= "string" then error("json.encode: a table is a list or has names, not both (key " .. tostring(k) .. ")", 0) end
    n = n + 1
    keys[n] = k
  end
  if n > 1 then sort(keys) end
  parts[#parts + 1] = "{"
  for i = 1, n do
    parts[#parts + 1] = (i > 1 and "," or "") .. quote(keys[i]) .. ":"
    put(parts, t[keys[i]], depth + 1)
  end
  parts[#parts + 1] = "}"
end

local function is_list(t)
  local n, items = #t, 0
  if n == 0 then return false end
  for k in pairs(t) do
    if type(k) ~= "number" then return false end
    items = items + 1
  end
  if items ~= n then error("json.encode: a list with holes", 0) end
  return true
end

put = function(parts, v, depth)
  local kind = type(v)
  if kind == "string" then
    parts[#parts + 1] = quote(v)
  elseif kind == "number" then
    parts[#parts + 1] = number_text(v)
  elseif kind == "boolean" then
    parts[#parts + 1] = v and "true" or "false"
  elseif v == null or v == nil then
    parts[#parts + 1] = "null"
  elseif kind == "table" then
    if depth > DEPTH_MAX then error("json.encode: nests too deep, or a table holds itself", 0) end
    local mt = getmetatable(v)
    if mt == number_mt then
      parts[#parts + 1] = v.digits
    elseif mt == array_mt or is_list(v) then
      put_array(parts, v, depth)
    else
      put_object(parts, v, depth)
    end
  elseif kind == "cdata" and (ffi.istype("int64_t", v) or ffi.istype("uint64_t", v)) then
    parts[#parts + 1] = (tostring(v):gsub("U?LL$", ""))
  else
    error("json.encode: a " .. kind .. " is no JSON value", 0)
  end
end

function json.encode(v)
  if type(v) == "string" then return quote(v) end
  local parts = {}
  put(parts, v, 0)
  return concat(parts)
end

host.json = json
return json
