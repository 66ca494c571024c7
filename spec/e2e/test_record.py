"""moongate record, replay and diff: real traffic written down, and run again without a network."""
import base64
import hashlib
import hmac
import json
import os
import signal
import stat
import subprocess

import pytest

from harness import MOONGATE, PATIENCE, Ended, answer, wait_for

JWT_SECRET = "a-secret-of-the-issuer-that-is-long-enough"
KEY, OTHER_KEY, PASSWORD = "key-of-alice-0123456789", "key+of/nobody=12345", "correct horse battery"
SALTED = "sha256:salt:" + hashlib.sha256(b"salt" + PASSWORD.encode()).hexdigest()
CLAIMS = {"sub": "alice", "exp": 4102444800}
BCRYPT_PASSWORD = "bob-has-another-one"
TOP = f"""
consumers = {{
  alice = {{ keys = {{ {{ "{KEY}", id = "laptop" }} }}, basic = {{ {{ "alice", "{SALTED}" }} }}, jwt = {{ {{ "k1", secret = "{JWT_SECRET}" }} }} }},
}},
"""


def token(claims, secret=JWT_SECRET):
    def part(b):
        return base64.urlsafe_b64encode(b).rstrip(b"=").decode()

    text = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "k1"}).encode()) + "." + part(json.dumps(claims).encode())
    return text + "." + part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def command(*args, **options):
    return subprocess.run([MOONGATE, *map(str, args)], capture_output=True, text=True, timeout=PATIENCE * 3, **options)


class Recorder:
    def __init__(self, g, file, *args):
        self.file, self.gateway = file, g
        self.process = subprocess.Popen([MOONGATE, "record", "--admin", f"127.0.0.1:{g.admin_port}", "-o", str(file), *map(str, args)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: "recording begins" in g.log() or self.process.poll() is not None, "the recording to begin")

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self):
        out, err = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture
def recorded(proxy, tmp_path):
    """recorded(route, requests, …): (gateway, documents, file) after requests(g) while all of it was recorded."""

    def start(route, requests, handler=None, top=TOP, args=(), **options):
        g, u = proxy(handler or (lambda r, n: answer(headers=[("x-from", "up")], body=b"hello")), top=top, route=route,
                     listen='"127.0.0.1:0"', **options)
        recorder = Recorder(g, tmp_path / "recording", *args)
        requests(g)
        return g, recorder.end(), recorder.file

    return start


def replay(g, file, *args, config=None):
    return command("replay", file, "-c", config or g.config, *args)


def same(g, file, n):
    done = replay(g, file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{n} replayed, 0 differ" in done.stdout
    return done.stdout


# ---- fidelity ------------------------------------------------------------------------------------------------


def test_what_was_recorded_is_the_same_when_it_runs_again(recorded):
    chain = """plugins = { "key-auth", { "rate-limit", limit = 2, window = "1h", by = "consumer" },
      { id = "dice", on_request = function(x)
          local mg = require "moongate"
          x.request.headers["x-dice"] = tostring(math.random()) .. "-" .. tostring(os.time()) .. "-" .. mg.uuid()
          mg.sleep(30)
        end } }"""

    def requests(g):
        for _ in range(3):
            g.ask(headers=[("x-api-key", KEY)])
        g.ask(headers=[("x-api-key", OTHER_KEY)])
        g.ask()

    g, docs, file = recorded(chain, requests)
    assert [d["answer"]["status"] for d in docs] == [200, 200, 429, 401, 401]
    text = same(g, file, 5)
    assert "dice" in text and "x-dice" in text and "waited " in text


def test_masked_credentials_have_the_outcome_that_they_had(recorded):
    chain = """plugins = { { id = "basic", "basic-auth", when = function(x) return x.request.path == "/basic" end },
      { id = "jwt", "jwt", when = function(x) return x.request.path == "/jwt" end },
      { id = "query", "key-auth", query = "k", when = function(x) return x.request.path == "/query" end } }"""

    def basic(word):
        return [("authorization", "Basic " + base64.b64encode(f"alice:{word}".encode()).decode())]

    def requests(g):
        assert g.ask(target="/basic", headers=basic(PASSWORD)).status == 200
        assert g.ask(target="/basic", headers=basic("wrong-password")).status == 401
        assert g.ask(target="/jwt", headers=[("authorization", "Bearer " + token(CLAIMS))]).status == 200
        assert g.ask(target="/jwt", headers=[("authorization", "Bearer " + token(CLAIMS, "x" * 40))]).status == 401
        assert g.ask(target=f"/query?k={KEY}").status == 200
        assert g.ask(target="/query?k=another-secret-key").status == 401

    g, docs, file = recorded(chain, requests)
    assert [d["answer"]["status"] for d in docs] == [200, 401, 200, 401, 200, 401]
    same(g, file, 6)
    text = file.read_text()
    for secret in (PASSWORD, "wrong-password", KEY, "another-secret-key", token(CLAIMS).split(".")[2]):
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-1] not in text


