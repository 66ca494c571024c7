"""What stands in examples/ holds its check, builds and runs. (test_docs.py does the same with the pages.)"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
from harness import MOONGATE, ROOT

TREE = Path(MOONGATE).resolve().parents[1]
IS_BUILD_TREE = (TREE / "CMakeCache.txt").exists()


EXAMPLES = sorted(p.relative_to(ROOT) for p in (ROOT / "examples").rglob("*.lua") if re.search(r"^return \{", p.read_text(), re.M)
                  and "plugins" not in p.relative_to(ROOT).parts and "plugin-c" not in p.parts
                  and "cookbook" not in p.parts)  # test_cookbook.py


@pytest.mark.parametrize("path", EXAMPLES, ids=map(str, EXAMPLES))
def test_every_example_passes_its_check(path, certs):
    for name in ("api", "www"):
        for part, source in zip(("pem", "key"), certs.pem(f"{name}.test")):
            (certs.folder / f"{name}.{part}").write_bytes(source.read_bytes())
    said = harness.run("check", "-c", ROOT / path, env=dict(os.environ, TLS_FOLDER=str(certs.folder)))
    assert said.returncode == 0, said.stderr


def test_the_quickstart_does_what_it_promises():
    done = subprocess.run([str(ROOT / "examples/quickstart"), "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
                          env=dict(os.environ, MOONGATE=MOONGATE))
    assert done.returncode == 0 and "FAIL" not in done.stdout, done.stdout


def test_the_example_config_is_tested_without_a_network():
    done = harness.run("test", ROOT / "examples/tested-config")
    assert done.returncode == 0 and re.search(r"\b[1-9]\d* passed, 0 failed", done.stdout), done.stdout + done.stderr


def test_the_lua_example_and_its_spec(gateway):
    done = harness.run("test", ROOT / "examples/lua-plugin")
    assert done.returncode == 0 and re.search(r"\b[1-9]\d* passed, 0 failed", done.stdout), done.stdout + done.stderr
    config = (ROOT / "examples/lua-plugin/gateway.lua").read_text().replace("127.0.0.1:8080", "127.0.0.1:0")
    g = gateway(config.replace("return {", f'return {{ plugin_path = {{ "{ROOT}/examples/lua-plugin/plugins" }},', 1))
    assert g.ask(target="/hello").status == 400
    assert g.ask(target="/hello", headers=[("x-tenant", "acme")]).json() == {"hello": "acme"}


@pytest.mark.skipif(not IS_BUILD_TREE, reason="needs a build tree, not an installed gateway")
@pytest.mark.parametrize("source", ["build tree", "installed"])
def test_the_c_example_is_built_out_of_tree(gateway, tmp_path, source):
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples/plugin-c", project, ignore=shutil.ignore_patterns("build"))
    options, program = [f"-Dmoongate_DIR={TREE}"], None
    if source == "installed":
        prefix = tmp_path / "prefix"
        subprocess.run(["cmake", "--install", TREE, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
        options, program = [f"-DCMAKE_PREFIX_PATH={prefix}"], str(prefix / "bin/moongate")
    done = subprocess.run(["cmake", "-G", "Ninja", "-S", project, "-B", project / "build", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=dict(os.environ, CC=os.environ.get("CC", "gcc")))
    assert done.returncode == 0, done.stdout
    done = subprocess.run(["cmake", "--build", project / "build"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "warning" not in done.stdout, done.stdout
    listed = subprocess.run([program or MOONGATE, "plugins", "-c", project / "gateway.lua", "require-tenant"], stdout=subprocess.PIPE, text=True)
    assert "require-tenant" in listed.stdout and "delay" in listed.stdout
    g = gateway(project / "gateway.lua", env={"LISTEN": "127.0.0.1:0"}, program=program)
    res = g.ask(target="/hello")
    assert res.status == 400 and res.headers.get("content-type").startswith("application/problem+json")
    assert g.ask(target="/hello", headers=[("x-tenant", "initech")]).status == 400
    assert g.ask(target="/hello", headers=[("x-tenant", "acme")]).json() == {"hello": "acme"}


def test_the_systemd_unit_is_one(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    text = (ROOT / "examples/systemd/moongate.service").read_text()
    unit = tmp_path / "moongate.service"
    unit.write_text(re.sub(r"^Documentation=.*\n", "", text.replace("/usr/local/bin/moongate", MOONGATE), flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert "moongate.service" not in done.stdout, done.stdout
    before = re.search(r"^ExecStartPre=\S+ (.*)$", text, re.M).group(1).replace("/etc/moongate/gateway.lua", str(ROOT / "examples/minimal.lua"))
    assert harness.run(*before.split()).returncode == 0
    for line in re.findall(r"^Exec\w+=\S+ (.*)$", text, re.M):
        offered = harness.run(line.split()[0], "--help").stdout
        assert all(re.search(rf"^ *{option}\b", offered, re.M) for option in re.findall(r" (--?\w[\w-]*)", line)), line


def packages_of(program):
    """The packages whose libraries a program asks for by itself."""
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", subprocess.run(["readelf", "-d", program], stdout=subprocess.PIPE, text=True, check=True).stdout)
    found = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout))
    for library in needed:
        if library in found and not library.startswith(("libasan", "libubsan", "libtsan")):
            path = str(Path(found[library]).resolve())
            for name in (path, path.removeprefix("/usr")):
                done = subprocess.run(["dpkg", "-S", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                if done.returncode == 0:
                    yield done.stdout.split(":")[0]
                    break


def test_the_image_installs_every_library_that_is_needed():
    if not (shutil.which("dpkg") and shutil.which("readelf")):
        pytest.skip("no Debian here")
    image = (ROOT / "examples/container/Containerfile").read_text().split("FROM ")[-1]
    needed = {package for program in (MOONGATE, *TREE.rglob("plugins/*.so")) for package in packages_of(program)}
    assert len(needed) > 4
    assert needed - {"libc6", "libgcc-s1"} <= set(image.split()), needed


def test_the_example_of_observe_mode_refuses_nobody_and_tells_whom_it_would(gateway, upstream):
    u = upstream()
    config = (ROOT / "examples/observe.lua").read_text()
    env = dict(PORT="0", ADMIN_PORT="0", UPSTREAM=u.url, DEBUG_SECRET="only-for-operators")
    g = gateway(config, env=env)
    assert [g.ask(target="/orders/7").status for _ in range(3)] == [200] * 3
    assert u.last.headers.get("x-gateway") == "moongate"
    g.wait_log("it would have answered 401")
    g.wait_log("it would have answered 429")
    said = harness.run("trace", "--admin", f"127.0.0.1:{g.admin_port}", f"http://127.0.0.1:{g.port}/orders/7",
                       env=dict(os.environ, MOONGATE_DEBUG_SECRET="only-for-operators"))
    assert said.returncode == 0 and "[only observes]" in said.stdout and "would: answer: 401" in said.stdout, said.stdout + said.stderr
