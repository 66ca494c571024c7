-- pl.lua - the few functions of Penlight that plugins use.

local host = require "moongate.host"
local tools = require "moongate.kong.tools"
local pairs = host.pairs
local type, tostring, setmetatable, ipairs, setfenv, error, pcall, select, unpack =
  type, tostring, setmetatable, ipairs, setfenv, error, pcall, select, unpack
local concat = table.concat

local pl = {}

local stringx = {}
pl["pl.stringx"] = stringx
function stringx.split(s, sep)
  local out = {}
  if not sep or sep == "" then
    for word in s:gmatch("%S+") do out[#out + 1] = word end
    return out
  end
  local at = 1
  while true do
    local from, to = s:find(sep, at, true)
    if not from then break end
    out[#out + 1] = s:sub(at, from - 1)
    at = to + 1
  end
  out[#out + 1] = s:sub(at)
  return out
end
function stringx.strip(s, chars)
  if not chars then return (s:gsub("^%s+", ""):gsub("%s+$", "")) end
  local class = "[" .. chars:gsub("[%]%[%^%%%-]", "%%%0") .. "]+"
  return (s:gsub("^" .. class, ""):gsub(class .. "$", ""))
end
function stringx.lstrip(s) return (s:gsub("^%s+", "")) end
function stringx.rstrip(s) return (s:gsub("%s+$", "")) end
function stringx.startswith(s, start) return s:sub(1, #start) == start end
function stringx.endswith(s, e) return e == "" or s:sub(-#e) == e end
function stringx.replace(s, old, new, n)
  return (s:gsub(old:gsub("%p", "%%%0"), (new:gsub("%%", "%%%%")), n))
end
function stringx.join(sep, list) return concat(list, sep) end
function stringx.count(s, sub) return select(2, s:gsub(sub:gsub("%p", "%%%0"), "")) end
function stringx.lines(s) return (s .. "\n"):gmatch("(.-)\n") end
function stringx.partition(s, sep)
  local from, to = s:find(sep, 1, true)
  if not from then return s, "", "" end
  return s:sub(1, from - 1), sep, s:sub(to + 1)
end
function stringx.isalpha(s) return s:find("^%a+$") ~= nil end
function stringx.isdigit(s) return s:find("^%d+$") ~= nil end

local tablex = {}
pl["pl.tablex"] = tablex
tablex.deepcopy, tablex.copy = tools["kong.tools.table"].deep_copy, tools["kong.tools.table"].shallow_copy
function tablex.keys(t)
  local out = {}
  for k in pairs(t) do out[#out + 1] = k end
  return out
end
function tablex.values(t)
  local out = {}
  for _, v in pairs(t) do out[#out + 1] = v end
  return out
end
function tablex.size(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end
function tablex.map(fn, t, ...)
  local out = {}
  for k, v in pairs(t) do out[k] = fn(v, ...) end
  return out
end
function tablex.filter(t, fn)
  local out = {}
  for _, v in ipairs(t) do
    if fn(v) then out[#out + 1] = v end
  end
  return out
end
function tablex.find(t, v)
  for i, one in ipairs(t) do
    if one == v then return i end
  end
end
function tablex.merge(a, b, all)
  local out = {}
  for k, v in pairs(a) do
    if all or b[k] ~= nil then out[k] = v end
  end
  for k, v in pairs(b) do
    if all or a[k] ~= nil then out[k] = v end
  end
  return out
end
function tablex.union(a, b) return tablex.merge(a, b, true) end
function tablex.deepcompare(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not tablex.deepcompare(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end
function tablex.insertvalues(t, list)
  for _, v in ipairs(list) do t[#t + 1] = v end
  return t
end
-- By the order of its keys.
function tablex.sort(t, before)
  local keys, i = tablex.keys(t), 0
  table.sort(keys, before)
  return function()
    i = i + 1
    return keys[i], t[keys[i]]
  end
end

pl["pl.utils"] = { split = stringx.split, is_callable = function(v) return type(v) == "function" end, pack = tools["kong.tools.table"].pack, unpack = unpack }
pl["pl.types"] = { is_callable = pl["pl.utils"].is_callable, is_empty = function(v) return v == nil or v == "" or (type(v) == "table" and host.next(v) == nil) end }
pl["pl.url"] = { quote = function(s) return (require("moongate.kong.text").escape(s)) end, unquote = function(s) return (require("moongate.kong.text").unescape(s)) end }
pl["pl.class"] = setmetatable({}, { __call = function(_, base)
  local c = require("moongate.kong.classes").classic.extend(base or require("moongate.kong.classes").classic)
  c.new = function(self, ...)
    if self._init then self:_init(...) end
  end
  return c
end })

local function written(v, indent)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) ~= "table" then return tostring(v) end
  local parts = {}
  for k, one in tablex.sort(v, function(a, b) return tostring(a) < tostring(b) end) do
    parts[#parts + 1] = indent .. "  " .. (type(k) == "string" and k or "[" .. tostring(k) .. "]") .. " = " .. written(one, indent .. "  ")
  end
  return "{\n" .. concat(parts, ",\n") .. "\n" .. indent .. "}"
end
pl["pl.pretty"] = { write = function(v) return written(v, "") end, dump = function(v) print(written(v, "")) end }

local List = {}
List.__index = List
pl["pl.List"] = setmetatable(List, { __call = function(_, t)
  local l = setmetatable({}, List)
  for _, v in ipairs(t or {}) do l[#l + 1] = v end
  return l
end })
function List:append(v)
  self[#self + 1] = v
  return self
end
function List:contains(v) return tablex.find(self, v) ~= nil end
function List:len() return #self end
function List:join(sep) return concat(self, sep) end

-- ---- pl.template: $(expression) in text, lines that begin with the escape are Lua ---------------------------------

local template = {}
pl["pl.template"] = template

local function expressions(line, out, brackets)
  local at = 1
  local open, close = brackets:sub(1, 1), brackets:sub(2, 2)
  while true do
    local from = line:find("$" .. open, at, true)
    if not from then break end
    local depth, i = 0, from + 1
    repeat
      local c = line:sub(i, i)
      if c == "" then error("template: a $" .. open .. " without its " .. close, 0) end
      if c == open then depth = depth + 1 elseif c == close then depth = depth - 1 end
      i = i + 1
    until depth == 0
    if from > at then out[#out + 1] = "_put(" .. ("%q"):format(line:sub(at, from - 1)) .. ")\n" end
    out[#out + 1] = "_put(_text(" .. line:sub(from + 2, i - 2) .. "))\n"
    at = i
  end
  if at <= #line then out[#out + 1] = "_put(" .. ("%q"):format(line:sub(at)) .. ")\n" end
end

local compiled = {}
compiled.__index = compiled

-- Its text with the names of `env`; nil and why.
function compiled:render(env, parent)
  local out = {}
  local names = setmetatable({
    _put = function(s) out[#out + 1] = s end,
    _text = function(v) return v == nil and "" or tostring(v) end,
  }, { __index = function(_, k)
    local v = env and env[k]
    if v == nil and parent then v = parent[k] end
    return v
  end })
  local fn = setfenv(load(self.code, "=template", "t"), names)
  local ok, why = pcall(fn)
  if not ok then return nil, why, self.code end
  return concat(out)
end

function template.compile(source, options)
  options = options or {}
  local escape, parts = options.escape or "#", {}
  local ok, why = pcall(function()
    for line, newline in source:gmatch("([^\n]*)(\n?)") do
      if escape ~= "" and line:find("^%s*" .. escape:gsub("%p", "%%%0")) then
        parts[#parts + 1] = line:gsub("^%s*" .. escape:gsub("%p", "%%%0"), "", 1) .. "\n"
      else
        expressions(line .. newline, parts, options.brackets or options.inline_brackets or "()")
      end
    end
  end)
  if not ok then return nil, why end
  local code = concat(parts)
  local fn
  fn, why = load(code, "=template", "t")
  if not fn then return nil, why, code end
  return setmetatable({ code = code }, compiled)
end
function template.substitute(source, env)
  local t, why = template.compile(source, { escape = env._escape, brackets = env._brackets })
  if not t then return nil, why end
  return t:render(env, env._parent)
end

return pl
