"""Chains in the real gateway: order, verdicts, errors, and where plugins come from."""
import re
import threading

import pytest

import harness
from chains import PROBE, chain, compile_plugin, probes, tracer  # noqa: F401 (fixtures)
from harness import answer

# ---- order ------------------------------------------------------------------------------------------


def test_requests_go_down_the_chain_and_answers_come_back_up(chain):
    g, u = chain(f'{tracer("route-lua")}, {{ "probe", name = "route-c" }}',
                 plugins=f'{{ "probe", name = "global-c" }}, {tracer("global-lua")}')
    res = g.ask()
    assert u.last.headers.all("x-trace") == ["global-c", "global-lua", "route-lua", "route-c"]
    assert res.headers.all("x-trace") == ["route-c", "route-lua", "global-lua", "global-c"]


def test_only_those_that_saw_the_request_see_an_answer_made_halfway(chain):
    g, u = chain(f'{{ "probe", name = "answers", act = "respond" }}, {tracer("below")}, {{ "probe", id = "last", name = "last" }}',
                 plugins=tracer("above"))
    res = g.ask()
    assert (res.status, res.body) == (202, b"answers")
    assert res.headers.all("x-trace") == ["answers", "above"]
    assert u.requests == []
    g.wait_log("name=last")  # on_log runs for every entry
    assert g.log().count("probe has logged") == 2


def test_answers_without_a_route_pass_the_global_chain(gateway):
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {tracer("above")} }},
      routes = {{ {{ "one", path = "/one", plugins = {{ {tracer("route")} }} }} }} }}""")
    res = g.ask(target="/other")
    assert res.status == 404 and res.headers.all("x-trace") == ["above"]
    res = g.ask(target="/one")  # no upstream, and no plugin that answers
    assert res.status == 404 and res.headers.all("x-trace") == ["route", "above"]


def test_failures_of_the_upstream_pass_the_chain_back(chain):
    g, u = chain(tracer("route"), plugins=tracer("above"))
    u.close()  # nobody listens any more
    res = g.ask()
    assert res.status in (502, 503) and res.headers.all("x-trace") == ["route", "above"]
    assert res.headers.get("x-moongate-error")


def test_on_rewrite_acts_before_the_route_is_chosen(gateway, upstream):
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {{ on_rewrite = function(x)
        if x.request.path == "/gone" then return x:respond(410, "gone") end
        x.request.path = "/new" .. x.request.path
        x.request.headers["x-rewritten"] = "yes"
        x.request.method = "PUT"
      end }} }},
      routes = {{ {{ "old", path = "/x", upstream = "{u.url}" }},
                  {{ "new", path = "/new/*", methods = {{ "PUT" }}, upstream = "{u.url}" }} }} }}""")
    assert g.ask(target="/x?q=1").status == 200
    assert (u.last.method, u.last.target, u.last.headers.get("x-rewritten")) == ("PUT", "/new/x?q=1", "yes")
    assert g.ask(target="/gone").status == 410
    assert len(u.requests) == 1


def test_on_rewrite_in_a_routes_chain_is_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = { { on_rewrite = function(x) end } } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "on_rewrite" in said.stderr and "global" in said.stderr


# ---- when, on_error ---------------------------------------------------------------------------------


def test_when_decides_once_for_all_phases(chain):
    g, u = chain(tracer("sometimes", 'when = function(x) return x.request.headers["x-on"] ~= nil end,') + ', '
                 '{ on_request = function(x) x.request.headers["x-on"] = nil end }, ' + tracer("always"))
    res = g.ask(headers=[("x-on", "1")])
    assert u.last.headers.all("x-trace") == ["sometimes", "always"]
    assert res.headers.all("x-trace") == ["always", "sometimes"], "though the header is gone by then"
    res = g.ask()
    assert u.last.headers.all("x-trace") == ["always"] and res.headers.all("x-trace") == ["always"]


def test_when_of_a_c_plugin_and_of_one_that_only_sees_the_answer(chain, tmp_path):
    g, u = chain('{ "probe", name = "c", when = function(x) return x.request.path == "/on" end }, '
                 '{ id = "late", when = function(x) return x.response.status == 404 end, '
                 'on_response = function(x) x.response.headers["x-late"] = "1" end }',
                 handler=lambda r, w: answer(404 if r.target == "/missing" else 200))
    assert g.ask(target="/on").headers.all("x-trace") == ["c"] and u.last.headers.all("x-trace") == ["c"]
    assert "x-trace" not in g.ask(target="/off").headers and "x-trace" not in u.last.headers
    assert g.ask(target="/missing").headers.get("x-late") == "1"
    assert "x-late" not in g.ask(target="/on").headers


