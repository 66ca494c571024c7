"""Smuggling and malformed requests: bad_input_cases.py through the real binary, in one piece, cut in two, byte by byte.

The upstream of these tests closes no connection and reads whatever comes, so that bytes which the gateway let through
show as another request. After each case the gateway must still serve.
"""
import socket
import struct
import threading

import pytest

import bad_input_cases as cases
from harness import Client, Ended, Gateway, Upstream, answer, wait_for

CONFIG = """
return {{
  listen = {{ "127.0.0.1:0" }}, admin = "127.0.0.1:0",
  timeouts = {{ client_head = "20s" }},
  upstreams = {{ u = {{ targets = {{ "{target}" }}, keepalive = {{ max = {idle} }} }} }},
  routes = {{ {{ "all", path = "/*", upstream = "u" }} }},
}}
"""


class Witness(Upstream):
    """Keeps every request, whole or not, and knows when all its connections have come to rest."""

    def __init__(self):
        self.open = 0
        self.change = threading.Condition()
        super().__init__(lambda request, wire: answer(body=b"ok"))

    def _serve(self, sock):
        with self.change:
            self.open += 1
        try:
            super()._serve(sock)
        finally:
            with self.change:
                self.open -= 1

    def settled(self, connections_before):
        """All that has been connected is closed again (the gateway keeps no idle connection to us)."""
        wait_for(lambda: self.open == 0, "the upstream's connections to close")
        return self.connections - connections_before


@pytest.fixture(scope="module")
def witness():
    u = Witness()
    yield u
    u.close()


@pytest.fixture(scope="module")
def place(witness, tmp_path_factory):
    """A gateway that keeps no idle upstream connection: what a case sent is over when its connections are closed."""
    g = Gateway(tmp_path_factory.mktemp("gateway"), CONFIG.format(target=witness.address, idle=0))
    try:
        yield g
        g.stop()
    finally:
        g.kill()


def send_pieces(client, pieces):
    """Each piece in a packet of its own; the gateway may have closed before the last."""
    for piece in pieces:
        try:
            client.send(piece)
        except (ConnectionError, BrokenPipeError):
            return


def read_answers(client, methods, expected):
    answers = []
    for method in methods[: len(expected)] + ["GET"] * (len(expected) - len(methods)):
        try:
            answers.append(client.response(method))
        except (Ended, ConnectionError):
            break
    return answers


