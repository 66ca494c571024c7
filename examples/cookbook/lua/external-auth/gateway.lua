-- A service of yours decides who may pass.
--     moongate run -c examples/cookbook/lua/external-auth/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "api", path = "/*", upstream = "http://127.0.0.1:9001", plugins = {
      { "external-auth", url = "http://127.0.0.1:9002/decide", timeout = "300ms", cache = "10s" },
    } },
  },
}