def test_a_hash_that_is_slow_and_the_memory_of_it_are_replayed(recorded, tmp_path):
    import crypt

    hashed = crypt.crypt(BCRYPT_PASSWORD, crypt.mksalt(crypt.METHOD_SHA256, rounds=1000))
    top = f'consumers = {{ bob = {{ basic = {{ {{ "bob", "{hashed}" }} }} }} }},'
    head = [("authorization", "Basic " + base64.b64encode(f"bob:{BCRYPT_PASSWORD}".encode()).decode())]
    g, docs, file = recorded('plugins = { "basic-auth" }', lambda g: [g.ask(headers=head) for _ in range(2)], top=top)
    asked = [[a["service"] for a in d["asked"] if a["service"] in ("password", "verdict")] for d in docs]
    assert asked == [["verdict", "password"], ["verdict"]]
    same(g, file, 2)


def test_bodies_trailers_heads_and_methods_come_again(recorded):
    def handler(r, n):
        if r.target == "/chunked":
            return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n5\r\nhello\r\n6\r\n again\r\n0\r\nx-sum: 9\r\n\r\n"
        if r.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if r.target == "/304":
            return b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"
        if r.method == "HEAD":
            return b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n"
        return answer(body=b"got " + r.body)

    chain = """plugins = { { id = "upper", on_response_body = function(x) x.piece = x.piece:upper() end },
      { id = "reads", on_request = function(x) local b = x.request:body(100000) x.request.headers["x-bytes"] = tostring(b and #b) end } }"""

    def requests(g):
        g.ask(target="/chunked")
        g.ask(target="/204")
        g.ask(target="/304")
        g.ask("HEAD", "/")
        g.ask("POST", "/", body=b"x" * 20000)
        c = g.client()
        c.send(b"POST /piecemeal HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        c.send(b"3\r\ndef\r\n0\r\nx-trailer: 1\r\n\r\n")
        assert c.response().body == b"GOT ABCDEF"
        c.close()
        g.ask("POST", "/bytes", body=bytes(range(256)))

    g, docs, file = recorded(chain, requests, handler)
    assert docs[0]["received"]["trailers"] == [["x-sum", "9"]]
    same(g, file, 7)


def test_answers_of_the_gateway_itself_come_again(recorded):
    chain = 'methods = { "GET" }, plugins = { { id = "early", on_request = function(x) if x.request.path == "/early" then return x:respond(418, "no") end end } }'

    def requests(g):
        assert g.ask(target="/early").status == 418
        assert g.ask("DELETE", "/").status == 405
        assert g.ask(target="/%zz").status == 400

    g, docs, file = recorded(chain, requests)
    same(g, file, len(docs))


def test_failures_of_the_upstream_come_again(recorded):
    def handler(r, wire):
        if r.target == "/half":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        if r.target == "/nonsense":
            wire.send(b"nonsense\r\n\r\n")
        raise Ended

    def requests(g):
        for target in ("/reset", "/half", "/nonsense"):
            c = g.client()
            c.send(f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            c.rest()
            c.close()

    g, docs, file = recorded("", requests, handler)
    assert len(docs) == 3 and all(d["failure"] for d in docs)
    same(g, file, 3)


def test_a_fault_an_observed_entry_and_one_that_may_fail_come_again(recorded):
    chain = """plugins = {
      { id = "watched", mode = "observe", on_request = function(x) x.request.headers["x-a"] = "1" return x:respond(403, "no") end },
      { id = "may-fail", on_error = "continue", on_request = function() error("oops") end },
      { id = "private", on_request = function(x) x.ctx.t = {} x.ctx.n = 1 end, on_log = function(x) x.ctx.n = nil end },
      { id = "breaks", on_response = function(x) if x.request.path == "/break" then error("broken") end end } }"""
    g, docs, file = recorded(chain, lambda g: (g.ask(), g.ask(target="/break")))
    assert [d["answer"]["status"] for d in docs] == [200, 500]
    assert "observed" in same(g, file, 2)


def test_a_client_that_left_leaves_again(recorded):
    chain = """plugins = { { id = "slow", on_request = function(x) if x.request.path == "/leaves" then require("moongate").sleep(60000) end end } }"""

    def requests(g):
        c = g.client()
        c.send(b"GET /leaves HTTP/1.1\r\nhost: localhost\r\n\r\n")
        wait_for(lambda: g.status()["exchanges"] if "exchanges" in g.status() else True)
        g.ask()
        c.close()
        wait_for(lambda: "client_left" in g.log() or True)
        g.ask()

    g, docs, file = recorded(chain, requests)
    left = [d for d in docs if d.get("failure") == "client_left"]
    assert len(left) == 1 and "answer" not in left[0]
    same(g, file, 3)


SERVICES = """plugins = { { id = "asks", on_request = function(x)
  local mg = require "moongate"
  local h = x.request.headers
  local res = mg.http.get("%s/flags?token=hidden-of-a-question", { headers = { authorization = "Bearer hidden-of-a-header" } })
  h["x-http"] = res and res.status .. res.body
  local gone, why = mg.http.get("http://127.0.0.1:1/")
  h["x-gone"] = tostring(gone) .. tostring(why)
  local both = mg.all { function() return mg.http.get("%s/1").body end, function() return mg.http.get("%s/2").body end }
  h["x-both"] = tostring(both[1]) .. tostring(both[2])
  h["x-incr"] = tostring(mg.shared.numbers:incr("n", 1, 0))
  h["x-shared"] = tostring(mg.shared.numbers:get("other"))
  mg.shared.numbers:set("other", "v" .. math.random(1000))
  h["x-cache"] = tostring(mg.cache("c"):get("k", function() return "computed-" .. math.random(1000000) end))
  h["x-time"] = os.time() .. " " .. os.clock() .. " " .. mg.uuid()
  h["x-recall"] = tostring(x:recall("mine"))
  if x:recall("mine") == nil then x:note("mine", true) end
end } }"""


def test_what_other_services_said_they_say_again(proxy, upstream, tmp_path):
    other = upstream(lambda r, w: answer(headers=[("set-cookie", "s=hidden-of-an-answer")], body=b"flags" + r.target.encode()[-1:] + str(len(other.requests)).encode()))
    g, u = proxy(route=SERVICES % (other.url, other.url, other.url))
    r = Recorder(g, tmp_path / "recording")
    for _ in range(3):
        res = g.ask()
        assert res.status == 200, g.log()
    docs = r.end()
    asked = {a["service"] for d in docs for a in d["asked"]}
    assert {"http", "now", "random_bytes", "random", "verdict"} <= asked and any(s.startswith("shared.") for s in asked), asked
    before = len(other.requests)
    other.close()
    g.stop()
    text = same(g, r.file, 3)
    assert "hidden-of" not in r.file.read_text() and "x-both" in text
    assert len(other.requests) == before


# ---- differences ---------------------------------------------------------------------------------------------------


def test_a_replay_stops_at_the_step_that_differs(recorded, tmp_path):
    chain = 'plugins = { { id = "one", on_request = function(x) x.ctx.a = "1" end }, { id = "two", on_request = function(x) x.request.headers["x-two"] = "2" end } }'
    g, docs, file = recorded(chain, lambda g: (g.ask(), g.ask()))
    other = g.folder / "other.lua"
    other.write_text(g.config.read_text().replace('"x-two"] = "2"', '"x-two"] = "3"'))
    done = replay(g, file, config=other)
    assert done.returncode == 1
    assert "two on_request" in done.stdout or "two" in done.stdout
    assert "differs" in done.stdout and "-> 2" in done.stdout and "-> 3" in done.stdout
    assert "2 replayed, 2 differ" in done.stdout
    lines = [json.loads(line) for line in replay(g, file, "--json", config=other).stdout.splitlines()]
    assert [d["same"] for d in lines] == [False, False] and "two" in lines[0]["step"]
    assert replay(g, file, "-q").stdout == "2 replayed, 0 differ\n"


def test_diff_says_what_a_new_config_would_do(recorded, upstream):
    def requests(g):
        g.ask(target="/a")
        g.ask(target="/b")

    g, docs, file = recorded("", requests)
    text = g.config.read_text()
    new = g.folder / "new.lua"
    new.write_text(text.replace("routes = {", 'routes = { { "b", path = "/b", upstream = "http://127.0.0.1:9", plugins = { "key-auth" } },', 1))
    done = command("diff", g.config, new, "--with", file)
    assert done.returncode == 1, done.stderr
    assert "1 of 2 requests would be served otherwise" in done.stdout
    for expected in ("/b", "route: all -> b", "status: 200 -> 401", "upstream: ", "header www-authenticate: (absent) -> "):
        assert expected in done.stdout, done.stdout
    assert "/a" not in done.stdout
    nothing = command("diff", g.config, g.config, "--with", file)
    assert nothing.returncode == 0 and nothing.stdout == "0 of 2 requests would be served otherwise\n"


def test_diff_names_what_the_recording_cannot_answer_once(recorded):
    g, docs, file = recorded("", lambda g: [g.ask() for _ in range(3)])
    new = g.folder / "new.lua"
    ask = 'plugins = { { id = "asks", on_request = function(x) require("moongate").http.get("http://127.0.0.1:9/flags") end } }, path'
    new.write_text(g.config.read_text().replace("path", ask, 1))
    done = command("diff", g.config, new, "--with", file)
    assert done.stdout.count("asks ") == 1 and "http://127.0.0.1:9/flags" in done.stdout and "not recorded" in done.stdout, done.stdout


def test_two_configs_count_apart_and_with_the_time_of_the_recording(recorded):
    limit = 'plugins = { { id = "limit", "rate-limit", limit = 2, window = "1h" } }, path'
    g, docs, file = recorded("", lambda g: [g.ask() for _ in range(4)])
    old, new = g.folder / "old.lua", g.folder / "new.lua"
    old.write_text(g.config.read_text().replace("path", limit, 1))
    new.write_text(g.config.read_text().replace("path", limit.replace("limit = 2", "limit = 3"), 1))
    done = command("diff", old, new, "--with", file, "--json")
    changed = [json.loads(line)["differences"] for line in done.stdout.splitlines()]
    statuses = [[(d["was"], d["is"]) for d in list_ if d["what"] == "status"] for list_ in changed]
    assert statuses == [[], [], [(429, 200)], []], done.stdout


# ---- what is recorded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args, wanted", [
    (["--path", "/a"], ["/a/1", "/a/2"]),
    (["--method", "POST"], ["/a/2"]),
    (["--host", "other.example"], ["/c"]),
    (["--status", "5xx"], ["/c"]),
    (["--route", "all"], ["/a/1", "/a/2", "/b", "/c"]),
    (["--route", "none"], []),
    (["--count", "2"], ["/a/1", "/a/2"]),
])
def test_filters(recorded, args, wanted):
    def requests(g):
        g.ask(target="/a/1")
        g.ask("POST", "/a/2", body=b"1")
        g.ask(target="/b")
        g.ask(target="/c", host="other.example")

    g, docs, file = recorded("", requests, lambda r, n: answer(500 if r.target == "/c" else 200), args=args)
    assert [d["request"]["target"] for d in docs] == wanted


