-- mask-fields.lua - members of JSON answers that some callers are not to see are masked or taken out.
--
-- Members are named by key, wherever they stand ("iban"), or by key under one of the given parents ("card.number"). Callers of
-- the given groups see all. Text keeps its last characters (`keep`), all other values become null. What cannot be read
-- (no JSON though it says so, or too large) is answered 502: what might hold a secret does not pass. Limits: whole bodies of
-- up to `limit` bytes; numbers keep their digits, but the text is written anew (spaces, order of members).

local mg = require "moongate"

local plugin = { name = "mask-fields", version = "1.0", doc = "Masks members of JSON answers." }

plugin.fields = {
  mask = { type = "list", item = { type = "string", min = 1 }, preset = {}, doc = "Members whose values are masked." },
  remove = { type = "list", item = { type = "string", min = 1 }, preset = {}, doc = "Members that are taken out." },
  keep = { type = "integer", preset = 4, min = 0, max = 16, doc = "How many last characters of a masked text stay." },
  groups = { type = "list", item = { type = "string" }, preset = {}, doc = "Consumers of these groups see all." },
  limit = { type = "size", preset = "1m", doc = "The largest body." },
}

function plugin.create(conf)
  local rules = {}
  for _, name in ipairs(conf.mask) do rules[name] = "mask" end
  for _, name in ipairs(conf.remove) do rules[name] = "remove" end
  if next(rules) == nil then return nil, "mask, remove: nothing is to be masked" end
  return { rules = rules, keep = conf.keep, groups = conf.groups, limit = conf.limit }
end

local function masked(value, keep)
  if type(value) ~= "string" then return mg.json.null end
  if #value <= keep * 2 then return "****" end -- a short text would be its own end
  return "****" .. value:sub(-keep)
end

-- How many values were changed in `value`, which stands under the member `parent`.
local function walk(value, parent, conf)
  local n = 0
  for key, child in pairs(value) do
    local rule = type(key) == "string" and (conf.rules[key] or parent and conf.rules[parent .. "." .. key])
    if rule then
      value[key] = rule == "mask" and masked(child, conf.keep) or nil
      n = n + 1
    elseif type(child) == "table" then
      n = n + walk(child, type(key) == "string" and key or parent, conf)
    end
  end
  return n
end

function plugin.on_response(x, conf)
  local response = x.response
  if response.source ~= "upstream" or not (response.headers["content-type"] or ""):find "^application/[%w.+-]*json" then return end
  for _, group in ipairs(conf.groups) do
    if x.consumer and x.consumer:in_group(group) then return end
  end
  local document, why = response:json(conf.limit) -- over the limit: answered 502
  if document == nil then
    if response.body_length == 0 then return end
    mg.log.error("an answer could not be read, and does not pass", { error = tostring(why) })
    return x:error(502, "The answer cannot be shown.")
  end
  if type(document) == "table" and walk(document, nil, conf) > 0 then response:set_body(document) end
end

return plugin
