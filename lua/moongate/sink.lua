-- sink.lua - mg.sink: a place for whole lines, such as an access log of one's own; the log thread writes them.
--
--     local audit = mg.sink("audit.log")      -- in `create` or at the top of a file
--     function plugin.on_log(x) audit:write(mg.json.encode { path = x.request.path }) end

local host = require "moongate.host"
local ffi = require "ffi"
local C, str, tostring, error = ffi.C, ffi.string, tostring, error

local sink = {}
local sink_mt = { __index = sink, __metatable = false }

-- Hand over one line; a newline is added. nil and a word when the disk lags: the line is lost, and counted.
function sink:write(line)
  local rc = C.mg_sink_write(self.handle, line, #line)
  if rc < 0 then return nil, host.message(rc) end
  return true
end

-- "stdout", "stderr", "syslog" or a file, relative to the config. Raises when it cannot be opened.
return function(where)
  local why = ffi.new("char[256]")
  local handle = C.mg_sink_open(where, #where, why, 256)
  if handle == nil then error("mg.sink(\"" .. tostring(where) .. "\"): " .. str(why), 2) end
  return setmetatable({ handle = ffi.gc(handle, C.mg_sink_close) }, sink_mt)
end
