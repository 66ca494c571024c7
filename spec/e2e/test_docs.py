"""The docs say what the program does: every option with its default, configs that load, links that lead somewhere."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import MOONGATE, ROOT, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLUGIN_PAGES = sorted((ROOT / "docs/plugins").glob("*.md"))
SECRETS = {"CRON_HASH": "sha256:salt:" + "0" * 64}
# Presets that say "nothing", and what a page may say in their place.
NOTHING = {None, "", "{}"}


def name_of(path):
    return str(path.relative_to(ROOT))


def lua_blocks(path):
    return re.findall(r"```lua\n(.*?)```", path.read_text(), re.S)


def rows(text):
    """The rows of a page's tables, as lists of cells; "\\|" is no border."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def section(text, heading):
    """What stands below a heading, as far as the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.S | re.M)
    assert found, f"no section “{heading}”"
    return found.group(1)


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


def bare(cell):
    return re.sub(r'[`"]', "", cell)


# ---- the config's keys -------------------------------------------------------------------------------

# A field table of core/server/schema.c: the section of docs/configuration.md that tells of it, and what its names begin with there.
TABLES = {
    "mg_schema": ("Top level", ""),
    "top_timeouts": ("Timeouts", ""),
    "mg_schema_timeouts": ("Timeouts", ""),
    "route_timeouts": ("Timeouts", ""),
    "top_limits": ("Limits", ""),
    "mg_schema_limits": ("Limits", ""),
    "route_limits": ("Limits", ""),
    "listener_fields": ("Listeners", ""),
    "tls_server_fields": ("TLS of a listener", ""),
    "cert_fields": ("TLS of a listener", ""),
    "route_fields": ("Routes", ""),
    "upstream_fields": ("Upstreams", ""),
    "target_fields": ("Upstreams", "targets[]."),
    "upstream_timeouts": ("Upstreams", "timeouts."),
    "keepalive_fields": ("Upstreams", "keepalive."),
    "mg_schema_tls_client": ("Upstreams", "tls."),
    "mg_schema_groups": ("Consumers", ""),
    "error_fields": ("The shape of errors", "errors."),
    "log_fields": ("Log, name resolution, Lua", "log."),
    "resolver_fields": ("Log, name resolution, Lua", "resolver."),
    "tasks_fields": ("Tasks", "tasks."),
    "quarantine_fields": ("Log, name resolution, Lua", "quarantine."),
    "debug_fields": ("Debug", "debug."),
    "lua_fields": ("Log, name resolution, Lua", "lua."),
}
SAID_IN_PROSE = {"connect", "first_byte", "upstream_idle", "timeouts", "keepalive"}


@pytest.fixture(scope="module")
def schema():
    """table: [(key, preset or None)], as the compiler sees the file."""
    text = subprocess.run([os.environ.get("CC", "cc"), "-E", "-P", "-I", ROOT / "core", "-I", ROOT / "include", ROOT / "core/server/schema.c"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    tables = {}
    for name, body in re.findall(r"\bstruct mg_field (\w+)\[\] = \{(.*?)\{ 0 \}\s*\};", text, re.S):
        fields = re.findall(r'\{ \.name = "(\w+)"(.*?)\}(?=,\s*(?:\{|$|\Z)|\s*,)', body, re.S)
        tables[name] = [(key, next(iter(re.findall(r'\.preset = "([^"]*)"', rest)), None)) for key, rest in fields]
    return tables


def test_every_table_of_the_schema_has_its_section(schema):
    assert set(schema) == set(TABLES)
    assert len(schema["mg_schema"]) > 15 and len(schema["route_fields"]) > 15


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_the_config_is_explained_with_its_default(schema, table):
    heading, prefix = TABLES[table]
    text = section((ROOT / "docs/configuration.md").read_text(), heading)
    for key, preset in schema[table]:
        mine = [cells for cells in rows(text) if prefix + key in words(cells[0])]
        if not mine and key in SAID_IN_PROSE:
            assert f"`{key}`" in text
            continue
        assert mine, f"{heading}: {prefix}{key} is not explained"
        if preset not in NOTHING:
            assert any(preset in re.split(r"[\s:;,]+", bare(cell)) for cell in mine[0][1:3]), f"{heading}: {key}: the default is {preset}"


# ---- plugins -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    """plugin: [(field, default or None)], from `moongate plugins --markdown`."""
    plugins = {}
    for part in run("plugins", "--markdown").stdout.split("## ")[1:]:
        fields = plugins.setdefault(part.split("\n", 1)[0], [])
        for cells in rows(part):
            if words(cells[0]) and not cells[0].startswith("credential"):
                fields.append((words(cells[0])[0], bare(cells[2]) or None))
    return plugins


def test_every_bundled_plugin_has_a_page(reference):
    assert sorted(reference) == [p.stem for p in PLUGIN_PAGES]


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda p: p.stem)
def test_a_plugins_page_explains_every_field_with_its_default(reference, page):
    text = page.read_text()
    for field, default in reference[page.stem]:
        last = re.split(r"\.|\[\]\.", field)[-1]
        if last != field:  # of a table in a table: named, and its default said somewhere
            assert f"`{last}`" in text or f"{last} =" in text, f"{field} is not explained"
            assert default in NOTHING | {"required"} or default in bare(text), f"{field}: the default is {default}"
            continue
        mine = [cells for cells in rows(text) if field in words(cells[0])]
        if not mine:  # a credential's
            assert f"`{field}`" in text or f"{field} =" in text, f"{field} is not explained"
            continue
        if default not in NOTHING | {"required"}:
            assert default in bare(mine[0][2]), f"{field}: the default is {default}, not {mine[0][2]}"


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda p: p.stem)
def test_a_plugins_page_begins_with_a_config(page):
    assert lua_blocks(page)[0].startswith("return {"), "the first example is to be a whole config"
    assert f'"{page.stem}"' in lua_blocks(page)[0]


# ---- examples in the text ----------------------------------------------------------------------------


def whole_configs():
    for page in PAGES:
        if page.parent.name == "cookbook" or page.name == "tutorial.md":  # with their plugins: test_cookbook.py, test_tutorial.py
            continue
        for i, block in enumerate(lua_blocks(page)):
            if re.search(r"^return \{", block, re.M) and "listen" in block:
                yield pytest.param(block, id=f"{name_of(page)}#{i}")


@pytest.fixture
def folder(tmp_path):
    """Where a config of the docs finds the files that it names."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "logs").mkdir()
    private = tmp_path / "private.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private], check=True,
                   stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", tmp_path / "keys/issuer.pem"], check=True)
    return tmp_path


