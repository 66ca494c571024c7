"""The workbench on the command line: new, test, repl."""
import os
import pty
import re
import select
import subprocess
import time

import pytest

from harness import MOONGATE, PATIENCE, ROOT, run

TREE = ROOT / "build" / os.path.basename(os.path.dirname(os.path.dirname(MOONGATE)))


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_new_plugin_in_lua_passes_its_spec_and_runs(tmp_path, gateway):
    done = run("new", "plugin", "tenant-check", "--dir", tmp_path / "made")
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "made") == ["docs/tenant-check.md", "plugins/tenant-check.lua", "spec/tenant-check_spec.lua"]
    done = run("test", tmp_path / "made")
    assert done.returncode == 0 and "4 passed, 0 failed" in done.stdout, done.stdout
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugin_path = {{ "{tmp_path}/made/plugins" }},
      routes = {{ {{ "a", path = "/*", plugins = {{ "tenant-check", {{ "respond", body = "in" }} }} }} }} }}""")
    assert g.ask().status == 400
    answer = g.ask(headers=[("x-example", "yes")])
    assert answer.status == 200 and answer.headers.get("x-tenant-check") == "yes"


def test_a_new_plugin_in_c_is_built_out_of_tree_and_passes_its_spec(tmp_path):
    done = run("new", "plugin", "tenant-check", "--c", "--dir", tmp_path)
    assert done.returncode == 0, done.stderr
    for command in (["cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "build", f"-Dmoongate_DIR={TREE}"],
                    ["cmake", "--build", tmp_path / "build"]):
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, CC=os.environ.get("CC", "gcc")))
        assert made.returncode == 0 and "warning" not in made.stdout, made.stdout
    done = run("test", tmp_path / "spec")
    assert done.returncode == 0 and "4 passed, 0 failed" in done.stdout, done.stdout


def test_new_never_overwrites(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/mine.md").write_text("kept\n")
    done = run("new", "plugin", "mine", "--dir", tmp_path)
    assert done.returncode == 1 and "docs/mine.md is there already" in done.stderr
    assert files_of(tmp_path) == ["docs/mine.md"] and (tmp_path / "docs/mine.md").read_text() == "kept\n"


@pytest.mark.parametrize("name, why, code", [
    ("Mine", "lower-case", 2), ("a_b", "lower-case", 2), ("a--b", "dash", 2), ("a-", "dash", 2), ("../a", "lower-case", 2), ("1a", "letter", 2),
    ("key-auth", "bundled", 1)])
def test_new_checks_names(tmp_path, name, why, code):
    done = run("new", "plugin", name, "--dir", tmp_path)
    assert done.returncode == code and why in done.stderr, done.stderr
    assert files_of(tmp_path) == []


FAILING = """local test = require "moongate.test"
test.describe("a plugin", function()
  test.it("does what it should", function()
    local r = test.exchange { plugins = { { on_request = function() require("moongate").log.warn("said before") end } } }
    test.expect(r.status).equals(404)
  end)
  test.it("works", function() end)
end)
"""


def test_a_failure_shows_place_line_values_and_log(tmp_path):
    spec = tmp_path / "a_spec.lua"
    spec.write_text(FAILING)
    done = run("test", spec)
    assert done.returncode == 1
    for words in ("FAILED a plugin does what it should", "a_spec.lua:5: expected 404, got 200", "5 |     test.expect(r.status).equals(404)", "said before",
                  "1 passed, 1 failed"):
        assert words in done.stdout, done.stdout


def test_tests_are_chosen_by_name_and_told_with_v(tmp_path):
    spec = tmp_path / "a_spec.lua"
    spec.write_text(FAILING)
    done = run("test", "-v", "-n", "WORKS", spec)
    assert done.returncode == 0 and re.search(r"ok +a plugin works \([\d.]+ ms\)", done.stdout) and "1 not run" in done.stdout, done.stdout
    assert run("test", "-n", "no such test", spec).returncode == 1
    assert run("test", tmp_path / "none").returncode == 1
    assert run("test", "--nonsense").returncode == 2


# ---- the prompt ---------------------------------------------------------------------------------------


def repl(lines, *args):
    return subprocess.run([MOONGATE, "repl", *map(str, args)], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=PATIENCE)


def test_the_prompt_runs_lua_in_an_exchange():
    done = repl(["1 + 1", 'x.request.headers["x-a"] = "b"', "x.request.headers", "error('on purpose')", "x.request.method", "nonsense nonsense",
                 "t = { a = 1 }", "t", "for i = 1, 2 do", "  print('turn ' .. i)", "end", 'mg.sleep "1h"', "x.nothing"], "POST", "http://api.example/u?q=1")
    assert done.returncode == 0
    for words in ("2\n", "x-a: b", "on purpose", '"POST"', "{ a = 1 }", "turn 1\nturn 2\n", "x has no field 'nothing'", "near 'nonsense'"):
        assert words in done.stdout, done.stdout


def test_the_prompt_sends_the_request_to_an_upstream_or_through_a_config():
    done = repl(['x.request.path = "/other"', ".send", ".new POST /again", "x.request.method", ".nope"])
    assert "GET /other upstream" in done.stdout and '"POST"' in done.stdout and "there is no .nope" in done.stdout, done.stdout
    done = repl([".new /health", ".send", ".new /users/7", ".send", ".new /users/7 x-api-key: alice-key", ".send"], "-c",
                ROOT / "examples/tested-config/gateway.lua")
    assert "fine" in done.stdout and "401" in done.stdout and "route users, upstream users" in done.stdout, done.stdout


def test_the_prompt_refuses_a_config_that_is_wrong(tmp_path):
    config = tmp_path / "bad.lua"
    config.write_text('return { listen = "nowhere" }')
    done = repl([], "-c", config)
    assert done.returncode == 1 and "bad.lua:1" in done.stdout, done.stdout


def test_the_prompt_on_a_terminal():
    try:
        pid, fd = pty.fork()
    except OSError as error:
        pytest.skip(f"no terminal to be had: {error}")
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(MOONGATE, [MOONGATE, "repl"])
    seen = b""

    def until(words):
        nonlocal seen
        deadline = time.monotonic() + PATIENCE
        while words not in seen:
            assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], seen
            seen += os.read(fd, 4096)

    try:
        until(b"> ")
        os.write(fd, b"20 + 22\n")
        until(b"42")
        os.write(fd, b"\x04")
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(fd)


def test_a_spec_without_an_end_ends_the_run_and_says_its_name(tmp_path):
    (tmp_path / "a_spec.lua").write_text('''local test = require "moongate.test"
test.describe("a plugin", function()
  test.it("ends", function() end)
  test.it("goes round for ever", function() while true do end end)
  test.it("is not reached", function() end)
end)''')
    res = run("test", tmp_path)
    assert res.returncode == 1
    assert "FAILED a plugin goes round for ever" in res.stdout and "no end after" in res.stdout
