-- ngx_re.lua - ngx.re over mg.re. Named groups are found by reading the pattern.

local re = require "moongate.re"
local host = require "moongate.host"
local type, pcall, pairs, error, tostring = type, pcall, host.pairs, error, tostring
local sub = string.sub

-- j, o (compile, keep) are what mg.re does anyway; u and U (UTF-8) are not there: bytes are matched.
local kept_flags = {}
local function flags_of(options)
  if not options or options == "" then return "" end
  local f = kept_flags[options]
  if f then return f end
  local bad = options:match("[^adijmosuxDJU]")
  if bad then error("unknown flag \"" .. bad .. "\" (flags \"" .. options .. "\")", 3) end
  f = options:gsub("[^imsxa]", "")
  kept_flags[options] = f
  return f
end

local named, named_n = {}, 0

-- name = number of the group, for a pattern.
local function groups_of(pattern)
  local names = named[pattern]
  if names ~= nil then return names end
  local n, i, in_class = 0, 1, false
  names = false
  while i <= #pattern do
    local c = sub(pattern, i, i)
    if c == "\\" then
      i = i + 1
    elseif in_class then
      if c == "]" then in_class = false end
    elseif c == "[" then
      in_class = true
      if sub(pattern, i + 1, i + 1) == "^" then i = i + 1 end
      if sub(pattern, i + 1, i + 1) == "]" then i = i + 1 end
    elseif c == "(" then
      if sub(pattern, i + 1, i + 1) ~= "?" and sub(pattern, i + 1, i + 1) ~= "*" then
        n = n + 1
      else
        local name = pattern:match("^%(%?P?<([%a_][%w_]*)>", i) or pattern:match("^%(%?'([%a_][%w_]*)'", i)
        if name then
          n = n + 1
          names = names or {}
          names[name] = n
        end
      end
    end
    i = i + 1
  end
  if named_n > 1000 then named, named_n = {}, 0 end
  named[pattern], named_n = names, named_n + 1
  return names
end

local function with_names(m, pattern)
  local names = m and groups_of(pattern)
  if names then
    for name, i in pairs(names) do m[name] = m[i] == nil and false or m[i] end
  end
  return m
end

local ngx_re = {}

local function start_of(ctx) return type(ctx) == "table" and ctx.pos or 1 end

function ngx_re.match(s, pattern, options, ctx, into)
  s = tostring(s)
  local flags = flags_of(options)
  local ok, m = pcall(re.match, s, pattern, flags, start_of(ctx))
  if not ok then return nil, m end
  if not m then return nil end
  if type(ctx) == "table" then
    local _, to = re.find(s, pattern, flags, start_of(ctx))
    ctx.pos = to + 1
  end
  m = with_names(m, pattern)
  if not into then return m end
  for k, v in pairs(m) do into[k] = v end
  return into
end

function ngx_re.find(s, pattern, options, ctx, nth)
  s = tostring(s)
  if nth and nth ~= 0 then error("ngx.re.find: its group (the 5th argument) is not there in Moongate (docs/kong.md)", 2) end
  local ok, from, to = pcall(re.find, s, pattern, flags_of(options), start_of(ctx))
  if not ok then return nil, nil, from end
  if from and type(ctx) == "table" then ctx.pos = to + 1 end
  return from, to
end

function ngx_re.gmatch(s, pattern, options)
  local ok, each = pcall(re.gmatch, tostring(s), pattern, flags_of(options))
  if not ok then return nil, each end
  return function() return with_names(each(), pattern) end
end

local function replace(most)
  return function(s, pattern, replacement, options)
    local flags = flags_of(options)
    local fn = replacement
    if type(replacement) == "function" then
      fn = function(m) return tostring(replacement(with_names(m, pattern)) or "") end
    end
    local ok, text, n = pcall(re.gsub, tostring(s), pattern, fn, flags, most)
    if not ok then return nil, nil, text end
    return text, n
  end
end
ngx_re.sub, ngx_re.gsub = replace(1), replace(nil)

-- The module "ngx.re".
function ngx_re.split(s, pattern, options, _, max)
  local out, at, flags = {}, 1, flags_of(options)
  while at <= #s and not (max and max > 0 and #out >= max - 1) do
    local from, to = re.find(s, pattern, flags, at)
    if not from then break end
    if to < from then
      if from > #s then break end
      out[#out + 1] = sub(s, at, from)
      at = from + 1
    else
      out[#out + 1] = sub(s, at, from - 1)
      at = to + 1
    end
  end
  out[#out + 1] = sub(s, at)
  return out
end
function ngx_re.opt() end

return ngx_re
