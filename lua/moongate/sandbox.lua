-- sandbox.lua - the environment of a script of lesser trust: the PDK and pure Lua, and no way out of it.
--
-- Each sandboxed plugin has globals of its own: copies of the libraries' tables, so that nothing it changes is anybody
-- else's; no io, os.execute, ffi, debug, jit, getfenv, setfenv; `load` takes text and gives it these globals; `require` knows the PDK and
-- modules in the plugin's own folder, which run in the same sandbox. Metatables that others made are out of reach, so are tables
-- that others keep in x.ctx, and (core/exchange/handle.c) exchanges other than the one that runs. What a script may take
-- of time and memory is not bounded here: a loop is the supervisor's matter, memory the VM's.

local host = require "moongate.host"
local type, pairs, next, error, tostring, select = type, pairs, next, error, tostring, select
local setmetatable, rawset, rawget, setfenv = setmetatable, rawset, rawget, setfenv
local load, concat, byte = load, table.concat, string.byte
local metatable_of = debug.getmetatable

local G = _G
local sandboxes = {}
local closed = false

local plain = { "assert", "error", "ipairs", "next", "pairs", "pcall", "print", "rawequal", "rawget", "select", "tonumber", "tostring",
                "type", "unpack", "xpcall", "_VERSION" }
local libraries = {
  string = { "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub", "upper" },
  table = { "concat", "insert", "maxn", "remove", "sort", "unpack", "pack" },
  math = { "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp", "huge", "ldexp", "log",
           "log10", "max", "min", "modf", "pi", "pow", "rad", "random", "sin", "sinh", "sqrt", "tan", "tanh" },
  coroutine = { "create", "resume", "running", "status", "wrap", "yield" },
  bit = { "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift", "tobit", "tohex" },
  os = { "clock", "date", "difftime", "time" },
}

local function pick(from, names)
  local t = {}
  for i = 1, #names do t[names[i]] = from[names[i]] end
  return t
end

-- ---- the PDK, copied ----------------------------------------------------------------------------

local function cannot() error("this belongs to all scripts: a sandboxed one cannot change it", 2) end

local function proxy(t)
  return setmetatable({}, {
    __index = function(_, k) return t[k] end,
    __call = function(_, ...) return t(...) end,
    __newindex = cannot, __metatable = false,
  })
end

-- Tables without a metatable are copied; those with one are marks (mg.json.null), which keep their identity and take nothing, or
-- have __index or __call and get a stand-in. Anything that is no Lua value (cdata) is left out.
local function copy(t, seen)
  local mt = metatable_of(t)
  if seen[t] then return seen[t] end
  if mt then
    if next(t) == nil and not rawget(mt, "__index") and not rawget(mt, "__call") then
      if not rawget(mt, "__newindex") then rawset(mt, "__newindex", cannot) end
      return t
    end
    seen[t] = proxy(t)
    return seen[t]
  end
  local c = {}
  seen[t] = c
  for k, v in pairs(t) do
    if type(v) == "table" then
      c[k] = copy(v, seen)
    elseif type(v) == "function" or type(v) == "string" or type(v) == "number" or type(v) == "boolean" then
      c[k] = v
    end
  end
  return c
end

-- Objects that the PDK hands out to all who name the same (a dictionary, a cache, a client) are made anew for each sandbox. A sink
-- writes files.
local function pdk_of(mg)
  local own = copy(mg, {})
  for name, make in pairs(host.own) do own[name] = make(true) end
  own.sink = function() error("mg.sink: a sandboxed script writes no files", 2) end
  return own
end

-- ---- metatables ---------------------------------------------------------------------------------

