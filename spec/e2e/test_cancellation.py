"""Whatever a plugin waits for, and whatever ends the wait: nothing leaks, nothing comes late, connections stay in step."""

import re
import socket
import sqlite3
import struct
import subprocess

import pytest

from harness import Ended, answer, wait_for
from redis_probe import redis  # noqa: F401

# What a handler (or task) waits for, without end as far as it can know. Each is given names of what is around it.
WAITS = {
    "http": 'mg.http.get(HTTP .. "/hang")',
    "http_stream": 'local r = mg.http.get(HTTP .. "/half", { stream = true }) assert(r:read() == "half") r:read()',
    "http_body": 'mg.http.post(HTTP .. "/hang", { body = function(s) s:write("x") mg.sleep("1h") end })',
    "redis": 'redis:call("INCR", "n")',  # the server holds writes back
    "redis_blocking": 'redis:with({ timeout = "1h" }):call("BLPOP", "list", "0")',
    "redis_pipeline": 'redis:pipeline { { "ECHO", "first" }, { "INCR", "n" }, { "ECHO", "last" } }',
    "subscribe": 'local s = assert(redis:subscribe("channel")) s:receive("1h")',
    "sleep": 'mg.sleep("1h")',
    "dns": 'mg.dns.resolve("mute.test")',
    "dns_srv": 'mg.dns.resolve("mute.test", { type = "SRV" })',
    "work": 'mg.work(C.hold, GATE)',
    "cache": 'mg.cache("c"):get("key", function() mg.sleep("1h") end)',
    "cache_wait": 'local c = mg.cache("c") mg.all { function() c:get("key", function() mg.sleep("1h") end) end, function() c:get("key", print) end }',
    "store": 'mg.store("s"):set("key", 1)',  # somebody else has the file
}
WAITS["all"] = "mg.all {" + ", ".join(f"function() {w} end" for w in WAITS.values()) + "}"
WAITS["any"] = "mg.any {" + ", ".join(f"function() {w} end" for w in WAITS.values()) + "}"
WAITS["timeout"] = 'mg.timeout("1h", function() ' + WAITS["redis_blocking"] + ' end)'

HOLD = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int hold(const char *in, size_t n, char **out, size_t *out_n);
/* Until the file is there, or 20 s. */
int hold(const char *in, size_t n, char **out, size_t *out_n)
{
    char path[4096];

    memcpy(path, in, n);
    path[n] = 0;
    for (int i = 0; i < 2000 && access(path, F_OK) != 0; i++)
        usleep(10000);
    *out = strdup("held");
    *out_n = 4;
    return 0;
}
"""


class Around:
    """What the waits are for: servers that do not answer, a store that is locked, a gate."""

    def __init__(self, tmp_path, upstream, redis):
        self.folder, self.redis = tmp_path, redis()
        self.http = upstream(self.serve)
        self.dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dns.bind(("127.0.0.1", 0))
        self.gate = tmp_path / "gate"
        (tmp_path / "hold.c").write_text(HOLD)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "hold.so", tmp_path / "hold.c"], check=True)
        self.store = None

    def serve(self, request, wire):
        if request.target == "/hang":
            wire.rest()  # until the gateway gives up
            raise Ended()
        if request.target == "/half":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
            wire.rest()
            raise Ended()
        return answer(body=request.target.encode())

    def config(self, mark="one"):
        branches = "\n".join(f'    ["{name}"] = function() {text} end,' for name, text in WAITS.items())
        head = f"""
local mg = require "moongate"
local ffi = require "ffi"
ffi.cdef "int hold(const char *in, size_t n, char **out, size_t *out_n);"
local C = ffi.load("{self.folder}/hold.so")
local HTTP, GATE = "{self.http.url}", "{self.gate}"
local redis = mg.redis.new {{ url = "redis://{self.redis.address}", timeout = "1h" }}
local waits
waits = {{
{branches}
}}
local function wait(name)
  mg.log.info("BEGINS " .. name .. ".")
  waits[name]()
  mg.log.error("LATE " .. name .. ".")
end
"""
        (self.folder / "gateway0" / "plugins").mkdir(parents=True, exist_ok=True)
        (self.folder / "gateway0" / "plugins" / "waits.lua").write_text(head + """
