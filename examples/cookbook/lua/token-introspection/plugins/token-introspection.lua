-- token-introspection.lua - opaque access tokens, checked at the server that issued them (RFC 7662).
--
-- An active token is cached until it expires, but no longer than `cache`, so that a revoked one dies soon; an inactive one
-- for `cache_inactive`. The token itself is no cache key, its digest is. Scopes that are asked for must all be there.
-- When the server does not answer: 503. Limits: one issuer an entry; the client authenticates with a secret.

local mg = require "moongate"

local plugin = { name = "token-introspection", version = "1.0", doc = "Checks OAuth 2 tokens at their issuer." }

plugin.fields = {
  url = { type = "string", required = true, pattern = "https?://.+", doc = "The introspection endpoint." },
  client_id = { type = "string", required = true, doc = "Who we are there." },
  client_secret = { type = "string", required = true, secret = true, doc = "And how we prove it." },
  scopes = { type = "list", item = { type = "string" }, preset = {}, single = true, doc = "What a token must allow." },
  cache = { type = "duration", preset = "1m", min = 1, doc = "How long an active token is not asked for again." },
  cache_inactive = { type = "duration", preset = "10s", min = 1, doc = "The same of an inactive one." },
  timeout = { type = "duration", preset = "1s", min = 1, doc = "How long the issuer may take." },
}

function plugin.create(conf)
  return {
    url = conf.url, timeout = conf.timeout, scopes = conf.scopes, cache = conf.cache,
    authorization = "Basic " .. mg.crypto.base64(mg.url_encode(conf.client_id) .. ":" .. mg.url_encode(conf.client_secret)),
    tokens = mg.cache("token-introspection", { ttl = conf.cache, negative_ttl = conf.cache_inactive, error_ttl = 0 }),
  }
end

local function introspect(conf, token)
  local r, err = mg.http.post(conf.url, {
    timeout = conf.timeout, limit = "64k", body = "token=" .. mg.url_encode(token) .. "&token_type_hint=access_token",
    headers = { authorization = conf.authorization, accept = "application/json", ["content-type"] = "application/x-www-form-urlencoded" },
  })
  local said = r and r.status == 200 and r:json()
  if type(said) ~= "table" or type(said.active) ~= "boolean" then error(err or "status " .. r.status, 0) end
  if not said.active then return nil, "inactive" end
  local left_ms = said.exp and tonumber(said.exp) * 1000 - mg.now_ms() or conf.cache
  if left_ms <= 0 then return nil, "expired" end
  return { sub = said.sub or "", scope = said.scope or "", client_id = said.client_id or "" }, nil, math.min(left_ms, conf.cache)
end

local function challenge(x, status, code, detail, scopes)
  local scope = scopes and ' scope="' .. table.concat(scopes, " ") .. '"' or ""
  return x:error(status, detail, { ["www-authenticate"] = 'Bearer error="' .. code .. '"' .. scope })
end

function plugin.on_request(x, conf)
  local headers = x.request.headers
  local token = mg.re.match(headers.authorization or "", "^Bearer ([A-Za-z0-9._~+/-]+=*)$", "i")
  if not token then return x:error(401, "This needs an access token.", { ["www-authenticate"] = "Bearer" }) end
  local digest = mg.crypto.digest("sha256", token[1])
  local ok, found = pcall(conf.tokens.get, conf.tokens, digest, function() return introspect(conf, token[1]) end)
  if not ok then
    mg.log.error("tokens cannot be checked", { error = tostring(found) })
    return x:error(503, "Tokens cannot be checked now.", { ["retry-after"] = "1" })
  end
  if not found then return challenge(x, 401, "invalid_token", "This token is not good (any more).") end
  for _, scope in ipairs(conf.scopes) do
    if not (" " .. found.scope .. " "):find(" " .. scope .. " ", 1, true) then
      return challenge(x, 403, "insufficient_scope", "The token does not allow this.", conf.scopes)
    end
  end
  headers.authorization = nil -- the upstream learns who it is, not how to be it
  headers["x-subject"], headers["x-client-id"], headers["x-scope"] = found.sub, found.client_id, found.scope
end

return plugin
