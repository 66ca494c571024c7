-- dns.lua - mg.dns: names to addresses and other records, as the gateway's resolver knows them.
--
--     local addresses, err = mg.dns.resolve("api.example.com")
--     local servers, err = mg.dns.resolve("_sip._tcp.example.com", { type = "SRV" })
--     local server = mg.dns.pick(servers)     -- server.target, server.port

local host = require "moongate.host"
local ffi = require "ffi"
local C, str, type, error, tostring, tonumber = ffi.C, ffi.string, type, error, tostring, tonumber
local char, random = string.char, math.random
local out = ffi.new("struct mg_str")
local types = { A = C.MG_DNS_A, AAAA = C.MG_DNS_AAAA, CNAME = C.MG_DNS_CNAME, PTR = C.MG_DNS_PTR, MX = C.MG_DNS_MX, TXT = C.MG_DNS_TXT,
                SRV = C.MG_DNS_SRV }

local function byte_of(digits) return char(tonumber(digits)) end

-- From a line of text to a record.
local records = {
  SRV = function(line)
    local ttl, priority, weight, port, target = line:match("^(%d+) (%d+) (%d+) (%d+) (.+)$")
    return { ttl = tonumber(ttl), priority = tonumber(priority), weight = tonumber(weight), port = tonumber(port), target = target }
  end,
  MX = function(line)
    local ttl, preference, name = line:match("^(%d+) (%d+) (.+)$")
    return { ttl = tonumber(ttl), preference = tonumber(preference), name = name }
  end,
  TXT = function(line)
    local ttl, text = line:match("^(%d+) (.*)$")
    return { ttl = tonumber(ttl), text = (text:gsub("\\(%d%d%d)", byte_of)) }
  end,
  PTR = function(line)
    local ttl, name = line:match("^(%d+) (.+)$")
    return { ttl = tonumber(ttl), name = name }
  end,
}
records.CNAME = records.PTR

local function as_is(line) return line end

local dns = {}

-- The addresses of a name, IPv4 first; nil and a word. Options: type: "A" or "AAAA" (both without); or "SRV", "MX", "TXT", "PTR", "CNAME":
-- records then, tables with `ttl` (seconds) and: SRV priority, weight, port, target, in the order to try them; MX preference, name; TXT text;
-- PTR and CNAME name.
function dns.resolve(name, options)
  if type(name) ~= "string" then error("mg.dns.resolve: a name expected, not a " .. type(name), 2) end
  local wanted = options and options.type
  if wanted ~= nil and not types[wanted] then
    error("mg.dns.resolve: type is \"A\", \"AAAA\", \"SRV\", \"MX\", \"TXT\", \"PTR\" or \"CNAME\", not " .. tostring(wanted), 2)
  end
  host.must_wait("mg.dns.resolve")
  local x = host.here()
  local op = C.mg_dns_resolve(x, name, #name, wanted and types[wanted] or C.MG_DNS_ANY)
  if op < 0 then return host.fail(op, "mg.dns.resolve") end
  local status = host.wait(op)
  local list
  if status >= 0 and C.mg_dns_addresses(x, op, out) == 0 then
    local record = records[wanted] or as_is
    list = {}
    for line in str(out.p, out.n):gmatch("[^\n]+") do list[#list + 1] = record(line) end
  end
  C.mg_dns_free(x, op)
  if status == C.MG_ENOENT then return nil, "no such name" end
  if status < 0 then return nil, host.message(status) end
  return list
end

-- One of the SRV records: of those with the lowest priority, by chance and weight (RFC 2782). nil for an empty list.
function dns.pick(list)
  local sum, first = 0, list[1]
  if not first then return nil end
  local n = 0
  while list[n + 1] and list[n + 1].priority == first.priority do
    n = n + 1
    sum = sum + list[n].weight
  end
  if sum == 0 then return list[random(n)] end
  local at = random() * sum
  for i = 1, n do
    at = at - list[i].weight
    if at < 0 then return list[i] end
  end
  return list[n]
end

return dns
