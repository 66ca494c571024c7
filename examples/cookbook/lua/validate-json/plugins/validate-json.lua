-- validate-json.lua - requests whose JSON is not what the service expects never reach it, and the caller learns all that is wrong.
--
-- The schema is a part of JSON Schema, as a Lua table: type, required, properties, additionalProperties = false, items, enum,
-- minLength, maxLength, pattern (PCRE2), minimum, maximum, minItems, maxItems. It is checked when the config is loaded, so
-- that a misspelt key is a mistake of the config. Answers 400 with a list of up to 20 mistakes, each with the path of the value;
-- 415 for another content type. Limits: no $ref, no combinations (anyOf…); lengths are counted in bytes.

local mg = require "moongate"

local plugin = { name = "validate-json", version = "1.0", doc = "Checks JSON requests against a schema." }

plugin.fields = {
  schema = { type = "any", required = true, doc = "What a body must be." },
  methods = { type = "list", item = { type = "string" }, preset = { "POST", "PUT", "PATCH" }, doc = "Requests that are checked." },
  limit = { type = "size", preset = "256k", doc = "The largest body." },
}

local kinds = { object = 1, array = 1, string = 1, number = 1, integer = 1, boolean = 1, null = 1 }
local numeric = { minLength = 1, maxLength = 1, minimum = 1, maximum = 1, minItems = 1, maxItems = 1 }
local MOST = 20

-- The schema with its patterns compiled; raises what is wrong with it.
local function compile(s, path)
  if type(s) ~= "table" then error(path .. ": a table expected", 0) end
  local out = { type = s.type, additional = s.additionalProperties ~= false, required = {}, properties = {} }
  for key, v in pairs(s) do
    if key == "type" then
      if not kinds[v] then error(path .. ".type: there is no type " .. tostring(v), 0) end
    elseif key == "properties" then
      for name, child in pairs(v) do out.properties[name] = compile(child, path .. "." .. name) end
    elseif key == "required" then
      for i, name in ipairs(v) do out.required[i] = name end
    elseif key == "items" then out.items = compile(v, path .. "[]")
    elseif key == "pattern" then out.pattern = mg.re.compile(v)
    elseif key == "enum" then
      out.enum = {}
      for _, one in ipairs(v) do out.enum[one] = true end
    elseif numeric[key] then
      out[key] = tonumber(v) or error(path .. "." .. key .. ": a number expected", 0)
    elseif key ~= "additionalProperties" then
      error(path .. ": unknown key " .. tostring(key), 0)
    end
  end
  return out
end

local function kind_of(v)
  if v == mg.json.null then return "null" end
  if type(v) ~= "table" then return type(v) end
  if mg.json.is_array(v) then return "array" end
  return tonumber(tostring(v)) and "number" or "object" -- a large number is an object that keeps its digits
end

local function is_of(v, kind, wanted)
  if wanted == "integer" then return kind == "number" and (type(v) == "table" or v % 1 == 0) end
  return kind == wanted
end

local check

local function check_object(v, s, path, mistakes)
  for _, name in ipairs(s.required) do
    if v[name] == nil then mistakes[#mistakes + 1] = path .. "/" .. name .. ": is missing" end
  end
  for name, child in pairs(v) do
    local known = s.properties[name]
    if known then
      check(child, known, path .. "/" .. name, mistakes)
    elseif not s.additional then
      mistakes[#mistakes + 1] = path .. "/" .. name:sub(1, 60) .. ": is not known"
    end
  end
end

local function bounds(n, low, high, what, path, mistakes)
  if low and n < low then mistakes[#mistakes + 1] = path .. ": " .. what .. " at least " .. low end
  if high and n > high then mistakes[#mistakes + 1] = path .. ": " .. what .. " at most " .. high end
end

function check(v, s, path, mistakes)
  if #mistakes >= MOST then return end
  local kind = kind_of(v)
  if s.type and not is_of(v, kind, s.type) then
    mistakes[#mistakes + 1] = path .. ": " .. s.type .. " expected, not " .. kind
    return
  end
  if s.enum and not s.enum[v] then mistakes[#mistakes + 1] = path .. ": is none of the values that are allowed" end
  if kind == "string" then
    bounds(#v, s.minLength, s.maxLength, "a length of", path, mistakes)
    if s.pattern and not s.pattern:test(v) then mistakes[#mistakes + 1] = path .. ": does not have the form that is asked for" end
  elseif kind == "number" then
    bounds(tonumber(tostring(v)), s.minimum, s.maximum, "is to be", path, mistakes)
  elseif kind == "object" then
    check_object(v, s, path, mistakes)
  elseif kind == "array" then
    bounds(#v, s.minItems, s.maxItems, "items are to be", path, mistakes)
    for i = 1, s.items and #v or 0 do check(v[i], s.items, path .. "/" .. i - 1, mistakes) end
  end
end

function plugin.create(conf)
  local ok, schema = pcall(compile, conf.schema, "schema")
  if not ok then return nil, schema end
  local methods = {}
  for _, name in ipairs(conf.methods) do methods[name] = true end
  return { schema = schema, methods = methods, limit = conf.limit }
end

function plugin.on_request(x, conf)
  if not conf.methods[x.request.method] then return end
  if not (x.request.headers["content-type"] or ""):lower():find "^application/[%w.+-]*json" then
    return x:error(415, "JSON is expected.", { accept = "application/json" })
  end
  local value, why = x.request:json(conf.limit) -- over the limit: answered 413
  if value == nil then return x:error(400, "This is no JSON: " .. tostring(why)) end
  local mistakes = mg.json.array {}
  check(value, conf.schema, "", mistakes)
  if #mistakes == 0 then return end
  table.sort(mistakes)
  return x:respond(400, { title = "Bad Request", status = 400, detail = "The body is not as it should be.", mistakes = mistakes, id = x.id },
    { ["content-type"] = "application/problem+json" })
end

return plugin
