-- cjson.lua - cjson and cjson.safe over mg.json: null is ngx.null, numbers are Lua's, {} is an object unless it is marked as an array.

local host = require "moongate.host"
local json = require "moongate.json"
local pairs = host.pairs
local null = host.null
local type, tostring, error, getmetatable, setmetatable, pcall, tonumber = type, tostring, error, getmetatable, setmetatable, pcall, tonumber
local concat, sort, format, floor = table.concat, table.sort, string.format, math.floor
local json_null = json.null

-- What mg.json decodes, in cjson's values.
local function plain(v)
  if type(v) ~= "table" then return v end
  if v == json_null then return null end
  local mt = getmetatable(v)
  if mt and mt.__name == "json number" then return tonumber(v.digits) end
  for k, x in pairs(v) do
    if type(x) == "table" then v[k] = plain(x) end
  end
  return v
end

local array_mt = getmetatable(json.array())
local empty_array_mt = { __name = "empty array" }
local empty_array = setmetatable({}, empty_array_mt)

local put

local function number(n)
  if n ~= n or n == 1 / 0 or n == -1 / 0 then error("Cannot serialise number: must not be NaN or Inf", 0) end
  if n == floor(n) and n > -1e15 and n < 1e15 then return format("%d", n) end
  return format("%.14g", n)
end

-- How long it is as an array: cjson's rule. nil: an object.
local function array_length(t)
  local max, n = 0, 0
  for k in pairs(t) do
    if type(k) ~= "number" or k < 1 or k ~= floor(k) then return nil end
    if k > max then max = k end
    n = n + 1
  end
  if n == 0 then return nil end
  if max > 10 and max > n * 2 then error("Cannot serialise table: excessively sparse array", 0) end
  return max
end

local function put_object(out, t, depth)
  local names, values = {}, {}
  for k, v in pairs(t) do
    local name = type(k) == "number" and number(k) or k
    if type(name) ~= "string" then error("Cannot serialise table: table key must be a number or string", 0) end
    names[#names + 1] = name
    values[name] = v
  end
  sort(names)
  out[#out + 1] = "{"
  for i = 1, #names do
    out[#out + 1] = (i > 1 and "," or "") .. json.quote(names[i]) .. ":"
    put(out, values[names[i]], depth + 1)
  end
  out[#out + 1] = "}"
end

put = function(out, v, depth)
  local kind = type(v)
  if kind == "string" then
    out[#out + 1] = json.quote(v)
  elseif kind == "number" then
    out[#out + 1] = number(v)
  elseif kind == "boolean" then
    out[#out + 1] = v and "true" or "false"
  elseif v == nil or v == null or v == json_null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if depth > 1000 then error("Cannot serialise, excessive depth (1001)", 0) end
    local mt = getmetatable(v)
    local n = array_length(v)
    if n or mt == array_mt or (mt == empty_array_mt and host.next(v) == nil) then
      out[#out + 1] = "["
      for i = 1, n or 0 do
        if i > 1 then out[#out + 1] = "," end
        put(out, v[i], depth + 1)
      end
      out[#out + 1] = "]"
    else
      put_object(out, v, depth)
    end
  else
    error("Cannot serialise " .. kind .. ": type not supported", 0)
  end
end

local function encode(v)
  local out = {}
  put(out, v, 0)
  return concat(out)
end

local function decode(s)
  if type(s) ~= "string" then error("bad argument #1 to 'decode' (string expected, got " .. type(s) .. ")", 0) end
  local v, why = json.decode(s)
  if v == nil then error(why, 0) end
  return plain(v)
end

local function safe(fn)
  return function(v)
    local ok, result = pcall(fn, v)
    if ok then return result end
    return nil, result
  end
end

local settings = { "encode_keep_buffer", "encode_invalid_numbers", "encode_number_precision", "encode_max_depth", "decode_max_depth",
                   "encode_sparse_array", "decode_invalid_numbers", "decode_array_with_array_mt", "encode_empty_table_as_object",
                   "encode_escape_forward_slash", "decode_big_numbers_as_strings", "encode_skip_unsupported_value_types" }

local function new(is_safe)
  local t = { null = null, array_mt = array_mt, empty_array_mt = empty_array_mt, empty_array = empty_array, _NAME = "cjson", _VERSION = "2.1.0" }
  t.encode = is_safe and safe(encode) or encode
  t.decode = is_safe and safe(decode) or decode
  for _, name in pairs(settings) do t[name] = function(...) return ... end end
  function t.new() return new(is_safe) end
  return t
end

return { cjson = new(false), safe = new(true), decode = decode, encode = encode }
