-- request-transformer.lua - changes what the upstream gets: fields, arguments, the JSON body, method and path.
--
--     { "request-transformer",
--       remove = { headers = { "x-internal-*" }, body = { "user.password" } },
--       set = { headers = { ["x-client"] = "${client.ip}" }, body = { ["meta.via"] = "gateway", ["meta.hops"] = 1 } } }

local transform = require "moongate.transform"

local plugin = {
  name = "request-transformer", version = "1.0",
  doc = "Changes header fields, query arguments and JSON bodies of requests.",
}

plugin.fields = transform.fields(true)
plugin.fields.method = { type = "string", pattern = "^[A-Z]+$", doc = "The method that the upstream gets." }
plugin.fields.path = { type = "template", doc = "The path that the upstream gets." }

function plugin.create(conf)
  local made, err = transform.prepare(conf)
  if not made then return nil, err end
  made.method, made.path = conf.method, conf.path
  return made
end

function plugin.on_request(x, conf)
  local request = x.request
  if #conf.headers > 0 then transform.fields_of(x, request.headers, conf.headers) end
  if #conf.query > 0 then transform.fields_of(x, request.query, conf.query) end
  if conf.path then
    local path = conf.path:render(x)
    request.path = path
  end
  if #conf.body > 0 then
    local changed = transform.body(x, request, conf)
    if changed == nil and conf.malformed == "refuse" then return x:error(400, "The request body is not JSON.") end
  end
  if conf.method then request.method = conf.method end
end

return plugin
