-- Run by: moongate test examples/tested-config

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("the gateway", function()
  local gw, asked

  test.before_each(function()
    asked = 0
    gw = test.gateway("gateway.lua", {
      env = { USERS = "users.example:80" },
      upstreams = {
        users = function(request)
          asked = asked + 1
          return { body = { path = request.path, caller = request.headers["x-consumer"] } }
        end,
        ["http://admin.internal:8080"] = function(request) return { body = request.path } end,
      },
    })
  end)

  it("answers 401 to callers without a key, and asks nobody", function()
    local r = gw:get "/users/7"
    expect(r.status).equals(401)
    expect(r.route).equals("users")
    expect(asked).equals(0)
  end)

  it("passes a known caller on, and says for whom", function()
    local r = gw:get("/users/7", { headers = { ["x-api-key"] = "alice-key" } })
    expect(r.status).equals(200)
    expect(r.json().path).equals("/users/7")
    expect(r.headers["x-served-for"]).equals("alice")
    expect(r.upstream).equals("users")
    expect(r.request.headers["x-forwarded-for"]).equals("127.0.0.1")
  end)

  it("lets each caller in twice a minute", function()
    local function as(key) return gw:get("/users/7", { headers = { ["x-api-key"] = key } }).status end
    expect(as "alice-key").equals(200)
    expect(as "alice-key").equals(200)
    expect(as "alice-key").equals(429)
    expect(as "bob-key").equals(200)
    test.advance "2m"
    expect(as "alice-key").equals(200)
  end)

  it("keeps strangers out of the admin API, and knows where it lives", function()
    expect(gw:get("/admin/users").status).equals(403)
    local r = gw:get("/admin/users", { headers = { ["x-internal"] = "yes" } })
    expect(r.body).equals("/v2/admin/users")
  end)

  it("answers for itself where no upstream is", function()
    expect(gw:get("/health").body).equals("fine")
    expect(gw:get("/nowhere").status).equals(404)
    local r = gw:post("/users/7")
    expect(r.status).equals(405)
    expect(r.headers.allow).contains("GET")
  end)

  it("says so when the users cannot be reached", function()
    gw.upstreams.users = { fails = "connect_refused" }
    local r = gw:get("/users/7", { headers = { ["x-api-key"] = "bob-key" } })
    expect(r.status).equals(502)
    expect(r.failure).equals("connect_refused")
  end)
end)
