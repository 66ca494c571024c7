"""The process: starting, crashing, draining, signals, users, sockets, descriptors."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import Client, Ended, MOONGATE, PATIENCE, answer, wait_for


def test_a_config_that_does_not_hold_ends_with_1_and_every_mistake(gateway):
    g = gateway('return { listen = "127.0.0.1:0", rutes = {}, workers = 0 }', wait=False, workers=0)
    assert g.wait_end() == 1
    assert "rutes" in g.log() and "routes" in g.log() and "workers" in g.log()


def test_an_address_in_use_ends_with_1(gateway, upstream):
    u = upstream()
    g = gateway(f'return {{ listen = "127.0.0.1:{u.port}", routes = {{}} }}', wait=False)
    assert g.wait_end() == 1
    assert str(u.port) in g.log()


def test_a_foreign_listener_that_shares_its_port_is_noticed(gateway):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("127.0.0.1", 0))
    s.listen()
    g = gateway(f'return {{ listen = "127.0.0.1:{s.getsockname()[1]}", routes = {{}} }}', wait=False)
    assert g.wait_end() == 1
    s.close()


@pytest.mark.parametrize("args", [(), ("--no-supervisor",)], ids=["supervised", "alone"])
def test_sigterm_finishes_what_is_under_way_and_exits_with_0(proxy, args):
    release = threading.Event()

    def slow(request, wire):
        release.wait(20)
        return answer(body=b"late")

    g, u = proxy(slow, args=args)
    busy, idle = g.client(), g.client()
    busy.request("GET", "/slow")
    u.wait()
    g.signal(signal.SIGTERM)
    assert idle.is_closed()
    wait_for(lambda: refuses(g.port), "the listener to close")
    release.set()
    res = busy.response()
    assert (res.body, res.headers.get("connection")) == (b"late", "close")
    assert busy.is_closed()
    assert g.wait_end() == 0


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def test_a_drain_has_an_end(proxy):
    def never(request, wire):
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(never, top='drain = "500ms",')
    client = g.client()
    client.request()
    u.wait()
    begun = time.monotonic()
    g.signal(signal.SIGTERM)
    assert g.wait_end() == 0
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
@pytest.mark.parametrize("args", [(), ("--no-supervisor",)], ids=["supervised", "alone"])
def test_a_second_signal_ends_a_drain_at_once_and_says_so(proxy, args, number):
    def never(request, wire):
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(never, args=args)
    client = g.client()
    client.request()
    u.wait()
    g.signal(number)
    g.wait_log("finishing what is under way")
    time.sleep(0.3)
    assert g.process.poll() is None and "cut" not in g.log()
    begun = time.monotonic()
    g.signal(number)
    assert g.wait_end() == 0
    assert time.monotonic() - begun < 15
    assert "stopping now: what is under way is cut" in g.log()


def test_a_drain_asked_of_both_processes_is_one_drain(proxy):
    release = threading.Event()

    def slow(request, wire):
        release.wait(20)
        return answer(body=b"late")

    g, u = proxy(slow)
    client = g.client()
    client.request()
    u.wait()
    child = g.child_pid()
    os.kill(child, signal.SIGTERM)
    g.signal(signal.SIGTERM)
    g.wait_log("finishing what is under way")
    time.sleep(0.3)
    release.set()
    assert client.response().body == b"late"
    assert g.wait_end() == 0


def test_a_killed_supervisor_lets_the_gateway_process_finish(proxy):
    release = threading.Event()

    def slow(request, wire):
        release.wait(20)
        return answer(body=b"late")

    g, u = proxy(slow)
    client = g.client()
    client.request()
    u.wait()
    child = g.child_pid()
    g.process.kill()
    g.process.wait()
    g.wait_log("finishing what is under way")
    release.set()
    assert client.response().body == b"late"
    wait_for(lambda: not os.path.exists(f"/proc/{child}"), "the gateway process to end")


def test_sigquit_ends_at_once(proxy):
    def never(request, wire):
        wire.sock.recv(1)
        raise Ended()

    g, u = proxy(never)
    client = g.client()
    client.request()
    u.wait()
    begun = time.monotonic()
    g.signal(signal.SIGQUIT)
    assert g.wait_end() == 0
    assert time.monotonic() - begun < 15


def test_the_gateway_is_not_ready_while_it_drains(proxy):
    release = threading.Event()

    def slow(request, wire):
        release.wait(20)
        return answer()

    g, u = proxy(slow)
    client = g.client()
    client.request()
    u.wait()
    assert g.admin("GET", "/ready").status == 200
    g.signal(signal.SIGTERM)
    wait_for(lambda: g.admin("GET", "/ready").status == 503, "/ready to say no")
    assert g.admin("GET", "/live").status == 200
    release.set()
    assert client.response().status == 200
    assert g.wait_end() == 0


def test_a_killed_gateway_process_is_replaced_and_its_queue_is_served(proxy):
    g, u = proxy()
    assert g.ask().status == 200
    for _ in range(3):
        child = g.child_pid()
        os.kill(child, signal.SIGKILL)
        # The sockets stay: a connection made now waits in the queue and is answered by the successor.
        assert g.ask("GET", "/after").status == 200
        wait_for(lambda: g.child_pid() not in (None, child), "a successor")
    assert "signal 9" in g.log()


def test_a_successor_does_not_hold_addresses_that_left_the_config(gateway, upstream, free_port):
    u = upstream()
    text = """return {{ listen = {{ "127.0.0.1:0", {} }}, routes = {{ {{ "a", path = "/*", upstream = "{}" }} }} }}"""
    g = gateway(text.format(f'"127.0.0.1:{free_port}"', u.url))
    assert Client(("127.0.0.1", free_port)).ask().status == 200
    g.write(text.format("", u.url))
    os.kill(g.child_pid(), signal.SIGKILL)
    wait_for(lambda: refuses(free_port), "the old address to close")
    assert g.ask().status == 200


def test_a_crash_says_which_plugin_it_was(gateway, tmp_path, upstream):
    u = upstream()
    source = tmp_path / "crashes.c"
    source.write_text("""
