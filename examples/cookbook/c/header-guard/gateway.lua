-- What a route expects of its header fields.
--     moongate run -c examples/cookbook/c/header-guard/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  routes = {
    { "api", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "header-guard",
        rules = {
          { "x-tenant", required = true, most_bytes = 32, matches = "^[a-z0-9-]+$" },
          { "accept-language", most_bytes = 200 },
        },
        forbidden = { "x-internal-user", "x-internal-role" } },
    } },
  },
}
