-- Addresses that somebody else has found to be bad.
--     moongate run -c examples/cookbook/lua/blocklist/gateway.lua
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  shared = { blocklist = "8m" },
  routes = {
    { "all", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "blocklist", url = os.getenv "LIST" or "https://lists.example.com/bad.txt", every = "5m" },
    } },
  },
}
