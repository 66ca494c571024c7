"""key-auth, basic-auth and jwt with the real thread pool, real files and reloads."""
import base64
import hmac
import hashlib
import json
import shutil
import subprocess
import threading
import time

import pytest


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_hs256(claims, secret, header=None):
    text = b64(json.dumps(dict({"alg": "HS256"}, **(header or {}))).encode()) + "." + b64(json.dumps(claims).encode())
    return text + "." + b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def sign_rs256(claims, key, folder):
    text = b64(json.dumps({"alg": "RS256", "kid": "k1"}).encode()) + "." + b64(json.dumps(claims).encode())
    (folder / "text").write_text(text)
    out = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(key), str(folder / "text")], check=True, stdout=subprocess.PIPE)
    return text + "." + b64(out.stdout)


def basic(text):
    return [("authorization", "Basic " + base64.b64encode(text.encode()).decode())]


def test_key_auth_follows_a_reload(proxy):
    top = 'consumers = { alice = { keys = "k-1" } },'
    g, u = proxy(top=top, plugins='"key-auth"')
    assert g.ask(headers=[("x-api-key", "k-1")]).status == 200
    assert "x-api-key" not in u.last.headers
    assert g.ask(headers=[("x-api-key", "k-2")]).status == 401
    g.write(g.config.read_text().replace("k-1", "k-2"))
    assert g.reload().status == 200
    assert g.ask(headers=[("x-api-key", "k-2")]).status == 200
    assert g.ask(headers=[("x-api-key", "k-1")]).status == 401
    assert len(u.requests) == 2


def hash_of(password):
    out = subprocess.run(["openssl", "passwd", "-6", password], check=True, stdout=subprocess.PIPE, text=True)
    return out.stdout.strip()


def test_basic_auth_verifies_slow_hashes_off_the_loop(proxy):
    g, u = proxy(top=f'consumers = {{ alice = {{ basic = {{ {{ "alice", "{hash_of("wonder")}" }} }} }} }},', plugins='"basic-auth"')
    assert g.ask(headers=basic("alice:wonder")).status == 200
    assert "authorization" not in u.last.headers
    wrong = g.ask(headers=basic("alice:land"))
    assert wrong.status == 401 and wrong.headers.get("www-authenticate").startswith("Basic realm=")
    assert g.ask(headers=basic("bob:wonder")).status == 401
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(g.ask(headers=basic("alice:nope")).status)) for _ in range(12)]
    for t in threads:
        t.start()
    assert g.ask(headers=basic("alice:wonder")).status == 200  # remembered: not behind the others
    for t in threads:
        t.join()
    assert set(statuses) <= {401, 503} and 401 in statuses


def test_basic_auth_refuses_a_plain_password_when_the_config_loads(tmp_path):
    from harness import run
    config = tmp_path / "gateway.lua"
    config.write_text('return { listen = "127.0.0.1:0", consumers = { a = { basic = { { "a", "swordfish" } } } },\n'
                      'routes = { { "r", plugins = { "basic-auth" } } } }')
    out = run("check", "-c", config)
    assert out.returncode != 0
    assert "swordfish" not in out.stdout + out.stderr  # a secret is not shown
    assert "password" in out.stdout + out.stderr


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_jwt_by_an_issuers_key_in_a_file(proxy, tmp_path):
    key = tmp_path / "issuer.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(tmp_path / "issuer.pem")], check=True)
    g, u = proxy(plugins=f"""{{ "jwt", keys = {{ {{ kid = "k1", algorithm = "RS256", public_key = "{tmp_path}/issuer.pem" }} }},
        issuer = "https://i", audience = "orders", scopes = "read", claims_to_headers = {{ sub = "x-user" }} }}""")
    claims = {"iss": "https://i", "aud": ["orders"], "scope": "read write", "sub": "alice", "exp": time.time() + 60}

    def ask(token):
        return g.ask(headers=[("authorization", "Bearer " + token), ("x-user", "root")])

    good = sign_rs256(claims, key, tmp_path)
    for _ in range(3):  # the second time, its signature is remembered
        assert ask(good).status == 200
        assert u.last.headers.all("x-user") == ["alice"]
    assert ask(good[:-6] + "AAAAAA").status == 401
    assert ask(sign_rs256(dict(claims, exp=time.time() - 1), key, tmp_path)).status == 401
    small = ask(sign_rs256(dict(claims, scope="write"), key, tmp_path))
    assert small.status == 403 and 'error="insufficient_scope"' in small.headers.get("www-authenticate")
    public = (tmp_path / "issuer.pem").read_bytes()
    assert ask(sign_hs256(claims, public, {"kid": "k1"})).status == 401  # the key as a secret
    assert len(u.requests) == 3


def test_jwt_of_a_consumer_expires_while_the_gateway_runs(proxy):
    secret = "0123456789abcdef0123456789abcdef"
    g, u = proxy(top=f'consumers = {{ shop = {{ jwt = {{ {{ "shop", algorithm = "HS256", secret = "{secret}" }} }} }} }},', plugins='"jwt"')
    token = sign_hs256({"iss": "shop", "exp": int(time.time()) + 2}, secret.encode())
    assert g.ask(headers=[("authorization", "Bearer " + token)]).status == 200
    from harness import wait_for
    wait_for(lambda: g.ask(headers=[("authorization", "Bearer " + token)]).status == 401, "the token to expire")
