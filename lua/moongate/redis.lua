-- redis.lua - mg.redis: a client of Redis (one server, Sentinel, Cluster). docs/redis.md has the options.
--
--     local redis = mg.redis.new { url = "redis://127.0.0.1:6379" }       -- at the top of a file, or in create
--
--     local name, err = redis:get("user:" .. id)                          -- nil without err: no such key
--     local replies = redis:pipeline(function(p) p:incr("n") p:expire("n", 60) end)
--
-- Every command is a method; what Redis answers with an error is nil and its text. In lists a missing value is false, and an error
-- inside of a list is a table whose tostring() and `err` are its text.

local host = require "moongate.host"
local ffi = require "ffi"

local C, str, new, gc, istype = ffi.C, ffi.string, ffi.new, ffi.gc, ffi.istype
local type, error, tostring, tonumber, setmetatable, getmetatable, pairs, ipairs, select = type, error, tostring, tonumber, setmetatable, getmetatable, pairs, ipairs, select
local array = require("moongate.json").array
local format, concat, sort = string.format, table.concat, table.sort

local out = new("struct mg_str")
local count = new("size_t[1]")
local message = new("char[512]")
local IDEMPOTENT, ATOMIC, PATTERNS = tonumber(C.MG_REDIS_IDEMPOTENT), tonumber(C.MG_REDIS_ATOMIC), tonumber(C.MG_REDIS_PATTERNS)
local BUSY, TOOBIG, EPHASE = tonumber(C.MG_EBUSY), tonumber(C.MG_ETOOBIG), tonumber(C.MG_EPHASE)

-- ---- words --------------------------------------------------------------------------------------

local units = { ms = 1, s = 1000, m = 60000, h = 3600000 }

local function milliseconds(v, what)
  if type(v) == "number" and v >= 0 then return v end
  if type(v) == "string" then
    local n, unit = v:match("^(%d+)(%a+)$")
    if n and units[unit] then return n * units[unit] end
  end
  return error(what .. ": milliseconds or \"250ms\", \"1s\" expected, not " .. tostring(v), 4)
end

-- A value as the text that goes to Redis.
local function word(v, what)
  local kind = type(v)
  if kind == "string" then return v end
  if kind == "number" then
    if v % 1 == 0 and v > -9007199254740993 and v < 9007199254740993 then return format("%d", v) end
    return format("%.17g", v)
  end
  if kind == "cdata" and (istype("int64_t", v) or istype("uint64_t", v)) then return (tostring(v):gsub("U?LL$", "")) end
  return error(what .. ": text or a number expected, not a " .. kind, 4)
end

-- Words as C reads them. The list keeps the texts alive; the array is used by one call at a time.
local room, argv = 64, new("struct mg_str[?]", 64)

local function fill(words, n)
  if n > room then
    room = n * 2
    argv = new("struct mg_str[?]", room)
  end
  for i = 1, n do
    local w = words[i]
    local at = argv[i - 1]
    at.p, at.n = w, #w
  end
  return argv
end

-- ---- replies ------------------------------------------------------------------------------------

local error_mt = { __tostring = function(e) return e.err end }

local function text_of(x, op, i)
  if C.mg_redis_text(x, op, i, out) < 0 then error("redis: the reply has gone", 0) end
  return str(out.p, out.n)
end

local function integer(v)
  if v > -9007199254740992LL and v < 9007199254740992LL then return tonumber(v) end
  return v + 0LL
end

-- Node i as a Lua value. (Inside of lists.)
local function value_of(x, op, nodes, i)
  local node = nodes[i]
  local kind = node.kind
  if kind == 1 or kind == 2 then return text_of(x, op, i) end
  if kind == 4 then return integer(node.integer) end
  if kind == 0 then return false end
  if kind == 3 then return setmetatable({ err = text_of(x, op, i) }, error_mt) end
  local list, at = array(), i + 1 -- one that stays a list as JSON, also when empty
  for k = 1, node.count do
    list[k] = value_of(x, op, nodes, at)
    at = nodes[at].next
  end
  return list
end

local tokens = {
  [tonumber(C.MG_ETIMEOUT)] = "timeout", [tonumber(C.MG_ECLOSED)] = "closed", [tonumber(C.MG_EBUSY)] = "busy",
  [tonumber(C.MG_EPROTO)] = "protocol", [tonumber(C.MG_ETLS)] = "tls", [tonumber(C.MG_ETOOBIG)] = "too_big",
}

-- What an operation brought: a value; nil and why, and a token where the server did not answer.
local function result(x, op, status)
  if status < 0 then
    local why = C.mg_redis_text(x, op, 0, out) == 0 and out.n > 0 and str(out.p, out.n) or "redis: " .. host.message(status)
    C.mg_redis_release(x, op)
    return nil, why, tokens[status]
  end
  local nodes = C.mg_redis_nodes(x, op, count)
  if nodes == nil then return nil, "redis: no memory for the reply" end
  local kind = nodes[0].kind
  local value, why
  if kind == 3 then why = text_of(x, op, 0)
  elseif kind ~= 0 then value = value_of(x, op, nodes, 0) end
  C.mg_redis_release(x, op)
  return value, why
