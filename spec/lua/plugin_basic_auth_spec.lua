local test = require "moongate.test"
local mg = require "moongate"
local describe, it, expect = test.describe, test.it, test.expect

local sha512 = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/" -- "password"
local function salted(salt, password) return "sha256:" .. salt .. ":" .. mg.crypto.hex(mg.crypto.digest("sha256", salt .. password)) end
-- "moon & stars"
local bcrypt = "$2b$05$abcdefghijklmnopqrstuu3WgHHvE9belFvx1RAHzpHhs7GpquEiu"
local argon2id = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$0zcwrTf5LkJAcdd8Fv8Ypw"
local argon2i = "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$pS9O9MogrvHuChna8oA9bg"
local consumers = {
  alice = { basic = { { "alice", sha512 } } },
  robot = { basic = { { "robot", salted("s1", "secret:with:colons"), id = "r1" } } },
  hashes = { basic = { { "bcrypt", bcrypt }, { "y", (bcrypt:gsub("^%$2b", "$2y")) }, { "argon2id", argon2id }, { "argon2i", argon2i } } },
  guest = {},
}

local function run(user, conf, raw)
  conf = conf or {}
  conf[1] = "basic-auth"
  return test.exchange {
    plugins = { conf, { "headers", request = { set = { ["x-user"] = "${consumer.name}" } } } }, consumers = consumers,
    headers = { authorization = raw or user and ("Basic " .. mg.crypto.base64(user)) or nil },
  }
end

describe("basic-auth", function()
  it("recognises a consumer by a slow hash, again and again", function()
    for _ = 1, 3 do
      local r = run("alice:password")
      expect(r.status).equals(200)
      expect(r.request.headers["x-user"]).equals("alice")
      expect(r.request.headers.authorization).is_nil()
    end
    expect(run("alice:Password").status).equals(401)
  end)

  it("verifies bcrypt and argon2 hashes", function()
    for _, name in ipairs { "bcrypt", "y", "argon2id", "argon2i" } do
      expect(run(name .. ":moon & stars").request.headers["x-user"]).equals("hashes")
      expect(run(name .. ":moon & star").status).equals(401)
      expect(run(name .. ":").status).equals(401)
    end
  end)

  it("refuses a password in plain text when the config loads", function()
    for _, hash in ipairs { "moon & stars", "$2b$05$short", "$2x$" .. bcrypt:sub(5), "$1$salt$hash", "sha256:s:" .. ("0"):rep(63) } do
      expect(function()
        test.exchange { plugins = { "basic-auth" }, consumers = { a = { basic = { { "a", hash } } } } }
      end).fails("consumers.a.basic[1].password")
    end
  end)

  it("recognises a consumer by a salted SHA-256", function()
    expect(run("robot:secret:with:colons").request.headers["x-user"]).equals("robot")
    expect(run("robot:secret").status).equals(401)
  end)

  it("refuses unknown names and malformed credentials with a challenge", function()
    for _, raw in ipairs { "Basic", "Basic ", "Basic !!!!", "Basic " .. mg.crypto.base64("nocolon"), "Basic " .. mg.crypto.base64("a:b\0c"),
                           "Basic " .. mg.crypto.base64("nobody:password"), "Basic " .. mg.crypto.base64(":") } do
      local r = run(nil, nil, raw)
      expect(r.status).equals(401)
      expect(r.headers["www-authenticate"]).equals('Basic realm="moongate", charset="UTF-8"')
      expect(r.request).is_nil()
    end
    expect(run().status).equals(401)
    expect(run(("x"):rep(2000) .. ":y").status).equals(401)
  end)

  it("lets callers without credentials in as anonymous", function()
    expect(run(nil, { anonymous = "guest" }).request.headers["x-user"]).equals("guest")
    expect(run(nil, { anonymous = "guest" }, "Bearer x").request.headers["x-user"]).equals("guest")
    expect(run("alice:wrong", { anonymous = "guest" }).status).equals(401)
  end)

  it("leaves the field for the upstream on demand, and works without a cache", function()
    local r = run("alice:password", { hide_credentials = false, cache = "0s" })
    expect(r.request.headers.authorization).matches("^Basic ")
  end)
end)