@pytest.mark.parametrize("config", whole_configs())
def test_a_config_of_the_docs_passes_its_check(config, folder):
    file = folder / "gateway.lua"
    file.write_text(config)
    named = re.findall(r'(?:getenv|secret\.env)[ (]*"(\w+)"', config)
    env = dict(os.environ, **{name: SECRETS.get(name, f"{name}-" + "x" * 64) for name in named})
    done = run("check", "-c", file, env=env)
    assert done.returncode == 0, done.stderr


def test_the_readmes_config_serves(gateway, upstream):
    users, legacy = upstream(), upstream()
    config = lua_blocks(ROOT / "README.md")[0]
    for given, ours in (('"0.0.0.0:8080"', '"127.0.0.1:0"'), ('"127.0.0.1:9901"', '"127.0.0.1:0"'),
                        ('"10.0.0.1:8080"', f'"{users.address}"'), ('"10.0.0.2:8080"', f'"{users.address}"'),
                        ("http://127.0.0.1:9000", legacy.url)):
        assert given in config
        config = config.replace(given, ours)
    g = gateway(config)
    assert g.ask(target="/users/7").status == 401
    served = g.ask(target="/users/me", headers=[("x-api-key", "bob-key")])
    assert served.status == 200 and served.headers.get("x-request-id") and served.headers.get("ratelimit")
    assert users.last.target == "/users/bob"
    assert g.ask(target="/old/a/b").status == 200
    assert legacy.last.target == "/v1/a/b"
    g.wait_log('"consumer":"bob"')


PLUGINS = [pytest.param(block, id=name_of(page)) for page in PAGES for block in lua_blocks(page) if block.rstrip().endswith("return plugin") and '"require-tenant"' in block]