local function add_metatables(env)
  local own = setmetatable({}, { __mode = "k" })

  local function is_foreign(t)
    local mt = metatable_of(t)
    return mt ~= nil and not own[mt]
  end

  function env.getmetatable(v)
    local mt = type(v) == "table" and metatable_of(v) or nil
    if mt == nil or not own[mt] then return nil end
    local shown = rawget(mt, "__metatable")
    if shown ~= nil then return shown end
    return mt
  end

  function env.setmetatable(t, mt)
    if type(t) ~= "table" then error("bad argument #1 to 'setmetatable' (table expected, got " .. type(t) .. ")", 2) end
    if mt ~= nil and type(mt) ~= "table" then error("bad argument #2 to 'setmetatable' (nil or table expected)", 2) end
    if is_foreign(t) then error("cannot change a metatable that is not this script's", 2) end
    if mt ~= nil then own[mt] = true end
    return setmetatable(t, mt)
  end

  function env.rawset(t, k, v)
    if type(t) == "table" and is_foreign(t) then error("cannot change a table that is not this script's", 2) end
    return rawset(t, k, v)
  end
end

-- ---- code ---------------------------------------------------------------------------------------

local function text_of(chunk)
  if type(chunk) ~= "function" then return chunk end
  local parts, n = {}, 0
  for part in chunk do
    if part == "" then break end
    n = n + 1
    parts[n] = part
  end
  return concat(parts)
end

local function add_load(env)
  function env.load(chunk, name, _, given)
    local text = text_of(chunk)
    if type(text) ~= "string" then error("load: text expected, not a " .. type(text), 2) end
    if byte(text, 1) == 27 then return nil, "bytecode is not taken, only Lua text" end
    return load(text, type(name) == "string" and name or "=(load)", "t", type(given) == "table" and given or env)
  end
  function env.loadstring(text, name) return env.load(text, name) end
end

local busy = {}

local function add_require(env, mg, folder, find_module)
  local loaded = {}

  local function known(name)
    if name == "moongate" then return mg end
    if libraries[name] then return env[name] end
    local part = name:match("^moongate%.([%w_]+)$")
    local module = part and mg[part]
    return type(module) == "table" and module or nil
  end

  local function module_of(name)
    if not name:find("^[%w_-]+$") and not name:find("^[%w_-]+%.[%w_.-]*[%w_-]$") or name:find("..", 1, true) then
      error("require: a sandboxed script has the PDK and modules of its own folder; not '" .. name .. "'", 3)
    end
    if closed then error("module '" .. name .. "' is required only now; require it at the top of the file", 3) end
    local loader, why
    if find_module then
      loader, why = find_module(name, folder .. "/?.lua;" .. folder .. "/?/init.lua", "sandbox:" .. folder .. ":" .. name)
    end
    if not loader then error(why or "module '" .. name .. "' not found", 3) end
    return setfenv(loader, env)
  end

  function env.require(name)
    if type(name) ~= "string" then error("require: expected the name of a module", 2) end
    local module = known(name)
    if module ~= nil then return module end
    if loaded[name] == busy then error("require: '" .. name .. "' requires itself", 2) end
    if loaded[name] == nil then
      local loader = module_of(name)
      loaded[name] = busy
      local result = loader(name)
      loaded[name] = result == nil and true or result
    end
    return loaded[name]
  end
end

-- ---- the whole ----------------------------------------------------------------------------------

-- Give a plugin's chunk globals of its own. find_module: of the config's environment, or nil.
function host.confine(chunk, folder, find_module)
  local env = pick(G, plain)
  for name, members in pairs(libraries) do
    if G[name] then env[name] = pick(G[name], members) end
  end
  env._G = env
  add_metatables(env)
  add_load(env)
  local mg = G.require "moongate"
  -- While the config is checked the PDK is there in name only.
  add_require(env, type(mg) == "table" and not metatable_of(mg) and pdk_of(mg) or mg, folder, find_module)
  sandboxes[#sandboxes + 1] = env
  return setfenv(chunk, env)
end

local function no_globals(_, name)
  error("a global variable is shared by all exchanges; make '" .. tostring(name) .. "' local", 2)
end

function host.close_sandboxes(pairs_native, next_native, stays_open)
  closed = not stays_open
  for i = 1, #sandboxes do
    local env = sandboxes[i]
    rawset(env, "pairs", pairs_native)
    rawset(env, "next", next_native)
    setmetatable(env, { __newindex = no_globals, __metatable = false })
  end
end

-- For x.log, which every script has.
host.proxy = proxy

return host
