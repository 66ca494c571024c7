-- respond.lua - answers by itself: fixed answers, mocks, maintenance pages. No upstream is asked.
--
--     { "respond", status = 200, json = { hello = "${consumer.name|stranger}", at = "${request.path}" }, delay = "50ms" }

local mg = require "moongate"

local plugin = {
  name = "respond", version = "1.0",
  doc = "Answers requests by itself, with a fixed or templated body.",
}

plugin.fields = {
  status = { type = "integer", preset = "200", min = 200, max = 599, doc = "Status of the answer." },
  headers = { type = "map", item = { type = "template" }, doc = "Header fields of the answer." },
  body = { type = "template", doc = "Body, as text." },
  json = { type = "any", doc = "Body, as data that becomes JSON; texts in it are templates." },
  error = { type = "template", doc = "Detail of an answer in the gateway's own error shape." },
  content_type = { type = "string", min = 1, doc = "Content type; by default text/plain for body, application/json for json." },
  delay = { type = "duration", preset = "0s", max = 600000, doc = "Wait this long before answering." },
}

-- Data with its texts compiled: constants stay as they are.
local function compiled(v)
  if type(v) == "string" then
    if not v:find("$", 1, true) then return v end
    local template, err = mg.template(v)
    if not template then error("json: " .. err, 0) end
    return { template = template }, true
  end
  if type(v) ~= "table" then return v end
  local made, varies = {}, false
  for k, item in pairs(v) do
    local got, item_varies = compiled(item)
    made[k] = got
    varies = varies or item_varies
  end
  return { table = made }, varies
end

local function filled(v, x)
  if type(v) ~= "table" then return v end
  if v.template then return (v.template:render(x)) end
  local made = {}
  for k, item in pairs(v.table) do made[k] = filled(item, x) end
  return made
end

function plugin.create(conf)
  local bodies = (conf.body and 1 or 0) + (conf.json ~= nil and 1 or 0) + (conf.error and 1 or 0)
  if bodies > 1 then return nil, "only one of body, json and error" end
  if conf.error and conf.status < 400 then return nil, "error: the status of an error is 400 or above, not " .. conf.status end
  local made = { status = conf.status, body = conf.body, error = conf.error, delay = conf.delay, content_type = conf.content_type,
                 headers = {} }
  if conf.json ~= nil then
    local data, varies = compiled(conf.json)
    if varies then made.data = data else made.text = mg.json.encode(conf.json) end
    made.content_type = made.content_type or "application/json"
  end
  local names = {}
  for name in pairs(conf.headers or {}) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do made.headers[i] = { name = name, value = conf.headers[name] } end
  return made
end

local function body_of(x, conf)
  if conf.text then return conf.text end
  if conf.data then return mg.json.encode(filled(conf.data, x)) end
  if conf.body then return (conf.body:render(x)) end
  return ""
end

function plugin.on_request(x, conf)
  if conf.delay > 0 then mg.sleep(conf.delay) end
  local answer
  if conf.error then
    answer = x:error(conf.status, (conf.error:render(x)))
  else
    answer = x:respond(conf.status, body_of(x, conf))
    if conf.content_type then x.response.headers["content-type"] = conf.content_type end
  end
  local fields = x.response.headers
  for i = 1, #conf.headers do
    local value, absent = conf.headers[i].value:render(x)
    if (value ~= "" or absent == 0) and not value:find("[%z\1-\8\10-\31\127]") then fields[conf.headers[i].name] = value end
  end
  return answer
end

return plugin
