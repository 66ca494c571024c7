-- An old application under /app, shown at the root.
--     moongate run -c examples/cookbook/lua/secure-cookies/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "old", path = "/*", upstream = "http://127.0.0.1:9001", plugins = {
      { "secure-cookies", readable = { "theme" }, domain = "", path = { ["/app"] = "/" } },
    } },
  },
}
