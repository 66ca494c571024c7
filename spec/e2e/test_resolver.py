"""Names of upstreams: the servers that the config names are asked, again when the TTL is over, and others after a reload."""
import socket
import struct
import threading

import pytest

from harness import answer, wait_for


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
