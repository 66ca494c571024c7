-- For spec/lua/runtime_spec.lua: more of what must run compiled.
local mg = require "moongate"

return {
  name = "hot-more",
  on_request = function(x)
    local q = x.request
    x.consumer = "alice"
    x.ctx.n, x.ctx.b = #q.path, q.query.q == "1"
    if x.ctx.b and x.consumer and x.consumer.metadata.plan == "pro" then q.headers["x-ip"] = x.client.ip end
    local ok = mg.quota.bucket("spec-hot", x.client.ip, 1000000, 60000)
    q.headers["x-route"] = x.route.id
    if ok then q.headers["x-method"] = q.method end
    mg.log.debug("no line")
  end,
  on_response = function(x)
    if x.response.status == 200 then x.response.headers["x-seen"] = x.ctx.n end
    x.response.headers.server = nil
  end,
}
