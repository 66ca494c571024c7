-- Rolling out two policies: they run and are told, and nobody is refused yet. Who knows the secret sees each chain as it ran.
--
--     moongate echo &
--     DEBUG_SECRET=only-for-operators moongate run -c examples/observe.lua
--     curl -i http://127.0.0.1:8080/orders/7                  200; the log: only observed: it would have answered 401 …
--     DEBUG_SECRET=only-for-operators moongate trace -c examples/observe.lua http://127.0.0.1:8080/orders/7
return {
  listen = "127.0.0.1:" .. (os.getenv("PORT") or "8080"),
  admin = "127.0.0.1:" .. (os.getenv("ADMIN_PORT") or "9901"),
  debug = { secret = os.getenv("DEBUG_SECRET") or "not-for-production", networks = { "127.0.0.0/8", "::1" } },
  consumers = { alice = { keys = { "moon-1" } } },
  routes = {
    { "orders", path = "/orders/*", upstream = os.getenv("UPSTREAM") or "http://127.0.0.1:9000", plugins = {
        { "key-auth", mode = "observe" },
        { "rate-limit", limit = 2, window = "1m", mode = "observe" },
        { id = "stamp", on_request = function(x) x.request.headers["x-gateway"] = "moongate" end },
    } },
  },
}
