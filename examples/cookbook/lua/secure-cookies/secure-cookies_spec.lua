-- Run by: moongate test examples/cookbook/lua/secure-cookies

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("secure-cookies", function()
  local function through(...)
    local cookies = { ... }
    local gw = test.gateway("gateway.lua", { upstreams = { ["*"] = { headers = { ["set-cookie"] = cookies } } } })
    return gw:get("/").all "set-cookie"
  end

  it("adds what is missing, and keeps what is there", function()
    expect(through("session=1; Path=/app; Domain=old.internal; Max-Age=60")).equals { "session=1; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax" }
    expect(through("a=1; secure; HTTPONLY; SameSite=Strict")).equals { "a=1; secure; HTTPONLY; SameSite=Strict" }
  end)

  it("lets scripts read what they must", function()
    expect(through "theme=dark").equals { "theme=dark; Secure; SameSite=Lax" }
  end)

  it("treats each cookie by itself, in their order", function()
    expect(#through("a=1", "b=2; Path=/other", "c=3")).equals(3)
    expect(through("a=1", "b=2; Path=/other")[2]).equals "b=2; Path=/other; Secure; HttpOnly; SameSite=Lax"
  end)

  it("keeps dates and values with = in them whole", function()
    expect(through("t=a=b==; Expires=Wed, 21 Oct 2026 07:28:00 GMT")[1]).contains "t=a=b==; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure"
  end)

  it("leaves alone what is no cookie, and answers without any", function()
    expect(through "nonsense").equals { "nonsense" }
    expect(#through()).equals(0)
  end)
end)