def test_a_sample_is_a_share(recorded):
    def requests(g):
        c = g.client()
        for _ in range(200):
            c.ask()
        c.close()

    g, docs, file = recorded("", requests, args=["--sample", "0.2"])
    assert 5 < len(docs) < 100


def test_it_ends_by_itself_after_that_time(proxy, tmp_path):
    g, u = proxy()
    r = Recorder(g, tmp_path / "recording", "--seconds", "1")
    assert r.wait() == []


def test_the_file_is_its_owners_alone(recorded):
    g, docs, file = recorded("", lambda g: g.ask())
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


def test_a_body_over_the_limit_is_cut_and_that_is_said(recorded):
    g, docs, file = recorded("", lambda g: g.ask("POST", "/", body=b"x" * 5000), lambda r, n: answer(body=b"y" * 3000), args=["--limit", "1000"])
    for message, n in (("request", 5000), ("received", 3000), ("answer", 3000)):
        assert docs[0][message]["body_cut"] is True and docs[0][message]["body_bytes"] == n and len(docs[0][message]["body"]) == 1000
    same(g, file, 1)


SECRETS = ["hidden-cookie-1", "hidden-session-2", "hidden-api-key-3", "hidden-query-4", "hidden-json-5", "hidden-form-6", "hidden-custom-7",
           "hidden-bearer-8", "hidden-setcookie-9", "hidden-nested-10", "hidden-argument-11"]


