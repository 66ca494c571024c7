-- A public GraphQL API.
--     moongate run -c examples/cookbook/lua/graphql-limits/gateway.lua
return {
  listen = "127.0.0.1:8080",
  routes = {
    { "graphql", path = "/graphql", methods = { "GET", "POST" }, upstream = "http://127.0.0.1:9001", plugins = {
      { "graphql-limits", depth = 4, selections = 20, require_query = true },
    } },
  },
}
