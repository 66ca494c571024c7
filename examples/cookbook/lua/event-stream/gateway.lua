-- Prices as they change, for browsers.
--     moongate run -c examples/cookbook/lua/event-stream/gateway.lua
--     curl -N http://127.0.0.1:8080/events/prices &    redis-cli PUBLISH prices '{"eur": 7}'
return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",
  timeouts = { exchange = "15m" },
  routes = {
    { "events", path = "/events/{channel}", methods = { "GET" }, plugins = {
      { "event-stream", channels = { "prices", "news" }, redis = os.getenv "REDIS" or "redis://127.0.0.1:6379", most = "10m" },
    } },
  },
}
