-- For bodies_spec.lua: what only a whole config says.
local function walk(x)
  for _ in x.request:pieces() do end
end

return {
  listen = { { address = "127.0.0.1:0" } },
  limits = { body = "1k" },
  upstreams = { u = { targets = { "127.0.0.1:1" } } },
  routes = {
    { id = "walk", path = "/walk", upstream = "u", timeouts = { plugin = "1s" }, plugins = {
      { on_request = function(x)
        walk(x)
        if x.request.query.late then require("moongate").sleep(2000) end
      end },
    } },
    { id = "decode", path = "/decode", upstream = "u", plugins = {
      { on_request = function(x)
        x.request:decode()
        x.request:encode("deflate")
      end },
    } },
  },
}
