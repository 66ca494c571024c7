"""TLS towards clients and towards upstreams."""
import hashlib
import os
import socket
import ssl
import subprocess
import threading

import pytest

import harness


def listen(certs, *names, more=""):
    """A TLS listener with a certificate for each name."""
    pairs = [certs.pem(n) for n in names]
    many = ", ".join(f'{{ cert = "{c}", key = "{k}" }}' for c, k in pairs)
    return f'{{ "127.0.0.1:0", name = "s", tls = {{ certs = {{ {many} }}, {more} }} }}'


@pytest.fixture
def secure(proxy, certs):
    def start(*names, more="", **options):
        return proxy(listen=listen(certs, *(names or ("localhost",)), more=more), **options)

    return start


def s_client(gateway, *args, stdin=b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", *map(str, args)], input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.PATIENCE)
    return done.returncode, done.stdout.decode(errors="replace")


# ---- towards clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_serve_keep_alive(secure, certs, version):
    g, u = secure(plugins='{ "headers", request = { set = { ["x-tls"] = "${client.tls.version} ${client.tls.sni}" } } }')
    client = g.client(tls=certs.client(version))
    for _ in range(3):
        assert client.ask().body == b"hello"
    said = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert client.sock.version() == said
    assert u.last.headers.get("x-tls") == said + " localhost"
    assert u.last.headers.get("x-forwarded-proto") == "https"


def test_min_version_refuses_older_clients(secure, certs):
    g, _ = secure(more='min_version = "1.3"')
    with pytest.raises((ssl.SSLError, ConnectionError)):
        g.client(tls=certs.client(ssl.TLSVersion.TLSv1_2))
    assert g.ask(tls=certs.client(ssl.TLSVersion.TLSv1_3)).status == 200


def test_versions_before_1_2_are_refused(secure):
    g, _ = secure()
    for old in ("-tls1", "-tls1_1"):
        code, said = s_client(g, old, "-cipher", "ALL:@SECLEVEL=0")
        assert code != 0 and "200 OK" not in said


def test_the_certificate_is_chosen_by_the_name_that_the_client_asks_for(secure, certs):
    g, _ = secure("api.test", "www.test", "*.wild.test")

    def subject(name):
        client = g.client(tls=certs.client(), server_name=name)
        assert client.ask(host=name).status == 200
        return client.sock.getpeercert()["subject"][0][0][1]

    assert subject("api.test") == "api.test"
    assert subject("www.test") == "www.test"
    assert subject("WWW.test") == "www.test"
    assert subject("a.wild.test") == "*.wild.test"
    code, said = s_client(g, "-noservername")
    assert "CN = api.test" in said, "the first is for clients that name nothing"
    code, said = s_client(g, "-servername", "nobody.test")
    assert "CN = api.test" in said
    code, said = s_client(g, "-servername", "a.b.wild.test")
    assert "CN = api.test" in said, "a wildcard stands for one label"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(secure, certs, tmp_path, version):
    g, _ = secure()
    session = tmp_path / "session"
    code, said = s_client(g, version, "-sess_out", session, "-ign_eof")
    assert "New, TLSv1" in said and "200 OK" in said, said
    code, said = s_client(g, version, "-sess_in", session, "-ign_eof")
    assert "Reused, TLSv1" in said and "200 OK" in said, said


def test_sessions_are_resumed_on_another_worker_and_after_a_reload(secure, certs, tmp_path):
    g, _ = secure(workers=2)
    session = tmp_path / "session"
    s_client(g, "-tls1_3", "-sess_out", session, "-ign_eof")
    for _ in range(6):  # the kernel picks the worker
        code, said = s_client(g, "-tls1_3", "-sess_in", session, "-ign_eof")
        assert "Reused, TLSv1.3" in said, said
    assert g.reload().status == 200
    code, said = s_client(g, "-tls1_3", "-sess_in", session, "-ign_eof")
    assert "200 OK" in said


def test_default_ciphers_are_modern(secure):
    g, _ = secure()
    for weak in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "DES-CBC3-SHA", "NULL-SHA256", "RC4-SHA"):
        code, said = s_client(g, "-tls1_2", "-cipher", weak + ":@SECLEVEL=0", "-ign_eof")
        assert "200 OK" not in said, weak
    for good in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        code, said = s_client(g, "-tls1_2", "-cipher", good, "-ign_eof")
        assert "200 OK" in said and good in said, said
    code, said = s_client(g, "-tls1_2", "-ign_eof")
    assert "Secure Renegotiation IS supported" in said
    assert "Compression: NONE" in said


