-- signed-url.lua - links that work for a while: whoever has one may fetch that file, without an account.
--
-- The application makes `/files/a.pdf?expires=1772370000&signature=…`, where the signature is the HMAC-SHA256 (base64url) of
-- "METHOD\npath\nexpires\nother arguments, sorted". HEAD goes by the signature of GET. A link that was changed in any way,
-- or is too old, is answered 403, and the two arguments do not go upstream. Limits: a link is good for whoever has it until it
-- expires; take a secret out of `secrets` to end all links of it.

local mg = require "moongate"

local plugin = { name = "signed-url", version = "1.0", doc = "Lets signed links pass until they expire." }

plugin.fields = {
  secrets = { type = "list", item = { type = "string", min = 16, secret = true }, required = true, min = 1, single = true,
              doc = "Secrets that are good: the new one first." },
  longest = { type = "duration", preset = "7d", min = 1000, doc = "Links that are good for longer are refused." },
}

local function canonical(x, expires)
  local request, args = x.request, {}
  for _, name, value in request.query:each() do
    if name ~= "expires" and name ~= "signature" then args[#args + 1] = mg.url_encode(name) .. "=" .. mg.url_encode(value) end
  end
  table.sort(args)
  local method = request.method == "HEAD" and "GET" or request.method
  return method .. "\n" .. request.path .. "\n" .. expires .. "\n" .. table.concat(args, "&")
end

local function refuse(x)
  return x:error(403, "This link is not good (any more).", { ["cache-control"] = "no-store" })
end

function plugin.on_request(x, conf)
  local query = x.request.query
  local expires, given = query.expires, query.signature
  if not expires or not given or not expires:find "^%d+$" or #expires > 11 then return refuse(x) end
  local left_ms = tonumber(expires) * 1000 - mg.now_ms()
  if left_ms <= 0 or left_ms > conf.longest then return refuse(x) end
  local text, is_good = canonical(x, expires), false
  for _, secret in ipairs(conf.secrets) do
    is_good = is_good or mg.crypto.equal(given, mg.crypto.base64url(mg.crypto.hmac("sha256", secret, text)))
  end
  if not is_good then return refuse(x) end
  query:remove "expires"
  query:remove "signature"
end

return plugin
