-- test_fakes.lua - what a spec says of the world outside, as the bytes that the services exchange (core/exchange/outside.h):
-- HTTP requests and answers as HTTP/1.1 text, Redis commands and replies as RESP, names and addresses as text.

local json = require "moongate.json"
local fakes = {}

local units = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }

-- Milliseconds from 250, "250ms", "5s"…
function fakes.ms(v, what)
  if v == nil then return nil end
  if type(v) == "number" and v >= 0 then return v end
  local n, unit = tostring(v):match("^([%d.]+)(%a+)$")
  if tonumber(n) and units[unit] then return tonumber(n) * units[unit] end
  error(what .. ": milliseconds or \"250ms\", \"5s\" expected, not " .. tostring(v), 0)
end

-- Why a server cannot be asked.
local failures = {
  timeout = -5009, closed = -5012, reset = -5012, protocol = -5011, tls = -5013, unresolved = -5004, busy = -5008, too_big = -5007,
  refused = -111,
}
local function failure(word)
  return failures[word] or
    error("fails: \"timeout\", \"refused\", \"reset\", \"closed\", \"tls\", \"unresolved\", \"protocol\", \"busy\" or \"too_big\" expected, not " ..
      tostring(word), 0)
end

-- ---- HTTP -----------------------------------------------------------------------------------------

