"""What the end-to-end tests are made of: the real gateway, scripted upstreams, raw clients.

Nothing here parses leniently: what a test asserts is the bytes that went over the socket. Everything waits for an event with a
deadline, never for a time.
"""
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOONGATE = os.environ.get("MOONGATE", str(ROOT / "build/release/bin/moongate"))
IS_SANITIZED = "asan" in MOONGATE or "tsan" in MOONGATE or bool(os.environ.get("MOONGATE_SANITIZED"))
PATIENCE = 40 if IS_SANITIZED else 20  # seconds until a test that waits gives up
TSAN = f"suppressions={Path(__file__).parent / 'tsan.supp'}:history_size=4"
ASAN = "detect_leaks=1:abort_on_error=0:exitcode=99"
# For a gateway whose plugins crash on purpose: the report is then its own, not the sanitizer's.
CRASHES_ARE_OURS = {"ASAN_OPTIONS": ASAN + "".join(f":handle_{s}=0" for s in ("segv", "abort", "sigfpe", "sigill", "sigbus"))}
FAULTS = re.compile(r"(ERROR: (Address|Leak|Thread)Sanitizer.*|runtime error: .*|WARNING: ThreadSanitizer.*|moongate: crash: .*)")


def wait_for(what, said="the event", patience=None):
    """Poll until what() is true; its value."""
    deadline = time.monotonic() + (patience or PATIENCE)
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {said}")
        time.sleep(0.01)


# ---- ports ------------------------------------------------------------------------------------------

BUS = 10000  # a Redis cluster's second port lies so much higher
PORTS_GIVEN = set()


def free_port():
    """A port that nobody uses now, nor the one BUS above it, and that port 0 gives to nobody: both are below the range that the
    system chooses from. Each process of pytest-xdist has a part of them to itself."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    room = BUS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = max(2000, low - 2 * BUS) + number * room
    for _ in range(1000):
        port = random.randrange(first, first + room)
        if port in PORTS_GIVEN:
            continue
        try:
            with socket.socket() as a, socket.socket() as b:
                a.bind(("127.0.0.1", port))
                b.bind(("127.0.0.1", port + BUS))
        except OSError:
            continue
        PORTS_GIVEN.add(port)
        return port
    raise AssertionError("no free port")


# ---- messages ------------------------------------------------------------------------------------


class Headers(list):
    """Pairs of bytes decoded as latin-1, in order."""

    def get(self, name, default=None):
        for key, value in self:
            if key.lower() == name.lower():
                return value
        return default

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def __contains__(self, name):
        return self.get(name) is not None


class Message:
    def __init__(self, first, headers):
        self.first = first
        self.headers = headers
        self.body = b""
        self.trailers = Headers()
        self.chunks = []
        self.complete = False

    def json(self):
        return json.loads(self.body)


class Request(Message):
    def __init__(self, first, headers):
        super().__init__(first, headers)
        self.method, self.target, self.version = (first.split(" ", 2) + ["", ""])[:3]


class Response(Message):
    def __init__(self, first, headers):
        super().__init__(first, headers)
        self.version, status, self.reason = (first.split(" ", 2) + ["", ""])[:3]
        self.status = int(status)
        self.interim = []


class Ended(Exception):
    """The peer closed where something was still expected."""


class Wire:
    """A socket with a buffer."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.sock.settimeout(PATIENCE)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Ended(self.buffer)
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self._more()
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    def rest(self):
        """All until the peer closes."""
        try:
            while True:
                self._more()
        except (Ended, ConnectionError):
            pass
        part, self.buffer = self.buffer, b""
        return part

    def is_closed(self, patience=None):
        """Does the peer close, without sending anything more?"""
        self.sock.settimeout(patience or PATIENCE)
        try:
            if self.buffer:
                return False
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except socket.timeout:
            return False
        finally:
            self.sock.settimeout(PATIENCE)

    def head(self, kind):
        text = self.until(b"\r\n\r\n").decode("latin-1")
        first, *lines = text.split("\r\n")
        headers = Headers()
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name, value.strip(" \t")))
        return kind(first, headers)

    def chunked(self, message):
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                break
            data = self.exactly(size)
            assert self.exactly(2) == b"\r\n"
            message.chunks.append(data)
            message.body += data
        while True:
            line = self.until(b"\r\n").decode("latin-1")
            if not line:
                return
            name, _, value = line.partition(":")
            message.trailers.append((name, value.strip(" \t")))

    def body(self, message, until_close=False):
        coding = message.headers.get("transfer-encoding", "")
        length = message.headers.get("content-length")
        if coding.lower() == "chunked":
            self.chunked(message)
        elif length is not None:
            message.body = self.exactly(int(length))
        elif until_close:
            message.body = self.rest()
        message.complete = True
        return message

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


