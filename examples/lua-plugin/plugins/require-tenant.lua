-- require-tenant.lua - refuses requests that name no tenant, or one that is not known.

local mg = require "moongate"

local plugin = {
  name = "require-tenant", version = "1.0",
  doc = "Refuses requests that name no known tenant.",
}

plugin.fields = {
  header = { type = "string", preset = "x-tenant", doc = "Header field that names the tenant." },
  known = { type = "list", item = { type = "string" }, required = true, min = 1, doc = "Tenants that are served." },
  delay = { type = "duration", preset = "0s", doc = "Wait this long before an unknown tenant is refused." },
}

local refused = mg.metric.counter("tenant_refused_total", "Requests without a known tenant.", { "why" })

-- Once for each chain entry: check what the fields cannot, and prepare. Handlers get what it returns.
function plugin.create(conf)
  local known = {}
  for _, name in ipairs(conf.known) do
    if known[name] then return nil, "known: \"" .. name .. "\" stands there twice" end
    known[name] = true
  end
  return { header = conf.header, known = known, delay = conf.delay }
end

function plugin.on_request(x, conf)
  local tenant = x.request.headers[conf.header]
  if not tenant then
    refused:add(1, "absent")
    return x:respond(400, { message = "no tenant" })
  end
  if not conf.known[tenant] then
    refused:add(1, "unknown")
    mg.sleep(conf.delay)
    return x:error(403, "This tenant is not served here.")
  end
  x.ctx.tenant = tenant
  x.request.headers["x-internal-tenant"] = tenant
end

function plugin.on_response(x)
  if x.ctx.tenant then x.response.headers["x-served-for"] = x.ctx.tenant end
end

function plugin.on_log(x) mg.log.debug("served", { tenant = x.ctx.tenant, status = x.response.status }) end

return plugin
