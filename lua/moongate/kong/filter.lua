-- filter.lua - body_filter: ngx.arg[1] and ngx.arg[2] are the piece in hand and whether it is the last, and may be set.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local setmetatable, type, tostring, error, concat = setmetatable, type, tostring, error, table.concat

local filter = {}

-- Pieces after one that was said to be the last are dropped.
function filter.begin(x)
  local s = state.own()
  s.eof = nil
  if s.is_over then x.piece = "" end
end

function filter.finish(x)
  local s = state.own()
  if s.eof then s.is_over = true end
end

filter.arg = setmetatable({}, {
  __index = function(_, i)
    local x = host.here()
    if i == 1 then return x.piece end
    if i == 2 then return x.is_last end
    return nil
  end,
  __newindex = function(_, i, v)
    local x = host.here()
    if i == 1 then
      if type(v) == "table" then v = concat(v) end
      x.piece = v == nil and "" or tostring(v)
    elseif i == 2 then
      if v and not x.is_last then state.own().eof = true end
    else
      error("ngx.arg has [1] and [2]", 2)
    end
  end,
})

-- All pieces until now; nil until the last is there. They are held back.
function filter.gather()
  local x, s = host.here(), state.own()
  s.pieces = s.pieces or {}
  s.pieces[#s.pieces + 1] = x.piece
  if not x.is_last then
    x.piece = ""
    return nil
  end
  local body = concat(s.pieces)
  s.pieces = { "" }
  x.piece = body
  return body
end

-- In place of the whole body.
function filter.replace(body)
  local x = host.here()
  x.piece = body
  if not x.is_last then state.own().eof = true end
end

return filter
