"""jwt against tokens that another implementation made: every algorithm, every confusion."""
import base64
import hashlib
import hmac
import json
import time

import pytest

jwt = pytest.importorskip("jwt", reason="needs python3-jwt")
pytest.importorskip("cryptography", reason="needs python3-cryptography")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa  # noqa: E402

import harness  # noqa: E402

SECRET = "a secret of sixty-four bytes, as long as the longest digest here"
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
HS = ["HS256", "HS384", "HS512"]
RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
ALL = HS + RSA + list(CURVES) + ["EdDSA", "Ed448"]


def private_key(name, made={}):
    if name in HS:
        return SECRET
    kind = "rsa" if name in RSA else name
    if kind not in made:
        made[kind] = (rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(CURVES[name]()) if name in CURVES
                      else ed448.Ed448PrivateKey.generate() if name == "Ed448" else ed25519.Ed25519PrivateKey.generate())
    return made[kind]


def public_pem(name):
    return private_key(name).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def algorithm(name):
    return "EdDSA" if name == "Ed448" else name


def soon(**claims):
    return dict({"exp": int(time.time()) + 300, "sub": "alice", "iss": "https://issuer.test"}, **claims)


def token(name, claims=None, **header):
    return jwt.encode(claims or soon(), private_key(name), algorithm=algorithm(name), headers=dict({"kid": name}, **header))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header, claims, sign=lambda text: b""):
    text = b64(header if isinstance(header, bytes) else json.dumps(header).encode()) + "." + b64(
        claims if isinstance(claims, bytes) else json.dumps(claims).encode())
    return text + "." + b64(sign(text.encode()))


def hs(secret):
    secret = secret if isinstance(secret, bytes) else secret.encode()
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def bearer(text):
    return [("authorization", "Bearer " + text)]


@pytest.fixture
def issuers(proxy, tmp_path):
    """A gateway with a key for each algorithm; more fields of the entry as text."""

    def start(more="", names=ALL, top="", workers=1):
        keys = []
        for n in names:
            if n in HS:
                keys.append(f'{{ kid = "{n}", algorithm = "{n}", secret = "{SECRET}" }}')
            else:
                (tmp_path / f"{n}.pem").write_bytes(public_pem(n))
                keys.append(f'{{ kid = "{n}", algorithm = "{algorithm(n)}", public_key = "{tmp_path}/{n}.pem" }}')
        return proxy(plugins=f'{{ "jwt", keys = {{ {", ".join(keys)} }}, claims_to_headers = {{ sub = "x-user" }}, {more} }}', top=top,
                     workers=workers)

    return start


