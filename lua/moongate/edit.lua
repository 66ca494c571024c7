-- edit.lua - `require "moongate.edit"`: change JSON text in place.
--
-- A passing document is edited by the spans of its nodes, so what is not touched keeps its bytes: the digits of large
-- numbers, the order of members, white space. Paths are names with dots between, [n] (from 0) or [*] for
-- elements, and ["odd.name"] for names that hold dots or brackets: user.roles[0], items[*].price.
--
--     local path = edit.path("user.password")
--     local e = assert(edit.open(text))
--     e:remove(path)
--     text = e:close()

local json = require "moongate.json"
local ffi = require "ffi"

local C, str = ffi.C, ffi.string
local type, tonumber, tostring, setmetatable, error = type, tonumber, tostring, setmetatable, error
local sub, find, match, concat, sort = string.sub, string.find, string.match, table.concat, table.sort
local out = ffi.new("struct mg_str")
local count = ffi.new("size_t[1]")
local message = ffi.new("char[256]")

local edit = {}

-- ---- paths ---------------------------------------------------------------------------------------

-- A list of names (text), indices (numbers, from 0) and "*" as { any = true }; or nil and what is wrong.
function edit.path(text)
  local path, at, n = {}, 1, 0
  if type(text) ~= "string" or text == "" then return nil, "a path is a name such as user.roles[0]" end
  while at <= #text do
    local index, past = match(text, "^%[(%d+)%]()", at)
    if index then
      n, at = n + 1, past
      path[n] = tonumber(index)
    elseif sub(text, at, at + 2) == "[*]" then
      n, at = n + 1, at + 3
      path[n] = { any = true }
    else
      local name, name_past = match(text, '^%["([^"]+)"%]()', at)
      if not name then
        if n > 0 then
          if sub(text, at, at) ~= "." then return nil, "a '.' or '[' expected at " .. at .. " in " .. text end
          at = at + 1
        end
        name, name_past = match(text, "^([^.%[%]]+)()", at)
      end
      if not name then return nil, "a name expected at " .. at .. " in " .. text end
      n, at = n + 1, name_past
      path[n] = name
    end
  end
  return path
end

-- ---- walking -------------------------------------------------------------------------------------

