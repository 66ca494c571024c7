"""Measures one proxy in one scenario and prints one line of figures.

  spec/bench/peers.sh SCENARIO PEER [-m same|split] [-r REPS] [-d SECONDS]
  spec/bench/peers.sh strace plain PEER      syscalls per request
  spec/bench/peers.sh callgrind plain PEER   instructions per request in user space, counted by valgrind
  spec/bench/peers.sh check PEER             does its policy scenario do what README.md says
  spec/bench/peers.sh list                   peers and what each can run

Placement (-m):
  same   everything on core 1 under SCHED_BATCH: CPU, instructions and cycles per
         request repeat within about 2 %, whatever the host does.  The default.
  split  proxy on core 0, load and upstream on core 1: throughput and latency, in
         the two states of the host (near / far cores); see README.md.
"""
import argparse, json, os, re, resource, secrets, shutil, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = Path(os.environ.get("BENCH_WORK") or Path(tempfile.gettempdir()) / "gateway-bench")
BIN, DATA = ROOT / "bin", ROOT / "data"
PEERS = [BENCH / "peers", *map(Path, os.environ.get("BENCH_PEERS", "").split())]  # more peers may live elsewhere
PORT, TLS_PORT, BACKEND_PORT = 8080, 8443, 9000
EVENTS = "instructions:u,instructions:k,cycles:u,cycles:k,context-switches"
H2_REQS, IDLE_CONNS = 400_000, 10_000
LIBS = {"uvrelay": ["-luv"], "pingpong": ["-pthread"]}


def sh(*cmd, **kw):
    return subprocess.run(cmd, check=True, **kw)


def prepare():
    """Compiles the floor programs and makes keys, routes and a certificate."""
    BIN.mkdir(parents=True, exist_ok=True)
    DATA.mkdir(parents=True, exist_ok=True)
    for src in (BENCH / "floor").glob("*.c"):
        out = BIN / src.stem
        if not out.exists() or out.stat().st_mtime < src.stat().st_mtime:
            sh("cc", "-O2", "-Wall", "-Wextra", "-o", out, src, *LIBS.get(src.stem, []))
    if not (DATA / "keys.txt").exists():
        (DATA / "keys.txt").write_text(
            "".join(f"{secrets.token_hex(16)} consumer-{i:04d}\n" for i in range(1000)))
        (DATA / "routes.txt").write_text("".join(f"/api/svc{i:04d}/\n" for i in range(1000)))
    if not (DATA / "both.pem").exists():
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "3650", "-subj", "/CN=api.example.test", "-addext", "subjectAltName=DNS:api.example.test",
           "-keyout", DATA / "key.pem", "-out", DATA / "cert.pem", stderr=subprocess.DEVNULL)
        (DATA / "both.pem").write_text((DATA / "cert.pem").read_text() + (DATA / "key.pem").read_text())


def script(peer):
    found = [d / peer / "peer.sh" for d in PEERS if (d / peer / "peer.sh").exists()]
    return found[0] if found else sys.exit(f"no peer {peer}: spec/bench/peers.sh list shows them")


def can(peer):
    return subprocess.run(["bash", script(peer), "scenarios"], capture_output=True, text=True, check=True,
                          env=dict(os.environ, BENCH=str(BENCH))).stdout.split()


def tree(pid):
    """pid and all its descendants."""
    kids = {}
    for p in Path("/proc").glob("[0-9]*/stat"):
        try:
            f = p.read_text().rsplit(")", 1)
            kids.setdefault(int(f[1].split()[1]), []).append(int(p.parent.name))
        except (OSError, IndexError):
            pass
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu(pids):
    """Nanoseconds on CPU of all threads."""
    return sum(int((t / "schedstat").read_text().split()[0]) for pid in pids for t in Path(f"/proc/{pid}/task").iterdir())


def mem(pids):
    """(RSS, PSS, peak RSS) in MiB, summed."""
    rss = pss = peak = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                rss += int(line.split()[1]) if line.startswith("Rss:") else 0
                pss += int(line.split()[1]) if line.startswith("Pss:") else 0
            peak += int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
        except OSError:
            pass
    return rss / 1024, pss / 1024, peak / 1024


def steal():
    f = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return f[7], sum(f)


def hop():
    """Nanoseconds for a cache line to go to the other core and back."""
    return int(subprocess.run([BIN / "pingpong"], capture_output=True, text=True).stdout)


def near_or_far(*hops):
    return "near" if max(hops) < 200 else "far" if min(hops) > 250 else "mixed"


