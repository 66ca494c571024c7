-- A plugin in Kong's shape that runs what its config says: each phase's code gets conf; what access returns is answered as JSON.
local cjson = require "cjson"
local helper = require "kong.plugins.probe.helper"

local Probe = { PRIORITY = 1000, VERSION = "1.2.3" }

probe_loaded = (probe_loaded or 0) + 1 -- a global assignment, as many plugins have one
local worker_began = 0

function Probe:init_worker() worker_began = worker_began + 1 end

local function run(conf, phase)
  if not conf[phase] then return nil end
  local env = setmetatable({ conf = conf, helper = helper, worker_began = worker_began }, { __index = _G })
  return setfenv(assert(loadstring(conf[phase], "=" .. phase)), env)()
end

function Probe:rewrite(conf) run(conf, "rewrite") end
function Probe:access(conf)
  local result = run(conf, "access")
  if result ~= nil then return kong.response.exit(200, cjson.encode(result)) end
end
function Probe:header_filter(conf) run(conf, "header_filter") end
function Probe:body_filter(conf) run(conf, "body_filter") end
function Probe:log(conf) run(conf, "log") end

return Probe
