"""docs/tutorial.md as a reader goes through it: each file is written, each command run, each output compared."""
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness import MOONGATE, PATIENCE, ROOT, wait_for
from redis_servers import free_port

PAGE = ROOT / "docs/tutorial.md"


def steps(text):
    """("file", path, content), ("start", command) and ("run", command, [expected lines]), in the page's order."""
    for kind, block in re.findall(r"```(lua|console)\n(.*?)```", text, re.S):
        if kind == "lua":
            yield "file", re.match(r"-- (\S+)", block).group(1), block
            continue
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *said = part.rstrip("\n").split("\n")
            if command.endswith(" &"):
                yield "start", command[:-2]
            else:
                yield "run", command, said


def fits(expected, said):
    """Do the lines fit? "…" stands for anything within a line, or for any lines."""
    lines = [r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + r"\s*\n" for line in expected]
    return re.fullmatch("".join(lines), said if not said or said.endswith("\n") else said + "\n")


@pytest.fixture
def reader(tmp_path):
    """A folder, a shell with moongate in its path, and what runs beside it."""
    running = []
    environment = dict(os.environ, PATH=f"{Path(MOONGATE).resolve().parent}:{os.environ['PATH']}")

    def start(command):
        running.append(subprocess.Popen(["bash", "-c", "exec " + command], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL))
        return running[-1]

    def shell(command):
        return subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE * 2).stdout

    yield tmp_path, start, shell
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_the_tutorial_goes_as_the_page_says(reader):
    assert shutil.which("curl"), "this test needs curl: apt install curl"
    folder, start, shell = reader
    text, ports = PAGE.read_text(), {}
    for port in ("8080", "9901", "9001"):
        ports[port] = free_port()
        text = re.sub(rf":{port}\b", f":{ports[port]}", text)
    recorder, last_curl, n = None, None, 0
    for kind, what, *more in steps(text):
        n += 1
        if kind == "file":
            path = folder / what
            path.parent.mkdir(exist_ok=True)
            path.write_text(more[0])
        elif kind == "start":
            process = start(what)
            if "record" in what:
                recorder = process
                wait_for(lambda: (folder / "today.rec").exists(), "the recording")
            else:
                wanted = ports["9001"] if "services" in what else ports["8080"]
                wait_for(lambda: is_open(wanted), what)
        else:
            if "replay" in what and recorder:
                # It ends with the third request that it has seen.
                wait_for(lambda: recorder.poll() is not None or (shell(last_curl) and None), "three requests to be recorded")
            if what.startswith("curl"):
                last_curl = what
            said = shell(what)
            if "gateway.log" in what:  # written when the gateway has noticed
                said = wait_for(lambda: (out := shell(what)) and fits(more[0], out) and out, f"{what}: {more[0]}")
            assert fits(more[0], said), f"$ {what}\n{said}"
    assert n > 25