def test_no_secret_is_in_the_file(recorded):
    def handler(r, n):  # an upstream that gives everything away
        if len(r.body) > 60000:
            return answer()
        return answer(headers=[("set-cookie", "s=hidden-setcookie-9; Path=/"), ("x-seen", r.headers.get("x-api-key", ""))],
                      body=json.dumps({"access_token": "hidden-json-5", "echo": str(list(r.headers)) + r.body.decode()}).encode())

    def requests(g):
        g.ask(target="/?token=hidden-query-4&mine=hidden-argument-11&a=1", headers=[
            ("cookie", "a=hidden-cookie-1; b=hidden-session-2"), ("x-api-key", "hidden-api-key-3"), ("mine", "hidden-custom-7"),
            ("authorization", "Bearer hidden-bearer-8")])
        g.ask("POST", "/", headers=[("content-type", "application/json")],
              body=b'{"user":{"p\\u0061ssword" : {"deep":"hidden-nested-10"}},"mine": "hidden-custom-7"}')
        g.ask("POST", "/", headers=[("content-type", "application/x-www-form-urlencoded")], body=b"password=hidden-form-6&b=2")
        g.ask("POST", "/", headers=[("content-type", "application/json")], body=b'{"password":"hidden-form-6' + b"x" * 70000)

    chain = 'plugins = { { id = "tells", on_request = function(x) x.request.headers["x-copy"] = x.request.headers["x-api-key"] end } }'
    g, docs, file = recorded(chain, requests, handler, args=["--secret", "mine"])
    assert len(docs) == 4
    text = file.read_text()
    bodies = b"".join(base64.b64decode(part) for part in [v["base64"] for v in walk(docs) if isinstance(v, dict) and "base64" in v])
    for secret in SECRETS:
        assert secret not in text, secret
        assert secret.encode() not in bodies
        for shift in range(3):
            coded = base64.b64encode(b"x" * shift + secret.encode()).decode()[4:-4]
            assert coded not in text, secret
    assert '"a=1' in text or "a=1" in text
    same(g, file, 4)


