-- test_redis.lua - a Redis in memory, for specs: `redis = test.redis()` in test.exchange or test.gateway.
--
--     local redis = test.redis { set = { ["user:1"] = "alice" } }
--     local r = test.exchange { plugins = { "cached" }, redis = redis }
--     expect(redis:call("GET", "seen:alice")).equals("1")
--
-- Keys expire by the simulated clock. It knows the commands that policies use; another one fails the spec with its name. Scripts
-- cannot be run: give `eval = function(redis, script, keys, args)`, which plays them (EVALSHA passes the text that was loaded).

local crypto = require "moongate.crypto"

local commands = {}
local redis = {}
redis.__index = redis

local OK = { ok = "OK" }
local WRONG = { err = "WRONGTYPE Operation against a key holding the wrong kind of value" }
local NOT_INTEGER = { err = "ERR value is not an integer or out of range" }
local NOT_FLOAT = { err = "ERR value is not a valid float" }
local SYNTAX = { err = "ERR syntax error" }

-- ---- keys -----------------------------------------------------------------------------------------

local function entry(r, key)
  local e = r.keys[key]
  if e and e.expires and e.expires <= r.now() then
    r.keys[key] = nil
    return nil
  end
  return e
end

-- The key's value if it is of that kind; nil and the reply to give when it is of another.
local function of(r, key, kind)
  local e = entry(r, key)
  if not e then return nil end
  if e.kind ~= kind then return nil, WRONG end
  return e.value, nil, e
end

local function make(r, key, kind, value)
  r.keys[key] = { kind = kind, value = value }
  return value
end

