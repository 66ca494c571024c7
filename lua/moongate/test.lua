-- test.lua - `require "moongate.test"`: specs of plugins and of whole configs, run by `moongate test`.
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
local expectations = require "moongate.test_expect"
local fakes = require "moongate.test_fakes"
local redis = require "moongate.test_redis"

local test = { expect = expectations.expect }
local native, file, folder, options
local names, blocks, counts = {}, {}, {}
local world, gateways = { calls = {} }, {}
local running = coroutine.running
local type, pairs, ipairs, tostring, error, setmetatable = type, pairs, ipairs, tostring, error, setmetatable

-- ---- structure ------------------------------------------------------------------------------------

-- functions: the host's; path: of the spec; given: { filter = text or nil, verbose = boolean }.
function test.begin(functions, path, given)
  native, file, options = functions, path, given
  folder = path:match("^(.*/)[^/]*$") or ""
  names, blocks, counts = {}, {}, { passed = 0, failed = 0, skipped = 0 }
  world = { calls = {} }
  native.on_question(function(service, question) return fakes.answer(world, service, question) end)
end

-- For the runtime's own modules that simulate exchanges (replay.lua).
function test.natives() return native end

function test.finish()
  native.report(counts.passed, counts.failed, counts.skipped)
end

local told = {} -- the log's lines since the test began

local function tell(err)
  for _, line in ipairs(expectations.tell(err, native.source_line, file)) do native.say("  " .. line) end
  for _, line in ipairs(told) do native.say("  log: " .. line) end
  for _, line in ipairs(native.lines()) do native.say("  log: " .. line) end
end

local function failed(what, err)
  counts.failed = counts.failed + 1
  native.say(native.colour("red") .. "FAILED" .. native.colour("plain") .. " " .. what)
  tell(err)
end

