-- duration.lua - lengths of time as scripts write them: milliseconds, or "250ms", "5s", "1m", "2h", "1d".

local type, tonumber, tostring, error = type, tonumber, tostring, error
local units = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }

-- Milliseconds; `absent` when v is nil.
return function(v, what, absent)
  if type(v) == "number" and v >= 0 then return v end
  if v == nil then return absent end
  if type(v) == "string" then
    local n, unit = v:match("^(%d+%.?%d*)(%a+)$")
    if n and units[unit] then return tonumber(n) * units[unit] end
  end
  return error(what .. ": milliseconds or \"250ms\", \"5s\", \"1m\" expected, not " .. tostring(v), 3)
end
