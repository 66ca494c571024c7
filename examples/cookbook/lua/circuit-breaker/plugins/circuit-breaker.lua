-- circuit-breaker.lua - an upstream that fails is left alone for a while, and then asked carefully.
--
-- Failures (5xx, and what the gateway could not do) and successes of the last windows are counted in a dictionary that all
-- workers share. When at least `failures` came and they are `ratio` of all, the circuit opens: requests get 503 at once. After
-- `open_for` one request at a time may try; the first that succeeds closes it. Limits: one gateway's own view; a window's
-- counters begin anew with each window.

local mg = require "moongate"

local plugin = { name = "circuit-breaker", version = "1.0", doc = "Answers for an upstream that fails." }

plugin.fields = {
  failures = { type = "integer", preset = 5, min = 1, doc = "Fewer failures in a window never open it." },
  ratio = { type = "number", preset = 0.5, min = 0, max = 1, doc = "The share of failures that opens it." },
  window = { type = "duration", preset = "10s", min = 100, doc = "In which is counted." },
  open_for = { type = "duration", preset = "5s", min = 100, doc = "How long it stays open before one may try." },
  probe = { type = "duration", preset = "10s", min = 100, doc = "How long one that tries may take." },
}

local states = mg.shared.circuits
local opened = mg.metric.counter("circuit_breaker_opened_total", "How often circuits opened.", { "route" })

function plugin.create(conf, entry)
  local name = (entry.route ~= "" and entry.route or "*") .. "/" .. entry.id
  return { conf = conf, open = name .. ":open", wait = name .. ":wait", probe = name .. ":probe", good = name .. ":good", bad = name .. ":bad" }
end

function plugin.on_request(x, c)
  if not states:get(c.open) then return end
  local left = states:ttl(c.wait)
  -- Half open: `add` lets exactly one of all workers' requests through.
  if not left and states:add(c.probe, x.id, c.conf.probe) then
    x.ctx.circuit_probe = true
    return
  end
  x.ctx.circuit_refused = true
  return x:error(503, "The service has a rest.", { ["retry-after"] = math.max(1, math.ceil((left or 1000) / 1000)) })
end

local function trip(x, c)
  states:set(c.wait, true, c.conf.open_for)
  states:delete(c.probe)
  if states:add(c.open, true) then
    opened:add(1, x.route.id)
    mg.log.warn("the circuit opens", { upstream = x.upstream.name })
  end
end

local function close(c)
  for _, key in ipairs { c.open, c.wait, c.probe, c.good, c.bad } do states:delete(key) end
  mg.log.info("the circuit closes")
end

function plugin.on_log(x, c)
  if x.ctx.circuit_refused or x.response.source == "plugin" then
    if x.ctx.circuit_probe then states:delete(c.probe) end -- another entry answered: nothing was learnt
    return
  end
  local status, window = x.response.status, c.conf.window
  local failed = status and status >= 500 or x.response.source == "gateway" and x.failure ~= ""
  if x.failure == "client_closed" or not status then
    if x.ctx.circuit_probe then states:delete(c.probe) end
    return
  end
  if x.ctx.circuit_probe then
    if failed then trip(x, c) else close(c) end
    return
  end
  if states:get(c.open) then return end -- one that began before it opened
  local good, bad = states:get(c.good) or 0, states:get(c.bad) or 0
  if failed then bad = states:incr(c.bad, 1, 0, window) else good = states:incr(c.good, 1, 0, window) end
  if failed and bad >= c.conf.failures and bad / (good + bad) >= c.conf.ratio then trip(x, c) end
end

return plugin
