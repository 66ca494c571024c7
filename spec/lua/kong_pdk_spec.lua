-- kong: the PDK as plugins see it, by plugins/kong/plugins/probe.
local test = require "moongate.test"
local json = require "moongate.json"
local describe, it, expect = test.describe, test.it, test.expect

local function probe(config, given)
  given = given or {}
  given.plugins = given.plugins or { { "kong:probe", config = config } }
  return test.exchange(given)
end

-- What the code returns in access.
local function value(code, given)
  local r = probe({ access = code }, given)
  expect(r.status).equals(200)
  return json.decode(r.body)
end

describe("a plugin in Kong's shape", function()
  it("gets its config with defaults, its own modules and globals, and init_worker before all", function()
    expect(value "return { conf.text, helper.name, worker_began, probe_loaded }").equals { "preset", "helper of probe", 1, 1 }
  end)
  it("that fails answers 500, as ours do", function()
    local r = probe { access = "error('broke')" }
    expect(r.status).equals(500)
    expect(r.log).contains("broke")
  end)
  it("is left from within by an answer, through pcall and coroutines", function()
    local r = probe { access = "pcall(function() coroutine.wrap(function() kong.response.exit(418, 'tea') end)() end) kong.response.exit(200, 'later')" }
    expect(r.status).equals(418)
    expect(r.body).equals("tea")
    expect(r.request).is_nil()
  end)
  it("names what is not there", function()
    local r = probe { access = "kong.service.set_timeouts(1, 1, 1)" }
    expect(r.status).equals(500)
    expect(r.log).contains("kong.service.set_timeouts is not there in Moongate; docs/kong.md")
  end)
  it("names a module that is not there", function()
    local r = probe { access = "require 'no.such.module'" }
    expect(r.log).contains("no.such.module")
  end)
  it("of before Kong 2 is an object of its class, with an old schema", function()
    local r = test.exchange { plugins = { { "kong:classic-probe" } } }
    expect(r.request.headers["x-table"]).equals("5one")
    expect(r.headers["x-early"]).equals("classic-probe")
  end)
  it("with the phase response has the whole body there", function()
    local r = test.exchange { plugins = { "kong:whole-probe" }, upstream = { status = 200, body = "12345" } }
    expect(r.headers["x-length"]).equals("5")
    expect(r.body).equals("12345")
    r = test.exchange { plugins = { "kong:whole-probe" }, upstream = { status = 200, body = "secret" } }
    expect(r.status).equals(403)
  end)
end)

describe("kong.request", function()
  it("tells what the client asks", function()
    local q = value([[local q = kong.request
      return { q.get_scheme(), q.get_host(), q.get_port(), q.get_method(), q.get_path(), q.get_raw_path(), q.get_raw_query(), q.get_path_with_query(),
               q.get_http_version(), q.get_forwarded_scheme(), q.get_forwarded_host(), q.get_forwarded_port(), q.get_forwarded_path(),
               q.get_start_time() > 1e12, tostring(q.get_forwarded_prefix()) } ]], { path = "/a%20b?x=1", host = "api.test" })
    expect({ q[1], q[2], q[4], q[6], q[7], q[9], q[10], q[11], q[14], q[15] }).equals(
      { "http", "api.test", "GET", "/a%20b", "x=1", 1.1, "http", "api.test", true, "nil" })
    expect(q[8]).equals(q[5] .. "?x=1")
    expect(q[13]).equals(q[5])
  end)
  it("reads arguments", function()
    local a = value("return { kong.request.get_query(), kong.request.get_query_arg('a'), kong.request.get_query_arg('flag') }",
      { path = "/?a=1&a=2+3&flag&b=%26" })
    expect(a[1]).equals { a = { "1", "2 3" }, flag = true, b = "&" }
    expect(a[2]).equals("1")
    expect(a[3]).equals(true)
  end)
  it("reads fields, whatever the case and with _ for -", function()
    local h = value("local h = kong.request.get_headers() return { h['X-One'], h.x_one, h['x-two'], kong.request.get_header('X-oNe') }",
      { headers = { ["x-one"] = "1", ["x-two"] = { "2", "3" } } })
    expect(h).equals { "1", "1", { "2", "3" }, "1" }
  end)
  it("reads bodies of JSON, forms and parts", function()
    local code = "local b, e, m = kong.request.get_body() return { b or 'none', e or '', m or '', kong.request.get_raw_body() }"
    local function read(kind, body) return value(code, { method = "POST", body = body, headers = { ["content-type"] = kind } }) end
    expect(read("application/json; charset=utf-8", '{"a":[1,null]}')[1].a[1]).equals(1)
    expect(read("application/json", "{")[2]).equals("invalid json body")
    expect(read("application/x-www-form-urlencoded", "a=1&b=x%20y")[1]).equals { a = "1", b = "x y" }
    expect(read("text/plain", "x")[2]).contains("unsupported content type")
    local parts = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\ntwo\r\n--b--\r\n'
    expect(read("multipart/form-data; boundary=b", parts)[1]).equals { a = "one", f = "two" }
  end)
  it("knows the parameters of the route", function()
    local c = value("local c = kong.request.get_uri_captures() return { c.named.id, ngx.ctx.router_matches.uri_captures.id }",
      { route_path = "/u/{id}", path = "/u/7", params = { id = "7" } })
    expect(c).equals { "7", "7" }
  end)
end)