@pytest.mark.parametrize("text", PLUGINS)
def test_a_plugin_of_the_pages_refuses_whom_it_should(gateway, upstream, tmp_path, text):
    u = upstream()
    folder = tmp_path / "gateway0" / "plugins"
    folder.mkdir(parents=True)
    (folder / "require-tenant.lua").write_text(text)
    known = ', known = { "acme" }' if "known" in text else ""
    g = gateway(f"""return {{ listen = "127.0.0.1:0",
      routes = {{ {{ "r", path = "/*", upstream = "{u.url}", plugins = {{ {{ "require-tenant"{known} }} }} }} }} }}""")
    assert g.ask().status == 400 and u.requests == []
    assert g.ask(headers=[("x-tenant", "acme")]).status == 200
    assert u.last.headers.get("x-internal-tenant") == "acme"
    g.wait_log("served")


def test_the_spec_of_the_pages_passes(tmp_path):
    """The spec that the page on Lua plugins shows, with the plugin that it shows."""
    blocks = lua_blocks(ROOT / "docs/plugins-lua.md")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/require-tenant.lua").write_text(next(b for b in blocks if b.rstrip().endswith("return plugin")))
    (tmp_path / "tenant_spec.lua").write_text(next(b for b in blocks if "test.exchange" in b))
    done = run("test", tmp_path)
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout + done.stderr


