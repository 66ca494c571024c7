-- checks.lua - what a Kong schema demands of values beyond their types: lengths, patterns, custom validators, entity_checks.

local host = require "moongate.host"
local null = host.null
local pairs, next = host.pairs, host.next
local type, ipairs, tostring, pcall, setmetatable = type, ipairs, tostring, pcall, setmetatable
local concat = table.concat

local checks = {}

local function has(list, v)
  for _, one in ipairs(list) do
    if one == v then return true end
  end
  return false
end

local function length(v)
  if type(v) == "string" then return #v end
  local n = 0
  for _ in pairs(v) do n = n + 1 end
  return n
end

local function list_text(list)
  local t = {}
  for i, v in ipairs(list) do t[i] = tostring(v) end
  return concat(t, ", ")
end

-- Each: value, argument, field → nil when it is fine, or what was expected.
local rules = {
  len_eq = function(v, n) return length(v) ~= n and "a length of " .. n end,
  len_min = function(v, n) return length(v) < n and "a length of at least " .. n end,
  len_max = function(v, n) return length(v) > n and "a length of at most " .. n end,
  eq = function(v, w) return v ~= w and tostring(w) end,
  ne = function(v, w) return v == w and "not " .. tostring(w) end,
  gt = function(v, n) return not (v > n) and "more than " .. n end,
  between = function(v, r) return (v < r[1] or v > r[2]) and "a value between " .. r[1] .. " and " .. r[2] end,
  one_of = function(v, list) return not has(list, v) and "one of: " .. list_text(list) end,
  not_one_of = function(v, list) return has(list, v) and "none of: " .. list_text(list) end,
  contains = function(v, w) return not has(v, w) and "a list with " .. tostring(w) end,
  starts_with = function(v, w) return v:sub(1, #w) ~= w and 'text that starts with "' .. w .. '"' end,
  match = function(v, p) return not v:find(p) and "text of the form " .. p end,
  not_match = function(v, p) return v:find(p) and "text not of the form " .. p end,
  match_all = function(v, list)
    for _, m in ipairs(list) do
      if not v:find(m.pattern) then return m.err or "text of the form " .. m.pattern end
    end
  end,
  match_none = function(v, list)
    for _, m in ipairs(list) do
      if v:find(m.pattern) then return m.err or "text not of the form " .. m.pattern end
    end
  end,
  match_any = function(v, m)
    for _, p in ipairs(m.patterns) do
      if v:find(p) then return nil end
    end
    return m.err or "text of one of the forms " .. list_text(m.patterns)
  end,
  regex = function(v, p)
    local ok, found = pcall(require("moongate.re").test, v, p)
    return not (ok and found) and "text of the form " .. p
  end,
  is_regex = function(v, is) return is and not require("moongate.re").compile(v) and "a regular expression" end,
  uuid = function(v, is) return is and not v:find("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$") and "a UUID" end,
  mutually_exclusive_subsets = function(v, subsets)
    local found
    for i, set in ipairs(subsets) do
      for _, one in ipairs(set) do
        if has(v, one) then
          if found and found ~= i then return "values of one of these sets only" end
          found = i
        end
      end
    end
  end,
}
-- In this order, so that the same mistake is told each time.
local order = { "len_eq", "len_min", "len_max", "eq", "ne", "gt", "between", "one_of", "not_one_of", "contains", "starts_with", "match",
                "not_match", "match_all", "match_none", "match_any", "regex", "is_regex", "uuid", "mutually_exclusive_subsets" }

local types = {
  string = function(v) return type(v) == "string" end,
  number = function(v) return type(v) == "number" end,
  integer = function(v) return type(v) == "number" and v % 1 == 0 end,
  boolean = function(v) return type(v) == "boolean" end,
  array = function(v) return type(v) == "table" end,
  set = function(v) return type(v) == "table" end,
  map = function(v) return type(v) == "table" end,
  record = function(v) return type(v) == "table" end,
}

local function at(path, key)
  if type(key) == "number" then return path .. "[" .. key .. "]" end
  return path == "" and key or path .. "." .. key
end

local function own_rules(spec, value, path)
  if spec.err and type(spec.err) ~= "string" then spec.err = nil end
  if spec.type == "string" and value == "" and (spec.len_min or 1) > 0 and not spec.eq then return nil, "text, not an empty one, expected", path end
  for i = 1, #order do
    local arg = spec[order[i]]
    if arg ~= nil then
      local wrong = rules[order[i]](value, arg)
      if wrong then return nil, spec.err or wrong .. " expected", path end
    end
  end
  return true
end

local function custom(spec, value, path)
  local fn = spec.custom_validator
  if type(fn) == "function" then
    local ok, why = fn(value)
    if not ok then return nil, type(why) == "table" and "its parts do not hold" or tostring(why or "its validator refuses it"), path end
  end
  if type(spec.func) == "function" and not spec.translate_backwards then -- old schemas
    local ok, why = spec.func(value, {}, nil)
    if ok == false then return nil, tostring(why or "its check refuses it"), path end
  end
  return true
end

local function members_of(spec, value, path)
  if spec.type == "record" then
    for _, one in ipairs(spec.fields or {}) do
      local name, inner = next(one)
      local ok, why, where = checks.field(inner, value[name], at(path, name))
      if not ok then return nil, why, where end
    end
    return checks.entity(spec.entity_checks, value, path)
  end
  if spec.type == "array" or spec.type == "set" then
    local seen = {}
    for i = 1, #value do
      local ok, why, where = checks.field(spec.elements or {}, value[i], at(path, i))
      if not ok then return nil, why, where end
      if spec.type == "set" and seen[value[i]] then return nil, "each value once expected", at(path, i) end
      seen[value[i]] = true
    end
  elseif spec.type == "map" then
    for k, v in pairs(value) do
      local ok, why, where = checks.field(spec.keys or {}, k, at(path, k))
      if not ok then return nil, "as a name: " .. why, where end
      ok, why, where = checks.field(spec.values or {}, v, at(path, k))
      if not ok then return nil, why, where end
    end
  end
  return true
end

-- true; or nil, what is wrong, and where.
function checks.field(spec, value, path)
  if value == nil or value == null then
    if spec.required and not spec.auto and spec.type ~= "foreign" and spec.required ~= "optional" then return nil, "required", path end
    return true
  end
  local is = types[spec.type]
  if is and not is(value) then return nil, "expected " .. spec.type .. ", not " .. type(value), path end
  local ok, why, where = own_rules(spec, value, path)
  if ok then ok, why, where = members_of(spec, value, path) end
  if ok then ok, why, where = custom(spec, value, path) end
  if ok then return true end
  return nil, why, where
end

-- ---- entity_checks --------------------------------------------------------------------------------

local function get(entity, path)
  local v = entity
  for part in path:gmatch("[^.]+") do
    if type(v) ~= "table" then return nil end
    v = v[part]
  end
  if v == null then return nil end
  return v
end

local function count(entity, names)
  local n, first = 0, nil
  for _, name in ipairs(names) do
    if get(entity, name) ~= nil then
      n = n + 1
      first = first or name
    end
  end
  return n, first
end

local function matches(spec, value)
  local s = setmetatable({ required = spec.required }, { __index = spec })
  return (checks.field(s, value, ""))
end

local entity_rules = {
  at_least_one_of = function(e, names) return count(e, names) == 0 and "at least one of these is needed: " .. list_text(names) end,
  only_one_of = function(e, names) return count(e, names) ~= 1 and "exactly one of these is needed: " .. list_text(names) end,
  mutually_exclusive = function(e, names) return count(e, names) > 1 and "at most one of these may be there: " .. list_text(names) end,
  mutually_required = function(e, names)
    local n = count(e, names)
    return n > 0 and n < #names and "all or none of these are needed: " .. list_text(names)
  end,
  mutually_exclusive_sets = function(e, c)
    return count(e, c.set1) > 0 and count(e, c.set2) > 0 and "either " .. list_text(c.set1) .. " or " .. list_text(c.set2)
  end,
  distinct = function(e, names)
    local seen = {}
    for _, name in ipairs(names) do
      local v = get(e, name)
      if v ~= nil and seen[v] then return "these are to differ: " .. list_text(names) end
      if v ~= nil then seen[v] = true end
    end
  end,
  conditional = function(e, c)
    if not matches(c.if_match, get(e, c.if_field)) or get(e, c.if_field) == nil and next(c.if_match) ~= nil and not c.if_match.ne then return nil end
    local then_match = c.then_match
    local ok, why = checks.field(then_match, get(e, c.then_field), "")
    return not ok and c.then_field .. ": " .. (c.then_err or why .. " (as " .. c.if_field .. " is " .. tostring(get(e, c.if_field)) .. ")")
  end,
  conditional_at_least_one_of = function(e, c)
    if get(e, c.if_field) == nil or not matches(c.if_match, get(e, c.if_field)) then return nil end
    return count(e, c.then_at_least_one_of) == 0 and (c.then_err or "at least one of these is needed: " .. list_text(c.then_at_least_one_of))
  end,
  custom_entity_check = function(e, c)
    if c.run_with_missing_fields ~= true then
      for _, name in ipairs(c.field_sources or {}) do
        if get(e, name) == nil then return nil end
      end
    end
    local ok, why = c.fn(e)
    if ok then return nil end
    return type(why) == "table" and "its parts do not hold together" or tostring(why or "its check refuses it")
  end,
}

function checks.entity(list, entity, path)
  for _, check in ipairs(list or {}) do
    for name, arg in pairs(check) do
      local rule = entity_rules[name]
      if rule then
        local wrong = rule(entity, arg)
        if wrong then return nil, wrong, path or "" end
      end
    end
  end
  return true
end

return checks
