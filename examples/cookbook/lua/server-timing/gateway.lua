-- Times for those who sit in the office.
--     moongate run -c examples/cookbook/lua/server-timing/gateway.lua
return {
  listen = "127.0.0.1:8080",
  plugins = { { "server-timing", only = { "10.1.", "127.0.0.1" } } },
  routes = { { "all", path = "/*", upstream = "http://127.0.0.1:9001" } },
}
