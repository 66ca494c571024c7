-- ngx.lua - the global `ngx`: the parts of OpenResty's API that plugins use most, over our own.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local answer = require "moongate.kong.answer"
local filter = require "moongate.kong.filter"
local text = require "moongate.kong.text"
local klog = require "moongate.kong.klog"
local crypto = require "moongate.crypto"
local log = require "moongate.log"
local ffi = require "ffi"
local C = ffi.C
local type, error, tonumber, tostring, setmetatable = type, error, tonumber, tostring, setmetatable
local pairs = host.pairs
local here, now = host.here, host.now

local ngx = {
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5, null = host.null,
  STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8,
  config = { subsystem = "http", debug = false, nginx_version = 1027001, ngx_lua_version = 10028, prefix = function() return "/" end,
             nginx_configure = function() return "" end },
  is_subrequest = false, headers_sent = false,
}

for name, code in pairs {
  CONTINUE = 100, SWITCHING_PROTOCOLS = 101, OK = 200, CREATED = 201, ACCEPTED = 202, NO_CONTENT = 204, PARTIAL_CONTENT = 206, SPECIAL_RESPONSE = 300,
  MOVED_PERMANENTLY = 301, MOVED_TEMPORARILY = 302, SEE_OTHER = 303, NOT_MODIFIED = 304, TEMPORARY_REDIRECT = 307, PERMANENT_REDIRECT = 308,
  BAD_REQUEST = 400, UNAUTHORIZED = 401, PAYMENT_REQUIRED = 402, FORBIDDEN = 403, NOT_FOUND = 404, NOT_ALLOWED = 405, NOT_ACCEPTABLE = 406,
  REQUEST_TIMEOUT = 408, CONFLICT = 409, GONE = 410, UPGRADE_REQUIRED = 426, TOO_MANY_REQUESTS = 429, CLOSE = 444, ILLEGAL = 451,
  INTERNAL_SERVER_ERROR = 500, METHOD_NOT_IMPLEMENTED = 501, BAD_GATEWAY = 502, SERVICE_UNAVAILABLE = 503, GATEWAY_TIMEOUT = 504,
  VERSION_NOT_SUPPORTED = 505, INSUFFICIENT_STORAGE = 507,
} do ngx["HTTP_" .. name] = code end

local methods = { GET = 2, HEAD = 4, POST = 8, PUT = 16, DELETE = 32, MKCOL = 64, COPY = 128, MOVE = 256, OPTIONS = 512, PROPFIND = 1024,
                  PROPPATCH = 2048, LOCK = 4096, UNLOCK = 8192, PATCH = 16384, TRACE = 32768 }
for name, code in pairs(methods) do ngx["HTTP_" .. name] = code end

-- ---- the exchange ---------------------------------------------------------------------------------------

ngx.arg = filter.arg
ngx.var = require "moongate.kong.ngx_var"
ngx.req = require "moongate.kong.ngx_req" (methods)
ngx.resp = {
  get_headers = function(max) return text.fields(here().response.headers, max or 100) end,
  add_header = function(name, value) return answer.field("add", name, value) end,
}

-- Names with _ stand for those with -.
ngx.header = setmetatable({}, {
  __index = function(_, name)
    if answer.is_early() then return answer.pending((name:gsub("_", "-"))) end
    local all = text.fields(here().response.headers, 0)
    return all[name]
  end,
  __newindex = function(_, name, value)
    name = name:gsub("_", "-")
    if value == nil or (type(value) == "table" and value[1] == nil) then return answer.field("remove", name) end
    return answer.field("set", name, value)
  end,
})

function ngx.print(...) return answer.print(...) end
function ngx.say(...)
  answer.print(...)
  return answer.print("\n")
end
function ngx.exit(status)
  if type(status) ~= "number" then error("ngx.exit: a status expected", 2) end
  return answer.exit(status)
end
function ngx.eof() return answer.exit(200) end
function ngx.flush() return 1 end
function ngx.send_headers() return 1 end
function ngx.redirect(uri, status)
  status = status or 302
  if status < 301 or status > 308 then error("only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, … are allowed", 2) end
  return answer.send(status, "", { location = uri })
end
function ngx.on_abort() return nil, "lua_check_client_abort is off" end
function ngx.get_phase() return state.phase() end

-- ---- time -----------------------------------------------------------------------------------------------

local function wall_ms() return tonumber(C.mg_now_ms()) end
function ngx.now() return wall_ms() / 1000 end
function ngx.time() return math.floor(wall_ms() / 1000) end
function ngx.update_time() end
function ngx.today() return os.date("%Y-%m-%d", ngx.time()) end
function ngx.localtime() return os.date("%Y-%m-%d %H:%M:%S", ngx.time()) end
function ngx.utctime() return os.date("!%Y-%m-%d %H:%M:%S", ngx.time()) end

local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
function ngx.http_time(sec)
  local t = os.date("!*t", sec)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[t.wday], t.day, months[t.month], t.year, t.hour, t.min, t.sec)
end
function ngx.cookie_time(sec)
  local t = os.date("!*t", sec)
  return ("%s, %02d-%s-%02d %02d:%02d:%02d GMT"):format(days[t.wday], t.day, months[t.month], t.year % 100, t.hour, t.min, t.sec)
end

-- Days since 1970 of a date of the proleptic Gregorian calendar.
local function day_number(y, m, d)
  if m <= 2 then y, m = y - 1, m + 12 end
  return 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) + math.floor((153 * (m - 3) + 2) / 5) + d - 719469