def test_alpn_offers_http_1_1(secure):
    g, _ = secure()
    code, said = s_client(g, "-alpn", "http/1.1", "-ign_eof")
    assert "ALPN protocol: http/1.1" in said and "200 OK" in said


def test_plain_http_on_a_tls_port_is_closed(secure, certs):
    g, u = secure()
    a = g.listener()
    client = harness.Client(("127.0.0.1", a["port"]))
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    client.rest()
    assert u.requests == []
    assert g.ask(tls=certs.client()).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_ten_megabytes_both_ways(secure, certs, version):
    data = os.urandom(10 << 20)
    g, u = secure(handler=lambda request, wire: harness.answer(body=request.body))
    client = g.client(tls=certs.client(version))
    client.request("POST", "/", body=data)  # and only then reading: one Python TLS socket is not for two threads
    res = client.response()
    assert hashlib.sha256(u.last.body).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(res.body).digest() == hashlib.sha256(data).digest()
    assert client.ask(body=b"x", method="POST").body == b"x"


def test_an_upstream_that_is_cut_off_is_not_a_complete_answer(secure, certs):
    """Until-close framing would end like a whole answer: the client has to see that it is cut."""

    def cut(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        raise harness.Ended()

    g, _ = secure(handler=cut)
    client = g.client(tls=certs.client())
    with pytest.raises((harness.Ended, OSError)):
        client.ask()


def test_a_handshake_that_never_ends_is_cut(secure, certs):
    g, _ = secure(top='timeouts = { client_head = "300ms" },')
    client = harness.Client(("127.0.0.1", g.listener()["port"]))
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.rest()
    assert g.ask(tls=certs.client()).status == 200


# ---- towards upstreams ---------------------------------------------------------------------------------


def to_upstream(gateway, port, tls, target=None, route=""):
    return gateway(f"""
return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0",
  upstreams = {{ secure = {{ targets = {{ "{target or 'localhost'}:{port}" }}, tls = {tls} }} }},
  routes = {{ {{ "all", path = "/*", upstream = "secure", {route} }} }} }}""")


class Named:
    """A TLS server that notes the names that clients ask for."""

    def __init__(self, context):
        self.names = []
        context.sni_callback = lambda sock, name, ctx: self.names.append(name)


def test_an_upstream_is_verified_by_the_ca_and_asked_by_name(gateway, upstream, certs):
    context = certs.server("localhost")
    named = Named(context)
    u = upstream(tls=context)
    g = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}')
    client = g.client()
    for _ in range(3):
        assert client.ask().body == b"hello"
    assert u.connections == 1, "connections to TLS upstreams are kept"
    assert named.names == ["localhost"]


def refused(g, u):
    res = g.ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "tls_failed"
    assert "localhost" not in res.body.decode() and str(u.port) not in res.body.decode()
    assert u.requests == []


def test_a_certificate_of_an_unknown_issuer_is_refused(gateway, upstream, certs):
    u = upstream(tls=certs.server("localhost"))
    g = to_upstream(gateway, u.port, "true")
    refused(g, u)
    g.wait_log("certificate")


def test_verification_may_be_turned_off(gateway, upstream, certs):
    u = upstream(tls=certs.server("elsewhere.test"))
    assert to_upstream(gateway, u.port, "{ verify = false }").ask().status == 200


def test_a_certificate_for_another_name_is_refused_unless_that_name_is_expected(gateway, upstream, certs):
    context = certs.server("orders.test")
    named = Named(context)
    u = upstream(tls=context)
    refused(to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}'), u)
    g = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}", server_name = "orders.test" }}')
    assert g.ask().status == 200
    assert named.names[-1] == "orders.test"


def test_an_upstream_by_address_is_verified_by_address(gateway, upstream, certs):
    context = certs.server("127.0.0.1")
    named = Named(context)
    u = upstream(tls=context)
    assert to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}', target="127.0.0.1").ask().status == 200
    assert named.names == [None], "an address is no name to ask for (RFC 6066, 3)"
    wrong = upstream(tls=certs.server("127.0.0.2"))
    refused(to_upstream(gateway, wrong.port, f'{{ ca = "{certs.ca}" }}', target="127.0.0.1"), wrong)


def test_an_https_url_as_upstream_is_verified(gateway, upstream, certs):
    u = upstream(tls=certs.server("localhost"))
    g = gateway(f'return {{ listen = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "https://localhost:{u.port}" }} }} }}')
    refused(g, u)
    g = gateway(f'return {{ listen = "127.0.0.1:0", routes = {{ {{ "all", path = "/*", upstream = "https://localhost:{u.port}" }} }} }}',
                env={"SSL_CERT_FILE": str(certs.ca)})
    assert g.ask().status == 200, "the system's own store"


