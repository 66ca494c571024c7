-- A contact form for a service that speaks JSON.
--     moongate run -c examples/cookbook/lua/form-to-json/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "contact", path = "/contact", methods = { "POST" }, upstream = "http://127.0.0.1:9001", plugins = {
      { "form-to-json", lists = { "topic" } },
    } },
  },
}
