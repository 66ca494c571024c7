-- A gateway whose policies are tested without a network: gateway_spec.lua runs this very file.
--
--     moongate test examples/tested-config
--     USERS=127.0.0.1:9001 moongate run -c examples/tested-config/gateway.lua

local function is_internal(x) return x.request.headers["x-internal"] == "yes" end

return {
  listen = os.getenv "LISTEN" or "127.0.0.1:8080",

  upstreams = {
    users = { targets = { os.getenv "USERS" or "users.internal:8080" } },
  },

  consumers = {
    alice = { keys = { "alice-key" }, groups = { "staff" } },
    bob = { keys = { "bob-key" } },
  },

  plugins = {
    { "request-id" },
  },

  routes = {
    { "users", path = "/users/{id}", methods = { "GET" }, upstream = "users",
      plugins = {
        { "key-auth" },
        { "rate-limit", limit = 2, window = "1m", by = "consumer" },
        { on_response = function(x) x.response.headers["x-served-for"] = x.consumer.name end },
      } },
    { "admin", path = "/admin/*", upstream = "http://admin.internal:8080/v2",
      plugins = {
        { on_request = function(x)
            if not is_internal(x) then return x:error(403, "Internal callers only.") end
          end },
      } },
    { "health", path = "/health", plugins = { { "respond", body = "fine" } } },
  },
}
