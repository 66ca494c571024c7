-- Quotas by plan, in a Redis that several gateways share.
--     moongate run -c examples/cookbook/lua/plan-quota/gateway.lua
local who = { -- in earnest an auth plugin: see ../redis-api-key
  provides = { "tenant" },
  on_request = function(x)
    x.ctx.tenant = x.request.headers["x-tenant"] or x.client.ip
    x.ctx.plan = x.request.headers["x-plan"]
  end,
}

return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  routes = {
    { "api", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      who,
      { "plan-quota", plans = { free = 3, gold = 100 }, default = "free", redis = os.getenv "REDIS" or "redis://127.0.0.1:6379" },
    } },
  },
}
