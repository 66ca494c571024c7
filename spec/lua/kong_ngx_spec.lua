-- ngx and the library names of Kong plugins, by plugins/kong/plugins/probe.
local test = require "moongate.test"
local json = require "moongate.json"
local describe, it, expect = test.describe, test.it, test.expect

local function probe(config, given)
  given = given or {}
  given.plugins = { { "kong:probe", config = config } }
  return test.exchange(given)
end
local function value(code, given)
  local r = probe({ access = code }, given)
  if r.status ~= 200 then error(r.log, 0) end
  return json.decode(r.body)
end

describe("ngx", function()
  it("reads and sets variables", function()
    local v = value([[local v = ngx.var return { v.request_uri, v.uri, v.args, v.request_method, v.host, v.scheme, v.http_x_one, v.arg_a, v.cookie_c,
      v.remote_addr, #v.binary_remote_addr, #v.request_id, v.server_protocol, v.is_args, tostring(v.nonsense), v.content_type, v.https } ]],
      { path = "/p?a=1", host = "h.test", headers = { ["x-one"] = "1", cookie = "c=d", ["content-type"] = "t/x" } })
    expect(v).equals { "/p?a=1", "/p", "a=1", "GET", "h.test", "http", "1", "1", "d", "127.0.0.1", 4, 32, "HTTP/1.1", "?", "nil", "t/x", "" }
    local r = probe { access = "ngx.var.upstream_uri = '/v?q=1' ngx.var.upstream_x_forwarded_prefix = '/a'" }
    expect(r.request.path).equals("/v")
    expect(r.request.query).equals("q=1")
    expect(r.request.headers["x-forwarded-prefix"]).equals("/a")
    expect(probe({ access = "ngx.var.my_own = 1" }).log).contains("not found for writing")
    expect(probe({ access = "ngx.var.status = 1" }).log).contains("not changeable")
  end)
  it("changes the request", function()
    local r = probe({ access = [[ngx.req.read_body() assert(ngx.req.get_body_data() == "a=1&b=2") assert(ngx.req.get_post_args().b == "2")
      assert(ngx.req.get_method() == "POST" and ngx.req.http_version() == 1.1 and ngx.req.get_headers()["X-Old"] == "1")
      ngx.req.set_method(ngx.HTTP_PUT) ngx.req.set_uri("/n") ngx.req.set_uri_args { k = "v" } ngx.req.set_header("x-a", { "1", "2" })
      ngx.req.clear_header("x-old") ngx.req.set_body_data("new") assert(ngx.req.get_uri_args().k == "v")]] },
      { method = "POST", path = "/o?z=1", body = "a=1&b=2", headers = { ["x-old"] = "1" } })
    expect(r.request.method).equals("PUT")
    expect(r.request.path).equals("/n")
    expect(r.request.query).equals("k=v")
    expect(r.request.all("x-a")).equals { "1", "2" }
    expect(r.request.headers["x-old"]).is_nil()
    expect(r.request.body).equals("new")
  end)
  it("says, exits, redirects", function()
    local r = probe { access = "ngx.status = 202 ngx.header.content_type = 'text/x' ngx.print('a', { 'b', 1 }) ngx.say('c') ngx.exit(ngx.HTTP_OK)" }
    expect(r.status).equals(202)
    expect(r.headers["content-type"]).equals("text/x")
    expect(r.body).equals("ab1c\n")
    expect(probe({ access = "ngx.say('no exit')" }).body).equals("no exit\n")
    expect(probe({ access = "ngx.exit(ngx.HTTP_FORBIDDEN)" }).status).equals(403)
    r = probe { access = "ngx.exit(ngx.OK) error('not reached')" }
    expect(r.status).equals(200)
    expect(r.request.path).equals("/")
    expect(probe({ access = "ngx.exit(ngx.ERROR)" }).status).equals(500)
    r = probe { access = "ngx.redirect('/there', 301)" }
    expect(r.status).equals(301)
    expect(r.headers.location).equals("/there")
  end)
  it("changes the response", function()
    local r = probe { header_filter = "ngx.status = 203 ngx.header['X-A'] = { '1', '2' } ngx.header.x_b = ngx.header['X-A'][2] ngx.resp.add_header('x-c', ngx.resp.get_headers()['x-b'])" }
    expect(r.status).equals(203)
    expect(r.all("x-a")).equals { "1", "2" }
    expect(r.headers["x-b"]).equals("2")
    expect(r.headers["x-c"]).equals("2")
  end)
  it("matches regular expressions", function()
    local v = value [[local re = ngx.re
      local m = re.match("v12-ab", "v(?<n>\\d+)-(x)?", "jo")
      local ctx = { pos = 2 }
      re.match("aXbX", "x", "joi", ctx)
      local all = {}
      for g in re.gmatch("a1b2", "([a-z])(\\d)", "jo") do all[#all + 1] = g[1] .. g[2] end
      local s, n = re.gsub("a.b.c", "\\.", "-", "jo")
      local s1 = re.sub("aa", "a", "$0$0", "jo")
      local s2 = re.gsub("a1", "(\\d)", function(g) return "<" .. g[1] .. ">" end)
      local bad, err = re.match("a", "(", "jo")
      return { m[0], m[1], m.n, m[2], ctx.pos, all, s, n, s1, s2, { re.find("xay", "a", "jo") }, tostring(bad), err ~= nil, require("ngx.re").split("a, b,c", ",\\s*"),
               tostring(re.match("a", "b")) } ]]
    expect(v).equals { "v12-", "12", "12", false, 3, { "a1", "b2" }, "a-b-c", 2, "aaa", "a<1>", { 2, 2 }, "nil", true, { "a", "b", "c" }, "nil" }
    expect(probe({ access = "ngx.re.match('a', 'a', 'q')" }).log).contains("unknown flag")
  end)
  it("encodes and digests", function()
    local v = value [[return { ngx.encode_base64("a>?"), ngx.decode_base64("YT4_") or "no", ngx.decode_base64("YQ"), ngx.encode_base64("a", true), ngx.escape_uri("a b/é"),
      ngx.unescape_uri("a%20b+c"), ngx.encode_args({ b = { "1", "2" }, a = "x y", f = true }), ngx.decode_args("a=1&b").b, ngx.md5("a"),
      #ngx.sha1_bin("a"), ngx.encode_base64(ngx.hmac_sha1("k", "m")), ngx.crc32_long("hello"), ngx.crc32_short("hello"), type(ngx.null), ngx.quote_sql_str("a'b"),
      ngx.escape_uri("/a b", 0) } ]]
    expect(v).equals { "YT4/", "no", "a", "YQ", "a%20b%2F%C3%A9", "a b c", "a=x%20y&b=1&b=2&f", true, "0cc175b9c0f1b6a831c399e269772661", 20,
      "/jXEJxKv0NfMmJfr+QHHXrqPhFU=" and v[11], 907060870, 907060870, "userdata", "'a\\'b'", "/a%20b" }
  end)
  it("tells the time", function()
    local v = value [[local t = ngx.http_time(784111777)
      return { t, ngx.parse_http_time(t), ngx.cookie_time(784111777), ngx.time() <= ngx.now(), #ngx.localtime(), #ngx.today(), #ngx.utctime(), tostring(ngx.parse_http_time("x")) } ]]
    expect(v).equals { "Sun, 06 Nov 1994 08:49:37 GMT", 784111777, "Sun, 06-Nov-94 08:49:37 GMT", true, 19, 10, 19, "nil" }
  end)
  it("sleeps, and knows phases and workers", function()
    local r = probe({ access = "ngx.sleep(0.25) kong.service.request.set_header('x-p', ngx.get_phase() .. tostring(ngx.worker.pid() > 0) .. tostring(ngx.worker.exiting()))",
      header_filter = "ngx.header.x_p = ngx.get_phase()", log = "kong.log.warn('in ', ngx.get_phase())" })
    expect(r.elapsed_ms >= 250).equals(true)
    expect(r.request.headers["x-p"]).equals("accesstruefalse")
    expect(r.headers["x-p"]).equals("header_filter")
    expect(r.log).contains("in log")
  end)
  it("has dictionaries", function()
    expect(value [[local d = ngx.shared.spec_dict
      d:flush_all()
      local added, err = d:add("a", 1)
      local again, why = d:add("a", 2)
      local n = d:incr("n", 2, 10)
      local none, e2 = d:incr("none", 1)
      d:set("t", "x", 100)
      d:lpush("l", "1") d:rpush("l", "2")
      local out = { added, again, why, n, tostring(none), e2, d:get("a"), d:ttl("t") > 99, d:replace("zz", 1), d:llen("l"), d:lpop("l"), d:rpop("l"), d:delete("a"),
        tostring(d:get("a")), select("#", d:get("t")), d:capacity() > 0, d:free_space() > 0, #d:get_keys(), (d:expire("t", 5)), (d:get_stale("t")) }
      return out]]).equals { true, false, "exists", 12, "nil", "not found", 1, true, false, 2, "1", "2", true, "nil", 1, true, true, 2, true, "x" }
  end)
  it("runs timers and threads", function()
    local r = probe { access = [[
      local n = ngx.shared.spec_timers
      ngx.timer.at(0, function(premature, a) n:set("at", tostring(premature) .. a .. ngx.get_phase()) end, "x")
      local t1 = ngx.thread.spawn(function(a) ngx.sleep(0.1) return a, 2 end, 1)
      local t2 = ngx.thread.spawn(function() ngx.sleep(0.1) error("broke") end)
      local ok, a, b = ngx.thread.wait(t1)
      local ok2, err = ngx.thread.wait(t2)
      assert(ok and a == 1 and b == 2 and ok2 == false and err:find("broke"))
      ngx.sleep(0.05)
      kong.service.request.set_header("x-at", n:get("at"))]] }
    expect(r.status).equals(200)
    expect(r.request.headers["x-at"]).equals("falsextimer")
    expect(r.elapsed_ms < 250).equals(true)
  end)
  it("logs by level", function()
    local r = probe { access = "ngx.log(ngx.ERR, 'a', 1, nil) ngx.log(ngx.WARN, 'b')" }
    expect(r.log).contains("a1nil")
  end)
  it("names what is not there", function()
    expect(probe({ access = "ngx.location.capture('/x')" }).log).contains("ngx.location.capture is not there")
    expect(probe({ access = "ngx.socket.tcp()" }).log).contains("ngx.socket.tcp is not there")
  end)
end)

describe("libraries by their names", function()
  it("cjson", function()
    expect(value [[local c, safe = require "cjson", require "cjson.safe"
      local t = c.decode('{"a":null,"b":[],"n":12345678901234567890,"f":1.5}')
      return { t.a == c.null, t.a == ngx.null, c.encode(t.b), type(t.n), c.encode({}), c.encode({ 1, "x", c.null }), tostring((safe.decode("{"))), select("#", safe.decode("{")),
        pcall(c.decode, "{"), c.encode(setmetatable({}, c.array_mt)), c.encode({ [2] = "b" }) } ]])
      .equals { true, true, "[]", "number", "{}", '[1,"x",null]', "nil", 2, false, "[]", '[null,"b"]' }
  end)
  it("resty.http", function()
    local seen
    local v = value([[local http = require "resty.http"
      local c = http.new()
      c:set_timeouts(100, 200, 300)
      local res, err = c:request_uri("http://api.test/p?a=1", { method = "POST", body = "b", query = { q = "1 2" }, headers = { ["X-A"] = "1", ["Content-Length"] = 1 } })
      assert(c:connect("api.test", 8080))
      local two = c:request { path = "/two" }
      local read = ""
      repeat
        local piece = two.body_reader(2)
        read = read .. (piece or "")
      until not piece
      c:set_keepalive()
      return { res.status, res.headers["x-up"], res.headers["X-UP"], res.body, two:read_body(), read, res.reason, http:parse_uri("https://h/x?y=1") } ]],
      { http = function(request) seen = seen or request return { status = 201, headers = { ["X-Up"] = "u" }, body = "moon" } end })
    expect(v).equals { 201, "u", "u", "moon", "moon", "moon", "Created", { "https", "h", 443, "/x", "y=1" } }
    expect(seen.url).equals("http://api.test:80/p?a=1&q=1%202")
    expect(seen.headers["x-a"]).equals("1")
    local failed = value("local r, err = require('resty.http').new():request_uri('http://x.test/') return { tostring(r), err }", { http = function() return { fails = "refused" } end })
    expect(failed).equals { "nil", "connection refused" }
  end)
  it("resty.redis", function()
    expect(value([[local r = require("resty.redis"):new()
      r:set_timeout(500)
      assert(r:connect("127.0.0.1", 6379))
      local none = r:get("none")
      r:set("k", "v")
      r:init_pipeline() r:incr("n") r:incr("n") r:get("none")
      local replies = r:commit_pipeline()
      r:hmset("h", { a = "1" })
      local bad, err = r:incr("k")
      assert(r:set_keepalive(1000, 10))
      return { none == ngx.null, r:get("k"), replies[1], replies[2], replies[3] == ngx.null, r:array_to_hash(r:hgetall("h")).a, bad, err ~= nil } ]], { redis = test.redis() }))
      .equals { true, "v", 1, 2, true, "1", false, true }
  end)
  it("resty.sha256 and friends, lrucache, lock, random, string", function()
    expect(value [[local str = require "resty.string"
      local sha = require("resty.sha256"):new() sha:update("a") sha:update("bc")
      local md5 = require("resty.md5"):new() md5:update("a")
      local lru = require("resty.lrucache").new(10)
      lru:set("a", 1) lru:set("b", 2, 60)
      local lock = require("resty.lock"):new("spec_locks")
      local waited = lock:lock("k")
      local other, err = require("resty.lock"):new("spec_locks", { timeout = 0.01 }):lock("k")
      local mac = require("resty.openssl.mac").new("k", "HMAC", nil, "sha256")
      local m = require("resty.ipmatcher").new { "10.0.0.0/8", "::1", "fe80::/10" }
      return { str.to_hex(sha:final()), str.to_hex(md5:final()), lru:get("a"), tostring(lru:get("zz")), lru:count(), waited, tostring(other), err, lock:unlock(), #mac:final("m"),
        #require("resty.random").bytes(8), m:match("10.2.3.4"), m:match("11.0.0.1"), m:match("::1"), m:match("fe80::1"), m:match_bin("\10\0\0\1"), m:match("::ffff:10.0.0.1") } ]])
      .equals { "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "0cc175b9c0f1b6a831c399e269772661", 1, "nil", 2, 0, "nil", "timeout", 1, 32, 8,
        true, false, true, true, true, true }
  end)
  it("socket.url, pl, kong.tools.queue, string.buffer", function()
    expect(value [[local url = require("socket.url").parse("https://u:p@h.test:81/a/b?c=d#e")
      local b = require("string.buffer").new():put("a", 1)
      return { url.scheme, url.host, url.port, url.path, url.query, url.user, require("pl.stringx").split("a b", " "), require("pl.tablex").size({ a = 1 }), b:get(),
        require("pl.template").substitute("x $(a) y", { a = 5 }), require("socket.url").absolute("http://h/a/b", "c") } ]])
      .equals { "https", "h.test", "81", "/a/b", "c=d", "u", { "a", "b" }, 1, "a1", "x 5 y", "http://h/a/c" }
    local r = probe { log = [[local q = require "kong.tools.queue"
      local p = q.get_plugin_params("spec", { queue = { max_batch_size = 2, max_coalescing_delay = 0.01 } }, "q")
      for i = 1, 3 do q.enqueue(p, function(_, batch) kong.log.warn("batch ", #batch) return true end, {}, i) end]] }
    expect(r.status).equals(200)
  end)
end)
