-- init.lua - `require "moongate"`: what a script may use that is not about one exchange.

local host = require "moongate.host"
local ffi = require "ffi"
local C, str, tonumber, tostring, error = ffi.C, ffi.string, tonumber, tostring, error
local out = ffi.new("struct mg_str")

local mg = {
  log = require "moongate.log",
  json = require "moongate.json",
  re = require "moongate.re",
  crypto = require "moongate.crypto",
  metric = require "moongate.metric",
  quota = require "moongate.quota",
  sink = require "moongate.sink",
  shared = require "moongate.shared",
  cache = require "moongate.cache",
  redis = require "moongate.redis",
  store = require "moongate.store",
  template = require "moongate.template",
  http = require "moongate.http",
}
require "moongate.exchange"

-- Work outside of an exchange (task.lua).
local task = require "moongate.task"
mg.spawn, mg.is_leaving, mg.timer = task.spawn, task.is_leaving, task.timer

mg.work = require "moongate.work"
mg.dns = require "moongate.dns"

-- Several waits at once (parallel.lua).
local parallel = require "moongate.parallel"
mg.all, mg.any, mg.timeout = parallel.all, parallel.any, parallel.timeout

-- Wall clock in milliseconds and microseconds since 1970; a clock that never jumps.
function mg.now_ms() return tonumber(C.mg_now_ms()) end
function mg.now_us() return tonumber(C.mg_now_us()) end
function mg.monotonic_us() return tonumber(C.mg_monotonic_us()) end

-- Uniform in [0, 1); a random UUID.
function mg.random() return C.mg_random() end
function mg.uuid()
  local rc = C.mg_uuid(out)
  if rc < 0 then return host.fail(rc, "mg.uuid") end
  return str(out.p, out.n)
end

-- Percent-encode all but unreserved characters; decode (nil and a word when malformed).
function mg.url_encode(s)
  local rc = C.mg_url_encode(s, #s, out)
  if rc < 0 then return host.fail(rc, "mg.url_encode") end
  return str(out.p, out.n)
end
function mg.url_decode(s)
  local rc = C.mg_url_decode(s, #s, out)
  if rc < 0 then return nil, host.message(rc) end
  return str(out.p, out.n)
end

-- Wait that many milliseconds (or "250ms", "1s"); other exchanges go on meanwhile.
function mg.sleep(v)
  local ms = host.milliseconds(v, "mg.sleep")
  host.must_wait("mg.sleep")
  local op = C.mg_sleep(host.here(), ms)
  if op < 0 then return host.fail(op, "mg.sleep") end
  host.wait(op)
end

return mg
