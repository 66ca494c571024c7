-- aggregate.lua - one answer out of several upstreams, asked at once: a page needs one request where it needed three.
--
-- Each part is a path at a named upstream, with variables in it. All are asked in parallel; a part that is not needed
-- (`optional`) is null when it fails or is late, and the answer says so in `missing`; without one that is needed the answer is
-- 502. The caller's credentials go along. Limits: parts answer JSON, of at most `limit` bytes each.

local mg = require "moongate"

local plugin = { name = "aggregate", version = "1.0", doc = "Asks several upstreams at once and answers with all of it." }

plugin.fields = {
  parts = { type = "map", required = true, min = 1, max = 16, doc = "By the member of the answer.", item = { type = "table", fields = {
    upstream = { type = "string", required = true, doc = "A named upstream." },
    path = { type = "template", required = true, doc = "What it is asked for: /users/${request.params.id}." },
    optional = { type = "boolean", preset = false, doc = "Whether there is an answer without it." },
  } } },
  timeout = { type = "duration", preset = "2s", min = 1, doc = "How long a part may take." },
  limit = { type = "size", preset = "256k", doc = "The largest part." },
}

function plugin.create(conf)
  local order = {}
  for name in pairs(conf.parts) do order[#order + 1] = name end
  table.sort(order)
  return { conf = conf, order = order }
end

local function fetch(x, conf, part)
  local headers = x.request.headers
  local r, err = mg.http.request {
    upstream = part.upstream, path = (part.path:render(x)), timeout = conf.timeout, limit = conf.limit,
    headers = { accept = "application/json", authorization = headers.authorization, ["x-request-id"] = x.id },
  }
  if not r then return nil, err end
  if r.status ~= 200 then return nil, "status " .. r.status end
  local value, why = r:json()
  if value == nil then return nil, why end
  return { value = value }
end

function plugin.on_request(x, self)
  local conf, fns = self.conf, {}
  for i, name in ipairs(self.order) do
    fns[i] = function() return fetch(x, conf, conf.parts[name]) end
  end
  local answers, errors = mg.all(fns)
  local whole, missing = {}, mg.json.array {}
  for i, name in ipairs(self.order) do
    if answers[i] then
      whole[name] = answers[i].value
    else
      mg.log.warn("a part is missing", { part = name, error = tostring(errors[i]) })
      if not conf.parts[name].optional then return x:error(502, "A part of the answer is missing.") end
      whole[name] = mg.json.null
      missing[#missing + 1] = name
    end
  end
  whole.missing = missing
  return x:respond(200, whole, { ["cache-control"] = "private, no-store" })
end

return plugin
