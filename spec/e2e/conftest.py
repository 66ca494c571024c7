"""Fixtures: see harness.py for what they give."""
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness  # noqa: E402


@pytest.fixture
def gateway(tmp_path, request):
    """gateway(config, …) starts the real binary on ports of the system's choice; it must end with 0 and without faults."""
    started = []

    def start(config, **options):
        g = harness.Gateway(tmp_path / f"gateway{len(started)}", config, **options)
        started.append(g)
        return g

    yield start
    try:
        for g in started:
            if g.process.poll() is None:
                g.stop()
            assert not g.faults(), g.log()
    finally:
        for g in started:
            g.kill()


@pytest.fixture
def upstream():
    """upstream(handler) serves on a port of the system's choice until the test ends."""
    started = []

    def start(handler=None, **options):
        u = harness.Upstream(handler, **options)
        started.append(u)
        return u

    yield start
    for u in started:
        u.close()


@pytest.fixture
def proxy(gateway, upstream):
    """The usual pair: (gateway, upstream) with every path forwarded. proxy(handler, top="…", route="…")."""

    def start(handler=None, top="", route="", listen='"127.0.0.1:0"', plugins="", up=None, **options):
        u = up or upstream(handler)
        g = gateway(
            f"""
return {{
  listen = {{ {listen} }}, admin = "127.0.0.1:0", {top}
  plugins = {{ {plugins} }},
  routes = {{ {{ "all", path = "/*", upstream = "{u.url}", {route} }} }},
}}
""",
            **options,
        )
        return g, u

    return start


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """A CA and certificates of it: certs.pem("localhost") gives (cert, key) paths."""
    return Certificates(tmp_path_factory.mktemp("certs"))


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.made = {}
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")

    def _openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pem(self, name, *more):
        if (name, *more) not in self.made:
            stem = "-".join((name, *more)).replace("*", "wild")
            names = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in (name, *more))
            (self.folder / f"{stem}.ext").write_text(f"subjectAltName={names}\n")
            self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                          "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
            self._openssl("x509", "-req", "-in", f"{stem}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                          "-days", "30", "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
            self.made[name, *more] = (self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        return self.made[name, *more]

    def client(self, version=None, cert=None):
        context = ssl.create_default_context(cafile=str(self.ca))
        if version:
            context.minimum_version = context.maximum_version = version
        if cert:
            context.load_cert_chain(*map(str, cert))
        return context

    def server(self, name, *more, client_ca=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, self.pem(name, *more)))
        if client_ca:
            context.load_verify_locations(str(self.ca))
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def free_port():
    return harness.free_port()
