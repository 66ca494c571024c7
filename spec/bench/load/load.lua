-- wrk script for every scenario: fixed request headers, optional rotation over
-- API keys or route prefixes, and one machine-readable line at the end.
local scenario = os.getenv("SCENARIO")
local data = os.getenv("DATA")
local paths = { ["1k"] = "/1k", ["64k"] = "/64k", ["10m"] = "/10m" }
wrk.headers["Host"] = "api.example.test"
wrk.headers["User-Agent"] = "bench/1.0"
wrk.headers["Accept"] = "*/*"
wrk.path = paths[scenario] or "/api/v1/items?id=12345"
if scenario == "tlshs" then wrk.headers["Connection"] = "close" end

local reqs, at = {}, 0
function init()
  if scenario == "policy" then
    for line in io.lines(data .. "/keys.txt") do
      wrk.headers["X-API-Key"] = line:match("^(%S+)")
      reqs[#reqs + 1] = wrk.format()
    end
  elseif scenario:match("^routes") then
    for line in io.lines(data .. "/routes.txt") do
      wrk.path = line .. "items?id=12345"
      reqs[#reqs + 1] = wrk.format()
    end
  else
    reqs[1] = wrk.format()
  end
end

if scenario == "policy" or scenario:match("^routes") then
  request = function()
    at = at % #reqs + 1
    return reqs[at]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT requests=%d duration_us=%d bytes=%d p50=%d p99=%d max=%d errors=%d\n",
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
