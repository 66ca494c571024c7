"""Plugins in Kong's shape in the real gateway: workers, bodies over sockets, mistakes of the config, reloads. What each function does
is in spec/lua/kong_*_spec.lua."""
import json

from harness import ROOT, answer, run, wait_for

PLUGINS = str(ROOT / "spec/lua/plugins")


def config(upstream, entries, top="", route=""):
    return f"""
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = "{PLUGINS}", {top}
  routes = {{ {{ "all", path = "/*", upstream = "{upstream}", {route} plugins = {{ {entries} }} }} }},
}}"""


def probe(**code):
    return '{ "kong:probe", config = { ' + ", ".join(f"{k} = [==[ {v} ]==]" for k, v in code.items()) + " } }"


def test_requests_and_responses_are_changed(gateway, upstream):
    u = upstream(lambda r, w: answer(200, [("x-up", "1")], b"moon"))
    g = gateway(config(u.url, probe(
        access='kong.service.request.set_path("/new") kong.service.request.set_header("x-a", kong.request.get_body().who) kong.response.set_header("x-early", "1")',
        header_filter='kong.response.clear_header("content-length") kong.response.clear_header("x-up")',
        body_filter='if ngx.arg[1] then ngx.arg[1] = ngx.arg[1]:upper() end if ngx.arg[2] then ngx.arg[1] = "!" end')), workers=2)
    r = g.ask("POST", "/old", [("content-type", "application/json")], b'{"who":"luna"}')
    assert (r.status, r.body, r.headers.get("x-early"), r.headers.get("x-up")) == (200, b"MOON!", "1", None)
    assert u.last.target == "/new" and u.last.headers.get("x-a") == "luna" and u.last.body == b'{"who":"luna"}'


def test_large_bodies_pass_in_pieces(gateway, upstream):
    body = bytes(range(256)) * 4096
    u = upstream(lambda r, w: answer(200, [], body))
    g = gateway(config(u.url, probe(header_filter="ngx.header.content_length = nil", body_filter="ngx.ctx.n = (ngx.ctx.n or 0) + #ngx.arg[1]",
                                    log="kong.log.err('bytes: ', ngx.ctx.n)")))
    assert g.ask("GET", "/").body == body
    g.wait_log(f"bytes: {len(body)}")


def test_an_answer_in_access_ends_the_chain(gateway, upstream):
    u = upstream()
    second = probe(access='kong.log.err("the second ran")')
    g = gateway(config(u.url, probe(access="kong.response.exit(401, { message = 'no' }, { ['WWW-Authenticate'] = 'Key' })") +
                       ', { "kong:probe", id = "second",' + second.split(",", 1)[1]))
    r = g.ask("GET", "/")
    assert (r.status, r.json(), r.headers.get("www-authenticate")) == (401, {"message": "no"}, "Key")
    assert "the second ran" not in g.log() and not u.requests


def test_rewrite_runs_in_the_global_chain(gateway, upstream):
    u = upstream()
    code = probe(rewrite='kong.service.request.set_header("x-rewrite", "1")')
    g = gateway(config(u.url, "", top=f"plugins = {{ {code} }},"))
    g.ask("GET", "/")
    assert u.last.headers.get("x-rewrite") == "1"
    g = gateway(config(u.url, code))
    g.ask("GET", "/")
    assert u.last.headers.get("x-rewrite") is None


def test_workers_share_dictionaries_and_begin_once(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url, probe(access="return { ngx.shared.e2e:incr('n', 1, 0), worker_began }")), workers=2)
    seen = [json.loads(g.ask("GET", "/").body) for _ in range(6)]
    assert [n for n, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert {began for _, began in seen} == {1}


def test_timers_run_and_outlive_the_exchange(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url, probe(access="""
        ngx.timer.at(0.05, function(premature, a)
          local res = require("resty.http").new():request_uri(a .. "/from-timer", { method = "POST", body = tostring(premature) })
          kong.log.err("timer got ", res.status)
        end, "%s")""" % u.url)))
    assert g.ask("GET", "/").status == 200
    g.wait_log("timer got 200")


def test_an_error_is_a_500_or_passed_by(gateway, upstream):
    u = upstream()
    bad = probe(access="error('broke')")
    g = gateway(config(u.url, bad))
    assert g.ask("GET", "/").status == 500
    g.wait_log("broke")
    g = gateway(config(u.url, bad.replace('"kong:probe",', '"kong:probe", on_error = "continue",')))
    assert g.ask("GET", "/").status == 200


def test_an_observed_plugin_changes_nothing(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url, probe(access="kong.ctx.shared.a = 1 kong.service.request.set_header('x-a', '1') kong.response.exit(403)").replace(
        '"kong:probe",', '"kong:probe", mode = "observe",')))
    assert g.ask("GET", "/").status == 200
    assert u.last.headers.get("x-a") is None


def test_consumers_are_recognised_by_credentials_of_a_plugin(gateway, upstream):
    u = upstream()
    entry = probe(access="""
      local cred = kong.db.probe_keys:select_by_token(kong.request.get_header("x-token") or "")
      if not cred then return kong.response.error(401) end
      kong.client.authenticate(kong.client.load_consumer(cred.consumer.id), cred)
      kong.service.request.set_header("x-who", kong.client.get_consumer().username)""")
    g = gateway(config(u.url, entry, top='consumers = { alice = { probe_keys = { { token = "t-1" } } } },'))
    assert g.ask("GET", "/").status == 401
    assert g.ask("GET", "/", [("x-token", "t-1")]).status == 200
    assert u.last.headers.get("x-who") == "alice"


def test_a_reload_takes_a_new_config_up(gateway, upstream):
    u = upstream()
    g = gateway(config(u.url, probe(access="return kong.cache:get('k', nil, function() return 'old' end)")))
    assert g.ask("GET", "/").body == b'"old"'
    g.write(config(u.url, probe(access="return kong.cache:get('k', nil, function() return 'new' end)")))
    g.reload()
    wait_for(lambda: g.ask("GET", "/").body == b'"new"', "the new config")


def test_mistakes_are_told_with_their_line(tmp_path):
    (tmp_path / "gateway.lua").write_text(config("http://127.0.0.1:1", """
      { "kong:schema-probe", config = {
        need = "n",
        count = 99,
        wrod = "a",
      } },
      { "kong:gone" }"""))
    r = run("check", "-c", tmp_path / "gateway.lua")
    said = r.stdout + r.stderr
    assert r.returncode != 0
    assert "gateway.lua:7: routes" in said and "config.count" in said
    assert "gateway.lua:8: routes" in said and 'did you mean "word"' in said
    assert 'there is no Kong plugin "gone"' in said
