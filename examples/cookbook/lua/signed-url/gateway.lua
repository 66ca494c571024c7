-- Files by links that expire.
--     LINK_SECRET=… moongate run -c examples/cookbook/lua/signed-url/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "files", path = "/files/*", methods = { "GET", "HEAD" }, upstream = "http://127.0.0.1:9001", plugins = {
      { "signed-url", secrets = { os.getenv "LINK_SECRET" or "an-example-of-a-secret" } },
    } },
  },
}
