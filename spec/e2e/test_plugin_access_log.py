"""access-log: what stands in the lines of real requests."""
import json
import os
import re
import signal

from harness import answer, wait_for


def lines(path, n=1):
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") >= n, f"{n} lines in {path}")
    return path.read_text().splitlines()


def test_a_json_line_tells_a_whole_request(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, u = proxy(plugins=f'{{ "access-log", path = "{log}" }}')
    g.ask("POST", "/a/b?secret=1", [("user-agent", 'me "and" \\ you\xe4')], b"12345")
    line = json.loads(lines(log)[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert re.fullmatch(r"[0-9a-f]{32}", line["id"])
    assert (line["client"], line["method"], line["host"], line["path"]) == ("127.0.0.1", "POST", "localhost", "/a/b")
    assert (line["route"], line["status"], line["upstream"]) == ("all", 200, u.address)
    assert line["user_agent"] == 'me "and" \\ you\ufffd'
    assert 0 < line["upstream_ms"] <= line["duration_ms"] < 20000
    assert line["bytes_in"] > 100 and line["bytes_out"] > 40
    assert "consumer" not in line and "failure" not in line


def test_failures_and_unrouted_requests_are_logged_too(gateway, tmp_path, free_port):
    log = tmp_path / "access.log"
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {{ "access-log", path = "{log}" }} }},
      routes = {{ {{ "dead", path = "/dead", upstream = "http://127.0.0.1:{free_port}" }} }} }}""")
    assert g.ask(target="/nowhere").status == 404
    assert g.ask(target="/dead").status in (502, 503)
    first, second = map(json.loads, lines(log, 2))
    assert first["status"] == 404 and "route" not in first
    assert second["status"] >= 502 and second["failure"]


def test_fields_of_ones_own_keep_their_types(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, _ = proxy(plugins=f'{{ "access-log", path = "{log}", fields = {{ status = "${{response.status}}", '
                         'who = "${request.headers.x-who}", both = "${request.method} ${response.status}", '
                         'none = "${request.headers.x-none}", ms = "${span.total}" } }')
    g.ask(headers=[("x-who", "me")])
    line = json.loads(lines(log)[0])
    assert line.pop("ms") >= 0
    assert line == {"status": 200, "who": "me", "both": "GET 200"}


def test_combined_lines_cannot_be_forged(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, _ = proxy(plugins=f'{{ "access-log", path = "{log}", format = "combined" }}')
    g.ask(target="/x?y=1", headers=[("user-agent", 'a" 200 1 "b'), ("referer", "http://r/")])
    line = lines(log)[0]
    assert re.fullmatch(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /x\?y=1 HTTP/1\.1" 200 5 "http://r/" '
                        r'"a\\" 200 1 \\"b"', line), line


def test_sampling_none_writes_none(proxy, tmp_path):
    log, all_log = tmp_path / "none.log", tmp_path / "all.log"
    g, _ = proxy(plugins=f'{{ "access-log", path = "{log}", sample = 0 }}, {{ "access-log", path = "{all_log}", id = "b" }}')
    for _ in range(5):
        g.ask()
    lines(all_log, 5)
    assert not log.exists() or log.read_bytes() == b""


def test_files_are_reopened_on_sigusr1(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, _ = proxy(plugins=f'{{ "access-log", path = "{log}" }}')
    g.ask(target="/one")
    lines(log)
    os.rename(log, tmp_path / "old.log")
    g.signal(signal.SIGUSR1)
    wait_for(log.exists, "a new file")
    g.ask(target="/two")
    assert json.loads(lines(log)[0])["path"] == "/two"


def test_a_worker_that_ends_loses_no_line(proxy, tmp_path):
    log = tmp_path / "access.log"
    g, _ = proxy(lambda request, wire: answer(body=b"x"), plugins=f'{{ "access-log", path = "{log}" }}', workers=2)
    client = g.client()
    for _ in range(200):
        client.ask()
    client.close()
    g.stop()
    assert len(log.read_text().splitlines()) == 200


def test_lines_go_to_stdout(proxy):
    g, u = proxy(plugins='{ "access-log", path = "stdout" }')
    g.ask("GET", "/a/b")
    g.stop()
    (line,) = [json.loads(text) for text in g.log().splitlines() if text.startswith("{")]
    assert (line["path"], line["status"]) == ("/a/b", 200)
