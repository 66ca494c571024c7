-- Tenants in two places; a directory knows who is where.
--     moongate run -c examples/cookbook/c/shard-lookup/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  shared = { shards = "4m" },
  upstreams = {
    east = { targets = { os.getenv "EAST" or "127.0.0.1:9001" } },
    west = { targets = { os.getenv "WEST" or "127.0.0.1:9002" } },
  },
  routes = {
    { "data", path = "/*", upstream = "east", plugins = {
      { "shard-lookup", os.getenv "DIRECTORY" or "http://127.0.0.1:9003/tenants", timeout = "300ms" },
    } },
  },
}
