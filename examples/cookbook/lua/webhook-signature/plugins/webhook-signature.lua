-- webhook-signature.lua - webhooks that are signed with a shared secret: only genuine ones pass, each of them once.
--
-- The sender signs "<timestamp>.<body>" with HMAC-SHA256 and sends `x-signature: t=<unix seconds>,v1=<hex>` (several v1
-- while secrets are exchanged). An old timestamp is refused, and a signature that was seen within that time is answered 200
-- and not passed on again. Limits: what was seen is kept by this gateway alone (several gateways: keep it in Redis), in the
-- shared dictionary "webhooks", whose size bounds how many.

local mg = require "moongate"

local plugin = { name = "webhook-signature", version = "1.0", doc = "Lets signed webhooks pass, each once." }

plugin.fields = {
  secrets = { type = "list", item = { type = "string", min = 16, secret = true }, required = true, min = 1, single = true,
              doc = "Secrets that are good: the new one and, for a while, the old one." },
  header = { type = "string", preset = "x-signature", doc = "The field with timestamp and signatures." },
  tolerance = { type = "duration", preset = "5m", min = 1000, doc = "How old, or how far ahead, a timestamp may be." },
  limit = { type = "size", preset = "256k", doc = "The largest body." },
}

local seen = mg.shared.webhooks

local function signatures(field)
  local at, list = field:match("t=(%d+)"), {}
  for v in field:gmatch("v1=(%x+)") do
    if #list < 4 then list[#list + 1] = v:lower() end
  end
  return at, list
end

local function is_genuine(conf, at, body, given)
  for _, secret in ipairs(conf.secrets) do
    local ours = mg.crypto.hex(mg.crypto.hmac("sha256", secret, at .. "." .. body))
    for _, theirs in ipairs(given) do
      if mg.crypto.equal(ours, theirs) then return ours end
    end
  end
end

function plugin.on_request(x, conf)
  local at, given = signatures(x.request.headers[conf.header] or "")
  if not at or #given == 0 or #at > 11 then return x:error(401, "This needs a signature.") end
  if math.abs(mg.now_ms() - tonumber(at) * 1000) > conf.tolerance then return x:error(401, "The signature is too old.") end
  local body = x.request:body { limit = conf.limit, raw = true } -- over the limit: answered 413
  local good = is_genuine(conf, at, body or "", given)
  if not good then return x:error(401, "The signature does not fit.") end
  -- Two tolerances: one stamped ahead of our clock stays good for so long.
  if not seen:add(good, true, 2 * conf.tolerance) then return x:respond(200, { received = true, again = true }) end
  x.ctx.webhook = good
end

-- The sender tries again when the upstream could not take it: then it is not one that was seen.
function plugin.on_response(x)
  local signature = x.ctx.webhook
  if signature and x.response.status >= 500 then seen:delete(signature) end
end

return plugin
