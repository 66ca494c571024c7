-- The bundled Lua plugins run as compiled code: no trace of their handlers is given up. Left out, as they are not meant to be
-- compiled: JSON bodies (transform.body parses and edits text, with tables and closures made for each), a respond that sleeps or
-- makes its JSON anew for each request.
local test = require "moongate.test"
local describe, it, expect = test.describe, test.it, test.expect

-- Run it hot. Of the traces that began in the host's wrapper of a handler, in the plugin or in what it requires, none may be given up.
-- A loop gets a trace of its own and the code around it side traces of that, so "leaving loop in root trace" and "inner loop in
-- root trace" are how LuaJIT comes to it.
local loop_first = { [8] = true, [9] = true }

local function hot(plugin, given, files)
  files = files or {}
  files[#files + 1] = "handler:1"
  files[#files + 1] = plugin[1]
  local function ours(place)
    for _, name in ipairs(files) do
      if place:find(name, 1, true) then return true end
    end
  end
  given.plugins = { plugin }
  local aborted, made = test.aborted_traces(function()
    for _ = 1, 400 do test.exchange(given) end
  end)
  local begun = 0
  for _, place in ipairs(made) do begun = begun + (ours(place) and 1 or 0) end
  expect(begun).is_within(1, 60)
  for _, trace in ipairs(aborted) do
    if ours(trace.start) and not loop_first[trace.reason] then expect(trace).is_nil() end
  end
end

describe("a compiled request-transformer", function()
  it("changes fields", function()
    hot({ "request-transformer",
      remove = { headers = { "x-gone", "x-internal-*" } }, rename = { headers = { ["x-old"] = "x-new" } },
      replace = { headers = { ["x-there"] = "new" } }, set = { headers = { ["x-client"] = "${client.ip}", ["x-fixed"] = "1" } },
      add = { headers = { ["x-added"] = "yes" } }, append = { headers = { ["x-list"] = "b" } } },
      { headers = { ["x-gone"] = "1", ["x-internal-a"] = "1", ["x-old"] = "1", ["x-there"] = "1", ["x-list"] = "a" } }, { "transform" })
  end)
  it("changes arguments, method and path", function()
    hot({ "request-transformer", method = "PUT", path = "/v2${request.path}",
      remove = { query = { "debug" } }, rename = { query = { q = "query" } }, set = { query = { by = "${client.ip}" } } },
      { path = "/p?q=1&debug=1" }, { "transform" })
  end)
end)

describe("a compiled response-transformer", function()
  it("changes fields and status", function()
    hot({ "response-transformer", if_status = "2xx", status = 201,
      remove = { headers = { "server", "x-powered-by" } }, set = { headers = { ["x-route"] = "${route.id}" } },
      append = { headers = { vary = "x-a" } } },
      { upstream = { headers = { server = "s", vary = "x-b" } } }, { "transform" })
  end)
end)

describe("a compiled respond", function()
  it("answers with text", function() hot({ "respond", body = "hello ${client.ip}", headers = { ["x-a"] = "${request.path}" } }, {}) end)
  it("answers with constant data", function() hot({ "respond", json = { a = 1 } }, {}) end)
  it("answers with an error", function() hot({ "respond", status = 403, error = "no ${request.path}" }, {}) end)
end)
