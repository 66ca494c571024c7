-- ab-test.lua - visitors see one of several variants and keep it, by a cookie.
--
-- A newcomer is given a variant at random by weight, as a cookie; the upstream learns it in `x-variant`, and may be another one
-- for each variant. A cookie that names no variant (any more) is as none. Limits: who refuses cookies may see another variant
-- each time; responses to newcomers are marked `cache-control: private`, so that no cache hands one visitor's cookie to all.

local mg = require "moongate"

local plugin = { name = "ab-test", version = "1.0", doc = "Variants by cookie, for experiments." }

plugin.fields = {
  name = { type = "string", required = true, pattern = "[a-z0-9-]{1,40}", doc = "The experiment: the cookie is ab-NAME." },
  variants = { type = "map", required = true, min = 2, doc = "By name.", item = { type = "table", fields = {
    weight = { type = "number", required = true, min = 0, doc = "Its share of the newcomers." },
    upstream = { type = "string", doc = "Where its visitors go; without it where the route does." },
  } } },
  keep = { type = "duration", preset = "30d", min = 1000, doc = "How long a visitor keeps a variant." },
}

local assigned = mg.metric.counter("ab_test_assigned_total", "Newcomers by variant.", { "experiment", "variant" })

function plugin.create(conf)
  local order, total = {}, 0
  for name, v in pairs(conf.variants) do
    if not name:find "^[%w_-]+$" then return nil, "variants." .. name .. ": letters, digits, - and _ alone" end
    order[#order + 1], total = name, total + v.weight
  end
  if total <= 0 then return nil, "variants: all weights are 0" end
  table.sort(order)
  return { cookie = "ab-" .. conf.name, name = conf.name, variants = conf.variants, order = order, total = total, keep = conf.keep }
end

local function draw(conf)
  local at = mg.random() * conf.total
  for _, name in ipairs(conf.order) do
    at = at - conf.variants[name].weight
    if at < 0 then return name end
  end
  return conf.order[#conf.order]
end

function plugin.on_request(x, conf)
  local name = x.request.cookies[conf.cookie]
  if not name or not conf.variants[name] then
    name = draw(conf)
    x.ctx["ab_new_" .. conf.name] = name
    assigned:add(1, conf.name, name)
  end
  x.request.headers["x-variant"] = conf.name .. "=" .. name
  local upstream = conf.variants[name].upstream
  if upstream then x.upstream = upstream end
end

function plugin.on_response(x, conf)
  local name = x.ctx["ab_new_" .. conf.name]
  if not name then return end
  local headers = x.response.headers
  headers:add("set-cookie", ("%s=%s; Path=/; Max-Age=%d; SameSite=Lax; HttpOnly%s"):format(
    conf.cookie, name, conf.keep / 1000, x.request.scheme == "https" and "; Secure" or ""))
  headers["cache-control"] = "private"
end

return plugin
