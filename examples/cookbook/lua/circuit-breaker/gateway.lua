-- A service that is left alone when it fails.
--     moongate run -c examples/cookbook/lua/circuit-breaker/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "stock", path = "/*", upstream = "http://127.0.0.1:9001", plugins = { { "circuit-breaker", failures = 3, open_for = "5s" } } },
  },
}
