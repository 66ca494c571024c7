-- For spec/lua/runtime_spec.lua: what must run compiled.
return {
  name = "hot-fields",
  on_request = function(x)
    local a = x.request.headers["x-a"]
    local b = x.request.headers[a == "1" and "x-b" or "x-c"]
    if not a then return x:respond(400) end
    x.ctx.seen = a
    x.request.headers["x-c"] = b
  end,
}