def play(g, u, case, pieces):
    """One case; what the client got is asserted here, what the upstream saw is returned."""
    name, _, expected, must_close, note = case
    before, connections = len(u.requests), u.connections
    client = Client(("127.0.0.1", g.port))
    try:
        send_pieces(client, pieces)
        answers = read_answers(client, [], expected)
        got = [a.status for a in answers]
        assert len(got) == len(expected) and all(s in e for s, e in zip(got, expected)), f"{name}: {got}, not {expected} ({note})"
        if must_close:
            assert client.is_closed(), f"{name}: more came, or the connection stays open ({note})"
        elif must_close is False:
            client.send(b"GET /still HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
            assert client.response().status == 200, f"{name}: the connection must stay of use"
            assert client.is_closed()
            expected = expected + [{200}]
            got = got + [200]
        check = g.ask(target="/check")
        assert check.status == 200 and check.body == b"ok", f"{name}: the gateway no longer serves"
    finally:
        client.close()
    u.settled(connections)
    seen = u.requests[before:]
    assert seen[-1].target == "/check" or any(r.target == "/check" for r in seen)
    seen = [r for r in seen if r.target != "/check"]
    whole = [r for r in seen if r.complete]
    assert len(whole) == sum(s == 200 for s in got), f"{name}: the upstream saw {[r.first for r in seen]}"
    assert all(r.target in ("/", "/next", "/still") for r in whole), f"{name}: smuggled: {[r.first for r in whole]}"
    assert len(seen) - len(whole) <= 1, f"{name}: more than one broken request reached the upstream"
    return seen


def each(case):
    return pytest.param(case, id=case[0])


def joined(case):
    return b"".join(case[1])


def has_body_fault(case):
    """Does the head pass, so that the upstream may have begun to get this request before it was refused?"""
    return joined(case).startswith(cases.CHUNKED)


@pytest.mark.parametrize("case", [each(c) for c in cases.CASES])
def test_as_written(place, witness, case):
    seen = play(place, witness, case, case[1])
    if any(s - {200} for s in case[2]) and not has_body_fault(case):
        assert len(seen) == sum(200 in s for s in case[2]), "a refused head reached the upstream"
    facts = cases.UPSTREAM_SEES.get(case[0], {})
    for name in facts.get("no-field", []):
        assert name not in seen[0].headers


def cuts(data):
    """A few places that matter: inside the first line, around its CRLF, in the middle, before the last bytes."""
    first = data.find(b"\n")
    places = {1, 4, first, first + 1, len(data) // 3, len(data) // 2, 2 * len(data) // 3, len(data) - 3, len(data) - 2, len(data) - 1}
    return sorted(p for p in places if 0 < p < len(data))


@pytest.mark.parametrize("case", [each(c) for c in cases.CASES if len(joined(c)) < 4000])
def test_cut_in_two(place, witness, case):
    """The verdict does not depend on where packets end."""
    data = joined(case)
    for at in cuts(data)[:: 1 if len(data) < 60 else 2]:
        play(place, witness, case, [data[:at], data[at:]])


@pytest.mark.parametrize("case", [each(c) for c in cases.CASES if len(joined(c)) < 200][::2])
def test_byte_by_byte(place, witness, case):
    play(place, witness, case, [bytes([b]) for b in joined(case)])


@pytest.mark.parametrize("request_bytes, gone", [pytest.param(*r, id=f"{i}") for i, r in enumerate(cases.REMOVED)])
def test_hop_by_hop_fields_go(place, witness, request_bytes, gone):
    before, connections = len(witness.requests), witness.connections
    client = Client(("127.0.0.1", place.port))
    client.send(request_bytes)
    assert client.response().status == 200
    client.close()
    witness.settled(connections)
    (seen,) = witness.requests[before:]
    for field in gone:
        name, _, value = field.partition(": ")
        assert name not in seen.headers or (value and seen.headers.get(name).lower() != value), f"{field} passed"


@pytest.mark.parametrize("name, data", [pytest.param(*c, id=c[0]) for c in cases.CUT])
@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_an_upload_that_breaks_off_is_no_request(place, witness, name, data, how):
    before, connections = len(witness.requests), witness.connections
    client = Client(("127.0.0.1", place.port))
    client.send(data)
    if data.startswith(b"POST"):  # its head has passed: the upstream must see it cut, so wait until it has begun
        wait_for(lambda: len(witness.requests) > before, "the head at the upstream")
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "half":
        client.sock.shutdown(socket.SHUT_WR)
        client.rest()
    client.close()
    witness.settled(connections)
    assert not any(r.complete for r in witness.requests[before:])
    assert place.ask(target="/check").status == 200


def test_nothing_leaks_into_a_kept_connection(witness, tmp_path):
    """The whole table over one gateway that reuses upstream connections: each whole request that arrived was asked for."""
    g = Gateway(tmp_path, CONFIG.format(target=witness.address, idle=64))
    before = len(witness.requests)
    expected = 0
    try:
        for name, pieces, statuses, must_close, note in cases.CASES:
            client = Client(("127.0.0.1", g.port))
            send_pieces(client, pieces)
            expected += sum(a.status == 200 for a in read_answers(client, [], statuses))
            client.close()
            assert g.ask(target="/check").status == 200
            expected += 1
        g.stop()
    finally:
        g.kill()
    whole = [r for r in witness.requests[before:] if r.complete]
    assert len(whole) == expected
    assert {r.target for r in whole} <= {"/", "/next", "/check"}
