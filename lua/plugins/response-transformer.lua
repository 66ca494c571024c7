-- response-transformer.lua - changes what the client gets: status, fields, the JSON body.
--
--     { "response-transformer", if_status = "2xx",
--       remove = { headers = { "server", "x-powered-by" }, body = { "debug" } },
--       rename = { body = { ["items[*].uid"] = "id" } } }

local mg = require "moongate"
local transform = require "moongate.transform"

local plugin = {
  name = "response-transformer", version = "1.0",
  doc = "Changes status, header fields and JSON bodies of responses.",
}

plugin.fields = transform.fields(false)
plugin.fields.status = { type = "integer", min = 200, max = 599, doc = "The status that the client gets." }
plugin.fields.if_status = { type = "list", single = true, item = { type = "string", pattern = "^[1-5]([0-9][0-9](-[1-5][0-9][0-9])?|xx)$" },
  doc = "Only answers with these statuses: \"200\", \"4xx\", \"500-503\"; all by default." }

local function ranges(list)
  local made = {}
  for i, text in ipairs(list or {}) do
    local low, high = text:match("^(%d+)-(%d+)$")
    if text:sub(2) == "xx" then
      low = tonumber(text:sub(1, 1)) * 100
      high = low + 99
    end
    low = tonumber(low or text)
    high = tonumber(high or low)
    if low > high then return nil, "if_status: " .. text .. ": the first is above the second" end
    made[i] = { low = low, high = high }
  end
  return made
end

function plugin.create(conf)
  local made, err = transform.prepare(conf)
  if not made then return nil, err end
  made.status = conf.status
  made.ranges, err = ranges(conf.if_status)
  if not made.ranges then return nil, err end
  return made
end

local function applies(list, status)
  if #list == 0 then return true end
  for i = 1, #list do
    if status >= list[i].low and status <= list[i].high then return true end
  end
  return false
end

local function has_body(x, status)
  return status ~= 204 and status ~= 304 and status ~= 206 and x.request.method ~= "HEAD"
end

function plugin.on_response(x, conf)
  local response = x.response
  local status = response.status
  if not applies(conf.ranges, status) then return end
  if #conf.body > 0 and has_body(x, status) then
    local changed, err = transform.body(x, response, conf)
    if changed == nil then
      mg.log.warn("an answer says that it is JSON, and is not", { problem = err })
      if conf.malformed == "refuse" then return x:error(502, "The upstream's answer is not JSON.") end
    end
  elseif #conf.body > 0 and status ~= 206 then
    response:resize_body() -- HEAD, 304: the length that GET would get is not known
  end
  if #conf.headers > 0 then transform.fields_of(x, response.headers, conf.headers) end
  if conf.status then response.status = conf.status end
end

return plugin
