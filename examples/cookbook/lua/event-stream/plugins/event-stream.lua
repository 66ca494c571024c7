-- event-stream.lua - browsers hear of what is published in Redis, as server-sent events.
--
-- The path names the channel, out of those that are allowed. Each message is an event with an id; a comment goes out when
-- nothing came for `heartbeat`, so that proxies on the way keep the connection and a client that is gone is found. When Redis is
-- away the stream ends, and the browser comes again by itself after `retry`. Limits: what was published while nobody listened
-- is lost; each listener takes a connection to Redis (the client's `connections`), and one who is slower than the
-- channel is told of the gap.

local mg = require "moongate"

local plugin = { name = "event-stream", version = "1.0", doc = "Server-sent events from channels of Redis." }

plugin.fields = {
  channels = { type = "list", item = { type = "string", min = 1 }, required = true, min = 1, doc = "Channels that may be heard." },
  redis = { type = "string", preset = "redis://127.0.0.1:6379", secret = true, doc = "Where is published." },
  heartbeat = { type = "duration", preset = "15s", min = 1000, doc = "The longest silence." },
  retry = { type = "duration", preset = "3s", min = 100, doc = "When a browser comes again." },
  most = { type = "duration", preset = "10m", min = 1000, doc = "How long one stream lasts; the browser then comes again." },
}

local listeners = mg.metric.gauge("event_stream_listeners", "Streams that are open.", { "channel" })

function plugin.create(conf)
  local allowed = {}
  for _, name in ipairs(conf.channels) do allowed[name] = true end
  return { conf = conf, allowed = allowed, redis = mg.redis.new { url = conf.redis, connections = 1024, name = "moongate-events" } }
end

-- An event's text, each line of the payload as a field (a line may not end the event).
local function event(id, payload)
  return "id: " .. id .. "\ndata: " .. payload:gsub("\r\n?", "\n"):gsub("\n", "\ndata: ") .. "\n\n"
end

local function relay(out, sub, conf)
  local began, n = mg.monotonic_us(), 0
  out:write("retry: " .. conf.retry .. "\n\n")
  while mg.monotonic_us() - began < conf.most * 1000 do
    local message, why, token = sub:receive(conf.heartbeat)
    if message and message.payload then
      n = n + 1
      out:write(event(("%d-%d"):format(mg.now_ms(), n), message.payload))
    elseif message then -- the connection broke, or messages were lost: who listens may want to ask anew
      out:write("event: gap\ndata: " .. message.event .. "\n\n")
    elseif token ~= "timeout" then
      return mg.log.warn("a stream of events ends", { error = why })
    else
      out:write(": still here\n\n")
    end
  end
end

function plugin.on_request(x, self)
  local channel = x.request.params.channel
  if not self.allowed[channel] then return x:error(404, "There is no such channel.") end
  local redis, conf = self.redis, self.conf
  return x:respond(200, function(out)
    local sub, why = redis:subscribe(channel)
    if not sub then -- the head is out: an event says it, and the browser tries again
      mg.log.error("channels cannot be heard", { error = why })
      return out:write("retry: " .. conf.retry .. "\nevent: unavailable\ndata:\n\n")
    end
    listeners:add(1, channel)
    x.ctx.listens = channel
    relay(out, sub, conf)
    sub:close()
  end, { ["content-type"] = "text/event-stream", ["cache-control"] = "no-store", ["x-accel-buffering"] = "no" })
end

function plugin.on_log(x)
  if x.ctx.listens then listeners:add(-1, x.ctx.listens) end
end

return plugin
