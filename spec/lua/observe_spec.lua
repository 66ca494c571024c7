-- mode = "observe" in specs of plugins: what the entry would have done is in the log, and client and upstream see nothing of it.
local mg = require "moongate"
local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

local function upstream() return { status = 200, body = "from upstream", headers = { ["x-up"] = "1" } } end

describe("an entry that only observes", function()
  it("refuses nobody", function()
    local r = test.exchange { plugins = { { "ip-restriction", deny = { "0.0.0.0/0" }, mode = "observe" } }, upstream = upstream }
    expect(r.status).equals(200)
    expect(r.body).equals("from upstream")
  end)

  it("changes nothing in any phase, and others do not see its ctx", function()
    local seen
    local r = test.exchange {
      method = "POST", body = "the body",
      plugins = {
        { id = "watch", mode = "observe",
          on_request = function(x)
            mg.sleep("1s")
            x.request.headers["x-new"], x.ctx.name, x.ctx.list = "1", "mine", { 1 }
            x.request:set_body(x.request:body():upper())
          end,
          on_response = function(x) x.response.status = 500 x.response.headers["x-new"] = x.ctx.name end,
          on_response_body = function(x) x.piece = "changed" end },
        { id = "after", on_request = function(x) seen = tostring(x.ctx.name) .. tostring(x.ctx.list) end },
      },
      upstream = upstream,
    }
    expect(seen).equals("nilnil")
    expect(r.request.headers["x-new"]).is_nil()
    expect(r.request.body).equals("the body")
    expect(r.status).equals(200)
    expect(r.headers["x-new"]).is_nil()
    expect(r.body).equals("from upstream")
  end)

  it("fails no request", function()
    local r = test.exchange { plugins = { { mode = "observe", on_request = function() error("broken") end } }, upstream = upstream }
    expect(r.status).equals(200)
  end)

  it("sends none of the bodies that it makes bit by bit", function()
    local seen
    local r = test.exchange {
      method = "POST", body = "old",
      upstream = function(request) seen = request.body return { status = 200, body = "up" } end,
      plugins = {
        { id = "a", mode = "observe", on_request = function(x) x.request:stream(function(out) out:write("1") mg.sleep(1) end) end,
          on_response = function(x) x.response:stream(function(out) out:write("new") mg.sleep(1) out:write("er") end) end },
        { id = "b", mode = "observe", on_request = function(x)
            return x:respond(203, function(out) out:write("a") mg.sleep(5000) out:write("b") end) end },
      },
    }
    expect(seen).equals("old")
    expect(r.status).equals(200)
    expect(r.body).equals("up")
  end)
end)
