-- plan-quota.lua - how much a tenant may ask is its plan's matter, and counts over all gateways.
--
-- A sliding window in Redis, in one script and one round trip: the count of this window plus what is left of the last one.
-- An auth plugin before it has put `tenant` and `plan` into ctx (the recipe redis-api-key does). When Redis is late or away
-- requests pass, are counted by this gateway alone and told in a metric: a quota is to protect the service, not to stop it.
-- Limits: the estimate assumes that the last window's requests were spread evenly.

local mg = require "moongate"

local plugin = { name = "plan-quota", version = "1.0", doc = "Quotas by plan, over several gateways.", needs = { "tenant" } }

plugin.fields = {
  plans = { type = "map", item = { type = "integer", min = 1 }, required = true, doc = "Requests a window, by plan." },
  default = { type = "string", required = true, doc = "The plan of who has none of these." },
  window = { type = "duration", preset = "1m", min = 1000, doc = "How long a window is." },
  redis = { type = "string", preset = "redis://127.0.0.1:6379", secret = true, doc = "Where is counted." },
  timeout = { type = "duration", preset = "50ms", min = 1, doc = "How long Redis may take." },
}

-- KEYS: this window's counter, the last one's. ARGV: limit, milliseconds since this window began, its length.
-- Gives whether it was allowed, and how many are left.
local script = [[
local limit, gone, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local here = tonumber(redis.call('GET', KEYS[1]) or '0')
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local used = here + before * (window - gone) / window
if used + 1 > limit then return { 0, 0 } end
redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], window * 2)
return { 1, math.floor(limit - used - 1) }
]]

local blind = mg.metric.counter("plan_quota_blind_total", "Requests counted without Redis.", { "route" })

function plugin.create(conf)
  if not conf.plans[conf.default] then return nil, "default: there is no plan of that name" end
  return { conf = conf, redis = mg.redis.new { url = conf.redis, timeout = conf.timeout } }
end

local function count(self, tenant, limit)
  local window, now = self.conf.window, mg.now_ms()
  local n = math.floor(now / window)
  local name = "quota:{" .. tenant .. "}:" .. window .. ":" -- one slot of a cluster for both keys
  local reply, err = self.redis:eval(script, { name .. n, name .. (n - 1) }, { limit, now - n * window, window })
  if not reply then return nil, err end
  return reply[1] == 1, reply[2], window - (now - n * window)
end

function plugin.on_request(x, self)
  local conf, tenant = self.conf, x.ctx.tenant
  local limit = conf.plans[x.ctx.plan or ""] or conf.plans[conf.default]
  local allowed, left, reset_ms = count(self, tenant, limit)
  if allowed == nil then
    mg.log.warn("quotas are this gateway's own for now", { error = left })
    blind:add(1, x.route.id)
    local here, remaining, reset = mg.quota.window("plan-quota", tenant, limit, conf.window)
    allowed, left, reset_ms = here, remaining, reset
  end
  x.ctx.quota = ("%d, %d, %d"):format(limit, left, math.ceil(reset_ms / 1000))
  if allowed then return end
  return x:error(429, "The quota of your plan is used up.", { ["retry-after"] = math.max(1, math.ceil(reset_ms / 1000)) })
end

function plugin.on_response(x)
  local limit, left, reset = (x.ctx.quota or ""):match("(%d+), (%d+), (%d+)")
  if not limit then return end
  x.response.headers["ratelimit"] = ("limit=%s, remaining=%s, reset=%s"):format(limit, left, reset)
end

return plugin