#include <moongate/plugin.h>
#include <signal.h>
static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{ (void)x; (void)self; (void)local; raise(SIGSEGV); return MG_CONTINUE; }
MG_PLUGIN_EXPORT = { .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "crashes", .version = "1", .doc = "Crashes.",
  .field_bytes = sizeof(struct mg_field), .on_request = on_request };
""")
    folder = tmp_path / "own"
    folder.mkdir()
    include = os.path.join(os.path.dirname(__file__), "../../include")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", "-o", folder / "crashes.so", source], check=True)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugin_path = {{ "{folder}" }},
      log = {{ path = "{tmp_path}/gateway.log" }},
      routes = {{ {{ "bad", path = "/bad", upstream = "{u.url}", plugins = {{ "crashes" }} }},
                  {{ "good", path = "/good", upstream = "{u.url}" }} }} }}""")
    client = g.client()
    client.request("GET", "/bad")
    with pytest.raises((Ended, ConnectionError)):
        client.response()
    wait_for(lambda: "plugin crashes, phase on_request, route bad" in g.log(), "the crash report")
    said = "moongate: crash: SIGSEGV in plugin crashes, phase on_request, route bad"
    wait_for(lambda: said in (tmp_path / "gateway.log").read_text().splitlines(), "the same in the log's file")
    assert g.ask("GET", "/good").status == 200
    g.process.send_signal(signal.SIGTERM)
    assert g.wait_end() == 0
    text = g.log_file.read_text()
    g.log_file.write_text("\n".join(line for line in text.splitlines() if "crash: SIGSEGV" not in line and "Sanitizer" not in line))


