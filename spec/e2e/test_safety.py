"""When a plugin misbehaves: crashes, quarantine, stalls and successors. The others are served."""
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import CRASHES_ARE_OURS, IS_SANITIZED, ROOT, Ended, run, wait_for

C = """
#include <moongate/plugin.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
%(globals)s
static enum mg_verdict act(struct mg_x *x, void *self, void *local)
{
    (void)x; (void)self; (void)local;
    %(body)s
    return MG_CONTINUE;
}
MG_PLUGIN_EXPORT = { .abi = MG_PLUGIN_ABI, .size = sizeof(struct mg_plugin), .name = "bad", .version = "1", .doc = "Bad.",
  .field_bytes = sizeof(struct mg_field), .%(phase)s = act, %(more)s };
"""
SEGV = "*(volatile int *)8 = 1;"


def build(folder, body, phase="on_request", globals_="", more="", name="bad"):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    source = folder / f"{name}.c"
    source.write_text((C % {"body": body, "phase": phase, "globals": globals_, "more": more}).replace('"bad"', f'"{name}"'))
    new = folder / f"{name}.new"
    subprocess.run(["cc", "-shared", "-fPIC", "-O0", "-D_GNU_SOURCE", f"-I{ROOT}/include", "-o", new, source], check=True)
    new.rename(folder / f"{name}.so")


def lua(folder, body, name="bad", head=""):
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.lua").write_text(f'local mg = require "moongate"\n{head}\nreturn {{ name = "{name}", on_request = function(x, conf)\n{body}\nend }}\n')


def config(folder, u, top="", entry='"bad"', more=""):
    return f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = {{ "{folder}" }}, drain = "1s", {top}
      routes = {{ {{ "bad", path = "/bad", upstream = "{u.url}", plugins = {{ {entry} }} }}, {more}
                  {{ "good", path = "/good", upstream = "{u.url}" }} }} }}"""


@pytest.fixture
def misbehaving(gateway, upstream, tmp_path):
    """misbehaving(top=…) serves a plugin `bad` on /bad. Reports of crashes are taken out of the log at the end."""
    started = []

    def start(top="", entry='"bad"', more="", **options):
        u = upstream()
        g = gateway(config(tmp_path / "own", u, top, entry, more), env=CRASHES_ARE_OURS, **options)
        g.upstream = u
        started.append(g)
        return g

    yield start
    for g in started:
        g.stop_in_peace()


def crash(g, target="/bad"):
    """Ask for it, and wait until a successor serves."""
    child = g.child_pid()
    client = g.client()
    client.request("GET", target)
    try:
        res = client.response()
    except (Ended, ConnectionError):
        res = None
    client.close()
    if res is None:
        wait_for(lambda: g.child_pid() not in (None, child), "a successor")
    return res


def crash_until_out(g, times=3, target="/bad"):
    for _ in range(times):
        assert crash(g, target) is None
    res = g.ask("GET", target)
    assert res.status == 503, res.body
    return res


# ---- crashes ---------------------------------------------------------------------------------------

CRASHES = {
    "SIGSEGV": SEGV,
    "SIGABRT": "abort();",
    "SIGFPE": "raise(SIGFPE);",
    "SIGILL": "__builtin_trap();",
    "SIGBUS": "raise(SIGBUS);",
}


@pytest.mark.parametrize("name", CRASHES)
def test_a_plugin_that_keeps_crashing_is_quarantined_and_the_rest_is_served(misbehaving, tmp_path, name):
    build(tmp_path / "own", CRASHES[name])
    g = misbehaving()
    for i in range(3):
        assert crash(g) is None
        assert g.ask("GET", "/good").status == 200
        assert len(re.findall(f"crash: {name} in plugin bad, phase on_request, route bad", g.log())) == i + 1
    res = g.ask("GET", "/bad")
    assert (res.status, res.headers.get("x-moongate-error")) == (503, "plugin_quarantined")
    assert res.headers.get("content-type") == "application/problem+json" and res.json()["status"] == 503
    assert g.ask("GET", "/good").status == 200
    said = g.status()["crashes"]
    assert [(s["plugin"], s["entry"], s["route"], s["phase"], s["cause"], s["crashes"], s["quarantined"]) for s in said] == [
        ("bad", "bad", "bad", "on_request", name, 3, True)]
    text = g.admin("GET", "/metrics").body.decode()
    assert 'moongate_plugin_crashes_total{plugin="bad",entry="bad",route="bad"} 3' in text
    assert 'moongate_plugin_quarantined{plugin="bad",entry="bad",route="bad"} 1' in text
    assert len(re.findall("plugin bad is out", g.log())) == 1


def test_a_stack_that_overflows_in_c_is_a_crash_with_a_name(misbehaving, tmp_path):
    build(tmp_path / "own", "return (enum mg_verdict)deep(1);", globals_="""
