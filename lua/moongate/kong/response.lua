-- response.lua - kong.response: the response that the client gets.

local host = require "moongate.host"
local answer = require "moongate.kong.answer"
local filter = require "moongate.kong.filter"
local state = require "moongate.kong.state"
local text = require "moongate.kong.text"
local cjson = require "moongate.kong.cjson"
local type, error, tostring = type, error, tostring
local pairs = host.pairs
local here = host.here

local response = {}

function response.get_status() return here().response.status end

function response.get_header(name)
  if type(name) ~= "string" then error("header name must be a string", 2) end
  if answer.is_early() then
    local v = answer.pending(name)
    if type(v) == "table" then return v[1] end
    return v ~= nil and tostring(v) or nil
  end
  return here().response.headers:get((name:gsub("_", "-")))
end

function response.get_headers(max) return text.fields(here().response.headers, max or 100) end

local sources = { upstream = "service", plugin = "exit", gateway = "error" }
-- "service", "exit" or "error".
function response.get_source() return sources[here().response.source or ""] or "error" end

function response.set_status(status)
  if type(status) ~= "number" or status < 100 or status > 599 then error("code must be a number between 100 and 599", 2) end
  if answer.is_early() then return answer.status(status) end
  here().response.status = status
end

local function check_name(name)
  if type(name) ~= "string" then error("invalid header name: got " .. type(name) .. ", expected string", 3) end
end
local function check_value(value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" and kind ~= "table" then
    error("invalid header value: got " .. kind .. ", expected string, number, boolean or array of strings", 3)
  end
end

function response.set_header(name, value)
  check_name(name)
  check_value(value)
  return answer.field("set", name, value)
end
function response.add_header(name, value)
  check_name(name)
  check_value(value)
  return answer.field("add", name, value)
end
function response.clear_header(name)
  check_name(name)
  return answer.field("remove", name)
end
function response.set_headers(headers)
  if type(headers) ~= "table" then error("headers must be a table", 2) end
  for name, value in pairs(headers) do
    check_name(name)
    check_value(value)
  end
  for name, value in pairs(headers) do answer.field("set", name, value) end
end

-- Answer and end the request. A table is sent as JSON. Does not return.
function response.exit(status, body, headers)
  if type(status) ~= "number" or status < 100 or status > 599 then error("code must be a number between 100 and 599", 2) end
  if headers ~= nil and type(headers) ~= "table" then error("headers must be a nil or table", 2) end
  local kind
  if type(body) == "table" then
    body, kind = cjson.encode(body), "application/json; charset=utf-8"
  elseif body ~= nil and type(body) ~= "string" then
    error("body must be a nil, string or table", 2)
  end
  return answer.send(status, body, headers, kind)
end

local messages = { [400] = "Bad request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not found", [405] = "Method not allowed",
                   [408] = "Request timeout", [411] = "Length required", [412] = "Precondition failed", [413] = "Payload too large",
                   [414] = "URI too long", [415] = "Unsupported media type", [417] = "Expectation failed", [429] = "Too many requests",
                   [494] = "Request header or cookie too large", [500] = "An unexpected error occurred", [501] = "Not implemented",
                   [502] = "An invalid response was received from the upstream server", [503] = "Service unavailable",
                   [504] = "The upstream server is timing out", [505] = "HTTP version not supported" }

local function escaped(s)
  return (s:gsub("[<>&\"]", { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;", ['"'] = "&quot;" }))
end

-- The same message in what the client would rather read.
function response.error(status, message, headers)
  if type(status) ~= "number" or status < 400 or status > 599 then error("code must be a number between 400 and 599", 2) end
  local x = here()
  local accept = (x.request.headers.accept or ""):lower()
  local content_type
  message = message or messages[status] or "An unexpected error occurred"
  if type(message) == "table" then
    return answer.send(status, cjson.encode(message), headers, "application/json; charset=utf-8")
  end
  message = tostring(message)
  local body
  if accept:find("text/html", 1, true) then
    content_type = "text/html; charset=utf-8"
    body = "<!doctype html>\n<html><head><title>Error</title></head><body><h1>Error</h1><p>" .. escaped(message) .. ".</p><p>request_id: " .. x.id ..
      "</p></body></html>\n"
  elseif accept:find("text/plain", 1, true) then
    content_type, body = "text/plain; charset=utf-8", message .. "\nrequest_id: " .. x.id .. "\n"
  elseif accept:find("application/xml", 1, true) and not accept:find("application/json", 1, true) then
    content_type = "application/xml; charset=utf-8"
    body = '<?xml version="1.0" encoding="UTF-8"?>\n<error><message>' .. escaped(message) .. "</message><requestid>" .. x.id .. "</requestid></error>\n"
  else
    content_type, body = "application/json; charset=utf-8", cjson.encode { message = message, request_id = x.id }
  end
  return answer.send(status, body, headers, content_type)
end

-- In body_filter: nil until the last piece is there, which are held back meanwhile. In response: the whole.
function response.get_raw_body()
  if state.phase() == "body_filter" then return filter.gather() end
  return here().response:body { raw = true, over = "skip" }
end
function response.set_raw_body(body)
  if type(body) ~= "string" then error("body must be a string", 2) end
  if state.phase() == "body_filter" then return filter.replace(body) end
  here().response:set_raw_body(body)
end

return response
