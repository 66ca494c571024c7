"""Names of upstreams: the servers that the config names are asked, again when the TTL is over, and others after a reload."""
import socket
import struct
import threading

import pytest

from harness import answer, wait_for
from redis_probe import redis  # noqa: F401


class Dns:
    """Answers A questions for the names in `names` (name -> address), everything else with "no such name"."""

    def __init__(self, names, ttl=1):
        self.names, self.ttl, self.is_mute, self.asked = names, ttl, False, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                question, peer = self.sock.recvfrom(1500)
            except OSError:
                return
            reply = self.reply(question)
            if reply:
                self.sock.sendto(reply, peer)

    def reply(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        end = at + 5
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        if self.is_mute:
            return None
        address = self.names.get(name)
        if isinstance(address, list):  # records: (type, bytes)
            found = [data for k, data in address if k == kind]
            out = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0) + question[12:end]
            return out + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(data)) + data for data in found)
        n = 1 if address and kind == 1 else 0
        flags = 0x8180 if address else 0x8183
        out = question[:2] + struct.pack(">HHHHH", flags, 1, n, 0, 0) + question[12:end]
        if n:
            out += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, self.ttl, 4) + socket.inet_aton(address)
        return out

    def close(self):
        self.sock.close()


@pytest.fixture
def dns():
    started = []

    def start(*args, **options):
        started.append(Dns(*args, **options))
        return started[-1]

    yield start
    for d in started:
        d.close()


class Anywhere:
    """A server on all of 127.0.0.0/8 that answers with the address that was connected to."""

    def __init__(self):
        self.sock = socket.create_server(("0.0.0.0", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        text = b""
        while b"\r\n\r\n" not in text:
            more = s.recv(65536)
            if not more:
                return
            text += more
        s.sendall(answer(headers=[("connection", "close")], body=s.getsockname()[0].encode()))
        s.close()


@pytest.fixture
def anywhere():
    a = Anywhere()
    yield a
    a.sock.close()


def config(servers, port, more="", name="only.there.test"):
    listed = ", ".join(f'"{s}"' for s in servers)
    return f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", resolver = {{ servers = {{ {listed} }}, timeout = "200ms", tries = 2 }},
      {more} routes = {{ {{ "a", path = "/*", upstream = "http://{name}:{port}" }} }} }}"""


def test_the_servers_of_the_config_are_asked_from_the_first_request_on(gateway, dns, anywhere):
    d = dns({"only.there.test": "127.0.0.7"})
    g = gateway(config([d.address], anywhere.port))
    assert g.ask().body == b"127.0.0.7"
    assert ("only.there.test", 1) in d.asked and ("only.there.test", 28) in d.asked


def test_an_answer_is_asked_for_again_when_its_ttl_is_over(gateway, dns, anywhere):
    d = dns({"only.there.test": "127.0.0.7"}, ttl=1)
    g = gateway(config([d.address], anywhere.port))
    assert g.ask().body == b"127.0.0.7"
    d.names["only.there.test"] = "127.0.0.8"
    wait_for(lambda: g.ask().body == b"127.0.0.8", "the new address")


def test_a_server_that_falls_silent_leaves_the_last_good_answer_and_one_warning(gateway, dns, anywhere):
    d = dns({"only.there.test": "127.0.0.7"}, ttl=1)
    g = gateway(config([d.address], anywhere.port))
    assert g.ask().body == b"127.0.0.7"
    d.is_mute = True
    g.wait_log("only.there.test does not resolve")
    n = len(d.asked)
    wait_for(lambda: len(d.asked) >= n + 4, "another round of questions")
    assert g.ask().body == b"127.0.0.7"
    assert g.log().count("does not resolve") == 1
    d.names["only.there.test"] = "127.0.0.9"
    d.is_mute = False
    wait_for(lambda: g.ask().body == b"127.0.0.9", "the new address")
    assert "resolves again" in g.log()


def test_a_reload_asks_other_servers_at_once_and_keeps_what_is_known(gateway, dns, anywhere):
    one, two = dns({"only.there.test": "127.0.0.7"}, ttl=3600), dns({"only.there.test": "127.0.0.8"}, ttl=3600)
    g = gateway(config([one.address], anywhere.port))
    assert g.ask().body == b"127.0.0.7"
    two.is_mute = True
    g.write(config([two.address], anywhere.port))
    assert g.reload().status == 200
    wait_for(lambda: two.asked, "a question to the second server")
    assert g.ask().body == b"127.0.0.7"
    two.is_mute = False
    wait_for(lambda: g.ask().body == b"127.0.0.8", "the answer of the second server")


def test_a_question_under_way_goes_to_the_new_servers(gateway, dns, anywhere):
    one, two = dns({}), dns({"only.there.test": "127.0.0.8"})
    one.is_mute = True
    g = gateway(config([one.address], anywhere.port).replace('"200ms"', '"20s"'))
    assert one.asked
    assert g.ask().status in (502, 503)
    g.write(config([two.address], anywhere.port))
    assert g.reload().status == 200
    wait_for(lambda: g.ask().body == b"127.0.0.8", "the answer of the second server")


def test_a_reload_without_another_resolver_asks_nothing_anew(gateway, dns, anywhere):
    d = dns({"only.there.test": "127.0.0.7"}, ttl=3600)
    g = gateway(config([d.address], anywhere.port))
    n = len(d.asked)
    for _ in range(3):
        assert g.reload().status == 200
    assert g.ask().body == b"127.0.0.7"
    assert len(d.asked) == n


def test_a_refused_reload_goes_back_to_the_servers_in_force(gateway, dns, anywhere):
    one, two = dns({"only.there.test": "127.0.0.7"}, ttl=1), dns({"only.there.test": "127.0.0.8"}, ttl=1)
    g = gateway(config([one.address], anywhere.port))
    (g.folder / "plugins").mkdir()
    (g.folder / "plugins" / "fails.lua").write_text("""
