-- idempotency-key.lua - a POST that is sent twice is done once: the second one gets the first one's answer.
--
-- Clients send a key of their own in `idempotency-key`. The first request with it goes upstream and its answer is kept in
-- the store, over restarts; later ones get that answer with `idempotency-replayed: true`. While the first is under way others
-- get 409; the same key with another body gets 422. Answers of 5xx are not kept, so that a client may try again, and a claim
-- whose request was lost is free after `pending`. When the store fails nothing is sent: 503. Limits: bodies of up to
-- `limit` bytes, either way; one gateway (several need a shared store: use mg.redis with SET NX in the same places).

local mg = require "moongate"

local plugin = { name = "idempotency-key", version = "1.0", doc = "Does a request that is sent twice once." }

plugin.fields = {
  required = { type = "boolean", preset = false, doc = "Refuse requests without a key." },
  keep = { type = "duration", preset = "1d", min = 1000, doc = "How long answers are kept." },
  pending = { type = "duration", preset = "1m", min = 1000, doc = "How long a request may be under way." },
  limit = { type = "size", preset = "256k", max = 512 * 1024, doc = "The largest body, of request and response." },
  caller = { type = "template", preset = "${client.ip}", doc = "Whose keys they are: ${consumer.name} behind an auth plugin." },
}

local kept_fields = { "content-type", "location", "etag" }

function plugin.create(conf)
  return { conf = conf, store = mg.store "answers" }
end

local function unavailable(x, why)
  mg.log.error("idempotency keys cannot be looked up", { error = why })
  return x:error(503, "Try again.", { ["retry-after"] = "1" })
end

local function replay(x, row)
  local headers = { ["idempotency-replayed"] = "true" }
  for name, value in pairs(row.headers) do headers[name] = value end
  return x:respond(row.status, mg.crypto.unbase64(row.body), headers)
end

function plugin.on_request(x, self)
  local conf, method = self.conf, x.request.method
  if method ~= "POST" and method ~= "PATCH" then return end
  local key = x.request.headers["idempotency-key"]
  if not key then
    if conf.required then return x:error(400, "This needs an idempotency-key.") end
    return
  end
  if #key > 255 then return x:error(400, "The idempotency-key is too long.") end
  local body = x.request:body { limit = conf.limit, raw = true } or ""
  local digest = mg.crypto.hex(mg.crypto.digest("sha256", method .. " " .. x.request.path .. "\n" .. body))
  local name = mg.crypto.hex(mg.crypto.digest("sha256", (conf.caller:render(x)) .. "\n" .. x.route.id .. "\n" .. key))
  local claim = mg.json.encode { digest = digest, id = x.id }
  local is_first, why = self.store:add(name, claim, conf.pending)
  if is_first == nil then return unavailable(x, why) end
  if is_first then
    x.ctx.idempotency, x.ctx.idempotency_claim = name, claim
    return
  end
  local text, err = self.store:get(name)
  if err then return unavailable(x, err) end
  local row = text and mg.json.decode(text)
  if row and row.digest ~= digest then return x:error(422, "This key was used for another request.") end
  if not row or not row.status then return x:error(409, "A request with this key is under way.", { ["retry-after"] = "1" }) end
  return replay(x, row)
end

function plugin.on_response(x, self)
  local name, claim = x.ctx.idempotency, x.ctx.idempotency_claim
  if not name then return end
  local conf, response = self.conf, x.response
  local body = response.status < 500 and response:body { limit = conf.limit, over = "skip", raw = true }
  if not body or response.headers["content-encoding"] then -- not to be kept: the key is free again
    local _, err = self.store:swap(name, claim, nil)
    if err and type(err) ~= "string" then mg.log.warn("an idempotency key was not let go of") end
    return
  end
  local row = { digest = mg.json.decode(claim).digest, status = response.status, body = mg.crypto.base64(body), headers = {} }
  for _, field in ipairs(kept_fields) do row.headers[field] = response.headers[field] end
  local ok, err = self.store:swap(name, claim, mg.json.encode(row), conf.keep)
  if not ok then mg.log.error("an answer was not kept", { error = tostring(err) }) end
end

return plugin
