-- Policies: functions in a chain. They run where they stand, may wait, and see what the plugins before them found out.
--
--     moongate echo &
--     moongate run -c examples/policies.lua
--     curl -i http://127.0.0.1:8080/tenant/x -H 'x-api-key: moon-1'     the upstream gets x-tenant: moon
--     curl -i http://127.0.0.1:8080/private/x                           401, a little late
local mg = require "moongate"
local upstream = os.getenv("UPSTREAM") or "http://127.0.0.1:9000"

local no_robots = { id = "no-robots", on_request = function(x)
  if (x.request.headers["user-agent"] or ""):lower():find("bot", 1, true) then
    return x:respond(403, { message = "people only" })
  end
end }

-- Slow down whoever guesses passwords: the answer comes late, and no worker waits for it.
local tarpit = { id = "tarpit", on_response = function(x)
  if x.response.status == 401 then mg.sleep("200ms") end
end }

-- The order counts: the first to see the request is the last to see the response.
return {
  listen = { { "127.0.0.1:" .. (os.getenv("PORT") or "8080"), name = "public" } },
  plugins = { no_robots },
  consumers = { alice = { metadata = { tenant = "moon" }, keys = { "moon-1" } } },
  routes = {
    { "slow", path = "/private/*", upstream = upstream, plugins = { tarpit, "key-auth" } },

    { "tenant", path = "/tenant/*", upstream = upstream, plugins = {
        "key-auth",
        { on_request = function(x) x.request.headers["x-tenant"] = x.consumer.metadata.tenant end,
          on_response = function(x) x.response.headers["x-seen"] = "yes" end },
    } },

    -- A policy for some requests only: `when` is asked once in an exchange.
    { "beta", path = "/beta/*", upstream = upstream, plugins = {
        { "respond", status = 404, body = "not yet", when = function(x) return x.request.headers["x-beta"] ~= "1" end },
    } },
  },
}