return { name = "fails", doc = "Fails on each worker.", version = "1.0",
         on_worker = function() error("no luck here") end, on_request = function() end }
""")
    g.write(config([two.address], anywhere.port, more='plugins = { "fails" },'))
    assert g.reload().status == 422
    n = len(one.asked)
    wait_for(lambda: len(one.asked) >= n + 4, "questions to the first server")
    assert g.ask().body == b"127.0.0.7"
    n = len(two.asked)
    asked = len(one.asked)
    wait_for(lambda: len(one.asked) >= asked + 4, "more questions to the first server")
    assert len(two.asked) == n


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def srv(priority, weight, port, target):
    return 33, struct.pack(">HHH", priority, weight, port) + labels(target)


def asking(servers, lua):
    return f"""
local mg = require "moongate"
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 1,
  resolver = {{ servers = {{ {", ".join(f'"{s}"' for s in servers)} }}, timeout = "200ms", tries = 1 }},
  routes = {{ {{ "r", path = "/*", plugins = {{ {{ on_request = function(x) {lua} end }} }} }} }},
}}
"""


def test_a_plugin_asks_for_records_of_every_type_once_a_ttl(gateway, dns):
    d = dns({"_sip._tcp.test": [srv(20, 0, 5062, "far.test"), srv(10, 1, 5060, "a.test"), srv(10, 9, 5061, "b.test")],
             "m.test": [(15, struct.pack(">H", 20) + labels("m2.test")), (15, struct.pack(">H", 5) + labels("m1.test"))],
             "t.test": [(16, b"\x05v=1;\n\x03a b"), (16, b"\0")], "9.0.0.127.in-addr.arpa": [(12, labels("nine.test"))],
             "c.test": [(5, labels("other.test"))]}, ttl=3600)
    g = gateway(asking([d.address], """
      local kind = x.request.query.type
      local list, why = mg.dns.resolve(x.request.query.name, { type = kind })
      local picked = list and kind == "SRV" and mg.dns.pick(list)
      return x:respond(200, { list = list or why, priority = picked and picked.priority or nil })
    """))

    def ask(name, kind):
        return g.ask("GET", f"/?name={name}&type={kind}").json()

    server = ask("_SIP._tcp.test", "SRV")
    assert [(r["priority"], r["weight"], r["port"], r["target"], r["ttl"]) for r in server["list"]] == [
        (10, 9, 5061, "b.test", 3600), (10, 1, 5060, "a.test", 3600), (20, 0, 5062, "far.test", 3600)]
    assert server["priority"] == 10
    assert ask("m.test", "MX")["list"] == [{"preference": 5, "name": "m1.test", "ttl": 3600}, {"preference": 20, "name": "m2.test", "ttl": 3600}]
    assert ask("t.test", "TXT")["list"] == [{"text": "v=1;\na b", "ttl": 3600}, {"text": "", "ttl": 3600}]
    assert ask("9.0.0.127.in-addr.arpa", "PTR")["list"] == [{"name": "nine.test", "ttl": 3600}]
    assert ask("c.test", "CNAME")["list"] == [{"name": "other.test", "ttl": 3600}]
    assert ask("t.test", "SRV")["list"] == "no such name" and ask("nowhere.test", "SRV")["list"] == "no such name"
    n = len(d.asked)
    assert ask("_sip._tcp.test", "SRV")["list"] == server["list"] and len(d.asked) == n
    d.is_mute = True
    assert ask("mute.test", "SRV")["list"] == "timed out"


def test_redis_is_found_by_the_resolver_of_the_config(gateway, dns, redis):
    r = redis()
    d = dns({"redis.only.test": "127.0.0.1"}, ttl=1)
    g = gateway(asking([d.address], f"""
      local r = mg.redis.new {{ url = "redis://redis.only.test:{r.port}" }}
      local v, why = r:incr("n")
      return x:respond(200, tostring(v or why))
    """).replace("return {\n", "local mg = mg\nreturn {\n", 1))
    assert g.ask().body == b"1" and g.ask().body == b"2"
    assert ("redis.only.test", 1) in d.asked
    d.names["redis.only.test"] = "127.0.0.77"  # nobody listens there
    r.kill()
    wait_for(lambda: b"refused" in g.ask().body, "the server to be gone")
    r.start()
    d.names["redis.only.test"] = "127.0.0.1"
    wait_for(lambda: g.ask().body.isdigit(), "the name to mean the server again")
    del d.names["redis.only.test"]
    r.kill()
    wait_for(lambda: b"does not resolve" in g.ask().body, "no such name")