def test_a_client_certificate_is_shown_to_an_upstream_that_asks(gateway, upstream, certs):
    cert, key = certs.pem("gateway.test")
    seen = []

    def handler(request, wire):
        seen.append(wire.sock.getpeercert()["subject"][0][0][1])
        return harness.answer(body=b"hello")

    u = upstream(handler, tls=certs.server("localhost", client_ca=True))
    g = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}", cert = "{cert}", key = "{key}" }}')
    assert g.ask().status == 200 and seen == ["gateway.test"]
    without = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}').ask()
    assert without.status == 502 and len(seen) == 1


def test_ten_megabytes_both_ways_to_a_tls_upstream(gateway, upstream, certs):
    data = os.urandom(10 << 20)
    u = upstream(lambda request, wire: harness.answer(body=request.body), tls=certs.server("localhost"))
    g = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}')
    client = g.client()
    threading.Thread(target=client.request, args=("POST", "/"), kwargs={"body": data}, daemon=True).start()
    res = client.response()
    assert u.last.body == data and res.body == data


def test_an_upstream_that_ends_without_close_notify_where_its_answer_ends_with_the_connection(gateway, upstream, certs):
    """Truncation: an attacker can cut the connection, so an until-close answer counts as whole only after close_notify."""

    def cut(wire):
        wire.head(harness.Request)
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of an answer")
        sock = wire.sock
        plain = socket.socket(fileno=os.dup(sock.fileno()))
        plain.shutdown(socket.SHUT_RDWR)
        plain.close()

    u = upstream(raw=cut, tls=certs.server("localhost"))
    g = to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}')
    client = g.client()
    client.request()
    got = client.rest()
    assert not got.endswith(b"0\r\n\r\n"), "the answer looks complete"
    assert b"200 OK" in got or b"502" in got

    def whole(wire):
        wire.head(harness.Request)
        wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        try:
            wire.sock.unwrap()
        except OSError:
            pass

    u = upstream(raw=whole, tls=certs.server("localhost"))
    assert to_upstream(gateway, u.port, f'{{ ca = "{certs.ca}" }}').ask().body == b"all of it"


def test_an_upstream_without_tls_behind_a_tls_upstream_is_refused(gateway, upstream, certs):
    u = upstream(raw=lambda wire: (wire._more(), wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")))
    res = to_upstream(gateway, u.port, "true").ask()
    assert res.status == 502 and res.headers.get("x-moongate-error") == "tls_failed"


# ---- certificates in the config -------------------------------------------------------------------------


def test_certificates_that_do_not_hold_are_told_before_anything_is_served(tmp_path, certs):
    cert, _ = certs.pem("localhost")
    _, key = certs.pem("api.test")
    (tmp_path / "empty.pem").write_text("")
    path = tmp_path / "gateway.lua"
    for tls, word in [(f'{{ cert = "{cert}", key = "{key}" }}', "key"), ('{ cert = "nowhere.pem", key = "nowhere.key" }', "nowhere"),
                      ('{ cert = "empty.pem", key = "empty.pem" }', "empty.pem"), ("{ }", "cert"),
                      (f'{{ cert = "{cert}", key = "{certs.pem("localhost")[1]}", ciphers = "NO-SUCH" }}', "cipher")]:
        path.write_text(f'return {{ listen = {{ {{ "127.0.0.1:0", tls = {tls} }} }} }}')
        said = harness.run("check", "-c", path)
        assert said.returncode == 1 and word in said.stderr and "gateway.lua:1:" in said.stderr, (tls, said.stderr)


def test_a_renewed_certificate_is_taken_by_a_reload(gateway, upstream, certs, tmp_path):
    u = upstream()
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"

    def place(*names):
        for target, source in zip((cert, key), certs.pem(*names)):
            target.write_bytes(source.read_bytes())

    place("localhost")
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", tls = {{ cert = "{cert}", key = "{key}" }} }} }}, admin = "127.0.0.1:0",
      routes = {{ {{ "all", path = "/*", upstream = "{u.url}" }} }} }}""")
    client = g.client(tls=certs.client())
    assert client.ask().status == 200
    place("renewed.test", "localhost")
    assert g.reload().status == 200
    assert client.ask().status == 200, "connections go on"
    again = g.client(tls=certs.client())
    assert again.sock.getpeercert()["subject"][0][0][1] == "renewed.test"