# ---- clients ---------------------------------------------------------------------------------------


class Client(Wire):
    """A raw HTTP/1 client on one connection."""

    def __init__(self, address, tls=None, server_name="localhost", rcvbuf=None):
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            sock = socket.socket(family)
            if rcvbuf:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            sock.settimeout(PATIENCE)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            sock = tls.wrap_socket(sock, server_hostname=server_name)
        super().__init__(sock)

    def request(self, method="GET", target="/", headers=(), body=None, host="localhost"):
        pairs = [("host", host)] if host is not None and not any(k.lower() == "host" for k, _ in headers) else []
        pairs += list(headers)
        if body is not None and not any(k.lower() in ("content-length", "transfer-encoding") for k, _ in headers):
            pairs.append(("content-length", str(len(body))))
        lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in pairs]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))

    def response(self, method="GET"):
        interim = []
        while True:
            res = self.head(Response)
            if res.status >= 200 or res.status == 101:
                break
            interim.append(res)
        res.interim = interim
        if method == "HEAD" or res.status in (204, 304):
            res.complete = True
            return res
        return self.body(res, until_close=True)

    def ask(self, method="GET", target="/", headers=(), body=None, host="localhost"):
        self.request(method, target, headers, body, host)
        return self.response(method)


# ---- upstreams --------------------------------------------------------------------------------------


def answer(status=200, headers=(), body=b"", reason="OK"):
    """The bytes of a plain response."""
    pairs = list(headers)
    if not any(k.lower() in ("content-length", "transfer-encoding") for k, _ in pairs):
        pairs.append(("content-length", str(len(body))))
    lines = [f"HTTP/1.1 {status} {reason}"] + [f"{k}: {v}" for k, v in pairs]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Upstream:
    """A server that records what it received and answers what the test says.

    handler(request, wire): bytes to send, or None when it has sent all by itself. Raising Ended closes the connection.
    raw(wire): takes a whole connection over instead.
    """

    def __init__(self, handler=None, raw=None, tls=None, path=None, family=socket.AF_INET):
        self.handler = handler or (lambda request, wire: answer(body=b"hello"))
        self.raw = raw
        self.tls = tls
        self.requests = []
        self.connections = 0
        self.errors = []
        self.lock = threading.Lock()
        self.wires = []
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(path)
            self.port = 0
        else:
            self.sock = socket.socket(family)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            self.port = self.sock.getsockname()[1]
        self.sock.listen(512)
        self.is_open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def _accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(sock)
            self.wires.append(wire)
            wire.sock.settimeout(None)
            if self.raw:
                self.raw(wire)
                return
            while True:
                self._exchange(wire)
        except (Ended, OSError):
            pass
        except Exception as e:  # a test's handler is wrong: shown at the end
            self.errors.append(e)
        finally:
            sock.close()

    def _exchange(self, wire):
        request = wire.head(Request)
        if request.headers.get("expect", "").lower() == "100-continue":
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        with self.lock:
            self.requests.append(request)
        if not getattr(self.handler, "reads_body", False):
            wire.body(request)
        out = self.handler(request, wire)
        if out is not None:
            wire.send(out)

    def wait(self, n=1):
        """The first n requests, once they are there and whole."""
        wait_for(lambda: len(self.requests) >= n and all(r.complete for r in self.requests[:n]), f"{n} requests at the upstream")
        return self.requests[:n]

    @property
    def last(self):
        return self.requests[-1]

    def drop_connections(self):
        for wire in self.wires:
            try:
                wire.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        if not self.is_open:
            return
        self.is_open = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.drop_connections()
        assert not self.errors, self.errors


