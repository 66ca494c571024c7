"""A C plugin built outside the tree with find_package(moongate), in the running gateway."""
import os
import shutil
import subprocess
from pathlib import Path

from harness import MOONGATE, ROOT


def test_the_example_plugin_builds_and_runs(gateway, tmp_path):
    source = tmp_path / "plugin-c"
    shutil.copytree(ROOT / "examples" / "plugin-c", source, ignore=shutil.ignore_patterns("build"))
    tree = Path(MOONGATE).resolve().parents[1]
    prefix = ["-Dmoongate_DIR=" + str(tree)] if (tree / "moongateConfig.cmake").exists() else ["-DCMAKE_PREFIX_PATH=" + str(tree)]
    env = dict(os.environ, CC=os.environ.get("CC", "gcc"))
    subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", source / "build", *prefix], check=True, env=env, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", source / "build"], check=True, stdout=subprocess.DEVNULL)
    g = gateway(source / "gateway.lua", env={"LISTEN": "127.0.0.1:0"})
    assert g.ask(target="/hello").status == 400
    assert g.ask(target="/hello", headers=[("x-tenant", "initech")]).status == 400
    served = g.ask(target="/hello", headers=[("x-tenant", "acme")])
    assert served.status == 200 and served.json() == {"hello": "acme"}
