-- graphql-limits.lua - GraphQL queries that would cost too much are refused before they reach the service.
--
-- Counts, with a lexer over the query's text, how deep selections nest, how many fields are selected, and aliases of the root
-- operation's kind; fragments count as deep as what they hold at each use. Introspection may be forbidden. Answers are 400 in
-- GraphQL's own shape of errors. Limits: an upper bound from the text alone, which knows neither schema nor list sizes; queries
-- of up to `limit` bytes; persisted queries without text pass, unless `require_query`.

local mg = require "moongate"

local plugin = { name = "graphql-limits", version = "1.0", doc = "Limits depth and size of GraphQL queries." }

plugin.fields = {
  depth = { type = "integer", preset = 8, min = 1, doc = "How deep selections may nest." },
  selections = { type = "integer", preset = 200, min = 1, doc = "How many fields a query may select." },
  introspection = { type = "boolean", preset = false, doc = "Whether __schema and __type may be asked." },
  require_query = { type = "boolean", preset = false, doc = "Refuse requests without a query's text." },
  limit = { type = "size", preset = "64k", doc = "The largest request." },
}

local token = mg.re.compile([["""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n\r]*|\.\.\.|[_A-Za-z]\w*|[{}()\[\]:]|\S]], "s")

-- A list of the tokens that matter; nil when a string does not end.
local function lex(text)
  local list, at = {}, 1
  while true do
    local from, to = token:find(text, at)
    if not from then return list end
    local word = text:sub(from, to)
    if word == '"' then return nil end
    if word:sub(1, 1) ~= "#" and word:sub(1, 1) ~= '"' then list[#list + 1] = word end
    at = to + 1
  end
end

-- Reads one selection set that begins at `at` ("{"): { fields, depth, spreads = { { name, depth } } } and what follows; nil: malformed.
local function selection_set(list, at, found)
  local depth, parens, i = 0, 0, at
  while list[i] do
    local word = list[i]
    if word == "(" or word == "[" then parens = parens + 1
    elseif word == ")" or word == "]" then parens = parens - 1
    elseif parens == 0 and word == "{" then
      depth = depth + 1
      if depth > found.depth then found.depth = depth end
    elseif parens == 0 and word == "}" then
      depth = depth - 1
      if depth == 0 then return i + 1 end
    elseif parens == 0 and word == "..." then
      if list[i + 1] == "on" then i = i + 2
      elseif (list[i + 1] or ""):find "^[_%a]" then
        found.spreads[#found.spreads + 1] = { list[i + 1], depth }
        i = i + 1
      end
    elseif parens == 0 and word == "@" then i = i + 1 -- a directive's name is no field
    elseif parens == 0 and word:find "^[_%a]" and list[i + 1] ~= ":" then
      found.fields = found.fields + 1
      if word == "__schema" or word == "__type" then found.introspects = true end
    end
    if parens < 0 then return nil end
    i = i + 1
  end
  return nil
end

-- All operations, and fragments by name.
local function parse(text)
  local list = lex(text)
  if not list then return nil end
  local operations, fragments, i = {}, {}, 1
  while list[i] do
    local name = list[i] == "fragment" and list[i + 1]
    local parens = 0
    while list[i] and not (list[i] == "{" and parens == 0) do
      if list[i] == "(" then parens = parens + 1 elseif list[i] == ")" then parens = parens - 1 end
      i = i + 1
    end
    if not list[i] then return nil end
    local found = { fields = 0, depth = 0, spreads = {} }
    i = selection_set(list, i, found)
    if not i then return nil end
    if name then fragments[name] = found else operations[#operations + 1] = found end
  end
  return operations, fragments
end

-- What a set costs with its fragments; nil when they are circular or there is no such one. Each fragment is costed once.
local function cost(found, fragments, path)
  if found.total then return found.total, found.deepest end
  if path[found] then return nil, "fragments are circular" end
  path[found] = true
  local total, deepest = found.fields, found.depth
  for _, spread in ipairs(found.spreads) do
    local fragment = fragments[spread[1]]
    if not fragment then return nil, "there is no fragment " .. spread[1] end
    local more, below = cost(fragment, fragments, path)
    if not more then return nil, below end
    total, deepest = total + more, math.max(deepest, spread[2] + below - 1)
  end
  path[found] = nil
  found.total, found.deepest = total, deepest
  return total, deepest
end

local function mistake(query, conf)
  local operations, fragments = parse(query)
  if not operations or #operations == 0 then return "The query is malformed." end
  local all = 0
  for _, found in ipairs(operations) do
    local total, deepest = cost(found, fragments, {})
    if not total then return "The query is malformed: " .. deepest .. "." end
    all = all + total
    if deepest > conf.depth then return ("The query is %d deep; at most %d are allowed."):format(deepest, conf.depth) end
  end
  if all > conf.selections then return ("The query selects %d fields; at most %d are allowed."):format(all, conf.selections) end
  if conf.introspection then return nil end
  for _, found in ipairs(operations) do
    if found.introspects then return "Introspection is not allowed." end
  end
  for _, found in pairs(fragments) do
    if found.introspects then return "Introspection is not allowed." end
  end
end

local function refuse(x, message, code)
  return x:respond(400, { errors = { { message = message, extensions = { code = code } } } })
end

function plugin.on_request(x, conf)
  local queries = {}
  if x.request.method == "GET" then
    queries[1] = x.request.query.query
  else
    local body = x.request:json(conf.limit) -- over the limit: answered 413
    if type(body) ~= "table" then return refuse(x, "JSON with a query is expected.", "BAD_REQUEST") end
    local batch = mg.json.is_array(body) and body or { body }
    if #batch > 10 then return refuse(x, "At most 10 queries go together.", "BAD_REQUEST") end
    for i, one in ipairs(batch) do queries[i] = type(one) == "table" and type(one.query) == "string" and one.query or nil end
    if #queries < #batch and conf.require_query then return refuse(x, "A query is expected.", "BAD_REQUEST") end
  end
  if #queries == 0 and conf.require_query then return refuse(x, "A query is expected.", "BAD_REQUEST") end
  for _, query in pairs(queries) do
    local message = mistake(query, conf)
    if message then return refuse(x, message, "QUERY_REFUSED") end
  end
end

return plugin
