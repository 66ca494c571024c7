-- resty_redis.lua - resty.redis over mg.redis: an object remembers where it connects to; connections are pooled below.

local host = require "moongate.host"
local mg_redis = require "moongate.redis"
local null = host.null
local type, tostring, tonumber, setmetatable, getmetatable, ipairs, select, error, unpack, pcall =
  type, tostring, tonumber, setmetatable, getmetatable, ipairs, select, error, unpack, pcall

local redis = { _VERSION = "0.31" }
local methods = {}

local function url_part(s) return (tostring(s):gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)) end

-- One client for each server, database and user: the options tell them apart.
local function client_of(r)
  if r.client then return r.client end
  if not r.host then return nil, "not connected" end
  local o = r.options
  local who = r.password and (url_part(r.user or "") .. ":" .. url_part(r.password) .. "@") or ""
  local ok, client = pcall(mg_redis.new, {
    url = (o.ssl and "rediss" or "redis") .. "://" .. who .. r.host .. ":" .. r.port .. (r.db and r.db ~= 0 and "/" .. r.db or ""),
    timeout = tostring(r.timeout or 2000) .. "ms",
  })
  if not ok then return nil, client end
  r.client = client
  return client
end

-- Missing values are ngx.null there.
local function converted(v)
  if v == false then return null end
  if type(v) == "table" then
    for i, one in ipairs(v) do v[i] = converted(one) end
    local mt = getmetatable(v)
    if mt and mt.__tostring and v.err then return { false, v.err } end
  end
  if type(v) == "cdata" then return tonumber(v) end
  return v
end

local function call(r, name, ...)
  local client, why = client_of(r)
  if not client then return nil, why end
  local value
  value, why = client:call(name, ...)
  if why then
    if why:find("^%u+ ") then return false, why end
    return nil, why
  end
  if value == nil then return null end
  return converted(value)
end

-- Names that an object does not have are commands, so it has all of its own.
local object_mt = { __index = methods }
function redis.new()
  return setmetatable({ options = {}, client = false, host = false, port = false, user = false, password = false, db = false, timeout = false,
                        pipeline = false }, object_mt)
end

function methods:set_timeout(ms) self.timeout = ms end
function methods:set_timeouts(connect, _, read) self.timeout = math.max(connect or 0, read or 0) end
function methods:connect(name, port, options)
  if type(port) == "table" then options, port = port, 6379 end
  self.host, self.port, self.options, self.client = name, port or 6379, options or {}, false
  self.user, self.password, self.db = false, false, false
  return 1
end
function methods:auth(user, password)
  if password == nil then user, password = false, user end
  self.user, self.password, self.client = user, password, false
  return "OK"
end
function methods:select(db)
  self.db, self.client = db, false
  return "OK"
end
function methods.set_keepalive() return 1 end
function methods.close() return 1 end
-- 0: so that plugins say who they are and which database they mean.
function methods.get_reused_times() return 0 end

function methods:init_pipeline() self.pipeline = {} end
function methods:cancel_pipeline() self.pipeline = false end
function methods:commit_pipeline()
  local commands = self.pipeline
  self.pipeline = false
  if not commands then return nil, "no pipeline" end
  local client, why = client_of(self)
  if not client then return nil, why end
  local replies
  replies, why = client:pipeline(function(p)
    for _, c in ipairs(commands) do p:call(unpack(c, 1, c.n)) end
  end)
  if not replies then return nil, why end
  for i = 1, #commands do
    if replies[i] == nil then replies[i] = null else replies[i] = converted(replies[i]) end
  end
  return replies
end

function methods:hmset(key, first, ...)
  if type(first) ~= "table" then return self:command("HMSET", key, first, ...) end
  local flat = {}
  for k, v in host.pairs(first) do flat[#flat + 1], flat[#flat + 2] = k, v end
  return self:command("HMSET", key, unpack(flat))
end
function methods:array_to_hash(list)
  local t = {}
  for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
  return t
end
function methods:command(name, ...)
  local p = self.pipeline
  if p then
    p[#p + 1] = { n = select("#", ...) + 1, name, ... }
    return "QUEUED"
  end
  return call(self, name, ...)
end

for _, name in ipairs { "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "read_reply", "multi", "exec", "watch", "register_module_prefix" } do
  methods[name] = function() error("resty.redis:" .. name .. " is not there in Moongate; docs/kong.md says what is", 2) end
end

setmetatable(methods, { __index = function(t, name)
  if type(name) ~= "string" or not name:find("^%a[%w_]*$") then return nil end
  local upper = name:upper()
  local function fn(r, ...) return r:command(upper, ...) end
  t[name] = fn
  return fn
end })

redis.schema = {
  config_schema = {
    type = "record",
    fields = {
      { host = { type = "string" } }, { port = { type = "integer", default = 6379, between = { 0, 65535 } } },
      { timeout = { type = "integer", default = 2000, between = { 0, 2147483646 } } },
      { username = { type = "string" } }, { password = { type = "string", encrypted = true } },
      { database = { type = "integer", default = 0 } }, { ssl = { type = "boolean", default = false } },
      { ssl_verify = { type = "boolean", default = false } }, { server_name = { type = "string" } },
    },
  },
}

return redis
