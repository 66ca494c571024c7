"""What plugins keep: dictionaries shared by all workers, and the store."""
import os
import re
import signal
import sqlite3
import threading

import pytest

from harness import IS_SANITIZED, run, wait_for


def config(plugin, top=""):
    return f"""
local mg = require "moongate"
return {{
  listen = "127.0.0.1:0", admin = "127.0.0.1:0", {top}
  routes = {{ {{ "all", path = "/*", plugins = {{ {{ on_request = function(x) {plugin} end }} }} }} }},
}}
"""


def in_parallel(n, fn):
    threads = [threading.Thread(target=fn, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


COUNT = 'return x:respond(200, tostring(mg.shared.hits:incr("n", 1, 0)))'
VISIT = """
  local s = mg.store("visits")
  local n, why = s:incr(x.request.path)
  return x:respond(n and 200 or 503, tostring(n or why))
"""


# ---- shared ------------------------------------------------------------------------------------------

def test_three_workers_count_exactly_and_a_reload_loses_nothing(gateway):
    g = gateway(config(COUNT), workers=3)
    seen = []

    def ask(_):
        for _ in range(50):
            client = g.client()  # another connection, perhaps another worker
            seen.append(int(client.ask().body))
            client.close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    g.write(config(COUNT, 'shared = { hits = "64k" },'))
    g.reload()
    for t in threads:
        t.join()
    assert sorted(seen) == list(range(1, 201))


def test_a_full_dictionary_stays_within_its_size_and_is_told_in_the_metrics(gateway):
    fill = 'local n = mg.shared.n:incr("n", 1, 0) for i = 1, 500 do mg.shared.big:set(n .. ":" .. i, ("x"):rep(1000)) end return x:respond(200, "ok")'
    g = gateway(config(fill, 'shared = { big = "2m" },'))
    client = g.client()
    for _ in range(5):
        assert client.ask().status == 200
    before = g.rss_kb(g.child_pid())
    for _ in range(60):
        assert client.ask().status == 200
    metrics = g.admin("GET", "/metrics").body.decode()
    used = int(re.search(r'moongate_shared_bytes\{dictionary="big"\} (\d+)', metrics)[1])
    assert 1_900_000 < used <= 2 << 20
    assert int(re.search(r'moongate_shared_evictions_total\{dictionary="big"\} (\d+)', metrics)[1]) > 20000
    assert IS_SANITIZED or g.rss_kb(g.child_pid()) - before < 12000  # a sanitizer keeps what was freed for a while


@pytest.mark.parametrize("value, said", [('{ a = "1k" }', "shared.a"), ('{ ["a b"] = "1m" }', "visible ASCII"), ('{ a = "lots" }', "shared.a")])
def test_a_size_that_makes_no_sense_is_a_mistake_with_its_line(tmp_path, value, said):
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{\n  listen = "127.0.0.1:0",\n  shared = {value},\n}}\n')
    r = run("check", "-c", str(path))
    assert r.returncode == 1
    assert "gateway.lua:3: shared" in r.stdout + r.stderr
    assert said in r.stdout + r.stderr


# ---- the store ---------------------------------------------------------------------------------------

def test_the_store_survives_a_restart(gateway, tmp_path):
    text = config(VISIT, f'store = "{tmp_path}/state.db",')
    g = gateway(text)
    assert [g.ask(target="/a").body for _ in range(3)] == [b"1", b"2", b"3"]
    g.stop()
    g = gateway(text)
    assert g.ask(target="/a").body == b"4"
    assert g.ask(target="/b").body == b"1"


def test_no_answered_write_is_lost_when_the_process_is_killed(gateway, tmp_path):
    text = config(VISIT, f'store = "{tmp_path}/state.db",')
    g = gateway(text, workers=2, args=["--no-supervisor"])
    highest = {}

    def ask(i):
        try:
            client = g.client()
            while True:
                highest[i] = int(client.ask(target=f"/{i}").body)
        except Exception:
            pass

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    wait_for(lambda: len(highest) == 8 and min(highest.values()) >= 10, "ten answers for each")
    os.kill(g.process.pid, signal.SIGKILL)
    for t in threads:
        t.join()
    g.process.wait()
    g = gateway(text)
    for i, n in highest.items():
        # one more may have been written and not answered
        assert int(g.ask(target=f"/{i}").body) in (n + 1, n + 2)


def test_writes_of_one_moment_are_all_done(gateway, tmp_path):
    g = gateway(config(VISIT, f'store = "{tmp_path}/state.db",'), workers=3)
    seen = []
    in_parallel(20, lambda i: seen.extend(int(g.ask(target="/same").body) for _ in range(5)))
    assert sorted(seen) == list(range(1, 101))


def test_a_plugin_is_told_when_the_config_names_no_store(gateway):
    g = gateway(config(VISIT))
    assert g.ask().status == 500
    g.wait_log('the config names no store (store = "FILE")')


def test_another_process_that_holds_the_file_is_an_error_for_the_caller_and_a_line_in_the_log(gateway, tmp_path):
    g = gateway(config(VISIT, f'store = "{tmp_path}/state.db",'))
    assert g.ask().body == b"1"
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    r = g.ask()
    assert (r.status, r.body) == (503, b"too many of these at once")
    g.wait_log("database is locked")
    other.execute("ROLLBACK")
    assert g.ask().body == b"2"


def test_a_reload_may_name_another_file(gateway, tmp_path):
    g = gateway(config(VISIT, f'store = "{tmp_path}/one.db",'))
    assert g.ask().body == b"1"
    g.write(config(VISIT, f'store = "{tmp_path}/two.db",'))
    g.reload()
    assert g.ask().body == b"1"
    g.write(config(VISIT, f'store = "{tmp_path}/one.db",'))
    g.reload()
    assert g.ask().body == b"2"


def test_a_damaged_or_impossible_file_is_a_mistake_with_its_line(tmp_path):
    (tmp_path / "bad.db").write_text("this is no database " * 100)
    path = tmp_path / "gateway.lua"
    for store in ("bad.db", "nowhere/state.db", "."):
        path.write_text(f'return {{\n  listen = "127.0.0.1:0",\n  store = "{store}",\n}}\n')
        r = run("check", "-c", str(path))
        assert r.returncode == 1, store
        assert "gateway.lua:3: store: " in r.stdout + r.stderr, store
    path.write_text('return {\n  listen = "127.0.0.1:0",\n  store = "new.db",\n}\n')
    assert run("check", "-c", str(path)).returncode == 0
    assert not (tmp_path / "new.db").exists()
