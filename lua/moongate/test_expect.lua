-- test_expect.lua - expectations of specs, and how one that does not hold is told: where, the line itself, and what differs.

local json = require "moongate.json"

local lib = {}
local type, pairs, ipairs, tostring, error = type, pairs, ipairs, tostring, error
local max_shown = 400

-- ---- showing values -------------------------------------------------------------------------------

local function is_name(k) return type(k) == "string" and k:find("^[%a_][%w_]*$") end

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b)
    if type(a) ~= type(b) then return type(a) == "number" end
    if type(a) == "number" then return a < b end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local show
local function show_table(t, depth, seen)
  if seen[t] then return "(itself)" end
  if depth > 6 then return "{…}" end
  seen[t] = true
  local parts, n = {}, #t
  for i = 1, n do parts[i] = show(t[i], depth + 1, seen) end
  for _, k in ipairs(sorted_keys(t)) do
    if not (type(k) == "number" and k >= 1 and k <= n and k % 1 == 0) then
      local name = is_name(k) and k or "[" .. show(k, depth + 1, seen) .. "]"
      parts[#parts + 1] = name .. " = " .. show(t[k], depth + 1, seen)
    end
  end
  seen[t] = nil
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

show = function(v, depth, seen)
  if type(v) == "string" then return json.quote(v) end
  if rawequal(v, json.null) then return "null" end
  if type(v) == "table" then return show_table(v, depth or 0, seen or {}) end
  return tostring(v)
end

local function brief(v)
  local text = show(v)
  if #text > max_shown then return text:sub(1, max_shown) .. "… (" .. #text .. " characters)" end
  return text
end
lib.show = brief

local function same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" or a == json.null or b == json.null then return false end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

-- ---- what differs -----------------------------------------------------------------------------------

local function place(path, k) return path .. (is_name(k) and "." .. k or "[" .. show(k) .. "]") end

local function table_differences(want, got, path, out)
  local keys = {}
  for k in pairs(want) do keys[k] = true end
  for k in pairs(got) do keys[k] = true end
  for _, k in ipairs(sorted_keys(keys)) do
    local w, g = want[k], got[k]
    if not same(w, g) then
      if type(w) == "table" and type(g) == "table" and w ~= json.null and g ~= json.null then
        table_differences(w, g, place(path, k), out)
      elseif g == nil then
        out[#out + 1] = place(path, k) .. ": expected " .. brief(w) .. ", and it is missing"
      elseif w == nil then
        out[#out + 1] = place(path, k) .. ": not expected, got " .. brief(g)
      else
        out[#out + 1] = place(path, k) .. ": expected " .. brief(w) .. ", got " .. brief(g)
      end
    end
  end
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  return lines
end

-- The first line that differs, or the first byte of one long line.
local function text_difference(want, got, out)
  local a, b = lines_of(want), lines_of(got)
  if #a > 1 or #b > 1 then
    for i = 1, math.max(#a, #b) do
      if a[i] ~= b[i] then
        out[#out + 1] = "from line " .. i .. ":"
        for k = math.max(i - 2, 1), i - 1 do out[#out + 1] = "    " .. brief(a[k]) end
        for k = i, math.min(i + 3, #a) do out[#out + 1] = "  - " .. brief(a[k]) end
        for k = i, math.min(i + 3, #b) do out[#out + 1] = "  + " .. brief(b[k]) end
        return
      end
    end
  end
  local i = 1
  while want:byte(i) == got:byte(i) do i = i + 1 end
  local from = math.max(i - 20, 1)
  out[#out + 1] = "from byte " .. i .. ": expected …" .. show(want:sub(from, i + 40)) .. "…, got …" .. show(got:sub(from, i + 40)) .. "…"
end

local function differences(want, got)
  local out = {}
  if type(want) == "table" and type(got) == "table" and want ~= json.null and got ~= json.null then
    table_differences(want, got, "", out)
  elseif type(want) == "string" and type(got) == "string" and (#want > 60 or #got > 60 or want:find("\n") or got:find("\n")) then
    text_difference(want, got, out)
  end
  if #out > 12 then
    local more = #out - 12
    for i = #out, 13, -1 do out[i] = nil end
    out[13] = "… and " .. more .. " more"
  end
  return out
end

-- ---- expectations -------------------------------------------------------------------------------------

-- "file:line" of the spec that is being run: the first place outside of the runtime.
local function here()
  for level = 3, 14 do
    local where = select(2, pcall(error, "", level + 2))
    if where ~= "" and not where:find("^moongate/") and not where:find("^=?%[") then return (where:gsub(":%s*$", "")) end
  end
  return ""
end

local function refuse(text, want, got)
  error({ expectation = text, where = here(), differences = want ~= nil and differences(want, got) or nil }, 0)
end

local checks = {}
function checks.equals(value, other)
  if not same(value, other) then refuse("expected " .. brief(other) .. ", got " .. brief(value), other, value) end
end
checks.is = checks.equals
function checks.is_not(value, other)
  if same(value, other) then refuse("expected something other than " .. brief(other)) end
end
function checks.is_nil(value)
  if value ~= nil then refuse("expected nil, got " .. brief(value)) end
end
function checks.exists(value)
  if value == nil then refuse("expected a value, got nil") end
end
-- Text that has a part, a list that has an item, or a table that has all of another's fields.
local function has(value, part)
  if type(value) ~= "table" then return tostring(value):find(tostring(part), 1, true) ~= nil end
  for _, item in ipairs(value) do
    if type(item) == "string" and type(part) == "string" and item:find(part, 1, true) or same(item, part) then return true end
  end
  if type(part) ~= "table" then return false end
  for k, v in pairs(part) do
    if not same(value[k], v) and not (type(v) == "table" and type(value[k]) == "table" and has(value[k], v)) then return false end
  end
  return next(part) ~= nil
end
function checks.contains(value, part)
  if not has(value, part) then refuse("expected " .. brief(value) .. " to contain " .. brief(part)) end
end
function checks.lacks(value, part)
  if has(value, part) then refuse("expected " .. brief(value) .. " not to contain " .. brief(part)) end
end
function checks.matches(value, pattern)
  if not tostring(value):find(pattern) then refuse("expected " .. brief(value) .. " to match " .. brief(pattern)) end
end
function checks.is_within(value, low, high)
  if type(value) ~= "number" or value < low or value > high then
    refuse("expected a number from " .. low .. " to " .. high .. ", got " .. brief(value))
  end
end
-- Of a function: it raises an error, with that part in its message.
function checks.fails(value, part)
  local ok, err = pcall(value)
  if ok then refuse("expected an error" .. (part and " with " .. brief(part) or "") .. ", and there was none") end
  if type(err) == "table" and err.expectation then error(err, 0) end
  if part and not tostring(err):find(part, 1, true) then
    refuse("expected an error with " .. brief(part) .. ", got " .. brief(tostring(err)))
  end
end

-- expect(value).equals(other), .is_not(other), .is_nil(), .exists(), .contains(part), .lacks(part), .matches("lua pattern"),
-- .is_within(low, high), .fails("part of the message")
function lib.expect(value)
  return setmetatable({}, {
    __index = function(_, name)
      local check = checks[name] or error("expect has no ." .. tostring(name), 2)
      return function(...) return check(value, ...) end
    end,
  })
end

-- ---- telling ----------------------------------------------------------------------------------------------

-- What is told of an error, as lines. source_line: of "path", number. file: of the spec; Lua shortens long names to "...end".
function lib.tell(err, source_line, file)
  local function whole(text)
    return (text:gsub("%.%.%.([^\n:]+):(%d+)", function(rest, line)
      if file and file:sub(-#rest) == rest then return file .. ":" .. line end
    end))
  end
  local out, expectation = {}, type(err) == "table" and err.expectation
  local text = expectation or tostring(type(err) == "table" and err.text or err)
  local where = expectation and err.where or text:match("^([^\n]-:%d+): ")
  if not expectation and type(err) == "table" then where = err.where or where end
  text, where = whole(text), where and whole(where)
  if expectation and where and where ~= "" then text = where .. ": " .. text end
  for line in (text .. "\n"):gmatch("(.-)\n") do out[#out + 1] = line end
  local path, number = (where or ""):match("^(.*):(%d+)$")
  local source = path and source_line(path, tonumber(number))
  if source then table.insert(out, 2, ("%6s | %s"):format(number, source)) end
  for _, d in ipairs(expectation and err.differences or {}) do out[#out + 1] = "  " .. d end
  if type(err) == "table" and err.traceback then
    for line in err.traceback:gmatch("[^\n]+") do -- the author's own files
      if line:find("^%s") and not line:find("^%s*%[C%]") and not line:find("^%s*=?moongate/") then out[#out + 1] = "  from " .. whole(line:match("^%s*(.*)$")) end
    end
  end
  return out
end

-- An xpcall handler: our own errors as they are, others with where they came from.
function lib.handler(err)
  if type(err) == "table" and err.expectation then return err end
  local text = type(err) == "table" and brief(err) or tostring(err)
  local where = text:match("^([^\n]-:%d+): ")
  if not where then
    local place_of = select(2, pcall(here))
    where = type(place_of) == "string" and place_of ~= "" and place_of or nil
  end
  return { text = text, where = where, traceback = debug.traceback("", 2):gsub("^\n", "") }
end

return lib
