-- All orders as one file.
--     moongate run -c examples/cookbook/c/paged-export/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  upstreams = { orders = { targets = { os.getenv "ORDERS" or "127.0.0.1:9001" } } },
  routes = {
    { "export", path = "/export/orders.ndjson", methods = { "GET" }, plugins = {
      { "paged-export", upstream = "orders", path = "/orders?page=1", timeout = "5s" },
    } },
  },
}
