-- replay.lua - recorded exchanges run again, for `moongate replay` and `moongate diff`.
--
-- A recording (docs/record.md) has every byte that came in and every answer that the chain got from outside, so a
-- simulated exchange over the same config does the same again, and over another config shows what would be otherwise.

local json = require "moongate.json"
local crypto = require "moongate.crypto"
local recording = require "moongate.recording"
local test = require "moongate.test"

local replay = {}
local native, options
local ipairs, pairs, tostring, type = ipairs, pairs, tostring, type
local text_of, fields_of, pieces_of = recording.text, recording.fields, recording.pieces

local function say(text) native.say(text) end
local function paint(colour, text) return native.colour(colour) .. text .. native.colour "plain" end
local function warn(text) say(paint("yellow", "note: ") .. text) end

-- ---- running ------------------------------------------------------------------------------------------

local NEVER_MS = 2 ^ 31
local upstream_failures = {}
for word in ([[connect_refused connect_timeout resolve_failed upstream_busy tls_failed no_descriptors connect_failed bad_response
  response_head_too_large timeout reset]]):gmatch("%S+") do upstream_failures[word] = true end

local function lookup(fields, name)
  for _, pair in ipairs(fields) do
    if pair[1]:lower() == name then return pair[2] end
  end
end

local function ms(us) return math.max(0, math.floor((us or 0) / 1000)) end

-- What the upstream said then, and when; nothing, when nobody stayed to hear it.
local function upstream_of(doc)
  local failure = upstream_failures[doc.failure] and doc.failure or nil
  return function()
    local r, sent_us = doc.received, doc.sent and doc.sent.at or 0
    if not r and not failure and doc.sent then return { status = 200, fields = {}, pieces = {}, after_ms = NEVER_MS } end
    if not r then return { status = 502, fields = {}, pieces = {}, fails = failure or "reset", after_ms = failure ~= "timeout" and ms((doc.took_us or 0) - sent_us) or nil } end
    return {
      status = r.status, fields = fields_of(r.headers), pieces = pieces_of(r, r.at, r.broke_off and not failure),
      trailer_fields = r.trailers and fields_of(r.trailers), fails = r.broke_off and failure, partial = true,
      after_ms = r.at and ms(r.at - sent_us), stream = not lookup(fields_of(r.headers), "content-length"),
    }
  end
end

local function tape_of(doc)
  local tape = {}
  for _, a in ipairs(doc.asked or {}) do
    tape[#tape + 1] = { service = a.service, question = text_of(a.question), answer = text_of(a.answer), status = a.status or 0,
                        after_ms = ms(a.took), never = a.status == nil }
  end
  return tape
end

-- Of a client that was gone before anybody asked there is none.
local function address_of(client)
  for _, name in ipairs { "peer", "ip" } do
    if client[name] and client[name] ~= "" then return text_of(client[name]) end
  end
  return "127.0.0.1"
end

local function spec_of(doc, anywhere)
  local request, client = doc.request, doc.client
  local fields = fields_of(request.headers)
  local authority = lookup(fields, "host") or "localhost"
  local name, port = authority:match("^(.-):(%d+)$")
  local secure = request.scheme == "https"
  local names = {}
  for i, v in ipairs(doc.secret or {}) do names[i] = text_of(v) end
  return {
    id = text_of(doc.id), trace = 1, method = text_of(request.method), target = text_of(request.target), fields = fields,
    pieces = pieces_of(request, 0, request.broke_off), chunked = lookup(fields, "transfer-encoding") and 1 or 0,
    version = request.version, authority = authority, host = (name or authority):lower(), authority_port = tonumber(port),
    port = tonumber(port) or (secure and 443 or 80), https = secure and 1 or 0, client = address_of(client),
    client_port = client.port, tls = client.tls, cipher = client.cipher, sni = client.sni,
    trailer_fields = request.trailers and fields_of(request.trailers), upstream = upstream_of(doc),
    leaves_after_ms = doc.failure == "client_left" and (doc.took_us or 0) / 1000 or nil,
    listener = not anywhere and doc.listener or nil, secret = names,
  }
end

-- Time goes on between two exchanges as it did, a day at most; it does not go back.
local began_us
local function set_clock(doc)
  local passed = began_us and ms(doc.began_us - began_us) or 0
  native.tape(nil)
  if passed > 0 then native.advance(math.min(passed, 86400000)) end
  began_us = doc.began_us
  native.set_wall_ms(doc.began_us / 1000)
end

