local cjson = require "cjson"
local P = { PRIORITY = 1, VERSION = "0.1.0" }
function P:access(conf)
  local plain = {}
  for k, v in pairs(conf) do
    if k:sub(1, 2) ~= "__" and k ~= "route_id" then plain[k] = v end
  end
  return kong.response.exit(200, cjson.encode(plain))
end
return P
