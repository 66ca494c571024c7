-- Schemas of Kong plugins: defaults, and mistakes that are told with their place.
local test = require "moongate.test"
local json = require "moongate.json"
local describe, it, expect = test.describe, test.it, test.expect

local function conf(given)
  local r = test.exchange { plugins = { { "kong:schema-probe", config = given } } }
  expect(r.status).equals(200)
  return json.decode(r.body)
end

local function mistake(given, name)
  local ok, err = pcall(test.exchange, { plugins = { { "kong:" .. (name or "schema-probe"), config = given } } })
  expect(ok).equals(false)
  return tostring(err)
end

local function with(field, v) return { need = "n", [field] = v } end

describe("a Kong schema", function()
  it("fills defaults, those of records that were not given too", function()
    expect(conf { need = "n" }).equals { need = "n", word = "a", count = 3, list = { "x", "y,z" }, inner = { port = 6379 }, empty = {} }
  end)
  it("takes what was given, and shorthands", function()
    local c = conf { need = "n", word = "a", inner = { host = "h.test", port = 1 }, map = { ["x-a"] = "1" }, numbers = { 1, 2 } }
    expect(c.inner).equals { host = "h.test", port = 1 }
    expect(c.map).equals { ["x-a"] = "1" }
    expect(conf({ need = "n", port = 99 }).inner.port).equals(99)
  end)
  it("has types, required fields, words and ranges checked by the config itself", function()
    expect(mistake {}).contains("need")
    expect(mistake(nil)).contains("config")
    expect(mistake(with("word", "c"))).contains('"a"')
    expect(mistake(with("count", 11))).contains("config.count")
    expect(mistake(with("count", "x"))).contains("config.count")
    expect(mistake(with("wrod", "a"))).contains('did you mean "word"')
    expect(mistake(with("inner", { prot = 1 }))).contains('did you mean "port"')
  end)
  it("has the rest checked here, with the field's path", function()
    expect(mistake(with("ratio", 0))).contains("config.ratio: more than 0")
    expect(mistake(with("long", "ab"))).contains("config.long: a length of at least 3")
    expect(mistake(with("long", "abcdef"))).contains("at most 5")
    expect(mistake(with("shape", "ABC"))).contains("config.shape")
    expect(mistake(with("shape", "sobad"))).contains("not of the form bad")
    expect(mistake(with("start", "x"))).contains("config.start")
    expect(mistake(with("list", { "ok", "not ok" }))).contains("config.list[2]: no spaces")
    expect(mistake(with("numbers", { 1, 1 }))).contains("each value once")
    expect(mistake(with("numbers", { 1, 2, 3, 4 }))).contains("config.numbers")
    expect(mistake(with("map", { ["bad name"] = "1" }))).contains("bad header name")
    expect(mistake(with("inner", { port = 70000 }))).contains("config.inner.port")
    expect(mistake(with("inner", { host = "no host" }))).contains("config.inner.host")
    expect(mistake(with("method", "get"))).contains("config.method")
    expect(mistake(with("url", "nope"))).contains("config.url")
    expect(mistake(with("address", "1.2.3.4/99"))).contains("config.address")
    expect(mistake(with("odd", 2))).contains("config.odd: must be odd")
    expect(mistake { need = "" }).contains("config.need")
  end)
  it("holds fields against each other", function()
    expect(mistake { need = "n", one = "1", other = "2" }).contains("at most one of these")
    expect(mistake { need = "n", word = "b" }).contains("config.one: required")
    conf { need = "n", word = "b", one = "1" }
    expect(mistake { need = "forbidden" }).contains("need is not to be forbidden")
  end)
  it("of before Kong 1 is read as well", function()
    expect(mistake({ kind = "c" }, "classic-probe")).contains("config.kind")
    expect(mistake({ list = { "nope" } }, "classic-probe")).contains("nope is refused")
    expect(mistake({ limits = { secnod = 1 } }, "classic-probe")).contains('did you mean "second"')
  end)
end)

describe("an entry of a Kong plugin", function()
  it("names a folder of the plugin path", function()
    expect(mistake({}, "gone")).contains('there is no Kong plugin "gone"')
    expect(mistake({}, "Bad/name")).contains("name of a Kong plugin's folder")
  end)
  it("is not sandboxed", function()
    local ok, err = pcall(test.exchange, { plugins = { { "kong:probe", sandbox = true } } })
    expect(ok).equals(false)
    expect(tostring(err)).contains("no sandbox")
  end)
end)
