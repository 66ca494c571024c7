-- The PDK is whole: every function of pdk.h is documented, is there, is used by the Lua runtime, and may be called in the phases that its
-- contract names ("Phases of NAME, NAME: on_rewrite, on_request.", "…: all but on_log."; all of them where nothing is said) and in no other.

local test = require "moongate.test"
local mg = require "moongate"
local host = require "moongate.host"
local ffi = require "ffi"
local describe, it, expect = test.describe, test.it, test.expect
local C = ffi.C

-- What Lua has no use for, and why.
local c_only = {
  mg_x_alloc = "memory of the exchange: Lua's own is collected",
  mg_x_local = "an entry's own memory: x.ctx and upvalues",
  mg_credential_conf = "the struct that the plugin of the credential filled",
  mg_client_addr = "16 raw bytes; x.client.ip",
  mg_json_raw = "a node's own text; mg.json.decode gives values",
  mg_http_field = "one field of an answer; Lua reads them all at once",
  mg_op_new = "an operation that C code ends",
  mg_resume = "ends such an operation",
}

local function text_of(path)
  local f = io.open(path) or io.open("../../" .. path)
  assert(f, "run me in the project's folder: no " .. path)
  local text = f:read "*a"
  f:close()
  return text
end

local header = text_of "include/moongate/pdk.h"
local contract = header:match("(struct mg_x;.*)#ifndef MG_CDEF")

-- ---- the declarations ---------------------------------------------------------------------------------

