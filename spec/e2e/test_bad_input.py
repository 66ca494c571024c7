"""The smuggling and bad-input suite: raw requests from bad_input_cases.py, and what must come of each."""
import socket
import time

import pytest

from bad_input_cases import CASES, CUT, REMOVED, UPSTREAM_SEES
from harness import Ended, wait_for


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from harness import Gateway, Upstream

    u = Upstream()
    g = Gateway(tmp_path_factory.mktemp("bad"), f"""
return {{ listen = "127.0.0.1:0", timeouts = {{ client_head = "2s", client_body = "2s" }},
  routes = {{ {{ "all", upstream = "{u.url}" }} }} }}""")
    yield g, u
    g.stop()
    u.close()


def send_pieces(client, pieces):
    try:
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(0.02)  # a packet of its own
            client.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before all was sent


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_bad_input(pair, case):
    g, u = pair
    name, pieces, statuses, must_close, note = case
    u.requests.clear()
    client = g.client()
    send_pieces(client, pieces)
    got = []
    for expected in statuses:
        try:
            res = client.response()
        except (Ended, ConnectionError) as e:
            raise AssertionError(f"{note}: closed after {got}, expected {expected}") from e
        got.append(res.status)
        assert res.status in expected, f"{note}: {got}"
    if must_close:
        assert client.is_closed(), f"{note}: stays open, or says more: {client.buffer!r}"
    else:
        assert client.ask("GET", "/still-there").status == 200, note
    passed = [s for s in got if 200 <= s < 300]
    seen = [r for r in u.requests if r.target != "/still-there"]
    whole = [r for r in seen if r.complete]
    assert len(whole) == len(passed), f"{note}: the upstream saw {[(r.first, r.body) for r in whole]}"
    for kind, what in UPSTREAM_SEES.get(name, {}).items():
        for field in what:
            assert (field in seen[0].headers) == (kind == "field"), note
    client.close()


@pytest.mark.parametrize("request_, gone", REMOVED)
def test_fields_of_one_connection_do_not_pass(pair, request_, gone):
    g, u = pair
    u.requests.clear()
    client = g.client()
    client.send(request_)
    assert client.response().status == 200
    fields = [(k.lower(), v.lower()) for k, v in u.wait()[0].headers]
    for name in gone:
        if ": " in name:
            assert tuple(name.split(": ", 1)) not in fields
        else:
            assert name not in [k for k, _ in fields]


@pytest.mark.parametrize("name, sent", CUT, ids=[c[0] for c in CUT])
def test_a_cut_upload_is_never_complete_upstream(pair, name, sent):
    g, u = pair
    u.requests.clear()
    client = g.client()
    client.send(sent)
    client.sock.shutdown(socket.SHUT_WR)
    rest = client.rest()
    assert not rest or rest.startswith(b"HTTP/1.1 4"), rest
    assert g.ask("GET", "/after").status == 200
    wait_for(lambda: any(r.target == "/after" for r in u.requests), "the request after")
    assert all(not r.complete for r in u.requests if r.target != "/after")
