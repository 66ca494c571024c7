-- A route that asks for a tenant, by the plugin of this folder. Build it first (CMakeLists.txt says how), then
--
--   moongate run -c gateway.lua
--   curl -i localhost:8080/hello                          400
--   curl -i localhost:8080/hello -H 'x-tenant: acme'      200
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "build" },
  routes = {
    { "hello", path = "/hello", plugins = {
        { "require-tenant", allow = { "acme", "globex" }, delay = "50ms" },
        { on_request = function(x) return x:respond(200, { hello = x.ctx.tenant }) end },
      } },
  },
}
