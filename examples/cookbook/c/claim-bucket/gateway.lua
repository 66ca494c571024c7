-- Tokens say who asks and what was paid for.
--     moongate run -c examples/cookbook/c/claim-bucket/gateway.lua      (once it is built: ../CMakeLists.txt)
return {
  listen = "127.0.0.1:8080",
  plugin_path = { "../build" },
  routes = {
    { "api", path = "/*", upstream = "http://127.0.0.1:9001", plugins = {
      { "jwt", keys = { { secret = os.getenv "JWT_SECRET" or "an example of a secret that is long enough", algorithm = "HS256" } },
        claims_to_ctx = { sub = "sub", plan = "plan" } },
      { "claim-bucket", limit = 2, plans = { gold = 100 }, window = "1m" },
    } },
  },
}
