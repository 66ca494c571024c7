-- classes.lua - kong.plugins.base_plugin, and the small class library under it.

local host = require "moongate.host"
local pairs, setmetatable, getmetatable, type = host.pairs, setmetatable, getmetatable, type

local Object = {}
Object.__index = Object

function Object:new() end

-- A class whose objects find first its own functions, then those of this one; `super` is this one.
function Object:extend()
  local class = {}
  for name, value in pairs(self) do
    if type(name) == "string" and name:sub(1, 2) == "__" then class[name] = value end
  end
  class.__index = class
  class.super = self
  return setmetatable(class, self)
end
function Object:implement(...)
  for _, other in pairs { ... } do
    for name, value in pairs(other) do
      if self[name] == nil and type(value) == "function" then self[name] = value end
    end
  end
end
function Object:is(class)
  local mt = getmetatable(self)
  while mt do
    if mt == class then return true end
    mt = getmetatable(mt)
  end
  return false
end
function Object:__call(...)
  local object = setmetatable({}, self)
  object:new(...)
  return object
end
function Object:__tostring() return "Object" end

-- Handlers of old plugins call X.super.access(self) and the like, which did nothing but log.
local Base = Object:extend()
function Base:new(name) self._name = name end
local function nothing() end
local phases = { "init_worker", "certificate", "rewrite", "access", "header_filter", "body_filter", "log", "response", "preread" }
for _, phase in pairs(phases) do Base[phase] = nothing end

return { classic = Object, base_plugin = Base, nothing = nothing }
