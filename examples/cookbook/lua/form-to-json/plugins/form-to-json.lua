-- form-to-json.lua - a service that speaks JSON alone gets the forms of browsers as JSON.
--
-- `a=1&b=x&b=y` becomes {"a":"1","b":["x","y"]}; all values are text, as a form has no other. Malformed percent-encoding, bytes
-- that are not UTF-8 and too many fields are answered 400. Other content types pass as they came. Limits: urlencoded forms (no
-- uploads); a field that came once is a text, so list fields of the service are named in `lists`.

local mg = require "moongate"

local plugin = { name = "form-to-json", version = "1.0", doc = "Turns urlencoded forms into JSON." }

plugin.fields = {
  lists = { type = "list", item = { type = "string" }, preset = {}, doc = "Fields that are lists, also of one." },
  most = { type = "integer", preset = 200, min = 1, doc = "The most fields of a form." },
  limit = { type = "size", preset = "64k", doc = "The largest form." },
}

function plugin.create(conf)
  local lists = {}
  for _, name in ipairs(conf.lists) do lists[name] = true end
  return { lists = lists, most = conf.most, limit = conf.limit }
end

local function decode(text)
  if text:find "%%[^%x]" or text:find "%%%x[^%x]" or text:find "%%%x?$" then return nil end
  local plain = mg.url_decode((text:gsub("+", " ")))
  if mg.json.decode(mg.json.encode(plain)) ~= plain then return nil end -- JSON would say U+FFFD for what is no UTF-8
  return plain
end

local function add(form, lists, name, value)
  local had = form[name]
  if had == nil then
    form[name] = lists[name] and mg.json.array { value } or value
  elseif type(had) == "table" then
    had[#had + 1] = value
  else
    form[name] = mg.json.array { had, value }
  end
end

local function parse(conf, body)
  local form, n = {}, 0
  for pair in body:gmatch "[^&]+" do
    n = n + 1
    if n > conf.most then return nil, "It has too many fields." end
    local name, value = pair:match "^([^=]*)=?(.*)$"
    name, value = decode(name), decode(value)
    if not name or not value then return nil, "It is not encoded as a form in UTF-8." end
    add(form, conf.lists, name, value)
  end
  return form
end

function plugin.on_request(x, conf)
  local kind = (x.request.headers["content-type"] or ""):lower()
  if not kind:find "^application/x%-www%-form%-urlencoded" then return end
  local form, why = parse(conf, x.request:body(conf.limit) or "") -- over the limit: answered 413
  if not form then return x:error(400, why) end
  x.request:set_body(form)
  x.request.headers["content-type"] = "application/json"
end

return plugin
