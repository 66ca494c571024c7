"""TLS towards clients and towards upstreams."""
import ssl

import pytest

from harness import answer


def config(certs, url, tls="", upstream_tls="", more=""):
    cert, key = certs.pem("localhost")
    return f"""return {{ listen = {{ {{ "127.0.0.1:0", tls = {{ cert = "{cert}", key = "{key}", {tls} }} }} }}, {more}
      routes = {{ {{ "all", path = "/*", upstream = "{url}" }} }} }}"""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_served(gateway, upstream, certs, version):
    u = upstream()
    g = gateway(config(certs, u.url))
    client = g.client(tls=certs.client(version))
    for _ in range(3):
        assert client.ask().body == b"hello"
    assert u.wait()[0].headers.get("x-forwarded-proto") == "https"


def test_a_version_below_the_least_is_refused(gateway, upstream, certs):
    u = upstream()
    g = gateway(config(certs, u.url, tls='min_version = "1.3"'))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        g.client(tls=certs.client(ssl.TLSVersion.TLSv1_2)).ask()
    assert g.client(tls=certs.client(ssl.TLSVersion.TLSv1_3)).ask().status == 200


def test_the_certificate_is_chosen_by_name(gateway, upstream, certs):
    u = upstream()
    pairs = ", ".join('{ cert = "%s", key = "%s" }' % certs.pem(*n) for n in (("a.test",), ("b.test",), ("*.wild.test",)))
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", tls = {{ certs = {{ {pairs} }} }} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "{u.url}" }} }} }}""")
    for name in ("a.test", "b.test", "x.wild.test"):
        client = g.client(tls=certs.client(), server_name=name)  # verification fails on the wrong one
        assert client.ask(host=name).status == 200


def test_a_session_is_resumed(gateway, upstream, certs):
    u = upstream()
    g = gateway(config(certs, u.url))
    context = certs.client(ssl.TLSVersion.TLSv1_2)
    first = g.client(tls=context)
    assert first.ask().status == 200
    session = first.sock.session
    import socket

    raw = socket.create_connection(("127.0.0.1", g.port))
    second = context.wrap_socket(raw, server_hostname="localhost", session=session)
    assert second.session_reused
    second.close()


def test_large_bodies_pass_over_tls(gateway, upstream, certs):
    u = upstream(lambda r, w: answer(body=r.body))
    g = gateway(config(certs, u.url))
    body = bytes(range(256)) * 4096
    assert g.client(tls=certs.client()).ask("POST", "/", body=body).body == body


def test_plain_bytes_on_a_tls_port_are_refused(gateway, upstream, certs):
    u = upstream()
    g = gateway(config(certs, u.url))
    client = g.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"HTTP/1.1 200" not in client.rest()
    assert not u.requests


def upstream_config(u, tls):
    return f"""return {{ listen = "127.0.0.1:0", upstreams = {{ s = {{ targets = {{ "{u.address}" }}, tls = {tls} }} }},
      routes = {{ {{ "all", path = "/*", upstream = "s" }} }} }}"""


def test_an_upstream_is_verified(gateway, upstream, certs):
    u = upstream(tls=certs.server("up.test"))
    ca = f'ca = "{certs.ca}"'
    assert gateway(upstream_config(u, f'{{ {ca}, server_name = "up.test" }}')).ask().status == 200
    res = gateway(upstream_config(u, f'{{ {ca}, server_name = "other.test" }}')).ask()
    assert res.status == 502 and "tls" in res.headers.get("x-moongate-error")
    assert gateway(upstream_config(u, '{ server_name = "up.test" }')).ask().status == 502  # not the system's CA
    assert gateway(upstream_config(u, "{ verify = false }")).ask().status == 200


def test_a_client_certificate_is_shown_to_the_upstream(gateway, upstream, certs):
    u = upstream(tls=certs.server("up.test", client_ca=True))
    cert, key = certs.pem("gateway.test")
    ca = f'ca = "{certs.ca}", server_name = "up.test"'
    assert gateway(upstream_config(u, f'{{ {ca}, cert = "{cert}", key = "{key}" }}')).ask().status == 200
    assert gateway(upstream_config(u, f"{{ {ca} }}")).ask().status == 502


def test_a_key_that_does_not_fit_is_a_mistake_with_its_file(gateway, certs):
    cert, _ = certs.pem("localhost")
    _, key = certs.pem("other.test")
    g = gateway(f"""return {{ listen = {{ {{ "127.0.0.1:0", tls = {{ cert = "{cert}", key = "{key}" }} }} }}, routes = {{}} }}""", wait=False)
    assert g.wait_end() == 1
    assert "other.test.key" in g.log()
