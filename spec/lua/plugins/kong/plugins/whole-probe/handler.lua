local P = { PRIORITY = 1, VERSION = "0.1.0" }
function P:response()
  local body = kong.service.response.get_raw_body()
  kong.response.set_header("x-length", #body)
  if body == "secret" then return kong.response.exit(403, { message = "no" }) end
end
return P