def test_a_plugin_that_holds_a_worker_is_named(gateway, tmp_path, upstream):
    u = upstream()
    source = tmp_path / "sleeps.c"
    source.write_text("""
#include <moongate/plugin.h>
#include <unistd.h>
static enum mg_verdict on_request(struct mg_x *x, void *self, void *local)
{ (void)x; (void)self; (void)local; usleep(300000); return MG_CONTINUE; }
MG_PLUGIN_EXPORT = { .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "sleeps", .version = "1", .doc = "Sleeps.",
  .field_bytes = sizeof(struct mg_field), .on_request = on_request };
""")
    folder = tmp_path / "own"
    folder.mkdir()
    include = os.path.join(os.path.dirname(__file__), "../../include")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_DEFAULT_SOURCE", f"-I{include}", "-o", folder / "sleeps.so", source], check=True)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", plugin_path = {{ "{folder}" }},
      routes = {{ {{ "slow", path = "/slow", upstream = "{u.url}", plugins = {{ "sleeps" }} }},
                  {{ "good", path = "/good", upstream = "{u.url}" }} }} }}""")
    for _ in range(20):
        assert g.ask("GET", "/good").status == 200
    assert "holds a worker" not in g.log()

    def reported():
        assert g.ask("GET", "/good").status == 200
        assert g.ask("GET", "/slow").status == 200
        return "a plugin holds a worker: plugin sleeps, phase on_request, route slow" in g.log()

    wait_for(reported, "the report")
    g.wait_log("the worker goes on")


def test_a_unix_socket_is_served_and_removed(proxy, tmp_path):
    path = tmp_path / "gate.sock"
    g, u = proxy(listen=f'"unix:{path}"', workers=2)
    for _ in range(8):
        assert Client(str(path)).ask().status == 200
    g.stop()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(proxy, tmp_path, gateway):
    path = tmp_path / "gate.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    g, u = proxy(listen=f'"unix:{path}"')
    assert Client(str(path)).ask().status == 200
    second = gateway(f'return {{ listen = "unix:{path}", routes = {{}} }}', wait=False)
    assert second.wait_end() == 1
    assert Client(str(path)).ask().status == 200


def test_an_upstream_on_a_unix_socket(gateway, upstream, tmp_path):
    path = str(tmp_path / "up.sock")
    u = upstream(path=path)
    g = gateway(f"""return {{ listen = "127.0.0.1:0", upstreams = {{ local_ = {{ targets = {{ "unix:{path}" }} }} }},
      routes = {{ {{ "a", path = "/*", upstream = "local_" }} }} }}""")
    assert g.ask().body == b"hello"
    assert len(u.requests) == 1


def test_ipv6_in_and_out(gateway, upstream):
    u = upstream(family=socket.AF_INET6)
    g = gateway(f"""return {{ listen = "[::1]:0", routes = {{ {{ "a", path = "/*", upstream = "http://[::1]:{u.port}" }} }} }}""")
    assert Client(("::1", g.port)).ask().body == b"hello"
    assert u.wait()[0].headers.get("x-forwarded-for") == "::1"


def test_all_workers_serve(proxy):
    g, u = proxy(workers=3)
    clients = [g.client() for _ in range(60)]
    for c in clients:
        assert c.ask().status == 200
    wait_for(lambda: all(w["requests"] > 0 for w in g.status()["workers"]), "each worker to have served")
    wait_for(lambda: sum(w["requests"] for w in g.status()["workers"]) == 60, "all of them to be counted: after their ends")


def test_short_of_descriptors_connections_wait_and_the_others_go_on(proxy):
    g, u = proxy(fds=96)
    assert g.ask().status == 200
    held = []
    try:
        for _ in range(150):
            held.append(g.client())
        g.wait_log("run short")
        assert held[0].ask().status == 200
    finally:
        for c in held[1:]:
            c.close()
    assert held[0].ask().status == 200
    wait_for(lambda: g.ask().status == 200, "accepting again")
    cpu = cpu_seconds(g.child_pid())
    time.sleep(0.5)
    assert cpu_seconds(g.child_pid()) - cpu < 0.4
    assert g.log().count("run short") < 5


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_becomes_the_user_of_the_config_after_binding(proxy):
    g, u = proxy(top='user = "nobody",', listen='"127.0.0.1:0"')
    uid = pwd.getpwnam("nobody").pw_uid
    g.wait_log("started")  # the file of ports is written before the change
    status = open(f"/proc/{g.child_pid()}/status").read()
    line = [x for x in status.splitlines() if x.startswith("Uid:")][0].split()
    assert line[1:] == [str(uid)] * 4
    assert g.ask().status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_logs_of_another_user_are_his_to_open_anew(proxy):
    folder = tempfile.mkdtemp(prefix="moongate-")  # pytest's own folders are root's alone
    os.chmod(folder, 0o777)
    try:
        access = os.path.join(folder, "access.log")
        g, u = proxy(top=f'user = "nobody", log = {{ path = "{folder}/own.log" }},', plugins=f'{{ "access-log", path = "{access}" }}')
        own = lambda: open(f"{folder}/own.log").read() if os.path.exists(f"{folder}/own.log") else ""
        wait_for(lambda: "started" in own(), "the start")
        assert os.stat(access).st_uid == os.stat(f"{folder}/own.log").st_uid == pwd.getpwnam("nobody").pw_uid
        g.signal(signal.SIGUSR1)
        wait_for(lambda: "log files reopened" in own(), "reopening")
        os.rename(access, access + ".1")
        g.signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(access), "a new file")
        assert g.ask("GET", "/second").status == 200
        wait_for(lambda: "/second" in open(access).read(), "the line")
        assert "denied" not in own()
    finally:
        shutil.rmtree(folder)


def test_log_files_are_opened_anew_on_sigusr1(proxy, tmp_path):
    own, access = tmp_path / "own.log", tmp_path / "access.log"
    g, u = proxy(top=f'log = {{ path = "{own}", format = "json" }},', plugins=f'{{ "access-log", path = "{access}" }}')
    assert g.ask("GET", "/first").status == 200
    wait_for(lambda: access.exists() and "/first" in access.read_text(), "the first line")
    own.rename(tmp_path / "own.1")
    access.rename(tmp_path / "access.1")
    g.signal(signal.SIGUSR1)
    wait_for(lambda: own.exists() and access.exists(), "new files")
    assert g.ask("GET", "/second").status == 200
    wait_for(lambda: "/second" in access.read_text(), "the second line")
    assert "/second" not in (tmp_path / "access.1").read_text()


def test_an_idle_gateway_sleeps(proxy):
    g, u = proxy()
    g.ask()
    time.sleep(2.5)
    child = g.child_pid()

    def switches():
        total = 0
        for task in os.listdir(f"/proc/{child}/task"):
            for line in open(f"/proc/{child}/task/{task}/status"):
                if line.startswith("voluntary_ctxt"):
                    total += int(line.split()[1])
        return total

    before = switches()
    time.sleep(2)
    assert switches() - before < 20


def test_an_idle_gateway_with_one_worker_is_small(proxy):
    from harness import IS_SANITIZED

    g, u = proxy()
    if not IS_SANITIZED:
        assert g.rss_kb() < 12 * 1024


def test_the_supervisor_leaves_nothing_behind_when_it_is_killed(proxy):
    g, u = proxy()
    child = g.child_pid()
    g.process.kill()
    g.process.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{child}"), "the gateway process to end")


def test_systemd_hears_of_readiness_reloads_and_the_stop(gateway, tmp_path):
    path = str(tmp_path / "notify.sock")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(PATIENCE)
    g = gateway('return { listen = "127.0.0.1:0", admin = "127.0.0.1:0", routes = {} }', env={"NOTIFY_SOCKET": path})
    assert b"READY=1" in s.recv(1000)
    assert g.reload().status == 200
    assert b"RELOADING=1\nMONOTONIC_USEC=" in s.recv(1000)
    assert b"READY=1" in s.recv(1000)
    g.stop()
    assert b"STOPPING=1" in s.recv(1000)
    s.close()


def test_a_pid_file_is_written_and_removed(proxy, tmp_path):
    pid_file = tmp_path / "pid"
    g, u = proxy(args=("--pid-file", str(pid_file)))
    assert int(pid_file.read_text()) == g.process.pid
    assert subprocess.run([MOONGATE, "reload", "--pid-file", str(pid_file)], stdout=subprocess.DEVNULL).returncode == 0
    wait_for(lambda: g.status()["snapshot"] == 2, "the reload")
    g.stop()
    assert not pid_file.exists()