return { name = "waits", doc = "Waits.", version = "1.0",
  on_request = function(x)
    local kind, name = x.request.path:match("^/(%w+)/([%w_]+)")
    if kind == "echo" then
      local a = mg.all { function() return redis:call("ECHO", name) end, function() return redis:call("ECHO", name .. "b") end,
                         function() return mg.http.get(HTTP .. "/" .. name).body end, function() return mg.sleep(1) or "slept" end,
                         function() return mg.dns.resolve("127.0.0.1")[1] end,
                         function() return mg.cache("c"):get("key-" .. name, function() return name end) end,
                         function() return mg.store("s"):get("nothing") or "none" end }
      return x:respond(200, { answers = a })
    end
    if kind == "task" then
      mg.spawn(wait, name)
      return x:respond(200, "spawned")
    end
    wait(name)
  end }
""")
        return f"""
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 1, drain = "200ms", store = "{self.folder}/state.db", plugin_path = "plugins",
  resolver = {{ servers = {{ "127.0.0.1:{self.dns.getsockname()[1]}" }}, timeout = "20s", tries = 1 }},
  routes = {{ {{ "{mark}", path = "/*", plugins = {{ "waits" }} }},
             {{ "exchange", path = "/exchange/*", timeouts = {{ exchange = "150ms" }}, plugins = {{ "waits" }} }},
             {{ "plugin", path = "/plugin/*", timeouts = {{ plugin = "150ms" }}, plugins = {{ "waits" }} }} }},
}}
"""

    def shut(self):
        """From here on nothing of the outside answers."""
        self.gate.unlink(missing_ok=True)
        self.redis.ask("CLIENT", "PAUSE", "100000", "WRITE")
        self.store = sqlite3.connect(self.folder / "state.db", isolation_level=None)
        self.store.execute("BEGIN IMMEDIATE")

    def open(self):
        self.gate.write_text("open")
        self.redis.ask("CLIENT", "UNPAUSE")
        self.store.execute("ROLLBACK")
        self.store.close()

    def redis_is_quiet(self):
        """Connections that the gateway has, and what they do."""
        return all("cmd=blpop" not in line and " sub=0 " in f" {line} " for line in self.redis.clients())


@pytest.fixture
def around(tmp_path, upstream, redis):
    a = Around(tmp_path, upstream, redis)
    yield a
    a.gate.write_text("open")
    a.dns.close()


def open_exchanges(g):
    return sum(w["exchanges_open"] for w in g.status()["workers"])


def client_leaves(g, around, name):
    c = g.client()
    c.request("GET", f"/client/{name}")
    wait_for(lambda: f"BEGINS {name}." in g.log(), f"{name} to begin")
    c.close()


def exchange_timeout(g, around, name):
    assert g.ask("GET", f"/exchange/{name}").status == 504


def plugin_timeout(g, around, name):
    assert g.ask("GET", f"/plugin/{name}").status == 504


def reload_and_drain(g, around, name):
    assert g.ask("GET", f"/task/{name}").status == 200
    wait_for(lambda: f"BEGINS {name}." in g.log(), f"{name} to begin")
    g.write(around.config(name))
    assert g.reload().status == 200


@pytest.mark.parametrize("how", [client_leaves, exchange_timeout, plugin_timeout, reload_and_drain])
def test_a_wait_that_is_given_up_leaves_nothing_behind(gateway, around, how):
    g = gateway(around.config())
    assert g.ask("GET", "/echo/warm").status == 200
    for name in WAITS:
        around.shut()
        how(g, around, name)
        wait_for(lambda: open_exchanges(g) == 0, f"the exchange of {name} to end")
        around.open()
        wait_for(around.redis_is_quiet, f"the connections of {name} to be let go of")
        for i in range(3):  # the connections that are left answer what they are asked
            n = f"{name}{i}".replace("_", "")
            assert g.ask("GET", f"/echo/{n}").json()["answers"] == [n, n + "b", f"/{n}", "slept", "127.0.0.1", n, "none"], name
    assert "LATE" not in g.log()
    g.stop()


@pytest.mark.parametrize("kind", ["client", "task"])
def test_a_stop_ends_every_wait(gateway, around, kind):
    g = gateway(around.config())
    assert g.ask("GET", "/echo/warm").status == 200
    around.shut()
    clients = []
    for name in WAITS:
        clients.append(g.client())
        clients[-1].request("GET", f"/{kind}/{name}")
        wait_for(lambda: f"BEGINS {name}." in g.log(), f"{name} to begin")
    around.gate.write_text("open")  # a thread cannot be broken off
    g.stop()
    assert not re.findall("LATE (?!work|any)", g.log())
    around.open()
    wait_for(lambda: around.redis.clients() == [], "the connections to be closed")