local function sized(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

local function drop_if_empty(r, key, t)
  if next(t) == nil then r.keys[key] = nil end
end

local function integer(s)
  local n = tonumber(s)
  if not n or n ~= math.floor(n) then return nil end
  return n
end

local function text(n)
  if n == math.floor(n) and math.abs(n) < 1e15 then return ("%d"):format(n) end
  return ("%.17g"):format(n)
end

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

-- Redis globs: * ? [abc] and \ before what is meant as it is.
local function pattern_of(glob)
  local out, i = {}, 1
  while i <= #glob do
    local c = glob:sub(i, i)
    if c == "*" then out[#out + 1] = ".*"
    elseif c == "?" then out[#out + 1] = "."
    elseif c == "[" then
      local stop = glob:find("]", i, true) or #glob
      out[#out + 1] = glob:sub(i, stop)
      i = stop
    else
      if c == "\\" then i = i + 1; c = glob:sub(i, i) end
      out[#out + 1] = c:gsub("%W", "%%%0")
    end
    i = i + 1
  end
  return "^" .. table.concat(out) .. "$"
end

function commands.DEL(r, ...)
  local n = 0
  for _, key in ipairs { ... } do
    if entry(r, key) then n = n + 1 end
    r.keys[key] = nil
  end
  return n
end
commands.UNLINK = commands.DEL

function commands.EXISTS(r, ...)
  local n = 0
  for _, key in ipairs { ... } do
    if entry(r, key) then n = n + 1 end
  end
  return n
end

function commands.TYPE(r, key)
  local e = entry(r, key)
  return { ok = e and e.kind or "none" }
end

local function expire(r, key, at, condition)
  local e = entry(r, key)
  if not e then return 0 end
  condition = condition and condition:upper()
  if condition == "NX" and e.expires or condition == "XX" and not e.expires then return 0 end
  if condition == "GT" and (not e.expires or at <= e.expires) then return 0 end
  if condition == "LT" and e.expires and at >= e.expires then return 0 end
  e.expires = at
  entry(r, key)
  return 1
end
function commands.EXPIRE(r, key, s, c) return integer(s) and expire(r, key, r.now() + integer(s) * 1000, c) or NOT_INTEGER end
function commands.PEXPIRE(r, key, ms, c) return integer(ms) and expire(r, key, r.now() + integer(ms), c) or NOT_INTEGER end
function commands.EXPIREAT(r, key, s, c) return integer(s) and expire(r, key, r.now() + integer(s) * 1000 - r.wall_ms(), c) or NOT_INTEGER end
function commands.PEXPIREAT(r, key, ms, c) return integer(ms) and expire(r, key, r.now() + integer(ms) - r.wall_ms(), c) or NOT_INTEGER end
function commands.PERSIST(r, key)
  local e = entry(r, key)
  if not e or not e.expires then return 0 end
  e.expires = nil
  return 1
end
function commands.PTTL(r, key)
  local e = entry(r, key)
  if not e then return -2 end
  return e.expires and math.ceil(e.expires - r.now()) or -1
end
function commands.TTL(r, key)
  local ms = commands.PTTL(r, key)
  return ms < 0 and ms or math.floor((ms + 500) / 1000)
end

function commands.KEYS(r, glob)
  local pattern, list = pattern_of(glob), {}
  for _, key in ipairs(sorted(r.keys)) do
    if entry(r, key) and key:find(pattern) then list[#list + 1] = key end
  end
  return list
end
-- All at once: the cursor that comes back is 0.
local function scan_options(...)
  local given, glob = { ... }, "*"
  for i = 1, #given, 2 do
    if given[i]:upper() == "MATCH" then glob = given[i + 1] end
  end
  return glob
end
function commands.SCAN(r, _, ...) return { "0", commands.KEYS(r, scan_options(...)) } end
function commands.RENAME(r, from, to)
  local e = entry(r, from)
  if not e then return { err = "ERR no such key" } end
  r.keys[from] = nil
  r.keys[to] = e
  return OK
end
function commands.DBSIZE(r) return #commands.KEYS(r, "*") end
function commands.FLUSHALL(r) r.keys = {} return OK end
commands.FLUSHDB = commands.FLUSHALL

-- ---- the connection -------------------------------------------------------------------------------

function commands.PING(_, said) return said or { ok = "PONG" } end
function commands.ECHO(_, said) return said end
function commands.SELECT() return OK end
function commands.AUTH() return OK end
function commands.CLIENT() return OK end
function commands.QUIT() return OK end
function commands.TIME(r)
  local ms = r.wall_ms()
  return { text(math.floor(ms / 1000)), text(ms % 1000 * 1000) }
end
function commands.PUBLISH(r, channel, message)
  r.published[#r.published + 1] = { channel = channel, message = message }
  return 0
end
function commands.MULTI(r)
  if r.queue then return { err = "ERR MULTI calls can not be nested" } end
  r.queue = {}
  return OK
end
function commands.DISCARD(r)
  if not r.queue then return { err = "ERR DISCARD without MULTI" } end
  r.queue = nil
  return OK
end
function commands.WATCH() return OK end
commands.UNWATCH = commands.WATCH

-- ---- strings --------------------------------------------------------------------------------------

function commands.GET(r, key)
  local value, wrong = of(r, key, "string")
  return wrong or value
end

local units = { EX = 1000, PX = 1, EXAT = 1000, PXAT = 1 }

function commands.SET(r, key, value, ...)
  local given, i, expires, condition, keep, get = { ... }, 1, nil, nil, false, false
  local before, wrong = of(r, key, "string")
  while given[i] do
    local word = given[i]:upper()
    if units[word] then
      local n = integer(given[i + 1])
      if not n then return NOT_INTEGER end
      if n <= 0 then return { err = "ERR invalid expire time in 'set' command" } end
      expires = r.now() + n * units[word] - (word:find("AT") and r.wall_ms() or 0)
      i = i + 1
    elseif word == "NX" or word == "XX" then condition = word
    elseif word == "KEEPTTL" then keep = true
    elseif word == "GET" then get = true
    else return SYNTAX end
    i = i + 1
  end
  if get and wrong then return wrong end
  local e = entry(r, key)
  local refused = condition == "NX" and e or condition == "XX" and not e
  if not refused then
    make(r, key, "string", value)
    r.keys[key].expires = expires or keep and e and e.expires or nil
  end
  if get then return before end
  if refused then return nil end
  return OK
end
function commands.SETNX(r, key, value) return commands.SET(r, key, value, "NX") == OK and 1 or 0 end
function commands.SETEX(r, key, s, value) return commands.SET(r, key, value, "EX", s) end
function commands.PSETEX(r, key, ms, value) return commands.SET(r, key, value, "PX", ms) end
function commands.GETSET(r, key, value)
  local before, wrong = of(r, key, "string")
  if wrong then return wrong end
  make(r, key, "string", value)
  return before
end
function commands.GETDEL(r, key)
  local before, wrong = of(r, key, "string")
  if wrong then return wrong end
  r.keys[key] = nil
  return before
end
function commands.GETEX(r, key, word, n)
  local before, wrong, e = of(r, key, "string")
  if wrong or not e then return wrong end
  word = word and word:upper()
  if word == "PERSIST" then e.expires = nil
  elseif units[word] then e.expires = r.now() + integer(n) * units[word] - (word:find("AT") and r.wall_ms() or 0) end
  return before
end
function commands.MGET(r, ...)
  local list = { n = select("#", ...) }
  for i, key in ipairs { ... } do list[i] = of(r, key, "string") end
  return list
end
function commands.MSET(r, ...)
  local given = { ... }
  for i = 1, #given, 2 do make(r, given[i], "string", given[i + 1]) end
  return OK
end
function commands.APPEND(r, key, more)
  local value, wrong, e = of(r, key, "string")
  if wrong then return wrong end
  if e then e.value = value .. more else make(r, key, "string", more) end
  return #(value or "") + #more
end
function commands.STRLEN(r, key)
  local value, wrong = of(r, key, "string")
  return wrong or #(value or "")
end
function commands.INCRBY(r, key, by)
  local value, wrong, e = of(r, key, "string")
  if wrong then return wrong end
  local n, step = integer(value or "0"), integer(by)
  if not n or not step then return NOT_INTEGER end
  if e then e.value = text(n + step) else make(r, key, "string", text(n + step)) end
  return n + step
end
function commands.INCR(r, key) return commands.INCRBY(r, key, 1) end
function commands.DECR(r, key) return commands.INCRBY(r, key, -1) end
function commands.DECRBY(r, key, by) return integer(by) and commands.INCRBY(r, key, -integer(by)) or NOT_INTEGER end
function commands.INCRBYFLOAT(r, key, by)
  local value, wrong, e = of(r, key, "string")
  if wrong then return wrong end
  local n, step = tonumber(value or "0"), tonumber(by)
  if not n or not step then return NOT_FLOAT end
  if e then e.value = text(n + step) else make(r, key, "string", text(n + step)) end
  return text(n + step)
end

require "moongate.test_redis_kinds"(commands, {
  of = of, make = make, drop_if_empty = drop_if_empty, sized = sized, integer = integer, text = text, sorted = sorted,
  OK = OK, NOT_INTEGER = NOT_INTEGER, NOT_FLOAT = NOT_FLOAT, SYNTAX = SYNTAX,
})

-- ---- scripts --------------------------------------------------------------------------------------

local function sha_of(script) return crypto.hex(crypto.digest("sha1", script)) end

local function run_script(r, script, n, ...)
  local given, keys, args = { ... }, {}, {}
  if not r.eval then error("test.redis: the script cannot be run here; give test.redis { eval = function(redis, script, keys, args) … end }", 0) end
  for i, v in ipairs(given) do
    if i <= tonumber(n) then keys[#keys + 1] = v else args[#args + 1] = v end
  end
  return r.eval(r, script, keys, args)
end
function commands.EVAL(r, script, n, ...)
  r.scripts[sha_of(script)] = script
  return run_script(r, script, n, ...)
end
function commands.EVALSHA(r, sha, n, ...)
  local script = r.scripts[sha:lower()]
  if not script then return { err = "NOSCRIPT No matching script. Please use EVAL." } end
  return run_script(r, script, n, ...)
end
function commands.SCRIPT(r, what, ...)
  what = what:upper()
  if what == "LOAD" then
    local sha = sha_of((...))
    r.scripts[sha] = (...)
    return sha
  elseif what == "EXISTS" then
    local list = {}
    for i, sha in ipairs { ... } do list[i] = r.scripts[sha:lower()] and 1 or 0 end
    return list
  end
  r.scripts = {}
  return OK
end

-- ---- the server -----------------------------------------------------------------------------------

local function run(r, name, ...)
  local command = commands[name]
  if not command then error("test.redis does not simulate " .. name .. "; answer it with redis = function(command, args) … end", 0) end
  return command(r, ...)
end

-- EXEC runs what MULTI made wait.
function commands.EXEC(r)
  local queue = r.queue
  if not queue then return { err = "ERR EXEC without MULTI" } end
  r.queue = nil
  local replies = { n = #queue }
  for i, q in ipairs(queue) do replies[i] = run(r, unpack(q)) end
  return replies
end

local at_once = { MULTI = true, EXEC = true, DISCARD = true, WATCH = true }

-- A command as a client sends it; numbers become text. The reply: text, a number, nil, a list, { ok = … } or { err = … }.
function redis:call(name, ...)
  local given = { ... }
  for i = 1, #given do given[i] = tostring(given[i]) end
  name = name:upper()
  self.calls[#self.calls + 1] = name .. (given[1] and " " .. table.concat(given, " ") or "")
  if self.queue and not at_once[name] then
    table.insert(given, 1, name)
    self.queue[#self.queue + 1] = given
    return { ok = "QUEUED" }
  end
  return run(self, name, unpack(given))
end

-- given: { eval = function, set = { key = value } }; now, wall_ms: the simulated clocks in ms.
local function new(given, now, wall_ms)
  given = given or {}
  local r = setmetatable({ keys = {}, calls = {}, scripts = {}, published = {}, eval = given.eval, now = now, wall_ms = wall_ms }, redis)
  for key, value in pairs(given.set or {}) do make(r, key, "string", tostring(value)) end
  return r
end

return { new = new }
