"""Each allocation that serving a request or a reload takes fails once: that request may fail, the gateway does not."""
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from harness import IS_SANITIZED, Client, Ended, answer, wait_for

pytestmark = pytest.mark.skipif(IS_SANITIZED or not shutil.which("cc"), reason="a sanitizer has an allocator of its own")


class Starved:
    """A gateway whose allocations can be made to fail."""

    def __init__(self, gateway, tmp_path, config):
        library, self.path = tmp_path / "starve.so", tmp_path / "starve"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).parent / "starve.c"], check=True)
        self.path.write_bytes(bytes(8))
        with open(self.path, "r+b") as f:
            self.words = mmap.mmap(f.fileno(), 8)
        self.g = gateway(config, args=("--no-supervisor",), env={"LD_PRELOAD": str(library), "STARVE": str(self.path)})

    def arm(self, n):
        self.words[0:4] = struct.pack("i", n)

    def failures(self):
        return struct.unpack("I", self.words[4:8])[0]

    def each(self, step, after=None, most=4000):
        """step() with the first, the second, … allocation failing, until none was left to fail. How many there were."""
        for n in range(1, most):
            before = self.failures()
            self.arm(n)
            try:
                step()
            except (Ended, OSError):
                pass
            finally:
                self.arm(0)
            assert self.g.process.poll() is None, f"the gateway died of allocation {n}:\n{self.g.log()[-3000:]}"
            (after or self.works)()
            if self.failures() == before:
                return n
        raise AssertionError("no end of allocations")

    def works(self):
        assert self.g.ask("GET", "/up").body == b"hello"


@pytest.fixture
def starved(gateway, upstream, tmp_path, certs):
    u = upstream()
    cert = certs.pem("localhost")
    return Starved(gateway, tmp_path, f"""
local mg = require "moongate"
return {{
  listen = {{ {{ "127.0.0.1:0", name = "plain" }}, {{ "127.0.0.1:0", name = "tls", tls = {{ cert = "{cert[0]}", key = "{cert[1]}" }} }} }},
  admin = "127.0.0.1:0", log = {{ level = "error" }},
  consumers = {{ alice = {{ keys = {{ "k" }},
    basic = {{ {{ "alice", "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g." }} }} }} }},
  upstreams = {{ u = {{ targets = {{ "{u.address}" }}, keepalive = {{ max = 0 }} }} }},
  plugins = {{ "request-id", {{ "access-log", path = "a.log" }}, "metrics" }},
  routes = {{
    {{ "lua", path = "/lua", plugins = {{ {{ on_request = function(x)
        x.ctx.a = ("x"):rep(1000)
        mg.sleep(0.001)
        return x:respond(200, {{ a = x.ctx.a }})
      end }} }} }},
    {{ "whole", path = "/whole", upstream = "u", plugins = {{ {{ on_request = function(x) return x.request:body() and nil end,
        on_response = function(x) return x.response:body() and nil end }} }} }},
    {{ "limit", path = "/limit", upstream = "u", plugins = {{ {{ "rate-limit", limit = 1000, window = "1m", by = "header:x-by" }} }} }},
    {{ "key", path = "/key", upstream = "u", plugins = {{ "key-auth", "cors", {{ "headers", request = {{ set = {{ a = "${{client.ip}}" }} }} }} }} }},
    {{ "basic", path = "/basic", upstream = "u", plugins = {{ {{ "basic-auth", cache = "0s" }} }} }},
    {{ "up", path = "/*", upstream = "u" }},
  }} }}""".replace('"cors"', '{ "cors", "https://a.example" }'))


@pytest.mark.parametrize("method, target, headers, body", [
    ("GET", "/up", [], None), ("GET", "/up?" + "a=b&" * 1000, [("x-long", "y" * 5000)], None), ("POST", "/up", [], b"x" * 300000),
    ("GET", "/lua", [], None), ("POST", "/whole", [], b"x" * 100000), ("GET", "/key", [("x-api-key", "k")], None),
    ("GET", "/basic", [("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=")], None), ("GET", "/nowhere\x01", [], None),
], ids=lambda v: v[:10] if isinstance(v, str) else "")
def test_a_request_survives_any_failed_allocation(starved, method, target, headers, body):
    starved.works()
    starved.each(lambda: starved.g.ask(method, target, headers, body))


def test_counting_survives_any_failed_allocation(starved):
    count = [0]

    def step():
        count[0] += 1
        starved.g.ask("GET", "/limit", [("x-by", str(count[0]))])

    starved.each(step)


def test_a_tls_handshake_survives_any_failed_allocation(starved, certs):
    context = certs.client()

    def after():
        client = starved.g.client("tls", tls=context)
        assert client.ask("GET", "/up").body == b"hello"
        client.close()

    starved.each(lambda: starved.g.ask("GET", "/up", name="tls", tls=context), after)


@pytest.mark.parametrize("target", ["/status", "/metrics"])
def test_the_admin_listener_survives_any_failed_allocation(starved, target):
    starved.each(lambda: starved.g.admin("GET", target), lambda: starved.g.admin("GET", target))


def test_a_reload_survives_any_failed_allocation(starved):
    starved.works()

    def settled():
        wait_for(lambda: len(starved.g.status()["generations"]) == 1, "the old snapshot to go")

    def step():
        assert starved.g.reload().status in (200, 422, 500, 503)

    def run(first, by):
        for n in range(first, 20000, by):
            before = starved.failures()
            starved.arm(n)
            try:
                step()
            except (Ended, OSError):
                pass
            finally:
                starved.arm(0)
            assert starved.g.process.poll() is None, f"the gateway died of allocation {n}:\n{starved.g.log()[-3000:]}"
            try:
                settled()
            except OSError:
                raise AssertionError(f"the gateway died of allocation {n}:\n{starved.g.log()[-3000:]}")
            if starved.failures() == before:
                return n
        raise AssertionError("no end of allocations")

    run(1, int(os.environ.get("STARVE_BY", "37")))
    starved.works()
    assert starved.g.reload().status == 200
