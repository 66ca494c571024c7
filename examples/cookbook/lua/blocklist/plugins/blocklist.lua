-- blocklist.lua - a list of addresses that somebody else keeps, fetched every few minutes.
--
-- The list is text, an address or an IPv4 network a line (`#` begins a comment). One worker fetches it, all read it from a
-- shared dictionary; a list that cannot be fetched or looks broken leaves the last one in force, and is counted. Until the first
-- list is there requests pass, or are refused where the entry says `fail = "closed"`. Limits: 2 MiB of list; IPv6 addresses must be
-- written as the gateway writes them (RFC 5952), IPv6 networks are not known.

local mg = require "moongate"
local bit = require "bit"

local plugin = { name = "blocklist", version = "1.0", doc = "Refuses addresses of a list that is fetched." }

plugin.fields = {
  url = { type = "string", required = true, pattern = "https?://.+", doc = "Where the list is." },
  every = { type = "duration", preset = "5m", min = 1000, doc = "How often it is fetched." },
  fail = { type = "enum", values = { "open", "closed" }, preset = "open", doc = "What happens before there is a list." },
}

local lists = mg.shared.blocklist
local refused = mg.metric.counter("blocklist_refused_total", "Requests of listed addresses.", { "route" })
local fetches = mg.metric.counter("blocklist_fetches_total", "Fetches of the list.", { "result" })

local function ipv4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  if not a or a > 255 or b > 255 or c > 255 or d > 255 then return nil end
  return bit.tobit(a * 16777216 + b * 65536 + c * 256 + d)
end

-- { exact = set of addresses, nets = { [bits] = set of prefixes }, n }; nil and the first line that is wrong.
local function parse(text)
  local list = { exact = {}, nets = {}, n = 0 }
  for line in text:gmatch "[^\r\n]+" do
    line = line:gsub("#.*", ""):gsub("%s", "")
    local net, bits = line:match "^([%d.]+)/(%d+)$"
    bits = tonumber(bits)
    if net and ipv4(net) and bits >= 8 and bits <= 32 then
      list.nets[bits] = list.nets[bits] or {}
      list.nets[bits][bit.band(ipv4(net), bit.bnot(bits == 32 and 0 or bit.rshift(-1, bits)))] = true
    elseif ipv4(line) or line:find "^%x*:[%x:.]+$" then
      list.exact[line:lower()] = true
    elseif line ~= "" then
      return nil, "a line that is no address: " .. line:sub(1, 60)
    end
    if line ~= "" then list.n = list.n + 1 end
  end
  return list
end

local function has(list, ip)
  if list.exact[ip] then return true end
  local v4 = ipv4(ip)
  if not v4 then return false end
  for bits, set in pairs(list.nets) do
    if set[bit.band(v4, bit.bnot(bits == 32 and 0 or bit.rshift(-1, bits)))] then return true end
  end
  return false
end

local function fetch(self)
  local r, err = mg.http.get(self.url, { timeout = "20s", limit = "2m", headers = { ["if-none-match"] = lists:get(self.url .. "\netag") } })
  if r and r.status == 304 then fetches:add(1, "unchanged") return end
  local list, why
  if r and r.status == 200 then list, why = parse(r.body) end
  if not list or list.n == 0 then
    fetches:add(1, "failed")
    return mg.log.error("the list could not be taken, the last one stays", { error = err or why or "status " .. r.status })
  end
  local ok, too_big = lists:set(self.url, r.body)
  if not ok then return mg.log.error("the list does not fit: give `shared` more", { error = too_big }) end
  lists:set(self.url .. "\netag", r.headers.etag or "")
  lists:incr(self.url .. "\nversion", 1, 0)
  fetches:add(1, "taken")
end

function plugin.create(conf)
  return { url = conf.url, every = conf.every, fail = conf.fail }
end

function plugin.on_worker(self)
  mg.timer.after(1, function() fetch(self) end, { once_per_gateway = true })
  mg.timer.every(self.every, function() fetch(self) end, { once_per_gateway = true, jitter = self.every / 10 })
end

-- This worker's parsed copy; parsed again when the version has changed.
local parsed = setmetatable({}, { __mode = "k" })
local function list_of(self)
  local version, mine = lists:get(self.url .. "\nversion"), parsed[self]
  if not version then return nil end
  if not mine or mine.version ~= version then
    mine = { version = version, list = parse(lists:get(self.url) or "") }
    parsed[self] = mine
  end
  return mine.list
end

function plugin.on_request(x, self)
  local list = list_of(self)
  if not list then
    if self.fail == "closed" then return x:error(503, "Not ready yet.", { ["retry-after"] = "1" }) end
    return
  end
  if has(list, x.client.ip) then
    refused:add(1, x.route.id)
    return x:error(403, "Not from this address.")
  end
end

return plugin
