-- replay.lua - recorded exchanges run again, for `moongate replay` and `moongate diff`.
--
-- A recording (docs/record.md) has every byte that came in and every answer that the chain got from outside, so a
-- simulated exchange over the same config does the same again, and over another config shows what would be otherwise.

local json = require "moongate.json"
local crypto = require "moongate.crypto"
local test = require "moongate.test"

local replay = {}
local native
local ipairs, tostring, type = ipairs, tostring, type

local function say(text) native.say(text) end
local function paint(colour, text) return native.colour(colour) .. text .. native.colour "plain" end

-- ---- reading ------------------------------------------------------------------------------------------

local function text_of(v)
  if type(v) == "table" and v.base64 then return crypto.unbase64(v.base64) or "" end
  if type(v) == "string" then return v end
  return ""
end

local function fields_of(list)
  local fields = {}
  for _, pair in ipairs(list or {}) do fields[#fields + 1] = { text_of(pair[1]), text_of(pair[2]) } end
  return fields
end

-- The body in the pieces in which it came, with the pauses between them in milliseconds.
local function pieces_of(message, from_us)
  local body, at, last = text_of(message.body), 1, from_us or 0
  if body == "" then return {} end
  local pieces = {}
  for _, piece in ipairs(message.pieces or {}) do
    local pause = math.floor((piece[1] - last) / 1000)
    if pause > 0 then pieces[#pieces + 1] = pause end
    if at <= #body then pieces[#pieces + 1] = body:sub(at, at + piece[2] - 1) end
    at, last = at + piece[2], piece[1]
  end
  if at <= #body then pieces[#pieces + 1] = body:sub(at) end
  return pieces
end

local function lookup(fields, name)
  for _, pair in ipairs(fields) do
    if pair[1]:lower() == name then return pair[2] end
  end
end

local function documents(path)
  local file, why = io.open(path, "r")
  if not file then error(why, 0) end
  local list, number = {}, 0
  for line in file:lines() do
    number = number + 1
    if line:find("%S") then
      local doc, wrong = json.decode(line)
      if not doc or doc.moongate ~= "recording" then error(path .. ":" .. number .. ": " .. (wrong or "no recording of Moongate's"), 0) end
      if doc.version ~= 1 then error(path .. ":" .. number .. ": version " .. tostring(doc.version) .. " of the format; this one reads 1", 0) end
      doc.place = path .. ":" .. number
      list[#list + 1] = doc
    end
  end
  file:close()
  if #list == 0 then error(path .. ": nothing is recorded there", 0) end
  return list
end

-- ---- running ------------------------------------------------------------------------------------------

-- What the upstream said then.
local function upstream_of(doc)
  return function()
    local r = doc.received
    if not r then return { status = 502, fields = {}, pieces = {}, fails = doc.failure or "reset" } end
    return {
      status = r.status, fields = fields_of(r.headers), pieces = pieces_of(r, r.pieces and r.pieces[1] and r.pieces[1][1]),
      trailer_fields = r.trailers and fields_of(r.trailers), fails = r.broke_off and (doc.failure or "reset") or nil,
      partial = r.broke_off,
    }
  end
end

local function tape_of(doc)
  local tape = {}
  for _, a in ipairs(doc.asked or {}) do
    if a.status then
      tape[#tape + 1] = { service = a.service, question = text_of(a.question), answer = text_of(a.answer), status = a.status,
                          after_ms = (a.took or 0) / 1000 }
    end
  end
  return tape
end

-- Run it over a gateway: the simulated result, what it asked that nobody recorded, and what nobody asked for.
local function run(gateway, doc, anywhere)
  local request = doc.request
  local fields = fields_of(request.headers)
  local authority = lookup(fields, "host") or "localhost"
  local name, port = authority:match("^(.-):(%d+)$")
  local secure = request.scheme == "https"
  native.set_wall_ms(doc.began_us / 1000)
  native.tape(tape_of(doc))
  native.lines()
  native.written()
  local spec = {
    id = doc.id, trace = 1, method = request.method, target = text_of(request.target), fields = fields, pieces = pieces_of(request),
    chunked = 0, authority = authority, host = (name or authority):lower(), authority_port = tonumber(port),
    port = tonumber(port) or (secure and 443 or 80), https = secure and 1 or 0, client = doc.client.peer or doc.client.ip or "127.0.0.1",
    trailer_fields = request.trailers and fields_of(request.trailers), upstream = upstream_of(doc),
    listener = not anywhere and doc.listener or nil,
  }
  local ok, r = pcall(native.simulate, spec, gateway)
  local missed, unused = native.tape(nil)
  if not ok then error(doc.place .. ": " .. tostring(r), 0) end
  r.steps = r.trace and json.decode(r.trace).steps or {}
  return r, missed, unused
end

local function listener_is_there(gateway, doc)
  return (pcall(run, gateway, doc, false))
end

-- ---- comparing ----------------------------------------------------------------------------------------

local function show(v)
  if v == nil or v == json.null then return "(absent)" end
  return tostring(v)
end

local function value(v)
  if v == json.null then return nil end
  return v
end

-- "a=1" lines for what a step changed, in the order in which it did.
local function changes_of(step)
  local lines = {}
  for _, c in ipairs(step.changes or {}) do
    lines[#lines + 1] = ("%s%s: %s -> %s%s"):format(c.what, c.name and " " .. c.name or "", show(c.was), show(c.is),
      c.bytes and c.bytes ~= 0 and (" (%d bytes)"):format(c.bytes) or "")
  end
  return lines
end

local function step_name(step) return step.entry .. " " .. step.phase end

-- nil, or in what two steps differ.
local function step_difference(was, is)
  if not was then return "did not run then" end
  if not is then return "does not run now" end
  if step_name(was) ~= step_name(is) then return ("%s ran there, now it is %s"):format(step_name(was), step_name(is)) end
  if was.verdict ~= is.verdict then return ("its verdict was %s, now it is %s"):format(was.verdict, is.verdict) end
  local a, b = changes_of(was), changes_of(is)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return ("then %s; now %s"):format(a[i] or "nothing more", b[i] or "nothing more") end
  end
end

-- Fields by name, values joined in their order. Date is the codec's.
local function by_name(fields)
  local map, names = {}, {}
  for _, pair in ipairs(fields or {}) do
    local name = text_of(pair[1]):lower()
    if name ~= "date" then
      if not map[name] then names[#names + 1] = name end
      map[name] = map[name] and map[name] .. ", " .. text_of(pair[2]) or text_of(pair[2])
    end
  end
  return map, names
end

local function add_field_differences(list, what, was, is)
  local a, a_names = by_name(was)
  local b, b_names = by_name(is)
  for _, name in ipairs(a_names) do
    if a[name] ~= b[name] then list[#list + 1] = ("%s %s: %s -> %s"):format(what, name, a[name], show(b[name])) end
  end
  for _, name in ipairs(b_names) do
    if not a[name] then list[#list + 1] = ("%s %s: (absent) -> %s"):format(what, name, b[name]) end
  end
end

local function add(list, what, was, is)
  was, is = value(was), value(is)
  if was ~= is then list[#list + 1] = ("%s: %s -> %s"):format(what, show(was), show(is)) end
end

-- Two outcomes of one kind: { route, upstream, status, fields, body, sent = fields that went up }.
local function differences(was, is)
  local list = {}
  add(list, "route", was.route, is.route)
  add(list, "upstream", was.upstream, is.upstream)
  add(list, "upstream request", was.line, is.line)
  if was.sent and is.sent then add_field_differences(list, "upstream request header", was.sent, is.sent) end
  add(list, "status", was.status, is.status)
  add_field_differences(list, "header", was.fields, is.fields)
  if was.body ~= is.body then list[#list + 1] = ("body: %d bytes -> %d bytes, or others"):format(#(was.body or ""), #(is.body or "")) end
  return list
end

local function recorded_outcome(doc)
  local sent, answer = doc.sent, doc.answer or {}
  return {
    route = doc.route, upstream = sent and text_of(sent.upstream) or nil, line = sent and sent.method .. " " .. text_of(sent.target) or nil,
    sent = sent and sent.headers, status = answer.status, fields = answer.headers or {},
    body = not answer.body_cut and text_of(answer.body) or nil,
  }
end

local function simulated_outcome(r)
  local seen = r.request
  return {
    route = r.route, upstream = seen and seen.upstream or nil,
    line = seen and seen.method .. " " .. seen.path .. (seen.query and "?" .. seen.query or "") or nil, sent = seen and seen.fields,
    status = r.status, fields = r.fields or {}, body = r.body or "",
  }
end

-- ---- replay -------------------------------------------------------------------------------------------

local function print_step(step)
  local time = ("%6.1f ms"):format((step.at_us or 0) / 1000)
  local extra = {}
  if step.mode == "observe" or step.observed then extra[#extra + 1] = "observed" end
  if (step.waited_us or 0) > 0 then extra[#extra + 1] = ("waited %.1f ms"):format(step.waited_us / 1000) end
  say(("  %s  %-24s %-16s %s%s"):format(time, step.entry, step.phase, step.verdict, #extra > 0 and "  (" .. table.concat(extra, ", ") .. ")" or ""))
  for _, line in ipairs(changes_of(step)) do say("               " .. line) end
  if step.error then say("               error: " .. show(step.error)) end
end

local function complain(text) say(paint("red", "  differs: ") .. text) end

-- Prints each step up to the first that differs. true: all is as it was.
local function replay_one(gateway, doc, anywhere)
  local r, missed, unused = run(gateway, doc, anywhere)
  local then_steps = doc.trace and doc.trace.steps or {}
  say(("%s %s %s"):format(doc.place, doc.request.method, text_of(doc.request.target)))
  for i = 1, math.max(#then_steps, #r.steps) do
    local difference = step_difference(then_steps[i], r.steps[i])
    if r.steps[i] then print_step(r.steps[i]) end
    if difference then
      complain(step_name(r.steps[i] or then_steps[i]) .. ": " .. difference)
      for _, question in ipairs(missed) do say("  asked, and not recorded: " .. question) end
      return false
    end
  end
  local was, is = recorded_outcome(doc), simulated_outcome(r)
  if not was.body then is.body = nil end
  if not doc.sent then is.line, is.sent, is.upstream = nil, nil, nil end
  local list = differences(was, is)
  for _, line in ipairs(list) do complain(line) end
  for _, question in ipairs(missed) do complain("asked, and not recorded: " .. question) end
  for _, question in ipairs(unused) do complain("recorded, and not asked any more: " .. question) end
  if #list + #missed + #unused > 0 then return false end
  say(("  %s -> %s %s"):format(paint("green", "the same"), tostring(r.status), r.source == 1 and "from the upstream" or ""))
  return true
end

local function replay_all(config, path)
  local gateway = native.gateway(config)
  local failed, list = 0, documents(path)
  for _, doc in ipairs(list) do
    if not replay_one(gateway, doc, not listener_is_there(gateway, doc)) then failed = failed + 1 end
  end
  say(("%d replayed, %d differ"):format(#list, failed))
  native.gateway_close(gateway)
  return failed
end

-- ---- diff ---------------------------------------------------------------------------------------------

local function diff(old_config, new_config, path)
  local list, changed = documents(path), 0
  local old = native.gateway(old_config)
  local new = native.gateway(new_config)
  for _, doc in ipairs(list) do
    local before = run(old, doc, not listener_is_there(old, doc))
    local after = run(new, doc, not listener_is_there(new, doc))
    local lines = differences(simulated_outcome(before), simulated_outcome(after))
    if #lines > 0 then
      changed = changed + 1
      say(("%s %s %s"):format(doc.place, doc.request.method, text_of(doc.request.target)))
      for _, line in ipairs(lines) do say("  " .. line) end
    end
  end
  say(("%d of %d requests would be served otherwise"):format(changed, #list))
  native.gateway_close(old)
  native.gateway_close(new)
  return changed
end

-- replay.main("replay", config, recording) or replay.main("diff", old, new, recording): how many exchanges differ.
function replay.main(what, ...)
  native = test.natives()
  if what == "diff" then return diff(...) end
  return replay_all(...)
end

return replay
