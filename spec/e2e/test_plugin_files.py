"""A plugin's file changed on disk: a reload takes it up, the old code serves until its last exchange ends."""
import threading

import pytest

from harness import answer
from test_safety import build, lua


def so(folder, n):
    build(folder, f'(void)mg_header_set(x, MG_RESPONSE, "x-code", 6, "{n}", 1);', phase="on_response", name="mine")


def script(folder, n):
    folder.mkdir(exist_ok=True)
    new = folder / "mine.new"
    new.write_text(f'return {{ name = "mine", on_response = function(x) x.response.headers["x-code"] = "{n}" end }}')
    new.rename(folder / "mine.lua")


KINDS = {"a shared object": (so, "mine.so"), "a script": (script, "mine.lua")}


@pytest.fixture
def served(gateway, upstream, tmp_path):
    def start(kind, handler=None, workers=2):
        write, name = KINDS[kind]
        folder = tmp_path / "own"
        write(folder, 1)
        u = upstream(handler)
        g = gateway(f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = {{ "{folder}" }},
          routes = {{ {{ "a", path = "/*", upstream = "{u.url}", plugins = {{ "mine" }} }} }} }}""", workers=workers)
        return g, u, (lambda n: write(folder, n)), folder / name

    return start


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_comes_into_force_under_load_and_nothing_is_lost(served, kind):
    g, u, write, path = served(kind)
    stop, seen, errors = threading.Event(), [], []

    def load():
        try:
            client = g.client()
            mine = []
            while not stop.is_set():
                res = client.ask()
                assert res.status == 200
                mine.append(int(res.headers.get("x-code")))
            client.close()
            assert mine == sorted(mine), mine
            seen.append(mine[-1])
        except Exception as e:
            errors.append(repr(e))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for n in range(2, 8):
        write(n)
        assert g.reload().status == 200
        assert g.ask().headers.get("x-code") == str(n)
    stop.set()
    for t in threads:
        t.join()
    assert not errors, errors
    assert set(seen) <= {6, 7}


@pytest.mark.parametrize("kind", KINDS)
def test_the_old_code_serves_the_exchanges_that_began_with_it(served, kind):
    go = threading.Event()

    def handler(request, wire):
        if request.target == "/slow":
            go.wait(20)
        return answer(body=b"x")

    g, u, write, path = served(kind, handler)
    slow = g.client()
    slow.request("GET", "/slow")
    u.wait(1)
    write(2)
    assert g.reload().status == 200
    assert g.ask().headers.get("x-code") == "2"
    path.unlink()  # the old code does not need its file either
    go.set()
    assert slow.response().headers.get("x-code") == "1"
    slow.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_has_gone_or_is_half_written_changes_nothing_and_says_why(served, kind):
    g, u, write, path = served(kind)
    whole = path.read_bytes()
    for content in (None, whole[: len(whole) // 2], b""):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        res = g.reload()
        assert res.status == 422 and "mine" in res.body.decode(), res.body
        assert "gateway.lua:2: routes.a.plugins[1]" in res.body.decode()
        assert g.ask().headers.get("x-code") == "1"
    write(2)
    assert g.reload().status == 200
    assert g.ask().headers.get("x-code") == "2"
