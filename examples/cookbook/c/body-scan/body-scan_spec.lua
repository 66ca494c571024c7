-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect
local BAD = "COMPANY CONFIDENTIAL"

describe("body-scan", function()
  local gw
  test.before_each(function() gw = test.gateway("gateway.lua", { upstreams = { ["*"] = 201 } }) end)
  local function put(body, headers) return gw:put("/uploads/a", { body = body, headers = headers }) end

  it("lets a body pass as it came", function()
    local r = put { "COMPANY ", "secrets, but not ", "CONFIDENTIAL" }
    expect(r.status).equals(201)
    expect(r.request.body).equals "COMPANY secrets, but not CONFIDENTIAL"
  end)

  it("finds a string in a piece, and over every border", function()
    expect(put("x" .. BAD .. "x").status).equals(403)
    for cut = 1, #BAD - 1 do
      local r = put { "begin " .. BAD:sub(1, cut), BAD:sub(cut + 1) .. " end" }
      expect(r.status).equals(403)
    end
  end)

  it("finds one that comes byte by byte, and tells the log which rule", function()
    local pieces = {}
    for c in ("some text and then " .. BAD):gmatch "." do pieces[#pieces + 1] = c end
    local r = put(pieces)
    expect(r.status).equals(403)
    expect(table.concat(r.log, "\n")).contains "rule=internal"
  end)

  it("refuses what it cannot read", function()
    expect(put("x", { ["content-encoding"] = "gzip" }).status).equals(415)
  end)

  it("takes hex, and refuses what is none", function()
    local function with(hex) return test.exchange { body = "a\1\2\3b", plugins = { { "body-scan", hex = true, strings = { one = hex } } } } end
    expect(with("010203").status).equals(403)
    expect(function() with "0102" end).fails "strings.one"
    expect(function() with "xyz123" end).fails "as hex"
  end)
end)
