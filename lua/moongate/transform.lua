-- transform.lua - what request-transformer and response-transformer share: changes to header fields, arguments
-- and JSON bodies that a config describes.
--
-- The order is always the same: remove, rename, replace, set, add, append. `prepare` turns the config's tables into
-- lists once; what runs for each exchange walks them.

local mg = require "moongate"
local edit = require "moongate.edit"

local json = mg.json
local type, pairs, ipairs, tostring, sort = type, pairs, ipairs, tostring, table.sort
local sub, find, lower = string.sub, string.find, string.lower

local transform = {}

-- ---- the config's fields -----------------------------------------------------------------------------

local function part_fields(with_query, kind)
  local names = kind == "remove" and { type = "list", single = true, item = { type = "string" } }
    or kind == "rename" and { type = "map", item = { type = "string" } }
    or { type = "map", item = { type = "template" } }
  local function of(doc)
    local field = { doc = doc }
    for k, v in pairs(names) do field[k] = v end
    return field
  end
  local fields = {
    headers = of("Header fields" .. (kind == "remove" and "; a name may end in * for all that begin so." or ", by name.")),
    body = of("Members of a JSON body, by path (user.roles[0], items[*].id)."),
  }
  if kind ~= "remove" and kind ~= "rename" then
    fields.body = { type = "map", item = { type = "any" },
                    doc = "Members of a JSON body, by path; text is a template, other values are JSON as they are." }
  end
  if with_query then fields.query = of("Arguments of the query, by name.") end
  return fields
end

local kinds = { "remove", "rename", "replace", "set", "add", "append" }
local docs = {
  remove = "What goes.",
  rename = "What gets another name: old = new. In bodies the new name alone, the place stays.",
  replace = "What gets a new value where it is present.",
  set = "What gets this value in any case.",
  add = "What gets this value where it is absent.",
  append = "What gets one value more; in bodies, a list one element more.",
}

function transform.fields(with_query)
  local fields = {
    body_limit = { type = "size", preset = "1m", min = 1, doc = "Bodies up to this size are changed." },
    over = { type = "enum", values = { "refuse", "skip" }, preset = "refuse",
             doc = "What becomes of a larger body: refused (413; an answer: 502), or passed on unchanged." },
    malformed = { type = "enum", values = { "pass", "refuse" }, preset = "pass",
                  doc = "What becomes of a JSON body that is none: passed on unchanged, or refused (400; an answer: 502)." },
    encoding = { type = "enum", values = { "plain", "keep" }, preset = "plain",
                 doc = "What becomes of the content-encoding of a body that was changed: none, or the same again (of an answer where the client takes it)." },
  }
  for _, kind in ipairs(kinds) do
    fields[kind] = { type = "table", fields = part_fields(with_query, kind), doc = docs[kind] }
  end
  return fields
end

-- ---- preparing ------------------------------------------------------------------------------------------

