-- Orders that are orders.
--     moongate run -c examples/cookbook/lua/validate-json/gateway.lua
local order = {
  type = "object", required = { "customer", "items" }, additionalProperties = false,
  properties = {
    customer = { type = "string", pattern = "^[A-Z]{2}\\d{4}$" },
    express = { type = "boolean" },
    payment = { enum = { "card", "invoice" } },
    items = { type = "array", minItems = 1, maxItems = 100, items = {
      type = "object", required = { "sku", "n" }, properties = { sku = { type = "string", maxLength = 20 }, n = { type = "integer", minimum = 1 } },
    } },
  },
}

return {
  listen = "127.0.0.1:8080",
  routes = {
    { "orders", path = "/orders", upstream = "http://127.0.0.1:9001", plugins = { { "validate-json", schema = order } } },
  },
}