function test.describe(name, fn)
  names[#names + 1] = name
  blocks[#blocks + 1] = { before = {}, after = {} }
  local ok, err = xpcall(fn, expectations.handler)
  if not ok then failed(table.concat(names, " "), err) end
  names[#names], blocks[#blocks] = nil, nil
end

-- Run before, or after, every test of this block, and of those in it.
function test.before_each(fn)
  local block = blocks[#blocks] or error("before_each stands in a describe", 2)
  block.before[#block.before + 1] = fn
end
function test.after_each(fn)
  local block = blocks[#blocks] or error("after_each stands in a describe", 2)
  block.after[#block.after + 1] = fn
end

local function body_of(fn)
  for _, block in ipairs(blocks) do
    for _, before in ipairs(block.before) do before() end
  end
  fn()
end

-- What a test opened goes with it; and what it set.
local function clean_up()
  for i = #blocks, 1, -1 do
    for _, after in ipairs(blocks[i].after) do after() end
  end
  while #gateways > 0 and gateways[#gateways].of_test do table.remove(gateways):close() end
  world = { calls = {} }
  native.seed(nil)
end

local is_running = false

function test.it(name, fn)
  names[#names + 1] = name
  local full = table.concat(names, " ")
  names[#names] = nil
  if options.filter and not full:lower():find(options.filter:lower(), 1, true) then
    counts.skipped = counts.skipped + 1
    return
  end
  native.limit(full)
  native.lines()
  told = {}
  is_running = true
  if #gateways == 0 then native.forget() end -- what plugins kept in the test before is not this one's matter
  local began = native.real_ms()
  local ok, err = xpcall(body_of, expectations.handler, fn)
  local cleaned, err_after = xpcall(clean_up, expectations.handler)
  is_running = false
  if not ok or not cleaned then
    failed(full, ok and err_after or err)
    return
  end
  counts.passed = counts.passed + 1
  if options.verbose then
    native.say(("%sok%s     %s (%.1f ms)"):format(native.colour("green"), native.colour("plain"), full, native.real_ms() - began))
  end
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

-- A list of texts, and of numbers: milliseconds until the next one comes.
local function is_pieces(body)
  return type(body) == "table" and not json.is_array(body) and (type(body[1]) == "string" or type(body[1]) == "number" and type(body[2]) == "string")
end

local function pieces_of(body)
  if body == nil or body == "" then return {} end
  if type(body) == "string" then return { body } end
  if not is_pieces(body) then return { json.encode(body) } end
  return body
end

local function with_type(headers, body)
  if type(body) == "table" and not is_pieces(body) then
    local copy = { ["content-type"] = "application/json" }
    for k, v in pairs(headers or {}) do copy[k] = v end
    return copy
  end
  return headers
end

-- What frames a message is the codec's, as in the gateway. The other fields, and: was the body to come in chunks?
local framing = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true, ["keep-alive"] = true }
local function unframed(list)
  local kept, chunked = {}, false
  for _, field in ipairs(list) do
    local name = field[1]:lower()
    chunked = chunked or name == "transfer-encoding"
    if not framing[name] then kept[#kept + 1] = field end
  end
  return kept, chunked
end

local function with_lookups(message)
  message.headers = headers_of(message.fields)
  message.all = function(name) return values_of(message.fields, name) end
  if message.trailer_fields then message.trailers = headers_of(message.trailer_fields) end
  message.json = function() return assert(json.decode(message.body)) end
  return message
end

local known_answer = { status = 1, headers = 1, body = 1, trailers = 1, stream = 1, after = 1, fails = 1 }

-- What the spec's upstream gives, checked, as the host wants it.
local function native_answer(answer)
  if answer == nil then answer = {} end
  if type(answer) == "number" then answer = { status = answer } end
  if type(answer) == "string" then answer = { body = answer } end
  if type(answer) ~= "table" then error("upstream: an answer is a table { status =, headers =, body = }, not " .. tostring(answer), 0) end
  for k in pairs(answer) do
    if not known_answer[k] then error("upstream: unknown key '" .. tostring(k) .. "' in the answer", 0) end
  end
  local fields, chunked = unframed(field_list(with_type(answer.headers, answer.body)))
  return {
    status = answer.status or 200, fields = fields, pieces = pieces_of(answer.body), stream = answer.stream or chunked,
    trailer_fields = answer.trailers and field_list(answer.trailers), after_ms = fakes.ms(answer.after, "after"),
    fails = answer.fails, partial = answer.fails and (answer.status or answer.body) and true,
  }
end

-- given: an answer, or a function of the request.
local function upstream_of(given)
  if given == nil then return nil end
  return function(request)
    with_lookups(request)
    local answer = given
    if type(given) == "function" then answer = given(request) end
    return native_answer(answer)
  end
end

local sources = { "upstream", "plugin", "gateway" }
local ok_upstream = { status = 200, headers = { ["content-type"] = "text/plain" }, body = "upstream" }

local function result_of(r)
  if r.fields then
    with_lookups(r)
  else
    r.headers, r.body, r.all = headers_of {}, "", function() return {} end
  end
  r.source = sources[r.source]
  r.log = native.lines()
  for _, line in ipairs(r.log) do told[#told + 1] = line end
  r.calls = world.calls
  r.written = native.written()
  return r
end

-- Milliseconds since 1970, from a number or "2026-03-01T12:00:00Z".
local function wall_ms(v)
  if type(v) == "number" then return v end
  local y, mo, d, h, mi, s = tostring(v):match("^(%d%d%d%d)-(%d%d)-(%d%d)[T ](%d%d):(%d%d):?(%d*)Z?$")
  if not y then error("now: milliseconds since 1970 or \"2026-03-01T12:00:00Z\" expected, not " .. tostring(v), 3) end
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  if mo <= 2 then y, mo = y - 1, mo + 12 end -- days from civil: March is the first month
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) + math.floor((153 * (mo - 3) + 2) / 5) + d - 719469
  return (((days * 24 + tonumber(h)) * 60 + tonumber(mi)) * 60 + (tonumber(s) or 0)) * 1000
end

-- Clock, randomness and what is outside, as this exchange finds them; they stay so until the test ends.
local function set_world(given)
  for _, name in ipairs { "http", "redis", "dns" } do
    if given[name] ~= nil then world[name] = given[name] end
  end
  world.calls = {}
  if given.now ~= nil then native.set_wall_ms(wall_ms(given.now)) end
  if given.seed ~= nil then native.seed(given.seed) end
end

-- What both kinds of exchange tell of a request.
local function native_request(given)
  local fields, chunked = unframed(field_list(with_type(given.headers, given.body)))
  local authority, path = given.host, given.path or "/"
  if not authority then
    local field = headers_of(fields).host
    authority = field or "test.example"
  end
  if not headers_of(fields).host then table.insert(fields, 1, { "Host", authority }) end
  local name, port = authority:match("^(.-):(%d+)$")
  local secure = given.scheme == "https"
  local leaves = given.leaves_after
  return {
    method = given.method or (given.body and "POST" or "GET"), target = path, fields = fields, pieces = pieces_of(given.body),
    chunked = chunked and 1 or 0, authority = authority, host = (name or authority):lower(),
    authority_port = tonumber(port), port = given.port or tonumber(port) or (secure and 443 or 80), https = secure and 1 or 0,
    client = given.client or "127.0.0.1", trailer_fields = given.trailers and field_list(given.trailers),
    leaves_after_ms = fakes.ms(leaves, "leaves_after"),
  }
end

local function check_keys(given, known, what)
  if type(given) ~= "table" then error(what .. ": a table expected", 3) end
  for k in pairs(given) do
    if not known[k] then error(what .. ": unknown key '" .. tostring(k) .. "'", 3) end
  end
end

local function set(...)
  local t = {}
  for _, k in ipairs { ... } do t[k] = true end
  return t
end

local of_exchange = set("method", "path", "host", "port", "scheme", "headers", "body", "trailers", "client", "params", "route", "route_path",
  "plugins", "upstream", "upstream_name", "consumers", "buffered_body", "memory", "after_ms", "leaves_after", "http", "redis", "dns", "now", "seed")

-- Run a chain over a request made by hand. Gives { status, headers, body, trailers, all(name), json(), source, failure, elapsed_ms,
-- ctx, consumer, log, calls = what was asked of the outside, request = what the upstream saw, or nil }. A client that left has no status.
function test.exchange(given)
  check_keys(given, of_exchange, "test.exchange")
  set_world(given)
  local path, query = (given.path or "/"):match("^([^?]*)%??(.*)$")
  local params, spec, upstream = {}, native_request(given), given.upstream
  for _, name in ipairs(sorted_keys(given.params or {})) do params[#params + 1] = { name, tostring(given.params[name]) } end
  if upstream == nil then upstream = ok_upstream end
  spec.path, spec.query, spec.params = path, (given.path or ""):find("?", 1, true) and query or nil, params
  spec.route, spec.route_path, spec.plugins = given.route or "test", given.route_path or path, given.plugins
  spec.upstream, spec.upstream_name = upstream_of(upstream or nil), given.upstream_name or "test"
  spec.consumers, spec.buffered_body, spec.memory, spec.after_ms = given.consumers, given.buffered_body, given.memory, given.after_ms
  native.lines()
  native.written()
  return result_of(native.simulate(spec))
end

-- ---- whole configs ----------------------------------------------------------------------------------

local gateway = {}
gateway.__index = gateway

-- Who answers for an upstream: by its name, by its URL without a slash at the end, or "*" for all others.
local function upstream_for(upstreams, request)
  local found = upstreams[request.upstream]
  for key, value in pairs(upstreams) do
    if found == nil and type(key) == "string" and key:gsub("/+$", "") == request.upstream then found = value end
  end
  if found == nil then found = upstreams["*"] end
  if found == nil then
    error("the spec has no upstream \"" .. request.upstream .. "\" for " .. request.method .. " " .. request.path ..
      "; give test.gateway upstreams = { [\"" .. request.upstream .. "\"] = function(request) … end }", 0)
  end
  if type(found) == "function" then return found(request) end
  return found
end

local of_gateway = set("upstreams", "env", "http", "redis", "dns", "now", "seed")

local function absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return folder .. path
end

-- A whole config, with every upstream played by the spec: { upstreams = { name = function(request) … end }, env = { NAME = "value" },
-- http, redis, dns, now, seed }. path: beside the spec. A config that is wrong raises its mistakes.
function test.gateway(path, given)
  given = given or {}
  check_keys(given, of_gateway, "test.gateway")
  set_world(given)
  for i = #gateways, 1, -1 do
    if not gateways[i].native then table.remove(gateways, i) end
  end
  if #gateways == 0 then native.forget() end -- counters and dictionaries are as in a process that begins
  local made = native.gateway(absolute(path), given.env)
  local g = setmetatable({ native = made, upstreams = given.upstreams or {}, given = given, of_test = is_running }, gateway)
  gateways[#gateways + 1] = g
  return g
end

local of_request = set("method", "path", "host", "port", "scheme", "headers", "body", "trailers", "client", "listener", "leaves_after", "http",
  "redis", "dns", "now", "seed")

-- One request: what test.exchange gives, and route, upstream. What plugins keep (rate limits, caches) they keep from one to the next.
function gateway:request(given)
  if not self.native then error("this gateway was closed", 2) end
  if type(given) == "string" then
    local method, path = given:match("^(%u+) (.+)$")
    given = { method = method, path = path or given }
  end
  given = given or {}
  check_keys(given, of_request, "request")
  for _, name in ipairs { "http", "redis", "dns" } do world[name] = self.given[name] end
  set_world(given)
  local spec = native_request(given)
  spec.listener = given.listener
  spec.upstream = upstream_of(function(request) return upstream_for(self.upstreams, request) end)
  native.lines()
  native.written()
  return result_of(native.simulate(spec, self.native))
end

-- Shortcuts: gw:get("/path", { headers = … })
for _, method in ipairs { "get", "post", "put", "patch", "delete", "head", "options" } do
  gateway[method] = function(self, path, given)
    local copy = { method = method:upper(), path = path }
    for k, v in pairs(given or {}) do copy[k] = v end
    return self:request(copy)
  end
end

-- Let it go. A gateway that was made inside a test goes with it.
function gateway:close()
  if self.native then native.gateway_close(self.native) end
  self.native = nil
end

-- ---- the world ----------------------------------------------------------------------------------------

-- A Redis in memory (moongate/test_redis.lua).
function test.redis(given)
  return redis.new(given, native.now_ms, native.wall_ms)
end

-- Look for plugins there, too: a folder, or the file of one plugin; beside the spec.
function test.plugins(path)
  path = absolute(path)
  native.plugins(path:find("%.so$") and (path:match("^(.*)/[^/]*$") or ".") or path:find("%.lua$") and (path:match("^(.*)/[^/]*$") or ".") or path)
end

-- The names of files in a folder beside the spec that match a Lua pattern, sorted.
function test.files(path, pattern)
  local found = {}
  for _, name in ipairs(native.files(absolute(path))) do
    if name ~= "." and name ~= ".." and name:find(pattern or ".") then found[#found + 1] = name end
  end
  return found
end

-- Move the simulated clock on, by milliseconds or "5s"; tasks and timers that are due on the way run.
function test.advance(v) native.advance(fakes.ms(v, "test.advance")) end
-- Set the wall clock: milliseconds since 1970, or "2026-03-01T12:00:00Z".
function test.set_time(v) native.set_wall_ms(wall_ms(v)) end
-- The log's lines since the last exchange, or the last call.
function test.log() return native.lines() end

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