def test_a_when_that_fails_is_an_error_of_its_entry(chain):
    g, u = chain('{ "probe", when = function(x) return nil + 1 end }')
    assert g.ask().status == 500 and u.requests == []
    g.wait_log("gateway.lua:")
    g, u = chain('{ "probe", on_error = "continue", when = function(x) return nil + 1 end }')
    assert g.ask().status == 200 and "x-trace" not in u.last.headers


@pytest.mark.parametrize("entry", [
    '{ "probe", name = "half", act = "half", on_error = "continue" }',
    '{ "probe", name = "half", act = "half", sleep = "5ms", on_error = "continue" }',
    '''{ on_error = "continue", on_request = function(x)
         local r = x.request
         r.path, r.method, r.raw_query = "/changed", "DELETE", "changed=1"
         r.headers["x-keep"], r.headers["x-trace"] = nil, "half"
         error("broken")
       end }''',
    '''{ on_error = "continue", on_request = function(x)
         x.request.path, x.request.headers["x-trace"] = "/changed", "half"
         require("moongate").sleep(5)
         x.request.headers["x-keep"] = nil
         x:respond(200, "not this")
         error("broken")
       end }''',
])
def test_what_a_failed_entry_changed_is_undone_where_the_chain_goes_on(chain, entry):
    g, u = chain(entry + ", " + tracer("after"), handler=lambda r, w: answer(body=b"from the upstream"))
    for _ in range(3):
        res = g.ask("GET", "/kept?q=1", [("x-keep", "1")])
        assert (res.status, res.body) == (200, b"from the upstream")
        assert (u.last.method, u.last.target, u.last.headers.get("x-keep")) == ("GET", "/kept?q=1", "1")
        assert u.last.headers.all("x-trace") == ["after"]


def test_a_failed_response_handler_is_undone_too(chain):
    g, _ = chain('''{ on_error = "continue", on_response = function(x)
         x.response.status = 500
         x.response.headers["x-up"], x.response.headers["x-new"] = nil, "1"
         error("broken")
       end }''', handler=lambda r, w: answer(headers=[("x-up", "kept")], body=b"body"))
    res = g.ask()
    assert (res.status, res.headers.get("x-up"), res.headers.get("x-new"), res.body) == (200, "kept", None, b"body")


# ---- errors -----------------------------------------------------------------------------------------


def problem(res):
    assert res.status == 500 and res.headers.get("content-type").startswith("application/problem+json")
    return res.json()


def test_an_error_in_lua_is_500_with_an_id_and_told_in_the_log(chain):
    g, u = chain('{ id = "broken", on_request = function(x)\n local t = nil\n return t.field\n end }')
    res = g.ask(target="/x?password=secret")
    said = problem(res)
    assert "field" not in res.body.decode() and "lua" not in res.body.decode().lower() and u.requests == []
    line = next(l for l in g.wait_log("plugin failed") and g.log().splitlines() if "plugin failed" in l)
    ident = re.search(r"[0-9a-f]{32}", res.body.decode()).group()
    assert ident in line and "broken" in line and "on_request" in line and "route=all" in line
    config = g.config.read_text().splitlines()
    number = next(i for i, l in enumerate(config, 1) if "return t.field" in l)
    assert "gateway.lua" in line and re.search(rf"\bline={number}\b|gateway\.lua:{number}:", line), line
    assert said["status"] == 500
    assert [l for l in g.log().splitlines() if ident in l and " error " in l] == [line], "one line says it all"
    assert g.ask(target="/x").status == 500, "the worker lives on"


def test_an_error_in_c_is_500_and_told_in_the_log(chain):
    g, u = chain('{ "probe", act = "fail" }')
    res = g.ask()
    problem(res)
    ident = re.search(r"[0-9a-f]{32}", res.body.decode()).group()
    g.wait_log(ident)
    line = next(l for l in g.log().splitlines() if ident in l)
    assert "probe" in line and "on_request" in line and "all" in line
    assert u.requests == []


def test_answering_without_an_answer_is_an_error(chain):
    g, _ = chain('{ "probe", act = "no-answer" }')
    problem(g.ask())


