-- filter.lua - body_filter: ngx.arg[1] and ngx.arg[2] are the piece in hand and whether it is the last, and may be set.
--
-- Nginx tells the end of a body with an empty piece of its own, and plugins rely on it (what comes with the end they do not look at). So
-- a last piece with bytes in it is shown in two calls.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local setmetatable, type, tostring, error, concat = setmetatable, type, tostring, error, table.concat
local here = host.here

local filter = {}

-- A piece of the two: s.part is its bytes, s.part_last whether it is the end.
local function get()
  local s = state.own()
  if s.part then return s.part, s.part_last end
  local x = here()
  return x.piece, x.is_last
end
local function set(bytes)
  local s = state.own()
  if s.part then
    s.part = bytes
  else
    here().piece = bytes
  end
end
local function set_last()
  local s = state.own()
  local _, is_last = get()
  if not is_last then s.eof = true end
end

-- Around a handler: what is sent of the piece.
function filter.run(x, h, fn, conf)
  local s = state.own()
  if s.is_over then
    x.piece = ""
    return
  end
  s.eof = nil
  local bytes = x.is_last and x.piece or ""
  if bytes == "" then
    fn(h, conf)
    s.is_over = s.eof
    return
  end
  s.part, s.part_last = bytes, false
  fn(h, conf)
  local first = s.part
  if not s.eof then
    s.part, s.part_last = "", true
    fn(h, conf)
    first = first .. s.part
  end
  s.part = nil
  if first ~= bytes then x.piece = first end
end

filter.arg = setmetatable({}, {
  __index = function(_, i)
    local bytes, is_last = get()
    if i == 1 then return bytes end
    if i == 2 then return is_last end
    return nil
  end,
  __newindex = function(_, i, v)
    if i == 1 then
      if type(v) == "table" then v = concat(v) end
      set(v == nil and "" or tostring(v))
    elseif i == 2 then
      if v then set_last() end
    else
      error("ngx.arg has [1] and [2]", 2)
    end
  end,
})

-- All pieces until now; nil until the last is there. They are held back.
function filter.gather()
  local s = state.own()
  local bytes, is_last = get()
  if s.gathered then return s.gathered end
  s.pieces = s.pieces or {}
  s.pieces[#s.pieces + 1] = bytes
  if not is_last then
    set("")
    return nil
  end
  local body = concat(s.pieces)
  s.gathered, s.pieces = body, nil
  set(body)
  return body
end

-- In place of the whole body.
function filter.replace(body)
  set(body)
  set_last()
end

return filter
