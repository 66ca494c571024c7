"""key-auth and basic-auth: every place, every hash, who counts as whom."""
import base64
import ctypes
import ctypes.util
import hashlib
import threading
import time
import warnings

import pytest

import harness

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    crypt = pytest.importorskip("crypt")


def argon2(password, kind="id", salt=b"0123456789abcdef"):
    """The encoded hash, by the library itself; None where there is none."""
    name = ctypes.util.find_library("argon2")
    if not name:
        return None
    out = ctypes.create_string_buffer(256)
    rc = getattr(ctypes.CDLL(name), f"argon2{kind}_hash_encoded")(
        ctypes.c_uint32(2), ctypes.c_uint32(1 << 12), ctypes.c_uint32(1), password.encode(), ctypes.c_size_t(len(password.encode())), salt,
        ctypes.c_size_t(len(salt)), ctypes.c_size_t(32), out, ctypes.c_size_t(256))
    assert rc == 0
    return out.value.decode()


def hashed(form, password):
    if form.startswith("argon2"):
        return argon2(password, form[6:]) or pytest.skip("needs libargon2")
    if form == "sha256":
        return "sha256:pepper:" + hashlib.sha256(b"pepper" + password.encode()).hexdigest()
    prefix = {"bcrypt": "$2b$06$abcdefghijklmnopqrstuu", "bcrypt-y": "$2y$05$abcdefghijklmnopqrstuu", "sha512": "$6$rounds=5000$salt", "sha256-crypt": "$5$salt"}[form]
    got = crypt.crypt(password, prefix)
    if not got or got.startswith("*"):
        pytest.skip(f"this libcrypt makes no {form}")
    return got


def basic(text, scheme="Basic"):
    return [("authorization", f"{scheme} " + base64.b64encode(text.encode()).decode())]


WHO = '{ "headers", request = { set = { ["x-who"] = "${consumer.name}/${consumer.credential}" } } }'


def who(g, u, *args, **options):
    """Whom the upstream was told of, or the status of the refusal."""
    n = len(u.requests)
    res = g.ask(*args, **options)
    if res.status == 200:
        return u.last.headers.get("x-who", "")
    assert len(u.requests) == n
    return res.status


# ---- basic-auth -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["argon2id", "argon2i", "bcrypt", "bcrypt-y", "sha512", "sha256-crypt", "sha256"])
def test_every_form_of_hash(proxy, form):
    g, u = proxy(top=f'consumers = {{ alice = {{ basic = {{ {{ "alice", "{hashed(form, "wonder:land é")}", id = "main" }} }} }} }},',
                 plugins='{ "basic-auth", realm = "inner" }, ' + WHO)
    client = g.client()
    for _ in range(2):  # hashed, then remembered
        assert client.ask(headers=basic("alice:wonder:land é")).status == 200
        assert u.last.headers.get("x-who") == "alice/main" and "authorization" not in u.last.headers
    for bad in ("alice:wonder:land", "alice:", "Alice:wonder:land é", "bob:wonder:land é", ":wonder:land é", "alice"):
        res = client.ask(headers=basic(bad))
        assert res.status == 401, bad
        assert res.headers.get("www-authenticate") == 'Basic realm="inner", charset="UTF-8"'
    assert len(u.requests) == 2


def test_what_is_no_basic_credential_is_refused(proxy):
    g, u = proxy(top=f'consumers = {{ a = {{ basic = {{ {{ "a", "{hashed("sha256", "b")}" }} }} }} }},', plugins='"basic-auth"')
    assert g.ask(headers=basic("a:b")).status == 200
    assert g.ask(headers=basic("a:b", "bAsIc")).status == 200
    for bad in ("Basic", "Basic ", "Basic !!!!", "Basic YTpi=", "Basic YTpi YTpi", "Bearer YTpi", "YTpi", "Basic " + "YTpi" * 3000):
        assert g.ask(headers=[("authorization", bad)]).status == 401, bad
    assert g.ask().status == 401
    assert len(u.requests) == 2


def test_credentials_may_go_on_and_strangers_may_have_a_name(proxy):
    g, u = proxy(top=f'consumers = {{ a = {{ basic = {{ {{ "a", "{hashed("sha256", "b")}" }} }} }}, guest = {{}} }},',
                 plugins='{ "basic-auth", hide_credentials = false, anonymous = "guest" }, ' + WHO)
    assert who(g, u, headers=basic("a:b")).startswith("a/")
    assert u.last.headers.get("authorization").startswith("Basic ")
    assert who(g, u) == "guest/"
    assert who(g, u, headers=basic("a:c")) == 401, "a wrong password is no stranger"


def test_a_changed_hash_makes_a_remembered_password_void(proxy):
    g, u = proxy(top=f'consumers = {{ a = {{ basic = {{ {{ "a", "{hashed("sha512", "one")}" }} }} }} }},', plugins='"basic-auth"')
    assert g.ask(headers=basic("a:one")).status == 200
    g.write(g.config.read_text().replace(hashed("sha512", "one"), hashed("sha512", "two")))
    assert g.reload().status == 200
    assert g.ask(headers=basic("a:one")).status == 401
    assert g.ask(headers=basic("a:two")).status == 200


