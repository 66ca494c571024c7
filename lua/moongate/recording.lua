-- recording.lua - the file of a recording, read a line at a time (docs/record.md has the format).

local json = require "moongate.json"
local crypto = require "moongate.crypto"

local recording = {}
local type, ipairs, tostring = type, ipairs, tostring
local LINE_MAX, READ_BYTES, BODY_MAX = 64 * 2 ^ 20, 65536, 32 * 2 ^ 20

-- Text, or { base64 = … }.
function recording.text(v)
  if type(v) == "table" and type(v.base64) == "string" then return crypto.unbase64(v.base64) or "" end
  if type(v) == "string" then return v end
  return ""
end
local text = recording.text

function recording.fields(list)
  local fields = {}
  for _, pair in ipairs(list or {}) do fields[#fields + 1] = { text(pair[1]), text(pair[2]) } end
  return fields
end

-- A body in the pieces in which it came, with the pauses between them in milliseconds. What was cut off is made up for by zeros, so
-- that lengths are right. hangs: its end never came, and nobody said so.
function recording.pieces(message, from_us, hangs)
  local body, at, last = text(message.body), 1, from_us or 0
  local bytes = message.body_cut and message.body_bytes or 0
  if bytes > #body and bytes <= BODY_MAX then body = body .. ("\0"):rep(bytes - #body) end
  local pieces = {}
  for _, piece in ipairs(body ~= "" and message.pieces or {}) do
    local pause = math.floor((piece[1] - last) / 1000)
    if pause > 0 then pieces[#pieces + 1] = pause end
    if at <= #body and piece[2] > 0 then pieces[#pieces + 1] = body:sub(at, at + piece[2] - 1) end
    at, last = at + piece[2], piece[1]
  end
  if at <= #body then pieces[#pieces + 1] = body:sub(at) end
  if hangs then pieces[#pieces + 1], pieces[#pieces + 2] = 2 ^ 31, "\0" end
  return pieces
end

-- ---- what a line must be ----------------------------------------------------------------------------------

local function is_text(v) return type(v) == "string" or type(v) == "table" and type(v.base64) == "string" end
local function is_number(v) return type(v) == "number" and v == v and v >= 0 and v < 2 ^ 53 end

local function is_list(v, of)
  if v == nil then return true end
  if type(v) ~= "table" then return false end
  for _, item in ipairs(v) do
    if not of(item) then return false end
  end
  return true
end
local function is_pair(v) return type(v) == "table" and is_text(v[1]) and is_text(v[2]) end
local function is_piece(v) return type(v) == "table" and is_number(v[1]) and is_number(v[2]) end
local function is_question(v)
  return type(v) == "table" and type(v.service) == "string" and (v.status == nil or type(v.status) == "number") and
    (v.question == nil or is_text(v.question)) and (v.answer == nil or is_text(v.answer)) and (v.took == nil or type(v.took) == "number")
end

-- nil, or what is wrong with a message.
local function wrong_message(what, m, is_request)
  if type(m) ~= "table" then return what .. ": an object expected" end
  if m.version ~= nil and not is_number(m.version) then return what .. ".version: a number expected" end
  if is_request and not (is_text(m.method) and is_text(m.target)) then return what .. ": method and target expected" end
  if not is_request and not (is_number(m.status) and m.status >= 100 and m.status <= 999) then return what .. ".status: a status expected" end
  if m.body ~= nil and not is_text(m.body) then return what .. ".body: text expected" end
  if m.body_bytes ~= nil and not is_number(m.body_bytes) then return what .. ".body_bytes: a number expected" end
  if m.at ~= nil and not is_number(m.at) then return what .. ".at: a number expected" end
  if not is_list(m.headers, is_pair) then return what .. ".headers: pairs expected" end
  if not is_list(m.trailers, is_pair) then return what .. ".trailers: pairs expected" end
  if not is_list(m.pieces, is_piece) then return what .. ".pieces: pairs of numbers expected" end
end

local function wrong(doc)
  if type(doc) ~= "table" or doc.moongate ~= "recording" then return "this is no recording of Moongate's" end
  if doc.version ~= 1 then return "version " .. tostring(doc.version) .. " of the format; this Moongate reads version 1" end
  if not is_number(doc.began_us) then return "began_us: a number expected" end
  if doc.took_us ~= nil and not is_number(doc.took_us) then return "took_us: a number expected" end
  if type(doc.client) ~= "table" then return "client: an object expected" end
  for _, name in ipairs { "ip", "peer", "tls", "cipher", "sni" } do
    if doc.client[name] ~= nil and not is_text(doc.client[name]) then return "client." .. name .. ": text expected" end
  end
  if doc.client.port ~= nil and not is_number(doc.client.port) then return "client.port: a number expected" end
  if doc.listener ~= nil and not is_text(doc.listener) then return "listener: text expected" end
  if not is_list(doc.asked, is_question) then return "asked: a list of questions expected" end
  if not is_list(doc.secret, is_text) then return "secret: a list of names expected" end
  if doc.trace ~= nil and (type(doc.trace) ~= "table" or type(doc.trace.steps or {}) ~= "table") then return "trace: an object with steps expected" end
  return wrong_message("request", doc.request, true) or doc.sent and wrong_message("sent", doc.sent, true) or
    doc.received and wrong_message("received", doc.received) or doc.answer and wrong_message("answer", doc.answer)
end

-- ---- lines ----------------------------------------------------------------------------------------------------

-- An iterator over lines and whether they were whole, with no more than one of them in memory. A line over LINE_MAX raises.
local function lines_of(read, place)
  local rest, number, ended = "", 0, false
  return function()
    local parts, size = { rest }, #rest
    local stop = rest:find("\n", 1, true)
    while not stop and not ended do
      local more = read(READ_BYTES)
      if not more then
        ended = true
      else
        stop = more:find("\n", 1, true)
        parts[#parts + 1], size = more, size + #more
        if size > LINE_MAX then error(("%s:%d: a line of more than %d MB"):format(place, number + 1, LINE_MAX / 2 ^ 20), 0) end
      end
    end
    local all = table.concat(parts)
    number = number + 1
    if not stop then
      rest = ""
      if all == "" then return nil end
      return number, all, false
    end
    stop = all:find("\n", 1, true)
    rest = all:sub(stop + 1)
    return number, all:sub(1, stop - 1), true
  end
end

-- for doc in recording.each(native, path, warn): its documents; doc.place is file:line. A last line that is cut off is passed over, with a word to warn.
-- Raises what is wrong.
function recording.each(native, path, warn)
  native.recording(path)
  local next_line, found = lines_of(native.recording_bytes, path), false
  return function()
    for number, line, is_whole in next_line do
      if line:find("%S") then
        local place = path .. ":" .. number
        local doc, malformed = json.decode(line)
        if not doc and not is_whole then
          warn(place .. ": cut off in the middle; left out")
        else
          local mistake = not doc and ("no JSON: " .. tostring(malformed)) or wrong(doc)
          if mistake then error(place .. ": " .. mistake, 0) end
          doc.place, found = place, true
          return doc
        end
      end
    end
    if not found then error(path .. ": nothing is recorded there", 0) end
  end
end

return recording
