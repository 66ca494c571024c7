-- dns.lua - mg.dns: names to addresses, as the gateway's resolver knows them.
--
--     local addresses, err = mg.dns.resolve("api.example.com")

local host = require "moongate.host"
local ffi = require "ffi"
local C, str, type, error, tostring = ffi.C, ffi.string, type, error, tostring
local out = ffi.new("struct mg_str")
local types = { A = 4, AAAA = 6 }

local dns = {}

-- The addresses of a name, IPv4 first; nil and a word. Options: type ("A" or "AAAA"; both without).
function dns.resolve(name, options)
  if type(name) ~= "string" then error("mg.dns.resolve: a name expected, not a " .. type(name), 2) end
  local wanted = options and options.type
  if wanted ~= nil and not types[wanted] then error("mg.dns.resolve: type is \"A\" or \"AAAA\", not " .. tostring(wanted), 2) end
  host.must_wait("mg.dns.resolve")
  local x = host.here()
  local op = C.mg_dns_resolve(x, name, #name, wanted and types[wanted] or 0)
  if op < 0 then return host.fail(op, "mg.dns.resolve") end
  local status = host.wait(op)
  local list
  if status >= 0 and C.mg_dns_addresses(x, op, out) == 0 then
    list = {}
    for address in str(out.p, out.n):gmatch("[^\n]+") do list[#list + 1] = address end
  end
  C.mg_dns_free(x, op)
  if status == C.MG_ENOENT then return nil, "no such name" end
  if status < 0 then return nil, host.message(status) end
  return list
end

return dns
