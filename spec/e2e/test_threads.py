"""Everything at once on several workers: every plugin, reloads, signals, scrapes, names, a drain.

Runs on the build under test, and once more on build/tsan when there is one, where a data race is a failure.
"""
import os
import signal
import threading
import time

import pytest

import harness
from harness import MOONGATE, ROOT, Ended, answer

TSAN = ROOT / "build/tsan/bin/moongate"
PROGRAMS = [MOONGATE] + ([str(TSAN)] if TSAN.exists() and "tsan" not in MOONGATE else [])
RELOADS = 25
SECRET = "0123456789abcdef0123456789abcdef"
SHA256_OF_SALT_PASSWORD = "sha256:s:cd3e193083e1368c655289504d4944d215d002c83e2bf6a54efcefeaaf52cdc2"


def config(port, cert, n):
    """Each reload has another number of workers, another list of upstreams, another text in the Lua policy, another set of consumers."""
    crypt = "$2b$04$" + "CwTycUXWue0Thq9StjUM0u" + "J8E5n5Ek9p7bJz0m6b1y2QmXr8cZ1Wy"
    return f"""
local mg = require "moongate"
local up = {{ targets = {{ "localhost:{port}", "127.0.0.1:{port}" }} }}
return {{
  listen = {{ {{ "127.0.0.1:0", name = "plain" }}, {{ "127.0.0.1:0", name = "tls", tls = {{ cert = "{cert[0]}", key = "{cert[1]}" }} }} }},
  admin = "127.0.0.1:0", workers = {1 + (n + 2) % 3}, drain = "2s",
  trusted_proxies = {{ "127.0.0.0/8" }}, forwarded = "both",
  upstreams = {{ main = up, other{n % 3} = {{ targets = {{ "127.0.0.1:{port}" }} }} }},
  consumers = {{
    alice = {{ groups = {{ "gold" }}, keys = {{ "k-alice" }}, basic = {{ {{ "alice", "{SHA256_OF_SALT_PASSWORD}" }} }} }},
    bob = {{ keys = {{ "k-{n}" }}, basic = {{ {{ "bob", "{crypt}" }} }}, jwt = {{ {{ "shop", algorithm = "HS256", secret = "{SECRET}" }} }} }},
  }},
  plugins = {{ "request-id", {{ "access-log", path = "access.log" }}, {{ "access-log", path = "plain.log", format = "combined" }},
              {{ "metrics", consumers = true }} }},
  routes = {{
    {{ "key", path = "/key/*", upstream = "main", plugins = {{ "key-auth",
        {{ "rate-limit", limit = 100000, window = "1m", by = "consumer", tiers = {{ gold = {{ limit = 9, window = "1s" }} }} }} }} }},
    {{ "basic", path = "/basic/*", upstream = "main", plugins = {{ {{ "basic-auth", cache = "0s" }} }} }},
    {{ "jwt", path = "/jwt/*", upstream = "main", plugins = {{ "jwt" }} }},
    {{ "limit", path = "/limit/*", plugins = {{ {{ "rate-limit", limit = 50, window = "1s", by = "ip", x_headers = true }},
        {{ "respond", status = 200, body = "limited {n}" }} }} }},
    {{ "cors", path = "/cors/*", upstream = "main", plugins = {{ {{ "cors", origins = {{ "https://*.example.com" }} }},
        {{ "ip-restriction", allow = {{ "127.0.0.0/8" }} }}, {{ "request-size-limit", "1m" }},
        {{ "headers", request = {{ set = {{ ["x-n"] = "{n} ${{client.ip}}" }} }} }} }} }},
    {{ "lua", path = "/lua/*", plugins = {{ {{ on_request = function(x)
        x.ctx.n = {n}
        mg.sleep(0.001)
        return x:respond(200, {{ message = "lua " .. x.ctx.n, id = x.id }})
      end, on_log = function(x) mg.log.debug("done " .. x.ctx.n) end }} }} }},
    {{ "bodies", path = "/bodies/*", upstream = "main", plugins = {{ {{
        on_request_body = function(x) x.piece = x.piece .. "" end,
        on_response = function(x) x.response.headers["x-lua"] = "{n}" end,
        on_response_body = function(x) x.piece = x.piece:upper() end }} }} }},
    {{ "other", path = "/*", upstream = "other{n % 3}" }},
  }},
}}
"""


def token():
    import base64
    import hashlib
    import hmac
    import json

    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    text = part(b'{"alg":"HS256","kid":"shop"}') + b"." + part(json.dumps({"exp": int(time.time()) + 3600}).encode())
    return (text + b"." + part(hmac.new(SECRET.encode(), text, hashlib.sha256).digest())).decode()


