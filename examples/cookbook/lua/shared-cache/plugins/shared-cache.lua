-- shared-cache.lua - answers of slow GETs are kept for a moment, and of many callers at once one asks the upstream.
--
-- The plugin asks a named upstream by itself (mg.http) through mg.cache: one computation for all who wait, on all workers.
-- Only GETs without credentials and cookies are cached, and only answers of 200 that say neither `no-store`, `private` nor
-- `set-cookie`, nor vary; all else passes by. `max-age` shortens `ttl`. Limits: bodies of up to `limit` bytes; keys are path,
-- query and host; the dictionary "cache:shared-cache" bounds memory, and its size is the config's `shared`.

local mg = require "moongate"

local plugin = { name = "shared-cache", version = "1.0", doc = "Keeps answers for a moment; one request for many callers." }

plugin.fields = {
  upstream = { type = "string", required = true, doc = "The named upstream that is asked." },
  ttl = { type = "duration", preset = "2s", min = 1, doc = "How long an answer is good at most." },
  limit = { type = "size", preset = "64k", max = 512 * 1024, doc = "The largest body that is kept." },
  timeout = { type = "duration", preset = "5s", min = 1, doc = "How long the upstream may take." },
  args = { type = "list", item = { type = "string" }, doc = "Query arguments that matter; all of them when not given." },
}

local UNCACHEABLE = "not for the cache"
local kept = { "content-type", "content-language", "etag", "last-modified", "cache-control" }
local lookups = mg.metric.counter("shared_cache_lookups_total", "Lookups of shared-cache.", { "route", "result" })

function plugin.create(conf)
  return { conf = conf, answers = mg.cache("shared-cache", { ttl = conf.ttl, negative_ttl = "1s", error_ttl = 0 }) }
end

local function is_public(r)
  local control = (r.headers["cache-control"] or ""):lower()
  return r.status == 200 and not r.headers["set-cookie"] and not r.headers.vary and not r.headers["content-encoding"]
    and not control:find("no-store", 1, true) and not control:find("private", 1, true) and not control:find("no-cache", 1, true)
end

local function fetch(x, conf, target)
  local r, err, token = mg.http.request {
    upstream = conf.upstream, path = target, timeout = conf.timeout, limit = conf.limit,
    headers = { host = x.request.headers.host, accept = x.request.headers.accept },
  }
  if not r and token ~= "response_too_large" then error(err, 0) end
  if not r or not is_public(r) then return nil, UNCACHEABLE end
  local max_age = tonumber((r.headers["cache-control"] or ""):match("max%-age=(%d+)"))
  local row = { headers = {}, body = mg.crypto.base64(r.body), at = mg.now_ms() }
  for _, name in ipairs(kept) do row.headers[name] = r.headers[name] end
  return row, nil, max_age and math.min(max_age * 1000, conf.ttl)
end

local function target_of(request, args)
  if not args then return request.path .. (request.raw_query ~= "" and "?" .. request.raw_query or "") end
  local parts = {}
  for _, name in ipairs(args) do
    local value = request.query[name]
    if value then parts[#parts + 1] = mg.url_encode(name) .. "=" .. mg.url_encode(value) end
  end
  return request.path .. (parts[1] and "?" .. table.concat(parts, "&") or "")
end

function plugin.on_request(x, self)
  local request, conf = x.request, self.conf
  local headers = request.headers
  if request.method ~= "GET" or headers.authorization or headers.cookie or headers.range then return end
  local target = target_of(request, conf.args)
  local key, computed = mg.crypto.digest("sha256", request.host .. "\n" .. (headers.accept or "") .. "\n" .. target), false
  local function compute()
    computed = true
    return fetch(x, conf, target)
  end
  local ok, row, why = pcall(self.answers.get, self.answers, key, compute)
  if not ok then return x:error(502, "The upstream does not answer.") end
  if not row then -- let the proxy fetch it as ever
    lookups:add(1, x.route.id, why == UNCACHEABLE and "pass" or "fail")
    return
  end
  lookups:add(1, x.route.id, computed and "miss" or "hit")
  local given = { age = math.floor((mg.now_ms() - row.at) / 1000), ["x-cache"] = computed and "miss" or "hit" }
  for name, value in pairs(row.headers) do given[name] = value end
  if row.headers.etag and headers["if-none-match"] == row.headers.etag then return x:respond(304, nil, given) end
  return x:respond(200, mg.crypto.unbase64(row.body), given)
end

return plugin
