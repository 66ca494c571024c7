-- metric.lua - mg.metric: numbers for Prometheus. Declare at the top of a file or in `create`, count in handlers.
--
--     local refused = mg.metric.counter("tenant_refused_total", "Requests without a tenant.", { "route" })
--     refused:add(1, x.route.id)

local host = require "moongate.host"
local ffi = require "ffi"
local C = ffi.C
local type, error, setmetatable, tostring, concat = type, error, setmetatable, tostring, table.concat

local LABELS_MAX = 8
local values = ffi.new("struct mg_str[?]", LABELS_MAX)
local metric = {}
local object = {}
local object_mt = { __index = object, __metatable = false }

local function declare(kind, name, help, labels, buckets)
  labels = labels or {}
  if #labels > LABELS_MAX then error("metric: at most " .. LABELS_MAX .. " labels", 3) end
  local list, bounds = concat(labels, ","), buckets and concat(buckets, ",") or ""
  help = help or ""
  local n = C.mg_metric(kind, name, #name, help, #help, list, #list, bounds, #bounds)
  if n < 0 then return host.fail(n, "metric \"" .. tostring(name) .. "\"") end
  return setmetatable({ number = n, labels_n = #labels }, object_mt)
end

function metric.counter(name, help, labels) return declare(C.MG_METRIC_COUNTER, name, help, labels) end
function metric.gauge(name, help, labels) return declare(C.MG_METRIC_GAUGE, name, help, labels) end
function metric.histogram(name, help, labels, buckets) return declare(C.MG_METRIC_HISTOGRAM, name, help, labels, buckets) end

-- A table's __tostring may count too, so all texts are made before the first is put where C reads them.
local function text(v)
  if type(v) == "string" then return v end
  if v == nil then return "" end
  return tostring(v)
end

local function put(i, v) values[i].p, values[i].n = v, #v end

-- Count, observe, or (gauges) add `by`; then the labels' values, in order.
function object.add(m, by, a, b, c, d, e, f, g, h)
  local n = m.labels_n
  if n > 0 then a = text(a) end
  if n > 1 then b = text(b) end
  if n > 2 then c = text(c) end
  if n > 3 then d = text(d) end
  if n > 4 then e = text(e) end
  if n > 5 then f = text(f) end
  if n > 6 then g = text(g) end
  if n > 7 then h = text(h) end
  if n > 0 then put(0, a) end
  if n > 1 then put(1, b) end
  if n > 2 then put(2, c) end
  if n > 3 then put(3, d) end
  if n > 4 then put(4, e) end
  if n > 5 then put(5, f) end
  if n > 6 then put(6, g) end
  if n > 7 then put(7, h) end
  local rc = C.mg_metric_add(m.number, values, n, by or 1)
  if rc < 0 then return host.fail(rc, "metric") end
  return a, b, c, d, e, f, g, h -- which keeps the texts alive while C reads them
end
object.observe = object.add

return metric
