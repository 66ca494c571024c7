-- repl.lua - `moongate repl`: a Lua prompt inside a simulated exchange.
--
-- Each prompt is a handler of on_request that reads a line, runs it and reads the next, so that everything a handler may do
-- works there, waiting too (on the simulated clock). What begins with a dot is for the prompt itself; .help tells.

local test = require "moongate.test"
local fakes = require "moongate.test_fakes"
local expectations = require "moongate.test_expect"
local mg = require "moongate"
local json = require "moongate.json"

local repl = {}
local native, gateway, config
local world = { http = nil, redis = nil, dns = nil, upstream = nil }
local request = { method = "GET", path = "/" }
local type, tostring, pairs, ipairs, pcall, xpcall, select = type, tostring, pairs, ipairs, pcall, xpcall, select

local help = [[
Lua, in on_request of an exchange: x is the exchange, mg everything else. An expression is printed. mg.sleep and other
waits work and take no real time. Globals stay from line to line; a line that is not whole goes on with the next.

  .new [METHOD] URL [NAME: VALUE]…   another request (.new POST http://api.example/users x-key: 1)
  .body TEXT                         …with this body
  .send                              let the request, as x has it now, go on: through the config's route with -c FILE
  .request                           the request as it stands
  .advance 5s                        let time pass
  .help   .quit                      (or end of input)

world.upstream, world.http, world.dns: functions that answer for other servers; world.redis: a Redis in memory.]]

-- ---- printing -----------------------------------------------------------------------------------------

local parts = {
  ["moongate: x"] = { "id", "phase", "request", "response", "client", "route", "upstream", "consumer" },
  ["moongate: x.request"] = { "method", "scheme", "host", "port", "path", "raw_query", "version", "body_length", "headers", "query" },
  ["moongate: x.response"] = { "status", "source", "body_length", "headers" },
  ["moongate: x.client"] = { "ip", "port", "peer_ip", "peer_is_trusted", "tls" },
  ["moongate: x.client.tls"] = { "version", "cipher", "sni" },
  ["moongate: x.route"] = { "id", "path" },
  ["moongate: x.upstream"] = { "name", "target" },
  ["moongate: x.consumer"] = { "name", "credential_id", "groups" },
}

local show

local function show_fields(v, indent)
  local lines = {}
  for _, name, value in v:each() do lines[#lines + 1] = indent .. "  " .. name .. ": " .. value end
  return #lines == 0 and "(none)" or "\n" .. table.concat(lines, "\n")
end

local function show_part(v, names, indent)
  local lines = {}
  for _, name in ipairs(names) do
    local ok, value = pcall(function() return v[name] end)
    if ok and value ~= nil then
      local inner = parts[tostring(value)] and indent == "" and "…" or show(value, indent .. "  ")
      lines[#lines + 1] = indent .. "  " .. name .. " = " .. inner
    end
  end
  return tostring(v):match("^moongate: (.*)$") .. "\n" .. table.concat(lines, "\n")
end

show = function(v, indent)
  if type(v) ~= "cdata" then return expectations.show(v) end
  local name = tostring(v)
  if parts[name] then return show_part(v, parts[name], indent) end
  local ok, each = pcall(function() return v.each end)
  if ok and type(each) == "function" then return show_fields(v, indent) end
  return name
end

local function print_values(n, ...)
  for i = 1, n do native.say(show((select(i, ...)), "")) end
end

local function complain(text)
  native.say(native.colour("red") .. tostring(text):gsub('^%[string "=?(.-)"%]:', "%1:") .. native.colour("plain"))
end

local function print_response(r)
  for _, line in ipairs(r.log) do native.say("  log: " .. line) end
  if not r.status then return native.say("no answer: " .. tostring(r.failure)) end
  local notes = { r.source or "?" }
  if r.route then notes[#notes + 1] = "route " .. r.route end
  if r.upstream then notes[#notes + 1] = "upstream " .. r.upstream end
  if r.elapsed_ms > 0 then notes[#notes + 1] = ("%g ms"):format(r.elapsed_ms) end
  native.say(r.status .. "  (" .. table.concat(notes, ", ") .. ")")
  for _, field in ipairs(r.fields) do native.say("  " .. field[1] .. ": " .. field[2]) end
  if r.body ~= "" then native.say("\n" .. r.body:gsub("\n$", "")) end
end

-- ---- lines --------------------------------------------------------------------------------------------

local env = setmetatable({ mg = mg, json = json, test = test, world = world }, { __index = _G })
function env.print(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  native.say(table.concat(words, "\t"))
end

local function compile(text)
  local fn = loadstring("return " .. text, "=repl")
  if fn then return fn end
  return loadstring(text, "=repl")
end

local function is_unfinished(err) return err:find("near '<eof>'", 1, true) or err:find("unfinished long string", 1, true) end

-- The next command or whole chunk: ".name", rest / "lua", function. nil at the end of input.
local function read_one()
  local text = native.read_line("> ")
  while text do
    local name, rest = text:match("^%s*%.(%a+)%s*(.-)%s*$")
    if name then return name, rest end
    if text:find("^%s*$") then
      text = native.read_line("> ")
    else
      local fn, err = compile(text:gsub("^%s*=", ""))
      if fn then return "lua", setfenv(fn, env) end
      if not is_unfinished(err) then
        complain(err)
        text = native.read_line("> ")
      else
        local more = native.read_line(">> ")
        if not more then
          complain(err)
          return nil
        end
        text = text .. "\n" .. more
      end
    end
  end
  return nil
end

local function run(fn)
  local function finish(ok, ...)
    if ok then return print_values(select("#", ...), ...) end
    complain((...))
  end
  finish(pcall(fn))
end

-- ---- the prompt's own commands --------------------------------------------------------------------------

local function parse_url(text)
  local scheme, host, path = text:match("^(https?)://([^/?]+)(.*)$")
  if not scheme then return nil, nil, text end
  return scheme, host, path
end

local function new_request(rest)
  local made, words = { headers = {} }, {}
  local first, fields = rest:match("^(.-)%s+([%w-]+:%s.*)$")
  for word in (first or rest):gmatch("%S+") do words[#words + 1] = word end
  made.method = words[2] and words[1]:upper() or "GET"
  made.scheme, made.host, made.path = parse_url(words[2] or words[1] or "/")
  if made.path == "" then made.path = "/" end
  if made.path:sub(1, 1) ~= "/" then return nil, ".new: a path or a URL expected, not " .. made.path end
  -- "a: 1 b: 2": a name is a word with a colon
  if fields then
    local marks = {}
    for from, name, to in fields:gmatch("()([%w-]+):%s+()") do marks[#marks + 1] = { from, name, to } end
    for i, mark in ipairs(marks) do
      local stop = marks[i + 1] and marks[i + 1][1] - 1 or #fields
      made.headers[mark[2]] = fields:sub(mark[3], stop):gsub("%s+$", "")
    end
  end
  return made
end

-- The request as x has it now.
local function request_of(x)
  local headers, query = {}, x.request.raw_query
  for _, name, value in x.request.headers:each() do
    local key = name:lower()
    if key ~= "host" then
      local had = headers[key]
      if had == nil then headers[key] = value
      elseif type(had) == "table" then had[#had + 1] = value
      else headers[key] = { had, value } end
    end
  end
  return {
    method = x.request.method, scheme = x.request.scheme, host = request.host, path = x.request.path .. (query and query ~= "" and "?" .. query or ""),
    headers = headers, body = request.body, client = x.client.ip,
  }
end

local commands = {}
function commands.help() native.say(help) end
function commands.request(x) native.say(show(x.request, "")) end
function commands.new(_, rest)
  local made, why = new_request(rest)
  if not made then return complain(why) end
  return { again = made }
end
function commands.body(_, rest)
  local copy = {}
  for k, v in pairs(request) do copy[k] = v end
  copy.body = rest ~= "" and rest or nil
  if copy.method == "GET" and copy.body then copy.method = "POST" end
  return { again = copy }
end
function commands.send(x) return { send = request_of(x) } end
function commands.quit() return { quit = true } end
commands.exit = commands.quit
-- Inside the handler time passes by waiting.
function commands.advance(_, rest)
  local ok, ms = pcall(fakes.ms, rest, ".advance")
  if not ok then return complain(ms) end
  mg.sleep(ms)
end

-- The handler: until a command says what comes next.
local function prompt(x)
  env.x = x
  while true do
    local what, arg = read_one()
    if not what then return { quit = true } end
    if what == "lua" then
      run(arg)
    elseif commands[what] then
      local next_one = commands[what](x, arg)
      if next_one then return next_one end
    else
      complain("there is no ." .. what .. "; .help tells what there is")
    end
  end
end

-- ---- the whole ------------------------------------------------------------------------------------------

local default_upstream = function(r) return { headers = { ["content-type"] = "text/plain" }, body = r.method .. " " .. r.path .. " upstream\n" } end

local function given_for(extra)
  local given = { http = world.http, redis = world.redis, dns = world.dns }
  for k, v in pairs(extra) do given[k] = v end
  return given
end

local function upstream(r) return (world.upstream or default_upstream)(r) end

local function send_through_config(sent)
  gateway.upstreams = { ["*"] = upstream }
  gateway.given = { http = world.http, redis = world.redis, dns = world.dns }
  local ok, r = xpcall(function() return gateway:request(sent) end, expectations.handler)
  if not ok then return complain(table.concat(expectations.tell(r, native.source_line), "\n")) end
  print_response(r)
end

-- One exchange with a prompt in it. What the prompt wants next.
local function session()
  local wanted
  local given = given_for {
    method = request.method, path = request.path, host = request.host, scheme = request.scheme, headers = request.headers,
    body = request.body, client = request.client, upstream = upstream, memory = 64 * 1024 * 1024,
    plugins = { { on_request = function(x)
      wanted = prompt(x)
      if not wanted.send or gateway then return x:respond(204) end
    end } },
  }
  local ok, r = xpcall(test.exchange, expectations.handler, given)
  if not ok then
    complain(r.text or r.expectation)
    return wanted or { again = request }
  end
  if wanted and wanted.send and not gateway then print_response(r) end
  return wanted or { quit = true }
end

-- functions: the host's; given: { config = path or nil, request = "METHOD URL" or nil }.
function repl.start(functions, given)
  native, config = functions, given.config
  test.begin(functions, "repl", {})
  world.redis = test.redis()
  if config then
    local ok, made = pcall(test.gateway, config, {})
    if not ok then
      native.say(tostring(made))
      return false
    end
    gateway = made
  end
  if given.request then
    local made, why = new_request(given.request)
    if not made then
      native.say(why)
      return false
    end
    request = made
  end
  if native.is_terminal() then native.say("moongate repl: Lua inside an exchange; .help tells more, end of input leaves") end
  while true do
    local wanted = session()
    if wanted.quit then break end
    if wanted.send and gateway then send_through_config(wanted.send) end
    request = wanted.again or wanted.send or request
  end
  return true
end

return repl
