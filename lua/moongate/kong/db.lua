-- db.lua - kong.db for plugins that read: consumers, and the credentials that their daos.lua describe, from our config.
--
-- A plugin's daos.lua with an entity that belongs to a consumer and has a unique field makes a kind of credentials of that name:
--
--     consumers = { alice = { keyauth_credentials = { { key = "k-1" } } } }

local host = require "moongate.host"
local client = require "moongate.kong.client"
local schema = require "moongate.kong.schema"
local state = require "moongate.kong.state"
local type, tostring, tonumber, setmetatable, ipairs = type, tostring, tonumber, setmetatable, ipairs
local pairs, concat = host.pairs, table.concat
local here = host.here

local db = { strategy = "off" }

-- What kong.cache does not keep: it is at hand, and changes with the config.
local function cache_key(name)
  return function(_, key, ...)
    if type(key) == "table" then key = key.id end
    return "config:" .. concat({ name, tostring(key), ... }, ":")
  end
end

-- ---- consumers ----------------------------------------------------------------------------------------

local consumers = { cache_key = cache_key("consumers"), schema = { name = "consumers" } }
db.consumers = consumers
function consumers:select(key) return client.load_consumer(type(key) == "table" and key.id or key) end
function consumers:select_by_username(name) return client.load_consumer(name) end
consumers.select_by_custom_id = state.absent("kong.db.consumers:select_by_custom_id")

-- ---- groups -------------------------------------------------------------------------------------------

local acls = { cache_key = cache_key("acls"), schema = { name = "acls" } }
db.acls = acls
-- The groups of the consumer of this exchange.
function acls:each_for_consumer(key)
  local x = here()
  local c = x.consumer
  local groups = c and c.name == key.id and c.groups or {}
  local i = 0
  return function()
    i = i + 1
    if groups[i] then return { id = key.id .. ":" .. groups[i], group = groups[i], consumer = { id = key.id } } end
  end
end

-- ---- credentials --------------------------------------------------------------------------------------

local kinds = {}

local function typed(spec, v)
  if v == nil then return nil end
  if spec.type == "integer" or spec.type == "number" then return tonumber(v) end
  if spec.type == "boolean" then return v == "true" end
  return v
end

local function entity(kind, x, number)
  local owner = x:credential_consumer(number)
  local t = { id = x:credential_id(number), consumer = { id = owner }, __number = number }
  for name, spec in pairs(kind.specs) do t[name] = typed(spec, x:credential_field(number, name)) end
  return t
end

local function dao_of(kind)
  local dao = { cache_key = cache_key(kind.name), schema = { name = kind.name } }
  dao["select_by_" .. kind.key] = function(_, key)
    local x = here()
    local number = type(key) == "string" and key ~= "" and x:find_credential(kind.name, key)
    if not number then return nil end
    return entity(kind, x, number)
  end
  return setmetatable(dao, {
    __index = function(_, name)
      if type(name) == "string" and (name:find("^select") or name:find("^each") or name:find("^page")) then
        return state.absent("kong.db." .. kind.name .. ":" .. name)
      end
      return state.absent("kong.db." .. kind.name .. ":" .. tostring(name) .. " (the config is not changed by plugins)")
    end,
  })
end

local function describe(daos)
  for _, one in ipairs(daos) do
    local key, specs, owned = nil, {}, false
    for _, m in ipairs(schema.members(one.fields or {})) do
      local name, spec = m[1], m[2]
      if spec.type == "foreign" then
        owned = owned or spec.reference == "consumers"
      elseif name ~= "id" and name ~= "created_at" and name ~= "tags" and name ~= "ttl" then
        specs[name] = spec
        if spec.unique and (not key or name == one.endpoint_key) then key = name end
      end
    end
    if owned and key then return { name = one.name, key = key, specs = specs } end
  end
end

-- A daos.lua as our `credentials`; nil when it has none that a config can hold.
function db.credentials(daos)
  if type(daos) ~= "table" then return nil end
  if daos[1] == nil then
    local list = {}
    for name, one in pairs(daos) do
      one.name = one.name or name
      list[#list + 1] = one
    end
    daos = list
  end
  local kind = describe(daos)
  if not kind then return nil end
  kinds[kind.name] = dao_of(kind)
  local fields = { id = { type = "string" } }
  for name, spec in pairs(kind.specs) do
    local f = schema.describe(spec)
    if f.type == "string" or f.type == "integer" or f.type == "number" or f.type == "boolean" or f.type == "enum" then fields[name] = f end
  end
  fields[kind.key].required, fields[kind.key].at, fields[kind.key].secret = true, 1, true
  return { kind = kind.name, key = kind.key, fields = fields }
end

return setmetatable(db, {
  __index = function(_, name)
    if kinds[name] then return kinds[name] end
    if type(name) ~= "string" then return nil end
    return setmetatable({}, {
      __index = function(_, method) return state.absent("kong.db." .. name .. ":" .. tostring(method)) end,
    })
  end,
})