local function request_of(text)
  local head, body = text:match("^(.-)\r\n\r\n(.*)$")
  local method, url = (head or text):match("^(%S+) (%S+)")
  local request = { method = method, url = url, body = body or "", fields = {}, headers = {} }
  for name, value in (head or ""):gmatch("\r\n([^:\r]+):%s*([^\r]*)") do
    request.fields[#request.fields + 1] = { name, value }
    local key = name:lower()
    if request.headers[key] == nil then request.headers[key] = value end
  end
  setmetatable(request.headers, { __index = function(h, k) return type(k) == "string" and rawget(h, k:lower()) or nil end })
  local path = url and url:match("^%a[%w+.-]*://[^/?#]*([^#]*)") or url or "/"
  request.host = url and url:match("^%a[%w+.-]*://([^/?#]*)")
  request.path, request.query = path:match("^([^?]*)%??(.*)$")
  if request.path == "" then request.path = "/" end
  if not path:find("?", 1, true) then request.query = nil end
  request.json = function() return assert(json.decode(request.body)) end
  return request
end

local function response_text(answer)
  local lines, body, typed, sized = {}, answer.body, false, false
  local status = answer.status or 200
  if type(body) == "table" then body = json.encode(body) end
  body = body == nil and "" or tostring(body)
  for name, value in pairs(answer.headers or {}) do
    for _, v in ipairs(type(value) == "table" and value or { value }) do lines[#lines + 1] = name .. ": " .. tostring(v) end
    typed = typed or name:lower() == "content-type"
    sized = sized or name:lower() == "content-length"
  end
  table.sort(lines)
  if not typed and type(answer.body) == "table" then lines[#lines + 1] = "content-type: application/json" end
  if not sized then lines[#lines + 1] = "content-length: " .. #body end
  return ("HTTP/1.1 %d %s\r\n%s\r\n\r\n%s"):format(status, answer.reason or "OK", table.concat(lines, "\r\n"), body)
end

-- "https://api.example/*" or "POST https://api.example/*": the one with most letters that fits.
local function by_url(table_of, request)
  local found, length = nil, -1
  local short = request.url:gsub("^(https://[^/]*):443/", "%1/"):gsub("^(http://[^/]*):80/", "%1/") -- as people write it
  for key, value in pairs(table_of) do
    local method, url = key:match("^(%u+) (.+)$")
    local pattern = "^" .. (url or key):gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
    local fits = request.url:find(pattern) or short:find(pattern) or not (url or key):find("://", 1, true) and request.path:find(pattern)
    if (not method or method == request.method) and #key > length and fits then
      found, length = value, #key
    end
  end
  return found
end

local function http_answer(fake, request)
  local answer = fake
  if type(answer) == "table" and not (answer.status or answer.body or answer.fails or answer.headers) then
    answer = by_url(answer, request)
    if answer == nil then error("the spec's http has no answer for " .. request.method .. " " .. request.url, 0) end
  end
  if type(answer) == "function" then answer = answer(request) end
  if type(answer) == "number" then answer = { status = answer } end
  if type(answer) == "string" then answer = { body = answer } end
  if type(answer) ~= "table" then error("the spec's http gave no answer for " .. request.method .. " " .. request.url, 0) end
  return answer
end

-- A piece of a body that is streamed: it belongs to the request that was asked last with such a one.
local function more_body(question, calls)
  for i = #calls, 1, -1 do
    local request = calls[i].request
    if request and request.headers["transfer-encoding"] then
      request.body = request.body .. question:match("^%d+\n(.*)$")
      return 0, ""
    end
  end
  return 0, ""
end

local function http(fake, question, calls, service)
  if service == "http.write" then return more_body(question, calls) end
  local request = request_of(question)
  calls[#calls + 1] = { service = "http", request = request }
  if fake == nil then
    error("a plugin asked for " .. request.method .. " " .. request.url ..
      ", and the spec does not say what comes back; give http = function(request) return { status = 200, body = … } end", 0)
  end
  local answer = http_answer(fake, request)
  local after = fakes.ms(answer.after, "after")
  if answer.fails then return failure(answer.fails), "", after end
  return 0, response_text(answer), after
end

-- ---- Redis ----------------------------------------------------------------------------------------

local function read_command(text, at)
  local n, i = text:match("^%*(%d+)\r\n()", at)
  if not n then return nil end
  local words = {}
  for k = 1, tonumber(n) do
    local size, from = text:match("^%$(%d+)\r\n()", i)
    if not size then return nil end
    words[k] = text:sub(from, from + size - 1)
    i = from + size + 2
  end
  return words, i
end

local function resp(v)
  local kind = type(v)
  if v == nil or v == json.null or v == false then return "$-1\r\n" end
  if v == true then return ":1\r\n" end
  if kind == "number" then
    if v == math.floor(v) then return (":%d\r\n"):format(v) end
    v = tostring(v)
  elseif kind == "table" then
    if v.ok then return "+" .. v.ok .. "\r\n" end
    if v.err then return "-" .. v.err .. "\r\n" end
    local parts = {}
    for i = 1, v.n or #v do parts[i] = resp(v[i]) end
    return "*" .. #parts .. "\r\n" .. table.concat(parts)
  end
  return "$" .. #v .. "\r\n" .. v .. "\r\n"
end

local function redis_reply(fake, words)
  local name = table.remove(words, 1):upper()
  if type(fake) == "function" then return fake(name, words) end
  if type(fake) == "table" and fake.call then return fake:call(name, unpack(words)) end
  error("redis: test.redis() or a function(command, args) expected", 0)
end

local function redis(fake, question, calls)
  local replies, at, words = {}, 1, nil
  while at <= #question do
    words, at = read_command(question, at)
    if not words then error("redis: not a command: " .. question, 0) end
    calls[#calls + 1] = { service = "redis", command = table.concat(words, " ") }
    if fake == nil then
      error("a plugin asked Redis for " .. table.concat(words, " ") .. ", and the spec has none; give redis = test.redis()", 0)
    end
    local reply = redis_reply(fake, words)
    if type(reply) == "table" and reply.fails then return failure(reply.fails), "", fakes.ms(reply.after, "after") end
    replies[#replies + 1] = resp(reply)
  end
  return 0, table.concat(replies)
end

-- ---- names ----------------------------------------------------------------------------------------

-- The question is "name" or "name type"; the answer has an address a line.
local function dns(fake, question, calls)
  local name, kind = question:match("^(%S+)%s*(%S*)")
  calls[#calls + 1] = { service = "dns", name = name, type = kind ~= "" and kind or nil }
  local answer = fake
  if type(fake) == "table" then answer = fake[name] end
  if type(answer) == "function" then answer = answer(name, kind) end
  if fake == nil then
    error("a plugin asked for the addresses of " .. tostring(name) .. "; give dns = { [\"" .. tostring(name) .. "\"] = \"10.0.0.1\" }", 0)
  end
  if answer == nil or answer == false then return failures.unresolved, "" end
  if type(answer) == "table" and answer.fails then return failure(answer.fails), "", fakes.ms(answer.after, "after") end
  if type(answer) == "table" then answer = table.concat(answer, "\n") end
  return 0, answer
end

local services = { http = http, redis = redis, dns = dns }

-- service: "http" or "http.stream"…; world: { http =, redis =, dns =, calls = list }. Status, answer, milliseconds.
function fakes.answer(world, service, question)
  local name = service:match("^[^.]+")
  return services[name](world[name], question, world.calls, service)
end

return fakes
