-- test_redis_kinds.lua - hashes, lists, sets and sorted sets of the Redis in memory (test_redis.lua).

-- commands: to be filled; lib: what both files use.
return function(commands, lib)
local of, make, drop_if_empty, sized, integer, text, sorted = lib.of, lib.make, lib.drop_if_empty, lib.sized, lib.integer, lib.text, lib.sorted
local OK, NOT_INTEGER, NOT_FLOAT, SYNTAX = lib.OK, lib.NOT_INTEGER, lib.NOT_FLOAT, lib.SYNTAX

-- ---- hashes ---------------------------------------------------------------------------------------

local function hash(r, key) return of(r, key, "hash") end

function commands.HSET(r, key, ...)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  h = h or make(r, key, "hash", {})
  local given, new = { ... }, 0
  for i = 1, #given, 2 do
    if h[given[i]] == nil then new = new + 1 end
    h[given[i]] = given[i + 1]
  end
  return new
end
function commands.HMSET(...)
  local reply = commands.HSET(...)
  return type(reply) == "number" and OK or reply
end
function commands.HSETNX(r, key, field, value)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  if h and h[field] then return 0 end
  return commands.HSET(r, key, field, value)
end
function commands.HGET(r, key, field)
  local h, wrong = hash(r, key)
  return wrong or h and h[field]
end
function commands.HMGET(r, key, ...)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  local list = { n = select("#", ...) }
  for i, field in ipairs { ... } do list[i] = h and h[field] end
  return list
