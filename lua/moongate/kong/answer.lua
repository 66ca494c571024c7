-- answer.lua - what a Kong plugin says of the response before there is one, and how it ends a request.
--
-- In rewrite and access a field or status of the response is kept, and set when the response comes (or with the answer that the plugin gives).

local host = require "moongate.host"
local state = require "moongate.kong.state"
local ffi = require "ffi"
local C = ffi.C
local type, tostring, error, ipairs, select = type, tostring, error, ipairs, select
local pairs, concat, lower = host.pairs, table.concat, string.lower


local answer = {}

-- Fields that are the core's: Kong's plugins set and clear them, to tell nginx what the core finds out by itself.
local framing = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true, ["keep-alive"] = true, te = true, trailer = true,
                  upgrade = true, ["proxy-connection"] = true }
answer.framing = framing

local ON_RESPONSE = 3

-- Is the response's head yet to come?
function answer.is_early()
  local phase = C.mg_x_phase(host.here())
  return phase < ON_RESPONSE and phase >= 0
end

local function text(v)
  if type(v) == "boolean" or type(v) == "number" then return tostring(v) end
  return v
end

-- how: "set", "add", "remove".
local function apply(x, how, name, value)
  if framing[name] then
    -- A plugin that drops the length is one that changes the body's.
    if (name == "content-length" or name == "transfer-encoding") and C.mg_x_phase(x) == ON_RESPONSE then C.mg_body_resize(x, 1) end
    return
  end
  local h = x.response.headers
  if how == "add" then
    if type(value) == "table" then
      for i = 1, #value do h:add(name, text(value[i])) end
    else
      h:add(name, text(value))
    end
  elseif how == "remove" then
    h:remove(name)
  else
    if type(value) == "table" then
      local list = {}
      for i = 1, #value do list[i] = text(value[i]) end
      h:set(name, list)
    else
      h:set(name, text(value))
    end
  end
end

function answer.field(how, name, value)
  local x = host.here()
  if answer.is_early() then
    local s = state.own()
    local list = s.pending
    if not list then
      list = {}
      s.pending = list
    end
    list[#list + 1] = { how, name, value }
    return
  end
  return apply(x, how, lower(name), value)
end

-- What a field will be, as far as this entry has said.
function answer.pending(name)
  local s = state.own()
  local value
  for _, p in ipairs(s.pending or {}) do
    if lower(p[2]) == lower(name) then value = p[1] ~= "remove" and p[3] or nil end
  end
  return value
end

local function flush(x)
  local s = state.there()
  s = s and s[host.now.entry]
  if not s or not s.pending then return end
  local list = s.pending
  s.pending = nil
  for i = 1, #list do apply(x, list[i][1], lower(list[i][2]), list[i][3]) end
end

-- Answer, and leave the plugin's code. fields: name = value or list.
function answer.send(status, body, fields, kind)
  local x = host.here()
  body = body or ""
  local rc = C.mg_respond(x, status, body, #body)
  if rc < 0 then error("an answer: " .. host.message(rc), 3) end
  state.here().source = "exit"
  if kind then x.response.headers:set("content-type", kind) end
  flush(x)
  for name, value in pairs(fields or {}) do
    if type(name) == "string" then apply(x, "set", lower(name), value) end
  end
  return host.exit()
end

-- ---- ngx.say, ngx.exit ------------------------------------------------------------------------------

local function flatten(out, v)
  if type(v) == "table" then
    for i = 1, #v do flatten(out, v[i]) end
  else
    out[#out + 1] = v == host.null and "null" or tostring(v)
  end
end

function answer.print(...)
  if not answer.is_early() then error("ngx.print, ngx.say: only in rewrite and access", 3) end
  local s = state.own()
  local out = s.out
  if not out then
    out = {}
    s.out = out
  end
  for i = 1, select("#", ...) do flatten(out, (select(i, ...))) end
  return true
end

local function said(s)
  local body = concat(s.out)
  s.out = nil
  return body
end

function answer.exit(status)
  local s = state.own()
  if not answer.is_early() then return host.exit() end
  if status == -1 then error("ngx.exit(ngx.ERROR)", 3) end
  if status == 0 or status < 200 then
    if s.out then return answer.send(s.status or 200, said(s)) end
    return host.exit()
  end
  if s.out then return answer.send(s.status or status, said(s)) end
  if status == 444 or status > 599 then status = 400 end
  if status < 300 or status == 304 then return answer.send(status, "") end
  local x = host.here()
  local rc = C.mg_respond_error(x, status, "", 0)
  if rc < 0 then error("ngx.exit: " .. host.message(rc), 3) end
  state.here().source = "exit"
  flush(x)
  return host.exit()
end

function answer.status(status) state.own().status = status end
function answer.status_said() return state.own().status end

-- ---- around the handlers ----------------------------------------------------------------------------

-- After rewrite and access: a plugin that spoke and did not end the request has answered it; threads that nobody waited for are run.
function answer.finish(x)
  local s = state.there()
  if not s then return end
  local own = s[host.now.entry]
  if not own then return end
  if own.threads then own.run_threads(own) end
  if own.out then return answer.send(own.status or 200, said(own)) end
end

-- Before header_filter.
function answer.begin(x)
  local s = state.there()
  if not s then return end
  if s.buffering then x.response:body { raw = true, over = "skip" } end
  flush(x)
end

-- Before response: the body is there, whole.
function answer.begin_whole(x)
  x.response:body { raw = true, over = "skip" }
  flush(x)
end

return answer