describe("kong.response", function()
  it("keeps fields that access sets for the response, and clears", function()
    local r = probe { access = [[kong.response.set_header("X-A", 1) kong.response.add_header("x-b", "1") kong.response.add_header("x-b", "2")
      kong.response.set_headers { ["x-c"] = { "3", "4" } } assert(kong.response.get_header("x-a") == "1")]],
      header_filter = [[kong.response.clear_header("server") kong.response.set_header("x-d", kong.response.get_header("x-a") .. kong.response.get_headers()["x-b"][2])]] }
    expect(r.headers["x-a"]).equals("1")
    expect(r.all("x-b")).equals { "1", "2" }
    expect(r.all("x-c")).equals { "3", "4" }
    expect(r.headers["x-d"]).equals("12")
  end)
  it("answers tables as JSON, with fields", function()
    local r = probe { access = [[kong.response.set_header("x-early", "1") return kong.response.exit(201, { a = 1 }, { ["X-B"] = "2" })]] }
    expect(r.status).equals(201)
    expect(r.headers["content-type"]).equals("application/json; charset=utf-8")
    expect(r.headers["x-early"]).equals("1")
    expect(r.headers["x-b"]).equals("2")
    expect(r.body).equals('{"a":1}')
  end)
  it("tells errors in what the client would rather read", function()
    local function ask(accept) return probe({ access = "kong.response.error(403, 'no & never')" }, { headers = { accept = accept } }) end
    expect(json.decode(ask("*/*").body).message).equals("no & never")
    expect(ask("text/html").body).contains("no &amp; never")
    expect(ask("text/plain").body).contains("no & never\n")
    expect(ask("application/xml").headers["content-type"]).contains("xml")
    expect(json.decode(probe({ access = "kong.response.error(404)" }).body).message).equals("Not found")
  end)
  it("changes status, and knows who answered", function()
    local r = probe({ header_filter = "kong.response.set_status(202) kong.response.set_header('x-s', kong.response.get_source() .. kong.response.get_status())" })
    expect(r.status).equals(202)
    expect(r.headers["x-s"]).equals("service202")
    r = probe { access = "kong.response.exit(204)", header_filter = "kong.response.set_header('x-s', kong.response.get_source())" }
    expect(r.headers["x-s"]).equals("exit")
  end)
  it("refuses nonsense", function()
    expect(probe({ access = "kong.response.exit('200')" }).log).contains("code must be a number")
    expect(probe({ access = "kong.response.set_header({}, 1)" }).log).contains("invalid header name")
  end)
  it("shows and changes the body as pieces, and whole", function()
    local up = { status = 200, body = "moon" }
    local r = probe({ header_filter = "kong.response.clear_header('content-length')",
      body_filter = "ngx.ctx.n = (ngx.ctx.n or 0) + 1 if ngx.arg[1] ~= '' then ngx.arg[1] = ngx.arg[1]:upper() end if ngx.arg[2] then ngx.arg[1] = '!' end" },
      { upstream = up })
    expect(r.body).equals("MOON!")
    r = probe({ header_filter = "ngx.header['Content-Length'] = nil",
      body_filter = "local b = kong.response.get_raw_body() if b then kong.response.set_raw_body('<' .. b .. '>') end" }, { upstream = up })
    expect(r.body).equals("<moon>")
    r = probe({ header_filter = "ngx.header.content_length = nil", body_filter = "ngx.arg[1] = nil" }, { upstream = up })
    expect(r.body).equals("")
  end)
end)

