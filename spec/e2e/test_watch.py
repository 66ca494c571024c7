"""`moongate run --watch`: a save is a reload, and mistakes show with their line."""
import os
import shutil

import pytest

from harness import wait_for

MAIN = """
local said = require "said"
return {
  listen = "127.0.0.1:0", admin = "127.0.0.1:0",
  routes = { { "all", path = "/*", plugins = { "speak", { on_log = function() local _ = said end } } } },
}
"""
PLUGIN = """return {
  name = "speak",
  on_request = function(x) return x:respond(200, require("said").word .. " %s") end,
}
"""


@pytest.fixture(params=[[], ["--no-supervisor"]], ids=["supervised", "alone"])
def watching(gateway, tmp_path, request):
    """A gateway in a folder with a module and a plugin; save(name, text) writes a file there as an editor would."""
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)

    def save(name, text):
        fresh = folder / (name + "~")
        fresh.write_text(text)
        fresh.rename(folder / name)

    save("said.lua", 'return { word = "hello" }\n')
    save("plugins/speak.lua", PLUGIN % 1)
    g = gateway(MAIN, args=["--watch", *request.param])
    g.folder, g.save = folder, save
    assert g.ask().body == b"hello 1"
    return g


def says(g, body):
    wait_for(lambda: g.ask().body == body, f"the answer {body}")


def test_saving_a_required_file_or_a_plugin_is_a_reload(watching):
    g = watching
    g.save("said.lua", 'return { word = "bye" }\n')
    says(g, b"bye 1")
    g.save("plugins/speak.lua", PLUGIN % 2)
    says(g, b"bye 2")
    (g.folder / "said.lua").write_text('return { word = "in place" }\n')
    says(g, b"in place 2")


def test_a_mistake_shows_with_its_source_line_and_the_old_config_serves_on(watching):
    g = watching
    g.write(MAIN.replace('path = "/*"', 'path = "/*", limt = 5'))
    g.wait_log("unknown key")
    g.wait_log('routes = { { "all", path = "/*", limt = 5')
    log = g.log().splitlines()
    at = next(i for i, line in enumerate(log) if "| " in line and "limt = 5" in line)
    assert "gateway.lua:5: routes" in log[at - 1]
    assert log[at + 1].index("^") == log[at].index("limt")
    assert g.ask().body == b"hello 1"
    g.save("said.lua", "return { word = }\n")
    g.write(MAIN)
    g.wait_log("return { word = }")
    g.save("said.lua", 'return { word = "mended" }\n')
    says(g, b"mended 1")


def test_a_file_that_vanishes_may_come_back(watching):
    g = watching
    os.remove(g.folder / "said.lua")
    g.wait_log("said")
    assert g.ask().body == b"hello 1"
    g.save("said.lua", 'return { word = "back" }\n')
    says(g, b"back 1")
    shutil.rmtree(g.folder / "plugins")
    g.wait_log("no plugin")
    (g.folder / "plugins").mkdir()
    g.save("plugins/speak.lua", PLUGIN % 3)
    says(g, b"back 3")
