-- maintenance.lua - planned downtime: callers get 503 and when to come back, those who test the new version pass.
--
-- The window is given beforehand, in UTC; outside of it the plugin costs two comparisons. Whoever sends the secret in
-- `x-maintenance-bypass` passes, and the field does not go upstream. Limits: a window without `till` lasts until the
-- config is reloaded without it.

local mg = require "moongate"

local plugin = { name = "maintenance", version = "1.0", doc = "Answers 503 during a window of time, with a bypass." }

local when = "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\dZ$"
plugin.fields = {
  from = { type = "string", required = true, pattern = when, doc = "Begin: 2026-03-01T02:00Z." },
  till = { type = "string", pattern = when, doc = "End; without it there is none yet." },
  bypass = { type = "string", secret = true, min = 16, doc = "Who sends this in x-maintenance-bypass passes." },
  message = { type = "string", preset = "We are back soon.", doc = "What clients are told." },
}

-- Milliseconds since 1970 of "2026-03-01T02:00Z" (days from civil: the year begins in March).
local function utc_ms(text)
  local y, mo, d, h, mi = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+)Z$")
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  if mo < 1 or mo > 12 or d < 1 or d > 31 or tonumber(h) > 23 or tonumber(mi) > 59 then return nil end
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) + math.floor((153 * (mo - 3) + 2) / 5) + d - 719469
  return ((days * 24 + h) * 60 + mi) * 60000
end

function plugin.create(conf)
  local from, till = utc_ms(conf.from), conf.till and utc_ms(conf.till) or math.huge
  if not from or not till then return nil, "there is no such time" end
  if till <= from then return nil, "till: it ends before it begins" end
  return { from = from, till = till, bypass = conf.bypass, message = conf.message }
end

function plugin.on_request(x, conf)
  local given = x.request.headers["x-maintenance-bypass"]
  if given then x.request.headers["x-maintenance-bypass"] = nil end
  local now = mg.now_ms()
  if now < conf.from or now >= conf.till then return end
  if given and conf.bypass and mg.crypto.equal(given, conf.bypass) then return end
  local headers = { ["cache-control"] = "no-store" }
  if conf.till < math.huge then headers["retry-after"] = math.ceil((conf.till - now) / 1000) end
  return x:error(503, conf.message, headers)
end

return plugin
