-- mirror.lua - a share of the traffic goes to another service as well, which nobody waits for.
--
-- What is to be mirrored is copied, and sent by a task of its own once the request has been answered: the client notices
-- nothing, whatever becomes of it. Methods are GET and HEAD unless the config says otherwise: a POST that is sent twice has
-- effects twice. When `most` are under way others are left out and counted. Limits: bodies of up to `limit` bytes (a larger
-- one is not mirrored); answers are read and dropped, their status is counted.

local mg = require "moongate"

local plugin = { name = "mirror", version = "1.0", doc = "Sends copies of requests to another service." }

plugin.fields = {
  to = { type = "string", required = true, pattern = "https?://[^/?#]+", doc = "Scheme and host of the other service." },
  share = { type = "number", preset = 1, min = 0, max = 1, doc = "Of the requests: 0.01 is one in a hundred." },
  methods = { type = "list", item = { type = "string" }, preset = { "GET", "HEAD" }, doc = "Which are mirrored." },
  most = { type = "integer", preset = 50, min = 1, doc = "Copies under way at most, on each worker." },
  timeout = { type = "duration", preset = "5s", min = 1, doc = "How long one may take." },
  limit = { type = "size", preset = "64k", doc = "The largest body." },
  drop = { type = "list", item = { type = "string" }, preset = { "authorization", "cookie" }, doc = "Fields that are not copied." },
}

local copies = mg.metric.counter("mirror_requests_total", "Copies by what became of them.", { "route", "result" })
local under_way = 0

function plugin.create(conf)
  local methods, drop = {}, { host = true, ["content-length"] = true, connection = true, ["transfer-encoding"] = true, te = true,
                              trailer = true, upgrade = true, ["keep-alive"] = true, expect = true, ["proxy-connection"] = true }
  for _, name in ipairs(conf.methods) do methods[name] = true end
  for _, name in ipairs(conf.drop) do drop[name:lower()] = true end
  return { conf = conf, methods = methods, drop = drop }
end

local function copy_of(x, self)
  local headers = { ["x-mirrored"] = "1" }
  for _, name, value in x.request.headers:each() do
    name = name:lower()
    if not self.drop[name] then
      headers[name] = headers[name] or {}
      if type(headers[name]) == "table" then table.insert(headers[name], value) end
    end
  end
  local query = x.request.raw_query
  return {
    method = x.request.method, url = self.conf.to .. x.request.path .. (query ~= "" and "?" .. query or ""), headers = headers,
    timeout = self.conf.timeout, limit = "1m",
  }
end

function plugin.on_request(x, self)
  if not self.methods[x.request.method] or mg.random() >= self.conf.share then return end
  local copy = copy_of(x, self)
  if x.request.body_length ~= 0 then
    copy.body = x.request:body { limit = self.conf.limit, over = "skip", raw = true }
    if not copy.body then return copies:add(1, x.route.id, "too_large") end
  end
  x.ctx.mirror = copy
end

local function send(copy, route)
  local ok, r, _, token = pcall(mg.http.request, copy)
  under_way = under_way - 1
  copies:add(1, route, ok and (r and math.floor(r.status / 100) .. "xx" or token) or "error")
end

function plugin.on_log(x, self)
  local copy = x.ctx.mirror
  if not copy then return end
  local route = x.route.id
  if under_way >= self.conf.most then return copies:add(1, route, "left_out") end
  under_way = under_way + 1
  if not mg.spawn(send, copy, route) then
    under_way = under_way - 1
    copies:add(1, route, "left_out")
  end
end

return plugin
