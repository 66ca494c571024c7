-- init.lua - `require "moongate.kong"`: plugins that were written for Kong.
--
--     plugins = { { "kong:bot-detection", config = { deny = { "curl/.*" } } } }
--
-- A folder with handler.lua and schema.lua becomes a plugin of ours: the schema gives `fields`, the handler's phases ours. Its code runs
-- with globals of its own, shared by all Kong plugins of a VM: `kong`, `ngx`, and whatever it assigns. `require` knows the names below,
-- the files of the plugins, what lies beside them (the folder above kong/plugins), and what our own plugins may require.

local host = require "moongate.host"
local schema = require "moongate.kong.schema"
local setfenv, setmetatable, getmetatable, error, type, tostring, pcall, rawget = setfenv, setmetatable, getmetatable, error, type, tostring, pcall, rawget

local G = _G
local env = { pairs = host.pairs, next = host.next }
env._G = env
require("moongate.kong.state").env = env
setmetatable(env, { __index = G })

-- ---- modules ------------------------------------------------------------------------------------

-- Names that plugins require, and the file of this folder that has them: it returns a table of functions that make the modules.
local builtin = require "moongate.kong.modules"
local loaded, busy = {}, {}
local folders, roots = {}, {}
local find_module

local function file_of(name)
  local plugin, rest = name:match("^kong%.plugins%.([^.]+)%.(.+)$")
  local folder = plugin and folders[plugin]
  local tried = ""
  if folder then
    local loader = find_module(rest, folder .. "/?.lua;" .. folder .. "/?/init.lua", "kong:" .. name)
    if loader then return loader end
    tried = "\n\t" .. folder
  end
  for i = 1, #roots do
    local loader = find_module(name, roots[i] .. "/?.lua;" .. roots[i] .. "/?/init.lua", "kong:" .. roots[i] .. ":" .. name)
    if loader then return loader end
    tried = tried .. "\n\t" .. roots[i]
  end
  return nil, tried
end

local function own_require(name)
  if type(name) ~= "string" then error("require: expected the name of a module", 2) end
  local module = loaded[name]
  if module == busy then error("require: '" .. name .. "' requires itself, directly or by others", 2) end
  if module ~= nil then return module end
  local make, tried = builtin(name), nil
  if not make then
    make, tried = file_of(name)
    if make then setfenv(make, env) end
  end
  if not make then
    local ok, found = pcall(G.require, name)
    if not ok then
      error("module '" .. name .. "' is neither in Moongate's set for Kong plugins (docs/kong.md) nor here:" .. tried, 2)
    end
    loaded[name] = found
    return found
  end
  loaded[name] = busy
  local ok, result = pcall(make, name)
  if not ok then
    loaded[name] = nil
    error(result, 0)
  end
  if result == nil then result = true end
  loaded[name] = result
  return result
end

env.require = own_require
env.package = { loaded = loaded, preload = {}, path = "./?.lua", cpath = "" }

local load_text = G.load
function env.load(text, name, mode, e)
  local f, why = load_text(text, name, mode)
  if f then setfenv(f, e or env) end
  return f, why
end
env.loadstring = env.load
function env.collectgarbage() return 0 end

env.kong = require "moongate.kong.pdk" (own_require)
env.ngx = require "moongate.kong.ngx" ()
env.kong.timer = require("moongate.kong.ngx_task").named

-- ---- handlers -----------------------------------------------------------------------------------

-- A function of its own for each phase of each plugin, so that each has its own traces.
local sources = {
  rewrite = "local h, fn, finish = ... return function(x, conf) fn(h, conf) finish(x) end",
  header_filter = "local h, fn, begin = ... return function(x, conf) begin(x) fn(h, conf) end",
  log = "local h, fn = ... return function(_, conf) fn(h, conf) end",
  body_filter = "local h, fn, run = ... return function(x, conf) run(x, h, fn, conf) end",
}

local answer = require "moongate.kong.answer"
local filter = require "moongate.kong.filter"

local inert = require("moongate.kong.classes").nothing -- a phase of the base class

local function handler(plugin, phase, source, ...)
  local fn = plugin[phase]
  if type(fn) ~= "function" or fn == inert then return nil end
  return load_text(sources[source], "=moongate/kong")(plugin, fn, ...)
end