end

-- ---- calls --------------------------------------------------------------------------------------

local methods, commands = {}, {}

local function started(op, what)
  if op > 0 then return op end
  if op == BUSY or op == TOOBIG then return nil, "redis: " .. host.message(op) end
  if op == EPHASE then return host.fail(op, what) end
  return error(what .. ": no command, or one that a shared connection cannot take (SELECT, MULTI, SUBSCRIBE…): see docs/redis.md", 4)
end

local function send(r, words, n)
  local what = "redis:" .. (words[1] or "call"):lower()
  host.must_wait(what)
  local x = host.here()
  local op, why = started(C.mg_redis_call(x, r.handle, fill(words, n), n, r.flags, r.timeout), what)
  if not op then return nil, why end
  return result(x, op, host.wait(op))
end

-- redis:call("SET", key, value, …): any command by its words.
function methods.call(r, ...)
  local n = select("#", ...)
  local words = { ... }
  for i = 1, n do words[i] = word(words[i], "redis:call") end
  return send(r, words, n)
end

local function command(name)
  local upper, what = name:upper(), "redis:" .. name
  return function(r, ...)
    local n = select("#", ...)
    local words = { upper, ... }
    for i = 2, n + 1 do words[i] = word(words[i], what) end
    return send(r, words, n + 1)
  end
end

-- The same client with other terms: timeout, and idempotent = true: what is asked may be sent again when the connection breaks.
function methods.with(r, terms)
  for k in pairs(terms) do
    if k ~= "timeout" and k ~= "idempotent" then error("redis:with: timeout and idempotent, not '" .. tostring(k) .. "'", 2) end
  end
  local flags = r.flags
  if terms.idempotent ~= nil then flags = terms.idempotent and IDEMPOTENT or 0 end
  return setmetatable({ handle = r.handle, flags = flags,
                        timeout = terms.timeout and milliseconds(terms.timeout, "redis:with") or r.timeout }, getmetatable(r))
end

-- Fields and values as a table.
local hgetall = command("hgetall")
function methods.hgetall(r, key)
  local list, why = hgetall(r, key)
  if type(list) ~= "table" then return nil, why end
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

-- ---- several at once ----------------------------------------------------------------------------