end
function commands.HGETALL(r, key)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  local list = {}
  for _, field in ipairs(sorted(h or {})) do list[#list + 1], list[#list + 2] = field, h[field] end
  return list
end
function commands.HKEYS(r, key)
  local h, wrong = hash(r, key)
  return wrong or sorted(h or {})
end
function commands.HVALS(r, key)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  local list = {}
  for _, field in ipairs(sorted(h or {})) do list[#list + 1] = h[field] end
  return list
end
function commands.HLEN(r, key)
  local h, wrong = hash(r, key)
  return wrong or sized(h or {})
end
function commands.HEXISTS(r, key, field)
  local h, wrong = hash(r, key)
  return wrong or (h and h[field] and 1 or 0)
end
function commands.HDEL(r, key, ...)
  local h, wrong = hash(r, key)
  if wrong or not h then return wrong or 0 end
  local n = 0
  for _, field in ipairs { ... } do
    if h[field] then n = n + 1 end
    h[field] = nil
  end
  drop_if_empty(r, key, h)
  return n
end
function commands.HINCRBY(r, key, field, by)
  local h, wrong = hash(r, key)
  if wrong then return wrong end
  local n, step = integer(h and h[field] or "0"), integer(by)
  if not n or not step then return NOT_INTEGER end
  commands.HSET(r, key, field, text(n + step))
  return n + step
end

-- ---- lists ----------------------------------------------------------------------------------------

local function list_of(r, key) return of(r, key, "list") end

local function push(r, key, at_head, ...)
  local l, wrong = list_of(r, key)
  if wrong then return wrong end
  l = l or make(r, key, "list", {})
  for _, v in ipairs { ... } do table.insert(l, at_head and 1 or #l + 1, v) end
  return #l
end
function commands.LPUSH(r, key, ...) return push(r, key, true, ...) end
function commands.RPUSH(r, key, ...) return push(r, key, false, ...) end

local function pop(r, key, at_head, count)
  local l, wrong = list_of(r, key)
  if wrong or not l then return wrong end
  if not count then
    local v = table.remove(l, at_head and 1 or #l)
    drop_if_empty(r, key, l)
    return v
  end
  local got = {}
  for i = 1, math.min(integer(count) or 0, #l) do got[i] = table.remove(l, at_head and 1 or #l) end
  drop_if_empty(r, key, l)
  return got
end
function commands.LPOP(r, key, count) return pop(r, key, true, count) end
function commands.RPOP(r, key, count) return pop(r, key, false, count) end
function commands.LLEN(r, key)
  local l, wrong = list_of(r, key)
  return wrong or #(l or {})
end

-- Redis' positions (0 first, -1 last) as ours; the range is cut to what there is.
local function range(n, from, to)
  from, to = integer(from), integer(to)
  if not from or not to then return nil end
  if from < 0 then from = math.max(n + from, 0) end
  if to < 0 then to = n + to end
  return from + 1, math.min(to + 1, n)
end
function commands.LRANGE(r, key, from, to)
  local l, wrong = list_of(r, key)
  if wrong then return wrong end
  local first, last = range(#(l or {}), from, to)
  if not first then return NOT_INTEGER end
  local got = {}
  for i = first, last do got[#got + 1] = l[i] end
  return got
end
function commands.LINDEX(r, key, i)
  local l, wrong = list_of(r, key)
  if wrong or not l then return wrong end
  i = integer(i)
  return i and l[i < 0 and #l + i + 1 or i + 1]
end
function commands.LTRIM(r, key, from, to)
  local kept = commands.LRANGE(r, key, from, to)
  if kept.err then return kept end
  local _, _, e = list_of(r, key)
  if e then
    e.value = kept
    drop_if_empty(r, key, kept)
  end
  return OK
end
function commands.LREM(r, key, count, value)
  local l, wrong = list_of(r, key)
  if wrong or not l then return wrong or 0 end
  count = integer(count)
  local left, n, i, step = math.abs(count), 0, count < 0 and #l or 1, count < 0 and -1 or 1
  while l[i] and (count == 0 or n < left) do
    if l[i] == value then
      table.remove(l, i)
      n = n + 1
      if step < 0 then i = i - 1 end
    else
      i = i + step
    end
  end
  drop_if_empty(r, key, l)
  return n
end

-- ---- sets -----------------------------------------------------------------------------------------

local function set_of(r, key) return of(r, key, "set") end

function commands.SADD(r, key, ...)
  local s, wrong = set_of(r, key)
  if wrong then return wrong end
  s = s or make(r, key, "set", {})
  local n = 0
  for _, member in ipairs { ... } do
    if not s[member] then n = n + 1 end
    s[member] = true
  end
  return n
end
function commands.SREM(r, key, ...)
  local s, wrong = set_of(r, key)
  if wrong or not s then return wrong or 0 end
  local n = 0
  for _, member in ipairs { ... } do
    if s[member] then n = n + 1 end
    s[member] = nil
  end
  drop_if_empty(r, key, s)
  return n
end
function commands.SISMEMBER(r, key, member)
  local s, wrong = set_of(r, key)
  return wrong or (s and s[member] and 1 or 0)
end
function commands.SMEMBERS(r, key)
  local s, wrong = set_of(r, key)
  return wrong or sorted(s or {})
end
function commands.SCARD(r, key)
  local s, wrong = set_of(r, key)
  return wrong or sized(s or {})
end
function commands.SPOP(r, key)
  local s, wrong = set_of(r, key)
  if wrong or not s then return wrong end
  local member = sorted(s)[1]
  s[member] = nil
  drop_if_empty(r, key, s)
  return member
end

-- ---- sorted sets ----------------------------------------------------------------------------------

local function zset(r, key) return of(r, key, "zset") end

local function ranked(z)
  local list = sorted(z or {})
  table.sort(list, function(a, b)
    if z[a] ~= z[b] then return z[a] < z[b] end
    return a < b
  end)
  return list
end

function commands.ZADD(r, key, ...)
  local z, wrong = zset(r, key)
  if wrong then return wrong end
  local given, i, flags, n, last = { ... }, 1, {}, 0, nil
  while given[i] and not tonumber(given[i]) do
    flags[given[i]:upper()] = true
    i = i + 1
  end
  if (#given - i) % 2 == 0 or i > #given then return SYNTAX end
  z = z or make(r, key, "zset", {})
  for at = i, #given, 2 do
    local score, member = tonumber(given[at]), given[at + 1]
    local before = z[member]
    if not score then return NOT_FLOAT end
    if flags.INCR then score = score + (before or 0) end
    local kept = flags.NX and before or flags.XX and not before or flags.GT and before and score <= before or
      flags.LT and before and score >= before
    if not kept then
      z[member] = score
      if not before or flags.CH and before ~= score then n = n + 1 end
    end
    last = z[member]
  end
  drop_if_empty(r, key, z)
  if flags.INCR then return last and text(last) end
  return n
end
function commands.ZINCRBY(r, key, by, member) return commands.ZADD(r, key, "INCR", by, member) end
function commands.ZSCORE(r, key, member)
  local z, wrong = zset(r, key)
  return wrong or z and z[member] and text(z[member])
end
function commands.ZCARD(r, key)
  local z, wrong = zset(r, key)
  return wrong or sized(z or {})
end
function commands.ZREM(r, key, ...)
  local z, wrong = zset(r, key)
  if wrong or not z then return wrong or 0 end
  local n = 0
  for _, member in ipairs { ... } do
    if z[member] then n = n + 1 end
    z[member] = nil
  end
  drop_if_empty(r, key, z)
  return n
end
function commands.ZRANK(r, key, member)
  local z, wrong = zset(r, key)
  if wrong or not z then return wrong end
  for i, m in ipairs(ranked(z)) do
    if m == member then return i - 1 end
  end
end

local function with_scores(z, members, wanted)
  if not wanted then return members end
  local list = {}
  for _, m in ipairs(members) do list[#list + 1], list[#list + 2] = m, text(z[m]) end
  return list
end

-- "5", "(5", "-inf", "+inf"
local function bound(s)
  local open = s:sub(1, 1) == "("
  local word = open and s:sub(2) or s
  if word == "-inf" then return -math.huge, open end
  if word == "+inf" or word == "inf" then return math.huge, open end
  return tonumber(word), open
end
local function between(z, low, high)
  local from, from_open = bound(low)
  local to, to_open = bound(high)
  if not from or not to then return nil, { err = "ERR min or max is not a float" } end
  local list = {}
  for _, m in ipairs(ranked(z)) do
    local s = z[m]
    if (s > from or s == from and not from_open) and (s < to or s == to and not to_open) then list[#list + 1] = m end
  end
  return list
end
local function reversed(list)
  local back = {}
  for i = #list, 1, -1 do back[#back + 1] = list[i] end
  return back
end
local function limited(list, offset, count)
  local cut = {}
  count = count < 0 and #list or count
  for i = offset + 1, math.min(offset + count, #list) do cut[#cut + 1] = list[i] end
  return cut
end
local function flags_of(...)
  local given, f = { ... }, {}
  for i = 1, #given do
    local word = given[i]:upper()
    f[word] = true
    if word == "LIMIT" then f.offset, f.count = integer(given[i + 1]), integer(given[i + 2]) end
  end
  return f
end

function commands.ZRANGE(r, key, from, to, ...)
  local z, wrong = zset(r, key)
  if wrong then return wrong end
  local f, members = flags_of(...), nil
  if f.BYLEX then error("test.redis: ZRANGE BYLEX is not simulated", 0) end
  if f.BYSCORE then
    local err
    if f.REV then from, to = to, from end
    members, err = between(z, from, to)
    if err then return err end
    if f.REV then members = reversed(members) end
    if f.LIMIT then members = limited(members, f.offset, f.count) end
  else
    local all = ranked(z)
    if f.REV then all = reversed(all) end
    local first, last = range(#all, from, to)
    if not first then return NOT_INTEGER end
    members = {}
    for i = first, last do members[#members + 1] = all[i] end
  end
  return with_scores(z, members, f.WITHSCORES)
end
function commands.ZREVRANGE(r, key, from, to, ...) return commands.ZRANGE(r, key, from, to, "REV", ...) end
function commands.ZRANGEBYSCORE(r, key, low, high, ...) return commands.ZRANGE(r, key, low, high, "BYSCORE", ...) end
function commands.ZREVRANGEBYSCORE(r, key, high, low, ...) return commands.ZRANGE(r, key, high, low, "BYSCORE", "REV", ...) end
function commands.ZCOUNT(r, key, low, high)
  local z, wrong = zset(r, key)
  if wrong then return wrong end
  local members, err = between(z, low, high)
  return err or #members
end
local function remove_all(r, key, z, members)
  for _, m in ipairs(members) do z[m] = nil end
  if z then drop_if_empty(r, key, z) end
  return #members
end
function commands.ZREMRANGEBYSCORE(r, key, low, high)
  local z, wrong = zset(r, key)
  if wrong then return wrong end
  local members, err = between(z, low, high)
  return err or remove_all(r, key, z, members)
end
function commands.ZREMRANGEBYRANK(r, key, from, to)
  local z, wrong = zset(r, key)
  if wrong then return wrong end
  return remove_all(r, key, z, commands.ZRANGE(r, key, from, to))
end

end
