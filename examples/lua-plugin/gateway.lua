-- A Lua plugin of one's own: plugins/require-tenant.lua, found beside this file.
--
--     moongate run -c examples/lua-plugin/gateway.lua
--     curl -i http://127.0.0.1:8080/hello                       400: no tenant
--     curl -i http://127.0.0.1:8080/hello -H 'x-tenant: acme'   200
--     moongate test examples/lua-plugin

return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  routes = {
    { "hello", path = "/hello",
      plugins = {
        { "require-tenant", known = { "acme", "globex" } },
        { "respond", json = { hello = "${ctx.tenant}" } },
      } },
  },
}
