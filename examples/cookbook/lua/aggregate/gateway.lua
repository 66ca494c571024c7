-- A home page from three services.
--     moongate run -c examples/cookbook/lua/aggregate/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  upstreams = {
    users = { targets = { os.getenv "USERS" or "127.0.0.1:9001" } },
    orders = { targets = { os.getenv "ORDERS" or "127.0.0.1:9002" } },
    adverts = { targets = { os.getenv "ADVERTS" or "127.0.0.1:9003" } },
  },
  routes = {
    { "home", path = "/home/{id}", methods = { "GET" }, plugins = {
      { "aggregate", timeout = "500ms", parts = {
        user = { upstream = "users", path = "/users/${request.params.id}" },
        orders = { upstream = "orders", path = "/orders?user=${request.params.id}" },
        adverts = { upstream = "adverts", path = "/adverts", optional = true },
      } },
    } },
  },
}