-- Run it over a gateway: the simulated result, what it asked that nobody recorded, and what nobody asked for.
local function run(gateway, doc)
  set_clock(doc)
  native.lines()
  native.written()
  native.tape(tape_of(doc))
  local ok, r = pcall(native.simulate, spec_of(doc, not gateway.listeners[doc.listener or ""]), gateway.native)
  local missed, unused = native.tape(nil)
  if not ok then error(doc.place .. ": " .. tostring(r), 0) end
  r.steps = r.trace and (json.decode(r.trace) or {}).steps or {}
  return r, missed, unused
end

local function open(config)
  native.forget()
  began_us = nil
  local made = native.gateway(config)
  local listeners = {}
  for _, name in ipairs(native.listeners(made)) do listeners[name] = true end
  return { native = made, listeners = listeners }
end

-- Questions of these are answered by this process when nobody recorded an answer, as they would be in a gateway that begins.
local own = {}
for word in ("now monotonic random random_bytes bucket window counter shared cache store"):gmatch("%S+") do own[word] = true end

-- The texts of questions to others.
local function of_others(questions)
  local list = {}
  for _, q in ipairs(questions) do
    if not own[q:match("^[^%s.]+")] then list[#list + 1] = (q:gsub("[%c]+", " ")) end
  end
  return list
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
    lines[#lines + 1] = ("%s%s: %s -> %s%s"):format(show(c.what), c.name and " " .. show(c.name) or "", show(c.was), show(c.is),
      c.bytes and c.bytes ~= 0 and (" (%d bytes)"):format(c.bytes) or "")
  end
  return lines
end

local function step_name(step) return show(step.entry) .. " " .. show(step.phase) end

-- Where a trace cut a value, a masked one may be whole: the fields themselves are compared later.
local function without_lengths(line) return line and (line:gsub("… %(%d+ bytes%)", "")) end

-- nil, or in what two steps differ.
local function step_difference(was, is)
  if not was then return "did not run then" end
  if not is then return "does not run now" end
  if step_name(was) ~= step_name(is) then return ("%s ran there, now it is %s"):format(step_name(was), step_name(is)) end
  if was.verdict ~= is.verdict then return ("its verdict was %s, now it is %s"):format(show(was.verdict), show(is.verdict)) end
  local a, b = changes_of(was), changes_of(is)
  for i = 1, math.max(#a, #b) do
    if without_lengths(a[i]) ~= without_lengths(b[i]) then return ("then %s; now %s"):format(a[i] or "nothing more", b[i] or "nothing more") end
  end
end

-- Fields by name, values joined in their order. Date is the codec's; so are those of `without`.
local function by_name(fields, without)
  local map, names = {}, {}
  for _, pair in ipairs(fields or {}) do
    local name = text_of(pair[1]):lower()
    if name ~= "date" and not without[name] then
      if not map[name] then names[#names + 1] = name end
      map[name] = map[name] and map[name] .. ", " .. text_of(pair[2]) or text_of(pair[2])
    end
  end
  return map, names
end

local function add_field_differences(list, what, was, is, without)
  local a, a_names = by_name(was, without)
  local b, b_names = by_name(is, without)
  for _, name in ipairs(a_names) do
    if a[name] ~= b[name] then list[#list + 1] = { what = what .. " " .. name, was = a[name], is = b[name] } end
  end
  for _, name in ipairs(b_names) do
    if not a[name] then list[#list + 1] = { what = what .. " " .. name, is = b[name] } end
  end
end

local function add(list, what, was, is)
  was, is = value(was), value(is)
  if was ~= is then list[#list + 1] = { what = what, was = was, is = is } end
end

local function body_text(bytes, digest) return bytes and ("%d bytes, sha256 %s"):format(bytes, digest) end

-- Two outcomes of one kind: { route, upstream, line, sent = fields that went up, status, fields, trailers, bytes, digest, failure }.
local function differences(was, is, without)
  local list = {}
  add(list, "route", was.route, is.route)
  add(list, "upstream", was.upstream, is.upstream)
  add(list, "upstream request", was.line, is.line)
  if was.sent and is.sent then add_field_differences(list, "upstream request header", was.sent, is.sent, without) end
  add(list, "status", was.status, is.status)
  add_field_differences(list, "header", was.fields, is.fields, without)
  add_field_differences(list, "trailer", was.trailers, is.trailers, without)
  add(list, "body", body_text(was.bytes, was.digest), body_text(is.bytes, is.digest))
  add(list, "failure", was.failure, is.failure)
  return list
end

local function difference_text(d) return ("%s: %s -> %s"):format(d.what, show(d.was), show(d.is)) end

-- A masked body has not the length that its fields say.
local nothing, lengths = {}, { ["content-length"] = true }
local function is_masked(doc)
  return doc.request.body_masked or (doc.received or nothing).body_masked or (doc.answer or nothing).body_masked
end

local function digest_of(body) return crypto.hex(crypto.digest("sha256", body)):sub(1, 16) end

local function recorded_outcome(doc)
  local sent, answer = doc.sent, doc.answer or nothing
  local body = answer.status and not answer.body_cut and text_of(answer.body) or nil
  return {
    route = doc.route and text_of(doc.route), upstream = sent and text_of(sent.upstream) or nil,
    line = sent and text_of(sent.method) .. " " .. text_of(sent.target) or nil,
    sent = sent and sent.headers, status = answer.status, fields = answer.headers or {}, trailers = answer.trailers or {},
    bytes = body and #body, digest = body and digest_of(body), failure = doc.failure,
  }
end

local function simulated_outcome(r)
  local seen, body = r.request, r.status and (r.body or "") or nil
  return {
    route = r.route, upstream = seen and seen.upstream or nil,
    line = seen and seen.method .. " " .. seen.path .. (seen.query and "?" .. seen.query or "") or nil, sent = seen and seen.fields,
    status = r.status, fields = r.fields or {}, trailers = r.trailer_fields or {}, bytes = body and #body,
    digest = body and digest_of(body), failure = r.failure,
  }
end

-- What cannot be compared is left out of both.
local function comparable(doc, was, is)
  if not was.bytes or doc.failure == "client_left" or (doc.received or nothing).body_cut then was.bytes, is.bytes = nil, nil end
  if not doc.sent and not doc.received and was.failure and upstream_failures[was.failure] then is.line, is.sent, is.upstream = nil, nil, nil end
end

-- ---- replay -------------------------------------------------------------------------------------------

local function title(doc) return ("%s %s %s"):format(doc.place, text_of(doc.request.method), text_of(doc.request.target)) end

local function print_step(step)
  local time = ("%6.1f ms"):format((tonumber(step.at_us) or 0) / 1000)
  local extra = {}
  if step.mode == "observe" or step.observed then extra[#extra + 1] = "observed" end
  if (tonumber(step.waited_us) or 0) > 0 then extra[#extra + 1] = ("waited %.1f ms"):format(step.waited_us / 1000) end
  say(("  %s  %-24s %-16s %s%s"):format(time, show(step.entry), show(step.phase), show(step.verdict),
    #extra > 0 and "  (" .. table.concat(extra, ", ") .. ")" or ""))
  for _, line in ipairs(changes_of(step)) do say("               " .. line) end
  if step.error then say("               error: " .. show(step.error)) end
end

-- The place of the first step that differs, and how; nil: none does. Of a trace that was cut there is no more than it has.
local function first_step(was, is, cut)
  local n = math.max(#was, #is)
  if cut then n = math.min(#was, n) end
  for i = 1, n do
    local difference = step_difference(was[i], is[i])
    if difference then return i, difference end
  end
end

local function questions_of(missed, unused)
  local list = {}
  for _, q in ipairs(of_others(missed)) do list[#list + 1] = "asked, and not recorded: " .. q end
  for _, q in ipairs(of_others(unused)) do list[#list + 1] = "recorded, and not asked any more: " .. q end
  return list
end

local function print_replay(doc, r, stop, why, list, questions)
  say(title(doc))
  for i, step in ipairs(r.steps) do
    if stop and i > stop then break end
    print_step(step)
  end
  local complain = paint("red", "  differs: ")
  if stop then
    say(complain .. step_name(r.steps[stop] or doc.trace.steps[stop]) .. ": " .. why)
  else
    for _, d in ipairs(list) do say(complain .. difference_text(d)) end
  end
  for _, q in ipairs(questions) do say("  " .. q) end
  if not stop and #list + #questions == 0 then
    say(("  %s -> %s%s"):format(paint("green", "the same"), r.status and tostring(r.status) or "nothing", r.source == 1 and " from the upstream" or ""))
  end
end

-- Prints each step up to the first that differs. true: all is as it was.
local function replay_one(gateway, doc)
  local r, missed, unused = run(gateway, doc)
  local stop, why = first_step(doc.trace and doc.trace.steps or {}, r.steps, doc.cut or doc.failure == "client_left")
  local was, is = recorded_outcome(doc), simulated_outcome(r)
  comparable(doc, was, is)
  local list = differences(was, is, is_masked(doc) and lengths or nothing)
  local questions = questions_of(missed, unused)
  local same = not stop and #list + #questions == 0
  if options.json then
    say(json.encode { place = doc.place, same = same, status = r.status, step = stop and step_name(r.steps[stop] or doc.trace.steps[stop]),
                      why = why, differences = json.array(list), questions = json.array(questions) })
  elseif not (options.quiet and same) then
    print_replay(doc, r, stop, why, list, questions)
    if doc.cut then warn "not all of it was recorded (\"cut\")" end
  end
  return same
end

local function replay_all(config, path)
  local gateway = open(config)
  local n, failed = 0, 0
  for doc in recording.each(native, path, warn) do
    n = n + 1
    if not replay_one(gateway, doc) then failed = failed + 1 end
  end
  native.gateway_close(gateway.native)
  if not options.json then say(("%d replayed, %d differ"):format(n, failed)) end
  return failed
end

-- ---- diff ---------------------------------------------------------------------------------------------

-- Outcomes of the old config stand in a temporary file while the new one runs: the two never live at the same time, and there may be many. An outcome is
-- texts, bytes of any kind, each after its length.
local function put_text(out, v)
  if v == nil then out[#out + 1] = "-\n" return end
  v = tostring(v)
  out[#out + 1] = #v .. "\n" .. v
end

local texts = { "route", "upstream", "line", "status", "bytes", "digest", "failure" }
local field_lists = { "sent", "fields", "trailers" }

local function keep(o)
  local out = {}
  for _, name in ipairs(texts) do put_text(out, o[name]) end
  for _, name in ipairs(field_lists) do
    put_text(out, o[name] and #o[name])
    for _, pair in ipairs(o[name] or {}) do
      put_text(out, pair[1])
      put_text(out, pair[2])
    end
  end
  native.spool(table.concat(out))
end

local function kept()
  local o, all, at = {}, native.spooled(), 1
  local function get_text()
    local n, from = all:match("^([%d-]+)\n()", at)
    n, at = tonumber(n), from
    if not n then return nil end
    at = from + n
    return all:sub(from, at - 1)
  end
  for _, name in ipairs(texts) do o[name] = get_text() end
  o.status, o.bytes = tonumber(o.status), tonumber(o.bytes)
  for _, name in ipairs(field_lists) do
    local n = tonumber(get_text())
    o[name] = n and {} or nil
    for i = 1, n or 0 do
      local field = get_text()
      o[name][i] = { field, get_text() }
    end
  end
  return o
end

local function print_diff(doc, list, questions)
  if options.json then
    say(json.encode { place = doc.place, method = text_of(doc.request.method), target = text_of(doc.request.target),
                      differences = json.array(list), questions = json.array(questions) })
    return
  end
  if #list + #questions == 0 then return end
  say(title(doc))
  for _, d in ipairs(list) do say("  " .. difference_text(d)) end
  for _, q in ipairs(questions) do say("  " .. paint("yellow", "asks ") .. q .. ": not recorded") end
end

-- Those that were not told before, of this config's own.
local function new_questions(missed, before, told)
  local list = {}
  for _, q in ipairs(of_others(missed)) do
    if not before[q] and not told[q] then
      told[q] = true
      list[#list + 1] = q
    end
  end
  return list
end

local function diff(old_config, new_config, path)
  local gateway, before, told, n, changed = open(old_config), {}, {}, 0, 0
  for doc in recording.each(native, path, warn) do
    local r, missed = run(gateway, doc)
    for _, q in ipairs(of_others(missed)) do before[q] = true end
    keep(simulated_outcome(r))
  end
  native.gateway_close(gateway.native)
  gateway = open(new_config)
  for doc in recording.each(native, path, function() end) do
    local r, missed = run(gateway, doc)
    local list = differences(kept(), simulated_outcome(r), nothing)
    n = n + 1
    if #list > 0 then changed = changed + 1 end
    if not options.quiet then print_diff(doc, list, new_questions(missed, before, told)) end
  end
  native.gateway_close(gateway.native)
  if not options.json then say(("%d of %d requests would be served otherwise"):format(changed, n)) end
  return changed
end

-- replay.main("replay", flags, config, recording) or replay.main("diff", flags, old, new, recording): how many exchanges differ. flags: "json", "quiet"
-- or both, apart by a comma.
function replay.main(what, flags, ...)
  native = test.natives()
  options = { json = flags:find("json", 1, true), quiet = flags:find("quiet", 1, true) }
  if what == "diff" then return diff(...) end
  return replay_all(...)
end

return replay
