-- Two hours of maintenance, known beforehand.
--     BYPASS=$(openssl rand -hex 16) moongate run -c examples/cookbook/lua/maintenance/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "shop", path = "/*", upstream = "http://127.0.0.1:9001", plugins = {
      { "maintenance", from = "2026-03-01T02:00Z", till = "2026-03-01T04:00Z", bypass = os.getenv "BYPASS" },
    } },
  },
}
