-- Payments that are made once, however often they are sent.
--     moongate run -c examples/cookbook/lua/idempotency-key/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  store = os.getenv "STORE" or "/tmp/moongate-idempotency.db",
  routes = {
    { "payments", path = "/payments", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "idempotency-key", required = true, keep = "1d" },
    } },
  },
}
