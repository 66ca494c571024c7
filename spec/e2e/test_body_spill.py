"""Bodies that policies gather in temporary files: memory stays flat, and what passes on is whole."""
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from harness import Ended, IS_SANITIZED, answer, run, wait_for
from test_plugin_transform import entry

MIB = 1 << 20
READ = '{ on_request = function(x) local b = x.request:body{ spill = true } x.request.headers["x-kept"] = b:length() .. tostring(b:in_file()) end }'


def test_a_large_request_goes_through_a_file_unchanged(proxy):
    g, u = entry(proxy, READ)
    body = os.urandom(5 * MIB + 17)
    assert g.ask("POST", "/", [], body).status == 200
    assert u.last.body == body and u.last.headers.get("x-kept") == f"{len(body)}true"
    assert u.last.headers.get("content-length") == str(len(body))
    assert g.ask("POST", "/", [], b"small").status == 200
    assert u.last.body == b"small" and u.last.headers.get("x-kept") == "5false"


def test_a_body_of_unknown_length_goes_through_a_file_too(proxy):
    g, u = entry(proxy, READ)
    client = g.client()
    piece = os.urandom(300000)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert client.response().status == 200
    assert u.last.body == piece * 10


def test_a_plugin_walks_the_file(proxy):
    g, u = entry(proxy, """{ on_request = function(x)
      local sum, n, last = 0, 0, nil
      for at, piece in x.request:body{ spill = true }:pieces() do
        assert(at == sum + #piece)
        sum, n, last = sum + #piece, n + 1, piece:sub(-1)
      end
      x.request.headers["x-sum"] = sum .. last
    end }""")
    body = b"a" * (3 * MIB) + b"z"
    assert g.ask("POST", "/", [], body).status == 200
    assert u.last.headers.get("x-sum") == f"{len(body)}z" and u.last.body == body
    assert g.ask("POST", "/", [], b"xyz").status == 200 and u.last.headers.get("x-sum") == "3z"


def test_a_large_response_goes_through_a_file_and_body_steps(proxy):
    body = os.urandom(4 * MIB)
    g, u = entry(proxy, """{ on_response_body = function(x) end },
      { on_response = function(x) x.response:body{ spill = true } end }""", lambda r, w: answer(body=body))
    assert g.ask().body == body


def test_over_the_limit_it_is_refused(proxy):
    g, u = entry(proxy, READ, top='limits = { spilled_body = "2m" },')
    assert g.ask("POST", "/", [], b"x" * (2 * MIB)).status == 200
    assert g.ask("POST", "/", [], b"x" * (2 * MIB + 1)).status == 413


def test_a_client_that_leaves_while_the_file_grows_leaves_nothing(proxy):
    g, u = entry(proxy, READ)
    for _ in range(5):
        client = g.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 4000000)
        client.sock.close()
    assert g.ask("POST", "/", [], b"y" * (2 * MIB)).status == 200
    wait_for(lambda: not files(g), "the files to go")


def files(g):
    found = []
    for child in [g.process.pid] + children(g.process.pid):
        for fd in Path(f"/proc/{child}/fd").iterdir():
            try:
                to = os.readlink(fd)
            except OSError:
                continue
            if "/tmp/" in to and "(deleted)" in to:
                found.append(to)
    return found


def children(pid):
    return [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]


def test_no_room_for_the_file_is_told(proxy):
    g, u = entry(proxy, READ, env={**os.environ, "TMPDIR": "/nonexistent"})
    res = g.ask("POST", "/", [], b"x" * (3 * MIB))
    assert res.status == 503 and res.headers.get("x-moongate-error") == "body_not_kept" and u.requests == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_that_body_and_no_other(proxy, small_disk):
    g, u = entry(proxy, READ, top=f'tmp = "{small_disk}",')
    assert g.ask("POST", "/", [], b"x" * (3 * MIB // 2)).status == 200
    res = g.ask("POST", "/", [], b"x" * (8 * MIB))
    assert res.status == 503 and res.headers.get("x-moongate-error") == "body_not_kept"
    wait_for(lambda: os.statvfs(small_disk).f_bfree == os.statvfs(small_disk).f_blocks, "the disk to be empty again")
    assert g.ask("POST", "/", [], b"y" * (3 * MIB // 2)).status == 200 and u.last.body == b"y" * (3 * MIB // 2)


def test_the_folder_of_temporary_files_is_checked_with_its_line(tmp_path):
    (tmp_path / "file").write_text("")
    for folder, why in [("/nowhere/at/all", "no such file"), (tmp_path / "file", "not a folder")]:
        config = tmp_path / "gateway.lua"
        config.write_text(f'return {{\n  listen = "127.0.0.1:0",\n  tmp = "{folder}",\n}}\n')
        said = run("check", "-c", config)
        text = said.stdout + said.stderr
        assert said.returncode != 0 and f"gateway.lua:3: tmp: {folder}" in text and why in text.lower(), text


def test_what_an_observed_entry_gathered_is_not_there_for_the_others(proxy):
    look = "{ on_request = function(x) x.request.headers['x-length'] = tostring(x.request.body_length) end }"
    g, u = entry(proxy, '{ on_request = function(x) assert(x.request:body{ spill = true }:length() > 3) end, mode = "observe" }, ' + look)
    client = g.client()
    for body in (b"some text", b"x" * (2 * MIB)):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        assert client.response().status == 200
        assert u.last.body == body and u.last.headers.get("x-length") in ("nil", "-1")


def test_memory_stays_flat_for_a_huge_upload(proxy):
    total = 16 * MIB if IS_SANITIZED else 512 * MIB
    seen = []

    def count(request, wire):
        n = len(wire.buffer)
        wire.buffer = b""
        while n < total:
            n += len(wire.sock.recv(1 << 18))
        seen.append(n)
        return answer()

    count.reads_body = True
    g, u = entry(proxy, READ, count)
    client = g.client()
    before = peak = g.rss_kb()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
    piece = b"0123456789abcdef" * 65536
    for i in range(total // len(piece)):
        client.send(piece)
        peak = max(peak, g.rss_kb())
    assert client.response().status == 200 and seen == [total]
    if not IS_SANITIZED:
        assert max(peak, g.rss_kb()) - before < 16384, f"grew by {peak - before} KiB"
