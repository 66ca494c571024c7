-- Uploads that say what they are.
--     moongate run -c examples/cookbook/c/content-digest/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  routes = {
    { "uploads", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = { { "content-digest", required = true, limit = "512k" } } },
  },
}
