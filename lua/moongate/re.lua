-- re.lua - mg.re: regular expressions (PCRE2, compiled to machine code where possible).
--
-- Patterns are compiled once and kept, up to a number; so write them where they are used. Flags are letters: i (case), s (dot
-- takes newlines), m (^ and $ at lines), x (spaces and comments in the pattern), a (anchored at the start).
--
--     local m = mg.re.match(x.request.path, [[^/v(\d+)/(.*)$]])
--     if m then x.ctx.version = m[1] end

local host = require "moongate.host"
local ffi = require "ffi"

local C, sub = ffi.C, string.sub
local type, error, tonumber, tostring, setmetatable, concat = type, error, tonumber, tostring, setmetatable, table.concat

local re = {}
local KEPT_MAX, GROUPS_MAX = 1000, 64
local spans = ffi.new("int32_t[?]", 2 * GROUPS_MAX)
local message = ffi.new("char[256]")
local bits = { i = C.MG_RE_CASELESS, a = C.MG_RE_ANCHORED, s = C.MG_RE_DOTALL, m = C.MG_RE_MULTILINE, x = C.MG_RE_EXTENDED }

local function flags_of(flags)
  local n = 0
  for i = 1, #flags do
    local bit = bits[sub(flags, i, i)] or error("re: no flag '" .. sub(flags, i, i) .. "' (there are i, s, m, x, a)", 0)
    if n % (2 * bit) < bit then n = n + bit end
  end
  return n
end

local function new(pattern, flags)
  local r = C.mg_re_new(pattern, #pattern, flags_of(flags), message, 256)
  if r == nil then return nil, "re: " .. ffi.string(message) .. ": " .. pattern end
  return ffi.gc(r, C.mg_re_free)
end

local kept, kept_n = {}, 0

local function compiled(pattern, flags)
  if type(pattern) == "table" then return pattern.re end
  local of_flags = kept[flags]
  local r = of_flags and of_flags[pattern]
  if r then return r end
  local err
  r, err = new(pattern, flags)
  if not r then error(err, 0) end
  if kept_n >= KEPT_MAX then kept, kept_n, of_flags = {}, 0, nil end
  if not of_flags then
    of_flags = {}
    kept[flags] = of_flags
  end
  of_flags[pattern] = r
  kept_n = kept_n + 1
  return r
end

-- Pairs in `spans`, or 0.
local function run(r, s, start)
  local n = C.mg_re_match(r, s, #s, start, spans, GROUPS_MAX)
  if n == C.MG_EINVAL then error("re: no such place to start at, or more than 2 GB of text", 0) end
  if n < 0 then error("re: " .. host.message(n) .. " (the pattern backtracks too much)", 0) end
  return n
end

local function group(s, i)
  local from = spans[2 * i]
  if from < 0 then return false end
  return sub(s, from + 1, spans[2 * i + 1])
end

local function captures(s, n)
  local m = {}
  for i = 0, n - 1 do m[i] = group(s, i) end
  return m
end

-- Does it match somewhere?
function re.test(s, pattern, flags) return run(compiled(pattern, flags or ""), s, 0) > 0 end

-- Where: first and last byte, or nil.
function re.find(s, pattern, flags, init)
  local start = (init or 1) - 1
  if start > #s or run(compiled(pattern, flags or ""), s, start) == 0 then return nil end
  return spans[0] + 1, spans[1]
end

-- [0] is the whole match, [1]… the groups (false where a group took no part); nil when it does not match.
function re.match(s, pattern, flags, init)
  local start = (init or 1) - 1
  if start > #s then return nil end
  local n = run(compiled(pattern, flags or ""), s, start)
  if n == 0 then return nil end
  return captures(s, n)
end

-- for m in mg.re.gmatch(s, pattern) do … end
function re.gmatch(s, pattern, flags)
  local r, at = compiled(pattern, flags or ""), 0
  return function()
    if at > #s then return nil end
    local n = run(r, s, at)
    if n == 0 then
      at = #s + 1
      return nil
    end
    at = spans[1] > spans[0] and spans[1] or spans[1] + 1
    return captures(s, n)
  end
end

-- $0…$9, ${12} and $$ in a replacement.
local function expand(replacement, m)
  return (replacement:gsub("%$(%$?)(%{?)(%d*)(%}?)", function(dollar, open, digits, close)
    if dollar ~= "" then return "$" .. open .. digits .. close end
    if digits == "" then return nil end
    if open == "" then
      local rest = sub(digits, 2) .. close
      return (m[tonumber(sub(digits, 1, 1))] or "") .. rest
    end
    return m[tonumber(digits)] or ""
  end))
end

-- Replace at most `most` matches (all by default) by text with $1…, or by what a function of the captures gives (nil keeps the match).
function re.gsub(s, pattern, replacement, flags, most)
  local r, at, copied, parts, done = compiled(pattern, flags or ""), 0, 0, {}, 0
  while at <= #s and (not most or done < most) do
    local n = run(r, s, at)
    if n == 0 then break end
    local from, to, m = spans[0], spans[1], captures(s, n)
    local new_text
    if type(replacement) == "function" then
      new_text = replacement(m)
      if new_text == nil or new_text == false then new_text = m[0] end
    else
      new_text = expand(replacement, m)
    end
    parts[#parts + 1] = sub(s, copied + 1, from)
    parts[#parts + 1] = tostring(new_text)
    copied, done = to, done + 1
    at = to > from and to or to + 1
  end
  if done == 0 then return s, 0 end
  parts[#parts + 1] = sub(s, copied + 1)
  return concat(parts), done
end

-- An expression of its own, not kept in the table of all: for patterns that come with a config.
local object = {}
local object_mt = { __index = object, __metatable = false }
function object.test(o, s) return re.test(s, o) end
function object.find(o, s, init) return re.find(s, o, "", init) end
function object.match(o, s, init) return re.match(s, o, "", init) end
function object.gmatch(o, s) return re.gmatch(s, o, "") end
function object.gsub(o, s, replacement, most) return re.gsub(s, o, replacement, "", most) end
function object_mt.__tostring(o) return o.pattern end

function re.compile(pattern, flags)
  local r, err = new(pattern, flags or "")
  if not r then return nil, err end
  return setmetatable({ re = r, pattern = pattern }, object_mt)
end

function host.regex(pattern)
  local r, err = re.compile(pattern)
  return r or error(err, 0)
end

return re