local pipe_mt = {
  __index = function(_, name)
    local upper = name:upper()
    return function(p, ...)
      local words = { upper, ... }
      p.list[#p.list + 1] = words
      return p
    end
  end,
}

local function call_word(p, ...)
  p.list[#p.list + 1] = { ... }
  return p
end

local function gathered(what, given)
  if type(given) == "table" then return given end
  if type(given) ~= "function" then error(what .. ": a function, or a list of commands", 3) end
  local p = setmetatable({ list = {}, call = call_word }, pipe_mt)
  given(p)
  return p.list
end

local function send_all(r, what, given, flags)
  host.must_wait(what)
  local list = gathered(what, given)
  if #list == 0 then return {} end
  local words, n = {}, 0
  local argc = new("int[?]", #list)
  for i, one in ipairs(list) do
    if type(one) ~= "table" or #one == 0 then error(what .. ": command " .. i .. " is no list of words", 3) end
    for k = 1, #one do
      n = n + 1
      words[n] = word(one[k], what)
    end
    argc[i - 1] = #one
  end
  local x = host.here()
  local op, why = started(C.mg_redis_pipeline(x, r.handle, fill(words, n), argc, #list, flags, r.timeout), what)
  if not op then return nil, why end
  return result(x, op, host.wait(op))
end

-- The replies of many commands, sent at once: redis:pipeline(function(p) p:get("a") p:get("b") end), or { { "GET", "a" }, … }.
function methods.pipeline(r, given) return send_all(r, "redis:pipeline", given, r.flags) end
-- As one MULTI … EXEC: all of them, or none. The replies.
function methods.transaction(r, given) return send_all(r, "redis:transaction", given, r.flags + ATOMIC) end

-- ---- scripts ------------------------------------------------------------------------------------

local digests = {}
local digests_n = 0

local function sha1(script)
  local sha = digests[script]
  if sha then return sha end
  if C.mg_digest("sha1", script, #script, out) < 0 then error("redis:eval: no SHA-1", 0) end
  local raw = str(out.p, out.n)
  if C.mg_hex_encode(raw, #raw, out) < 0 then error("redis:eval: out of memory", 0) end
  if digests_n >= 1000 then digests, digests_n = {}, 0 end -- scripts that are made anew each time
  sha = str(out.p, out.n)
  digests[script], digests_n = sha, digests_n + 1
  return sha
end

-- Run a script: redis:eval(script, { keys }, { args }). Sent by its digest, and whole when the server does not know it.
function methods.eval(r, script, keys, args)
  if type(script) ~= "string" or (keys and type(keys) ~= "table") or (args and type(args) ~= "table") then
    error("redis:eval: a script, a list of keys and a list of arguments", 2)
  end
  keys, args = keys or {}, args or {}
  local words, n = { "EVALSHA", sha1(script), format("%d", #keys) }, 3
  for i = 1, #keys do n = n + 1 words[n] = word(keys[i], "redis:eval") end
  for i = 1, #args do n = n + 1 words[n] = word(args[i], "redis:eval") end
  local value, why = send(r, words, n)
  if value == nil and why and why:sub(1, 8) == "NOSCRIPT" then
    words[1], words[2] = "EVAL", script
    return send(r, words, n)
  end
  return value, why
end

-- ---- subscriptions ------------------------------------------------------------------------------

local subscription = {}
local subscription_mt = { __index = subscription, __metatable = false }

local function subscribe(r, what, flags, ...)
  host.must_wait(what)
  local n = select("#", ...)
  local names = { ... }
  for i = 1, n do names[i] = word(names[i], what) end
  local x = host.here()
  local op, failed = started(C.mg_redis_subscribe(x, r.handle, fill(names, n), n, flags), what)
  if not op then return nil, failed end
  local status = host.wait(op)
  if status < 0 then
    local _, why = result(x, op, status)
    C.mg_redis_unsubscribe(x, op)
    return nil, why
  end
  return setmetatable({ number = op }, subscription_mt)
end

-- Messages of channels, or of patterns: a subscription, once the server has confirmed it. It ends with its exchange or task.
function methods.subscribe(r, ...) return subscribe(r, "redis:subscribe", 0, ...) end
function methods.psubscribe(r, ...) return subscribe(r, "redis:psubscribe", PATTERNS, ...) end

-- What comes next: { channel =, payload =, pattern = }; { event = "reconnected" } after a break, when messages may have been missed;
-- { event = "lost", count = n } when they came faster than they were received. nil and why when nothing comes in time; without a timeout it
-- waits for ever.
function subscription.receive(s, timeout)
  host.must_wait("subscription:receive")
  local x = host.here()
  local ms = timeout and milliseconds(timeout, "subscription:receive") or -1
  local op = C.mg_redis_receive(x, s.number, ms)
  if op < 0 then return nil, "redis: " .. (op == BUSY and host.message(op) or "this subscription has ended") end
  local got, why, token = result(x, op, host.wait(op))
  if not got then return nil, why, token end
  local kind = got[1]
  if kind == "message" then return { channel = got[2], payload = got[3] } end
  if kind == "pmessage" then return { pattern = got[2], channel = got[3], payload = got[4] } end
  return { event = kind, count = got[2] }
end

function subscription.close(s) C.mg_redis_unsubscribe(host.here(), s.number) end

-- ---- clients ------------------------------------------------------------------------------------

local client_mt = {
  __index = function(_, name)
    local known = methods[name] or commands[name]
    if known then return known end
    if type(name) ~= "string" or not name:find("^%a[%w_]*$") then return nil end
    known = command(name)
    commands[name] = known
    return known
  end,
  __tostring = function() return "moongate: redis" end,
}

local paths = { ca = true, cert = true, key = true }

local function option(name, v)
  if type(v) == "table" then return concat(v, ",") end
  if type(v) == "boolean" then return v and "true" or "false" end
  if type(v) == "number" then return format("%d", v) end
  if type(v) ~= "string" then error("mg.redis.new: " .. tostring(name) .. ": a " .. type(v) .. " is no option", 3) end
  if paths[name] and v:sub(1, 1) ~= "/" and host.folder then return host.folder .. "/" .. v end
  return v
end

local KEPT_MAX = 64

local function clients(is_confined)
  local redis = {}
  local kept, kept_n = {}, 0 -- by options: a function of the config may say at each request which client it means

  -- A client. At the top of a file, in create, or later: those with the same options share their connections.
  function redis.new(options)
    if type(options) == "string" then options = { url = options } end
    local names, words = {}, {}
    for name in pairs(options) do names[#names + 1] = tostring(name) end
    sort(names)
    for i, name in ipairs(names) do
      if is_confined and paths[name] then error("mg.redis.new: " .. name .. ": a sandboxed script names no files", 2) end
      words[2 * i - 1], words[2 * i] = name, option(name, options[name])
    end
    local key = concat(words, "\0")
    if kept[key] then return kept[key] end
    local handle = C.mg_redis_open(fill(words, #words), #names, message, 512)
    if handle == nil then error("mg.redis.new: " .. str(message), 2) end
    local client = setmetatable({ handle = gc(handle, C.mg_redis_close), flags = 0, timeout = 0 }, client_mt)
    if kept_n < KEPT_MAX then kept[key], kept_n = client, kept_n + 1 end
    return client
  end

  return redis
end

host.own.redis = clients
return clients(false)