@pytest.mark.parametrize("phase", ["on_request", "on_request_body", "on_response"])
def test_an_error_before_the_answer_has_begun_is_500(chain, phase):
    g, _ = chain(f'{{ {phase} = function(x) error("broken here") end }}')
    problem(g.ask("POST", "/", body=b"12345"))
    g.wait_log("broken here")
    assert phase in g.log()


def test_an_error_while_the_body_passes_cuts_the_connection(chain):
    seen = threading.Event()

    def handler(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert seen.wait(harness.PATIENCE)
        return b"0\r\n\r\n"

    g, _ = chain('{ on_response_body = function(x) if x.is_last then error("broken late") end end }', handler=handler)
    client = g.client()
    client.request()
    assert client.until(b"hello").startswith(b"HTTP/1.1 200")
    seen.set()
    assert not client.rest().endswith(b"0\r\n\r\n")
    g.wait_log("broken late")


def test_an_error_in_on_log_is_only_logged(chain):
    g, _ = chain('{ on_log = function(x) error("broken at the end") end }')
    client = g.client()
    for _ in range(3):
        assert client.ask().status == 200
    g.wait_log("broken at the end")


def test_a_script_that_eats_memory_fails_and_the_worker_lives_on(chain):
    g, _ = chain('{ on_request = function(x) if x.request.path == "/eat" then local t = {} for i = 1, 1e9 do t[i] = "x" .. i end end end }',
                 top='lua = { memory = "16m" },')
    assert g.ask(target="/eat").status == 500
    assert g.ask(target="/").status == 200
    assert g.ask(target="/eat").status == 500
    assert g.ask(target="/").status == 200


def test_a_kept_handle_is_a_clean_error(chain):
    g, u = chain('''(function() local kept; return { on_request = function(x)
       if not kept then kept = x return end
       local ok, err = pcall(function() return kept.request.path end)
       x.request.headers["x-kept"] = ok and "readable" or tostring(err):match("[^:]*$")
     end } end)()''')
    for _ in range(3):
        assert g.ask().status == 200
    assert "ended" in u.last.headers.get("x-kept")


# ---- what plugins share -----------------------------------------------------------------------------


def test_ctx_is_shared_by_c_and_lua(chain):
    g, u = chain('''{ on_request = function(x) x.ctx.list = { 1, 2 } x.ctx.text = "t" end }, { "probe", name = "from-c" },
        { on_request = function(x)
            x.request.headers["x-ctx"] = table.concat({ x.ctx.probe, tostring(x.ctx.number), #x.ctx.list, x.ctx.text }, " ")
          end }''')
    g.ask()
    assert u.last.headers.get("x-ctx") == "from-c 7.5 2 t"


def test_a_plugin_chooses_the_upstream(gateway, upstream):
    a, b = upstream(), upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0",
      upstreams = {{ a = {{ targets = {{ "{a.address}" }} }}, b = {{ targets = {{ "{b.address}" }} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "a", plugins = {{ {{ on_request = function(x)
        local to = x.request.headers["x-to"] if to then x.upstream = to end end }} }} }} }} }}""")
    assert g.ask().status == 200 and (len(a.requests), len(b.requests)) == (1, 0)
    assert g.ask(headers=[("x-to", "b")]).status == 200 and (len(a.requests), len(b.requests)) == (1, 1)
    assert g.ask(headers=[("x-to", "c")]).status == 500


# ---- a chain that makes no sense ---------------------------------------------------------------------


@pytest.mark.parametrize("entries, words", [
    ('{ "rate-limit", limit = 1, window = "1s", by = "consumer" }', ["rate-limit", '"consumer"', "no entry of this chain provides it"]),
    ('{ "rate-limit", limit = 1, window = "1s", by = "consumer" }, "key-auth"', ['"consumer"', "key-auth", "stands after it"]),
    ('{ "key-auth", when = function(x) return true end }, { "rate-limit", limit = 1, window = "1s", by = "consumer" }', ['"consumer"', "when"]),
    ('{ "key-auth", on_error = "continue" }, { "rate-limit", limit = 1, window = "1s", by = "consumer" }', ['"consumer"', "on_error"]),
    ('{ "key-auth", anonymous = "a" }, { "rate-limit", limit = 1, window = "1s", by = "credential" }', ['"credential"']),
])
def test_an_entry_that_needs_what_nobody_provides_is_refused(tmp_path, entries, words):
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0", consumers = {{ a = {{ keys = "k" }} }},\nroutes = {{ {{ "r", upstream = "http://h:1",\n'
                    f'plugins = {{ {entries} }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1
    assert all(w in said.stderr for w in words) and "gateway.lua:3:" in said.stderr, said.stderr


def test_the_global_chain_provides_for_routes(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", consumers = { a = { keys = "k" } }, plugins = { "key-auth" }, routes = { { "r", '
                    'upstream = "http://h:1", plugins = { { "rate-limit", limit = 1, window = "1s", by = "consumer" } } } } }')
    assert harness.run("check", "-c", path).returncode == 0


# ---- where plugins come from --------------------------------------------------------------------------


def lua_plugin(name, value):
    return f"""local plugin = {{ name = "{name}", doc = "For tests." }}
