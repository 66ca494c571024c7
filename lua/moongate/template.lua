-- template.lua - mg.template: text with ${variables} in it (docs/templates.md), compiled once.
--
--     local greeting = mg.template "hello ${consumer.name|stranger}"
--     x.request.headers["x-greeting"] = greeting:render(x)

local host = require "moongate.host"
local ffi = require "ffi"
local C, str = ffi.C, ffi.string
local type, error = type, error
local out = ffi.new("struct mg_str")
local message = ffi.new("char[256]")

local methods = {}

-- The text, and how many variables had no value (they are empty in it).
function methods.render(t, x)
  local absent = C.mg_template_render(x, t, out)
  if absent < 0 then return host.fail(absent, "template") end
  return str(out.p, out.n), absent
end

ffi.metatype("struct mg_template", { __index = methods })

-- nil and a message when malformed.
local function compile(text)
  if type(text) ~= "string" then error("template: text expected, not a " .. type(text), 2) end
  local t = C.mg_template_new(text, #text, message, 256)
  if t == nil then return nil, str(message) end
  return ffi.gc(t, C.mg_template_free)
end

function host.template(text)
  local t, err = compile(text)
  return t or error(err, 0)
end

return compile
