-- secure-cookies.lua - cookies of an old application are set as they should be: Secure, HttpOnly, SameSite, for the right host.
--
-- Each `set-cookie` of an answer is read and written anew: attributes that are missing are added, Domain and Path of the
-- inner application become those of the outer one. Cookies that scripts must read are named in `readable`. Limits: what is no
-- cookie by RFC 6265 passes as it is; attributes that are not known stay.

local plugin = { name = "secure-cookies", version = "1.0", doc = "Hardens the cookies of answers." }

plugin.fields = {
  readable = { type = "list", item = { type = "string" }, preset = {}, doc = "Cookies that stay without HttpOnly." },
  same_site = { type = "enum", values = { "Lax", "Strict", "None" }, preset = "Lax", doc = "For those that have none." },
  domain = { type = "string", doc = "In place of any Domain; \"\" takes it away, so that the cookie is this host's." },
  path = { type = "map", item = { type = "string" }, preset = {}, doc = "Paths in place of the application's: [\"/app\"] = \"/\"." },
}

function plugin.create(conf)
  local readable = {}
  for _, name in ipairs(conf.readable) do readable[name] = true end
  return { readable = readable, same_site = conf.same_site, domain = conf.domain, path = conf.path }
end

local function harden(field, conf)
  local pair, rest = field:match "^%s*([^;]+)(.*)$"
  local name = pair and pair:match "^([^=%s]+)%s*="
  if not name then return field end
  local parts, has = { (pair:gsub("%s+$", "")) }, {}
  for attribute in rest:gmatch ";%s*([^;]+)" do
    local key, value = attribute:match "^([^=]-)%s*=%s*(.-)%s*$"
    key = (key or attribute:gsub("%s+$", "")):lower()
    has[key] = true
    if key == "domain" and conf.domain then
      if conf.domain ~= "" then parts[#parts + 1] = "Domain=" .. conf.domain end
    elseif key == "path" and conf.path[value] then
      parts[#parts + 1] = "Path=" .. conf.path[value]
    else
      parts[#parts + 1] = attribute
    end
  end
  -- SameSite=None without Secure is refused by browsers, and __Host-, __Secure- ask for it as well.
  if not has.secure then parts[#parts + 1] = "Secure" end
  if not has.httponly and not conf.readable[name] then parts[#parts + 1] = "HttpOnly" end
  if not has.samesite then parts[#parts + 1] = "SameSite=" .. conf.same_site end
  return table.concat(parts, "; ")
end

function plugin.on_response(x, conf)
  local headers, cookies = x.response.headers, nil
  for _, name, value in headers:each() do
    if #name == 10 and name:lower() == "set-cookie" then
      cookies = cookies or {}
      cookies[#cookies + 1] = harden(value, conf)
    end
  end
  if cookies then headers["set-cookie"] = cookies end
end

return plugin