local function parse(e)
  if e.doc then C.mg_json_free(ffi.gc(e.doc, nil)) end
  e.doc = nil
  local doc = C.mg_json_parse(e.text, #e.text, message, 256)
  if doc == nil then return false, str(message) end
  e.doc = ffi.gc(doc, C.mg_json_free)
  e.nodes = C.mg_json_nodes(doc, count)
  return true
end

local function key_text(e, node)
  if C.mg_json_text(e.doc, node, out) < 0 then error("json: out of memory", 0) end
  return str(out.p, out.n)
end

-- The child of container `at` that a step names: its node, and (of members) the nodes before and after it. Of members with the
-- same name the last counts, as when decoding.
local function member(e, at, name)
  local nodes = e.nodes
  local past, child, before = nodes[at].next, at + 1, nil
  local found, found_before
  while child < past do
    local key = nodes[child].key
    if key >= 0 then
      if key_text(e, key) == name then found, found_before = child, before end
      before = child
    end
    child = nodes[child].next
  end
  return found, found_before
end

local function element(e, at, index)
  local nodes = e.nodes
  if index >= nodes[at].count then return nil end
  local child, before = at + 1, nil
  for _ = 1, index do
    before = child
    child = nodes[child].next
  end
  return child, before
end

-- Call fn(e, parent, step, child or nil, before, rest) for each place that the path names. A missing
-- place is told once, at the deepest container that exists: `rest` is the step's number there.
local function walk(e, at, path, step, fn, arg)
  local nodes, name = e.nodes, path[step]
  local kind = nodes[at].kind
  if type(name) == "table" then
    if kind ~= 5 then return end
    local child, past, before = at + 1, nodes[at].next, nil
    while child < past do
      if step == #path then fn(e, at, step, child, before, arg, path) else walk(e, child, path, step + 1, fn, arg) end
      before = child
      child = nodes[child].next
    end
    return
  end
  if kind ~= (type(name) == "number" and 5 or 6) then return end
  local child, before
  if kind == 5 then child, before = element(e, at, name) else child, before = member(e, at, name) end
  if child and step < #path then return walk(e, child, path, step + 1, fn, arg) end
  return fn(e, at, step, child, before, arg, path)
end

-- ---- edits ---------------------------------------------------------------------------------------

local function replace(e, from, to, text)
  local n = e.edits_n + 1
  e.edits_n = n
  e.edits[n] = { from = from, to = to, text = text, order = n }
end

local function by_place(a, b)
  if a.from ~= b.from then return a.from < b.from end
  return a.order < b.order
end

-- Put the noted edits into the text; how many there were.
local function apply(e)
  local n = e.edits_n
  if n == 0 then return 0 end
  local edits, parts, at = e.edits, {}, 0
  if n > 1 then sort(edits, by_place) end
  for i = 1, n do
    local one = edits[i]
    parts[#parts + 1] = sub(e.text, at + 1, one.from)
    parts[#parts + 1] = one.text
    at = one.to
  end
  parts[#parts + 1] = sub(e.text, at + 1)
  e.text, e.edits, e.edits_n = concat(parts), {}, 0
  local ok, err = parse(e)
  if not ok then error("edit: the result is no JSON: " .. tostring(err), 0) end
  return n
end

-- The value for a missing place, from the step after `step`; nil when it cannot be made.
local function built(path, step, value)
  for i = #path, step + 1, -1 do
    local name = path[i]
    if type(name) == "string" then
      value = "{" .. json.quote(name) .. ":" .. value .. "}"
    elseif name == 0 then
      value = "[" .. value .. "]"
    else
      return nil
    end
  end
  return value
end

local function insert(e, at, path, step, value)
  local nodes, name = e.nodes, path[step]
  local node = nodes[at]
  value = built(path, step, value)
  if not value then return end
  if type(name) == "number" and name ~= node.count then return end
  if type(name) == "string" then value = json.quote(name) .. ":" .. value end
  if node.count == 0 then return replace(e, node.start + 1, node.start + 1, value) end
  local child, past, last = at + 1, node.next, nil
  while child < past do
    last = child
    child = nodes[child].next
  end
  replace(e, nodes[last]["end"], nodes[last]["end"], "," .. value)
end

local function fn_set(e, at, step, child, _, value, path)
  if child then return replace(e, e.nodes[child].start, e.nodes[child]["end"], value) end
  return insert(e, at, path, step, value)
end
local function fn_add(e, at, step, child, _, value, path)
  if not child then return insert(e, at, path, step, value) end
end
local function fn_replace(e, _, _, child, _, value)
  if child then return replace(e, e.nodes[child].start, e.nodes[child]["end"], value) end
end
local function fn_append(e, at, step, child, _, value, path)
  if not child then return insert(e, at, path, step, "[" .. value .. "]") end
  local node = e.nodes[child]
  if node.kind == 5 then
    local empty = node.count == 0
    local text = (empty and "" or ",") .. value
    local place = node["end"] - 1
    if empty then return replace(e, node.start + 1, place, text) end
    return insert(e, child, { node.count }, 1, value)
  end
  return replace(e, node.start, node["end"], "[" .. sub(e.text, node.start + 1, node["end"]) .. "," .. value .. "]")
end

local function start_of(e, child)
  local key = e.nodes[child].key
  return e.nodes[key >= 0 and key or child].start
end

local function fn_remove(e, at, step, child, before, _, path)
  if not child then return end
  local nodes = e.nodes
  if type(path[step]) == "table" then -- all of them: noted once, at the first
    if not before then replace(e, nodes[at].start + 1, nodes[at]["end"] - 1, "") end
    return
  end
  local after = nodes[child].next
  if after < nodes[at].next then
    replace(e, start_of(e, child), nodes[after].start, "")
  else
    replace(e, before and nodes[before]["end"] or start_of(e, child), nodes[child]["end"], "")
  end
end

local function fn_rename(e, _, _, child, _, name)
  if child and e.nodes[child].key >= 0 then
    local key = e.nodes[e.nodes[child].key]
    replace(e, key.start, key["end"], json.quote(name))
  end
end

-- ---- the document -----------------------------------------------------------------------------------

local object = {}
local object_mt = { __index = object, __metatable = false }

-- nil and what is wrong when the text is no JSON.
function edit.open(text)
  local e = setmetatable({ text = text, edits = {}, edits_n = 0 }, object_mt)
  local ok, err = parse(e)
  if not ok then return nil, err end
  return e
end

local function run(e, path, fn, arg)
  walk(e, 0, path, 1, fn, arg)
  return apply(e)
end

-- `value` is JSON text. Each returns how many places changed.
function object.set(e, path, value) return run(e, path, fn_set, value) end          -- in any case
function object.add(e, path, value) return run(e, path, fn_add, value) end          -- where it is absent
function object.replace(e, path, value) return run(e, path, fn_replace, value) end  -- where it is present
function object.append(e, path, value) return run(e, path, fn_append, value) end    -- to a list; a scalar becomes one

function object.remove(e, path)
  local n, last = 0, 0
  repeat -- members of the same name go one after the other
    last = run(e, path, fn_remove)
    n = n + last
  until last == 0 or type(path[#path]) ~= "string"
  return n
end

-- Another name for a member, at its place. One that has the new name already goes.
function object.rename(e, path, name)
  if type(path[#path]) ~= "string" then return 0 end
  if path[#path] == name then return 0 end
  local exists = 0
  walk(e, 0, path, 1, function(_, _, _, child) if child then exists = exists + 1 end end)
  if exists == 0 then return 0 end
  local other = {}
  for i = 1, #path do other[i] = path[i] end
  other[#other] = name
  walk(e, 0, path, 1, function(ee, at, _, child)
    if not child then return end
    local old, old_before = member(ee, at, name)
    if old then fn_remove(ee, at, #other, old, old_before, nil, other) end
  end)
  apply(e)
  return run(e, path, fn_rename, name)
end

-- The text of the first place that the path names; nil when there is none.
function object.get(e, path)
  local text
  walk(e, 0, path, 1, function(ee, _, _, child)
    if child and not text then text = sub(ee.text, ee.nodes[child].start + 1, ee.nodes[child]["end"]) end
  end)
  return text
end

-- Done: the text as it is now.
function object.close(e)
  if e.doc then C.mg_json_free(ffi.gc(e.doc, nil)) end
  e.doc, e.nodes = nil, nil
  return e.text
end

-- Is a content type JSON? ("application/json; charset=utf-8", "application/problem+json")
function edit.is_json(content_type)
  if not content_type then return false end
  local kind = match(content_type, "^%s*([^;%s]+)")
  if not kind then return false end
  kind = kind:lower()
  return kind == "application/json" or kind == "text/json" or find(kind, "^[%w.-]+/[%w.+-]*%+json$") ~= nil
end

return edit