def test_the_page_on_c_plugins_shows_the_example():
    source = "".join(p.read_text() for p in (ROOT / "examples/plugin-c").glob("*.*"))
    page = (ROOT / "docs/plugins-c.md").read_text()
    shown = [line for block in re.findall(r"```(?:c|cmake)\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert len(shown) > 40
    assert not [line for line in shown if line.strip() != "…" and line.strip() not in source]


def test_every_variable_of_the_templates_page_exists_and_none_is_missing(tmp_path):
    table = section((ROOT / "docs/templates.md").read_text(), "Variables")
    named = [word for cells in rows(table) for word in words(cells[0]) if not word.startswith("error.")]
    table_of_core = (ROOT / "core/pdk/var.c").read_text().split("} table[] = {")[1].split("};")[0]
    known = [name for name in re.findall(r'\{ "([\w.]+)", \w+ \}', table_of_core) if not name.startswith("error.")]
    assert len(known) > 40
    assert set(known) <= set(named), set(known) - set(named)
    fields = ", ".join(f'["x-{i}"] = "${{{name}}}"' for i, name in enumerate(named))
    file = tmp_path / "gateway.lua"
    file.write_text(f"""return {{ listen = "127.0.0.1:0", plugins = {{ {{ "headers", response = {{ set = {{ {fields} }} }} }} }},
                    routes = {{ {{ "a", path = "/*", upstream = "http://127.0.0.1:9" }} }} }}""")
    done = run("check", "-c", file)
    assert done.returncode == 0, done.stderr


# ---- operating, the command line ---------------------------------------------------------------------


def test_every_failure_token_is_explained():
    text = section((ROOT / "docs/operating.md").read_text(), "What went wrong: failure tokens")
    explained = {word for cells in rows(text) for word in words(cells[0])}
    source = "".join(p.read_text() for p in [*(ROOT / "core/proxy").glob("*.c"), ROOT / "core/server/build_quarantine.c"])
    sent = set(re.findall(r'mg_(?:run_fail|run_refuse|answer_error)\([^"\n]*?\d, "(\w+)"', source))
    sent |= set(re.findall(r'^    \{ \w+, [45]\d\d, "(\w+)", ', source, re.M))
    sent |= set(re.findall(r'x->failure = (?:x->failure \? x->failure : )?"(\w+)"', source))
    assert len(sent) > 15
    assert sent == explained


def test_the_status_of_every_failure_token_is_right():
    text = section((ROOT / "docs/operating.md").read_text(), "What went wrong: failure tokens")
    said = {words(cells[0])[0]: cells[1] for cells in rows(text) if words(cells[0])}
    source = "".join(p.read_text() for p in (ROOT / "core/proxy").glob("*.c"))
    for status, token in re.findall(r'(?:\{ \w+, |\(\w+, )([45]\d\d), "(\w+)", ', source):
        assert said[token] == status, token


def test_every_metric_of_the_core_is_explained(gateway):
    g = gateway("""return { listen = "127.0.0.1:0", admin = "127.0.0.1:0",
      routes = { { "a", path = "/*", upstream = "http://127.0.0.1:9", plugins = { { on_log = function() end } } } } }""")
    there = set(re.findall(r"^# TYPE (\w+) ", g.admin("GET", "/metrics").body.decode(), re.M))
    text = section((ROOT / "docs/operating.md").read_text(), "Metrics")
    explained = {word for cells in rows(text) for word in words(cells[0])}
    assert there == explained


def test_the_metrics_of_the_plugin_are_explained(gateway, upstream):
    u = upstream()
    g = gateway(f"""return {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0",
      plugins = {{ {{ "metrics", consumers = true }} }}, routes = {{ {{ "a", path = "/*", upstream = "{u.url}" }} }} }}""")
    g.ask()
    there = set(re.findall(r"^# TYPE (\w+) ", g.admin("GET", "/metrics").body.decode(), re.M))
    explained = {word for page in ("operating.md", "plugins/metrics.md") for cells in rows((ROOT / "docs" / page).read_text())
                 for word in words(cells[0])}
    assert there <= explained, there - explained


COMMANDS = ["run", "check", "routes", "explain", "plugins", "reload", "release", "test", "new", "repl", "trace", "record", "replay", "diff", "echo", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_man_page_has_every_command_and_option(command):
    page = (ROOT / "docs/moongate.1").read_text().replace("\\-", "-")
    part = re.search(rf"^\.SS {command}\n(.*?)(?=^\.S[SH] |\Z)", page, re.S | re.M)
    assert part, command
    for option in re.findall(r"^\s+(?:-\w, )?(--[\w-]+)", run(command, "--help").stdout, re.M):
        if option != "--help":
            assert option in part.group(1), option


def test_the_man_page_can_be_set():
    done = subprocess.run(["man", "--warnings", "-l", ROOT / "docs/moongate.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, MANPAGER="cat")) if Path("/usr/bin/man").exists() else None
    if done is None:
        pytest.skip("no man here")
    assert done.returncode == 0 and not done.stderr, done.stderr


# ---- the pages themselves ----------------------------------------------------------------------------


def test_the_reference_of_the_pdk_is_what_its_header_says():
    assert subprocess.run([ROOT / "spec/pdk-reference", "--check"]).returncode == 0
    page = (ROOT / "docs/pdk.md").read_text()
    for name in re.findall(r"^(?:const )?[\w ]+[ *](mg_\w+)\(", (ROOT / "include/moongate/pdk.h").read_text(), re.M):
        assert f"{name}(" in page, name


def anchors(page):
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", page.read_text(), re.M)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_is_wrapped(page):
    is_code = False
    for n, line in enumerate(page.read_text().splitlines(), 1):
        is_code ^= line.startswith("```")
        if not is_code and not line.startswith(("|", "    ")):
            assert len(line) <= 124, f"line {n} has {len(line)} characters"


@pytest.mark.parametrize("path", sorted(p for p in (ROOT / "examples").rglob("*") if p.is_file() and "build" not in p.parts),
                         ids=name_of)
def test_an_example_says_what_it_is_and_how_it_is_run(path):
    head = "".join(path.read_text().splitlines(True)[:12])
    assert re.search(r"^(--|#|/\*)", head)
    if path.suffix == ".lua" and path.name == "gateway.lua" or path.parent == ROOT / "examples":
        assert re.search(r"moongate run|examples/quickstart", head), "says how to run it"


def test_the_first_hour_goes_as_the_page_says(gateway, upstream):
    first, second = (block.replace('"0.0.0.0:8080"', '"127.0.0.1:0"').replace('"127.0.0.1:9901"', '"127.0.0.1:0"')
                     for block in lua_blocks(ROOT / "docs/start.md"))
    u = upstream()
    g = gateway(first.replace("http://127.0.0.1:9000", u.url), env={"ALICE_KEY": "change-me"})
    assert g.ask(target="/api/x").status == 200 and u.last.target == "/x"
    assert g.ask(target="/other").status == 404
    g.write(second.replace("http://127.0.0.1:9000", u.url))
    done = run("reload", "--admin", f"127.0.0.1:{g.admin_port}")
    assert (done.returncode, done.stdout) == (0, "ok: snapshot 2 is in force\n")
    assert g.ask(target="/api/x").status == 401
    assert g.ask(target="/api/x", headers=[("x-api-key", "change-me")]).status == 200
    assert u.last.headers.get("x-caller") == "alice"


def test_the_annotations_for_editors_are_what_the_runtime_says():
    done = subprocess.run([ROOT / "spec/lua-annotations", "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=dict(os.environ, MOONGATE=MOONGATE))
    assert done.returncode == 0, done.stdout
