-- log.lua - mg.log: lines of the gateway's own log, a message and fields.
--
--     mg.log.warn("no such tenant", { tenant = name, tries = 3 })

local ffi = require "ffi"
local C = ffi.C
local type, pairs, tostring = type, pairs, tostring

local log = {}

local function put(level, message, fields)
  if C.mg_log_enabled(level) == 0 then return end
  message = tostring(message)
  if fields then
    for name, value in pairs(fields) do
      name = tostring(name)
      if type(value) == "number" then
        C.mg_log_number(name, #name, value)
      elseif type(value) == "boolean" then
        C.mg_log_boolean(name, #name, value and 1 or 0)
      else
        local text = tostring(value)
        C.mg_log_text(name, #name, text, #text)
      end
    end
  end
  C.mg_log(level, message, #message)
end

function log.debug(message, fields) return put(0, message, fields) end
function log.info(message, fields) return put(1, message, fields) end
function log.warn(message, fields) return put(2, message, fields) end
function log.error(message, fields) return put(3, message, fields) end

local levels = { debug = 0, info = 1, warn = 2, error = 3 }
-- Would a line of that level be written?
function log.enabled(level) return C.mg_log_enabled(levels[level] or 3) == 1 end

return log
