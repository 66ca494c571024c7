"""Real Redis servers for the tests: single ones, sets watched by sentinels, clusters. All on loopback, on ports of our choice."""
import shutil
import socket
import subprocess
import time

from harness import PATIENCE, free_port, wait_for


class RedisError(Exception):
    pass


def program():
    """redis-server plays the sentinel, too."""
    path = shutil.which("redis-server")
    assert path, "these tests need redis-server: apt install redis-server (spec/install-packages test)"
    return path


class Connection:
    """A client that is as simple as can be, to look at what the gateway did."""

    def __init__(self, address, tls=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address, PATIENCE)
        self.sock.settimeout(PATIENCE)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def ask(self, *words):
        out = b"*%d\r\n" % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b"$%d\r\n%s\r\n" % (len(w), w)
        self.sock.sendall(out)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode("latin-1")
        return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]

    def close(self):
        self.file.close()
        self.sock.close()


class Redis:
    """One redis-server (or sentinel); it can be killed and started again on the same port."""

    def __init__(self, folder, *options, port=None, sentinel=False, config="", tls=None, password=None, unix=False):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.tls, self.password = tls, password
        self.path = str(folder / "sock") if unix else None
        self.is_sentinel = sentinel
        self.config = folder / "redis.conf"
        where = f"port 0\ntls-port {self.port}\ntls-replication yes" if tls else f"port {self.port}"
        if unix:
            where = f"port 0\nunixsocket {self.path}"
        if not sentinel:
            config += "\nsave \"\"\nenable-debug-command yes\nrepl-diskless-sync-delay 0\n"
        self.config.write_text(f"bind 127.0.0.1\n{where}\ndir {folder}\nlogfile {folder}/log\nprotected-mode no\n{config}\n"
                               + "\n".join(options) + "\n")
        self.process = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen([program(), str(self.config)] + (["--sentinel"] if self.is_sentinel else []),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._answers, f"redis-server on {self.port}")

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return self.ask("PING") == "PONG"
        except (OSError, RedisError):
            return False

    def connect(self):
        context = self.tls.client(cert=self.tls.pem("client")) if self.tls else None
        c = Connection(self.path or ("127.0.0.1", self.port), tls=context)
        if self.password:
            c.ask("AUTH", *self.password)
        return c

    def ask(self, *words):
        c = self.connect()
        try:
            return c.ask(*words)
        finally:
            c.close()

    def clients(self):
        """The connections that the gateway has, as name=value fields."""
        lines = self.ask("CLIENT", "LIST").splitlines()
        rows = [dict(pair.split("=", 1) for pair in line.split()) for line in lines]
        return [r for r in rows if r.get("name") == "gateway"]

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.kill()
        self.start()


def sentinel_set(folder, name="mymaster", sentinels=3):
    """(master, replica, sentinels), agreed on each other."""
    master = Redis(folder / "master")
    replica = Redis(folder / "replica", f"replicaof 127.0.0.1 {master.port}")
    config = (f"sentinel monitor {name} 127.0.0.1 {master.port} 2\nsentinel down-after-milliseconds {name} 500\n"
              f"sentinel failover-timeout {name} 3000\n")
    watchers = [Redis(folder / f"sentinel{i}", sentinel=True, config=config) for i in range(sentinels)]

    def is_settled():
        info = [s.ask("SENTINEL", "MASTER", name) for s in watchers]
        rows = [dict(zip(row[::2], row[1::2])) for row in info]
        return all(r["num-other-sentinels"] == str(sentinels - 1) and r["num-slaves"] == "1" for r in rows)

    wait_for(is_settled, "the sentinels to know each other and the replica", PATIENCE * 2)
    wait_for(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica")
    return master, replica, watchers


def cluster(folder, n=3):
    """n masters that own all slots."""
    nodes = [Redis(folder / f"node{i}", "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000")
             for i in range(n)]
    made = subprocess.run(["redis-cli", "--cluster", "create", *[r.address for r in nodes], "--cluster-yes"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE * 3)
    assert made.returncode == 0, made.stdout.decode()
    wait_for(lambda: all("cluster_state:ok" in r.ask("CLUSTER", "INFO") for r in nodes), "the cluster")
    return nodes


def slot_owner(nodes, slot):
    ids = {r.ask("CLUSTER", "MYID"): r for r in nodes}
    for row in nodes[0].ask("CLUSTER", "SLOTS"):
        if row[0] <= slot <= row[1]:
            return ids[row[2][2]]
    raise AssertionError(f"nobody has slot {slot}")


def move_slot(nodes, slot, to, keys=True):
    """What redis-cli's reshard does for one slot."""
    source, to_id = slot_owner(nodes, slot), to.ask("CLUSTER", "MYID")
    from_id = source.ask("CLUSTER", "MYID")
    to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", from_id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
    if not keys:
        return source
    for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
        source.ask("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)
    finish_move(nodes, slot, to)
    return source


def finish_move(nodes, slot, to):
    to_id = to.ask("CLUSTER", "MYID")
    for r in [to] + [r for r in nodes if r is not to]:
        r.ask("CLUSTER", "SETSLOT", slot, "NODE", to_id)


def stop_all(servers):
    for r in servers:
        r.kill()
    time.sleep(0)