def test_every_algorithm_is_verified_and_its_forgeries_are_refused(issuers):
    g, u = issuers()
    client = g.client()
    for name in ALL:
        good = token(name)
        for _ in range(2):  # the second time a signature may be remembered
            assert client.ask(headers=bearer(good)).status == 200, name
            assert u.last.headers.all("x-user") == ["alice"]
        served = len(u.requests)
        head, body, signature = good.split(".")
        flipped = bytearray(base64.urlsafe_b64decode(signature + "=="))
        flipped[len(flipped) // 2] ^= 1
        forged = b64(json.dumps(soon(sub="root")).encode())
        for bad in [f"{head}.{body}.{b64(bytes(flipped))}", f"{head}.{forged}.{signature}", f"{head}.{body}.", f"{head}.{body}",
                    f"{head}.{body}.{signature}.", f"{head}.{body}.{signature}=", f"{head}.{body}.{signature}A", good + "\u00e9"]:
            res = client.ask(headers=bearer(bad))
            assert res.status == 401 and 'error="invalid_token"' in res.headers.get("www-authenticate"), (name, bad)
        assert len(u.requests) == served, name


def test_no_token_can_choose_its_algorithm(issuers):
    g, u = issuers()
    client = g.client()
    pem = public_pem("RS256")
    for bad in [
        raw({"alg": "none"}, soon()), raw({"alg": "none", "kid": "RS256"}, soon()), raw({"alg": "None", "kid": "HS256"}, soon()),
        raw({"alg": "nOnE", "kid": "HS256"}, soon(), hs(SECRET)), raw({"kid": "HS256"}, soon(), hs(SECRET)),
        raw({"alg": "HS256", "kid": "RS256"}, soon(), hs(pem)), raw({"alg": "HS256", "kid": "RS256"}, soon(), hs(pem.strip())),
        raw({"alg": "HS256", "kid": "ES256"}, soon(), hs(public_pem("ES256"))), raw({"alg": "HS256", "kid": "HS512"}, soon(), hs(SECRET)),
        raw({"alg": "HS256", "kid": "HS256"}, soon(), hs("")), raw({"alg": "HS256", "kid": "HS256", "crit": ["exp"]}, soon(), hs(SECRET)),
        raw({"alg": ["HS256"], "kid": "HS256"}, soon(), hs(SECRET)), raw({"alg": "HS256", "kid": ["HS256"]}, soon(), hs(SECRET)),
        raw(b'{"alg":"HS256","kid":"HS256","kid":"HS256"}', soon(), hs(SECRET)),
        raw({"alg": "HS256", "kid": "HS256"}, b'{"sub":"a","sub":"b","exp":9999999999}', hs(SECRET)),
        raw({"alg": "HS256", "kid": "HS256"}, b'{"role":"a","exp":9999999999,"r\\u006fle":"b"}', hs(SECRET)),
        raw({"alg": "HS256", "kid": "../../etc/passwd"}, soon(), hs("")), raw({"alg": "HS256", "kid": "' OR 1=1"}, soon(), hs(SECRET)),
        raw({"alg": "HS256", "kid": "HS256"}, b"[]", hs(SECRET)), raw({"alg": "HS256", "kid": "HS256"}, b"not json", hs(SECRET)),
        raw({"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"mine" * 16)}}, soon(), hs(b"mine" * 16)),
        raw({"alg": "HS256", "jku": "http://evil.test/"}, soon(), hs(SECRET)),
        token("RS256", kid="PS256"), token("PS256", kid="RS256"), token("ES256", kid="ES384"), token("EdDSA", kid="Ed448"),
        # an ECDSA signature of zeros (CVE-2022-21449), and one in DER
        raw({"alg": "ES256", "kid": "ES256"}, soon(), lambda text: bytes(64)),
        raw({"alg": "ES256", "kid": "ES256"}, soon(), lambda text: private_key("ES256").sign(text, ec.ECDSA(hashes.SHA256()))),
    ]:
        res = client.ask(headers=bearer(bad))
        assert res.status == 401, bad
    assert u.requests == []


def test_tokens_without_kid_try_only_keys_without_one(proxy):
    g, u = proxy(plugins=f'{{ "jwt", keys = {{ {{ algorithm = "HS256", secret = "{SECRET}" }}, '
                         f'{{ kid = "other", algorithm = "HS256", secret = "{SECRET[::-1]}" }} }} }}')
    assert g.ask(headers=bearer(jwt.encode(soon(), SECRET, algorithm="HS256"))).status == 200
    assert g.ask(headers=bearer(jwt.encode(soon(), SECRET[::-1], algorithm="HS256"))).status == 401


def test_claims_have_to_say_what_the_config_asks(issuers):
    g, u = issuers('issuer = "https://issuer.test", audience = { "orders", "carts" }, require = { "jti" }, '
                   'claims = { ["realm.roles"] = { "admin", "ops" } }, leeway = "0s", type = "at+jwt"', names=["HS256"])
    fine = {"aud": "orders", "jti": "1", "realm": {"roles": ["ops", "x"]}}
    now = int(time.time())

    def status(typ="at+jwt", **claims):
        everything = soon(**dict(fine, **claims))
        return g.ask(headers=bearer(token("HS256", {k: v for k, v in everything.items() if v is not None}, typ=typ))).status

    assert status() == 200
    assert status(aud=["x", "carts"]) == 200
    for bad in [{"aud": "other"}, {"aud": None}, {"aud": ["x"]}, {"aud": []}, {"aud": 7}, {"iss": "https://issuer.test/"}, {"iss": None}, {"jti": None},
                {"exp": now - 5}, {"exp": None}, {"exp": "soon"}, {"exp": str(now + 60)}, {"nbf": now + 100}, {"iat": now + 100}]:
        assert status(**bad) == 401, bad
    assert status(typ="JWT") == 401
    assert status(realm={"roles": ["user"]}) == 403
    assert status(realm=None) == 403
    assert len(u.requests) == 2


def test_leeway_max_age_and_tokens_that_never_expire(issuers):
    now = int(time.time())
    g, _ = issuers('leeway = "30s", max_age = "10m"', names=["HS256"])
    ask = lambda g, **c: g.ask(headers=bearer(token("HS256", {k: v for k, v in soon(**c).items() if v is not None}))).status
    assert ask(g, exp=now - 10, iat=now - 60) == 200
    assert ask(g, exp=now - 60, iat=now - 120) == 401
    assert ask(g, nbf=now + 20, iat=now) == 200
    assert ask(g, iat=now - 300) == 200
    assert ask(g, iat=now - 700) == 401
    assert ask(g) == 401, "max_age needs iat"
    g, _ = issuers("require_exp = false", names=["HS256"])
    assert ask(g, exp=None) == 200
    assert ask(g, exp=now - 10) == 401


def test_scopes_are_asked_for(issuers):
    g, _ = issuers('scopes = { "orders:read", "orders:write" }', names=["HS256"])
    ask = lambda g, **c: g.ask(headers=bearer(token("HS256", soon(**c))))
    assert ask(g, scope="orders:read x orders:write").status == 200
    assert ask(g, scope=["orders:read", "orders:write"]).status == 200
    res = ask(g, scope="orders:read orders:writer")
    assert res.status == 403 and 'error="insufficient_scope"' in res.headers.get("www-authenticate")
    assert res.headers.get("content-type").startswith("application/problem+json")
    g, _ = issuers('scopes = { "a", "b" }, scopes_match = "any", scope_claim = "scp"', names=["HS256"])
    assert ask(g, scp=["b"]).status == 200
    assert ask(g, scp="c").status == 403
    assert ask(g, scope="a").status == 403


def test_where_the_token_may_be_and_where_it_goes(issuers):
    g, u = issuers('header = { "authorization", "x-token" }, query = "jwt", cookie = "session", hide_credentials = true', names=["HS256"])
    t = token("HS256")
    for options in [{"headers": bearer(t)}, {"headers": [("x-token", t)]}, {"target": f"/?a=1&jwt={t}&b=2"},
                    {"headers": [("cookie", f"x=1; session={t}; y=2")]}, {"headers": [("authorization", "bearer " + t)]}]:
        assert g.ask(**options).status == 200, options
        seen = u.last.first + repr(list(u.last.headers))
        assert t not in seen
    assert u.last.headers.get("x-user") == "alice"
    for options in [{}, {"headers": [("authorization", t)]}, {"headers": [("authorization", "Basic " + t)]}, {"target": "/?jwt="}]:
        res = g.ask(**options)
        assert res.status == 401 and res.headers.get("www-authenticate").startswith('Bearer realm="moongate"'), options
    assert g.ask(headers=bearer(token("HS256", soon(x="y" * 9000)))).status == 401, "longer than max_bytes"


def test_a_jwk_set_from_a_file(proxy, tmp_path):
    keys = []
    for name in ("RS256", "ES256", "EdDSA"):
        one = json.loads(getattr(jwt.algorithms, {"RS256": "RSAAlgorithm", "ES256": "ECAlgorithm", "EdDSA": "OKPAlgorithm"}[name])
                         .to_jwk(private_key(name).public_key())) if name != "ES256" else None
        if name == "ES256":
            n = private_key(name).public_key().public_numbers()
            one = {"kty": "EC", "crv": "P-256", "x": b64(n.x.to_bytes(32, "big")), "y": b64(n.y.to_bytes(32, "big"))}
        keys.append({"kty": one["kty"], **{k: v for k, v in one.items() if k in ("n", "e", "crv", "x", "y")}, "kid": name, "use": "sig",
                     "alg": name})
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    g, u = proxy(plugins=f'{{ "jwt", jwks = "{tmp_path}/jwks.json" }}')
    for name in ("RS256", "ES256", "EdDSA"):
        assert g.ask(headers=bearer(token(name))).status == 200, name
        assert g.ask(headers=bearer(token(name, kid="gone"))).status == 401
    # a rotated key: the file is read by a reload
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys[:1]}))
    assert g.reload().status == 200
    assert g.ask(headers=bearer(token("RS256"))).status == 200
    assert g.ask(headers=bearer(token("ES256"))).status == 401


