-- As plugins before Kong 2 are written.
local BasePlugin = require "kong.plugins.base_plugin"
local Handler = BasePlugin:extend()
function Handler:new() Handler.super.new(self, "classic-probe") end
function Handler:access(conf)
  Handler.super.access(self)
  ngx.header["X-Early"] = self._name
  ngx.req.set_header("x-table", conf.limits.second .. conf.list[1])
end
return Handler
