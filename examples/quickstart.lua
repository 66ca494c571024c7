-- What examples/quickstart starts: keys, a limit, a policy in Lua, a route that answers by itself.
local echo = os.getenv("ECHO_URL") or "http://127.0.0.1:9000" -- `moongate echo` listens there by default
local port = os.getenv("PORT") or "8080"

-- A policy is a function: this one lets nobody but operators delete.
local function only_operators_delete(x)
  if x.request.method == "DELETE" and not x.consumer:in_group("operators") then
    return x:respond(403, { message = "ask an operator to delete this" })
  end
end

return {
  listen = { { "127.0.0.1:" .. port, name = "public" } },
  admin = { "127.0.0.1:0", name = "admin" },
  workers = 2,

  consumers = {
    alice = { groups = { "staff" }, keys = { "moon-1" } },
    bob = { keys = { "moon-2" } },
  },

  plugins = { "request-id" }, -- every route

  routes = {
    { "hello", path = "/hello", plugins = {
        { on_request = function(x)
            return x:respond(200, { message = "hello, " .. (x.request.query.name or "world") })
          end },
    } },

    { "api", path = "/api/*", strip_prefix = true, upstream = echo, plugins = {
        "key-auth",
        { "rate-limit", limit = 5, window = "30s", by = "consumer" },
        { on_request = only_operators_delete },
        { "headers", request = { set = { ["x-caller"] = "${consumer.name}" } },
                     response = { set = { ["x-served-by"] = "moongate" } } },
    } },
  },
}
