-- Opaque tokens, checked at their issuer.
--     CLIENT_SECRET=… moongate run -c examples/cookbook/lua/token-introspection/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "orders", path = "/orders/*", upstream = "http://127.0.0.1:9001", plugins = {
      { "token-introspection", url = "https://idp.example.com/introspect", scopes = { "orders:read" },
        client_id = "gateway", client_secret = os.getenv "CLIENT_SECRET" or "change-me" },
    } },
  },
}
