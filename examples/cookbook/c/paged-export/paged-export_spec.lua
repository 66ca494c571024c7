-- Run by: moongate test examples/cookbook/c (once it is built)

local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

describe("paged-export", function()
  local gw, pages, asked
  test.before_each(function()
    asked = 0
    pages = {
      ["page=1"] = { body = '{"n":1}\n', headers = { ["x-next"] = "/orders?page=2" } },
      ["page=2"] = { body = '{"n":2}\n', headers = { ["x-next"] = "/orders?page=3" }, after = "1s" },
      ["page=3"] = { body = '{"n":3}\n' },
    }
    gw = test.gateway("gateway.lua", { http = function(request) asked = asked + 1; return pages[request.query] end })
  end)
  local function export(given) return gw:get("/export/orders.ndjson", given) end

  it("gives all pages as one", function()
    local r = export()
    expect(r.status).equals(200)
    expect(r.headers["content-type"]).equals "application/x-ndjson"
    expect(r.body).equals '{"n":1}\n{"n":2}\n{"n":3}\n'
  end)

  it("answers 502 when the first page cannot be had", function()
    for _, bad in ipairs { { status = 500 }, { fails = "refused" }, { body = "", after = "6s" } } do
      pages["page=1"] = bad
      expect(export().status).equals(502)
    end
  end)

  it("cuts the stream when another one fails", function()
    pages["page=2"] = { status = 500 }
    local r = export()
    expect(r.body).lacks '{"n":3}'
    expect(r.failure).is_not ""
    expect(table.concat(r.log, "\n")).contains "a page of the export failed"
  end)

  it("stops asking when the client leaves", function()
    export { leaves_after = "500ms" }
    test.advance "10s"
    expect(asked).equals(2)
  end)
end)
