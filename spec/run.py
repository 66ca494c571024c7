"""spec/run [--quick] [--only WORD]: builds, runs every test, prints "N passed, N failed" last.

spec/run has installed the packages. --quick leaves the sanitized build out. --only runs the parts whose name holds WORD
(unit, lua, e2e, fuzz, …).
"""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "results"
JOBS = str(os.cpu_count() or 2)
TESTERS = 2 * (os.cpu_count() or 2)  # tests wait more than they compute


class Sum:
    passed = failed = 0
    broken = []

    def add(self, part, passed, failed):
        Sum.passed += passed
        Sum.failed += failed
        if failed:
            Sum.broken.append(part)
        print(f"-- {part}: {passed} passed, {failed} failed", flush=True)


def run(part, command, timeout=1800, **options):
    """Exit code and output; what it says is shown as it comes only when it fails."""
    print(f"-- {part}", flush=True)
    begun = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=timeout, **options)
        code, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        code, text = -1, (e.stdout or b"").decode(errors="replace") + f"\n{part}: not over after {timeout} s"
    if code != 0:
        print(text, flush=True)
    print(f"   {time.monotonic() - begun:.0f} s", flush=True)
    return code, text


def junit(path):
    """Tests and failures of a JUnit file, each test counted once."""
    total = bad = 0
    for case in ET.parse(path).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        total += 1
        bad += case.find("failure") is not None or case.find("error") is not None
    return total - bad, bad


def build(preset):
    cache = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if any((Path(p) / "ccache").exists() for p in os.environ["PATH"].split(":")) else []
    for what, command in (("configure", ["cmake", "--preset", preset, "-DMG_TESTS=ON", *cache]),
                          ("build", ["cmake", "--build", "--preset", preset, "-j", JOBS]),
                          ("build specs", ["cmake", "--build", "--preset", preset, "-j", JOBS, "--target", "specs"])):
        code, _ = run(f"{what} {preset}", command)
        if code != 0:
            Sum().add(f"{what} {preset}", 0, 1)
            return False
    return True


def unit_program(program):
    """What one program says: its text, and how many tests passed and failed."""
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout", ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    try:
        done = subprocess.run([str(program)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=300, env=env)
        code, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        code, text = -1, (e.stdout or b"").decode(errors="replace") + "\nnot over after 300 s"
    good = sum(map(int, re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M)))
    bad = sum(map(int, re.findall(r"^\[  FAILED  \] [^:]*: (\d+) test", text, re.M)))
    if code != 0 and not bad:
        bad = 1
    if code == 0 and not good and not bad:
        bad, text = 1, text + f"\n{program.name}: ran no test"
    return text, good, bad


def unit(preset):
    """cmocka counts each test itself; a program that ends without saying so counts as one failure."""
    passed = failed = 0
    programs = sorted((ROOT / "build" / preset / "spec").glob("*_spec"))
    with ThreadPoolExecutor(TESTERS) as pool:
        for program, (text, good, bad) in zip(programs, pool.map(unit_program, programs)):
            if bad:
                print(f"{program.name}:\n{text}", flush=True)
            passed, failed = passed + good, failed + bad
    Sum().add(f"unit specs, {preset}", passed, failed or (0 if passed else 1))


def lua(preset):
    code, text = run(f"lua specs, {preset}", [str(ROOT / "build" / preset / "bin/moongate"), "test", "spec/lua"], timeout=600)
    found = re.findall(r"(\d+) passed, (\d+) failed", text)
    passed, failed = map(int, found[-1]) if found else (0, 0)
    Sum().add(f"lua specs, {preset}", passed, failed or (1 if code or not found else 0))


def e2e(preset):
    RESULTS.mkdir(parents=True, exist_ok=True)
    report = RESULTS / f"e2e-{preset}.xml"
    report.unlink(missing_ok=True)
    env = dict(os.environ, MOONGATE=str(ROOT / "build" / preset / "bin/moongate"), PYTHONDONTWRITEBYTECODE="1")
    if preset != "release":
        env["MOONGATE_SANITIZED"] = "1"
    code, text = run(f"e2e, {preset}", ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(TESTERS), "--dist", "load",
                                       "--durations=15", f"--junitxml={report}", "spec/e2e"], env=env)
    passed, failed = junit(report) if report.exists() else (0, 1)
    Sum().add(f"e2e, {preset}", passed, failed or (1 if code else 0))


def floors():
    """Includes point down the house."""
    code, text = run("floors", ["/usr/bin/python3", str(ROOT / "spec/floors")], timeout=60)
    found = re.findall(r"(\d+) passed, (\d+) failed", text)
    passed, failed = map(int, found[-1]) if found else (0, 0)
    Sum().add("floors", passed, failed or (1 if code or not found else 0))


def examples():
    """The quickstart as a user runs it: it checks itself."""
    code, _ = run("quickstart", [str(ROOT / "examples/quickstart"), "--check"], timeout=600)
    Sum().add("quickstart", int(code == 0), int(code != 0))


def fuzz():
    """The corpora once more through the targets, where they were built."""
    for corpus in sorted((ROOT / "spec/fuzz/corpus").glob("*")):
        program = ROOT / "build/fuzz/fuzz" / f"{corpus.name}_fuzz"
        if program.exists():
            code, _ = run(f"replay {corpus.name}", [str(program), "-runs=0", str(corpus)], timeout=300)
            Sum().add(f"fuzz corpus {corpus.name}", int(code == 0), int(code != 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.only in "floors":
        floors()
    for preset in ["release"] if options.quick else ["release", "asan"]:
        if build(preset):
            for part in (unit, lua, e2e):
                if options.only in part.__name__:
                    part(preset)
    if options.only in "examples":
        examples()
    if options.only in "fuzz":
        fuzz()
    if Sum.broken:
        print("failed: " + "; ".join(Sum.broken))
    print(f"{Sum.passed} passed, {Sum.failed} failed")
    return 1 if Sum.failed else 0


sys.exit(main())