local function phases(out, plugin)
  out.on_rewrite = handler(plugin, "rewrite", "rewrite", answer.finish)
  out.on_request = handler(plugin, "access", "rewrite", answer.finish)
  out.on_log = handler(plugin, "log", "log")
  out.on_response_body = handler(plugin, "body_filter", "body_filter", filter.run)
  local has = function(phase) return type(plugin[phase]) == "function" and plugin[phase] ~= inert end
  if has "response" then
    if has "header_filter" or has "body_filter" then
      error("a handler has either response or header_filter and body_filter", 0)
    end
    out.on_response = handler(plugin, "response", "header_filter", answer.begin_whole)
  elseif has "header_filter" then
    out.on_response = handler(plugin, "header_filter", "header_filter", answer.begin)
  elseif out.on_rewrite or out.on_request then
    out.on_response = answer.begin -- for the fields that access set
  end
end

local unknown = { certificate = true, preread = true, ws_handshake = true, ws_client_frame = true, ws_upstream_frame = true, ws_close = true }

local function check_phases(plugin, out, name)
  for _, phase in host.pairs { "on_rewrite", "on_request", "on_response", "on_response_body", "on_log" } do
    if out[phase] then return end
  end
  if type(plugin.init_worker) == "function" or type(plugin.configure) == "function" then return end
  for phase in host.pairs(unknown) do
    if plugin[phase] then error("its only phases are of connections or WebSocket frames, which are not there in Moongate (docs/kong.md)", 0) end
  end
  error("handler.lua of " .. name .. " returns a table without a phase, such as access", 0)
end

-- Kong makes an object of a class (kong.plugins.base_plugin).
local function object_of(plugin)
  local mt = getmetatable(plugin)
  if type(plugin) == "table" and (rawget(plugin, "extend") or (mt and rawget(mt, "__call"))) then return plugin() end
  return plugin
end

-- ---- loading ------------------------------------------------------------------------------------

-- In specs of single exchanges nobody calls on_worker: the first handler does.
local function entered_first(out, enter_now)
  for _, phase in host.pairs { "on_rewrite", "on_request", "on_response", "on_response_body", "on_log" } do
    local fn = out[phase]
    if fn then
      out[phase] = function(x, conf)
        enter_now()
        return fn(x, conf)
      end
    end
  end
end

local confs = {} -- by plugin: those of its entries, for configure()

-- init_worker once in a worker, then configure with all that there is.
local function enter(plugin, name)
  local entered = false
  return function()
    if entered then return end
    entered = true
    if type(plugin.init_worker) == "function" then plugin:init_worker() end
    if type(plugin.configure) == "function" then plugin:configure(confs[name][1] and confs[name] or nil) end
  end
end

local function create(name, check)
  return function(given, info)
    local conf, why, path = check(given.config or {})
    if not conf then return nil, (path ~= "" and "config." .. path .. ": " or "config: ") .. tostring(why) end
    conf.__plugin_id = info.id
    conf.__key__ = info.route .. "/" .. info.id
    if info.route ~= "" then conf.route_id = info.route end
    confs[name][#confs[name] + 1] = conf
    return conf
  end
end

-- Where modules are looked for: the folder with kong/plugins in it, and the one that plugin_path names.
local function add_root(root)
  if root and not roots[root] then
    roots[root] = true
    roots[#roots + 1] = root
  end
end

local kong = { kong = env.kong, ngx = env.ngx }

-- The plugin in `folder` as ours. find: reads a module's file, and keeps its source for the other workers.
function kong.load(name, folder, find)
  find_module = find
  folders[name] = folder
  add_root(folder:match("^(.*)/kong/plugins/[^/]+$"))
  add_root(folder:match("^(.*)/kong%-plugin%-[^/]+/kong/plugins/[^/]+$") or folder:match("^(.*)/[^/]+/src$") or folder:match("^(.*)/[^/]+$"))
  confs[name] = confs[name] or {}
  local ok, out = pcall(function()
    local plugin = object_of(own_require("kong.plugins." .. name .. ".handler"))
    if type(plugin) ~= "table" then error("handler.lua returns a table, this one returned " .. type(plugin), 0) end
    local described = own_require("kong.plugins." .. name .. ".schema")
    local fields, check = schema.read(described, name)
    local t = { name = "kong:" .. name, doc = "The Kong plugin " .. name .. ".", fields = { config = fields }, create = create(name, check) }
    if type(plugin.VERSION) == "string" then t.version = plugin.VERSION end
    phases(t, plugin)
    check_phases(plugin, t, name)
    t.on_worker = enter(plugin, name)
    if host.stays_open then entered_first(t, t.on_worker) end
    local daos = find("daos", folder .. "/?.lua", "kong:kong.plugins." .. name .. ".daos")
    if daos then
      local kinds = require "moongate.kong.db"
      t.credentials = kinds.credentials(own_require("kong.plugins." .. name .. ".daos"))
      if t.credentials then t.provides = { "consumer" } end
    end
    return t
  end)
  if not ok then error("Kong plugin " .. name .. ": " .. tostring(out), 0) end
  return out
end

return kong