-- Each function: { name, returns, params = { { type, name } }, documented }. A comment counts for the declarations that follow it
-- without a blank line, and one that stands alone under a banner for all of its section.
local function declarations()
  local list, documented, in_section, in_comment, pending = {}, false, false, false, nil
  for line in (contract .. "\n"):gmatch("(.-)\n") do
    if line:find("^/%* %-%-%-%-") then
      documented, in_section = false, false
    elseif in_comment then
      in_comment = not line:find("%*/")
    elseif line:find("^%s*/%*") then
      documented, in_comment = true, not line:find("%*/")
    elseif line:find("^%s*$") then
      if documented and not pending then in_section = in_section or documented end
      documented = false
    else
      pending = (pending and pending .. " " or "") .. line
      if line:find("[;{]%s*$") or line:find(";%s*/%*") then
        local returns, name, params = pending:match("^([%w_ *]-)(mg_[%w_]+)%((.*)%)%s*;")
        if name then
          local f = { name = name, returns = returns:gsub("%s+$", ""), params = {}, documented = documented or in_section }
          for p in (params .. ","):gmatch("(.-),") do
            local kind, pname = p:match("^%s*(.-)([%w_]*)%s*$")
            if p:find("%S") and not p:find("^%s*void%s*$") then f.params[#f.params + 1] = { (kind:gsub("%s+$", "")), pname } end
          end
          list[#list + 1] = f
        end
        pending = nil
      end
    end
  end
  return list
end

local functions = declarations()
local known = {}
for _, f in ipairs(functions) do known[f.name] = f end

local phase_names = { "on_rewrite", "on_request", "on_request_body", "on_response", "on_response_body", "on_log" }
local is_phase = { on_task = true, on_stream = true }
for _, p in ipairs(phase_names) do is_phase[p] = true end

-- What the contracts say: name -> { phase = true }.
local function phases_of_contracts()
  local plain = contract:gsub("\n%s*%*%s?", " ")
  local allowed = {}
  for names, phases in plain:gmatch("Phases of ([%w_, ]-): ([%w_, ]-)%.") do
    local set, but = {}, phases:match("^all but (.*)$")
    for p in pairs(but and is_phase or {}) do set[p] = true end
    for p in (but or phases):gmatch("[%w_]+") do
      assert(is_phase[p], "Phases of " .. names .. ": there is no phase " .. p)
      set[p] = not but
    end
    for name in names:gmatch("[%w_]+") do
      assert(known[name], "Phases of " .. names .. ": there is no function " .. name)
      allowed[name] = set
    end
  end
  return allowed
end

-- ---- calling ------------------------------------------------------------------------------------------------

local texts = { name = "x-name", method = "PUT", path = "/p", query = "a=1", id = "an-id", kind = "keys", field = "id", group = "g", key = "k" }
local numbers = { status = 404, ms = 5, limit = 1000, i = 0, bytes = 16, span = 0, count = 0, op = 1, credential = 0, over = 0, value = 1,
                  side = 0, on = 1 }
-- Where the arguments decide about the phase: the side.
local sides = { mg_header_set = { 0, 1 }, mg_header_add = { 0, 1 }, mg_header_remove = { 0, 1 }, mg_body_read = { 0, 1 }, mg_body_set = { 0, 1 },
                mg_body_resize = { 0, 1 }, mg_body_read_plain = { 0, 1 }, mg_body_set_plain = { 0, 1 }, mg_body_stream = { 0, 1 }, mg_body_part = { 0, 1 },
                mg_body_decode = { 0, 1 }, mg_body_encode = { 0, 1 }, mg_body_pull = { 0, 1 }, mg_body_next = { 0, 1 } }

local openers = {
  ["struct mg_cache *"] = function() return C.mg_cache_open("pdk", 3) end,
  ["struct mg_template *"] = function() return ffi.gc(C.mg_template_new("a", 1, ffi.new("char[64]"), 64), C.mg_template_free) end,
}

local keep = {}
local function argument(f, i, x, side)
  local kind, name = f.params[i][1], f.params[i][2]
  if kind == "struct mg_x *" then return x end
  if kind == "const char *" then
    local text = texts[name] or "text"
    if f.name:find("password") and name == "encoded" then text = "$6$salt$x" end
    if f.name == "mg_request_set_path" then text = "/p" end
    keep[#keep + 1] = text
    return text
  end
  if kind == "size_t" then
    local before = f.params[i - 1]
    if before and before[1] == "const char *" then return #argument(f, i - 1, x, side) end
    return numbers[name] or 1
  end
  if kind == "struct mg_str *" then local v = ffi.new("struct mg_str[1]") keep[#keep + 1] = v return v end
  kind = kind:gsub("^const ", "")
  if openers[kind] then local v = openers[kind]() keep[#keep + 1] = v return v end
  local pointed = kind:match("^(struct [%w_]+) %*$")
  if pointed then
    local ok, v = pcall(ffi.new, pointed .. "[1]")
    if ok then keep[#keep + 1] = v return v end
    return nil
  end
  if kind == "uint8_t *" or kind == "void *" or kind == "char *" then local v = ffi.new("uint8_t[64]") keep[#keep + 1] = v return v end
  pointed = kind:match("^([%w_]+) %*$")
  if pointed then local v = ffi.new(pointed .. "[1]") keep[#keep + 1] = v return v end
  if kind:find("%*") then return nil end
  if name == "side" then return side or 0 end
  return numbers[name] or 1
end

local function call(f, x, side)
  local args = {}
  for i = 1, #f.params do args[i] = argument(f, i, x, side) end
  return C[f.name](unpack(args, 1, #f.params))
end

-- An answer that was recorded ends the chain: these get an exchange for each phase.
local alone = { mg_respond = true, mg_respond_error = true }

local function run_in(f, side, phases, results)
  local handlers = {}
  for _, p in ipairs(phases) do
    if p == "on_stream" then
      handlers.on_request = function(x)
        x.request:stream(function() results.on_stream = tonumber(call(f, x, side)) end)
      end
      break
    end
    handlers[p == "on_task" and "on_request" or p] = function(x)
      if p == "on_task" or p == "on_request" and #phases > 1 then
        mg.spawn(function() results.on_task = tonumber(call(f, host.here(), side)) end)
      end
      if p ~= "on_task" and results[p] == nil then results[p] = tonumber(call(f, x, side)) end
    end
  end
  test.exchange { plugins = { handlers }, method = "POST", body = { "one", "two" }, consumers = { alice = { groups = { "g" } } },
                  http = function() return 200 end, redis = test.redis(), dns = function() return "10.0.0.1" end }
end

-- { phase = result } of one function.
local function results_of(f, side)
  local results = {}
  if alone[f.name] then
    for phase in pairs(is_phase) do run_in(f, side, { phase }, results) end
  else
    run_in(f, side, phase_names, results)
    run_in(f, side, { "on_stream" }, results)
  end
  keep = {}
  return results
end

local function takes_x(f) return f.params[1] and f.params[1][1] == "struct mg_x *" end
local function gives_number(f) return not f.returns:find("%*") and f.returns ~= "void" end

-- ---- the tests ------------------------------------------------------------------------------------------------

describe("pdk.h", function()
  it("declares functions, each with a contract", function()
    expect(#functions).is_within(100, 1000)
    local bare = {}
    for _, f in ipairs(functions) do
      if not f.documented then bare[#bare + 1] = f.name end
    end
    expect(bare).equals {}
  end)

  it("has every function in the executable", function()
    for _, f in ipairs(functions) do
      expect((pcall(function() return C[f.name] end))).equals(true)
    end
  end)

  it("has every function used by the Lua runtime", function()
    local runtime = {}
    for _, name in ipairs(test.files("../../lua/moongate", "%.lua$")) do runtime[#runtime + 1] = text_of("lua/moongate/" .. name) end
    local all, unused = table.concat(runtime, "\n"), {}
    for _, f in ipairs(functions) do
      local used = all:find("C%." .. f.name .. "[^%w_]") or all:find('"' .. f.name .. '"', 1, true)
      if not used and not c_only[f.name] then unused[#unused + 1] = f.name end
      if used and c_only[f.name] then error(f.name .. " is used by the runtime: it is not for C alone") end
    end
    expect(unused).equals {}
  end)

  it("may be called where its contract says, and is refused elsewhere", function()
    local allowed, wrong = phases_of_contracts(), {}
    for _, f in ipairs(functions) do
      if takes_x(f) and gives_number(f) then
        -- The sides of one function may differ; together they are what the contract says.
        local may = {}
        for _, side in ipairs(sides[f.name] or { 0 }) do
          for phase, rc in pairs(results_of(f, side)) do may[phase] = may[phase] or rc ~= C.MG_EPHASE end
        end
        for phase in pairs(is_phase) do
          if may[phase] == nil then wrong[#wrong + 1] = f.name .. ": was never called in " .. phase end
        end
        for phase, may_be_called in pairs(may) do
          local said = not allowed[f.name] or allowed[f.name][phase] or false
          if said ~= may_be_called then
            wrong[#wrong + 1] = f.name .. " in " .. phase .. ": " .. (may_be_called and "works, and the contract does not say so" or "is refused, and the contract does not say so")
          end
        end
      end
    end
    table.sort(wrong)
    expect(wrong).equals {}
  end)
end)

describe("the annotations for editors", function()
  it("are Lua", function() expect(loadstring(text_of "lua/annotations/moongate.lua")).exists() end)
end)

describe("mg.sink", function()
  it("hands lines over", function()
    local out = mg.sink "/var/log/audit.log"
    local r = test.exchange { plugins = { { on_log = function(x) out:write("seen " .. x.request.path) end } }, path = "/a" }
    expect(r.written).equals { { sink = "/var/log/audit.log", line = "seen /a" } }
    expect(function() mg.sink "" end).fails("mg.sink")
  end)
end)

describe("a call in a wrong phase from Lua", function()
  local cases = {
    ["x.request.method"] = { "on_response", function(x) x.request.method = "PUT" end },
    ["x.request.path"] = { "on_response", function(x) x.request.path = "/a" end },
    ["x.request.headers"] = { "on_response", function(x) x.request.headers["x-a"] = "1" end },
    ["x.request.query"] = { "on_log", function(x) x.request.query.a = "1" end },
    ["x.response.status"] = { "on_request", function(x) x.response.status = 201 end },
    ["x.response.headers"] = { "on_request", function(x) x.response.headers["x-a"] = "1" end },
    ["x:respond"] = { "on_log", function(x) x:respond(200, "late") end },
    ["x:error"] = { "on_response_body", function(x) x:error(500) end },
    ["x.upstream"] = { "on_response", function(x) x.upstream = "test" end },
    ["x.consumer"] = { "on_response", function(x) x.consumer = "alice" end },
    ["x.piece"] = { "on_request", function(x) x.piece = "a" end },
    ["x.id"] = { "on_log", function(x) x.id = "another" end },
    ["set_body"] = { "on_log", function(x) x.request:set_body("a") end },
    ["body()"] = { "on_log", function(x) x.response:body() end },
    ["resize_body"] = { "on_log", function(x) x.response:resize_body() end },
    ["mg.sleep"] = { "on_log", function() mg.sleep(1) end },
  }
  for what, case in pairs(cases) do
    it("is refused with a clear error: " .. what .. " in " .. case[1], function()
      local ok, err
      test.exchange { plugins = { { [case[1]] = function(x) if ok == nil then ok, err = pcall(case[2], x) end end } }, method = "POST", body = "b",
                      consumers = { alice = {} } }
      expect(ok).equals(false)
      expect(err).contains(what)
      expect(err:find("not allowed in this phase", 1, true) or err:find("cannot", 1, true)).exists()
    end)
  end
end)
