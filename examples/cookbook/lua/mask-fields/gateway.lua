-- Customer data: the staff sees all, others see the ends of numbers.
--     moongate run -c examples/cookbook/lua/mask-fields/gateway.lua
return {
  listen = "127.0.0.1:8080",
  consumers = {
    sue = { keys = { "sue-key" }, groups = { "staff" } },
    app = { keys = { "app-key" } },
  },
  routes = {
    { "customers", path = "/customers/*", upstream = "http://127.0.0.1:9001", plugins = {
      "key-auth",
      { "mask-fields", mask = { "iban", "card.number" }, remove = { "password_hash" }, groups = { "staff" }, limit = "256k" },
    } },
  },
}