# ---- the gateway -----------------------------------------------------------------------------------


class Gateway:
    def __init__(self, folder, config, workers=1, args=(), env=None, wait=True, fds=None, program=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(config, Path):
            self.config = config
        else:
            self.config = self.folder / "gateway.lua"
            self.config.write_text(config)
        self.ports_file = self.folder / "ports"
        self.log_file = self.folder / "log"
        command = [program or MOONGATE, "run", "-c", str(self.config), "--ports", str(self.ports_file)]
        if workers:
            command += ["--workers", str(workers)]
        command += list(args)
        environment = dict(os.environ, ASAN_OPTIONS=ASAN, UBSAN_OPTIONS="print_stacktrace=1", TSAN_OPTIONS=TSAN)
        environment.update(env or {})

        def limit():
            if fds:
                import resource
                resource.setrlimit(resource.RLIMIT_NOFILE, (fds, fds))

        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                                            preexec_fn=limit, cwd=self.folder)
        self.addresses = []
        if wait:
            self.wait_ready()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def wait_ready(self):
        def is_there():
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log()}")
            return self.ports_file.exists()

        wait_for(is_there, f"the gateway to serve:\n{self.log()}")
        self.read_ports()

    def read_ports(self):
        self.addresses = [json.loads(line) for line in self.ports_file.read_text().splitlines()]

    def _address(self, want):
        for a in self.addresses:
            if want(a):
                return a
        raise AssertionError(f"no such listener in {self.addresses}")

    def listener(self, name=None, tls=None):
        return self._address(lambda a: not a["admin"] and (name is None or a["name"] == name) and (tls is None or a["tls"] == tls))

    @property
    def port(self):
        return self.listener()["port"]

    @property
    def admin_port(self):
        return self._address(lambda a: a["admin"])["port"]

    def client(self, name=None, **options):
        a = self.listener(name)
        if a["address"].startswith("unix:"):
            return Client(a["address"][5:], **options)
        host = a["address"].rsplit(":", 1)[0].strip("[]")
        return Client((host if host not in ("0.0.0.0", "::") else "127.0.0.1", a["port"]), **options)

    def ask(self, method="GET", target="/", headers=(), body=None, host="localhost", **options):
        """One request on a connection of its own."""
        client = self.client(**options)
        try:
            return client.ask(method, target, headers, body, host)
        finally:
            client.close()

    def admin(self, method, target):
        client = Client(("127.0.0.1", self.admin_port))
        try:
            return client.ask(method, target, body=b"" if method == "POST" else None)
        finally:
            client.close()

    def status(self):
        return self.admin("GET", "/status").json()

    def write(self, config):
        temporary = self.config.with_suffix(".new")
        temporary.write_text(config)
        temporary.rename(self.config)

    def reload(self):
        return self.admin("POST", "/reload")

    def signal(self, number):
        self.process.send_signal(number)

    def child_pid(self):
        """The gateway process under the supervisor."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        children = path.read_text().split()
        return int(children[0]) if children else None

    def children(self):
        """The gateway processes under the supervisor: the newest is last."""
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def rss_kb(self, pid=None):
        for line in Path(f"/proc/{pid or self.child_pid() or self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def wait_log(self, text, patience=None):
        return wait_for(lambda: text in self.log(), f"“{text}” in the log", patience)

    def faults(self):
        return FAULTS.findall(self.log())

    def stop(self, expect=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.wait_end()
        assert not self.faults(), self.log()
        assert code == expect, f"exit code {code}:\n{self.log()}"

    def stop_in_peace(self):
        """Of a gateway whose plugins crashed on purpose: the reports are no faults."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.wait_end()
        self.log_file.write_text(re.sub(r"moongate: crash: ", "moongate: crashed: ", self.log()))

    def wait_end(self):
        try:
            return self.process.wait(PATIENCE + 35)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.kill()
            raise AssertionError(f"the gateway did not end:\n{self.log()}")

    def kill(self):
        if self.process.poll() is None:
            child = self.child_pid()
            self.process.kill()
            if child:
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()


def run(*args, **options):
    """`moongate …` to its end."""
    return subprocess.run([MOONGATE, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                          **options)
