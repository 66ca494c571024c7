-- quota.lua - mg.quota: counters shared by all workers that survive a reload, exact under concurrency.
--
--     local allowed, remaining, reset_ms, retry_ms = mg.quota.bucket("my-plugin", x.client.ip, 100, 60000)

local host = require "moongate.host"
local ffi = require "ffi"
local C, tonumber = ffi.C, tonumber
local quota = ffi.new("struct mg_quota")
local value = ffi.new("int64_t[1]")

local q = {}

local function results(rc, what)
  if rc < 0 then return host.fail(rc, what) end
  return quota.allowed == 1, tonumber(quota.remaining), tonumber(quota.reset_ms), tonumber(quota.retry_ms)
end

-- Token bucket: at most `limit` tokens, refilled evenly over window_ms. `space` names the user of the
-- counters (a plugin and its entry), `key` whom it counts.
function q.bucket(space, key, limit, window_ms, cost)
  return results(C.mg_bucket_take(space, #space, key, #key, limit, window_ms, cost or 1, quota), "quota.bucket")
end
-- Sliding window.
function q.window(space, key, limit, window_ms, cost)
  return results(C.mg_window_take(space, #space, key, #key, limit, window_ms, cost or 1, quota), "quota.window")
end
-- A counter that is forgotten ttl_ms after it was made; its new value.
function q.count(space, key, by, ttl_ms)
  local rc = C.mg_counter_add(space, #space, key, #key, by or 1, ttl_ms or 60000, value)
  if rc < 0 then return host.fail(rc, "quota.count") end
  return tonumber(value[0])
end

return q