def walk(v):
    yield v
    for item in v.values() if isinstance(v, dict) else v if isinstance(v, list) else ():
        yield from walk(item)


def test_secrets_are_kept_on_demand(recorded):
    g, docs, file = recorded('plugins = { "key-auth" }', lambda g: g.ask(headers=[("x-api-key", KEY)]), args=["--keep-secrets"])
    assert KEY in file.read_text() and docs[0]["has_secrets"] is True
    same(g, file, 1)


# ---- running ------------------------------------------------------------------------------------------------------------


def test_there_is_one_recording_at_a_time(proxy, tmp_path):
    g, u = proxy()
    r = Recorder(g, tmp_path / "one")
    second = command("record", "--admin", f"127.0.0.1:{g.admin_port}", "--count", "1")
    assert second.returncode == 1 and "another recording is under way" in second.stderr
    g.ask()
    assert len(r.end()) == 1
    third = Recorder(g, tmp_path / "two", "--count", "1")
    wait_for(lambda: g.log().count("recording begins") == 2)
    g.ask()
    assert len(third.wait()) == 1


def test_a_reload_and_its_new_workers_go_on_recording(proxy, tmp_path):
    g, u = proxy(workers=None)
    r = Recorder(g, tmp_path / "recording")
    g.ask()
    g.write(g.config.read_text().replace("return {", "return { workers = 3,", 1))
    assert g.reload().status == 200
    for _ in range(20):
        g.ask()
    assert len(r.end()) == 21


