local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local mg = require "moongate"

-- As gzip has it, in a stored block.
local function gzip_stored(text)
  local bit = require "bit"
  local crc = -1
  for i = 1, #text do
    crc = bit.bxor(crc, text:byte(i))
    for _ = 1, 8 do crc = bit.bxor(bit.rshift(crc, 1), bit.band(crc, 1) == 1 and 0xEDB88320 or 0) end
  end
  local function le(n, bytes)
    local out = {}
    for i = 1, bytes do out[i] = string.char(bit.band(bit.rshift(n, 8 * (i - 1)), 255)) end
    return table.concat(out)
  end
  return "\31\139\8\0\0\0\0\0\0\3\1" .. le(#text, 2) .. le(bit.bnot(#text), 2) .. text .. le(bit.bnot(crc), 4) .. le(#text, 4)
end

-- A text in pieces of n bytes.
local function cut(text, n)
  local pieces = {}
  for i = 1, #text, n do pieces[#pieces + 1] = text:sub(i, i + n - 1) end
  return pieces
end

local long = ("alpha beta gamma "):rep(500)
local coded = { ["content-encoding"] = "gzip" }

local function sent(plugins, more)
  local given = { method = "POST", plugins = plugins, upstream = function() return { status = 200 } end }
  for k, v in pairs(more) do given[k] = v end
  return test.exchange(given)
end

local function got(plugins, answer, more)
  local given = { plugins = plugins, upstream = function() return answer end }
  for k, v in pairs(more or {}) do given[k] = v end
  return test.exchange(given)
end

describe("a simulated body that is decoded", function()
  local upper_request = { on_request = function(x) assert(x.request:decode()) end,
                          on_request_body = function(x) x.piece = x.piece:upper() end }
  local upper_response = { on_response = function(x) assert(x.response:decode()) end,
                           on_response_body = function(x) x.piece = x.piece:upper() end }

  it("is plain text for the steps of a request, and for the upstream", function()
    local r = sent({ upper_request }, { headers = coded, body = cut(gzip_stored(long), 1000) })
    expect(r.status).equals(200)
    expect(r.request.body).equals(long:upper())
    expect(r.request.headers["content-encoding"]).is_nil()
  end)

  it("is plain text for the steps of a response, and for the client", function()
    local r = got({ upper_response }, { status = 200, headers = coded, body = cut(gzip_stored(long), 1000) })
    expect(r.body).equals(long:upper())
    expect(r.headers["content-encoding"]).is_nil()
  end)

  it("may be gathered behind the decoder", function()
    local seen
    local r = sent({ upper_request, { on_request = function(x) seen = x.request:body() end } },
                   { headers = coded, body = cut(gzip_stored(long), 1000) })
    expect(seen).equals(long:upper())
    expect(r.request.body).equals(long:upper())
  end)

  it("is refused when it is not what it says", function()
    expect(sent({ upper_request }, { headers = coded, body = "no gzip at all" }).status).equals(400)
    expect(sent({ upper_request }, { headers = coded, body = gzip_stored(long):sub(1, -3) }).status).equals(400)
    local whole = { on_response = function(x) x.response:decode() x.response:body() end }
    local r = got({ whole }, { status = 200, headers = coded, body = "no gzip" })
    expect(r.status).equals(502)
    expect(r.failure).equals("bad_encoding")
  end)

  it("is refused by what comes out of it, and cut where the head has gone", function()
    local limited = { on_request = function(x) x.request:decode(1000) end }
    expect(sent({ limited }, { headers = coded, body = gzip_stored(long) }).status).equals(413)
    local r = got({ { on_response = function(x) x.response:decode(1000) end } },
                  { status = 200, headers = coded, body = gzip_stored(long) })
    expect(r.status).equals(200)
    expect(r.failure).equals("response_too_large")
  end)

  it("is nothing for HEAD and 204", function()
    for _, one in ipairs { { "HEAD", 200 }, { "GET", 204 } } do
      local r = got({ upper_response, { on_response = function(x) x.response:body() end } },
                    { status = one[2], headers = coded, body = gzip_stored(long) }, { method = one[1] })
      expect(r.status).equals(one[2])
      expect(r.body).equals("")
      expect(r.headers["content-encoding"]).is_nil()
    end
  end)

  it("stays as it came for an entry that only observes", function()
    local body = gzip_stored(long)
    local n = 0
    local observer = { mode = "observe", on_request = function(x)
      x.request:decode()
      x.request:encode("br")
      for piece in x.request:pieces() do n = n + #piece end
    end }
    local r = sent({ observer }, { headers = coded, body = body })
    expect(n).equals(#body)
    expect(r.request.body).equals(body)
    expect(r.request.headers["content-encoding"]).equals("gzip")
  end)
end)

describe("a simulated body that is encoded", function()
  it("goes to the upstream so", function()
    local r = sent({ { on_request = function(x) x.request:encode("gzip") end } }, { body = long })
    expect(r.request.headers["content-encoding"]).equals("gzip")
    expect(#r.request.body < #long).equals(true)
    local back = sent({ { on_request = function(x) x.request:decode() end } }, { headers = coded, body = r.request.body })
    expect(back.request.body).equals(long)
  end)

  it("is so behind a whole config, too", function()
    local text, seen = ("alpha "):rep(100), nil
    local gw = test.gateway("bodies_gateway.lua", { upstreams = { u = function(request) seen = request return { status = 200 } end } })
    gw:request { method = "POST", path = "/decode", headers = coded, body = gzip_stored(text) }
    expect(seen.headers["content-encoding"]).equals("deflate")
    expect(sent({ { on_request = function(x) x.request:decode() end } },
                { headers = { ["content-encoding"] = "deflate" }, body = seen.body }).request.body).equals(text)
    seen = nil
    expect(gw:request { method = "POST", path = "/decode", headers = coded, body = "no gzip" }.status).equals(400)
    expect(gw:request { method = "POST", path = "/decode", headers = coded, body = gzip_stored(long) }.status).equals(413)
    expect(seen).is_nil()
  end)

  it("goes to the client so, if he takes it", function()
    local plugins = { { on_response = function(x) x.response:encode("br, gzip") end } }
    local r = got(plugins, { status = 200, body = long }, { headers = { ["accept-encoding"] = "gzip" } })
    expect(r.headers["content-encoding"]).equals("gzip")
    expect(r.headers.vary).equals("accept-encoding")
    expect(got({ { on_response = function(x) x.response:decode() end } }, { status = 200, headers = coded, body = r.body }).body).equals(long)
    r = got(plugins, { status = 200, body = long })
    expect(r.headers["content-encoding"]).is_nil()
    expect(r.headers.vary).equals("accept-encoding")
    expect(r.body).equals(long)
  end)

  it("is said of an answer to HEAD, too, and not of a 204", function()
    local plugins = { { on_response = function(x) x.response:encode("gzip") end } }
    local r = got(plugins, { status = 200, body = long }, { method = "HEAD", headers = { ["accept-encoding"] = "gzip" } })
    expect(r.headers["content-encoding"]).equals("gzip")
    expect(r.body).equals("")
    r = got(plugins, { status = 204 }, { headers = { ["accept-encoding"] = "gzip" } })
    expect(r.headers["content-encoding"]).is_nil()
  end)

  it("was decoded before, or made bit by bit", function()
    local r = got({ { on_response = function(x) x.response:decode() x.response:encode("gzip") end,
                      on_response_body = function(x) x.piece = x.piece:upper() end },
                    { on_response = function(x)
                      local pieces = x.response:pieces()
                      x.response:stream(function(out) for piece in pieces do mg.sleep(10) out:write(piece) end end)
                    end } },
                  { status = 200, body = cut(long, 3000) }, { headers = { ["accept-encoding"] = "gzip" } })
    expect(r.headers["content-encoding"]).equals("gzip")
    expect(got({ { on_response = function(x) x.response:decode() end } }, { status = 200, headers = coded, body = r.body }).body)
      .equals(long:upper())
  end)
end)

-- What a walker makes of a message: the same in upper case, a while later.
local function remade(phase, side)
  return { [phase] = function(x)
    local message = x[side]
    message:decode()
    local pieces = message:pieces()
    message:stream(function(out)
      for piece in pieces do
        mg.sleep(5)
        out:write(piece:upper())
      end
    end)
  end }
end

describe("a simulated body that an entry walks through", function()
  it("comes piece by piece, as its sender sends it", function()
    local seen = {}
    local r = sent({ { on_request = function(x)
      for piece in x.request:pieces() do seen[#seen + 1] = piece end
      x.request:set_body(tostring(#seen))
    end } }, { body = { "one", 1000, "two", "three" } })
    expect(table.concat(seen, ",")).equals("one,two,three")
    expect(r.request.body).equals("3")
    expect(r.elapsed_ms).equals(1000)
  end)

  it("is spent then, and an empty one has no pieces", function()
    local n
    local walk = { on_request = function(x) n = 0 for _ in x.request:pieces() do n = n + 1 end end }
    expect(sent({ walk }, { body = { "one", "two" } }).request.body).equals("")
    expect(n).equals(2)
    expect(sent({ walk }, {}).request.body).equals("")
    expect(n).equals(0)
    expect(sent({ { on_request = function(x) x.request:pieces()() end } }, { body = cut(("x"):rep(300000), 30000) }).request.body).equals("")
  end)

  it("is made anew, of a request and of a response, decoded or not", function()
    for _, headers in ipairs { {}, coded } do
      local body = cut(headers == coded and gzip_stored(long) or long, 700)
      expect(sent({ remade("on_request", "request") }, { headers = headers, body = body }).request.body).equals(long:upper())
      expect(got({ remade("on_response", "response") }, { status = 200, headers = headers, body = body }).body).equals(long:upper())
    end
  end)

  it("is more than is held at a time", function()
    local big = ("x"):rep(700000)
    expect(sent({ remade("on_request", "request") }, { body = cut(big, 50000) }).request.body).equals(big:upper())
  end)

  it("is an answer of another entry's, or was gathered before", function()
    local r = got({ remade("on_response", "response"), { on_request = function(x) return x:respond(200, "an answer") end } }, nil)
    expect(r.body).equals("AN ANSWER")
    local n = 0
    r = sent({ { on_request = function(x) x.request:body() end },
               { on_request = function(x) for piece in x.request:pieces() do n = n + #piece end end } }, { body = { "one", "two" } })
    expect(n).equals(6)
    expect(r.request.body).equals("onetwo")
  end)

  it("goes on beside its maker while its sender takes its time", function()
    local r = got({ remade("on_response", "response") }, { status = 200, body = { "a", 100, "b", 100, "c" } })
    expect(r.body).equals("ABC")
    expect(r.elapsed_ms >= 205 and r.elapsed_ms < 215).equals(true) -- time passes in ticks
  end)

  it("is refused over the limit of a body; the timeout of plugins is not its sender's", function()
    local gw = test.gateway("bodies_gateway.lua", { upstreams = { u = { status = 200 } } })
    local function ask(path, body)
      return gw:request { method = "POST", path = path, headers = { ["transfer-encoding"] = "chunked" }, body = body }
    end
    expect(ask("/walk", { ("x"):rep(900), ("x"):rep(900) }).status).equals(413)
    expect(ask("/walk", { "a", 5000, "b" }).status).equals(200)
    expect(ask("/walk?late=1", { "a", 5000, "b" }).failure).equals("plugin_timeout")
  end)

  it("breaks off", function()
    local walk = { on_response = function(x) for _ in x.response:pieces() do end end }
    local broken = { status = 200, body = "half", fails = "reset" }
    expect(got({ walk }, broken).status).equals(502)
    local r = got({ remade("on_response", "response") }, broken)
    expect(r.status).equals(200)
    expect(r.log).contains("broke off")
    expect(r.failure).equals("plugin_error")
  end)

  it("has nothing for HEAD and 204", function()
    for _, one in ipairs { { "HEAD", 200 }, { "GET", 204 } } do
      local n = 0
      local r = got({ { on_response = function(x) for _ in x.response:pieces() do n = n + 1 end end } },
                    { status = one[2], body = "some" }, { method = one[1] })
      expect(r.status).equals(one[2])
      expect(n).equals(0)
    end
  end)
end)

describe("a simulated body that goes through a file", function()
  local big = ("0123456789"):rep(30000)
  local function spill(side, phase)
    return { [phase] = function(x)
      local body = assert(x[side]:body { spill = true })
      local n = 0
      for _, piece in body:pieces() do n = n + #piece end
      x[side].headers["x-n"] = n .. "," .. body:length()
    end }
  end

  it("is read in parts, and passes unchanged", function()
    local r = sent({ spill("request", "on_request") }, { body = cut(big, 10000), buffered_body = 50000 })
    expect(r.request.headers["x-n"]).equals("300000,300000")
    expect(r.request.body).equals(big)
    r = got({ spill("response", "on_response") }, { status = 200, body = cut(big, 10000) }, { buffered_body = 50000 })
    expect(r.headers["x-n"]).equals("300000,300000")
    expect(r.body).equals(big)
  end)

  it("passes the steps after, and the encoder", function()
    local r = got({ { on_response_body = function(x) x.piece = x.piece:gsub("0", "a") end,
                      on_response = function(x) x.response:encode("gzip") end }, spill("response", "on_response") },
                  { status = 200, body = cut(big, 10000) }, { buffered_body = 50000, headers = { ["accept-encoding"] = "gzip" } })
    expect(r.headers["content-encoding"]).equals("gzip")
    expect(got({ { on_response = function(x) x.response:decode() end } }, { status = 200, headers = coded, body = r.body }).body)
      .equals((big:gsub("0", "a")))
  end)

  it("stays in memory as long as it is small, and is empty for HEAD", function()
    expect(sent({ spill("request", "on_request") }, { body = "small" }).request.headers["x-n"]).equals("5,5")
    expect(got({ spill("response", "on_response") }, { status = 200, body = "some" }, { method = "HEAD" }).headers["x-n"]).equals("0,0")
  end)

  it("is refused over its limit", function()
    local r = sent({ { on_request = function(x) x.request:body { spill = true, limit = 100000 } end } },
                   { body = cut(big, 10000), buffered_body = 50000 })
    expect(r.status).equals(413)
    expect(r.request).is_nil()
  end)

  it("is let go of when the client leaves", function()
    local r = sent({ { on_request = function(x) x.request:body { spill = true } end } },
                   { body = { ("x"):rep(90000), 1000, "y" }, buffered_body = 50000, leaves_after = 500 })
    expect(r.failure).equals("client_left")
  end)
end)
