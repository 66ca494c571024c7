"""The command line, and the examples."""
import os
import subprocess

import pytest

from harness import ROOT, Client, MOONGATE, answer, run

COMMANDS = ["run", "check", "routes", "explain", "plugins", "reload", "release", "new", "test", "repl", "echo", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"usage: moongate {command}" in done.stdout
    assert "\033" not in done.stdout


def test_help_names_every_command():
    text = run("--help").stdout
    assert all(c in text for c in COMMANDS)


def test_what_makes_no_sense_exits_with_2():
    assert run().returncode == 2
    done = run("rnu")
    assert done.returncode == 2 and 'did you mean "run"?' in done.stderr
    assert run("run", "--nonsense").returncode == 2
    assert run("run").returncode == 2
    assert run("run", "-c", "x.lua", "--workers", "many").returncode == 2


def test_version_names_the_libraries():
    text = run("version").stdout
    assert text.startswith("moongate ")
    assert all(word in text for word in ("libuv", "llhttp", "OpenSSL", "LuaJIT", "PCRE2", "c-ares"))


def test_check_reports_every_mistake(tmp_path):
    config = tmp_path / "bad.lua"
    config.write_text('return {\n  listen = "nowhere",\n  workers = 0,\n  routes = {\n    { "a", pth = "/a" },\n    { "a", path = "b" },\n  },\n}\n')
    done = run("check", "-c", config)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    for words in ("bad.lua:2", "bad.lua:3", "bad.lua:5", "path", "bad.lua:6"):
        assert words in text, text


@pytest.mark.parametrize("command", [["check"], ["routes"], ["explain", "GET", "http://h/a"]])
def test_looking_at_a_config_writes_no_file(tmp_path, command):
    config = tmp_path / "gateway.lua"
    kept = tmp_path / "kept.log"
    kept.write_text("a line\n")
    config.write_text("""return { listen = "127.0.0.1:0", log = { path = "gateway.log" },
      plugins = { { "access-log", path = "access.log" }, { "access-log", path = "kept.log", id = "kept" } },
      routes = { { "a", path = "/*", plugins = { { "respond", status = 204 } } } } }""")
    done = run(*command[:1], "-c", config, *command[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(os.listdir(tmp_path)) == ["gateway.lua", "kept.log"]
    assert kept.read_text() == "a line\n"


@pytest.mark.parametrize("path", ["nowhere/access.log", "folder"])
def test_check_says_where_a_log_file_cannot_be(tmp_path, path):
    config = tmp_path / "gateway.lua"
    (tmp_path / "folder").mkdir()
    config.write_text(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {{ "access-log", path = "{path}" }} }},
      routes = {{ {{ "a", path = "/*", plugins = {{ {{ "respond", status = 204 }} }} }} }} }}""")
    done = run("check", "-c", config)
    assert done.returncode == 1
    assert path in done.stdout + done.stderr


def test_echo_answers_what_it_was_asked():
    echo = subprocess.Popen([MOONGATE, "echo", "--listen", "127.0.0.1:0", "--name", "e"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(echo.stdout.readline().rsplit(":", 1)[1])
        client = Client(("127.0.0.1", port))
        got = client.ask("POST", "/p?q=1", [("x-a", "1"), ("x-a", "2")], body=b"hi").json()
        assert (got["method"], got["target"], got["body"], got["name"]) == ("POST", "/p?q=1", "hi", "e")
        assert got["headers"]["x-a"] == ["1", "2"]
        assert client.ask("GET", "/?status=418").status == 418
        assert len(client.ask("GET", "/?bytes=300000").body) == 300000
        assert client.ask("HEAD", "/?bytes=10").headers.get("content-length") == "10"
    finally:
        echo.terminate()
        assert echo.wait(20) == 0


def example(name):
    return ROOT / "examples" / name


@pytest.mark.parametrize("name", ["minimal.lua", "quickstart.lua", "forward-everything.lua", "policies.lua"])
def test_the_examples_pass_their_check(name):
    done = run("check", "-c", example(name))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_policies_of_the_example_work(gateway, upstream):
    u = upstream()
    g = gateway(example("policies.lua"), env={"UPSTREAM": u.url, "PORT": "0"})
    key = ("x-api-key", "moon-1")
    assert g.ask("GET", "/private/x").status == 401
    assert g.ask("GET", "/private/x", [key]).status == 200
    assert g.ask("GET", "/private/x", [key, ("user-agent", "SomeBot/1")]).status == 403
    res = g.ask("GET", "/tenant/x", [key])
    assert (res.status, res.headers.get("x-seen"), u.last.headers.get("x-tenant")) == (200, "yes", "moon")
    assert g.ask("GET", "/beta/x").status == 404
    assert g.ask("GET", "/beta/x", [("x-beta", "1")]).status == 200


def test_the_tls_example_works(gateway, upstream, certs):
    for name in ("api", "www"):
        for part, path in zip(("pem", "key"), certs.pem(f"{name}.test")):
            (certs.folder / f"{name}.{part}").write_bytes(path.read_bytes())
    u = upstream(tls=certs.server("localhost"))
    g = gateway(example("tls.lua"), env={"TLS_FOLDER": str(certs.folder), "HTTPS_PORT": "0", "HTTP_PORT": "0", "UPSTREAM": u.address})
    assert g.client("https", tls=certs.client(), server_name="www.test").ask(host="www.test").status == 200
    assert g.ask("GET", "/x", host="www.test", name="http").status == 308


def test_forwarding_everything_adds_nothing(gateway, upstream):
    u = upstream(lambda r, w: answer(body=b"x"))
    g = gateway(example("forward-everything.lua"), env={"UPSTREAM": u.url, "LISTEN": "127.0.0.1:0"})
    g.ask("GET", "/a?b", [("x-one", "1")], host="h.test")
    assert sorted(k.lower() for k, _ in u.wait()[0].headers) == ["host", "x-one"]


def test_it_runs_from_an_installation(tmp_path, gateway):
    prefix = tmp_path / "prefix"
    build = os.path.dirname(os.path.dirname(MOONGATE))
    if not os.path.exists(os.path.join(build, "cmake_install.cmake")):
        pytest.skip("not a build tree")
    subprocess.run(["cmake", "--install", build, "--prefix", str(prefix)], check=True, stdout=subprocess.DEVNULL)
    for path in ("bin/moongate", "include/moongate/pdk.h", "share/man/man1/moongate.1", "share/moongate/lua/plugins/respond.lua"):
        assert (prefix / path).exists(), path
    g = gateway("""return { listen = "127.0.0.1:0", plugins = { "request-id" },
      routes = { { "a", path = "/*", plugins = { { "respond", status = 200, body = "installed" } } } } }""",
                program=str(prefix / "bin/moongate"))
    res = g.ask()
    assert res.body == b"installed" and res.headers.get("x-request-id")


def test_every_mistake_is_told_once(tmp_path):
    config = tmp_path / "gateway.lua"
    config.write_text("""return { listen = "127.0.0.1:0", upstreams = { u = { targets = {} } }, routes = {
      { id = "a", path = "/ok", upstream = "http://127.0.0.1:1", methods = { "GE T", "GET" } },
      { id = "b", path = "", upstream = "http://127.0.0.1:1" },
      { id = "c", path = "nope", upstream = "http://127.0.0.1:1" } } }""")
    res = run("check", "-c", config)
    said = res.stdout + res.stderr
    assert res.returncode != 0
    assert "upstreams.u.targets: expected at least 1 item; found 0" in said
    assert 'routes.c: path "nope": it does not begin with "/"\n' in said
    assert said.count("routes.a") == said.count("routes.b") == said.count("routes.c") == 1, said
