-- Signed webhooks.
--     WEBHOOK_SECRET=… moongate run -c examples/cookbook/lua/webhook-signature/gateway.lua
return {
  listen = "127.0.0.1:8080",
  shared = { webhooks = "4m" },
  routes = {
    { "hooks", path = "/hooks/payment", methods = { "POST" }, upstream = "http://127.0.0.1:9001", plugins = {
      { "webhook-signature", secrets = { os.getenv "WEBHOOK_SECRET" or "an-example-of-a-secret" } },
    } },
  },
}