def test_consumers_sign_their_own_tokens(proxy, tmp_path):
    (tmp_path / "shop.pem").write_bytes(public_pem("ES256"))
    g, u = proxy(top=f"""consumers = {{
        shop = {{ groups = {{ "partners" }}, jwt = {{ {{ "shop-key", algorithm = "ES256", public_key = "{tmp_path}/shop.pem" }} }} }},
        cron = {{ jwt = {{ {{ key = "cron-key", algorithm = "HS256", secret = "{SECRET}", id = "nightly" }} }} }}, guest = {{ }} }},""",
                 plugins='{ "jwt", anonymous = "guest" }, { "headers", request = { set = { ["x-who"] = "${consumer.name} ${consumer.credential}" } } }')

    def who(*args, **options):
        res = g.ask(*args, **options)
        return u.last.headers.get("x-who") if res.status == 200 else res.status

    es = jwt.encode(soon(iss="shop-key", sub="root"), private_key("ES256"), algorithm="ES256")
    assert who(headers=bearer(es)).startswith("shop")
    assert who(headers=bearer(jwt.encode(soon(iss="x"), SECRET, algorithm="HS256", headers={"kid": "cron-key"}))) == "cron nightly"
    assert who(headers=bearer(jwt.encode(soon(iss="shop-key"), SECRET, algorithm="HS256"))) == 401
    assert who(headers=bearer(jwt.encode(soon(iss="nobody"), SECRET, algorithm="HS256"))) == 401
    assert who().startswith("guest")


