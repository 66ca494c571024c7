-- server-timing.lua - where the time of a request went, for the network panel of a browser.
--
-- Adds `server-timing: total;dur=12.3, upstream;dur=10.1, connect;dur=0.2, gateway;dur=2.2` (milliseconds, up to the
-- moment at which the head goes out). What the upstream says in that field itself stays. Times tell strangers about your
-- house: `only` says who sees them. Limits: what comes after the head (a slow body) is not in it.

local plugin = { name = "server-timing", version = "1.0", doc = "Adds a Server-Timing field." }

plugin.fields = {
  only = { type = "list", item = { type = "string" }, preset = {}, doc = "Addresses that see it, or beginnings of them (10.1.); all when empty." },
  spans = { type = "list", item = { type = "enum", values = { "total", "upstream", "connect", "first_byte", "gateway" } },
            preset = { "total", "upstream", "connect", "gateway" }, doc = "Which times." },
}

local function sees(ip, only)
  if #only == 0 then return true end
  for i = 1, #only do
    if ip:sub(1, #only[i]) == only[i] then return true end
  end
  return false
end

function plugin.on_response(x, conf)
  if not sees(x.client.ip, conf.only) then return end
  local parts = {}
  for _, span in ipairs(conf.spans) do
    local us = x:span_us(span)
    if us then parts[#parts + 1] = ("%s;dur=%.1f"):format(span, us / 1000) end
  end
  x.response.headers:add("server-timing", table.concat(parts, ", "))
end

return plugin
