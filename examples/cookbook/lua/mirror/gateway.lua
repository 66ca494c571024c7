-- A tenth of what is read goes to the new version as well.
--     moongate run -c examples/cookbook/lua/mirror/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  routes = {
    { "catalogue", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "mirror", to = os.getenv "MIRROR" or "http://127.0.0.1:9002", share = tonumber(os.getenv "SHARE" or "0.1"),
        most = tonumber(os.getenv "MOST" or "50") },
    } },
  },
}