plugin.fields = {{ value = {{ type = "string", preset = "{value}" }} }}
function plugin.on_request(x, conf) x.request.headers:add("x-{name}", conf.value) end
return plugin
"""


def test_plugins_beside_the_config_and_in_plugin_path(gateway, upstream, tmp_path):
    u = upstream()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    (folder / "mine").mkdir()
    (folder / "plugins/beside.lua").write_text(lua_plugin("beside", "plugins"))
    (folder / "mine/beside.lua").write_text(lua_plugin("beside", "mine"))
    (folder / "plugins/only.lua").write_text(lua_plugin("only", "1"))
    compile_plugin(folder / "plugins", "probe", PROBE)

    def config(path=""):
        return (f'return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", {path} routes = {{ {{ "all", path = "/*", upstream = "{u.url}", plugins = {{ "beside", '
                '{ "only", value = "2" }, { "probe", name = "near" } } } } }')

    g = gateway(config())
    assert g.ask().status == 200
    assert [u.last.headers.get(h) for h in ("x-beside", "x-only", "x-trace")] == ["plugins", "2", "near"]
    g.write(config('plugin_path = { "mine" },'))
    assert g.reload().status == 200
    assert g.ask().status == 200 and u.last.headers.get("x-beside") == "mine"
    (folder / "mine/beside.lua").write_text(lua_plugin("beside", "changed"))
    assert g.reload().status == 200, "a plugin's new source is taken by a reload"
    assert g.ask().status == 200 and u.last.headers.get("x-beside") == "changed"


def test_a_replaced_shared_object_is_taken_by_a_reload(gateway, upstream, tmp_path):
    u = upstream()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    compile_plugin(folder / "plugins", "probe", PROBE)
    g = gateway(f'return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "{u.url}", plugins = {{ "probe" }} }} }} }}')
    assert g.ask().headers.all("x-trace") == ["probe"]
    compile_plugin(folder / "plugins", "probe", PROBE.replace('"x-trace"', '"x-newer"'))
    assert g.ask().headers.all("x-trace") == ["probe"]
    assert g.reload().status == 200
    res = g.ask()
    assert res.headers.all("x-newer") == ["probe"] and "x-trace" not in res.headers


@pytest.mark.parametrize("name, source, words", [
    ("key-auth", lua_plugin("key-auth", "1"), ["key-auth", "bundled"]),
    ("other", lua_plugin("another", "1"), ["other", "another"]),
    ("broken", "return {", ["broken.lua"]),
    ("fails", "error('at load')", ["at load", "fails.lua:1"]),
    ("nothing", "return 1", ["nothing"]),
    ("odd", 'return { name = "odd", on_requst = function() end }', ["on_requst", "on_request"]),
])
def test_a_plugin_that_does_not_hold_is_a_mistake(tmp_path, name, source, words):
    (tmp_path / "plugins").mkdir()
    (tmp_path / f"plugins/{name}.lua").write_text(source)
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0",\n routes = {{ {{ "a", plugins = {{ "{name}" }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and all(w in said.stderr for w in words), said.stderr
    assert "gateway.lua:2:" in said.stderr


def test_an_unknown_plugin_and_an_unknown_field_name_the_nearest(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = {\n "key-auht",\n { "rate-limit", limt = 1, window = "1s" } } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1
    assert "gateway.lua:2:" in said.stderr and '"key-auth"' in said.stderr
    assert "gateway.lua:3:" in said.stderr and '"limit"' in said.stderr


def test_a_c_plugin_of_another_abi_is_refused_with_both_numbers(tmp_path):
    (tmp_path / "plugins").mkdir()
    compile_plugin(tmp_path / "plugins", "probe", PROBE.replace(".abi = MG_PLUGIN_ABI", ".abi = 9u << 16"))
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", routes = { { "a", plugins = { "probe" } } } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "9" in said.stderr and "1" in said.stderr and "probe" in said.stderr
