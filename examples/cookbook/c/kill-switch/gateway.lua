-- An export that can be switched off when the database suffers.
--     moongate run -c examples/cookbook/c/kill-switch/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  plugin_path = { "../build" },
  routes = {
    { "export", path = "/export/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "kill-switch", "export", url = os.getenv "SWITCHES" or "http://127.0.0.1:9002/switches", every = "5s" },
    } },
  },
}