end
function ngx.parse_http_time(s)
  local d, name, y, h, m, sec = s:match("^%a+, (%d+)[ -](%a+)[ -](%d+) (%d+):(%d+):(%d+) GMT$")
  if not d then return nil end
  for i = 1, 12 do
    if months[i] == name then return day_number(tonumber(y), i, tonumber(d)) * 86400 + h * 3600 + m * 60 + sec end
  end
  return nil
end

function ngx.sleep(sec)
  if type(sec) ~= "number" or sec < 0 then error("invalid sleep duration", 2) end
  require("moongate").sleep(math.floor(sec * 1000 + 0.5))
end

-- ---- log ------------------------------------------------------------------------------------------------

local levels = { [0] = "error", "error", "error", "error", "error", "warn", "info", "info", "debug" }
function ngx.log(level, ...)
  local name = levels[level]
  if not name then error("bad log level: " .. tostring(level), 2) end
  if log.enabled(name) then log[name](klog.joined(...)) end
end

-- ---- tasks ----------------------------------------------------------------------------------------------

local tasks = require "moongate.kong.ngx_task"
ngx.timer, ngx.thread = tasks.timer, tasks.thread
ngx.worker = {
  pid = function() return tasks.pid() end,
  id = function() return 0 end,
  count = function() return 1 end,
  exiting = function()
    if state.phase() ~= "timer" then return false end
    return C.mg_task_is_leaving(here()) == 1
  end,
}

ngx.shared = require "moongate.kong.ngx_shared"
ngx.re = require "moongate.kong.ngx_re"

-- ---- text -----------------------------------------------------------------------------------------------

function ngx.encode_base64(s, no_padding)
  local out = crypto.base64(tostring(s))
  if no_padding then out = out:gsub("=+$", "") end
  return out
end
function ngx.decode_base64(s)
  if type(s) ~= "string" then error("string argument only", 2) end
  s = s:gsub("%s+", ""):gsub("=+$", "")
  if #s % 4 == 1 then return nil end
  return (crypto.unbase64(s .. ("="):rep((4 - #s % 4) % 4)))
end
function ngx.escape_uri(s, kind)
  if kind == 0 then return text.escape_uri(s) end
  return text.escape(s)
end
function ngx.unescape_uri(s) return text.unescape(tostring(s)) end
function ngx.encode_args(args)
  if type(args) ~= "table" then error("table expected", 2) end
  return text.encode_args(args)
end
function ngx.decode_args(s, max) return text.decode_args(s, max) end
function ngx.quote_sql_str(s)
  return "'" .. s:gsub("[%z\b\n\r\t\26\\'\"]", { ["\0"] = "\\0", ["\b"] = "\\b", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\26"] = "\\Z",
                                                 ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"' }) .. "'"
end
function ngx.md5(s) return crypto.hex(crypto.digest("md5", s)) end
function ngx.md5_bin(s) return crypto.digest("md5", s) end
function ngx.sha1_bin(s) return crypto.digest("sha1", s) end
function ngx.hmac_sha1(key, s) return crypto.hmac("sha1", key, s) end

local bit = require "bit"
local crc_table
function ngx.crc32_long(s)
  if not crc_table then
    crc_table = {}
    for i = 0, 255 do
      local c = i
      for _ = 1, 8 do c = bit.band(c, 1) == 1 and bit.bxor(bit.rshift(c, 1), 0xEDB88320) or bit.rshift(c, 1) end
      crc_table[i] = c
    end
  end
  local c = 0xFFFFFFFF
  for i = 1, #s do c = bit.bxor(bit.rshift(c, 8), crc_table[bit.band(bit.bxor(c, s:byte(i)), 255)]) end
  return bit.bxor(c, 0xFFFFFFFF) % 4294967296
end
ngx.crc32_short = ngx.crc32_long

-- ---- what is not there ----------------------------------------------------------------------------------

state.absent_all(ngx, "ngx.", "exec set_balancer run_worker_thread")
ngx.location = state.absent_all({}, "ngx.location.", "capture capture_multi")
ngx.socket = state.absent_all({}, "ngx.socket.", "tcp udp stream connect")
ngx.balancer = state.absent_all({}, "ngx.balancer.", "set_current_peer set_more_tries set_timeouts get_last_failure")

-- What Kong's core keeps in ngx.ctx and plugins look at.
local known = {}
function known.service() return require("moongate.kong.pdk").kong.router.get_service() end
function known.route() return require("moongate.kong.pdk").kong.router.get_route() end
function known.authenticated_consumer() return require("moongate.kong.client").get_consumer() end
function known.authenticated_credential() return require("moongate.kong.client").get_credential() end
function known.router_matches()
  local c = require("moongate.kong.request").get_uri_captures()
  local captures = c.named
  for i, v in pairs(c.unnamed) do captures[i] = v end
  return { uri_captures = captures, uri = here().route and here().route.path }
end
state.presets.ngx_ctx = {
  __index = function(_, name)
    local get = known[name]
    if get and now.handle ~= 0 and state.phase() ~= "timer" then return get() end
    return nil
  end,
}

-- The fields that are looked up in the exchange that runs.
local live = {}
function live.ctx() return state.shared("ngx_ctx") end
function live.status()
  local s = answer.is_early() and answer.status_said()
  return s or here().response.status or 0
end
local set = {}
function set.ctx(v)
  if type(v) ~= "table" then error("ngx.ctx: a table expected", 3) end
  state.here().ngx_ctx = v
end
function set.status(v)
  v = tonumber(v)
  if answer.is_early() then return answer.status(v) end
  here().response.status = v
end

return function()
  return setmetatable({}, {
    __index = function(_, k)
      local v = ngx[k]
      if v ~= nil then return v end
      local get = live[k]
      return get and get() or nil
    end,
    __newindex = function(_, k, v)
      local put = set[k]
      if put then return put(v) end
      ngx[k] = v
    end,
  })
end
