-- canary.lua - a new version gets a share of the traffic, and always the same callers of it.
--
-- Who calls (by default the address; better a consumer) is hashed to a number from 0 to 99: below `percent` it goes to the
-- canary. Raising the percentage keeps those who are there already. A header chooses by hand, for testers: `x-canary: always`
-- or `never`. Limits: addresses behind one NAT go together; set `by` to something finer where there is.

local mg = require "moongate"

local plugin = { name = "canary", version = "1.0", doc = "Sends a share of the callers to another upstream." }

plugin.fields = {
  upstream = { type = "string", required = true, doc = "The named upstream of the new version." },
  percent = { type = "number", required = true, min = 0, max = 100, doc = "Its share of the callers." },
  by = { type = "template", preset = "${client.ip}", doc = "Who a caller is." },
  header = { type = "string", preset = "x-canary", doc = "The field by which testers choose." },
  salt = { type = "string", preset = "", doc = "Another one gives other callers the canary." },
}

local sent = mg.metric.counter("canary_requests_total", "Requests by version.", { "route", "version" })

-- 0 up to 100, evenly spread, the same for the same text on every gateway.
local function share_of(text)
  local a, b, c = mg.crypto.digest("sha256", text):byte(1, 3)
  return (a * 65536 + b * 256 + c) / 16777216 * 100
end

function plugin.on_request(x, conf)
  local wish = x.request.headers[conf.header]
  local is_chosen = wish == "always" or wish ~= "never" and share_of(conf.salt .. "\n" .. (conf.by:render(x))) < conf.percent
  if wish then x.request.headers[conf.header] = nil end
  if is_chosen then x.upstream = conf.upstream end
  x.ctx.version = is_chosen and "canary" or "stable"
  sent:add(1, x.route.id, x.ctx.version)
end

function plugin.on_response(x)
  if x.ctx.version then x.response.headers["x-version"] = x.ctx.version end
end

return plugin
