-- A tenth of the callers get the new version.
--     moongate run -c examples/cookbook/lua/canary/gateway.lua
return {
  listen = "127.0.0.1:8080",
  upstreams = {
    stable = { targets = { "127.0.0.1:9001" } },
    next = { targets = { "127.0.0.1:9002" } },
  },
  routes = {
    { "shop", path = "/*", upstream = "stable", plugins = { { "canary", upstream = "next", percent = 10 } } },
  },
}