local function sorted(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  sort(keys)
  return keys
end

-- A value for a body: { text = JSON } when it is constant, { template = … } when it is rendered.
local function body_value(v)
  if type(v) ~= "string" then return { text = json.encode(v) } end
  if not find(v, "$", 1, true) then return { text = json.quote(v) } end
  local template, err = mg.template(v)
  if not template then return nil, err end
  return { template = template }
end

local function add_list(ops, kind, list)
  for _, name in ipairs(list or {}) do ops[#ops + 1] = { kind = kind, name = name } end
end

local function add_map(ops, kind, map)
  for _, name in ipairs(sorted(map or {})) do ops[#ops + 1] = { kind = kind, name = name, value = map[name] } end
end

local function check_body(ops)
  for _, op in ipairs(ops) do
    local path, err = edit.path(op.name)
    if not path then return nil, op.kind .. ".body: " .. err end
    op.path = path
    if op.kind == "rename" then
      if type(path[#path]) ~= "string" then return nil, "rename.body: " .. op.name .. ": only a member has a name" end
    elseif op.kind ~= "remove" then
      op.value, err = body_value(op.value)
      if not op.value then return nil, op.kind .. ".body." .. op.name .. ": " .. err end
    end
  end
  return ops
end

-- For `create`: { headers = ops, query = ops, body = ops, … }, or nil and what is wrong.
function transform.prepare(conf)
  local made = { headers = {}, query = {}, body = {}, body_limit = conf.body_limit, over = conf.over, malformed = conf.malformed,
                 keep = conf.encoding == "keep", how = { limit = conf.body_limit, over = conf.over, malformed = conf.malformed }, told = false }
  for _, kind in ipairs(kinds) do
    local given = conf[kind]
    if given then
      for _, part in ipairs { "headers", "query", "body" } do
        if kind == "remove" then add_list(made[part], kind, given[part]) else add_map(made[part], kind, given[part]) end
      end
    end
  end
  for _, op in ipairs(made.headers) do
    op.prefix = op.kind == "remove" and sub(op.name, -1) == "*" and lower(sub(op.name, 1, -2)) or nil
  end
  local ok, err = check_body(made.body)
  if not ok then return nil, err end
  return made
end

-- ---- fields and arguments -------------------------------------------------------------------------------

local function remove_prefix(block, prefix)
  local names, n = {}, 0
  for _, name in block:each() do
    if sub(lower(name), 1, #prefix) == prefix then
      n = n + 1
      names[n] = name
    end
  end
  for i = 1, n do block:remove(names[i]) end
end

local function rename(block, old, new)
  local values, n = {}, 0
  for _, name, value in block:each() do
    if name == old or lower(name) == lower(old) then
      n = n + 1
      values[n] = value
    end
  end
  if n == 0 then return end
  block:remove(old)
  block:set(new, values)
end

-- A value whose variables are all absent is none, and neither is one that a field cannot hold (a line break that came out of
-- a query argument).
local function rendered(op, x)
  local text, absent = op.value:render(x)
  if text == "" and absent > 0 then return nil end
  if find(text, "[%z\1-\8\10-\31\127]") then return nil end
  return text
end

-- block: x.request.headers, x.response.headers or x.request.query.
function transform.fields_of(x, block, ops)
  for i = 1, #ops do
    local op = ops[i]
    local kind, name = op.kind, op.name
    if kind == "remove" then
      if op.prefix then remove_prefix(block, op.prefix) else block:remove(name) end
    elseif kind == "rename" then
      rename(block, name, op.value)
    else
      local present = kind ~= "set" and kind ~= "append" and block:get(name) ~= nil
      if kind == "set" or kind == "append" or present == (kind == "replace") then
        local value = rendered(op, x)
        if value == nil then
          -- What the config means to own is not left to the client either.
          if kind == "set" or kind == "replace" then block:remove(name) end
        elseif kind == "append" then
          block:add(name, value)
        else
          block:set(name, value)
        end
      end
    end
  end
end

-- ---- bodies -------------------------------------------------------------------------------------------------

local function change(e, op, x)
  local kind = op.kind
  if kind == "remove" then return e:remove(op.path) end
  if kind == "rename" then return e:rename(op.path, op.value) end
  local value = op.value.text
  if not value then
    local text, absent = op.value.template:render(x)
    if text == "" and absent > 0 then return 0 end
    value = json.quote(text)
  end
  return e[kind](e, op.path, value)
end

-- Is this a body that may be changed?
local function changeable(message)
  return message.body_length ~= 0 and edit.is_json(message.headers["content-type"])
end

-- Bodies of a coding that nobody here knows pass as they are.
local function tell_once(message, conf, err)
  local coding = message.headers["content-encoding"]
  if conf.told or not coding then return end
  conf.told = true
  mg.log.warn("a body with a content-encoding is not changed", { content_encoding = coding, problem = err })
end

-- What can be put on again; several at once are not.
local known = { gzip = true, ["x-gzip"] = true, deflate = true, br = true, zstd = true }

-- Change the JSON body of x.request or x.response. Returns true when it changed; nil and a message when it is no JSON.
function transform.body(x, message, conf)
  if not changeable(message) then return false end
  local text, err = message:body(conf.how)
  if not text then
    tell_once(message, conf, err)
    return false, err
  end
  if text == "" then return false end
  local e
  e, err = edit.open(text)
  if not e then return nil, err end
  local ops, changes = conf.body, 0
  for i = 1, #ops do changes = changes + change(e, ops[i], x) end
  text = e:close()
  if changes == 0 then return false end
  local coding = conf.keep and message.headers["content-encoding"]
  message:set_body(text)
  if coding and known[lower(coding)] then message:encode(coding) end
  return true
end

return transform
