-- API keys from Redis.
--     moongate run -c examples/cookbook/lua/redis-api-key/gateway.lua
--     redis-cli HSET apikey:$(printf %s my-key | sha256sum | cut -d' ' -f1) owner alice plan gold
--     curl -H 'x-api-key: my-key' http://127.0.0.1:8080/
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  routes = {
    { "api", path = "/*", upstream = os.getenv "UPSTREAM" or "http://127.0.0.1:9001", plugins = {
      { "redis-api-key", redis = os.getenv "REDIS" or "redis://127.0.0.1:6379" },
    } },
  },
}