def test_consumer_claim_names_consumers_that_exist(issuers):
    g, u = issuers('consumer_claim = "sub"', names=["HS256"], top="consumers = { alice = {} },")
    assert g.ask(headers=bearer(token("HS256"))).status == 200
    assert g.ask(headers=bearer(token("HS256", soon(sub="mallory")))).status in (401, 403)
    assert g.ask(headers=bearer(token("HS256", soon(sub=7)))).status in (401, 403)
    assert len(u.requests) == 1


def test_a_clients_own_claim_headers_are_dropped(issuers):
    g, u = issuers(names=["HS256"])
    claims = soon()
    del claims["sub"]
    assert g.ask(headers=bearer(token("HS256", claims)) + [("x-user", "root"), ("X-USER", "admin")]).status == 200
    assert u.last.headers.all("x-user") == []


@pytest.mark.parametrize("key, word", [
    ('{ kid = "a", algorithm = "HS256", secret = "short" }', "secret"),
    ('{ kid = "a", algorithm = "none", secret = "0123456789abcdef0123456789abcdef" }', "none"),
    ('{ kid = "a", algorithm = "ES256", public_key = "P384" }', "ES256"),
    ('{ kid = "a", algorithm = "RS256", public_key = "SMALL" }', "2048"),
    ('{ kid = "a", algorithm = "HS256", public_key = "P384" }', "HS256"),
    ('{ kid = "a", algorithm = "RS256", public_key = "nowhere.pem" }', "nowhere.pem"),
    ('{ kid = "a", algorithm = "HS256", secret = "-----BEGIN PUBLIC KEY-----xxxxxxxxxxxxxxxxx" }', "secret"),
])
def test_keys_that_do_not_hold_are_mistakes_of_the_config(tmp_path, key, word):
    (tmp_path / "P384").write_bytes(public_pem("ES384"))
    small = rsa.generate_private_key(65537, 1024).public_key()
    (tmp_path / "SMALL").write_bytes(small.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    path = tmp_path / "gateway.lua"
    path.write_text(f'return {{ listen = "127.0.0.1:0",\n plugins = {{ {{ "jwt", keys = {{ {key} }} }} }} }}')
    said = harness.run("check", "-c", path)
    assert said.returncode == 1 and word in said.stderr and "gateway.lua:2:" in said.stderr, said.stderr
    assert "0123456789abcdef" not in said.stderr
