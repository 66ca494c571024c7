-- schema.lua - a Kong plugin's schema as our field table, and the checks that a field table has no words for.
--
-- Types, required fields, words to choose from and ranges become `fields`: the config's own check then tells file and line of a mistake.
-- Defaults, patterns, custom validators and entity_checks are applied here when an entry is made.

local host = require "moongate.host"
local checks = require "moongate.kong.checks"
local null = host.null
local pairs = host.pairs
local type, ipairs, error, tostring, getmetatable = type, ipairs, error, tostring, getmetatable

local schema = {}

-- ---- one shape for both generations of schemas ----------------------------------------------------

-- { { name = spec }, … } as a list of { name, spec }; { name = spec, … } (before Kong 1.0) likewise.
local function members(fields, old)
  local list = {}
  if old then
    for name, spec in pairs(fields) do list[#list + 1] = { name, spec } end
    table.sort(list, function(a, b) return a[1] < b[1] end)
    return list
  end
  for i, one in ipairs(fields) do
    local name, spec = host.next(one)
    if type(name) ~= "string" or type(spec) ~= "table" then error("schema.lua: fields[" .. i .. "] is no { name = { … } }", 0) end
    list[#list + 1] = { name, spec }
  end
  return list
end

local old_types = { table = "record", timestamp = "number", id = "string", url = "string" }

local from_old

-- A field of an old schema in today's words.
local function field_from_old(spec)
  local f = { type = old_types[spec.type] or spec.type, required = spec.required, default = spec.default, one_of = spec.enum, regex = spec.regex,
              func = spec.func, immutable = spec.immutable }
  if spec.type == "array" then
    f.elements = { type = "string", one_of = spec.enum }
    f.one_of = nil
  elseif spec.type == "table" then
    if type(spec.schema) == "table" then
      f.fields = from_old(spec.schema.fields or {}, spec.schema.flexible)
    else
      f.type = "any"
    end
  end
  return f
end

from_old = function(fields)
  local list = {}
  for _, m in ipairs(members(fields, true)) do list[#list + 1] = { [m[1]] = field_from_old(m[2]) } end
  return list
end

-- The record of a plugin's config.
local function config_of(described, name)
  if type(described) ~= "table" then error("schema.lua returns a table, this one returned " .. type(described), 0) end
  local fields = described.fields
  if type(fields) == "function" then fields = fields() end
  if type(fields) ~= "table" then return { type = "record", fields = {} } end
  if fields[1] == nil then
    return { type = "record", fields = from_old(fields), self_check = described.self_check }
  end
  for _, m in ipairs(members(fields)) do
    if m[1] == "config" then return m[2], described.entity_checks end
  end
  error("schema.lua of " .. name .. " has no config", 0)
end

-- ---- as our fields --------------------------------------------------------------------------------

local plain = { string = "string", number = "number", integer = "integer", boolean = "boolean" }
local describe

local function words(list)
  for _, v in ipairs(list) do
    if type(v) ~= "string" or v == "" then return nil end
  end
  return list[1] and list or nil
end

local function scalar(out, spec)
  out.type = plain[spec.type]
  if spec.type == "string" then
    local values = spec.one_of and words(spec.one_of)
    if values then out.type, out.values = "enum", values end
  elseif spec.between then
    out.min, out.max = spec.between[1], spec.between[2]
  end
  if spec.type ~= "string" or out.type == "enum" then
    local d = spec.default
    if d ~= nil and d ~= null and type(d) ~= "function" and type(d) ~= "table" then out.preset = d end
  end
  return out
end

local function record(spec)
  local fields = {}
  for _, m in ipairs(members(spec.fields or {})) do
    if m[2].type ~= "foreign" then fields[m[1]] = describe(m[2]) end
  end
  for _, m in ipairs(members(spec.shorthand_fields or {})) do
    if not fields[m[1]] then fields[m[1]] = { type = "any" } end
  end
  return fields
end

describe = function(spec)
  local out = {}
  if spec.required == true and spec.default == nil and spec.type ~= "record" and not spec.auto then out.required = true end
  if spec.encrypted or spec.secret then out.secret = plain[spec.type] == "string" or nil end
  if plain[spec.type] then return scalar(out, spec) end
  if spec.type == "array" or spec.type == "set" then
    out.type, out.item = "list", describe(spec.elements or { type = "any" })
    out.item.required = nil
    if spec.len_min then out.min = spec.len_min end
    if spec.len_max then out.max = spec.len_max end
  elseif spec.type == "map" then
    out.type, out.item = "map", describe(spec.values or { type = "any" })
    out.item.required = nil
  elseif spec.type == "record" then
    out.type, out.fields = "table", record(spec)
  else
    out.type = "any"
  end
  return out
end

local function needs_something(fields)
  for _, f in pairs(fields) do
    if f.required then return true end
    if f.type == "table" and needs_something(f.fields) and f.required then return true end
  end
  return false
end

-- ---- values -----------------------------------------------------------------------------------------

local function copy(v)
  if type(v) ~= "table" then return v end
  local t = {}
  for k, x in pairs(v) do t[k] = copy(x) end
  return t
end

local fill

-- A record that was not given is made of its fields' defaults, when it is required or any has one.
local function absent_record(spec)
  if type(spec.default) == "table" then return fill(spec, copy(spec.default)) end
  for _, m in ipairs(members(spec.fields or {})) do
    if m[2].required and m[2].default == nil and m[2].type ~= "record" and not spec.required then return nil end
  end
  local t = fill(spec, {})
  if spec.required or host.next(t) ~= nil then return t end
  return nil
end

local function merge(into, from)
  for k, v in pairs(from) do
    if type(v) == "table" and type(into[k]) == "table" then
      merge(into[k], v)
    elseif into[k] == nil then
      into[k] = v
    end
  end
end

local function shorthands(spec, value)
  for _, m in ipairs(members(spec.shorthand_fields or {})) do
    local given = value[m[1]]
    if given ~= nil and m[2].func then
      local made = m[2].func(given)
      if type(made) == "table" then merge(value, made) end
    end
  end
end

-- Defaults, in place.
fill = function(spec, value)
  if value == nil or value == null then
    if spec.type == "record" then return absent_record(spec) end
    if spec.default ~= nil and spec.default ~= null then
      if type(spec.default) == "function" then return spec.default({}) end
      return copy(spec.default)
    end
    return nil
  end
  if spec.type == "record" and type(value) == "table" then
    shorthands(spec, value)
    for _, m in ipairs(members(spec.fields or {})) do value[m[1]] = fill(m[2], value[m[1]]) end
  elseif (spec.type == "array" or spec.type == "set") and type(value) == "table" and spec.elements then
    for i = 1, #value do value[i] = fill(spec.elements, value[i]) end
  elseif spec.type == "map" and type(value) == "table" and spec.values then
    for k, v in pairs(value) do value[k] = fill(spec.values, v) end
  end
  return value
end

-- fields: of `config`; check(given): the whole conf, or nil, why, and the path in it.
function schema.read(described, name)
  local spec, entity_checks = config_of(described, name)
  local fields = record(spec)
  local config = { type = "table", fields = fields, doc = "As its schema.lua says." }
  if host.next(fields) == nil then config = { type = "any" } end
  if needs_something(fields) then config.required = true end
  return config, function(given)
    local conf = fill(spec, given)
    local ok, why, path = checks.field(spec, conf, "")
    if not ok then return nil, why, path end
    ok, why, path = checks.entity(entity_checks, { config = conf })
    if not ok then return nil, why, (path:gsub("^config%.?", "")) end
    if spec.self_check then
      local fine, problem = spec.self_check(described, conf, nil, false)
      if fine == false then return nil, type(problem) == "table" and tostring(problem.message) or tostring(problem), "" end
    end
    return conf
  end
end

schema.describe, schema.members, schema.copy = describe, members, copy

return schema
