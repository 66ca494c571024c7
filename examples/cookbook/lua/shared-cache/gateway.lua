-- A slow catalogue that many read at once.
--     moongate run -c examples/cookbook/lua/shared-cache/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  shared = { ["cache:shared-cache"] = "64m" },
  upstreams = { catalogue = { targets = { os.getenv "UPSTREAM" or "127.0.0.1:9001" } } },
  routes = {
    { "catalogue", path = "/catalogue/*", upstream = "catalogue", plugins = {
      { "shared-cache", upstream = "catalogue", ttl = "2s", args = { "page", "lang" } },
    } },
  },
}
