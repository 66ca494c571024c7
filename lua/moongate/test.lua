-- test.lua - `require "moongate.test"`: specs of plugins, run by `moongate test`.
--
--     local test = require "moongate.test"
--     local describe, it, expect = test.describe, test.it, test.expect
--
--     describe("require-tenant", function()
--       it("refuses a request without a tenant", function()
--         local r = test.exchange { plugins = { "require-tenant" } }
--         expect(r.status).equals(400)
--         expect(r.request).is_nil()          -- nothing went upstream
--       end)
--     end)

local json = require "moongate.json"
local host = require "moongate.host"

local test = {}
local native, file
local names, blocks, passed, failed = {}, {}, 0, 0
local running = coroutine.running
local type, pairs, ipairs, tostring, error, setmetatable = type, pairs, ipairs, tostring, error, setmetatable

-- ---- structure ------------------------------------------------------------------------------------

function test.begin(functions, path)
  native, file = functions, path
  names, blocks, passed, failed = {}, {}, 0, 0
end

function test.finish()
  native.report(passed, failed)
end

function test.describe(name, fn)
  names[#names + 1] = name
  blocks[#blocks + 1] = {}
  local ok, err = xpcall(fn, debug.traceback)
  if not ok then
    failed = failed + 1
    native.say(file .. ": " .. table.concat(names, " ") .. ": " .. tostring(err))
  end
  names[#names], blocks[#blocks] = nil, nil
end

-- Run before every test of this block, and of those in it.
function test.before_each(fn)
  local block = blocks[#blocks] or error("before_each stands in a describe", 2)
  block[#block + 1] = fn
end

local function message_of(err)
  local text = type(err) == "table" and err.expectation or tostring(err)
  if type(err) == "table" then return text end
  return debug.traceback(text, 2)
end

function test.it(name, fn)
  names[#names + 1] = name
  native.lines()
  local ok, err = xpcall(function()
    for _, block in ipairs(blocks) do
      for _, before in ipairs(block) do before() end
    end
    fn()
  end, message_of)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    native.say("FAILED " .. table.concat(names, " ") .. "\n  " .. (tostring(err):gsub("\n", "\n  ")))
    for _, line in ipairs(native.lines()) do native.say("  log: " .. line) end
  end
  names[#names] = nil
end

-- ---- expectations ---------------------------------------------------------------------------------

local function show(v)
  if type(v) == "string" then return json.quote(v) end
  if type(v) == "table" and v ~= json.null then
    local ok, text = pcall(json.encode, v)
    if ok then return text end
  end
  return tostring(v)
end

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

local function here()
  for level = 3, 12 do
    local where = select(2, pcall(error, "", level + 2))
    if where ~= "" and not where:find("^moongate/") then return where end
  end
  return ""
end

local function refuse(text) error({ expectation = here() .. text }, 0) end

-- expect(value).equals(other), .is(true), .contains("text"), .matches("lua pattern"), .is_nil(), .fails("part of message")
function test.expect(value)
  local e = {}
  function e.equals(other)
    if not same(value, other) then refuse("expected " .. show(other) .. ", got " .. show(value)) end
  end
  e.is = e.equals
  function e.is_not(other)
    if same(value, other) then refuse("expected something other than " .. show(other)) end
  end
  function e.is_nil()
    if value ~= nil then refuse("expected nil, got " .. show(value)) end
  end
  function e.exists()
    if value == nil then refuse("expected a value, got nil") end
  end
  function e.contains(part)
    if type(value) == "table" then
      for _, item in ipairs(value) do
        if type(item) == "string" and type(part) == "string" and item:find(part, 1, true) or same(item, part) then return end
      end
    elseif tostring(value):find(part, 1, true) then
      return
    end
    refuse("expected " .. show(value) .. " to contain " .. show(part))
  end
  function e.lacks(part)
    if tostring(value):find(part, 1, true) then refuse("expected " .. show(value) .. " not to contain " .. show(part)) end
  end
  function e.matches(pattern)
    if not tostring(value):find(pattern) then refuse("expected " .. show(value) .. " to match " .. show(pattern)) end
  end
  function e.is_within(low, high)
    if type(value) ~= "number" or value < low or value > high then
      refuse("expected a number from " .. low .. " to " .. high .. ", got " .. show(value))
    end
  end
  function e.fails(part)
    local ok, err = pcall(value)
    if ok then refuse("expected an error with " .. show(part) .. ", and there was none") end
    if part and not tostring(err):find(part, 1, true) then
      refuse("expected an error with " .. show(part) .. ", got " .. show(tostring(err)))
    end
  end
  return e
end

-- ---- exchanges ------------------------------------------------------------------------------------

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

-- { name = value or list } as a list of { name, value }.
local function field_list(headers)
  local list = {}
  for _, name in ipairs(sorted_keys(headers or {})) do
    local value = headers[name]
    if type(value) ~= "table" then value = { value } end
    for _, v in ipairs(value) do list[#list + 1] = { name, tostring(v) } end
  end
  return list
end

-- Headers by name, whatever the case; `all` has the list.
local headers_mt = {
  __index = function(h, name) return type(name) == "string" and rawget(h, name:lower()) or nil end,
}
local function headers_of(list)
  local h = {}
  for _, pair in ipairs(list) do
    local name = pair[1]:lower()
    if h[name] == nil then h[name] = pair[2] end
  end
  return setmetatable(h, headers_mt)
end

local function values_of(list, name)
  local values = {}
  for _, pair in ipairs(list) do
    if pair[1]:lower() == name:lower() then values[#values + 1] = pair[2] end
  end
  return values
end

local function pieces_of(body)
  if body == nil or body == "" then return {} end
  if type(body) == "string" then return { body } end
  if json.is_array(body) or type(body[1]) ~= "string" then return { json.encode(body) } end
  return body
end

local function with_type(headers, body)
  if type(body) == "table" and type(body[1]) ~= "string" then
    local copy = { ["content-type"] = "application/json" }
    for k, v in pairs(headers or {}) do copy[k] = v end
    return copy
  end
  return headers
end

-- What the spec's upstream gets, and what it answers.
local function upstream_of(given)
  if given == nil then return nil end
  return function(request)
    request.headers = headers_of(request.fields)
    request.all = function(name) return values_of(request.fields, name) end
    local answer = given
    if type(given) == "function" then answer = given(request) end
    answer = answer or {}
    return {
      status = answer.status or 200,
      fields = field_list(with_type(answer.headers, answer.body)),
      pieces = pieces_of(answer.body),
      stream = answer.stream,
    }
  end
end

local known = {
  method = 1, path = 1, host = 1, port = 1, scheme = 1, headers = 1, body = 1, client = 1, params = 1, route = 1, route_path = 1,
  plugins = 1, upstream = 1, upstream_name = 1, consumers = 1, buffered_body = 1, memory = 1,
}
local sources = { "upstream", "plugin", "gateway" }
local ok_upstream = { status = 200, headers = { ["content-type"] = "text/plain" }, body = "upstream" }

-- Run a chain over a request made by hand. Gives { status, headers, body, all(name), json(), source, failure, elapsed_ms,
-- ctx, consumer, log, request = what the upstream saw, or nil }.
function test.exchange(given)
  for k in pairs(given) do
    if not known[k] then error("test.exchange: unknown key '" .. tostring(k) .. "'", 2) end
  end
  local path, query = (given.path or "/"):match("^([^?]*)%??(.*)$")
  local headers = with_type(given.headers, given.body)
  local fields, chunked = {}, 0
  for _, field in ipairs(field_list(headers)) do
    local name = field[1]:lower()
    if name == "transfer-encoding" then chunked = 1
    elseif name ~= "content-length" then fields[#fields + 1] = field end -- framing is the codec's, as in the gateway
  end
  local authority = given.host or "test.example"
  if not headers_of(fields).host then table.insert(fields, 1, { "Host", authority }) end
  local params = {}
  for _, name in ipairs(sorted_keys(given.params or {})) do params[#params + 1] = { name, tostring(given.params[name]) } end
  local upstream = given.upstream
  if upstream == nil then upstream = ok_upstream end
  native.lines()
  local r = native.simulate {
    method = given.method or (given.body and "POST" or "GET"),
    path = path, query = (given.path or ""):find("?", 1, true) and query or nil, target = given.path or "/",
    host = authority, port = given.port or (given.scheme == "https" and 443 or 80), https = given.scheme == "https" and 1 or 0,
    fields = fields, pieces = pieces_of(given.body), chunked = chunked, client = given.client or "127.0.0.1", params = params,
    route = given.route or "test", route_path = given.route_path or path, plugins = given.plugins,
    upstream = upstream_of(upstream or nil), upstream_name = given.upstream_name or "test",
    consumers = given.consumers, buffered_body = given.buffered_body, memory = given.memory,
  }
  r.headers = headers_of(r.fields)
  r.all = function(name) return values_of(r.fields, name) end
  r.json = function() return assert(json.decode(r.body)) end
  r.source = sources[r.source]
  r.log = native.lines()
  return r
end

-- Move the simulated clock on.
function test.advance(ms) native.advance(ms) end

-- The traces of handlers that were given up while fn ran: a list of { start = "file:line", at = "file:line", reason = number }. And
-- where those began that were made. (Handlers run in coroutines; what is made on the main state, such as a config, is not hot.)
function test.aborted_traces(fn)
  local jit, funcinfo, aborted, made, start = host.jit, host.funcinfo, {}, {}, ""
  local function on_trace(what, _, func, pc, code)
    if not running() then return end
    if what == "start" then
      start = tostring(funcinfo(func, pc).loc)
    elseif what == "stop" then
      made[#made + 1] = start
    elseif what == "abort" then
      aborted[#aborted + 1] = { start = start, at = tostring(funcinfo(func, pc).loc), reason = code }
    end
  end
  jit.flush()
  jit.attach(on_trace, "trace")
  local ok, err = pcall(fn)
  jit.attach(on_trace)
  if not ok then error(err, 0) end
  return aborted, made
end

return test