def test_hashing_holds_no_other_request_up(proxy):
    slow = hashed("sha512", "x").replace("rounds=5000", "rounds=400000")
    g, u = proxy(top=f'consumers = {{ a = {{ basic = {{ {{ "a", "{slow}" }} }} }} }},',
                 plugins='{ "basic-auth", when = function(x) return x.request.path == "/locked" end }', workers=1)
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(g.ask(target="/locked", headers=basic("a:wrong")).status)) for _ in range(4)]
    for t in threads:
        t.start()
    client, longest = g.client(), 0
    while any(t.is_alive() for t in threads):
        begun = time.monotonic()
        assert client.ask(target="/open").status == 200
        longest = max(longest, time.monotonic() - begun)
    assert set(statuses) <= {401, 503}
    if not harness.IS_SANITIZED:
        assert longest < 1


# ---- key-auth -----------------------------------------------------------------------------------------


KEYS = 'consumers = { alice = { keys = { "k-alice", { "k-laptop", id = "laptop" } } }, bob = { keys = "k-bob" }, guest = {} },'


def test_keys_in_every_place_and_taken_off_before_the_upstream(proxy):
    g, u = proxy(top=KEYS, plugins='{ "key-auth", header = { "x-api-key", "apikey" }, query = "api_key", cookie = "key" }, ' + WHO)
    for options in [{"headers": [("x-api-key", "k-laptop")]}, {"headers": [("APIKEY", "k-laptop")]}, {"target": "/p?a=1&api_key=k-laptop&b=2"},
                    {"target": "/p?api%5Fkey=k%2Dlaptop"}, {"headers": [("cookie", "a=1; key=k-laptop; b=2")]}]:
        assert who(g, u, **options) == "alice/laptop", options
        assert "k-laptop" not in u.last.first + repr(list(u.last.headers)) and "k%2Dlaptop" not in u.last.first
    assert u.last.headers.get("cookie") == "a=1; b=2"
    assert who(g, u, target="/p?a=1&api_key=k-bob&b=2").startswith("bob/") and u.last.target == "/p?a=1&b=2"
    for options in [{}, {"headers": [("x-api-key", "k-alic")]}, {"headers": [("x-api-key", "k-alice2")]}, {"headers": [("x-api-key", "")]},
                    {"headers": [("authorization", "k-alice")]}, {"target": "/p?api_key="}]:
        res = g.ask(**options)
        assert res.status == 401 and res.headers.get("www-authenticate") == 'Key realm="moongate"', options
        assert res.headers.get("content-type").startswith("application/problem+json")


def test_two_keys_at_once_do_not_let_a_wrong_one_through(proxy):
    g, u = proxy(top=KEYS, plugins='{ "key-auth", anonymous = "guest" }, ' + WHO)
    assert who(g, u) == "guest/"
    assert who(g, u, headers=[("x-api-key", "wrong")]) == 401
    assert who(g, u, headers=[("x-api-key", "wrong"), ("x-api-key", "k-bob")]) in (400, 401)


def test_a_scheme_before_the_key(proxy):
    g, u = proxy(top=KEYS, plugins='{ "key-auth", header = "authorization", scheme = "Bearer", hide_credentials = false, realm = "r" }, ' + WHO)
    assert who(g, u, headers=[("authorization", "Bearer k-bob")]).startswith("bob/")
    assert u.last.headers.get("authorization") == "Bearer k-bob"
    assert who(g, u, headers=[("authorization", "k-bob")]) == 401
    assert who(g, u, headers=[("authorization", "Basic k-bob")]) == 401


def test_several_ways_in_by_one_anonymous_consumer(proxy):
    top = KEYS.replace("bob = { ", f'bob = {{ basic = {{ {{ "bob", "{hashed("sha256", "pw")}" }} }}, ')
    g, u = proxy(top=top, plugins='{ "key-auth", anonymous = "guest" }, { "basic-auth", anonymous = "guest" }, ' + WHO)
    assert who(g, u, headers=[("x-api-key", "k-alice")]).startswith("alice/")
    assert who(g, u, headers=basic("bob:pw")).startswith("bob/")
    assert who(g, u) == "guest/"
    assert who(g, u, headers=basic("bob:no")) == 401


def test_a_key_of_two_consumers_is_a_mistake(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { listen = "127.0.0.1:0", consumers = {\n a = { keys = "swordfish" },\n b = { keys = "swordfish" } },\n plugins = { "key-auth" } }')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and "gateway.lua:3:" in said.stderr and "swordfish" not in said.stderr, said.stderr


def test_ten_thousand_keys_are_told_apart(gateway, upstream):
    u = upstream()
    g = gateway(f"""local people = {{}}
      for i = 1, 10000 do people["c" .. i] = {{ keys = {{ "key-" .. i }} }} end
      return {{ listen = "127.0.0.1:0", consumers = people, plugins = {{ "key-auth", {WHO} }},
        routes = {{ {{ "all", path = "/*", upstream = "{u.url}" }} }} }}""")
    for i in (1, 77, 9999, 10000):
        assert who(g, u, headers=[("x-api-key", f"key-{i}")]).startswith(f"c{i}/")
    assert who(g, u, headers=[("x-api-key", "key-10001")]) == 401
