-- modules.lua - names that Kong plugins require, and what they get: a function that makes the module, or nil.


local function file(name) return function() return require("moongate.kong." .. name) end end
local function part(name, key) return function() return require("moongate.kong." .. name)[key] end end

local made = {
  cjson = part("cjson", "cjson"), ["cjson.safe"] = part("cjson", "safe"),
  ["kong.db.schema.typedefs"] = file "typedefs",
  ["ngx.re"] = file "ngx_re",
  ["resty.http"] = file "resty_http", ["resty.redis"] = file "resty_redis", ["kong.tools.redis.schema"] = part("resty_redis", "schema"),
  ["kong.tools.queue"] = file "queue",
  ["kong.vendor.classic"] = part("classes", "classic"), classic = part("classes", "classic"),
  ["kong.plugins.base_plugin"] = part("classes", "base_plugin"),
  ["moongate.kong"] = file "init",
}

local function from(name, names)
  for word in names:gmatch("%S+") do made[word] = part(name, word) end
end
from("tools", [[kong.tools.utils kong.tools.string kong.tools.table kong.tools.uuid kong.tools.time kong.tools.timestamp kong.tools.http
  kong.tools.ip kong.tools.mime_type kong.tools.rand kong.tools.sandbox kong.tools.sha256 kong.tools.yield kong.tools.public
  kong.constants kong.meta kong.reports kong.globalpatches kong.pdk.private.rate_limiting kong.pdk.private.phases
  kong.plugins.log-serializers.basic kong.api.endpoints kong.concurrency kong.db.schema kong.singletons]])
from("resty", [[resty.sha1 resty.sha224 resty.sha256 resty.sha384 resty.sha512 resty.md5 resty.string resty.random resty.lrucache resty.lock resty.core resty.cookie
  resty.openssl.mac resty.openssl.hmac resty.openssl.digest resty.openssl.rand resty.openssl.pkey resty.openssl.x509 resty.hmac resty.jit-uuid resty.ipmatcher
  resty.mlcache kong.resty.mlcache]])
from("lua", [[table.new table.clear table.nkeys table.isempty table.isarray table.clone string.buffer ngx.base64 socket.url socket multipart
  ngx.null ngx.errlog ngx.process ngx.semaphore ngx.ssl ngx.balancer ngx.pipe lua_system_constants lyaml lfs]])
from("pl", [[pl.stringx pl.tablex pl.utils pl.pretty pl.List pl.template pl.url pl.class pl.types]])

return function(name) return made[name] end
