-- Logs for a collector.
--     moongate run -c examples/cookbook/lua/batch-log/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugins = { { "batch-log", url = os.getenv "COLLECTOR" or "http://127.0.0.1:9002/logs", every = "1s", batch = 3 } },
  routes = { { "all", path = "/*", plugins = { { "respond", body = "fine" } } } },
}