class Run:
    def __init__(self, scenario, peer, mode, backend=True):
        self.scenario, self.peer, self.mode, self.backend = scenario, peer, mode, backend
        self.work = ROOT / "run" / f"{peer}-{scenario}"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.env = dict(os.environ, BENCH=str(BENCH), WORK=str(self.work), DATA=str(DATA), BIN=str(BIN),
                        SCENARIO=scenario, PORT=str(PORT), TLS_PORT=str(TLS_PORT), BACKEND_PORT=str(BACKEND_PORT))
        self.procs = []

    def pin(self, core, cmd):
        cmd = ["taskset", "-c", str(core), *map(str, cmd)]
        return ["chrt", "-b", "0", *cmd] if self.mode == "same" else cmd

    def spawn(self, core, cmd, **kw):
        p = subprocess.Popen(self.pin(core, cmd), env=self.env, **kw)
        self.procs.append(p)
        return p

    def __enter__(self):
        if self.backend:
            self.spawn(1, [BIN / "backend", BACKEND_PORT])
        err = open(self.work / "stderr", "w")
        valgrind = ["valgrind", "--tool=callgrind", "--trace-children=yes", "--trace-children-skip=*/bash,*/sed,*/awk,*/mkdir,*/cp,*/cat",
                    f"--callgrind-out-file={self.work}/callgrind.%p"] if os.environ.get("BENCH_VALGRIND") else []
        self.proxy = self.spawn(1 if self.mode == "same" else 0, [*valgrind, "bash", script(self.peer), "start"],
                                stderr=err, start_new_session=True)
        for _ in range(300):
            if self.proxy.poll() is not None:
                break
            if subprocess.run(["curl", "-so", "/dev/null", f"http://127.0.0.1:{PORT}/"]).returncode == 0:
                self.pids = tree(self.proxy.pid)
                return self
            time.sleep(0.1)
        self.__exit__()
        sys.exit(f"{self.peer} did not start:\n" + (self.work / "stderr").read_text()[-2000:])

    def __exit__(self, *exc):
        for p in reversed(self.procs):
            for pid in reversed(tree(p.pid)) if p.poll() is None else []:
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL) if p is self.proxy else p.kill()
                p.wait()

    def load(self, seconds):
        """One bounded load; returns requests, seconds, p50, p99 (microseconds), errors."""
        if self.scenario == "h2":
            n = max(20_000, int(H2_REQS * seconds / 6))
            log = self.work / "h2.log"
            log.unlink(missing_ok=True)
            out = subprocess.run(self.pin(1, ["h2load", "-t1", "-c16", "-m32", "-n", n, "--log-file", log,
                "--connect-to", f"127.0.0.1:{TLS_PORT}", "-H", "user-agent: spec/bench/1.0", "-H", "accept: */*",
                f"https://api.example.test:{TLS_PORT}/api/v1/items?id=12345"]), capture_output=True, text=True, env=self.env).stdout
            took = re.search(r"finished in ([\d.]+)(m?s|us)", out)
            done = int(re.search(r"(\d+) succeeded", out)[1])
            lat = sorted(int(l.split("\t")[2]) for l in log.read_text().splitlines())
            return dict(n=done, s=float(took[1]) * {"s": 1, "ms": 1e-3, "us": 1e-6}[took[2]], errors=n - done,
                        p50=lat[len(lat) // 2], p99=lat[len(lat) * 99 // 100])
        tls = self.scenario in ("tls", "tlshs")
        conns = {"c1": 1, "tlshs": 16}.get(self.scenario, 64)
        url = f"https://127.0.0.1:{TLS_PORT}/" if tls else f"http://127.0.0.1:{PORT}/"
        out = subprocess.run(self.pin(1, ["wrk", "-t1", f"-c{conns}", f"-d{seconds}s", "--timeout", "20s",
            "-s", BENCH / "load" / "load.lua", url]), capture_output=True, text=True, env=self.env)
        m = re.search(r"^RESULT (.*)$", out.stdout, re.M)
        if not m:
            sys.exit("wrk failed: " + out.stdout + out.stderr)
        r = {k: int(v) for k, v in (x.split("=") for x in m[1].split())}
        if self.scenario == "10m":  # count what arrived, also of the unfinished ones
            r["requests"] = r["bytes"] / (10 << 20)
        return dict(n=r["requests"], s=r["duration_us"] / 1e6, p50=r["p50"], p99=r["p99"], errors=r["errors"])

    def counted(self, seconds):
        perf = ROOT / "perf.out"
        p = subprocess.Popen(["perf", "stat", "-x,", "-o", perf, "-e", EVENTS, "-p", ",".join(map(str, self.pids))])
        time.sleep(0.4)
        r = self.load(seconds)
        p.send_signal(signal.SIGINT)
        p.wait()
        for line in perf.read_text().splitlines():
            f = line.split(",")
            if len(f) > 3 and f[0].isdigit():
                r[f[2]] = int(f[0]) / max(1, r["n"])
        return r

    def measure(self, seconds):
        near = [hop()] if self.mode == "split" else []
        warm = self.load(max(1, seconds // 3))
        if warm["n"] == 0 or warm["errors"] > warm["n"] // 100:
            sys.exit(f"{self.peer} {self.scenario}: {warm['errors']} errors in {warm['n']} requests at warm-up")
        self.pids = tree(self.proxy.pid)
        st, c0 = steal(), cpu(self.pids)
        r = self.load(seconds)
        c1, st1 = cpu(self.pids), steal()
        if near:
            near.append(hop())
        rss, pss, peak = mem(self.pids)
        n, ns = max(1, r["n"]), c1 - c0
        out = dict(rps=r["n"] / r["s"], p50_us=r["p50"], p99_us=r["p99"], cpu_us_per_req=ns / 1e3 / n,
                   busy=ns / 1e7 / r["s"], rss_mb=rss, pss_mb=pss, peak_mb=peak, errors=r["errors"],
                   steal=100 * (st1[0] - st[0]) / max(1, st1[1] - st[1]))
        p = self.counted(max(1, seconds // 2))
        if "instructions:u" in p:  # some virtual machines have no counters
            out.update(instr_per_req=p["instructions:u"] + p["instructions:k"], instr_user=p["instructions:u"],
                       cycles_per_req=p["cycles:u"] + p["cycles:k"], cycles_user=p["cycles:u"])
        out["ctxsw_per_req"] = p.get("context-switches", 0)
        if near:
            near.append(hop())
            out["hop_ns"] = max(near)
            out["cores"] = near_or_far(*near)
        return out

    def idle(self):
        """Memory of IDLE_CONNS open keep-alive connections."""
        self.scenario_load, self.scenario = self.scenario, "plain"
        self.load(1)
        time.sleep(1)
        tls = self.scenario_load == "idletls"
        before = mem(tree(self.proxy.pid))
        kernel0 = kernel_tcp()
        c = self.spawn(1, [sys.executable, BENCH / "load" / "idle.py", TLS_PORT if tls else PORT, IDLE_CONNS] + (["tls"] if tls else []),
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if c.stdout.readline().strip() != "ready":
            sys.exit("idle client failed")
        time.sleep(1)
        pids = tree(self.proxy.pid)
        after, kernel1, c0 = mem(pids), kernel_tcp(), cpu(pids)
        time.sleep(5)
        c1 = cpu(pids)
        c.stdin.close()
        c.wait(60)
        return dict(rss_mb=after[0], base_rss_mb=before[0], bytes_per_conn=(after[0] - before[0]) * 1048576 / IDLE_CONNS,
                    kernel_tcp_pages=kernel1 - kernel0, idle_cpu_ms_per_s=(c1 - c0) / 5e6)

    def instructions(self):
        """All that callgrind counted in the proxy's processes, once they have ended."""
        out = subprocess.run("cat %s/callgrind.*" % self.work, shell=True, capture_output=True, text=True).stdout
        return sum(int(x) for x in re.findall(r"^totals: (\d+)", out, re.M))

    def strace(self, seconds=3):
        self.load(1)
        self.pids = tree(self.proxy.pid)
        out = self.work / "strace.out"
        args = [x for p in self.pids for x in ("-p", str(p))]
        t = subprocess.Popen(["strace", "-f", "-c", "-S", "calls", "-o", out, *args], stderr=subprocess.DEVNULL)
        time.sleep(1)
        r = self.load(seconds)
        t.send_signal(signal.SIGINT)
        t.wait()
        parts = []
        for line in out.read_text().splitlines():
            f = line.split()
            if len(f) >= 5 and f[3].isdigit() and f[-1] != "total" and int(f[3]) > r["n"] / 1000:
                parts.append(f"{f[-1]}={int(f[3]) / r['n']:.3f}")
        return r["n"], parts


def check(peer):
    """Does PEER really do what the policy scenario says?  Asks it through an echoing upstream."""
    import http.client, http.server, threading

    class Echo(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps({k.lower(): v for k, v in self.headers.items()}).encode()
            self.send_response(200)
            for k, v in (("X-Backend", "one"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
                self.send_header(k, v)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *a):
            pass

    def ask(**headers):
        c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        c.request("GET", "/api/v1/items?id=1", headers={"Host": "api.example.test", **headers})
        r = c.getresponse()
        body = r.read()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, json.loads(body) if r.status == 200 else {}

    srv = http.server.ThreadingHTTPServer(("127.0.0.1", BACKEND_PORT), Echo)
    threading.Thread(target=srv.serve_forever, daemon=True).start()
    key, consumer = (DATA / "keys.txt").read_text().splitlines()[7].split()
    with Run("policy", peer, "split", backend=False) as r:
        none, bad = ask()[0], ask(**{"X-API-Key": "0" * 32})[0]
        status, head, seen = ask(**{"X-API-Key": key})
        time.sleep(1.5)
        log = r.work / "access.log"
        line = log.read_text().strip().splitlines()[-1:] if log.exists() else []
        print(f"check peer={peer} no-key={none} bad-key={bad} good-key={status} upstream-consumer={seen.get('x-consumer') == consumer}"
              f" upstream-key-removed={'x-api-key' not in seen} forwarded-for={'x-forwarded-for' in seen}"
              f" added={'x-gateway' in head} limit={head.get('x-ratelimit-limit')} remaining={head.get('x-ratelimit-remaining')}"
              f" removed={'x-backend' not in head} log-line={bool(line) and line[0].startswith('{')} consumer-in-log={bool(line) and consumer in line[0]}")


def kernel_tcp():
    return int(re.search(r"TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text())[1])


def fmt(k, v):
    if isinstance(v, str):
        return f"{k}={v}"
    return f"{k}={v:.0f}" if abs(v) >= 100 or v == int(v) else f"{k}={v:.2f}"


def median(rows):
    out = {}
    for k in rows[0]:
        vals = [r[k] for r in rows]
        out[k] = statistics.median(vals) if not isinstance(vals[0], str) else "/".join(sorted(set(vals)))
    return out


def main():
    peers = sorted(p.parent.name for d in PEERS for p in d.glob("*/peer.sh"))
    ap = argparse.ArgumentParser(prog="spec/bench/peers.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("scenario")
    ap.add_argument("args", nargs="*")
    ap.add_argument("-m", "--mode", choices=["same", "split"], default="same")
    ap.add_argument("-r", "--reps", type=int, default=3)
    ap.add_argument("-d", "--seconds", type=int, default=4)
    ap.add_argument("--cores", choices=["near", "far", "any"], default="any",
                    help="split: keep only runs in which the two cores were near / far (at most 6 tries for each)")
    ap.add_argument("--json", help="append the median as one JSON line to this file")
    a = ap.parse_args()
    if a.scenario == "list":
        for p in peers:
            print(f"{p}: {' '.join(can(p))}")
        return
    if "BENCH_NETNS" not in os.environ:  # a network of our own: loopback only, no pacing congestion control
        os.environ["BENCH_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])
    if os.environ["BENCH_NETNS"] == "1":
        sh("ip", "link", "set", "lo", "up")
        sh("sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno", "net.ipv4.ip_local_port_range=10240 65000",
           "net.ipv4.tcp_tw_reuse=1")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    prepare()
    if a.scenario == "check":
        return check(a.args[0])
    if a.scenario == "callgrind":  # two loads of different length: start-up falls out of the difference
        os.environ["BENCH_VALGRIND"] = "1"
        counts = []
        for seconds in (3, 9):
            with Run(a.args[0], a.args[1], "split") as r:
                n = r.load(seconds)["n"]
            counts.append((n, r.instructions()))
        (n1, i1), (n2, i2) = counts
        print(f"callgrind scenario={a.args[0]} peer={a.args[1]} requests={n2} user_instr_per_req={(i2 - i1) / (n2 - n1):.0f}")
        return
    if a.scenario == "strace":
        with Run(a.args[0], a.args[1], "split") as r:
            n, parts = r.strace()
            print(f"strace scenario={a.args[0]} peer={a.args[1]} requests={n} per request: {' '.join(parts)}")
        return
    peer = a.args[0]
    if a.scenario not in can(peer):
        sys.exit(f"{peer} does not do {a.scenario}")
    rows, tries = [], 0
    while len(rows) < a.reps and tries < a.reps * 6:
        tries += 1
        for _ in range(60 if a.mode == "split" and a.cores != "any" else 0):  # wait for the host to be in that state
            if near_or_far(hop(), hop()) == a.cores:
                break
            time.sleep(0.5)
        with Run(a.scenario, peer, a.mode) as r:
            row = r.idle() if a.scenario.startswith("idle") else r.measure(a.seconds)
        if a.mode == "split" and a.cores != "any" and row["cores"] != a.cores:
            continue
        rows.append(row)
    if not rows:
        sys.exit(f"no run with {a.cores} cores in {tries} tries")
    m = dict(scenario=a.scenario, peer=peer, mode=a.mode, reps=len(rows), **median(rows))
    print(" ".join(fmt(k, v) for k, v in m.items()), flush=True)
    if a.json:
        with open(a.json, "a") as f:
            f.write(json.dumps(dict(m, rows=rows)) + "\n")


main()
