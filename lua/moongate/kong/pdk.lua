-- pdk.lua - the global `kong`.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local ffi = require "ffi"
local type, error, setmetatable, tostring, tonumber = type, error, setmetatable, tostring, tonumber
local pairs = host.pairs
local here, now = host.here, host.now

ffi.cdef "int gethostname(char *name, size_t len);"

local kong = { version = "3.9.1", version_num = 3009001, pdk_version = "3.9.1", default_workspace = "default" }

-- ---- ctx ----------------------------------------------------------------------------------------------

local function of_entry()
  local s = state.own()
  local t = s.ctx
  if not t then
    t = {}
    s.ctx = t
  end
  return t
end

kong.ctx = setmetatable({}, {
  __index = function(_, name)
    if name == "shared" then return state.shared("shared") end
    if name == "plugin" then return of_entry() end
    if name == "core" then return state.shared("core") end
    return nil
  end,
  __newindex = function(_, name, value)
    if name ~= "shared" and name ~= "plugin" then error("kong.ctx has shared and plugin", 2) end
    if type(value) ~= "table" then error("kong.ctx." .. name .. ": a table expected", 2) end
    if name == "plugin" then state.own().ctx = value else state.here().shared = value end
  end,
})

-- ---- modules --------------------------------------------------------------------------------------------

kong.request = require "moongate.kong.request"
kong.response = require "moongate.kong.response"
kong.service = require "moongate.kong.service"
kong.client = require "moongate.kong.client"
kong.log = require("moongate.kong.klog").log
kong.cache = require "moongate.kong.cache"
kong.db = require "moongate.kong.db"

-- ---- router ---------------------------------------------------------------------------------------------

local router = {}
kong.router = router
function router.get_route()
  local x = here()
  local r = x.route
  if not r then return nil end
  return { id = r.id, name = r.id, paths = { r.path }, protocols = { "http", "https" }, service = { id = x.upstream.name }, tags = {} }
end
-- The upstream, as the service that Kong has behind a route.
function router.get_service()
  local name = here().upstream.name
  if not name then return nil end
  local scheme, address = name:match("^(https?)://([^/]+)")
  local service_host, port = (address or name):match("^(.-):(%d+)$")
  return { id = name, name = name, protocol = scheme or "http", host = service_host or address or name,
           port = tonumber(port) or (scheme == "https" and 443 or 80), tags = {} }
end

-- ---- node, ip, table, nginx -----------------------------------------------------------------------------

local node = {}
kong.node = node
local hostname
function node.get_hostname()
  if not hostname then
    local room = ffi.new("char[256]")
    hostname = ffi.C.gethostname(room, 255) == 0 and ffi.string(room) or "localhost"
  end
  return hostname
end
-- The same on all workers, another one after a restart.
function node.get_id()
  local mg = require "moongate"
  local d = mg.shared["kong"]
  d:add("moongate:node", mg.uuid())
  return d:get("moongate:node")
end
state.absent_all(node, "kong.node.", "get_memory_stats")

kong.ip = {
  -- Is it one of the config's trusted_proxies? Of the peer alone.
  is_trusted = function(address)
    local c = here().client
    return address == c.peer_ip and c.peer_is_trusted
  end,
}

kong.table = {
  new = function() return {} end,
  clear = function(t)
    for k in pairs(t) do t[k] = nil end
  end,
  merge = function(a, b)
    local t = {}
    for k, v in pairs(a or {}) do t[k] = v end
    for k, v in pairs(b or {}) do t[k] = v end
    return t
  end,
}

kong.nginx = {
  get_subsystem = function() return "http" end,
  get_statistics = state.absent("kong.nginx.get_statistics"),
}

-- ---- vault, configuration, events -----------------------------------------------------------------------

-- Secrets come from the config (secret.env, secret.file), so that there is nothing to look up.
kong.vault = {
  get = state.absent("kong.vault.get"),
  is_reference = function(v) return type(v) == "string" and v:find("^{vault://.+}$") ~= nil end,
  try = function(fn, options) return fn(options) end,
  update = function(options) return options end,
}
local configuration
configuration = setmetatable({
  remove_sensitive = function() return configuration end,
  database = "off", role = "traditional", prefix = "/var/lib/moongate", log_level = "notice", plugins = {}, loaded_plugins = {}, nginx_worker_processes = "auto",
  headers = {}, enabled_headers = {}, trusted_ips = {}, lua_ssl_verify_depth = 1, real_ip_header = "X-Forwarded-For", untrusted_lua = "on",
}, { __newindex = function() error("kong.configuration cannot be changed", 2) end })
kong.configuration = configuration
kong.worker_events = {
  register = function() return true end,
  post = state.absent("kong.worker_events.post"), post_local = state.absent("kong.worker_events.post_local"),
}
kong.cluster_events = {
  subscribe = function() return true end,
  broadcast = state.absent("kong.cluster_events:broadcast"),
}
kong.tracing = setmetatable({}, { __index = function(_, name) return state.absent("kong.tracing." .. tostring(name)) end })
kong.telemetry = { log = function() return true end }
kong.core_cache = kong.cache
kong.dns = setmetatable({}, { __index = function(_, name) return state.absent("kong.dns." .. tostring(name)) end })
kong.websocket = setmetatable({}, { __index = function(_, name) return state.absent("kong.websocket." .. tostring(name)) end })
kong.plugin = {
  get_id = function() return tostring(now.entry) end,
}

return setmetatable({ kong = kong }, { __call = function() return kong end })
