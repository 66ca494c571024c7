-- Two checkouts; the second is an upstream of its own.
--     moongate run -c examples/cookbook/lua/ab-test/gateway.lua
return {
  listen = "127.0.0.1:8080",
  upstreams = {
    shop = { targets = { "127.0.0.1:9001" } },
    short = { targets = { "127.0.0.1:9002" } },
  },
  routes = {
    { "checkout", path = "/checkout/*", upstream = "shop", plugins = {
      { "ab-test", name = "checkout", variants = { long = { weight = 80 }, short = { weight = 20, upstream = "short" } } },
    } },
  },
}
