-- work.lua - mg.work: a blocking C function on a thread of its own, while other exchanges go on.
--
--     local ffi = require "ffi"
--     ffi.cdef "int shrink(const char *input, size_t input_n, char **output, size_t *output_n);"
--     local lib = ffi.load "shrink"
--     local small, status = mg.work(lib.shrink, image)
--
-- It never enters Lua: a function of Lua's (also one made into a C pointer by ffi.cast) may not be given.

local host = require "moongate.host"
local ffi = require "ffi"
local C, str, type, error = ffi.C, ffi.string, type, error

ffi.cdef [[
typedef int mg_work_fn(const char *input, size_t input_n, char **output, size_t *output_n);
int mg_work(struct mg_x *x, mg_work_fn *fn, const char *input, size_t input_n);
]]
local fn_t = ffi.typeof("mg_work_fn *")
local out = ffi.new("struct mg_str")

-- fn(input): what it put out, and its status (0 and above). nil, a word and the status when that is below 0.
return function(fn, input)
  if type(fn) ~= "cdata" then error("mg.work: a C function expected, not a " .. type(fn), 2) end
  if type(input) ~= "string" and input ~= nil then error("mg.work: text expected as input, not a " .. type(input), 2) end
  host.must_wait("mg.work")
  input = input or ""
  local x = host.here()
  local op = C.mg_work(x, ffi.cast(fn_t, fn), input, #input)
  if op < 0 then return host.fail(op, "mg.work") end
  local status = host.wait(op)
  local text
  if status >= 0 and C.mg_work_output(x, op, out) == 0 then text = str(out.p, out.n) end
  C.mg_work_free(x, op)
  if status < 0 then return nil, host.message(status), status end
  return text or "", status
end