describe("kong.service", function()
  it("changes what goes to the upstream", function()
    local r = probe({ access = [[local q = kong.service.request
      q.set_method("PUT") q.set_path("/new") q.set_query { b = "2", a = { "1", "x y" } } q.clear_query_arg("b")
      q.set_header("X-A", 1) q.add_header("x-a", true) q.clear_header("x-gone") q.set_headers { ["x-b"] = { "3", "4" } } q.set_header("content-length", 99)
      q.set_raw_body("moon") assert(kong.request.get_path() == "/old")]] }, { path = "/old?z=1", headers = { ["x-gone"] = "1" } })
    expect(r.request.method).equals("PUT")
    expect(r.request.path).equals("/new")
    expect(r.request.query).equals("a=1&a=x%20y")
    expect(r.request.all("x-a")).equals { "1", "true" }
    expect(r.request.all("x-b")).equals { "3", "4" }
    expect(r.request.headers["x-gone"]).is_nil()
    expect(r.request.body).equals("moon")
  end)
  it("encodes bodies", function()
    local function sent(kind, code)
      return probe({ access = "kong.service.request.set_body({ a = 'x y', b = '2' }, '" .. kind .. "')" .. (code or "") }, { method = "POST", body = "old" }).request
    end
    expect(sent("application/json").body).equals('{"a":"x y","b":"2"}')
    expect(sent("application/x-www-form-urlencoded").body).equals("a=x%20y&b=2")
    expect(sent("multipart/form-data; boundary=q").body).contains('name="a"\r\n\r\nx y\r\n--q')
  end)
  it("sets a raw query", function()
    expect(probe({ access = "kong.service.request.set_raw_query('q=1')" }).request.query).equals("q=1")
  end)
  it("tells of an upstream that is not there, and of what the config decides", function()
    expect(value("return { tostring(kong.service.set_upstream('gone')), select(2, kong.service.set_upstream('gone')) }")[2]).contains("gone")
    expect(probe({ access = "kong.service.set_target('h', 1)" }).log).contains("no upstream named \"h:1\"")
    expect(probe({ access = "kong.service.request.set_scheme('https')" }).log).contains("the config says how an upstream is reached")
  end)
  it("reads the upstream's response, whole when asked for", function()
    local r = probe({ access = "kong.service.request.enable_buffering()",
      header_filter = [[local s = kong.service.response
        kong.response.set_header("x-all", s.get_status() .. s.get_header("X-Up") .. s.get_headers()["x-up"] .. s.get_body().n .. #s.get_raw_body())]] },
      { upstream = { status = 200, headers = { ["x-up"] = "u", ["content-type"] = "application/json" }, body = '{"n":7}' } })
    expect(r.headers["x-all"]).equals("200uu77")
  end)
end)

describe("kong.client and kong.db", function()
  local consumers = { alice = { metadata = { custom_id = "c-1" }, groups = { "staff" }, probe_keys = { { token = "t-1", level = 4, id = "laptop" } } } }
  it("tells addresses", function()
    expect(value("local c = kong.client return { c.get_ip(), c.get_forwarded_ip(), c.get_port() > 0, c.get_forwarded_port() == c.get_port(), c.get_protocol() }"))
      .equals { "127.0.0.1", "127.0.0.1", true, true, "http" }
  end)
  it("knows consumers of the config", function()
    local c = value("return { kong.client.load_consumer('alice'), tostring(kong.client.load_consumer('bob')), kong.db.consumers:select({ id = 'alice' }).username, tostring(kong.client.get_consumer()) }",
      { consumers = consumers })
    expect(c[1].custom_id).equals("c-1")
    expect({ c[2], c[3], c[4] }).equals { "nil", "alice", "nil" }
  end)
  it("finds credentials that a plugin's daos.lua describes, and recognises by them", function()
    local r = test.exchange { consumers = consumers, plugins = { { "kong:probe", config = {
      access = [[local cred = kong.db.probe_keys:select_by_token("t-1")
        assert(cred.level == 4 and cred.id == "laptop" and cred.consumer.id == "alice")
        assert(kong.db.probe_keys:select_by_token("wrong") == nil)
        kong.client.authenticate(kong.client.load_consumer(cred.consumer.id), cred)
        assert(kong.client.get_credential().id == "laptop")
        local groups = {}
        for row in kong.db.acls:each_for_consumer { id = "alice" } do groups[#groups + 1] = row.group end
        kong.service.request.set_header("x-who", kong.client.get_consumer().username .. groups[1])]] } },
      { on_request = function(x) x.request.headers["x-ours"] = x.consumer.name .. x.consumer.credential_id end } } }
    expect(r.request.headers["x-who"]).equals("alicestaff")
    expect(r.request.headers["x-ours"]).equals("alicelaptop")
  end)
  it("says when a table of Kong's database is not there", function()
    expect(probe({ access = "kong.db.routes:select({})" }).log).contains("kong.db.routes:select is not there")
  end)
end)

describe("kong.ctx, kong.cache and the rest", function()
  it("keeps what a plugin puts aside to itself, and what all share", function()
    local r = test.exchange { plugins = {
      { "kong:probe", id = "a", config = { access = "kong.ctx.plugin.v = 'a' kong.ctx.shared.v = 's' ngx.ctx.v = 'n'",
        header_filter = "kong.response.set_header('x-a', tostring(kong.ctx.plugin.v))" } },
      { "kong:probe", id = "b", config = { access = "kong.service.request.set_header('x-b', tostring(kong.ctx.plugin.v) .. kong.ctx.shared.v .. ngx.ctx.v)" } } } }
    expect(r.request.headers["x-b"]).equals("nilsn")
    expect(r.headers["x-a"]).equals("a")
    expect(value "return tostring(kong.ctx.shared.v)").equals("nil")
  end)
  it("computes once, keeps nil for neg_ttl, and does not keep errors", function()
    local v = value [[
      local n = 0
      local function f(a) n = n + 1 return { a = a, n = n } end
      local one, two = kong.cache:get("spec:k", nil, f, "x"), kong.cache:get("spec:k", { ttl = 10 }, f, "x")
      kong.cache:invalidate("spec:k")
      local three = kong.cache:get("spec:k", nil, f, "y")
      local _, err = kong.cache:get("spec:e", nil, function() return nil, "why" end)
      local m = 0
      for _ = 1, 2 do kong.cache:get("spec:n", { neg_ttl = 60 }, function() m = m + 1 return nil end) end
      local f1 = kong.cache:get("spec:f", nil, function() return { f = print } end)
      return { one.n, two.n, three.n, three.a, err, m, type(f1.f) }]]
    expect(v).equals { 1, 1, 2, "y", "why", 1, "function" }
  end)
  it("knows route, service, node", function()
    local v = value "return { kong.router.get_route().id, kong.router.get_service().name ~= nil, #kong.node.get_id(), kong.node.get_hostname() ~= '', kong.version, ngx.ctx.service.path == nil }"
    expect({ v[1], v[2], v[3], v[4], v[6] }).equals { "test", true, 36, true, true }
  end)
  it("logs at all levels, and serializes", function()
    local r = probe({ access = "for _, l in ipairs { 'debug', 'info', 'notice', 'warn', 'err', 'crit', 'alert', 'emerg' } do kong.log[l]('at ', l) end kong.log('plain ', 1) kong.log.inspect({ a = 1 })",
      log = [[kong.log.set_serialize_value("a.b", 5) kong.log.set_serialize_value("request.method", "X", { mode = "add" })
        local s = kong.log.serialize()
        kong.log.warn(table.concat({ s.request.method, s.response.status, s.client_ip, s.a.b, s.route.id, s.request.uri, s.request.headers.authorization }, "|"))]] },
      { path = "/p", headers = { authorization = "Basic x" } })
    expect(r.log).contains("at warn")
    expect(r.log).contains("at emerg")
    expect(r.log).contains("GET|200|127.0.0.1|5|test|/p|REDACTED")
  end)
  it("has tables and tools", function()
    expect(value [[local t = kong.table.merge({ a = 1 }, { b = 2 })
      local utils, str, tbl = require "kong.tools.utils", require "kong.tools.string", require "kong.tools.table"
      return { t, #kong.table.new(1, 1), utils.split("a,b", ","), str.strip(" x "), tbl.deep_copy({ a = { 1 } }), #require("kong.tools.uuid").uuid(), utils.table_contains({ 1, 2 }, 2),
               require("kong.constants").HEADERS.CONSUMER_ID, kong.vault.is_reference("{vault://env/x}"), kong.configuration.database } ]])
      .equals { { a = 1, b = 2 }, 0, { "a", "b" }, "x", { a = { 1 } }, 36, true, "X-Consumer-ID", true, "off" }
  end)
end)
