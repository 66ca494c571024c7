-- text.lua - query strings, forms and multipart bodies as OpenResty reads them: a name without "=" is true, a repeated one a list.

local host = require "moongate.host"
local pairs = host.pairs
local type, tostring, tonumber, ipairs, setmetatable, rawget = type, tostring, tonumber, ipairs, setmetatable, rawget
local char, byte, format, concat, sort, lower = string.char, string.byte, string.format, table.concat, table.sort, string.lower

local text = {}

function text.unescape(s)
  s = s:gsub("+", " ")
  if s:find("%", 1, true) then s = s:gsub("%%(%x%x)", function(h) return char(tonumber(h, 16)) end) end
  return s
end

local function hex(c) return format("%%%02X", byte(c)) end
function text.escape(s) return (tostring(s):gsub("[^%w%-._~]", hex)) end
-- kind 0 of ngx.escape_uri: what a URI may hold stays.
function text.escape_uri(s) return (tostring(s):gsub("[^%w%-._~!$&'()*+,;=:@/?]", hex)) end

-- limit 0: none.
function text.decode_args(s, limit)
  local t, n = {}, 0
  limit = limit or 100
  for pair in s:gmatch("[^&]+") do
    local at = pair:find("=", 1, true)
    local name = text.unescape(at and pair:sub(1, at - 1) or pair)
    local value = not at or text.unescape(pair:sub(at + 1))
    if name ~= "" then
      n = n + 1
      if limit > 0 and n > limit then return t, "truncated" end
      local old = t[name]
      if old == nil then
        t[name] = value
      elseif type(old) == "table" then
        old[#old + 1] = value
      else
        t[name] = { old, value }
      end
    end
  end
  return t
end

local function add(parts, name, value)
  if value == true then
    parts[#parts + 1] = name
  elseif value ~= false and value ~= nil then
    parts[#parts + 1] = name .. "=" .. text.escape(value)
  end
end

-- Names in order, so that the same arguments give the same text.
function text.encode_args(args)
  local names, parts = {}, {}
  for name in pairs(args) do names[#names + 1] = name end
  sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value, escaped = args[name], text.escape(name)
    if type(value) == "table" then
      for i = 1, #value do add(parts, escaped, value[i]) end
    else
      add(parts, escaped, value)
    end
  end
  return concat(parts, "&")
end

-- ---- header fields ----------------------------------------------------------------------------------

local fields_mt = {
  __index = function(t, name)
    if type(name) ~= "string" then return nil end
    return rawget(t, (lower(name):gsub("_", "-")))
  end,
}

-- Names in lower case, found in any: each() of our headers as a table.
function text.fields(headers, limit)
  local t = {}
  for i, name, value in headers:each() do
    if limit and limit > 0 and i > limit then return setmetatable(t, fields_mt), "truncated" end
    name = lower(name)
    local old = t[name]
    if old == nil then
      t[name] = value
    elseif type(old) == "table" then
      old[#old + 1] = value
    else
      t[name] = { old, value }
    end
  end
  return setmetatable(t, fields_mt)
end

-- ---- multipart/form-data ----------------------------------------------------------------------------

local function boundary_of(kind)
  return kind:match('boundary="([^"]+)"') or kind:match("boundary=([^;%s]+)")
end

-- A list of { name, value, head }: the parts in their order.
function text.multipart_parts(body, kind)
  local boundary = boundary_of(kind)
  if not boundary then return nil, "multipart without a boundary" end
  local parts, mark = {}, "--" .. boundary
  local _, e = body:find(mark, 1, true)
  while e do
    if body:sub(e + 1, e + 2) == "--" then return parts end
    local head_end, body_start = body:find("\r\n\r\n", e + 1, true)
    local next_start, next_end = body:find("\r\n" .. mark, e + 1, true)
    if not head_end or not next_start then break end
    local head = body:sub(e + 3, head_end - 1)
    local name = head:match('[Nn][Aa][Mm][Ee]="(.-)"') or head:match("[Nn][Aa][Mm][Ee]=([^;%s]+)")
    if body_start < next_start + 1 then
      parts[#parts + 1] = { name = name, value = body:sub(body_start + 1, next_start - 1), head = head }
    end
    e = next_end
  end
  return nil, "multipart without an end"
end

function text.decode_multipart(body, kind)
  local parts, why = text.multipart_parts(body, kind)
  if not parts then return nil, why end
  local t = {}
  for _, part in ipairs(parts) do
    if part.name then t[part.name] = part.value end
  end
  return t
end

function text.encode_multipart(args, boundary)
  local names, out = {}, {}
  for name in pairs(args) do names[#names + 1] = name end
  sort(names)
  for _, name in ipairs(names) do
    out[#out + 1] = "--" .. boundary .. "\r\nContent-Disposition: form-data; name=\"" .. tostring(name) .. "\"\r\n\r\n" .. tostring(args[name]) .. "\r\n"
  end
  return concat(out) .. "--" .. boundary .. "--\r\n"
end

return text
