-- external-auth.lua - a service of yours says who may do what; the gateway asks it, and remembers for a moment.
--
-- It is sent method, path and the caller's credentials as JSON, and answers 200 with { "user": …, "ttl": seconds } or
-- anything else to refuse. Answers are cached by method, path and credentials. Without an answer in time the request is
-- refused with 503, or let through where the entry says `fail = "open"` (the upstream then sees no x-user). Limits: a
-- decision is never reused longer than `cache`, whatever the service says; request bodies are not shown to it.

local mg = require "moongate"

local plugin = { name = "external-auth", version = "1.0", doc = "Asks another service whether a request may pass." }

plugin.fields = {
  url = { type = "string", required = true, pattern = "https?://.+", doc = "Who is asked." },
  timeout = { type = "duration", preset = "500ms", min = 1, doc = "How long it may take." },
  cache = { type = "duration", preset = "10s", min = 1, doc = "How long a decision is good at most." },
  fail = { type = "enum", values = { "closed", "open" }, preset = "closed", doc = "What happens when it does not answer." },
}

local unavailable = mg.metric.counter("external_auth_unavailable_total", "Decisions that could not be had.", { "route" })

function plugin.create(conf)
  -- What is refused is cached as a value as well: a negative answer is an answer.
  local decisions = mg.cache("external-auth", { ttl = conf.cache })
  return { url = conf.url, timeout = conf.timeout, fail = conf.fail, cache = conf.cache, decisions = decisions }
end

local function decide(conf, question)
  local r, err = mg.http.post(conf.url, { timeout = conf.timeout, limit = "16k", body = question })
  if not r then error(err, 0) end
  if r.status >= 500 then error("it answered " .. r.status, 0) end
  if r.status ~= 200 then return { allowed = false } end
  local said = r:json()
  if type(said) ~= "table" or type(said.user) ~= "string" then error("it answered 200 without a user", 0) end
  local ttl = tonumber(said.ttl)
  return { allowed = true, user = said.user }, nil, ttl and math.max(0, math.min(ttl * 1000, conf.cache))
end

function plugin.on_request(x, conf)
  local request = x.request
  local question = { method = request.method, path = request.path, authorization = request.headers.authorization or "" }
  request.headers["x-user"] = nil -- nobody but us says who it is
  local key = mg.crypto.digest("sha256", question.method .. "\0" .. question.path .. "\0" .. question.authorization)
  local function ask() return decide(conf, question) end
  local ok, found = pcall(conf.decisions.get, conf.decisions, key, ask)
  if not ok then
    unavailable:add(1, x.route.id)
    mg.log.error("the authorisation service does not answer", { error = tostring(found) })
    if conf.fail == "open" then return end
    return x:error(503, "Authorisation is not available.", { ["retry-after"] = "1" })
  end
  if not found.allowed then return x:error(403, "This is not allowed.") end
  request.headers["x-user"] = found.user
end

return plugin