def test_a_gateway_that_stops_is_told(proxy, tmp_path):
    g, u = proxy()
    r = Recorder(g, tmp_path / "recording")
    g.ask()
    wait_for(lambda: (tmp_path / "recording").read_text())
    g.stop()
    out, err = r.process.communicate(timeout=PATIENCE)
    assert r.process.returncode == 1 and err
    assert len((tmp_path / "recording").read_text().splitlines()) == 1


def test_who_takes_too_slowly_loses_some_and_is_told(proxy, tmp_path):
    g, u = proxy(lambda r, n: answer(body=b"z" * (1 << 20)))
    r = Recorder(g, tmp_path / "recording", "--limit", 1 << 20)
    r.process.send_signal(signal.SIGSTOP)
    try:
        c = g.client()
        for _ in range(24):  # two megabytes each
            assert c.ask().status == 200
        c.close()
        assert g.rss_kb() < 700_000
    finally:
        r.process.send_signal(signal.SIGCONT)
    r.process.send_signal(signal.SIGINT)
    out, err = r.process.communicate(timeout=PATIENCE)
    assert r.process.returncode == 0 and "dropped" in err


# ---- files that are not what they should be --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage, said", [
    (lambda text: "nonsense\n", ":1: no JSON"),
    (lambda text: text + "[]\n", ":2: this is no recording"),
    (lambda text: text.replace('"version":1', '"version":7', 1), ":1: version 7 of the format"),
    (lambda text: "", "nothing is recorded there"),
    (lambda text: text + "[" * 100000 + "\n", ":2: no JSON"),
    (lambda text: text.replace('"request":{', '"request":7,"x":{', 1), ":1: request: an object expected"),
    (lambda text: text.replace('"headers":[', '"headers":[7,', 1), ":1: request.headers: pairs expected"),
    (lambda text: text.replace('"asked":[', '"asked":["x"],"y":[', 1), ":1: asked: "),
])
def test_a_damaged_recording_is_refused_with_its_line(recorded, damage, said):
    g, docs, file = recorded("", lambda g: g.ask())
    file.write_text(damage(file.read_text()))
    done = replay(g, file)
    assert done.returncode == 1 and said in done.stderr + done.stdout, done.stderr + done.stdout
    assert "traceback" not in done.stderr.lower()


def test_a_line_that_is_cut_off_is_left_out(recorded):
    g, docs, file = recorded("", lambda g: (g.ask(), g.ask()))
    text = file.read_text()
    file.write_text(text[: len(text) - 100])
    done = replay(g, file)
    assert done.returncode == 0 and "1 replayed, 0 differ" in done.stdout and ":2: cut off" in done.stdout


def test_a_large_recording_takes_no_more_memory(recorded):
    g, docs, file = recorded("", lambda g: g.ask("POST", "/", body=b"x" * 60000))
    line = file.read_text()
    with open(file, "w") as out:
        for _ in range(100_000_000 // len(line) if not os.environ.get("MOONGATE_SANITIZED") and "asan" not in MOONGATE else 20):
            out.write(line)
    limit = ["bash", "-c", 'ulimit -v 700000; exec "$@"', "limited"] if "san" not in MOONGATE else []
    done = subprocess.run([*limit, MOONGATE, "replay", str(file), "-q", "-c", str(g.config)], capture_output=True, text=True, timeout=PATIENCE * 6)
    assert done.returncode == 0 and ", 0 differ" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