def asks(k):
    import base64
    basic = ("authorization", "Basic " + base64.b64encode(b"alice:password").decode())
    wrong = ("authorization", "Basic " + base64.b64encode(b"bob:wrong").decode())
    return [
        ("GET", "/key/a", [("x-api-key", "k-alice")], None, (200, 429)),
        ("GET", "/key/b", [("x-api-key", "nobody's")], None, (401,)),
        ("GET", "/basic/a", [basic], None, (200,)),
        ("GET", "/basic/b", [wrong], None, (401, 503)),
        ("GET", "/jwt/a", [("authorization", "Bearer " + token())], None, (200,)),
        ("GET", "/limit/a", [], None, (200, 429)),
        ("GET", "/cors/a?x=1", [("origin", "https://a.example.com"), ("x-forwarded-for", "192.0.2.1, 127.0.0.9")], None, (200, 403)),
        ("OPTIONS", "/cors/a", [("origin", "https://a.example.com"), ("access-control-request-method", "PUT")], None, (204,)),
        ("GET", "/lua/a", [], None, (200,)),
        ("POST", "/bodies/a", [], b"b" * 70000, (200,)),
        ("GET", f"/other/{k}", [], None, (200,)),
    ]


class Load:
    def __init__(self, g, tls):
        self.g, self.tls, self.stop = g, tls, threading.Event()
        self.errors, self.served = [], 0
        self.threads = [threading.Thread(target=self.client, args=(k,)) for k in range(6)]
        self.threads += [threading.Thread(target=self.scrape), threading.Thread(target=self.rude)]
        for t in self.threads:
            t.start()

    def client(self, k):
        try:
            name = "tls" if k % 3 == 0 else "plain"
            client, n = self.g.client(name, tls=self.tls if name == "tls" else None), 0
            while not self.stop.is_set():
                for method, target, headers, body, expected in asks(k):
                    res = client.ask(method, target, headers, body)
                    assert res.status in expected, (method, target, res.status, res.body)
                    self.served += 1
                    if res.headers.get("connection") == "close":
                        client.close()
                        client = self.g.client(name, tls=self.tls if name == "tls" else None)
                n += 1
                if n % 5 == 0:
                    client.close()
                    client = self.g.client(name, tls=self.tls if name == "tls" else None)
            client.close()
        except Exception as e:
            self.errors.append(repr(e))

    def scrape(self):
        try:
            while not self.stop.is_set():
                for target in ("/metrics", "/status", "/live", "/ready"):
                    assert self.g.admin("GET", target).status == 200
                time.sleep(0.02)
        except Exception as e:
            self.errors.append(repr(e))

    def rude(self):
        """Clients that leave in the middle."""
        while not self.stop.is_set():
            for target in ("/lua/x", "/basic/x", "/other/slow", "/bodies/x"):
                client = self.g.client("plain")
                client.request("GET", target, [("authorization", "Basic Ym9iOng=")])
                client.close()
            time.sleep(0.01)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.errors, self.errors


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: "tsan" if "tsan" in p else "this build")
def test_everything_at_once_on_one_to_three_workers(gateway, upstream, certs, program):
    def handler(request, wire):
        if request.target.endswith("slow"):
            time.sleep(0.02)
        return answer(body=b"up " + request.body[:1000])

    u = upstream(handler)
    cert = certs.pem("localhost")
    g = gateway(config(u.port, cert, 0), workers=0, program=program,
                env={"TSAN_OPTIONS": f"{harness.TSAN}:halt_on_error=0:exitcode=66:second_deadlock_stack=1"})
    load = Load(g, certs.client())
    for i in range(1, RELOADS + 1):
        g.write(config(u.port, cert, i))
        if i % 4 == 0:
            g.signal(signal.SIGHUP)
        else:
            res = g.reload()
            assert res.status == 200, res.body
        if i % 5 == 0:
            for name in ("access.log", "plain.log"):
                os.rename(g.folder / name, g.folder / f"{name}.{i}")
            g.signal(signal.SIGUSR1)
        if i % 6 == 0:
            g.write("return { listen = 7 }")
            assert g.reload().status == 422
        time.sleep(0.05)
    load.end()
    assert load.served > 100
    assert g.ask("GET", "/lua/a", name="plain").status == 200
    held = g.client("plain")  # a drain with requests under way
    held.request("GET", "/other/slow")
    time.sleep(0.005)
    g.signal(signal.SIGTERM)
    try:
        assert held.response().status in (200, 503)
    except (Ended, ConnectionError):
        pass
    g.stop()
