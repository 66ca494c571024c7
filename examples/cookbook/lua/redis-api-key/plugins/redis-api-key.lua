-- redis-api-key.lua - API keys that live in a database, not in the config: issued and revoked at any time.
--
-- Each key is a hash in Redis under "apikey:" and the SHA-256 of the key, so that the database holds no key that works:
-- HSET apikey:<digest> owner alice plan gold. What was found is kept for `ttl`, what was not for `negative_ttl`; of many
-- requests with one key only one asks. When Redis is away keys that are cached go on working and all others get 503: a
-- gateway that cannot check a key lets nobody in. Limits: a revoked key works for up to `ttl`.

local mg = require "moongate"

local plugin = { name = "redis-api-key", version = "1.0", doc = "API keys from Redis, cached.", provides = { "tenant" } }

plugin.fields = {
  redis = { type = "string", preset = "redis://127.0.0.1:6379", secret = true, doc = "Where the keys are." },
  header = { type = "string", preset = "x-api-key", doc = "The field that carries the key." },
  ttl = { type = "duration", preset = "30s", min = 1000, doc = "How long a known key is not asked for again." },
  negative_ttl = { type = "duration", preset = "5s", doc = "The same of an unknown one." },
  timeout = { type = "duration", preset = "200ms", min = 1, doc = "How long Redis may take." },
}

function plugin.create(conf, entry)
  return {
    header = conf.header,
    redis = mg.redis.new { url = conf.redis, timeout = conf.timeout, name = "moongate-keys" },
    cache = mg.cache("redis-api-key", { ttl = conf.ttl, negative_ttl = conf.negative_ttl, error_ttl = 0 }),
  }
end

-- The key's hash; false: there is no such key; nil and why: nobody knows. Only what Redis said is kept.
local function lookup(conf, digest)
  local row, err = conf.redis:hgetall("apikey:" .. digest)
  if not row then error("redis: " .. tostring(err), 0) end
  if not row.owner then return nil, "unknown" end
  return { owner = row.owner, plan = row.plan or "free" }
end

function plugin.on_request(x, conf)
  local headers = x.request.headers
  local key = headers[conf.header]
  if not key then return x:error(401, "This needs an API key.", { ["www-authenticate"] = "ApiKey" }) end
  headers[conf.header] = nil
  local digest = mg.crypto.hex(mg.crypto.digest("sha256", key))
  local ok, found = pcall(conf.cache.get, conf.cache, digest, function(d) return lookup(conf, d) end)
  if not ok then
    mg.log.error("keys cannot be checked", { error = tostring(found) })
    return x:error(503, "Keys cannot be checked now.", { ["retry-after"] = "1" })
  end
  if not found then return x:error(401, "This key is not known.", { ["www-authenticate"] = "ApiKey" }) end
  x.ctx.tenant, x.ctx.plan = found.owner, found.plan
  headers["x-tenant"] = found.owner
end

return plugin
