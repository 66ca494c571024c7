-- batch-log.lua - a line for each request goes to a collector over HTTP, many of them together.
--
-- Lines gather in the worker and are sent when the first has waited for `every`, or `batch` are there, as NDJSON. A batch that the collector
-- does not take is tried again with growing pauses; what comes meanwhile is kept up to `keep` lines, then the oldest
-- are dropped and counted: logging never takes memory or time from requests. A reload sends what is left. Limits: lines that
-- were not sent are lost when the process ends abruptly; a batch may arrive twice.

local mg = require "moongate"

local plugin = { name = "batch-log", version = "1.0", doc = "Sends access logs to a collector, in batches." }

plugin.fields = {
  url = { type = "string", required = true, pattern = "https?://.+", doc = "Where batches are posted." },
  token = { type = "string", secret = true, doc = "Sent as a bearer token." },
  every = { type = "duration", preset = "5s", min = 100, doc = "A batch is sent at least so often." },
  batch = { type = "integer", preset = 500, min = 1, max = 10000, doc = "Lines of a batch." },
  keep = { type = "integer", preset = 20000, min = 1, doc = "Lines that may wait, on each worker." },
  tries = { type = "integer", preset = 5, min = 1, max = 20, doc = "How often a batch is tried." },
}

local lines = mg.metric.counter("batch_log_lines_total", "Lines of batch-log.", { "result" })

function plugin.create(conf)
  return { conf = conf, queue = {}, first = 1, last = 0, sending = false }
end

local function take(self)
  local part, n = {}, math.min(self.conf.batch, self.last - self.first + 1)
  for i = 1, n do
    part[i] = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
  end
  return part
end

-- Did it take them? A collector that says 4xx (but 408, 429) will not take them later either.
local function post(conf, body)
  local r, err = mg.http.post(conf.url, {
    timeout = "10s", limit = "64k", body = body,
    headers = { ["content-type"] = "application/x-ndjson", authorization = conf.token and "Bearer " .. conf.token },
  })
  if r and r.status < 300 then return true end
  local is_final = r and r.status >= 400 and r.status < 500 and r.status ~= 408 and r.status ~= 429
  return false, err or "status " .. r.status, is_final
end

local function send_part(conf, part)
  local body, why, is_final, ok = table.concat(part, "\n") .. "\n", nil, nil, nil
  for try = 1, conf.tries do
    ok, why, is_final = post(conf, body)
    if ok then return lines:add(#part, "sent") end
    if is_final or mg.is_leaving() then break end
    if try < conf.tries then mg.sleep(math.min(60000, 500 * 2 ^ try) * (0.5 + mg.random() / 2)) end
  end
  lines:add(#part, "failed")
  mg.log.error("the collector does not take the log", { error = tostring(why), lines = #part })
end

-- A task that begins with the first line and ends with the last. When the config goes out of force it does not wait any more,
-- and has the gateway's `drain` to send what there is.
local function deliver(self)
  local conf = self.conf
  local ok, err = pcall(function()
    local began = mg.monotonic_us()
    while self.last - self.first + 1 < conf.batch and mg.monotonic_us() - began < conf.every * 1000 and not mg.is_leaving() do mg.sleep(50) end
    while self.last >= self.first do send_part(conf, take(self)) end
  end)
  self.sending = false
  if not ok then error(err, 0) end
end

function plugin.on_log(x, self)
  local conf = self.conf
  if self.last - self.first + 1 >= conf.keep then
    self.queue[self.first] = nil
    self.first = self.first + 1
    lines:add(1, "dropped")
  end
  self.last = self.last + 1
  self.queue[self.last] = mg.json.encode {
    time = math.floor(x.started_us / 1000), id = x.id, ip = x.client.ip, method = x.request.method, host = x.request.host, path = x.request.path,
    status = x.response.status, us = x:span_us "total", route = x.route and x.route.id, consumer = x.consumer and x.consumer.name,
    failure = x.failure ~= "" and x.failure or nil,
  }
  if not self.sending then self.sending = mg.spawn(deliver, self) ~= nil end -- too many tasks: the next line tries again
end

return plugin
