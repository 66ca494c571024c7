-- queue.lua - kong.tools.queue: entries that a plugin hands over in batches, in a task of its worker.

local host = require "moongate.host"
local task = require "moongate.task"
local log = require "moongate.log"
local type, error, tostring, pcall, math_min = type, error, tostring, pcall, math.min
local pairs = host.pairs

local queue = {}
local queues = {}

local presets = { max_batch_size = 1, max_coalescing_delay = 1, max_entries = 10000, max_retry_time = 60, initial_retry_delay = 0.01, max_retry_delay = 60,
                  concurrency_limit = 1 }

-- Seconds are the plugin's; a wait is at least a millisecond.
local function sleep(seconds) require("moongate").sleep(math.max(1, math.floor(seconds * 1000))) end

local function hand_over(q, batch)
  local conf, delay, waited = q.conf, q.conf.initial_retry_delay, 0
  while true do
    local ok, done, why = pcall(q.handler, q.handler_conf, batch)
    if ok and done then return end
    why = tostring(ok and why or done)
    if waited >= conf.max_retry_time or task.is_leaving() then
      log.error("queue " .. conf.name .. ": " .. #batch .. " entries are lost: " .. why)
      return
    end
    log.warn("queue " .. conf.name .. ": " .. why)
    sleep(delay)
    waited, delay = waited + delay, math_min(delay * 2, conf.max_retry_delay)
  end
end

local function run(q)
  while q.entries[1] ~= nil do
    if #q.entries < q.conf.max_batch_size and q.conf.max_batch_size > 1 and not task.is_leaving() then sleep(q.conf.max_coalescing_delay) end
    local batch, rest, n = {}, {}, #q.entries
    for i = 1, n do
      if i <= q.conf.max_batch_size then batch[#batch + 1] = q.entries[i] else rest[#rest + 1] = q.entries[i] end
    end
    q.entries = rest
    hand_over(q, batch)
  end
  q.is_running = false
  queues[q.conf.name] = nil
end

-- The conf of a queue, as a plugin's `queue` record gives it.
function queue.get_plugin_params(name, conf, queue_name)
  local params = {}
  for k, v in pairs(presets) do params[k] = v end
  for k, v in pairs(conf.queue or {}) do params[k] = v end
  if not conf.queue then -- plugins of Kong 2
    params.max_batch_size = conf.queue_size or params.max_batch_size
    params.max_coalescing_delay = conf.flush_timeout or params.max_coalescing_delay
  end
  params.name = name .. ":" .. tostring(queue_name or conf.__plugin_id or "")
  params.log_tag = name
  return params
end

-- true; nil and why when it is full or no task can be begun.
function queue.enqueue(params, handler, handler_conf, entry)
  if type(handler) ~= "function" then error("queue.enqueue: a function that hands entries over expected", 2) end
  local q = queues[params.name]
  if not q then
    q = { conf = {}, entries = {} }
    for k, v in pairs(presets) do q.conf[k] = v end
    for k, v in pairs(params) do q.conf[k] = v end
    queues[params.name] = q
  end
  q.handler, q.handler_conf = handler, handler_conf
  if #q.entries >= q.conf.max_entries then
    table.remove(q.entries, 1)
    log.warn("queue " .. q.conf.name .. " is full: its oldest entry is lost")
  end
  q.entries[#q.entries + 1] = entry
  if not q.is_running then
    q.is_running = true
    local made, why = task.spawn(run, q)
    if not made then
      q.is_running = false
      return nil, why
    end
  end
  return true
end

return queue