static int deep(int n) { volatile char a[4096]; memset((void *)a, n, sizeof a); return deep(n + 1) + a[7]; }""")
    g = misbehaving("quarantine = { crashes = 1 },")
    assert crash(g) is None
    assert "crash: SIGSEGV in plugin bad" in g.log()
    assert g.ask("GET", "/bad").status == 503


def test_a_plugin_that_calls_exit_takes_nobody_along_for_good(misbehaving, tmp_path):
    build(tmp_path / "own", "exit(0);")
    g = misbehaving("quarantine = { crashes = 2 },")
    crash_until_out(g, 2)
    assert g.status()["crashes"][0]["cause"] == "exit"
    assert g.process.poll() is None


def test_where_an_entry_may_fail_a_quarantined_plugin_is_passed_over(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving(entry='{ "bad", on_error = "continue" }')
    for _ in range(3):
        assert crash(g) is None
    assert g.ask("GET", "/bad").status == 200
    assert "plugin bad is passed over" in g.log()


def test_a_quarantine_outlives_other_crashes_and_reloads(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving()
    crash_until_out(g)
    child = g.child_pid()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: g.child_pid() not in (None, child), "a successor")
    assert g.ask("GET", "/bad").status == 503
    assert g.reload().status == 200
    assert g.ask("GET", "/bad").status == 503
    assert g.ask("GET", "/good").status == 200


def test_a_mended_plugin_is_let_in_by_a_reload(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving()
    crash_until_out(g)
    build(tmp_path / "own", ";")
    assert g.reload().status == 200
    assert g.ask("GET", "/bad").status == 200
    assert g.status()["crashes"] == []
    child = g.child_pid()
    os.kill(child, signal.SIGKILL)  # the supervisor has heard of it too
    wait_for(lambda: g.child_pid() not in (None, child), "a successor")
    assert g.ask("GET", "/bad").status == 200


def test_another_config_of_the_entry_lets_it_in_and_one_of_a_neighbour_does_not(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV, globals_="""
static const struct mg_field fields[] = { { .name = "n", .type = MG_INT, .offset = 0, .preset = "1", .doc = "N." }, { 0 } };""",
          more=".fields = fields, .conf_bytes = 8")
    g = misbehaving(entry='{ "bad", n = 1 }')
    crash_until_out(g)
    g.write(config(tmp_path / "own", g.upstream, entry='{ "bad", n = 1 }', more='{ "other", path = "/other" },'))
    assert g.reload().status == 200
    assert g.ask("GET", "/bad").status == 503
    g.write(config(tmp_path / "own", g.upstream, entry='{ "bad", n = 2 }'))
    assert g.reload().status == 200
    assert crash(g) is None  # it has another chance


def test_an_operator_lets_it_in_again(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving()
    crash_until_out(g)
    assert g.admin("POST", "/release?plugin=nobody").status == 404
    assert g.admin("POST", "/release?plugin=bad").status == 200
    assert crash(g) is None
    assert crash(g) is None
    assert g.ask("GET", "/good").status == 200
    crash_until_out(g, 1)


def test_the_command_lets_it_in_again(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving("quarantine = { crashes = 1 },")
    admin = f"127.0.0.1:{g.admin_port}"
    done = run("release", "--admin", admin)
    assert (done.returncode, "no plugin is in quarantine" in done.stderr) == (1, True), done.stderr
    crash_until_out(g, 1)
    done = run("release", "--admin", admin, "nobody")
    assert (done.returncode, "nobody is not in quarantine" in done.stderr) == (1, True), done.stderr
    assert run("release", "a b", "--admin", admin).returncode == 2
    assert run("release").returncode == 2
    assert g.ask("GET", "/bad").status == 503
    build(tmp_path / "own", ";")
    done = run("release", "bad", "--admin", admin)
    assert (done.returncode, done.stdout) == (0, "ok: snapshot 2 is in force\n"), done.stderr
    assert g.ask("GET", "/bad").status == 200
    build(tmp_path / "own", SEGV)
    assert g.reload().status == 200
    crash_until_out(g, 1)
    g.write(config(tmp_path / "own", g.upstream).replace('"/good"', '"good"'))
    done = run("release", "--admin", admin)  # of all
    assert done.returncode == 1 and "released, but the config was refused" in done.stderr and "gateway.lua" in done.stderr


def test_crashes_long_apart_do_not_add_up(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving('quarantine = { crashes = 2, window = "1s" },')
    assert crash(g) is None
    time.sleep(1.1)  # the window has passed
    assert crash(g) is None
    assert g.status()["crashes"][0]["quarantined"] is False


def test_a_quarantine_can_be_turned_off(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving("quarantine = { crashes = 0 },")
    for _ in range(4):
        assert crash(g) is None
    assert g.ask("GET", "/good").status == 200


def test_entries_are_told_apart_until_the_plugin_crashes_everywhere(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    more = "".join(f'{{ "{n}", path = "/{n}", upstream = "http://127.0.0.1:1", plugins = {{ "bad" }} }},' for n in ("two", "three"))
    g = misbehaving("quarantine = { crashes = 2 },", more=more)
    crash_until_out(g, 2)
    assert crash(g, "/two") is None
    crash_until_out(g, 1, "/two")
    assert g.ask("GET", "/three").status == 503  # four crashes: the whole plugin is out
    assert g.ask("GET", "/good").status == 200


@pytest.mark.parametrize("where", ["create", "worker_create"])
def test_a_crash_in_the_making_of_an_instance_is_quarantined_even_at_the_start(misbehaving, tmp_path, where):
    make = {"create": "static int make(const struct mg_entry *e, void **s, struct mg_error *r) { (void)e; (void)s; (void)r; *(volatile int *)8 = 1; return 0; }",
            "worker_create": "static int make(void *s, void **l) { (void)s; (void)l; abort(); }"}[where]
    build(tmp_path / "own", ";", globals_=make, more=f".{where} = make")
    g = misbehaving()
    assert len(re.findall(f"crash: SIG(?:ABRT|SEGV) in plugin bad, phase {where}, route bad", g.log())) == 3
    assert g.ask("GET", "/bad").status == 503
    assert g.ask("GET", "/good").status == 200


LOADS = {  # what crashes before the plugin has an entry
    "a script": lambda folder: (folder.mkdir(exist_ok=True), (folder / "bad.lua").write_text(
        'require("ffi").cast("int *", 8)[0] = 1\nreturn { name = "bad", on_request = function() end }')),
    "a constructor": lambda folder: build(folder, ";", globals_=f"__attribute__((constructor)) static void begin(void) {{ {SEGV} }}"),
}


def mend(folder, name):
    if name == "a script":
        lua(folder, "return nil")
    else:
        build(folder, ";")


@pytest.mark.parametrize("name", LOADS)
def test_a_plugin_that_crashes_while_it_is_loaded_keeps_no_gateway_from_its_start(misbehaving, tmp_path, name):
    LOADS[name](tmp_path / "own")
    g = misbehaving()
    log = g.log()
    assert len(re.findall("crash: SIGSEGV in plugin bad, phase load\n", log)) == 3
    assert [int(ms) for ms in re.findall(r"starting the gateway process again in (\d+) ms", log)] == [0, 100, 200]
    assert "plugin bad crashes while it is loaded" in log
    res = g.ask("GET", "/bad")
    assert (res.status, res.headers.get("x-moongate-error")) == (503, "plugin_quarantined")
    assert g.ask("GET", "/good").status == 200
    assert [(s["plugin"], s["phase"], s["cause"], s["crashes"], s["quarantined"]) for s in g.status()["crashes"]] == [
        ("bad", "load", "SIGSEGV", 3, True)]
    assert g.reload().status == 200 and g.ask("GET", "/bad").status == 503
    mend(tmp_path / "own", name)
    assert g.reload().status == 200
    assert g.ask("GET", "/bad").status == 200
    assert g.status()["crashes"] == []


@pytest.mark.parametrize("name", LOADS)
def test_a_plugin_that_crashes_in_a_reload_is_left_out_and_the_rest_is_served(misbehaving, tmp_path, name):
    mend(tmp_path / "own", name)
    g = misbehaving()
    assert g.ask("GET", "/bad").status == 200
    LOADS[name](tmp_path / "own")
    try:
        g.reload()
    except (Ended, OSError):
        pass
    g.wait_log("plugin bad crashes while it is loaded")
    assert g.ask("GET", "/good").status == 200  # asked of the same socket: none was refused
    assert g.ask("GET", "/bad").status == 503
    assert len(re.findall("crash: SIGSEGV in plugin bad, phase load\n", g.log())) == 3
    mend(tmp_path / "own", name)
    assert g.admin("POST", "/release?plugin=bad").status == 200
    assert g.ask("GET", "/bad").status == 200


def test_an_entry_that_may_fail_goes_on_without_a_plugin_that_cannot_be_loaded(misbehaving, tmp_path):
    LOADS["a constructor"](tmp_path / "own")
    g = misbehaving("quarantine = { crashes = 3 },", entry='{ "bad", anything = 1, on_error = "continue" }')
    assert g.ask("GET", "/bad").status == 200
    assert "it is passed over" in g.log()


@pytest.mark.parametrize("start", ["on_worker = function() mg.timer.after(50, work) end, on_request = function() end",
                                   "on_request = function(x) mg.spawn(work) end"])
def test_a_crash_in_a_task_or_a_timer_is_its_entrys(misbehaving, tmp_path, start):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "bad.lua").write_text(f"""
local mg, ffi = require "moongate", require "ffi"
local function work() ffi.cast("int *", 8)[0] = 1 end
return {{ name = "bad", {start} }}""")
    g = misbehaving("quarantine = { crashes = 2 },")
    for n in (1, 2):
        try:
            g.ask("GET", "/bad")
        except (Ended, OSError):
            pass
        wait_for(lambda: len(re.findall("crash: SIGSEGV in plugin bad, phase (?:task|on_task)", g.log())) >= n, "the crash")
        g.wait_log("starting the gateway process again")
    wait_for(lambda: g.ask("GET", "/bad").status == 503, "quarantine")
    assert g.ask("GET", "/good").status == 200


def test_no_connection_is_refused_while_a_gateway_crashes(misbehaving, tmp_path):
    build(tmp_path / "own", SEGV)
    g = misbehaving(workers=2)
    stop, refused, cut, served = threading.Event(), [], [], []

    def load():
        while not stop.is_set():
            try:
                client = g.client()
            except OSError as e:
                refused.append(e)
                continue
            try:
                served.append(client.ask("GET", "/good").status)
            except (Ended, ConnectionError) as e:
                cut.append(e)  # it was under way in the process that died
            client.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(3):
        crash(g)
        n = len(served)
        wait_for(lambda: len(served) > n + 20, "others to be served")
    stop.set()
    for t in threads:
        t.join()
    assert not refused, refused
    assert set(served) == {200}
    assert len(cut) <= 4 * 3


# ---- memory ----------------------------------------------------------------------------------------


@pytest.mark.skipif(IS_SANITIZED, reason="a sanitizer's own memory does not fit below the limit")
def test_a_c_plugin_that_takes_all_memory_is_named(misbehaving, tmp_path):
    build(tmp_path / "own", "for (;;) { char *p = malloc(16 << 20); memset(p, 1, 16 << 20); }")
    import resource

    g = misbehaving("quarantine = { crashes = 1 },")
    resource.prlimit(g.child_pid(), resource.RLIMIT_AS, (1 << 30, 1 << 30))
    assert crash(g) is None
    assert "crash: SIGSEGV in plugin bad, phase on_request, route bad" in g.log()
    assert g.ask("GET", "/bad").status == 503


def test_a_process_that_the_kernel_kills_while_a_plugin_holds_it_is_blamed_on_the_plugin(misbehaving, tmp_path):
    build(tmp_path / "own", "sleep(30);")
    g = misbehaving('quarantine = { crashes = 1 }, stall = "20s",')
    client = g.client()
    child = g.child_pid()
    client.request("GET", "/bad")
    g.wait_log("a plugin holds a worker")
    os.kill(child, signal.SIGKILL)  # as for want of memory
    wait_for(lambda: g.child_pid() not in (None, child), "a successor")
    assert g.ask("GET", "/bad").status == 503
    assert g.status()["crashes"][0]["cause"] == "SIGKILL"


def test_a_script_over_its_memory_fails_alone_and_the_vm_recovers(misbehaving, tmp_path):
    lua(tmp_path / "own", """
  if x.request.headers["x-let-go"] then kept = {} return end
  for i = 1, 1e7 do kept[#kept + 1] = ("x"):rep(1000) .. i end""", head="local kept = {}")
    g = misbehaving('lua = { memory = "16m" },', more='{ "fine", path = "/fine", plugins = { { on_request = function(x) return x:respond(200, { message = ("y"):rep(10) }) end } } },')
    for _ in range(5):
        res = g.ask("GET", "/bad")
        assert (res.status, res.headers.get("x-moongate-error")) == (500, "plugin_error")
    assert "out of Lua memory" in g.log() or "not enough memory" in g.log()
    assert g.ask("GET", "/good").status == 200
    assert g.ask("GET", "/bad", [("x-let-go", "1")]).status == 200

    def bytes_after_a_request():
        assert g.ask("GET", "/fine").status == 200
        return float(re.search(r'moongate_lua_bytes\{worker="0"\} (\d+)', g.admin("GET", "/metrics").body.decode())[1])

    wait_for(lambda: bytes_after_a_request() < 12 << 20, "what was let go to be collected")
    assert f'moongate_lua_limit_bytes{{worker="0"}} {16 << 20}' in g.admin("GET", "/metrics").body.decode()
    assert g.process.poll() is None and "crash" not in g.log()


def test_recursion_without_end_in_lua_is_an_error_of_its_request(misbehaving, tmp_path):
    lua(tmp_path / "own", "local function f(n) return 1 + f(n + 1) end return f(1)")
    g = misbehaving()
    for _ in range(3):
        assert g.ask("GET", "/bad").status == 500
    assert g.ask("GET", "/good").status == 200
    assert "stack overflow" in g.log()


# ---- stalls ----------------------------------------------------------------------------------------

LOOPS = {
    "Lua, interpreted": "local n = 0 while true do n = n + 1 if n % 7 == 3 then n = pcall(error) and 1 or 2 end end",
    "Lua, compiled": "local n = 0 while true do n = n + 1 end",
    "C, a loop": "for (volatile int i = 0;; i++) ;",
    "C, a sleep": "for (;;) sleep(1000);",
}


def write_loop(folder, name):
    if name.startswith("Lua"):
        lua(folder, LOOPS[name])
    else:
        build(folder, LOOPS[name])


def ask_in_vain(g, target="/bad"):
    client = g.client()
    client.request("GET", target)
    return client


@pytest.mark.parametrize("name", LOOPS)
def test_a_plugin_that_does_not_let_go_gets_the_gateway_a_successor(misbehaving, tmp_path, name):
    write_loop(tmp_path / "own", name)
    g = misbehaving('stall = "400ms", quarantine = { crashes = 1 },', workers=2)
    first = g.child_pid()
    held = ask_in_vain(g)
    g.wait_log("a plugin holds a worker: plugin bad, phase on_request, route bad")
    g.wait_log("a successor serves")
    clients = [g.client() for _ in range(20)]  # nobody waits in the queue of the one that stands still
    for client in clients:
        try:
            assert client.ask("GET", "/good").status == 200
        except (Ended, ConnectionError):  # the leaving one had taken it, and it bore no request yet
            assert g.ask("GET", "/good").status == 200
    wait_for(lambda: first not in g.children(), "the old one to end")
    assert held.is_closed()
    assert g.ask("GET", "/bad").status == 503
    assert g.status()["crashes"][0]["cause"] == "stall"
    assert g.ask("GET", "/good").status == 200


def test_what_is_under_way_on_other_workers_ends_in_peace(gateway, upstream, tmp_path):
    from harness import answer

    go = threading.Event()

    def handler(request, wire):
        if request.target == "/good?slow":
            go.wait(20)
        return answer(body=b"whole")

    build(tmp_path / "own", LOOPS["C, a loop"])
    u = upstream(handler)
    g = gateway(config(tmp_path / "own", u, 'stall = "300ms",').replace('"1s"', '"10s"'), workers=2)
    clients = [g.client() for _ in range(8)]
    for c in clients:
        assert c.ask("GET", "/good").status == 200
    before = {w["index"]: w["connections_open"] for w in g.status()["workers"]}
    assert sum(before.values()) == 8
    for c in clients:
        c.request("GET", "/good?slow")
    wait_for(lambda: len(u.requests) >= 16, "the slow ones")
    held = ask_in_vain(g)
    g.wait_log("a successor serves")
    go.set()
    ended = []
    for c in clients:
        c.sock.settimeout(8)
        try:
            ended.append(c.response().body)
        except (Ended, OSError):
            pass  # it was the held worker's
    assert len(ended) >= min(before.values()) and set(ended) == {b"whole"}
    held.close()
    g.stop_in_peace()


def test_before_a_successor_serves_another_worker_takes_the_connections(misbehaving, tmp_path):
    build(tmp_path / "own", "sleep(4);")
    g = misbehaving('stall = "0s",', workers=2)
    held = ask_in_vain(g)
    g.wait_log("accepts what was meant for worker")
    clients = [g.client() for _ in range(20)]
    assert all(c.ask("GET", "/good").status == 200 for c in clients)
    assert "the worker goes on" not in g.log(), "too slow to tell"
    assert held.response().status == 200
    g.wait_log("the worker goes on")
    assert len(g.children()) == 1


def test_without_a_supervisor_a_stall_is_told_and_the_stop_ends_with_1(misbehaving, tmp_path):
    build(tmp_path / "own", LOOPS["C, a loop"])
    g = misbehaving('stall = "300ms",', workers=2, args=("--no-supervisor",))
    ask_in_vain(g)
    g.wait_log("without a supervisor nobody starts a successor")
    wait_for(lambda: "accepts what was meant for worker" in g.log(), "adoption")
    assert all(g.ask("GET", "/good").status == 200 for _ in range(10))
    g.process.send_signal(signal.SIGTERM)
    assert g.wait_end() == 1  # after the drain, and the 15 seconds that a worker has to end
    assert "does not end: the process ends without it" in g.log()


def test_a_successor_that_stalls_as_well_gets_one_too_and_a_stop_ends_them_all(misbehaving, tmp_path):
    build(tmp_path / "own", LOOPS["C, a loop"])
    g = misbehaving('stall = "300ms", quarantine = { crashes = 0 },')
    for i in range(2):
        ask_in_vain(g)
        wait_for(lambda: g.log().count("a successor serves") == i + 1, "a successor")
    assert g.ask("GET", "/good").status == 200
    g.process.send_signal(signal.SIGQUIT)
    g.wait_end()


# ---- accounts --------------------------------------------------------------------------------------


def figures(g, name):
    """{(plugin, entry, route): value} of a metric of plugins."""
    text = g.admin("GET", "/metrics").body.decode()
    return {m[:3]: float(m[3]) for m in re.findall(rf'moongate_plugin_{name}\{{plugin="([^"]*)",entry="([^"]*)",route="([^"]*)"\}} (\S+)', text)}


def test_what_plugins_cost_is_counted_by_entry_and_goes_on_over_reloads(gateway, upstream, tmp_path):
    lua(tmp_path / "own", 'local t = {} for i = 1, 100 do t[i] = ("x"):rep(100) .. x.id .. i end', name="hungry")
    lua(tmp_path / "own", 'if x.request.query.fail then error("no") end', name="fails")
    lua(tmp_path / "own", 'mg.sleep(20)', name="waits")
    build(tmp_path / "own", "for (volatile int i = 0; i < 3000000; i++) ;", name="burns")
    u = upstream()
    text = f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", plugin_path = {{ "{tmp_path}/own" }}, plugins = {{ "request-id" }},
      routes = {{ {{ "a", path = "/a", upstream = "{u.url}", plugins = {{ "hungry", "fails", "burns", {{ "waits", id = "nap" }} }} }} }} }}"""
    g = gateway(text, workers=2)
    for i in range(20):
        assert g.ask("GET", "/a?fail=1" if i < 3 else "/a").status == (500 if i < 3 else 200)
    calls = figures(g, "calls_total")
    assert calls[("hungry", "hungry", "a")] == calls[("fails", "fails", "a")] == 20
    assert calls[("burns", "burns", "a")] == 17
    assert calls[("waits", "nap", "a")] == 34  # it is called, and goes on
    assert calls[("request-id", "request-id", "")] >= 20
    assert figures(g, "errors_total")[("fails", "fails", "a")] == 3
    assert figures(g, "errors_total")[("hungry", "hungry", "a")] == 0
    allocated = figures(g, "lua_allocated_bytes_total")
    assert 20 * 100 * 100 < allocated[("hungry", "hungry", "a")] < 20 * 100 * 2000
    assert allocated[("burns", "burns", "a")] == 0
    seconds = figures(g, "seconds_total")
    assert seconds[("burns", "burns", "a")] > 0 and seconds[("fails", "fails", "a")] > 0
    assert seconds[("waits", "nap", "a")] < 17 * 0.020  # it waited longer than that
    assert g.reload().status == 200
    assert g.ask("GET", "/a").status == 200
    assert figures(g, "calls_total")[("hungry", "hungry", "a")] == 21
    mine = [p for p in g.status()["plugins"] if p["plugin"] == "fails"]
    assert [(p["entry"], p["route"], p["calls"], p["errors"]) for p in mine] == [("fails", "a", 21, 3)]


@pytest.mark.parametrize("code", [
    "local function f() return coroutine.wrap(f)() end f()",
    "local function f() return (string.gsub('a', 'a', f)) end f()",
    "local function f() return (('a'):gsub('a', setmetatable({}, { __index = f }))) end f()",
    "local function f() return (('a'):gsub('a', function() return coroutine.wrap(f)() end)) end f()",
    "local function f() table.sort({ 3, 2, 1 }, f) return true end f()",
    "local t t = setmetatable({}, { __tostring = function() return string.format('%s', t) end }) tostring(t)",
    "local function f() return mg.timeout(1000, f) end f()",
    "local function f() local _, errors = mg.all { f } error(errors and errors[1] or 'went well', 0) end f()",
])
def test_a_recursion_without_end_is_an_error_of_the_script_and_no_crash(gateway, code):
    g = gateway(f"""local mg = require "moongate"
      return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0", routes = {{ {{ "a", path = "/*", plugins = {{ {{ on_request = function(x)
        local ok, why = pcall(function() {code} end)
        return x:respond(200, tostring(ok) .. " " .. tostring(why))
      end }} }} }} }} }}""")
    for _ in range(2):
        said = g.ask().body.decode()
        assert said.startswith("false") and "stack overflow" in said, said
    assert g.status()["crashes"] == []
