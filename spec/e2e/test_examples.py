"""What the pages and the examples show, as they show it: whole configs pass their check, fragments too, plugins build and run."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
from harness import MOONGATE, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/plugins").glob("*.md"))]
TREE = Path(MOONGATE).resolve().parents[1]
IS_BUILD_TREE = (TREE / "CMakeCache.txt").exists()


def blocks():
    for page in PAGES:
        for i, m in enumerate(re.finditer(r"^```lua\n(.*?)^```", page.read_text(), re.S | re.M), 1):
            yield f"{page.relative_to(ROOT)}#{i}", m.group(1)


WHOLE = [(name, text) for name, text in blocks() if re.search(r"^return \{", text, re.M) and "\nfunction plugin." not in text]
FRAGMENTS = [(name, text) for name, text in blocks() if name.startswith("docs/plugins/") and not re.search(r"^return ", text, re.M)]
PLUGINS = [(name, text) for name, text in blocks() if re.search(r"^return plugin$", text, re.M)]

# What stands beside the configs of the pages.
BESIDE = {"conf/keys.lua": 'return { alice = { "k" } }', "blocklist.lua": 'return { "192.0.2.1" }'}


@pytest.fixture
def place(tmp_path):
    """place(text) writes a config beside what the pages take for granted, and checks it."""
    for name, text in BESIDE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "logs").mkdir()
    (tmp_path / "keys").mkdir()
    subprocess.run("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out keys/issuer.key && "
                   "openssl pkey -in keys/issuer.key -pubout -out keys/issuer.pem", shell=True, cwd=tmp_path, check=True,
                   stderr=subprocess.DEVNULL)

    def check(text):
        (tmp_path / "gateway.lua").write_text(text)
        hash_of = subprocess.run(["openssl", "passwd", "-6", "x"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        said = harness.run("check", "-c", tmp_path / "gateway.lua",
                           env=dict(os.environ, CRON_HASH=hash_of, SHOP_SECRET="0123456789abcdef0123456789abcdef"))
        assert said.returncode == 0, said.stderr + "\n" + text

    return check


def test_the_pages_have_blocks():
    assert len(WHOLE) >= 5 and len(FRAGMENTS) >= 10 and len(PLUGINS) >= 2


@pytest.mark.parametrize("name, text", WHOLE, ids=[n for n, _ in WHOLE])
def test_whole_configs_of_the_pages_pass_their_check(place, name, text):
    place(text)


def as_config(text):
    """A fragment of a plugin's page in a config: entries, a plugins list, or consumers and then plugins."""
    head, chain = "", text
    if text.lstrip().startswith("consumers") or "\nconsumers = " in text:
        parts = re.split(r"^…$", text, flags=re.M)
        chain = parts[1] if len(parts) > 1 else ""
        cut = parts[0].index("consumers =")
        before, head = parts[0][:cut], parts[0][cut:].rstrip()
        head = head if head.endswith(",") else head + ","
        chain = before + chain
    wholes = [e for e in re.split(r"(?:^|\n)(?=plugins = )", chain) if e.strip()]
    lists = [re.sub(r"^plugins = ", "", w.split("--")[0] if w.startswith("plugins = {") and "\n" not in w.strip() else w).strip()
             for w in wholes if w.startswith("plugins = ")]
    entries = [w for w in wholes if not w.startswith("plugins = ")]
    groups = [e for w in entries for e in re.split(r"\n\s*\n|\n(?=\{)", w) if re.search(r"^\{", e, re.M)]
    groups = [re.sub(r"\s*-- .*$", "", re.sub(r"^--.*\n", "", g, flags=re.M), flags=re.M) for g in groups]
    chains = lists + ["{ " + g.strip() + " }" for g in groups]
    routes = ",\n".join(f'{{ "r{i}", path = "/r{i}", upstream = "http://127.0.0.1:9", plugins = {c.rstrip().rstrip(",")} }}' for i, c in enumerate(chains))
    people = "" if "consumers" in head else ('consumers = { alice = { groups = { "gold", "staff" }, keys = { "k" } }, guest = {} },')
    return f'return {{ listen = "127.0.0.1:0", plugins = {{ {{ "key-auth", anonymous = "{{WHO}}" }} }}, {people} {head}\n routes = {{ {routes} }} }}', len(chains)


@pytest.mark.parametrize("name, text", FRAGMENTS, ids=[n for n, _ in FRAGMENTS])
def test_fragments_of_the_plugins_pages_pass_their_check(place, name, text):
    config, n = as_config(text)
    assert n >= 1, "nothing to check in it"
    who = re.search(r"consumers = \{\s*(\w+)", config).group(1)
    place(config.replace("{WHO}", who))


@pytest.mark.parametrize("name, text", PLUGINS, ids=[n for n, _ in PLUGINS])
def test_plugins_of_the_pages_load_and_refuse_whom_they_should(gateway, upstream, tmp_path, name, text):
    u = upstream()
    folder = tmp_path / "gateway0"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins/require-tenant.lua").write_text(text)
    conf = ', known = { "acme" }' if "known" in text else ""
    g = gateway(f'return {{ listen = "127.0.0.1:0", routes = {{ {{ "r", path = "/*", upstream = "{u.url}", plugins = {{ {{ "require-tenant"{conf} }} }} }} }} }}')
    assert g.ask().status == 400 and u.requests == []
    assert g.ask(headers=[("x-tenant", "acme")]).status == 200
    assert u.last.headers.get("x-internal-tenant") == "acme"
    g.wait_log("served")


# ---- examples/ ------------------------------------------------------------------------------------------


EXAMPLES = sorted(p.relative_to(ROOT) for p in (ROOT / "examples").rglob("*.lua") if re.search(r"^return \{", p.read_text(), re.M)
                  and "plugins" not in p.relative_to(ROOT).parts and "plugin-c" not in p.parts)


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


def test_every_bundled_plugin_has_a_page_with_its_fields():
    """`moongate plugins` and the pages name the same fields."""
    listed = harness.run("plugins").stdout
    names = {p.name for p in (ROOT / "plugins").iterdir() if p.is_dir()} | {p.stem for p in (ROOT / "lua/plugins").glob("*.lua")}
    for name in names:
        assert re.search(rf"^\W*{name}\b", listed, re.M), name
        assert (ROOT / f"docs/plugins/{name}.md").exists(), name


def test_links_between_the_docs_lead_somewhere():
    broken = []
    for page in PAGES[1:]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if not target.startswith("http") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, broken
